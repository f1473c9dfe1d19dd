"""The devices that the partitions' owner keeps in memory: loaded when they are heard of, forgotten with their person.

A device is known under the epoch at which this process owned its partition when the load began. Where the partition
was lost since, whoever owned it meanwhile may have moved the device on: what is held is stale then, and is loaded anew.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final
from uuid import UUID

from geo_offers import clock
from geo_offers.errors import Unavailable
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import DeviceStore, KnownDevice
from geo_offers.pipeline.rates import Bucket
from geo_offers.presence.machine import PresenceState

IDLE_US: Final = 3_600 * 1_000_000
SILENT_US: Final = 22 * IDLE_US  # before the stale-visit close ends the visits of a phone that fell silent
LOOK_US: Final = 10 * 1_000_000  # between two searches for idle devices where memory is full
SLICE_S: Final = 0.005  # so long may a look at all devices keep the sockets waiting


@dataclass(slots=True, eq=False)
class Tracked:
    """A device in memory. `epoch`: of its partition's ownership when it was loaded; None where it was not ours."""

    device: KnownDevice
    epoch: int | None
    heard_us: int
    bucket: Bucket | None = None


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
        *,
        bound: int,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._bound = bound
        self._now_us = now_us
        self._tracked: dict[UUID, Tracked] = {}
        self._of_user: dict[UUID, set[UUID]] = {}
        self._per_workspace: Counter[UUID] = Counter()
        self._loads: set[_Load] = set()
        self._looked_us: int | None = None

    def __len__(self) -> int:
        return len(self._tracked)

    def count(self, workspace: UUID) -> int:
        """How many devices of the workspace are held."""
        return self._per_workspace[workspace]

    def get(self, device: UUID) -> Tracked | None:
        return self._tracked.get(device)

    def device_of(self, device: UUID) -> KnownDevice:
        return self._tracked[device].device

    def is_current(self, device: UUID) -> bool:
        """Whether the device is held, and its partition has been ours without a break since it was loaded."""
        tracked = self._tracked.get(device)
        return (
            tracked is not None
            and tracked.epoch is not None
            and tracked.epoch == self._ownership.epochs.get(tracked.device.partition)
        )

    def install(self, device: UUID, state: PresenceState) -> None:
        """Takes the state that a turn left the device in."""
        tracked = self._tracked[device]
        tracked.device = replace(tracked.device, state=state)

    # ------------------------------------------------------------------------------------------ coming
    async def know(self, workspace: UUID, devices: Collection[UUID], *, busy: Container[UUID]) -> None:
        """Loads the devices that are not in memory. A user forgotten meanwhile (consent, erasure) is loaded again.

        busy: users whose devices must stay. Raises Unavailable where memory is full of live devices.
        """
        strangers: set[UUID] = set()
        while missing := [device for device in devices if device not in self._tracked and device not in strangers]:
            await self._make_room(len(missing), busy)
            load = _Load(self._ownership.epochs)
            self._loads.add(load)
            try:
                found = await self._store.load(workspace, missing)
            finally:
                self._loads.discard(load)
            strangers.update(set(missing) - {device.id for device in found})
            self._add((device for device in found if device.user not in load.forgotten), load.epochs)

    def _add(self, devices: Iterable[KnownDevice], epochs: Mapping[int, int]) -> None:
        now_us = self._now_us()
        for device in devices:
            if device.id not in self._tracked:
                self._tracked[device.id] = Tracked(device, epochs.get(device.partition), now_us)
                self._of_user.setdefault(device.user, set()).add(device.id)
                self._per_workspace[device.workspace] += 1

    async def _make_room(self, coming: int, busy: Container[UUID]) -> None:
        if len(self._tracked) + coming <= self._bound:
            return
        now_us = self._now_us()
        if self._looked_us is None or now_us - self._looked_us > LOOK_US:
            self._looked_us = now_us
            await self.forget_idle(busy)
        if len(self._tracked) + coming > self._bound:
            raise Unavailable("too many devices are live here", 5.0)

    # ------------------------------------------------------------------------------------------ going
    def forget(self, user: UUID) -> None:
        """Drops the user's devices, and what a load under way finds of them."""
        for load in self._loads:
            load.forgotten.add(user)
        for device in self._of_user.pop(user, ()):
            self._drop(device)

    def _drop(self, device: UUID) -> None:
        workspace = self._tracked.pop(device).device.workspace
        self._per_workspace[workspace] -= 1
        if not self._per_workspace[workspace]:
            del self._per_workspace[workspace]

    async def forget_idle(self, busy: Container[UUID]) -> None:
        """Drops devices not heard of for an hour; those inside a fence for most of a day. Not those of busy users."""
        now_us = self._now_us()
        async for user in _sliced(self._of_user):
            held = self._of_user.get(user)
            if held is None or user in busy:
                continue
            for device in [device for device in held if _is_idle(self._tracked[device], now_us)]:
                self._drop(device)
                held.remove(device)
            if not held:
                del self._of_user[user]

    async def heard(self) -> dict[UUID, int]:
        """When each device that is inside something was last heard of, for the stale-visit close."""
        found: dict[UUID, int] = {}
        async for device in _sliced(self._tracked):
            tracked = self._tracked.get(device)
            if tracked is not None and tracked.device.state.inside:
                found[device] = tracked.heard_us
        return found


async def _sliced(keys: Iterable[UUID]) -> AsyncIterator[UUID]:
    """The keys as they are now, some milliseconds at a time: pings go on meanwhile and may change what is held."""
    started = perf_counter()
    for key in list(keys):
        yield key
        if perf_counter() - started > SLICE_S:
            await asyncio.sleep(0)
            started = perf_counter()


def _is_idle(tracked: Tracked, now_us: int) -> bool:
    return tracked.heard_us < now_us - (SILENT_US if tracked.device.state.inside else IDLE_US)
