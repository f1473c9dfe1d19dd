"""Where a device is, fence by fence, and which edges a fix makes: enter, dwell, exit, cross.

The rules (plain edges, detection mode `raw`):

- A device starts outside of every fence. Its first fix inside one is an enter.
- A fix inside after one outside is an enter and begins a visit; a fix outside after one inside is an exit, its end.
- The first fix still inside at or after the dwell deadline (enter + the fence's dwell time) is a dwell, once a visit.
  There is no timer: without a fix nothing happens, and a fix outside is an exit however late it comes.
- When the straight segment from the last fix to this one runs through a fence and neither end is inside, that is a
  cross. It is never an enter and begins no visit. A segment that starts in the fence makes an exit, one that ends in it
  an enter.
- Of one fix's edges exits come first, then crosses, enters, dwells; among equals the fence id decides.
- A fence that was removed while the device was inside is left with the next fix: an ordinary exit.
- Time is the fix's own `at`. A fix older than the newest one is `late` and makes no edge; one that is among the newest
  64 is a `duplicate`. Two fixes of the same instant at different places are both taken, in the order given.
- What the phone's own region monitoring saw moves just that fence; where the device is otherwise is unknown from then
  on, so the next fix ends no segment.

A state is a value: `step` returns a new one and leaves its argument as it was, so that a turn's states can be installed
after its commit, or dropped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum, auto
from operator import attrgetter
from struct import pack
from typing import Final, Literal
from uuid import UUID
from zlib import crc32

import msgspec
from msgspec.structs import replace

from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import border_distance_one
from geo_offers.presence.fixes import DEFAULT_ACCURACY_M, Fix
from geo_offers.presence.visits import visit_id

REMEMBERED: Final = 64
_KEY_BYTES: Final = 3

Reception = Literal["accepted", "late", "duplicate"]


class TransitionType(StrEnum):
    """An edge between a device and a fence. The order here is the order in which one fix's edges are told."""

    EXIT = "exit"
    CROSS = "cross"
    ENTER = "enter"
    DWELL = "dwell"


class _Was(IntEnum):
    OUT = auto()
    IN = auto()
    DUE = auto()  # inside, the dwell deadline has come and no dwell was told yet


class _Seen(IntEnum):
    AWAY = auto()
    THROUGH = auto()  # outside, the segment to this fix runs through
    WITHIN = auto()


EDGES: Final[Mapping[tuple[_Was, _Seen], TransitionType | None]] = {
    (_Was.OUT, _Seen.AWAY): None,
    (_Was.OUT, _Seen.THROUGH): TransitionType.CROSS,
    (_Was.OUT, _Seen.WITHIN): TransitionType.ENTER,
    (_Was.IN, _Seen.AWAY): TransitionType.EXIT,
    (_Was.IN, _Seen.THROUGH): TransitionType.EXIT,
    (_Was.IN, _Seen.WITHIN): None,
    (_Was.DUE, _Seen.AWAY): TransitionType.EXIT,
    (_Was.DUE, _Seen.THROUGH): TransitionType.EXIT,
    (_Was.DUE, _Seen.WITHIN): TransitionType.DWELL,
}
_ORDER: Final = {kind: place for place, kind in enumerate(TransitionType)}


class Stay(msgspec.Struct, frozen=True):
    """An open visit: the device is inside `fence` since `entered_us`; `fence_version` is the one it entered."""

    fence: FenceId
    fence_version: int
    visit: UUID
    entered_us: int
    dwelt: bool = False


