"""What is held of each live device, and the door for its pings: compiled where the kernels are built, else plain.

Both refuse the same points for good. The compiled one also takes the quiet pings by itself, those that cause nothing;
the plain one leaves every ping to the machine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import replace

from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.rates import Bucket
from geo_offers.pipeline.requests import Arrival, Code, Left, Point, Points
from geo_offers.pipeline.seclusion import secluded
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.fixes import check
from geo_offers.presence.states import PresenceState
from geo_offers.presence.trail import Worth


class Track(msgspec.Struct, frozen=True):
    """A device as it is held. `epoch`: of its partition's ownership when it was loaded; None where it was not ours."""

    device: KnownDevice
    epoch: int | None
    heard_us: int


class Moved(Left, Protocol):
    """Of points that were stepped, with the arrivals that they made, in order."""

    @property
    def arrivals(self) -> list[Arrival]: ...


Share: TypeAlias = tuple[UUID, UUID, int, list[int]]
"""A device's points of a request: user, device, the user's partition, numbers of the points."""


class Tracks(Protocol):
    """Devices by id. Instants are microseconds; `fences` is the index of the device's workspace."""

    @property
    def looked(self) -> int:
        """Of how many points the last `settle` looked for the fences that hold them; it took `looked_s` seconds."""
        ...

    @property
    def looked_s(self) -> float: ...

    def __len__(self) -> int: ...
    def __contains__(self, device: UUID) -> bool: ...

    def add(self, device: KnownDevice, epoch: int | None, heard_us: int, fences: GeofenceIndex, *, held: bool) -> None:
        """Hold a device that is not held."""
        ...

    def drop(self, device: UUID) -> None:
        """Hold a device no more that is held."""
        ...

    def get(self, device: UUID) -> Track | None: ...

    def where(self, device: UUID) -> Whereabouts | None:
        """What the person of a device that is held said of being located; None for the default."""
        ...

    def is_of(self, device: UUID, workspace: UUID, user: UUID, token_epoch: int) -> bool:
        """Whether a device is held, and is that person's under that epoch of its tokens."""
        ...

    def shares(self, points: Points, codes: bytearray, numbers: Iterable[int]) -> Iterable[Share]:
        """Of these points those to be stepped, by device."""
        ...

    def of_user(self, user: UUID) -> Sequence[UUID]: ...

    def hold(self, user: UUID, held: bool) -> None:
        """While a user is held, all pings of theirs are to be stepped, and none of their devices is swept away."""
        ...

    def gate(self, device: UUID, epochs: Mapping[int, int]) -> int:
        """`Code.STEP` where the device may be stepped now, else why not.

        ABSENT: it is not held, or its partition has not been ours (`epochs`) without a break since it was loaded.
        """
        ...

    def step(
        self, device: UUID, points: Points, numbers: list[int], codes: bytearray, index: GeofenceIndex
    ) -> Moved | None:
        """Step these points of a held device, and leave the device as it is. None: the machine has to, nothing is done.

        index: of the device's workspace.
        """
        ...

    def install(self, device: UUID, state: Left, fences: GeofenceIndex) -> None:
        """Take the state that a part left a device in."""
        ...

    def settle(
        self,
        points: Points,
        codes: bytearray,
        workspace: UUID,
        received_us: int,
        *,
        epochs: Mapping[int, int],
        index: GeofenceIndex | None,
        private: GeofenceIndex | None = None,
    ) -> bool:
        """Tell what becomes of each point whose code is ABSENT. True where some are absent still, or to be stepped.

        Of one device the points up to the first that is to be stepped are taken, all after it are to be stepped too.
        epochs: of the partitions that are ours. index: of the workspace; without one nothing is taken.
        private: as `seclusion.secluded`; what that hides is not looked at, and its phone was not heard.
        """
        ...

    def take_left_out(self) -> Mapping[Worth, int]:
        """How many fixes at calibrated fences were left out or doubted since this was last asked.

        Those that the memory has taken itself.
        """
        ...

    def sweep(self, start: int, count: int, idle_before_us: int, silent_before_us: int) -> tuple[int, Iterable[UUID]]:
        """Drop devices last heard before an instant, another for those inside a fence: of `count` from `start` on.

        Gives where to go on, less than 0 at the end, and the workspace of each that went.
        """
        ...

    def heard(self, start: int, count: int) -> tuple[int, Mapping[UUID, int]]:
        """When devices inside a fence were last heard: of `count` from `start` on; and where to go on, as `sweep`."""
        ...


def unlocatable(device: KnownDevice) -> Code | None:
    """Why the device's person may not be located, or None."""
    if not device.locate:
        return Code.CONSENT_REQUIRED
    return None if device.of_age else Code.AGE


LEAP_DEG: Final = 1.0
"""50 to 111 km between two fixes: the phone has not gone there by the straight way."""


@dataclass(slots=True, eq=False)
class _Held:
    device: KnownDevice
    epoch: int | None
    heard_us: int
    bucket: Bucket
    held: bool


