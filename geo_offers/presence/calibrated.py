"""Presence at fences of detection mode `calibrated`: edges from evidence instead of single fixes.

For each fence that a device may be in, the log-odds of its being inside are kept (`evidence.py`). One number, two
operating points: a visit begins at `PRESENT`, for counting and dwell; an offer waits until the fence's own minimum
confidence. A wrong push costs trust, a late one little. The rules, which `EDGES` holds as a table:

- Outside, a fix within the border that makes presence likely is an enter. Where it makes it certain enough for an
  offer, the visit is confirmed at once, else by the first later fix that does: within the border, no faster than the
  fence's maximum speed, no sooner than its confirm time after the enter.
- Inside, a fix beyond the border and the exit margin that makes presence unlikely is an exit. Whatever lies between the
  two leaves things as they are: a phone that flutters at the border is where it was. A fix within a narrow fence next
  door is evidence of having gone there: people outside are not spread evenly, and the margin is not for them.
- The first fix still inside at or after the dwell deadline is a dwell, once a visit.
- A way between two sound fixes that runs through a fence of which the phone was clearly outside at both ends is a
  cross; it begins no visit.
- Fixes that say nothing (`trail.py`) make no edge. After a day of silence a visit is over as of the fix before it.
- An event of the phone's own region monitoring, which the phone has debounced, decides; save at a fence of which a
  fresh fix says otherwise.

Fences of which nothing is kept have the log-odds `elsewhere`, which a fix moves alike at all of them; one is kept as
long as it differs (`evidence.reach_m`). So the state is a function of the fixes in their order, however they were sent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum, auto
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from geo_offers.places.fences import FenceId, Geofence
from geo_offers.presence import evidence
from geo_offers.presence.fixes import DEFAULT_ACCURACY_M, Fix
from geo_offers.presence.states import Course, PresenceState, Stay, Transition, TransitionType, Was, was
from geo_offers.presence.trail import SILENCE_S, STILL_S, Trail, Worth, distance_m, follow, judge

PRESENT: Final = 0.0
"""Log-odds beyond the fence's breadth term: a confidence of 0.5."""
PLAIN: Final = 1.0
"""Log-odds of a visit that began when its fence took every fix at its word."""
ABSENT: Final = -2.5
"""A confidence of 0.92 that the phone is not inside."""
SETTLED: Final = 5.0
"""So sure of a visit, the newest fix did not speak against it."""
REGION: Final = evidence.HIGHEST - evidence.LOWEST
FRESH_S: Final = 120.0


class _Says(IntEnum):
    ABSENT = auto()
    LITTLE = auto()
    PRESENT = auto()


EDGES: Final[Mapping[tuple[Was, _Says], TransitionType | None]] = {
    (Was.OUT, _Says.ABSENT): None,
    (Was.OUT, _Says.LITTLE): None,
    (Was.OUT, _Says.PRESENT): TransitionType.ENTER,
    (Was.IN, _Says.ABSENT): TransitionType.EXIT,
    (Was.IN, _Says.LITTLE): None,
    (Was.IN, _Says.PRESENT): None,
    (Was.DUE, _Says.ABSENT): TransitionType.EXIT,
    (Was.DUE, _Says.LITTLE): TransitionType.DWELL,
    (Was.DUE, _Says.PRESENT): TransitionType.DWELL,
}
"""Confirming is beside it: it changes nothing of where the device is."""


def settling_s(state: PresenceState) -> float | None:
    """How long after the newest usable fix another one is likely to decide something; None where nothing is in doubt.

    A phone that comes or goes, or has just strayed, says something new as soon as a fix is news. One that keeps still
    at a border says more of the same: of it a visit that is not settled is asked about now and then.
    """
    trail = state.trail
    if trail is None or not (state.inside or state.arriving):
        return None
    if trail.stray_lat is not None:
        return evidence.ALIKE_S
    courses = [(stay.course, _log_odds(stay)) for stay in state.inside.values() if stay.course is not None]
    unsettled = any(kept < SETTLED for _, kept in courses)
    if trail.at_us - trail.still_us >= STILL_S * 1e6:
        return STILL_S if unsettled else None
    doubtful = bool(state.arriving) or unsettled or any(not course.confirmed for course, _ in courses)
    return evidence.ALIKE_S if doubtful else None


