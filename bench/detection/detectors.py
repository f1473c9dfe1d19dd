"""Detectors to compare: each turns the fixes of one phone into enters and exits at the fences of its site.

Others stack thresholds. `gate_m`: fixes with a worse reported accuracy are passed by. `fixes`, `for_s`: so many in a
row, over so many seconds, must agree. `margin_m`: a fix speaks for an exit only where it is farther outside than its
accuracy and this, or a tenth of the fence's inradius, together; 0 asks for none of them. Without any threshold a stack
is plain edges, what Tile38 tells.

`DETECTORS` is what every report names, `FRONTIER` the same with numbers swept. A detector of the product joins as one
entry of each: a function of a trace, whose `lat`, `lon` and `accuracy_m` are what a server gets, and of the fences
of its site, which are the product's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias
from uuid import UUID

import numpy as np
from msgspec.structs import replace

from bench.detection.noise import Trace
from bench.detection.sites import Fenced
from bench.phones import obey
from geo_offers.places.earth import BoolArray, FloatArray
from geo_offers.places.fences import Detect
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.calibrated import View
from geo_offers.presence.machine import breadth_of, step
from geo_offers.presence.states import NOWHERE, Transition, TransitionType

GATE_M: Final = 100.0
MARGIN_M: Final = 25.0
MOST_MPS: Final = 120 / 3.6
NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Edge:
    """`fence`: its place among the site's. `at_s`: the time of the fix that made it."""

    kind: Literal["enter", "exit"]
    fence: int
    at_s: float


Detector: TypeAlias = Callable[[Trace, Fenced], Sequence[Edge]]


@dataclass(frozen=True, slots=True)
class Stack:
    """Thresholds one upon the other."""

    fixes: int = 1
    for_s: float = 0.0
    gate_m: float = np.inf
    margin_m: float = 0.0
    most_mps: float = np.inf
    """A fix that could be reached only at a higher speed is passed by."""

    def __call__(self, trace: Trace, fenced: Fenced) -> list[Edge]:
        taken = trace.accuracy_m <= self.gate_m
        if self.most_mps < np.inf:
            taken &= _reachable(trace, fenced, self.most_mps)
        at_s, accuracy_m = trace.at_s[taken], trace.accuracy_m[taken]
        edges = []
        for fence in range(len(fenced.fences)):
            away_m = trace.distance_m[taken, fence]
            margin_m = max(self.margin_m, fenced.inradii_m[fence] / 10)
            outside = away_m - accuracy_m > margin_m if self.margin_m else away_m > 0
            told = settled(at_s, away_m <= 0, outside, self.fixes, self.for_s)
            edges += [Edge(kind, fence, float(at_s[place])) for kind, place in told]
        return edges


def settled(
    at_s: FloatArray, inside: BoolArray, outside: BoolArray, fixes: int, for_s: float
) -> list[tuple[Literal["enter", "exit"], int]]:
    """The edges, and the places of the fixes that make them, where `fixes` in a row over `for_s` say the same.

    A fix may say neither, never both. Before the first one the phone is outside.
    """
    said = inside.astype(np.int8) - outside.astype(np.int8)
    starts = np.flatnonzero(np.diff(said, prepend=np.int8(2)))
    ends = np.append(starts[1:], len(said))[: len(starts)]
    places = np.maximum(starts + fixes - 1, np.searchsorted(at_s, at_s[starts] + for_s))
    heard = (places < ends) & (said[starts] != 0)
    sides, places = said[starts[heard]], places[heard]
    turns = np.flatnonzero(np.diff(sides, prepend=np.int8(-1)))
    return [("enter" if sides[turn] > 0 else "exit", int(places[turn])) for turn in turns]


