"""`detection`: enters and exits told by plain edges, by stacks of thresholds and by the product, against the truth.

Invented people near stores, whose true paths are known, carry phones with the errors that phones have; each detector
gets the same fixes (`sites.py`, `people.py`, `noise.py`), and is scored as `scoring.py` says. Figures are a thousand
device-hours. Errors come by phone: intervals are from phones drawn anew, and only ratios on the same fixes compare.
Whoever sets numbers of a detector does it on seeds below 100; the seeds that are the default are for reports.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np

from bench.detection.corpus import make_phones, phones_of
from bench.detection.detectors import DETECTORS, FRONTIER, OBEDIENT, RAW, STACKS, Detector, Edge
from bench.detection.recorded import recorded_traces
from bench.detection.scoring import COUNTS, FLAP_S, Score, score, truth_of
from bench.detection.sites import Kind
from bench.growth import PLOTS
from bench.plots import Plot, Series
from bench.report import Report, Row, Tail, Value, Yardstick, sizes
from geo_offers.places.earth import FloatArray

SHORT: Final = ("--hours", "400", "--seeds", "1")
CHUNK: Final = 25
DRAWS: Final = 1_000
"""Of phones, for an interval."""
WITHIN: Final = (0.05, 0.95)
STACKED: Final[Mapping[str, Detector]] = {str(stack): stack for stack in STACKS}
GROUPS: Final[Mapping[str, tuple[Kind, ...]]] = {"street": ("street",), "mall": ("mall",), "all": ("street", "mall")}


@dataclass(frozen=True, slots=True)
class Played:
    """One phone under every detector."""

    kind: Kind
    approximate: bool
    fixes: int
    visits: int
    """All of them, whether they can be observed or not."""
    scores: Mapping[str, Score]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=int, default=4_000, metavar="N", help="device-hours of each seed")
    parser.add_argument("--seeds", type=sizes, default=(101, 102, 103), metavar="N[,N…]")
    parser.add_argument("--hostile", action="store_true", help="five times the jumps, 90 % with falsely good accuracy")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--obey", action="store_true", help="phones, too, that send only what `next` asks for")
    parser.add_argument("--frontier", type=Path, nargs="?", const=PLOTS, metavar="FOLDER", help="sweep, and draw plots")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    named = {**DETECTORS, **OBEDIENT} if given.obey else DETECTORS
    detectors = named if given.frontier is None else {**named, **_swept(), **STACKED}
    phones = list(play(given.seeds, given.hours, detectors, given.processes, hostile=given.hostile))
    load: dict[str, Value] = {
        "seeds": ",".join(map(str, given.seeds)),
        "device_hours_each": given.hours,
        "errors": "hostile" if given.hostile else "usual",
    }
    yield Report("detection", load, list(_rows(phones, named)), _corpus(phones))
    if given.frontier is not None:
        yield Report("detection frontier", load, list(_rows(phones, _swept())), _better(phones))
        given.frontier.mkdir(parents=True, exist_ok=True)
        for name, plot in plots(phones, f"seeds {load['seeds']}, {given.hours:,} h each").items():
            (given.frontier / f"{name}.svg").write_text(plot.svg(), encoding="utf-8")
    rows = list(_recorded())
    if rows:
        yield Report("detection, recorded trips", {}, rows)


# ------------------------------------------------------------------------------------------------ playing
def play(
    seeds: Sequence[int], hours: int, detectors: Mapping[str, Detector], processes: int, *, hostile: bool
) -> Iterator[Played]:
    """Every phone of the seeds, in order, however many processes share the work."""
    phones = phones_of(hours)
    chunks = [range(start, min(start + CHUNK, phones)) for start in range(0, phones, CHUNK)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for seed in seeds:
            print(f"detection: seed {seed}, {phones} phones", file=sys.stderr, flush=True)
            for played in pool.map(_chunk, repeat(seed), chunks, repeat(detectors), repeat(hostile)):
                yield from played


def _chunk(seed: int, numbers: range, detectors: Mapping[str, Detector], hostile: bool) -> list[Played]:
    played = []
    for phone in make_phones(seed, numbers, hostile=hostile):
        site, trace = phone.site, phone.trace
        truths = [truth_of(away_m, trace) for away_m in site.distances(phone.path.x, phone.path.y).T]
        scores = {name: score(detector(trace, site.fenced), truths, trace) for name, detector in detectors.items()}
        visits = sum(len(truth.visits) for truth in truths)
        played.append(Played(site.kind, phone.handset.approximate, len(trace.at_s), visits, scores))
    return played


def _swept() -> dict[str, Detector]:
    """The points of the plot."""
    return {f"{line}: {at}": one for line, points in FRONTIER.items() for at, one in points.items()}


# ------------------------------------------------------------------------------------------------ figures
@dataclass(frozen=True, slots=True)
class Figures:
    """Scores of one detector summed over phones, beside plain edges on the same fixes."""

    counts: FloatArray
    """Shape (phones, COUNTS)."""
    raw: FloatArray
    arrived: FloatArray
    """Of each observable visit, as in `Score.arrived`, shape (visits, 3)."""
    raw_arrived: FloatArray

    @classmethod
    def of(cls, scores: Sequence[Score], raw: Sequence[Score]) -> "Figures":
        return cls(_counts(scores), _counts(raw), _arrived(scores), _arrived(raw))

    def total(self, name: str) -> float:
        return float(self.counts[:, COUNTS.index(name)].sum())

    def per_1000_h(self, name: str) -> float:
        return 1_000.0 * self.total(name) / self.total("hours")

    def share(self, name: str, of: str) -> float:
        """In percent."""
        return 100.0 * self.total(name) / max(1.0, self.total(of))

    def fewer(self, name: str) -> float:
        """So many times fewer than plain edges; none counts as one."""
        place = COUNTS.index(name)
        return float(self.raw[:, place].sum() / max(1.0, self.total(name)))

    def fewer_within(self, name: str) -> tuple[float, float]:
        """90 % of what `fewer` is when phones are drawn anew."""
        place, phones = COUNTS.index(name), len(self.counts)
        draws = np.random.default_rng(0).multinomial(phones, np.full(phones, 1 / phones), DRAWS)
        low, high = np.quantile((draws @ self.raw[:, place]) / np.maximum(1.0, draws @ self.counts[:, place]), WITHIN)
        return float(low), float(high)

    def added(self) -> FloatArray:
        """Seconds, seconds as the server sees it, and fixes until a visit is told, more than plain edges need.

        Of the visits that both found, shape (visits, 3).
        """
        both = ~np.isnan(self.arrived[:, 0]) & ~np.isnan(self.raw_arrived[:, 0])
        return self.arrived[both] - self.raw_arrived[both]


def _counts(scores: Sequence[Score]) -> FloatArray:
    return np.array([[getattr(one, name) for name in COUNTS] for one in scores], dtype=np.float64)


def _arrived(scores: Sequence[Score]) -> FloatArray:
    return np.array([visit for one in scores for visit in one.arrived], dtype=np.float64).reshape(-1, 3)


def figures_of(phones: Iterable[Played], name: str, group: str) -> Figures:
    """Of the phones of a group that share where they are precisely."""
    of_group = [phone.scores for phone in phones if phone.kind in GROUPS[group] and not phone.approximate]
    return Figures.of([scores[name] for scores in of_group], [scores[RAW] for scores in of_group])


def _rows(phones: Sequence[Played], detectors: Iterable[str]) -> Iterator[Row]:
    names = list(detectors)
    for group in GROUPS:
        for name in names:
            yield _row(f"{group}: {name}", figures_of(phones, name, group), _vague_edges(phones, name, group))


def _vague_edges(phones: Iterable[Played], name: str, group: str) -> int:
    """Told of phones that share their approximate location only, and are in no other figure."""
    of_group = [phone.scores[name] for phone in phones if phone.kind in GROUPS[group] and phone.approximate]
    return sum(one.enters + one.exits for one in of_group)


def _row(name: str, found: Figures, vague_edges: int) -> Row:
    yardstick = Yardstick()
    yardstick.spin()
    low, high = found.fewer_within("false_enters")
    found_s = found.arrived[~np.isnan(found.arrived[:, 0])]
    added_s, _, added_fixes = np.median(found.added(), axis=0).tolist()
    more: dict[str, Value] = {
        "x_fewer": found.fewer("false_enters"),
        "within": f"{low:.3g}-{high:.3g}",
        "missed_%": 100.0 - found.share("found", "visits"),
        "kept_%": found.share("kept", "visits"),
        "passing": found.per_1000_h("passing"),
        "false_exits": found.per_1000_h("false_exits"),
        "x_fewer_false_exits": found.fewer("false_exits"),
        "missed_exits_%": found.share("missed_exits", "departures"),
        "phantom_min": found.per_1000_h("phantom_s") / 60.0,
        "flaps": found.per_1000_h("flaps"),
        "x_fewer_flaps": found.fewer("flaps"),
        "added_s": added_s,
        "added_fixes": added_fixes,
        "heard_s": float(np.median(found_s[:, 1])),
        "approximate_edges": vague_edges,
    }
    tail = Tail.of("s to be found", found_s[:, 0])
    return Row(name, found.per_1000_h("false_enters"), "false enters/1,000 h", yardstick, tail, more)


def _corpus(phones: Sequence[Played]) -> dict[str, Value]:
    """What the figures are of."""
    precise = [phone for phone in phones if not phone.approximate]
    return {
        "phones": len(precise),
        "approximate_phones": len(phones) - len(precise),
        "fixes": sum(phone.fixes for phone in precise),
        "visits": sum(phone.visits for phone in precise),
        "observable": sum(phone.scores[RAW].visits for phone in precise),
    }


def _better(phones: Sequence[Played]) -> dict[str, Value]:
    """Of the stacks of thresholds: how many are better than each detector on both false enters and missed visits."""
    found: dict[str, Value] = {"stacks": len(STACKED)}
    for group in GROUPS:
        stacks = [_place(phones, name, group) for name in STACKED]
        for name in DETECTORS:
            false, missed = _place(phones, name, group)
            found[f"{group}_better_than_{name}"] = sum(one[0] < false and one[1] < missed for one in stacks)
    return found


def _place(phones: Sequence[Played], name: str, group: str) -> tuple[float, float]:
    """False enters, missed visits."""
    figures = figures_of(phones, name, group)
    return figures.total("false_enters"), figures.total("visits") - figures.total("found")


# ------------------------------------------------------------------------------------------------ plots
def plots(phones: Sequence[Played], measured: str) -> Mapping[str, Plot]:
    """By the name of their file."""
    return {
        f"detection-{group}": Plot(
            f"{title}: false enters, missed visits",
            f"python -m bench detection --frontier; {measured}",
            "% of observable visits missed (less is better)",
            "false enters in 1,000 device-hours (fewer is better)",
            [
                Series(line, [_mark(phones, f"{line}: {at}", group) for at in points])
                for line, points in FRONTIER.items()
            ],
        )
        for group, title in (("street", "One fence around one shop"), ("mall", "Adjacent units of a mall"))
    }


def _mark(phones: Sequence[Played], name: str, group: str) -> tuple[float, float]:
    """Where none was missed or falsely told, one is drawn: the axes are logarithmic."""
    figures = figures_of(phones, name, group)
    false, missed = (max(1.0, count) for count in _place(phones, name, group))
    return 100.0 * missed / figures.total("visits"), 1_000.0 * false / figures.total("hours")


# ------------------------------------------------------------------------------------------------ recorded trips
def _recorded() -> Iterator[Row]:
    for data, traces in recorded_traces("detection"):
        fixes = sum(len(trace.at_s) for trace, _ in traces)
        for name, detector in DETECTORS.items():
            yardstick = Yardstick()
            yardstick.spin()
            told = [detector(trace, fenced) for trace, fenced in traces]
            enters = sum(edge.kind == "enter" for edges in told for edge in edges)
            more: dict[str, Value] = {
                "exits": sum(map(len, told)) - enters,
                "back_within_5_min": sum(map(_returns, told)),
                "trips": len(traces),
                "fixes": fixes,
            }
            yield Row(f"{data}: {name}", enters, "enters", yardstick, None, more)


def _returns(edges: Iterable[Edge]) -> int:
    """Enters that follow an exit of the same fence within the time of a flap."""
    left_s: dict[int, float] = {}
    returns = 0
    for edge in edges:
        if edge.kind == "exit":
            left_s[edge.fence] = edge.at_s
        else:
            returns += edge.at_s - left_s.get(edge.fence, -np.inf) <= FLAP_S
    return returns