class View(NamedTuple):
    """What may be asked of the fences.

    get: the one with this id. away_m: signed metres from its border, negative inside, at a latitude and longitude.
    around: the active fences whose borders are within so many metres of a place, with the signed metres. breadth_m: of
    a fence. calibrated: whether any of them is.
    """

    get: Callable[[FenceId], Geofence | None]
    away_m: Callable[[Geofence, float, float], float]
    around: Callable[[float, float, float], Iterable[tuple[Geofence, float]]]
    breadth_m: Callable[[Geofence], float]
    calibrated: bool = True


class Who(NamedTuple):
    workspace: UUID
    device: UUID


class _Sight(msgspec.Struct, frozen=True):
    """A fix as all fences see it. waited_s: since the last usable one, None for the first; way_m: since the last place.

    trail and elsewhere: after it.
    """

    fix: Fix
    trail: Trail
    elsewhere: float
    waited_s: float | None
    weight: float
    scale: float
    doubt: float
    way_m: float

    def weigh(self, log_odds: float, away_m: float, breadth_m: float, outside_m: float) -> tuple[float, float]:
        """Log-odds to decide by, and to keep."""
        if self.waited_s is not None:
            log_odds = evidence.predict(log_odds, self.waited_s)
        news = evidence.likelihood(away_m, breadth_m, self.scale, self.doubt, outside_m)
        now = log_odds + max(evidence.LEAST_WEIGHT, self.weight) * news
        return now, evidence.bounded(log_odds + self.weight * news)


class _Look(NamedTuple):
    """At one fence: signed metres from its border, the log-odds to decide by, and these less the breadth term."""

    away_m: float
    now: float
    standing: float


def is_calibrated(fence: Geofence | None) -> bool:
    """Whether the rules here are a fence's; of one that is gone or inactive they are not."""
    return fence is not None and fence.active and fence.detect.mode == "calibrated"


def step(
    state: PresenceState,
    fix: Fix,
    *,
    within: Sequence[Geofence],
    crossed: Sequence[Geofence],
    stays: Mapping[FenceId, Stay],
    view: View,
    who: Who,
) -> tuple[PresenceState, dict[FenceId, Stay], list[Transition]]:
    """Take a fix: the state with another trail, `elsewhere` and `arriving`; the stays after it; edges in no order.

    All fences given are calibrated. within: those that hold the fix. crossed: those that the way from the last fix runs
    through. stays: the open visits at such fences.
    """
    worth = judge(state.trail, fix)
    if worth not in {Worth.SOUND, Worth.STRAY}:
        return state, dict(stays), []
    edges: list[Transition] = []
    if state.trail is not None and (fix.at_us - state.trail.at_us) / 1e6 > SILENCE_S:
        over = [stay for stay in stays.values() if stay.entered_us <= state.trail.at_us]
        edges += [_unseen(TransitionType.EXIT, stay, state.trail.at_us, 1.0) for stay in over]
        stays = {fence: stay for fence, stay in stays.items() if stay not in over}  # begun since, by a region's event
        state = replace(state, trail=None, elsewhere=evidence.PRIOR, arriving={})
    sight = _sight(state, fix, worth)
    if worth is Worth.SOUND:
        edges += _crosses(state, sight, [fence for fence in crossed if fence.id not in stays], view)
    elsewhere_m = max(evidence.NARROW_M, min(map(view.breadth_m, within), default=evidence.OUTSIDE_M))
    after: dict[FenceId, Stay] = {}
    arriving: dict[FenceId, float] = {}
    for fence, away_m in _near(state, sight, within, stays, view):
        stay = stays.get(fence.id)
        if stay is None:
            before, lowered_m = state.arriving.get(fence.id, state.elsewhere), 0.0
        else:
            before, lowered_m = _log_odds(stay), fence.detect.exit_margin_m
        breadth_m = view.breadth_m(fence)
        outside_m = evidence.OUTSIDE_M
        if stay is not None and away_m > 0.0 and elsewhere_m < outside_m:  # has gone next door
            outside_m, lowered_m = elsewhere_m, 0.0
        now, kept = sight.weigh(before, away_m - lowered_m, breadth_m, outside_m)
        look = _Look(away_m, now, now - evidence.breadth_term(breadth_m))
        stay, told = _looked(fence, stay, sight, look, who)
        edges += told
        if stay is not None:
            after[fence.id] = replace(stay, log_odds=kept)
        elif kept != sight.elsewhere:
            arriving[fence.id] = kept
    return replace(state, trail=sight.trail, elsewhere=sight.elsewhere, arriving=arriving), after, edges


