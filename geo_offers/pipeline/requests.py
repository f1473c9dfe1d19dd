"""One request of pings on its way through the engine: points in, one result each out, in the request's order."""

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal, Protocol
from uuid import UUID

import msgspec

from geo_offers.places.fences import Geofence
from geo_offers.presence.fixes import Fix, usable_accuracy_m, usable_speed_mps
from geo_offers.presence.states import Transition

Status = Literal["accepted", "late", "duplicate", "refused"]


class Point(msgspec.Struct, frozen=True):
    """A ping as the edge read it: either a position, or what the phone's own region monitoring saw."""

    device: UUID
    at_us: int | None
    lat: float | None
    lon: float | None
    accuracy_m: float | None = None
    speed_mps: float | None = None
    mock: bool = False
    region: str | None = None
    entered: bool = False
    foreground: bool = False

    def fix(self) -> Fix:
        """Of a point with a position and a time."""
        assert self.at_us is not None
        assert self.lat is not None
        assert self.lon is not None
        accuracy_m, speed_mps = usable_accuracy_m(self.accuracy_m), usable_speed_mps(self.speed_mps)
        return Fix(self.at_us, self.lat, self.lon, accuracy_m, speed_mps, self.mock)


class Points(Protocol):
    """The points of a request: a list of them, or columns that make one when asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Point: ...


class Code(IntEnum):
    """What became of a point, as a byte: of the first three, two are on their way. The compiled memory knows them."""

    ACCEPTED = 0
    ABSENT = 1
    """The device is not in memory."""
    STEP = 2
    """To be stepped by the machine."""
    UNKNOWN_DEVICE = 3
    CONSENT_REQUIRED = 4
    AGE = 5
    RATE = 6
    OUT_OF_RANGE = 7
    BAD_TIME = 8
    FUTURE = 9
    TOO_OLD = 10
    LATE = 11
    DUPLICATE = 12
    UNKNOWN_REGION = 13
    PRIVATE = 14
    """At a place where nobody, or this person, is to be seen: not looked at, and answered as if it were."""
    UNSEEN = 15
    """The person does not let us locate them so: as PRIVATE, and the phone may as well be silent."""


@dataclass(frozen=True, slots=True)
class Result:
    status: Status
    reason: str | None = None


_OTHER: Final = {
    Code.ACCEPTED: Result("accepted"),
    Code.LATE: Result("late"),
    Code.DUPLICATE: Result("duplicate"),
    Code.PRIVATE: Result("accepted"),
    Code.UNSEEN: Result("accepted"),
}
RESULTS: Final = tuple(_OTHER.get(code) or Result("refused", code.name.lower()) for code in Code)
"""By code; of those on their way there is none to be told."""

_ACCEPTED: Final = int(Code.ACCEPTED)
_PRIVATE: Final = int(Code.PRIVATE)
_UNSEEN: Final = int(Code.UNSEEN)


def counted(codes: bytearray) -> int:
    """How many of a request's points are looked at, of those whose devices are in memory; the others leave no trace."""
    return len(codes) - codes.count(Code.ABSENT) - codes.count(_PRIVATE) - codes.count(_UNSEEN)


@dataclass(frozen=True, slots=True)
class MadeOffer:
    """An offer that this request caused, as the phone may keep it; showing it is the dispatcher's."""

    id: UUID
    campaign: UUID
    fence: str
    message: bytes
    lane: str
    created_us: int
    expires_us: int


class Seen(msgspec.Struct, frozen=True):
    device: UUID
    transition: Transition


@dataclass(slots=True, eq=False)
class Request:
    """Collects what becomes of its points; open while parts of it are under way, or devices are being loaded.

    codes: a `Code` a point.
    """

    workspace: UUID
    received_us: int
    points: Points
    codes: bytearray
    parts: int = 0
    transitions: list[Seen] = field(default_factory=list)
    offers: list[MadeOffer] = field(default_factory=list)
    failure: Exception | None = None
    done: asyncio.Future[None] | None = None

    @property
    def loading(self) -> bool:
        """Whether devices have to be loaded first."""
        return Code.ABSENT in self.codes

    @property
    def results(self) -> list[Result]:
        return [RESULTS[code] for code in self.codes]

    @property
    def last(self) -> Fix | None:
        """The newest position of those answered as accepted, so that what follows from it tells nothing of the others.

        None where none is to be looked at.
        """
        taken = (self.points[number] for number, code in enumerate(self.codes) if code in (_ACCEPTED, _PRIVATE))
        placed = (point for point in taken if point.region is None)
        newest = max(placed, key=lambda point: point.at_us or 0, default=None)
        return None if newest is None else newest.fix()

    @property
    def is_unseen(self) -> bool:
        """Whether its person does not let us look at all of it."""
        return _UNSEEN in self.codes

    def part_done(self) -> bool:
        """Whether it was the last one."""
        self.parts -= 1
        if self.parts == 0 and self.done is not None and not self.done.done():
            self.done.set_result(None)
        return self.parts == 0


async def answered(request: Request) -> None:
    """Waits until every point is answered, and raises the first failure.

    Who stops waiting leaves the request as it is: its points stay counted.
    """
    if request.parts:
        request.done = asyncio.get_running_loop().create_future()
        await asyncio.shield(request.done)
    if request.failure is not None:
        raise request.failure


class Arrival(msgspec.Struct, eq=False):
    """One transition with what a decision needs of its fence; the fence is None where it was removed meanwhile."""

    device: UUID
    transition: Transition
    fence: Geofence | None


class Left(Protocol):
    """What a part leaves its device in: a `PresenceState`, or what the compiled memory has made of one."""

    @property
    def newest_us(self) -> int | None: ...
    def kept(self) -> bytes:
        """As `PresenceState.kept`."""
        ...


@dataclass(slots=True, eq=False)
class Part:
    """One request's points of one device: the unit of a turn. A user takes part in a turn with one part at a time.

    numbers: of its points in the request. state: what they leave the device in; None before they are stepped.
    rest: numbers of points that this part leaves to the next, since it has made many transitions.
    epoch: of the partition's ownership under which the device was loaded; no other may commit them.
    """

    request: Request
    user: UUID
    device: UUID
    partition: int
    numbers: list[int]
    state: Left | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)
    taken_us: int = 0
    epoch: int = -1
    leaps: int = 0

    def refuse(self, reason: str) -> None:
        """Refuses all points for good, those left to the next part too."""
        for number in (*self.numbers, *self.rest):
            self.request.codes[number] = Code[reason.upper()]
        self.numbers, self.rest = [], []

    def next(self) -> "Part":
        """The part that takes the rest."""
        return Part(self.request, self.user, self.device, self.partition, self.rest, leaps=self.leaps)