def _reachable(trace: Trace, fenced: Fenced, most_mps: float) -> BoolArray:
    """Which fixes are within reach of the last one that was."""
    x, y = fenced.frame.metres(trace.lat, trace.lon)
    taken: BoolArray = np.zeros(len(x), dtype=np.bool_)
    last: tuple[float, float, float] | None = None
    for number, (at_s, east, north) in enumerate(zip(trace.at_s.tolist(), x.tolist(), y.tolist(), strict=True)):
        if last is None or np.hypot(east - last[1], north - last[2]) <= most_mps * (at_s - last[0]):
            taken[number], last = True, (at_s, east, north)
    return taken


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The product's own, as it runs in the server; distances are taken from the trace.

    offers: what a fence asks for an offer; its visits are told from when they are confirmed. 0: all visits are told.
    """

    offers: float = 0.0

    def __call__(self, trace: Trace, fenced: Fenced) -> list[Edge]:
        detect = Detect(min_confidence=self.offers or Detect().min_confidence)
        fences = [replace(fence, detect=detect) for fence in fenced.fences]
        number = {fence.id: place for place, fence in enumerate(fences)}
        breadths = {fence.id: breadth_of(fence) for fence in fences}
        state, edges, away_m = NOWHERE, [], [0.0]
        view = View(
            get={fence.id: fence for fence in fences}.get,
            away_m=lambda fence, _lat, _lon: away_m[number[fence.id]],
            around=lambda _lat, _lon, reach_m: [
                (fence, away) for fence, away in zip(fences, away_m, strict=True) if abs(away) <= reach_m
            ],
            breadth_m=lambda fence: breadths[fence.id],
        )
        for fix, away_m in zip(trace.fixes(), trace.distance_m.tolist(), strict=True):
            inside = [fence for fence, away in zip(fences, away_m, strict=True) if away <= 0]
            state, told = step(state, fix, inside, (), workspace=NOBODY, device=NOBODY, view=view)
            edges += [
                Edge(kind, number[edge.fence], edge.at_us / 1e6)
                for edge in told
                if (kind := self._kind(edge)) is not None
            ]
        return edges

    def _kind(self, edge: Transition) -> Literal["enter", "exit"] | None:
        if not self.offers:
            return (
                "enter" if edge.type is TransitionType.ENTER else "exit" if edge.type is TransitionType.EXIT else None
            )
        if TransitionType.ENTER in edge.triggers:
            return "enter"
        return "exit" if TransitionType.EXIT in edge.triggers else None


@dataclass(frozen=True, slots=True)
class Obedient:
    """The product's own, of a phone that sends only what `next` asks for, as it wishes."""

    wish: str

    def __call__(self, trace: Trace, fenced: Fenced) -> list[Edge]:
        number = {fence.id: place for place, fence in enumerate(fenced.fences)}
        index = GeofenceIndex(replace(fence, detect=Detect()) for fence in fenced.fences)
        phone = obey(index, list(trace.fixes()), self.wish)
        return [
            Edge(edge.type.value, number[edge.fence], edge.at_us / 1e6)
            for edge in phone.told
            if edge.type is TransitionType.ENTER or edge.type is TransitionType.EXIT
        ]


RAW: Final = "raw edges"
DETECTORS: Final[Mapping[str, Detector]] = {
    RAW: Stack(),
    "2 fixes": Stack(fixes=2),
    "3 fixes": Stack(fixes=3),
    "30 s": Stack(for_s=30.0),
    "accuracy gate": Stack(gate_m=GATE_M),
    "gate, 120 km/h": Stack(gate_m=GATE_M, most_mps=MOST_MPS),
    "gate, 2 fixes, margin": Stack(fixes=2, gate_m=GATE_M, margin_m=MARGIN_M),
    "calibrated": Calibrated(),
    "calibrated, offers": Calibrated(Detect().min_confidence),
}
"""By the name under which it is reported. All others are compared with the first."""

OBEDIENT: Final[Mapping[str, Detector]] = {
    "calibrated, obeying next (radius)": Obedient("radius"),
    "calibrated, obeying next (ios)": Obedient("ios"),
}

FRONTIER: Final[Mapping[str, Mapping[str, Detector]]] = {
    "n fixes": {str(fixes): Stack(fixes=fixes) for fixes in range(1, 6)},
    "seconds": {f"{for_s:g}": Stack(for_s=for_s) for for_s in (10.0, 20.0, 30.0, 60.0, 120.0)},
    "gate": {f"{gate_m:g} m": Stack(gate_m=gate_m) for gate_m in (200.0, 100.0, 50.0, 30.0, 20.0, 10.0)},
    "gate+margin+s": {f"{for_s:g}": Stack(1, for_s, 50.0, MARGIN_M) for for_s in (0.0, 10.0, 20.0, 30.0, 60.0)},
    "calibrated": {f"{offers:g}": Calibrated(offers) for offers in (0.5, 0.6, 0.73, 0.85, 0.95)},
}
"""One line of the plot each: its points in this order, each by what was swept."""

STACKS: Final[Sequence[Stack]] = [
    Stack(*numbers) for numbers in product((1, 2, 3, 4), (0.0, 20.0, 60.0), (50.0, 100.0, np.inf), (0.0, MARGIN_M))
]
"""Is any of them better than a detector on both counts, false enters and missed visits?"""