def step_region(
    state: PresenceState, at_us: int, fence: Geofence, *, entered: bool, view: View, who: Who
) -> tuple[PresenceState, tuple[Transition, ...]]:
    """Take what the phone's own monitoring saw of one region; the time of the evidence stays as it is."""
    stay = state.inside.get(fence.id)
    if (stay is not None) == entered or _contradicted(state.trail, at_us, fence, view, entered=entered):
        return state, ()
    kept = state.arriving.get(fence.id, state.elsewhere) if stay is None else _log_odds(stay)
    kept = evidence.bounded(kept + REGION if entered else kept - REGION)
    inside, arriving = dict(state.inside), dict(state.arriving)
    if stay is None:
        confidence = evidence.probability(kept - evidence.breadth_term(view.breadth_m(fence)))
        confirmed = confidence >= fence.detect.min_confidence and fence.detect.confirm_s <= 0
        stay = Stay.begun(fence, at_us, *who)
        stay = replace(stay, log_odds=kept, course=Course(confirmed=confirmed, confidence=confidence))
        inside[fence.id] = stay
        arriving.pop(fence.id, None)
        edge = _unseen(TransitionType.ENTER, stay, at_us, confidence)
    else:
        del inside[fence.id]
        arriving[fence.id] = kept
        edge = _unseen(TransitionType.EXIT, stay, at_us, 1.0 - evidence.probability(kept))
    return replace(state, inside=inside, arriving=arriving), (edge,)


def _contradicted(trail: Trail | None, at_us: int, fence: Geofence, view: View, *, entered: bool) -> bool:
    """Whether the newest place is fresh, and so far on the other side of the border that the phone cannot be here."""
    if trail is None or trail.lat is None or trail.lon is None:
        return False
    waited_s = (at_us - trail.placed_us) / 1e6
    if waited_s > FRESH_S:
        return False
    reach_m = evidence.reach_m(evidence.scale_m(trail.accuracy_m)) + trail.usual_mps(None) * waited_s
    away_m = view.away_m(fence, trail.lat, trail.lon)
    return away_m > reach_m if entered else away_m < -reach_m


def _sight(state: PresenceState, fix: Fix, worth: Worth) -> _Sight:
    trail, doubt = state.trail, evidence.DOUBT_STRAY if worth is Worth.STRAY else evidence.DOUBT
    waited_s = None if trail is None else (fix.at_us - trail.at_us) / 1e6
    weight = 1.0 if waited_s is None else evidence.weight(waited_s)
    elsewhere = state.elsewhere if waited_s is None else evidence.predict(state.elsewhere, waited_s)
    return _Sight(
        fix,
        follow(trail, fix, worth),
        evidence.bounded(elsewhere + weight * evidence.far(doubt)),
        waited_s,
        weight,
        evidence.scale_m(fix.accuracy_m),
        doubt,
        _way_m(trail, fix) if worth is Worth.SOUND else 0.0,
    )


def _way_m(trail: Trail | None, fix: Fix) -> float:
    if trail is None or trail.lat is None or trail.lon is None:
        return 0.0
    return distance_m(trail.lat, trail.lon, fix.lat, fix.lon)


def _near(
    state: PresenceState, sight: _Sight, within: Iterable[Geofence], stays: Iterable[FenceId], view: View
) -> Iterator[tuple[Geofence, float]]:
    """The fences of which the fix may say something, each once, with the signed metres from their borders."""
    fix, told = sight.fix, set[FenceId]()
    for fence, away_m in view.around(fix.lat, fix.lon, evidence.reach_m(sight.scale)):
        if is_calibrated(fence):
            told.add(fence.id)
            yield fence, away_m
    held = [view.get(fence_id) for fence_id in (*stays, *state.arriving)]
    for fence in (*within, *(fence for fence in held if fence is not None and is_calibrated(fence))):
        if fence.id not in told:
            told.add(fence.id)
            yield fence, view.away_m(fence, fix.lat, fix.lon)


