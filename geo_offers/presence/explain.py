"""Why presence came out as it did: what each fix was worth, and how likely it made being inside of each fence near it.

The machine is run as the service runs it, and everything here is read from its states before and after each step: what
is shown cannot differ from what was decided. Positions go in and none comes out, only distances.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence import evidence, machine
from geo_offers.presence.calibrated import PRESENT, View, is_calibrated
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import Reception, breadth_of, view_of
from geo_offers.presence.states import NOWHERE, PresenceState, Transition
from geo_offers.presence.trail import SILENCE_S, Worth, judge

NEAR_M: Final = 60.0
"""A fence is told of when its border is so near, whatever the evidence says."""
PRESENCE: Final = evidence.probability(PRESENT)
"""From this probability on a visit may begin."""
NOBODY: Final = UUID(int=0)

Taken = Reception | Literal["unknown_region"]


class RegionEvent(msgspec.Struct, frozen=True):
    """What the phone's own region monitoring saw."""

    at_us: int
    fence: FenceId
    entered: bool


Sighting = Fix | RegionEvent


class Standing(msgspec.Struct, frozen=True):
    """How a device stands to one fence after a sighting.

    away_m: signed metres from the border, negative inside; None after a region event. probability: of presence, as it
    was held against `PRESENCE` and the fence's own confidence; None at a fence that takes every fix at its word.
    inside: a visit is open. confirmed: it is certain enough for an offer.
    """

    fence: FenceId
    away_m: float | None
    probability: float | None
    inside: bool
    confirmed: bool


class Step(msgspec.Struct, frozen=True):
    """One sighting and what came of it.

    worth: what a fix that was taken says, else None. speed_mps: as measured, else as reckoned from the way; None where
    nothing tells. standings: of the fences near, the nearest first. edges: in the order in which they are told.
    """

    sighting: Sighting
    taken: Taken
    worth: Worth | None
    speed_mps: float | None
    standings: tuple[Standing, ...]
    edges: tuple[Transition, ...]


class Explained:
    """One device among these fences, stepped sighting by sighting."""

    def __init__(self, index: GeofenceIndex) -> None:
        self._index = index
        self._state = NOWHERE

    def take(self, sighting: Sighting) -> Step:
        if isinstance(sighting, RegionEvent):
            return self._region(sighting)
        return self._fix(sighting)

    def _fix(self, fix: Fix) -> Step:
        state, index = self._state, self._index
        taken = machine.receive(state, fix)
        if taken != "accepted":
            return Step(fix, taken, None, fix.speed_mps, (), ())
        worth = judge(state.trail, fix)
        crossed: tuple[Geofence, ...] = ()
        if state.lat is not None and state.lon is not None and (state.lat, state.lon) != (fix.lat, fix.lon):
            crossed = index.crossed(state.lat, state.lon, fix.lat, fix.lon)
        inside = index.locate_one(fix.lat, fix.lon)
        view = view_of(index)
        after, edges = machine.step(state, fix, inside, crossed, workspace=NOBODY, device=NOBODY, view=view)
        standings = tuple(_standings(_Weighed(state, after, fix, worth), edges, view))
        self._state = after
        return Step(fix, taken, worth, _speed_mps(after, fix, worth), standings, edges)

    def _region(self, event: RegionEvent) -> Step:
        fence = self._index.get(event.fence)
        if fence is None or not fence.active:
            return Step(event, "unknown_region", None, None, (), ())
        if machine.is_late(self._state, event.at_us):
            return Step(event, "late", None, None, (), ())
        self._state, edges = machine.step_region(
            self._state,
            event.at_us,
            fence,
            entered=event.entered,
            workspace=NOBODY,
            device=NOBODY,
            view=view_of(self._index),
        )
        standing = _standing(self._state, fence, None, _log_odds(self._state, fence.id))
        return Step(event, "accepted", None, None, (standing,), edges)


class _Weighed(NamedTuple):
    before: PresenceState
    after: PresenceState
    fix: Fix
    worth: Worth


def _standings(weighed: _Weighed, edges: tuple[Transition, ...], view: View) -> Iterator[Standing]:
    before, after, fix, _ = weighed
    named = {*before.inside, *after.inside, *before.arriving, *after.arriving, *(edge.fence for edge in edges)}
    near = [(fence, view.away_m(fence, fix.lat, fix.lon)) for fence in map(view.get, named) if fence is not None]
    near += [(fence, away_m) for fence, away_m in view.around(fix.lat, fix.lon, NEAR_M) if fence.id not in named]
    near.sort(key=lambda found: (found[1], found[0].id))
    for fence, away_m in near:
        yield _standing(after, fence, away_m, _decided_by(weighed, fence.id))


def _standing(state: PresenceState, fence: Geofence, away_m: float | None, log_odds: float) -> Standing:
    """log_odds: those that were decided by."""
    stay = state.inside.get(fence.id)
    probability = None
    if is_calibrated(fence):
        probability = evidence.probability(log_odds - evidence.breadth_term(breadth_of(fence)))
    confirmed = stay is not None and (stay.course is None or stay.course.confirmed)
    return Standing(fence.id, away_m, probability, stay is not None, confirmed)


def _decided_by(weighed: _Weighed, fence: FenceId) -> float:
    """The log-odds that a fence's edge was decided by: the newest fix counts harder in them than in what is kept.

    Where what is kept met its bounds they are as far beyond them as can be told, on the right side of every threshold.
    """
    before, after, fix, worth = weighed
    kept = _log_odds(after, fence)
    if worth not in {Worth.SOUND, Worth.STRAY} or before.trail is None:
        return kept
    waited_s = (fix.at_us - before.trail.at_us) / 1e6
    if waited_s > SILENCE_S:
        return kept
    remembered = evidence.predict(_log_odds(before, fence), waited_s)
    return remembered + (kept - remembered) * max(1.0, evidence.LEAST_WEIGHT / evidence.weight(waited_s))


def _log_odds(state: PresenceState, fence: FenceId) -> float:
    stay = state.inside.get(fence)
    if stay is not None and stay.log_odds is not None:
        return stay.log_odds
    return state.arriving.get(fence, state.elsewhere)


def _speed_mps(after: PresenceState, fix: Fix, worth: Worth) -> float | None:
    if fix.speed_mps is not None or worth is not Worth.SOUND or after.trail is None:
        return fix.speed_mps
    return after.trail.speed_mps
