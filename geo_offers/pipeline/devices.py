"""The devices that the partitions' owner keeps in memory: loaded when they are heard of, forgotten with their person.

A device is known under the epoch at which this process owned its partition when the load began. Where the partition
was lost since, whoever owned it meanwhile may have moved the device on: what is held is stale then, and is loaded anew.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from geo_offers import clock
from geo_offers.errors import Unavailable
from geo_offers.pipeline import quick
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import DeviceStore, KnownDevice
from geo_offers.pipeline.requests import Left, Part, Request
from geo_offers.pipeline.seclusion import secluded
from geo_offers.pipeline.tracks import Moved, Share, Track
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.states import PresenceState
from geo_offers.presence.trail import Worth

IDLE_US: Final = 3_600 * 1_000_000
SILENT_US: Final = 22 * IDLE_US  # before the stale-visit close ends the visits of a phone that fell silent
LOOK_US: Final = 10 * 1_000_000  # between two searches for idle devices where memory is full
SLICE: Final = 10_000  # devices looked at before the sockets are let in


@dataclass(slots=True, eq=False)
class _Load:
    """A read of devices that is under way, with the users forgotten since it began: what it finds of them is old."""

    epochs: Mapping[int, int]
    forgotten: set[UUID] = field(default_factory=set)


class Devices:
    """All that is known of the live devices; `bound` of them at most."""

    def __init__(
        self,
        store: DeviceStore,
        ownership: Ownership,
        catalog: Catalog,
        *,
        bound: int,
        rate_per_s: float,
        burst: float,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._catalog = catalog
        self._bound = bound
        self._now_us = now_us
        self._tracks = quick.tracks(rate_per_s, burst)
        self._per_workspace: Counter[UUID] = Counter()
        self._loads: set[_Load] = set()
        self._looked_us: int | None = None

    def __len__(self) -> int:
        return len(self._tracks)

    def __contains__(self, device: UUID) -> bool:
        return device in self._tracks

    def count(self, workspace: UUID) -> int:
        """How many devices of the workspace are held."""
        return self._per_workspace[workspace]

    def get(self, device: UUID) -> Track | None:
        return self._tracks.get(device)

    def is_of(self, device: UUID, workspace: UUID, user: UUID, token_epoch: int) -> bool:
        """Whether a device is held, and is that person's under that epoch of its tokens."""
        return self._tracks.is_of(device, workspace, user, token_epoch)

    def shares(self, request: Request, numbers: Iterable[int]) -> Iterable[Share]:
        """Of these points of a request those to be stepped, by device."""
        return self._tracks.shares(request.points, request.codes, numbers)

    def gate(self, device: UUID) -> int:
        """`Code.STEP` where the device may be stepped now, ABSENT where it has to be loaded first, else why not."""
        return self._tracks.gate(device, self._ownership.epochs)

    def settle(self, request: Request) -> bool:
        """Takes of a request what can be taken at once; True where some points are left (`tracks.Tracks.settle`)."""
        return self._tracks.settle(
            request.points,
            request.codes,
            request.workspace,
            request.received_us,
            epochs=self._ownership.epochs,
            index=self._catalog.index(request.workspace),
            private=self._catalog.private(request.workspace),
        )

    def seclude(self, part: Part) -> None:
        """Takes out of a part what is hidden by now, whoever let it in."""
        where, private = self._tracks.where(part.device), self._catalog.private(part.request.workspace)
        if where is None and private is None:
            return
        index, seen = self._catalog.index(part.request.workspace), list[int]()
        for number in part.numbers:
            code = secluded(part.request.points[number], where, private, index)
            if code is None:
                seen.append(number)
            else:
                part.request.codes[number] = code
        part.numbers = seen

    def step(self, part: Part, index: GeofenceIndex) -> Moved | None:
        """Steps a part in the compiled memory (`tracks.Tracks.step`)."""
        return self._tracks.step(part.device, part.request.points, part.numbers, part.request.codes, index)

    def state(self, device: UUID) -> PresenceState:
        """Of a device that is held."""
        track = self._tracks.get(device)
        assert track is not None
        return track.device.state

    @property
    def looked(self) -> tuple[int, float]:
        """Of how many points the last `settle` looked for the fences that hold them, and how long that took, s."""
        return self._tracks.looked, self._tracks.looked_s

    def take_left_out(self) -> Mapping[Worth, int]:
        """See `tracks.Tracks.take_left_out`."""
        return self._tracks.take_left_out()

    def hold(self, user: UUID, *, held: bool) -> None:
        """While a user is held, all their pings go through their queue."""
        self._tracks.hold(user, held)

    def install(self, workspace: UUID, device: UUID, state: Left) -> None:
        """Takes the state that a turn left the device in."""
        self._tracks.install(device, state, self._catalog.index(workspace))

    # ------------------------------------------------------------------------------------------ coming
    async def know(self, workspace: UUID, devices: Collection[UUID], *, busy: Container[UUID]) -> None:
        """Loads the devices that are not in memory. A user forgotten meanwhile (consent, erasure) is loaded again.

        busy: users with something queued. Raises Unavailable where memory is full of live devices.
        """
        strangers: set[UUID] = set()
        while missing := [device for device in devices if device not in self._tracks and device not in strangers]:
            await self._make_room(len(missing))
            load = _Load(self._ownership.epochs)
            self._loads.add(load)
            try:
                found = await self._store.load(workspace, missing)
            finally:
                self._loads.discard(load)
            strangers.update(set(missing) - {device.id for device in found})
            self._add([device for device in found if device.user not in load.forgotten], load.epochs, busy)

    def _add(self, devices: Iterable[KnownDevice], epochs: Mapping[int, int], busy: Container[UUID]) -> None:
        now_us = self._now_us()
        for device in devices:
            if device.id not in self._tracks:
                fences, held = self._catalog.index(device.workspace), device.user in busy
                self._tracks.add(device, epochs.get(device.partition), now_us, fences, held=held)
                self._per_workspace[device.workspace] += 1

    async def _make_room(self, coming: int) -> None:
        if len(self._tracks) + coming <= self._bound:
            return
        now_us = self._now_us()
        if self._looked_us is None or now_us - self._looked_us > LOOK_US:
            self._looked_us = now_us
            await self.forget_idle()
        if len(self._tracks) + coming > self._bound:
            raise Unavailable("too many devices are live here", 5.0)

    # ------------------------------------------------------------------------------------------ going
    def forget(self, user: UUID) -> None:
        """Drops the user's devices, and what a load under way finds of them."""
        for load in self._loads:
            load.forgotten.add(user)
        held: Sequence[UUID] = self._tracks.of_user(user)
        for device in held:
            track = self._tracks.get(device)
            assert track is not None  # the memory has just named it
            self._tracks.drop(device)
            self._gone([track.device.workspace])

    def _gone(self, workspaces: Iterable[UUID]) -> None:
        for workspace in workspaces:
            self._per_workspace[workspace] -= 1
            if not self._per_workspace[workspace]:
                del self._per_workspace[workspace]

    async def forget_idle(self) -> None:
        """Drops devices not heard of for an hour; those inside a fence for most of a day. Not those of busy users."""
        now_us, at = self._now_us(), 0
        while at >= 0:
            at, gone = self._tracks.sweep(at, SLICE, now_us - IDLE_US, now_us - SILENT_US)
            self._gone(gone)
            await asyncio.sleep(0)

    async def heard(self) -> dict[UUID, int]:
        """When each device that is inside something was last heard of, for the stale-visit close."""
        found: dict[UUID, int] = {}
        at = 0
        while at >= 0:
            at, here = self._tracks.heard(at, SLICE)
            found |= here
            await asyncio.sleep(0)
        return found
