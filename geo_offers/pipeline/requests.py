"""One request of pings on its way through the engine: points in, one result each out, in the request's order."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from geo_offers.places.fences import Geofence
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import PresenceState, Transition

Status = Literal["accepted", "late", "duplicate", "refused"]


@dataclass(frozen=True, slots=True)
class Point:
    """A ping as the edge read it: either a position, or what the phone's own region monitoring saw."""

    device: UUID
    at_us: int | None
    lat: float | None
    lon: float | None
    accuracy_m: float | None = None
    speed_mps: float | None = None
    region: str | None = None
    entered: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    status: Status
    reason: str | None = None


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


@dataclass(frozen=True, slots=True)
class Seen:
    device: UUID
    transition: Transition


@dataclass(slots=True, eq=False)
class Request:
    """Collects the results of its parts; `done` resolves when each is committed, or fails with the first failure."""

    workspace: UUID
    received_us: int
    results: list[Result | None]
    done: asyncio.Future[None]
    parts: int = 0
    transitions: list[Seen] = field(default_factory=list)
    offers: list[MadeOffer] = field(default_factory=list)
    last: Fix | None = None
    failure: Exception | None = None

    def part_done(self) -> None:
        self.parts -= 1
        if self.parts == 0 and not self.done.done():
            if self.failure is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(self.failure)


@dataclass(slots=True, eq=False)
class Arrival:
    """One transition with what a decision needs of its fence; the fence is None where it was removed meanwhile."""

    device: UUID
    transition: Transition
    fence: Geofence | None


@dataclass(slots=True, eq=False)
class Part:
    """One request's points of one device: the unit of a turn. A user takes part in a turn with one part at a time.

    state: of the device after the points; None before they are stepped.
    rest: points that this part leaves to the next, since it has made many transitions.
    epoch: of the partition's ownership under which the device was loaded; no other may commit them.
    """

    request: Request
    user: UUID
    device: UUID
    partition: int
    points: list[tuple[int, Point]]
    state: PresenceState | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    rest: list[tuple[int, Point]] = field(default_factory=list)
    taken_us: int = 0
    epoch: int = -1
    leaps: int = 0

    def refuse(self, reason: str) -> None:
        """Refuses all points for good, those left to the next part too."""
        for number, _ in (*self.points, *self.rest):
            self.request.results[number] = Result("refused", reason)
        self.points, self.rest = [], []

    def next(self) -> "Part":
        """The part that takes the rest."""
        return Part(self.request, self.user, self.device, self.partition, self.rest, leaps=self.leaps)
