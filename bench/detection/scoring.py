"""What a detector's edges are worth against the truth.

- **Stay**: the path is inside the fence, outings of up to 60 s included. **Visit**: a stay of at least 120 s; it is
  *observable* when at least two usable fixes (reported accuracy up to 200 m) fall into it.
- **False enter**: within 60 s of it the path was never inside nor within 15 m of the fence. An enter of somebody who
  was inside then, but on no visit, is *passing*: right, and told apart.
- **False exit**: from 60 s before to 60 s after it the path never left the fence. No metres are granted here, for the
  middle of a shop of 20 m is no farther than 10 m from its border.
- **Missed visit**: observable, and the detector held the phone outside from its first to its last second. **Kept**: it
  held the phone inside for at least half of it.
- **Missed exit**: the person stayed away for 15 minutes after a visit, with at least two usable fixes, and the
  detector, which held the phone inside when the visit ended, did not let go of it in that time.
- **Phantom time**: the detector holds the phone inside, and for a minute the path was not within 15 m of the fence.
- **Flap**: an enter within 300 s of an exit of the same fence while the path did not arrive at it.
- **Delay**: from the first second of an observable visit to the first at which the detector holds the phone inside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from bench.detection.detectors import Edge
from bench.detection.noise import Trace
from geo_offers.places.earth import BoolArray, FloatArray

BAND_M: Final = 15.0
BAND_S: Final = 60
VISIT_S: Final = 120
USABLE_M: Final = 200.0
LEFT_S: Final = 900
FLAP_S: Final = 300.0
USABLE_FIXES: Final = 2


@dataclass(frozen=True, slots=True)
class Visit:
    """Seconds of the path; `last` is inside as well. left_until: None where the departure cannot be judged."""

    first: int
    last: int
    observable: bool
    left_until: int | None


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of one fence, second by second."""

    near: BoolArray
    """Within the band: 15 m of the fence at most, no more than 60 s ago or ahead."""
    within: BoolArray
    """Inside no more than 60 s ago or ahead."""
    throughout: BoolArray
    """Inside from 60 s before to 60 s after."""
    phantom_s: FloatArray
    """How many of the seconds before this one were not `near`; one longer than the path."""
    arrivals: FloatArray
    """Seconds at which the path comes in."""
    visits: Sequence[Visit]

    def on_visit(self, at_s: float) -> bool:
        return any(visit.first - BAND_S <= at_s <= visit.last + BAND_S for visit in self.visits)


@dataclass(slots=True)
class Score:
    """Counts of one phone, seconds where the name says so."""

    hours: float = 0.0
    enters: int = 0
    false_enters: int = 0
    passing: int = 0
    exits: int = 0
    false_exits: int = 0
    visits: int = 0
    found: int = 0
    kept: int = 0
    departures: int = 0
    missed_exits: int = 0
    phantom_s: float = 0.0
    flaps: int = 0
    arrived: list[tuple[float, float, int]] = field(default_factory=list)
    """Of each observable visit: seconds until it was found, by the phone's clock and by the server's, and by how many
    fixes; NaN and -1 where it was missed."""


COUNTS: Final = tuple(one.name for one in fields(Score) if one.name != "arrived")


def truth_of(distance_m: FloatArray, trace: Trace) -> Truth:
    """distance_m: of the path to the fence, each second."""
    inside = distance_m <= 0
    seconds = len(inside)
    near = _around(distance_m <= BAND_M) > 0
    beside = _around(np.ones(seconds, dtype=np.bool_))
    came = np.flatnonzero(inside & ~np.concatenate(([False], inside[:-1])))
    return Truth(
        near=near,
        within=_around(inside) > 0,
        throughout=_around(inside) == beside,
        phantom_s=np.concatenate(([0], np.cumsum(~near))).astype(np.float64),
        arrivals=came.astype(np.float64),
        visits=_visits(inside, trace.at_s[trace.accuracy_m <= USABLE_M]),
    )


def _around(true: BoolArray) -> FloatArray:
    """How many are true from 60 s before each second to 60 s after it."""
    before = np.concatenate(([0], np.cumsum(true)))
    places = np.arange(len(true))
    counts: FloatArray = before[np.minimum(places + BAND_S + 1, len(true))] - before[np.maximum(places - BAND_S, 0)]
    return counts


