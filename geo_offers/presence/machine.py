"""Where a device is, fence by fence, and which edges a fix makes: enter, dwell, exit, cross.

A fence says by its detection mode how its edges are made: `raw` by the rules here, `calibrated` by those of
`calibrated.py`. The rules of plain edges:

- A device starts outside of every fence. Its first fix inside one is an enter.
- A fix inside after one outside is an enter and begins a visit; a fix outside after one inside is an exit, its end.
- The first fix still inside at or after the dwell deadline (enter + the fence's dwell time) is a dwell, once a visit.
  There is no timer: without a fix nothing happens, and a fix outside is an exit however late it comes.
- When the straight segment from the last fix to this one runs through a fence and neither end is inside, that is a
  cross. It is never an enter and begins no visit. A segment that starts in the fence makes an exit, one that ends in it
  an enter.
- What the phone's own region monitoring saw moves just that fence; where the device is otherwise is unknown from then
  on, so the next fix ends no segment.

And what holds for both:

- Of one fix's edges exits come first, then crosses, enters, confirms, dwells; among equals the fence id decides.
- A fence that was removed while the device was inside is left with the next fix: an ordinary exit.
- Time is the fix's own `at`. A fix older than the newest one is `late` and makes no edge; one that is among the newest
  64 is a `duplicate`. Two fixes of the same instant at different places are both taken, in the order given.

A state is a value: `step` returns a new one and leaves its argument as it was, so that a turn's states can be installed
after its commit, or dropped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum, auto
from struct import pack
from typing import Final, Literal
from uuid import UUID
from zlib import crc32

from msgspec.structs import replace

from geo_offers.places.breadth import breadth_m
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import border_distance_one
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence import calibrated
from geo_offers.presence.calibrated import View, Who, is_calibrated
from geo_offers.presence.fixes import DEFAULT_ACCURACY_M, Fix
from geo_offers.presence.states import PresenceState, Stay, Transition, TransitionType, Was, in_order, was

REMEMBERED: Final = 64
_KEY_BYTES: Final = 3

Reception = Literal["accepted", "late", "duplicate"]


class _Seen(IntEnum):
    AWAY = auto()
    THROUGH = auto()  # outside, the segment to this fix runs through
    WITHIN = auto()


EDGES: Final[Mapping[tuple[Was, _Seen], TransitionType | None]] = {
    (Was.OUT, _Seen.AWAY): None,
    (Was.OUT, _Seen.THROUGH): TransitionType.CROSS,
    (Was.OUT, _Seen.WITHIN): TransitionType.ENTER,
    (Was.IN, _Seen.AWAY): TransitionType.EXIT,
    (Was.IN, _Seen.THROUGH): TransitionType.EXIT,
    (Was.IN, _Seen.WITHIN): None,
    (Was.DUE, _Seen.AWAY): TransitionType.EXIT,
    (Was.DUE, _Seen.THROUGH): TransitionType.EXIT,
    (Was.DUE, _Seen.WITHIN): TransitionType.DWELL,
}
"""Of plain edges."""


def _unknown(_fence: FenceId) -> None:
    return None


def _measured(fence: Geofence, lat: float, lon: float) -> float:
    return border_distance_one(fence.geometry, lat, lon)


def _none_around(_lat: float, _lon: float, _reach_m: float) -> Iterable[tuple[Geofence, float]]:
    return ()


def breadth_of(fence: Geofence) -> float:
    """Breadth of a fence, metres."""
    return breadth_m(fence.outline)


def view_of(index: GeofenceIndex) -> View:
    """What the rules ask of the fences, asked of these."""
    return View(index.get, index.border_distance, index.around, breadth_of, calibrated=index.calibrated > 0)


NO_FENCES: Final = View(_unknown, _measured, _none_around, breadth_of, calibrated=False)


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
    view: View = NO_FENCES,
) -> tuple[PresenceState, tuple[Transition, ...]]:
    """Take an accepted fix: the state after it, and the edges it made, in order.

    inside: the active fences that hold the fix. crossed: those that the segment from the last fix runs through; empty
    when the state knows no last position.
    """
    recent = state.recent[-(REMEMBERED - 1) * _KEY_BYTES :] + fingerprint(fix)
    moved = PresenceState(fix.at_us, fix.lat, fix.lon, state.inside, recent)
    if not (view.calibrated or inside or crossed or state.inside):  # nearly every fix
        return moved, ()
    who = Who(workspace, device)
    weighed: dict[FenceId, Stay] = {}
    plain = dict(state.inside)
    edges: list[Transition] = []
    if view.calibrated:
        weighed = {fence: plain.pop(fence) for fence in state.inside if is_calibrated(view.get(fence))}
        within, through = ([fence for fence in fences if is_calibrated(fence)] for fences in (inside, crossed))
        state, weighed, edges = calibrated.step(
            state, fix, within=within, crossed=through, stays=weighed, view=view, who=who
        )
        moved = replace(moved, trail=state.trail, elsewhere=state.elsewhere, arriving=state.arriving)
    seen = {fence.id: (_Seen.THROUGH, fence) for fence in crossed if not is_calibrated(fence)}
    seen |= {fence.id: (_Seen.WITHIN, fence) for fence in inside if not is_calibrated(fence)}
    edges += _plain_edges(plain, fix, seen, view, who)
    edges.sort(key=in_order)
    return replace(moved, inside=plain | weighed) if edges or weighed else moved, tuple(edges)


def step_region(
    state: PresenceState,
    at_us: int,
    fence: Geofence,
    *,
    entered: bool,
    workspace: UUID,
    device: UUID,
    view: View = NO_FENCES,
) -> tuple[PresenceState, tuple[Transition, ...]]:
    """Take what the phone's own monitoring saw of one region; what is known already makes no edge.

    The caller has asked `is_late` first. The phone says nothing of where in the fence it is: accuracy is the default,
    the distance unknown.
    """
    moved = replace(state, newest_us=at_us, lat=None, lon=None)
    if is_calibrated(fence):
        who = Who(workspace, device)
        return calibrated.step_region(moved, at_us, fence, entered=entered, view=view, who=who)
    stay = state.inside.get(fence.id)
    kind = EDGES[Was.OUT if stay is None else Was.IN, _Seen.WITHIN if entered else _Seen.AWAY]
    if kind is None:
        return moved, ()
    stay = stay or Stay.begun(fence, at_us, workspace, device)
    edge = Transition(
        kind, fence.id, stay.fence_version, at_us, stay.visit, stay.entered_us, DEFAULT_ACCURACY_M, distance_m=None
    )
    stays = dict(state.inside)
    _apply(stays, kind, stay)
    return replace(moved, inside=stays), (edge,)


def is_late(state: PresenceState, at_us: int) -> bool:
    """Tell whether something seen at `at_us` is older than what the state stands on."""
    return state.newest_us is not None and at_us < state.newest_us


def _plain_edges(
    stays: dict[FenceId, Stay], fix: Fix, seen: Mapping[FenceId, tuple[_Seen, Geofence]], view: View, who: Who
) -> Iterator[Transition]:
    """The edges of a fix at fences that take it at its word, in no order; the stays become what they are after it."""
    for fence_id in stays.keys() | seen.keys():
        stay = stays.get(fence_id)
        how, fence = seen.get(fence_id) or (_Seen.AWAY, None)
        kind = EDGES[was(stay, fence, fix.at_us), how]
        if kind is None:
            continue
        if kind is TransitionType.ENTER and fence is not None:
            stay = Stay.begun(fence, fix.at_us, *who)
        fence = fence or view.get(fence_id)
        distance_m = None if fence is None else view.away_m(fence, fix.lat, fix.lon)
        yield _edge(kind, fence, stay, fix, distance_m)
        _apply(stays, kind, stay)


def _edge(
    kind: TransitionType, fence: Geofence | None, stay: Stay | None, fix: Fix, distance_m: float | None
) -> Transition:
    if stay is not None:
        return Transition(
            kind,
            stay.fence,
            stay.fence_version,
            fix.at_us,
            stay.visit,
            stay.entered_us,
            fix.accuracy_m,
            distance_m=distance_m,
            course=stay.course,
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