def _looked(
    fence: Geofence, stay: Stay | None, sight: _Sight, look: _Look, who: Who
) -> tuple[Stay | None, list[Transition]]:
    """One fence's part: the stay after the fix, and its edges."""
    fix, detect, (away_m, now, standing) = sight.fix, fence.detect, look
    confidence = evidence.probability(standing)
    says = _Says.LITTLE
    if away_m <= 0.0 and standing >= PRESENT:
        says = _Says.PRESENT
    elif away_m > detect.exit_margin_m and now <= ABSENT:
        says = _Says.ABSENT
    kind = EDGES[was(stay, fence, fix.at_us), says]
    if kind is TransitionType.EXIT and stay is not None:
        stay = _gone_on(stay, sight, confidence=0.0, certain=False, here=False)
        return None, [_edge(kind, stay, fix, away_m, 1.0 - evidence.probability(now))]
    if kind is TransitionType.ENTER:
        stay = Stay.begun(fence, fix.at_us, *who)
    if stay is None:
        return None, []
    certain = (
        says is _Says.PRESENT
        and confidence >= detect.min_confidence
        and sight.trail.speed_mps <= detect.max_speed_mps
        and fix.at_us >= stay.entered_us + round(detect.confirm_s * 1e6)
    )
    known, stay = stay, _gone_on(stay, sight, confidence=confidence, certain=certain, here=True)
    told = []
    if kind is TransitionType.ENTER:
        told.append(_edge(kind, stay, fix, away_m, confidence))
    elif certain and known.course is not None and not known.course.confirmed:
        told.append(_edge(TransitionType.CONFIRM, stay, fix, away_m, confidence))
    if kind is TransitionType.DWELL:
        stay = replace(stay, dwelt=True)
        told.append(_edge(kind, stay, fix, away_m, confidence))
    return stay, told


def _log_odds(stay: Stay) -> float:
    return PLAIN if stay.log_odds is None else stay.log_odds


def _gone_on(stay: Stay, sight: _Sight, *, confidence: float, certain: bool, here: bool) -> Stay:
    """The stay with this fix in its course. here: the fix does not end it."""
    begun = stay.entered_us == sight.fix.at_us
    course = Course(confirmed=not begun) if stay.course is None else stay.course  # plain edges decide at once
    still_s = (sight.fix.at_us - max(sight.trail.still_us, stay.entered_us)) / 1e6
    fixes = course.fixes + here
    mean_m = course.accuracy_m + (sight.fix.accuracy_m - course.accuracy_m) / fixes if here else course.accuracy_m
    course = Course(
        confirmed=course.confirmed or certain,
        confidence=max(course.confidence, confidence),
        fixes=fixes,
        accuracy_m=mean_m,
        way_m=course.way_m if begun else course.way_m + sight.way_m,
        stopped=course.stopped or (here and still_s >= STILL_S),
    )
    return replace(stay, course=course)


def _crosses(state: PresenceState, sight: _Sight, crossed: Sequence[Geofence], view: View) -> Iterator[Transition]:
    """The way that was looked at is from the newest fix: it has to be the newest sound one, too."""
    fix, trail = sight.fix, state.trail
    if not crossed or trail is None or trail.lat is None or trail.lon is None:
        return
    if (trail.lat, trail.lon) != (state.lat, state.lon):
        return
    for fence in crossed:
        before_m, after_m = view.away_m(fence, trail.lat, trail.lon), view.away_m(fence, fix.lat, fix.lon)
        sure = min(before_m / evidence.scale_m(trail.accuracy_m), after_m / sight.scale)
        if sure >= 1.0:
            yield Transition(
                TransitionType.CROSS,
                fence.id,
                fence.version,
                fix.at_us,
                None,
                None,
                fix.accuracy_m,
                distance_m=after_m,
                confidence=evidence.beyond(sure),
            )


def _unseen(kind: TransitionType, stay: Stay, at_us: int, confidence: float) -> Transition:
    """An edge that no fix makes: the phone's own, or the exit of who was not heard of, as of when they were."""
    return _told(kind, stay, at_us, DEFAULT_ACCURACY_M, away_m=None, confidence=confidence)


def _edge(kind: TransitionType, stay: Stay, fix: Fix, away_m: float, confidence: float) -> Transition:
    return _told(kind, stay, fix.at_us, fix.accuracy_m, away_m=away_m, confidence=confidence)


def _told(
    kind: TransitionType, stay: Stay, at_us: int, accuracy_m: float, *, away_m: float | None, confidence: float
) -> Transition:
    visit, entered_us = stay.visit, stay.entered_us
    return Transition(
        kind,
        stay.fence,
        stay.fence_version,
        at_us,
        visit,
        entered_us,
        accuracy_m,
        distance_m=away_m,
        confidence=confidence,
        course=stay.course,
        dwelt=stay.dwelt,
    )