def _visits(inside: BoolArray, usable_s: FloatArray) -> list[Visit]:
    turns = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False])).astype(np.int8)))
    if not len(turns):
        return []
    firsts, ends = turns[::2], turns[1::2]
    apart = firsts[1:] - ends[:-1] > BAND_S
    firsts, ends = firsts[np.append(True, apart)], ends[np.append(apart, True)]
    stays = zip(firsts.tolist(), (ends - 1).tolist(), strict=True)
    nexts = np.append(firsts[1:], len(inside)).tolist()
    visits = []
    for (first, last), until in zip(stays, nexts, strict=True):
        if last - first + 1 < VISIT_S:
            continue
        left_until = last + LEFT_S
        judged = left_until < until and _count(usable_s, last + 1, left_until) >= USABLE_FIXES
        observable = _count(usable_s, first, last) >= USABLE_FIXES
        visits.append(Visit(first, last, observable, left_until if judged else None))
    return visits


def _count(times_s: FloatArray, first: float, last: float) -> int:
    start, end = np.searchsorted(times_s, (first, last + 1))
    return int(end - start)


def score(edges: Iterable[Edge], truths: Sequence[Truth], trace: Trace) -> Score:
    """The edges of one phone, each fence's in the order of time."""
    of_fence: list[list[Edge]] = [[] for _ in truths]
    for edge in edges:
        of_fence[edge.fence].append(edge)
    total = Score(hours=(len(truths[0].near)) / 3600)
    for told, truth in zip(of_fence, truths, strict=True):
        _enters(total, told, truth)
        _exits(total, told, truth)
        held = _held(told, len(truth.near))
        _times(total, held, truth)
        for visit in truth.visits:
            _visited(total, held, visit, trace)
    return total


def _enters(total: Score, told: Sequence[Edge], truth: Truth) -> None:
    left_s = -np.inf
    for edge in told:
        if edge.kind == "exit":
            left_s = edge.at_s
            continue
        second = int(edge.at_s)
        total.enters += 1
        total.false_enters += not truth.near[second]
        total.passing += bool(truth.within[second]) and not truth.on_visit(edge.at_s)
        came = _count(truth.arrivals, left_s - BAND_S, edge.at_s + BAND_S) if edge.at_s - left_s <= FLAP_S else 1
        total.flaps += not came


def _exits(total: Score, told: Sequence[Edge], truth: Truth) -> None:
    seconds = [int(edge.at_s) for edge in told if edge.kind == "exit"]
    total.exits += len(seconds)
    total.false_exits += int(truth.throughout[seconds].sum())


def _held(told: Sequence[Edge], seconds: int) -> FloatArray:
    """From when to when the detector holds the phone inside, shape (times, 2)."""
    ends = [edge.at_s for edge in told]
    if len(ends) % 2:
        ends.append(float(seconds))
    return np.array(ends).reshape(-1, 2)


def _times(total: Score, held: FloatArray, truth: Truth) -> None:
    ends = truth.phantom_s[held.astype(np.int64)]
    total.phantom_s += float((ends[:, 1] - ends[:, 0]).sum())


def _visited(total: Score, held: FloatArray, visit: Visit, trace: Trace) -> None:
    end_s = visit.last + 1.0
    during = np.clip(held, visit.first, end_s)
    spans = during[:, 1] - during[:, 0]
    if visit.left_until is not None:
        holding = (held[:, 0] <= visit.last) & (held[:, 1] > visit.last)
        total.departures += bool(holding.any())
        total.missed_exits += bool((holding & (held[:, 1] > visit.left_until)).any())
    if not visit.observable:
        return
    total.visits += 1
    if not (spans > 0).any():
        total.arrived.append((np.nan, np.nan, -1))
        return
    total.found += 1
    total.kept += bool(spans.sum() >= (end_s - visit.first) / 2)
    came_s = float(during[np.argmax(spans > 0), 0])
    first, place = np.searchsorted(trace.at_s, (visit.first, came_s))
    heard_s = float(trace.received_s[place]) if came_s > visit.first else came_s
    total.arrived.append((came_s - visit.first, heard_s - visit.first, int(place - first)))
