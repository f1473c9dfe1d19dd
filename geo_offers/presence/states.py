"""What presence consists of, as values: open visits, the edges a fix makes, and the state of one device."""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum, auto
from operator import attrgetter
from typing import Final, Literal
from uuid import UUID

import msgspec

from geo_offers.places.fences import FenceId, Geofence
from geo_offers.presence.evidence import PRIOR
from geo_offers.presence.trail import Trail
from geo_offers.presence.visits import visit_id

DRIVING_MPS: Final = 7.0

Label = Literal["stopped", "walked_through", "drove_past"]


class TransitionType(StrEnum):
    """An edge between a device and a fence. The order here is the order in which one fix's edges are told.

    A confirm is told to nobody but the decision: the visit has become certain enough for an offer.
    """

    EXIT = "exit"
    CROSS = "cross"
    ENTER = "enter"
    CONFIRM = "confirm"
    DWELL = "dwell"


Told = Literal["exit", "cross", "enter", "dwell"]
_TOLD: Final[Mapping[TransitionType, Told]] = {
    TransitionType.EXIT: "exit",
    TransitionType.CROSS: "cross",
    TransitionType.ENTER: "enter",
    TransitionType.CONFIRM: "enter",
    TransitionType.DWELL: "dwell",
}
_ORDER: Final = {kind: place for place, kind in enumerate(TransitionType)}


class Course(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a visit has gone so far, as the fixes tell; for what no fix tells, the field's default.

    confirmed: certain enough for an offer. confidence: the highest so far. fixes: usable ones, accuracy_m: their mean.
    way_m: from fix to fix. stopped: the phone kept still there.
    """

    confirmed: bool = False
    confidence: float = 0.0
    fixes: int = 0
    accuracy_m: float = 0.0
    way_m: float = 0.0
    stopped: bool = False

    def label(self, entered_us: int, at_us: int) -> Label:
        """What kind of visit it was between these instants."""
        if self.stopped:
            return "stopped"
        took_s = (at_us - entered_us) / 1e6
        return "drove_past" if self.way_m > DRIVING_MPS * took_s > 0 else "walked_through"


class Stay(msgspec.Struct, frozen=True, omit_defaults=True):
    """An open visit: the device is inside `fence` since `entered_us`; `fence_version` is the one it entered.

    log_odds and course are of calibrated fences, else None.
    """

    fence: FenceId
    fence_version: int
    visit: UUID
    entered_us: int
    dwelt: bool = False
    log_odds: float | None = None
    course: Course | None = None

    @classmethod
    def begun(cls, fence: Geofence, at_us: int, workspace: UUID, device: UUID) -> "Stay":
        return cls(fence.id, fence.version, visit_id(workspace, device, fence.id, at_us), at_us)


class Was(IntEnum):
    """What a device was to a fence, before a fix."""

    OUT = auto()
    IN = auto()
    DUE = auto()  # inside, the dwell deadline has come and no dwell was told yet


def was(stay: Stay | None, fence: Geofence | None, at_us: int) -> Was:
    """Tell it of an open visit and its fence, None where that is gone, at this instant."""
    if stay is None:
        return Was.OUT
    if fence is None or stay.dwelt or at_us < stay.entered_us + round(fence.detect.dwell_s * 1_000_000):
        return Was.IN
    return Was.DUE


class Transition(msgspec.Struct, frozen=True):
    """One edge.

    visit and entered_us are None for a cross. distance_m is the signed distance to the border, negative inside; None
    when it cannot be known: the fence is gone, or the phone's region monitoring told us. course: of a visit at a
    calibrated fence. dwelt: whether the visit has had its dwell.
    """

    type: TransitionType
    fence: FenceId
    fence_version: int
    at_us: int
    visit: UUID | None
    entered_us: int | None
    accuracy_m: float
    distance_m: float | None
    confidence: float = 1.0
    course: Course | None = None
    dwelt: bool = False

    @property
    def triggers(self) -> tuple[TransitionType, ...]:
        """What campaigns may answer of it. At a calibrated fence nothing before the visit is confirmed."""
        if self.course is None:
            return (self.type,)
        if not self.course.confirmed:
            return ()
        if self.type is TransitionType.CONFIRM:
            return (TransitionType.ENTER, TransitionType.DWELL) if self.dwelt else (TransitionType.ENTER,)
        return (self.type,)

    @property
    def told(self) -> Told:
        """What it is called outside: a confirm is the enter that has become certain."""
        return _TOLD[self.type]

    @property
    def label(self) -> Label | None:
        """What kind of visit it was, so far; None where nothing tells."""
        if self.course is None or self.entered_us is None:
            return None
        return self.course.label(self.entered_us, self.at_us)


class PresenceState(msgspec.Struct, frozen=True):
    """What is known of one device; never mutated.

    lat and lon are the newest fix's, None when unknown. recent are fingerprints of the newest 64 fixes, 3 bytes each,
    newest last: a resent fix is known again without keeping where the device was. Of calibrated fences: trail, what
    the usable fixes were; elsewhere, the log-odds at any fence that is not named; arriving, those at fences that the
    device may be in, beyond `inside`.
    """

    newest_us: int | None = None
    lat: float | None = None
    lon: float | None = None
    inside: Mapping[FenceId, Stay] = msgspec.field(default_factory=dict)
    recent: bytes = b""
    trail: Trail | None = None
    elsewhere: float = PRIOR
    arriving: Mapping[FenceId, float] = msgspec.field(default_factory=dict)

    def kept(self) -> bytes:
        """Write the part of it that outlives the process, as JSON: instants and open stays, no coordinate."""
        trail_us = None if self.trail is None else self.trail.at_us
        return msgspec.json.encode(_Kept(self.newest_us, _sorted(self.inside.values()), trail_us))


NOWHERE: Final = PresenceState()


def in_order(edge: Transition) -> tuple[int, FenceId]:
    """Sort one fix's edges by this."""
    return _ORDER[edge.type], edge.fence


class _Kept(msgspec.Struct, omit_defaults=True):
    """As `PresenceState.kept` writes it. trail_us: of the newest usable fix."""

    newest_us: int | None
    inside: Sequence[Stay]
    trail_us: int | None = None


def load(kept: bytes) -> PresenceState:
    """Read what was kept of a state; where the device was and its newest fixes are unknown from then on.

    Raises msgspec.DecodeError when the bytes are not of `PresenceState.kept`'s making.
    """
    found = msgspec.json.decode(kept, type=_Kept)
    return PresenceState(
        newest_us=found.newest_us,
        inside={stay.fence: stay for stay in found.inside},
        trail=None if found.trail_us is None else Trail(found.trail_us),
    )


def _sorted(stays: Iterable[Stay]) -> list[Stay]:
    return sorted(stays, key=attrgetter("fence"))