class Transition(msgspec.Struct, frozen=True):
    """One edge.

    visit and entered_us are None for a cross. distance_m is the signed distance to the border, negative inside; None
    when it cannot be known: the fence is gone, or the phone's region monitoring told us.
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


class PresenceState(msgspec.Struct, frozen=True):
    """What is known of one device; never mutated.

    lat and lon are the newest fix's, None when unknown. recent are fingerprints of the newest 64 fixes, 3 bytes each,
    newest last: a resent fix is known again without keeping where the device was.
    """

    newest_us: int | None = None
    lat: float | None = None
    lon: float | None = None
    inside: Mapping[FenceId, Stay] = msgspec.field(default_factory=dict)
    recent: bytes = b""

    def kept(self) -> bytes:
        """Write the part of it that outlives the process, as JSON: newest instant, open stays, no coordinate."""
        return msgspec.json.encode({"newest_us": self.newest_us, "inside": _sorted(self.inside.values())})


NOWHERE: Final = PresenceState()

FenceLookup = Callable[[FenceId], Geofence | None]
Measure = Callable[[Geofence, float, float], float]


def _unknown(_fence: FenceId) -> None:
    return None


def _measured(fence: Geofence, lat: float, lon: float) -> float:
    return border_distance_one(fence.geometry, lat, lon)


def fingerprint(fix: Fix) -> bytes:
    """Mark a fix, so that it is known when it is sent again: the low 24 bits of its CRC-32.

    Only what is not newer than the newest fix is compared. A collision costs a phone, once in 260,000 second fixes of
    the same instant, that fix; of older ones it changes nothing but the word, `duplicate` for `late`.
    """
    return crc32(pack("<qdd", fix.at_us, fix.lat, fix.lon)).to_bytes(4, "little")[:_KEY_BYTES]


def receive(state: PresenceState, fix: Fix) -> Reception:
    """Tell whether a fix may be stepped: only `accepted` ones may."""
    if state.newest_us is None or fix.at_us > state.newest_us:
        return "accepted"
    recent, key = state.recent, fingerprint(fix)
    if any(recent.startswith(key, at) for at in range(0, len(recent), _KEY_BYTES)):
        return "duplicate"
    return "late" if fix.at_us < state.newest_us else "accepted"


def step(
    state: PresenceState,
    fix: Fix,
    inside: Sequence[Geofence],
    crossed: Sequence[Geofence],
    *,
    workspace: UUID,
    device: UUID,
    lookup: FenceLookup = _unknown,
    measure: Measure = _measured,
) -> tuple[PresenceState, tuple[Transition, ...]]:
    """Take an accepted fix: the state after it, and the edges it made, in order.

    inside: the active fences that hold the fix. crossed: those that the segment from the last fix runs through; empty
    when the state knows no last position. lookup finds a fence that was left, for the exit's distance; measure
    tells signed metres from a fence's border.
    """
    recent = state.recent[-(REMEMBERED - 1) * _KEY_BYTES :] + fingerprint(fix)
    if not (inside or crossed or state.inside):  # nearly every fix
        return PresenceState(fix.at_us, fix.lat, fix.lon, state.inside, recent), ()
    seen = {fence.id: (_Seen.THROUGH, fence) for fence in crossed}
    seen |= {fence.id: (_Seen.WITHIN, fence) for fence in inside}
    stays = dict(state.inside)
    edges: list[Transition] = []
    for fence_id in stays.keys() | seen.keys():
        stay = state.inside.get(fence_id)
        how, fence = seen.get(fence_id) or (_Seen.AWAY, None)
        kind = EDGES[_was(stay, fence, fix.at_us), how]
        if kind is None:
            continue
        if kind is TransitionType.ENTER and fence is not None:
            stay = _begun(fence, fix.at_us, workspace, device)
        fence = fence or lookup(fence_id)
        distance_m = None if fence is None else measure(fence, fix.lat, fix.lon)
        edges.append(_edge(kind, fence, stay, fix, distance_m))
        _apply(stays, kind, stay)
    edges.sort(key=in_order)
    return PresenceState(fix.at_us, fix.lat, fix.lon, stays if edges else state.inside, recent), tuple(edges)


def step_region(
    state: PresenceState, at_us: int, fence: Geofence, *, entered: bool, workspace: UUID, device: UUID
) -> tuple[PresenceState, tuple[Transition, ...]]:
    """Take what the phone's own monitoring saw of one region; what is known already makes no edge.

    The caller has asked `is_late` first. The phone says nothing of where in the fence it is: accuracy is the default,
    the distance unknown.
    """
    stay = state.inside.get(fence.id)
    kind = EDGES[_Was.OUT if stay is None else _Was.IN, _Seen.WITHIN if entered else _Seen.AWAY]
    moved = replace(state, newest_us=at_us, lat=None, lon=None)
    if kind is None:
        return moved, ()
    stay = stay or _begun(fence, at_us, workspace, device)
    edge = Transition(
        kind, fence.id, stay.fence_version, at_us, stay.visit, stay.entered_us, DEFAULT_ACCURACY_M, distance_m=None
    )
    stays = dict(state.inside)
    _apply(stays, kind, stay)
    return replace(moved, inside=stays), (edge,)


def in_order(edge: Transition) -> tuple[int, FenceId]:
    """Sort one fix's edges by this."""
    return _ORDER[edge.type], edge.fence


def is_late(state: PresenceState, at_us: int) -> bool:
    """Tell whether something seen at `at_us` is older than what the state stands on."""
    return state.newest_us is not None and at_us < state.newest_us


def _was(stay: Stay | None, fence: Geofence | None, at_us: int) -> _Was:
    if stay is None:
        return _Was.OUT
    if fence is None or stay.dwelt or at_us < stay.entered_us + round(fence.detect.dwell_s * 1_000_000):
        return _Was.IN
    return _Was.DUE


def _begun(fence: Geofence, at_us: int, workspace: UUID, device: UUID) -> Stay:
    return Stay(fence.id, fence.version, visit_id(workspace, device, fence.id, at_us), at_us)


def _edge(
    kind: TransitionType, fence: Geofence | None, stay: Stay | None, fix: Fix, distance_m: float | None
) -> Transition:
    if stay is not None:
        visit, entered_us = stay.visit, stay.entered_us
        return Transition(
            kind, stay.fence, stay.fence_version, fix.at_us, visit, entered_us, fix.accuracy_m, distance_m=distance_m
        )
    assert fence is not None  # without a stay the table tells only a cross, and a crossed fence was given
    return Transition(
        kind, fence.id, fence.version, fix.at_us, None, None, accuracy_m=fix.accuracy_m, distance_m=distance_m
    )


def _apply(stays: dict[FenceId, Stay], kind: TransitionType, stay: Stay | None) -> None:
    if stay is None:  # a cross
        return
    if kind is TransitionType.EXIT:
        del stays[stay.fence]
    else:
        stays[stay.fence] = replace(stay, dwelt=True) if kind is TransitionType.DWELL else stay


class _Kept(msgspec.Struct):
    """As `PresenceState.kept` wrote it."""

    newest_us: int | None
    inside: tuple[Stay, ...]


def load(kept: bytes) -> PresenceState:
    """Read what was kept of a state; where the device was and its newest fixes are unknown from then on.

    Raises msgspec.DecodeError when the bytes are not of `PresenceState.kept`'s making.
    """
    found = msgspec.json.decode(kept, type=_Kept)
    return PresenceState(newest_us=found.newest_us, inside={stay.fence: stay for stay in found.inside})


def _sorted(stays: Iterable[Stay]) -> list[Stay]:
    return sorted(stays, key=attrgetter("fence"))
