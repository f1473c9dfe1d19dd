"""Lookups: which fences hold a point, one by one and in batches, beside shapely's STRtree and rtree in the same run.

All indexes hold the same fences and answer the same pings. Each repeat takes fresh pings, and in each the contenders
take turns in another order, so that a neighbour's noise falls on all. A rate is the median of the repeats, by the CPU's
clock (one core's work, nothing waits in it); a ratio is the median of the repeats' ratios. The tail of single calls is
by the wall's clock. Each size runs in a process of its own, where memory can be told.
The compiled borders tell of the same pings, one by one, what is near: by the wall's clock, and beside no others.
"""

import argparse
import gc
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from bench import peers
from bench.contenders import Contender, Ours, Pairs, Rtree, Strtree
from bench.load import cities_for, make_devices, make_fences
from bench.report import Report, Row, Tail, Yardstick, sizes
from geo_offers.places.cells import Cover
from geo_offers.places.earth import FloatArray
from geo_offers.places.fences import Geofence
from geo_offers.places.geometry import border_distance_one
from geo_offers.places.index import AROUND_MOST, GeofenceIndex, prepare

T = TypeVar("T")

BATCHES: Final = (100, 1_000, 10_000)
DEVICES: Final = 5_000
BORDER_M: Final = 0.01
"""Nearer to a border than this, contenders may disagree."""
CHUNK: Final = 250
CLEAR_M: Final = 2_000.0
AROUND_M: Final = 60.0
SHORT: Final = ("--build-s", "40")
_STATM: Final = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Options:
    pings: int = 10_000
    repeats: int = 5
    seed: int = 7
    build_s: float = math.inf
    """A size whose covers would take longer than this is left out."""
    peers: bool = False
    tile38: str | None = None
    postgis: str | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """What it took to make ours."""

    index: GeofenceIndex
    cover_us: float
    put_us: float
    wall_s: float
    fence_bytes: float
    index_bytes: float


class TooLongError(Exception):
    """A build would take longer than was allowed; the message says how long."""


def options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--fences", type=sizes, default=(1_000, 10_000, 100_000), metavar="N[,N…]")
    parser.add_argument("--pings", type=int, default=default.pings, metavar="N", help="pings a repeat")
    parser.add_argument("--repeats", type=int, default=default.repeats, metavar="N")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N")
    parser.add_argument(
        "--build-s", type=float, default=default.build_s, metavar="S", help="leave out what takes longer to build"
    )
    parser.add_argument("--peers", action="store_true", help="also PostGIS, Redis, Tile38, as far as they are there")
    parser.add_argument("--tile38", metavar="HOST:PORT", help="a running one; what it holds of ours is dropped again")
    parser.add_argument("--postgis", metavar="DSN", help="a database to use instead of starting one")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    """One report a size. A size that would take too long is named on stderr and left out."""
    asked = given.peers or bool(given.tile38) or bool(given.postgis)
    options = Options(given.pings, given.repeats, given.seed, given.build_s, asked, given.tile38, given.postgis)
    for size in given.fences:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as own:
            try:
                yield own.submit(measure, size, options).result()
            except TooLongError as error:
                print(f"lookup: {error}", file=sys.stderr, flush=True)


def measure(size: int, options: Options) -> Report:
    """Build every contender at this size, check that they agree, and time them."""
    before = resident_bytes()
    fences = make_fences(size, options.seed)
    gc.collect()
    built = build(fences, (resident_bytes() - before) / size, options.build_s)
    strtree, strtree_s = _timed(lambda: Strtree(fences))
    rtree, rtree_s = _timed(lambda: Rtree(fences))
    contenders: list[Contender] = [Ours(built.index, fences), strtree, rtree]
    rounds = _rounds(size, options)
    inside, agreed = agree(contenders, fences, *rounds[0])
    gc.freeze()
    rows = [row for batch in (1, *BATCHES) for row in _rows(contenders, batch, rounds)]
    rows += _border_rows(built.index, rounds)
    if options.peers:
        pairs = contenders[0].pairs(*rounds[0])
        rows += peers.rows(fences, rounds, pairs, devices=DEVICES, tile38=options.tile38, postgis=options.postgis)
    return Report(
        "lookup",
        {
            "fences": size,
            "cities": cities_for(size),
            "pings": f"{options.repeats} x {options.pings:,}",
            "devices": DEVICES,
            "inside_share": inside,
            "seed": options.seed,
        },
        rows,
        {
            "checked_pairs": agreed,
            "build_s": built.wall_s,
            "cover_cpu_us_a_fence": built.cover_us,
            "put_cpu_us_a_fence": built.put_us,
            "strtree_build_s": strtree_s,
            "rtree_build_s": rtree_s,
            "bytes_a_fence": round(built.fence_bytes + built.index_bytes),
            "of_these_index": round(built.index_bytes),
        },
    )