class PlainTracks:
    """See `Tracks`; `rate_per_s` and `burst` are a device's requests, save those of a replay."""

    looked: Final = 0
    looked_s: Final = 0.0

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate = rate_per_s, burst
        self._held: dict[UUID, _Held] = {}
        self._of_user: dict[UUID, list[UUID]] = {}
        self._sweeping: list[UUID] = []

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, device: UUID) -> bool:
        return device in self._held

    def add(
        self,
        device: KnownDevice,
        epoch: int | None,
        heard_us: int,
        fences: GeofenceIndex,  # noqa: ARG002 - the compiled one's stays name their fences' filings
        *,
        held: bool,
    ) -> None:
        self._held[device.id] = _Held(device, epoch, heard_us, Bucket(*self._rate, heard_us), held)
        self._of_user.setdefault(device.user, []).append(device.id)

    def drop(self, device: UUID) -> None:
        user = self._held.pop(device).device.user
        self._of_user[user].remove(device)
        if not self._of_user[user]:
            del self._of_user[user]

    def get(self, device: UUID) -> Track | None:
        held = self._held.get(device)
        return None if held is None else Track(held.device, held.epoch, held.heard_us)

    def where(self, device: UUID) -> Whereabouts | None:
        return self._held[device].device.where

    def is_of(self, device: UUID, workspace: UUID, user: UUID, token_epoch: int) -> bool:
        held = self._held.get(device)
        known = None if held is None else held.device
        return known is not None and (known.workspace, known.user, known.token_epoch) == (workspace, user, token_epoch)

    def shares(self, points: Points, codes: bytearray, numbers: Iterable[int]) -> Iterable[Share]:
        found: dict[UUID, Share] = {}
        for number in numbers:
            if codes[number] == Code.STEP:
                device = points[number].device
                if device not in found:
                    known = self._held[device].device
                    found[device] = (known.user, device, known.partition, [])
                found[device][-1].append(number)
        return found.values()

    def of_user(self, user: UUID) -> Sequence[UUID]:
        return tuple(self._of_user.get(user, ()))

    def hold(self, user: UUID, held: bool) -> None:
        for device in self.of_user(user):
            self._held[device].held = held

    def gate(self, device: UUID, epochs: Mapping[int, int]) -> int:
        held = self._held.get(device)
        if held is None or held.epoch is None or held.epoch != epochs.get(held.device.partition):
            return Code.ABSENT
        return unlocatable(held.device) or Code.STEP

    def step(
        self,
        device: UUID,  # noqa: ARG002 - here and below: every point is the machine's
        points: Points,  # noqa: ARG002
        numbers: list[int],  # noqa: ARG002
        codes: bytearray,  # noqa: ARG002
        index: GeofenceIndex,  # noqa: ARG002
    ) -> None:
        return None

    def install(self, device: UUID, state: Left, fences: GeofenceIndex) -> None:  # noqa: ARG002 - as `add`
        assert isinstance(state, PresenceState)  # it makes no other
        held = self._held[device]
        held.device = replace(held.device, state=state)

    def settle(
        self,
        points: Points,
        codes: bytearray,
        workspace: UUID,
        received_us: int,
        *,
        epochs: Mapping[int, int],  # noqa: ARG002 - whoever steps a point asks for them
        index: GeofenceIndex | None,
        private: GeofenceIndex | None = None,
    ) -> bool:
        gates: dict[UUID, Code] = {}
        for number in range(len(points)):
            point = points[number]
            held = self._held.get(point.device)
            if codes[number] == Code.ABSENT and held is not None:
                heard_us = held.heard_us
                codes[number] = code = self._door(point, held, gates, workspace, received_us)
                hidden = secluded(point, held.device.where, private, index) if code == Code.STEP else None
                if hidden is not None:
                    codes[number], held.heard_us = hidden, heard_us
        return Code.STEP in codes or Code.ABSENT in codes

    def _door(self, point: Point, held: _Held, gates: dict[UUID, Code], workspace: UUID, received_us: int) -> Code:
        if held.device.workspace != workspace:
            return Code.UNKNOWN_DEVICE
        if point.device not in gates:
            gates[point.device] = _gate(held, received_us)
        if gates[point.device] != Code.STEP:
            return gates[point.device]
        held.heard_us = received_us
        lat, lon = (0.0, 0.0) if point.region is not None else (point.lat, point.lon)
        if lat is None or lon is None:
            return Code.OUT_OF_RANGE
        refusal = check(point.at_us, lat, lon, now_us=received_us, replay=held.device.replay)
        return Code.STEP if refusal is None else Code[refusal.name]

    def take_left_out(self) -> Mapping[Worth, int]:
        return {}

    def sweep(self, start: int, count: int, idle_before_us: int, silent_before_us: int) -> tuple[int, Iterable[UUID]]:
        gone = []
        here, after = self._slice(start, count)
        for device in here:
            held = self._held[device]
            before_us = silent_before_us if held.device.state.inside else idle_before_us
            if held.heard_us < before_us and not held.held:
                self.drop(device)
                gone.append(held.device.workspace)
        return after, gone

    def heard(self, start: int, count: int) -> tuple[int, Mapping[UUID, int]]:
        here, after = self._slice(start, count)
        return after, {device: self._held[device].heard_us for device in here if self._held[device].device.state.inside}

    def _slice(self, start: int, count: int) -> tuple[Sequence[UUID], int]:
        """Of the devices as they were when a sweep began, and are still."""
        if start == 0:
            self._sweeping = list(self._held)
        here = [device for device in self._sweeping[start : start + count] if device in self._held]
        return here, -1 if start + count >= len(self._sweeping) else start + count


def _gate(held: _Held, received_us: int) -> Code:
    """What holds for all points of a device in one request."""
    reason = unlocatable(held.device)
    if reason is not None:
        return reason
    if held.device.replay or held.bucket.take(received_us):
        return Code.STEP
    held.heard_us = min(held.heard_us, received_us)
    return Code.RATE