# ------------------------------------------------------------------------------------------------ building
_to_cover: Sequence[Geofence] = ()


def build(fences: Sequence[Geofence], fence_bytes: float, limit_s: float) -> Built:
    """Ours, its covers computed by a worker on each core. Raises TooLongError when they would take over `limit_s`.

    Times of a cover and a put are of CPU; bytes are what the process grew by.
    """
    workers = os.cpu_count() or 1
    sample = fences[:: max(1, len(fences) // CHUNK)]
    _, sample_s = _timed(lambda: [prepare(fence) for fence in sample])
    expected_s = sample_s / len(sample) * len(fences) / workers
    if expected_s > limit_s:
        raise TooLongError(f"{len(fences):,} fences left out: their covers would take {expected_s:.0f} s here")
    gc.collect()
    before = resident_bytes()
    started = time.perf_counter()
    index = GeofenceIndex()
    cover_s = put_s = 0.0
    for start, covers, spent_s in _covers(fences, workers):
        cover_s += spent_s
        begun = time.process_time()
        for fence, cover in zip(fences[start : start + CHUNK], covers, strict=True):
            index.put(fence, cover)
        put_s += time.process_time() - begun
    wall_s = time.perf_counter() - started
    gc.collect()
    grown = (resident_bytes() - before) / len(fences)
    count = len(fences)
    return Built(index, cover_s / count * 1e6, put_s / count * 1e6, wall_s, fence_bytes, grown)


def _covers(fences: Sequence[Geofence], workers: int) -> Iterator[tuple[int, list[Cover], float]]:
    """Covers of the fences from `start` on, chunk by chunk, and the CPU seconds they took."""
    global _to_cover  # noqa: PLW0603 - a forked worker inherits it: a hundred thousand shapes need not be sent
    _to_cover = fences
    starts = range(0, len(fences), CHUNK)
    if workers < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(_cover_chunk, starts)
        return
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        yield from pool.imap(_cover_chunk, starts)


def _cover_chunk(start: int) -> tuple[int, list[Cover], float]:
    begun = time.process_time()
    covers = [prepare(fence) for fence in _to_cover[start : start + CHUNK]]
    return start, covers, time.process_time() - begun


def resident_bytes() -> int:
    """Physical memory of this process; 0 where the system does not tell."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _timed(work: Callable[[], T], clock: Callable[[], float] = time.perf_counter) -> tuple[T, float]:
    started = clock()
    made = work()
    return made, clock() - started


# ------------------------------------------------------------------------------------------------ checking
def agree(
    contenders: Sequence[Contender], fences: Sequence[Geofence], lat: FloatArray, lon: FloatArray
) -> tuple[float, int]:
    """Share of the points that are inside any fence, and how many pairs were compared.

    Raises AssertionError where contenders, or a contender's batch and its single answers, differ farther than 1 cm
    from a border.
    """
    answers = [contender.pairs(lat, lon) for contender in contenders]
    for contender, found in zip(contenders, answers, strict=True):
        doubtful = {pair for pair in found ^ answers[0] if not _on_border(fences[pair[1]], lat[pair[0]], lon[pair[0]])}
        assert not doubtful, f"{contender.name} and {contenders[0].name} differ in {len(doubtful)} pairs"
        few = range(0, len(lat), 17)
        singles = sum(len(contender.one(float(lat[point]), float(lon[point]))) for point in few)
        assert singles == _at_points(found, few), f"{contender.name} says one thing at once and another one by one"
    return len({point for point, _ in answers[0]}) / len(lat), len(answers[0])


def _on_border(fence: Geofence, lat: float, lon: float) -> bool:
    return abs(border_distance_one(fence.geometry, float(lat), float(lon))) <= BORDER_M


def _at_points(found: Pairs, points: range) -> int:
    return len([point for point, _ in found if point in points])


# ------------------------------------------------------------------------------------------------ timing
Round = tuple[FloatArray, FloatArray]


def _rounds(size: int, options: Options) -> list[Round]:
    """Fresh pings for each repeat, in the order in which devices in many cities would send them."""
    devices = make_devices(DEVICES, size, options.seed)
    rounds = []
    for _ in range(options.repeats):
        lat, lon = devices.walk(math.ceil(options.pings / DEVICES))
        rounds.append((lat.ravel()[: options.pings], lon.ravel()[: options.pings]))
    return rounds


def _rows(contenders: Sequence[Contender], batch: int, rounds: Sequence[Round]) -> Iterator[Row]:
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    spins = {contender.name: Yardstick(time.process_time) for contender in contenders}
    for turn, (lat, lon) in enumerate(rounds):
        for contender in _rotated(contenders, turn):
            spins[contender.name].spin()
            work = _singles(contender, lat, lon) if batch == 1 else _batches(contender, batch, lat, lon)
            _, spent_s = _timed(work, time.process_time)
            rates[contender.name].append(len(lat) / spent_s)
            if batch == 1:
                taken[contender.name] += each_us(contender.one, lat, lon)
    first = contenders[0].name
    for contender in contenders:
        name = contender.name
        ours_by = statistics.median(a / b for a, b in zip(rates[first], rates[name], strict=True))
        yield Row(
            f"{'one by one' if batch == 1 else f'batch {batch:,}'}  {name}",
            statistics.median(rates[name]),
            "pings/CPU-s",
            spins[name],
            Tail.of("us a call", taken[name]) if batch == 1 else None,
            {} if name == first else {"ours_faster_by": ours_by},
        )


def _rotated(contenders: Sequence[Contender], turn: int) -> list[Contender]:
    places = range(turn, turn + len(contenders))
    return [contenders[place % len(contenders)] for place in places]


def _singles(contender: Contender, lat: FloatArray, lon: FloatArray) -> Callable[[], None]:
    points = list(zip(lat.tolist(), lon.tolist(), strict=True))

    def work() -> None:
        one = contender.one
        for a, b in points:
            one(a, b)

    return work


def _batches(contender: Contender, batch: int, lat: FloatArray, lon: FloatArray) -> Callable[[], None]:
    cuts = [(lat[start : start + batch], lon[start : start + batch]) for start in range(0, len(lat), batch)]

    def work() -> None:
        for a, b in cuts:
            contender.many(a, b)

    return work


def _border_rows(index: GeofenceIndex, rounds: Sequence[Round]) -> Iterator[Row]:
    """What the compiled borders tell of a point; nothing where plain ones serve."""
    borders, kernel = index.borders, index.kernel
    if borders is None:
        return
    asked: dict[str, Callable[[float, float], object]] = {
        f"clear radius, sought to {CLEAR_M:,.0f} m": lambda lat, lon: borders.clear_m(lat, lon, CLEAR_M),
        f"borders within {AROUND_M:.0f} m": lambda lat, lon: borders.around(kernel, lat, lon, AROUND_M, AROUND_MOST),
    }
    for name, one in asked.items():
        spins = Yardstick(time.process_time)
        taken: list[float] = []
        for lat, lon in rounds:
            spins.spin()
            taken += each_us(one, lat, lon)
        yield Row(name, 1e6 / statistics.mean(taken), "points/s", spins, Tail.of("us a call", taken))


def each_us(one: Callable[[float, float], object], lat: FloatArray, lon: FloatArray) -> list[float]:
    """Microseconds of each call, the clock's own reading (some 0.05) included."""
    now = time.perf_counter_ns
    taken = []
    for a, b in zip(lat.tolist(), lon.tolist(), strict=True):
        started = now()
        one(a, b)
        taken.append((now() - started) / 1_000)
    return taken
