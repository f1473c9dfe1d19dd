"""`next`: what a phone saves that obeys it, that it loses nothing, and what an answer with it costs.

Each trip is played twice, without a server between: every fix sent, and only those that are due by the answers before
(`geo_offers.client.saving`). A transition that only one of the two was told, or at another fix, is counted as lost or
as added. Synthetic phones are those of the common load, one fix every 8 s, 10 m accurate; recorded trips are read in
place, and skipped with a word where they are missing.

The cost is the CPU time of one thread for making and encoding `next`, by kind of wish. Nothing is kept from one answer
to the other, and each is of another phone in another place.
"""

import argparse
import gc
import gzip
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import shapely

from bench.load import PING_EVERY_S, WALKING_MPS, cities_for, make_devices, make_fences, middles
from bench.phones import Heed, obey, send_all, strictly
from bench.report import Report, Row, Tail, Yardstick
from geo_offers.client.saving import Told
from geo_offers.client.trips import read_trips
from geo_offers.pipeline.advice import WISHES, advise
from geo_offers.places.fences import Detect, Geofence, fence_id
from geo_offers.places.geometry import Area, Circle
from geo_offers.places.importing.geojson import parse_collection
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.fixes import Fix, usable_accuracy_m, usable_speed_mps
from geo_offers.presence.states import NOWHERE, Transition
from geo_offers.web import regions

ACCURACY_M: Final = 10.0
STEP_DEG: Final = 0.001
CROWD: Final = 500
HUGE: Final = 100
CORNERS: Final = 2_000
STOPS_EVERY: Final = 10
WAYS: Final[Mapping[str, tuple[str, Heed]]] = {
    "radius and checks": ("radius", strictly),
    "radius": ("radius", Told.of),
    "radius and regions": ("ios", Told.of),
}
"""How a phone obeys: silent while the safe radius and `check_after_s` allow; while the radius and `send_after_s` do, of
a phone that looks where it is anyway; that, and outside of all regions within the refresh circle as well."""
SHORT: Final = ("--fences", "10000", "--phones", "100", "--fixes", "225", "--answers", "1000")


@dataclass(frozen=True, slots=True)
class Options:
    fences: int
    phones: int
    fixes: int
    answers: int
    seed: int


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fences", type=int, default=100_000, metavar="N")
    parser.add_argument("--phones", type=int, default=300, metavar="N", help="played trips; 0: the cost alone")
    parser.add_argument("--fixes", type=int, default=450, metavar="N", help="of each phone")
    parser.add_argument("--answers", type=int, default=5_000, metavar="N", help="timed, of each wish")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    asked = Options(given.fences, given.phones, given.fixes, given.answers, given.seed)
    index = GeofenceIndex(make_fences(asked.fences, asked.seed))
    yield _cost(index, asked)
    if asked.phones:
        yield _saved(index, asked)


# ------------------------------------------------------------------------------------------------ what is saved
def _saved(index: GeofenceIndex, options: Options) -> Report:
    walkers, drivers = synthetic(options)
    trips = [("walkers", (index, walkers)), ("drivers", (index, drivers)), *recorded_here("next")]
    rows = [_played(f"{name}: {how}", *given, *WAYS[how]) for name, given in trips for how in WAYS]
    load: dict[str, Any] = {"fences": options.fences, "phones": options.phones, "fixes_each": options.fixes}
    return Report("next, saved", {**load, "ping_every_s": PING_EVERY_S, "seed": options.seed}, rows, {})


def synthetic(options: Options) -> tuple[list[list[Fix]], list[list[Fix]]]:
    """Trips of walkers, and of drivers."""
    devices = make_devices(options.phones, options.fences, options.seed)
    speed_mps = devices.step_m / PING_EVERY_S
    lat, lon = devices.walk(options.fixes)
    trips: tuple[list[list[Fix]], list[list[Fix]]] = ([], [])
    for phone, mps in enumerate(speed_mps.tolist()):
        places = zip(lat[:, phone].tolist(), lon[:, phone].tolist(), strict=True)
        trips[mps > WALKING_MPS[1]].append(
            [Fix(int(n * PING_EVERY_S * 1e6), a, b, ACCURACY_M, mps) for n, (a, b) in enumerate(places)]
        )
    return trips


def _played(name: str, index: GeofenceIndex, trips: Sequence[Sequence[Fix]], wish: str, heed: Heed) -> Row:
    yardstick = Yardstick()
    yardstick.spin()
    fixes = sent = lost = added = 0
    events: Counter[str] = Counter()
    for trip in trips:
        whole, saved = send_all(index, trip), obey(index, trip, wish, heed)
        fixes, sent = fixes + len(trip), sent + saved.sent
        events.update(edge.type.value for edge in whole.told)
        lost += (_counted(whole.told) - _counted(saved.told)).total()
        added += (_counted(saved.told) - _counted(whole.told)).total()
    more = {"pings": fixes, "sent": sent, **dict(sorted(events.items())), "lost_or_late": lost, "added": added}
    return Row(name, 100 * (1 - sent / fixes), "% kept back", yardstick, None, more)


def _counted(told: Iterable[Transition]) -> Counter[tuple[str, str, int]]:
    return Counter((edge.type.value, edge.fence, edge.at_us) for edge in told)


# ------------------------------------------------------------------------------------------------ recorded trips
def recorded(root: Path) -> Iterator[tuple[str, tuple[GeofenceIndex, list[list[Fix]]]]]:
    """Each recorded trip among the fences that it is played through."""
    stores = root / "stores/lidl_germany_osm.geojson.gz"
    for city in ("hamm", "bremen"):
        trips = read(root / f"trajectories/envirocar_{city}_pings.csv.gz")
        for radius_m in (100.0, 300.0):
            yield f"car in {city}, stores of {radius_m:.0f} m", (among(stores, radius_m), trips)
    districts = root / "polygons/neighborhoods_bremen.geojson.gz"
    yield (
        "car in bremen, districts",
        (among(districts, None), read(root / "trajectories/envirocar_bremen_pings.csv.gz")),
    )
    buses = read(root / "trajectories/liverpool_bus_route14.csv")
    stops = max(buses, key=len)[::STOPS_EVERY]
    circles = [Circle(fix.lat, fix.lon, 60.0) for fix in stops]
    yield "buses, stops of 60 m", (GeofenceIndex(_fences("stop", circles)), buses)


def recorded_here(bench: str) -> Iterator[tuple[str, tuple[GeofenceIndex, list[list[Fix]]]]]:
    """The recorded trips, or a word of `bench` that they are missing."""
    root = Path(os.environ.get("GEO_OFFERS_REAL_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if root.is_dir():
        yield from recorded(root)
    else:
        print(f"{bench}: recorded trips are left out: no folder {root}", file=sys.stderr, flush=True)


def read(file: Path) -> list[list[Fix]]:
    """The fixes of each device of a file, by time."""
    return [
        [
            Fix(row.at_us, lat, lon, usable_accuracy_m(row.ping.accuracy_m), usable_speed_mps(row.ping.speed_mps))
            for row in rows
            if (lat := row.ping.lat) is not None and (lon := row.ping.lon) is not None
        ]
        for rows in read_trips(file).devices.values()
    ]


def among(file: Path, radius_m: float | None) -> GeofenceIndex:
    """The fences of a GeoJSON file."""
    parsed = parse_collection(json.loads(gzip.decompress(file.read_bytes())), radius_m=radius_m)
    drafts = [row.draft for row in parsed.rows if row.draft is not None]
    return GeofenceIndex(_fences("real", [draft.geometry for draft in drafts]))


def _fences(set_id: str, geometries: Sequence[Circle | Area]) -> Iterator[Geofence]:
    for number, geometry in enumerate(geometries):
        yield Geofence(fence_id(set_id, str(number)), 1, "", geometry, None, (), active=True, detect=Detect("raw"))


# ------------------------------------------------------------------------------------------------ what it costs
def _cost(index: GeofenceIndex, options: Options) -> Report:
    devices = make_devices(options.answers, options.fences, options.seed)
    devices.advance()
    fixes = [
        Fix(0, lat, lon, ACCURACY_M, 1.0) for lat, lon in zip(devices.lat.tolist(), devices.lon.tolist(), strict=True)
    ]
    rows = [_timed(wish, index, fixes, wish) for wish in WISHES]
    spot = middles(cities_for(options.fences), options.seed)[:, 0].tolist()
    for name, more in (("500 areas at the spot", _crowd(spot)), ("huge fences around", _huge(spot))):
        for fence in more:
            index.put(fence)
        rows += [_timed(f"{wish}, {name}", index, _about(spot, options), wish) for wish in ("regions", "ios")]
        for fence in more:
            index.remove(fence.id)
    load = {"fences": options.fences, "answers": options.answers, "seed": options.seed}
    return Report("next, cost", load, rows, {})


def _timed(name: str, index: GeofenceIndex, fixes: Sequence[Fix], wish: str) -> Row:
    yardstick = Yardstick(time.thread_time)
    yardstick.spin()
    encoder, wanted, size = msgspec.json.Encoder(), WISHES[wish], 0
    taken = []
    gc.collect()
    gc.freeze()
    for fix in fixes:
        started = time.thread_time_ns()
        said = encoder.encode(regions.told(advise(index, NOWHERE, fix, wanted), None))
        taken.append((time.thread_time_ns() - started) / 1_000)
        size += len(said)
    tail = Tail.of("us an answer", taken)
    return Row(name, 1e6 / (sum(taken) / len(taken)), "answers/CPU-s", yardstick, tail, {"bytes": size // len(fixes)})


def _about(spot: Sequence[float], options: Options) -> list[Fix]:
    """Places within some 300 m of a spot."""
    away = np.random.default_rng([options.seed, 4]).normal(0, STEP_DEG, (options.answers, 2))
    return [Fix(0, spot[0] + y, spot[1] + x, ACCURACY_M, 1.0) for y, x in away.tolist()]


def _crowd(spot: Sequence[float]) -> list[Geofence]:
    """As many areas at one spot as a workspace has room for."""
    random = np.random.default_rng(5)
    areas = [_star(spot, random.uniform(100, 400), int(random.integers(5, 41)), random) for _ in range(CROWD)]
    return list(_fences("crowd", areas))


def _huge(spot: Sequence[float]) -> list[Geofence]:
    """Circles of 100 km and areas of 2,000 corners about a spot, their borders from near it to far away."""
    random = np.random.default_rng(6)
    middles_deg = random.uniform(-0.9, 0.9, (HUGE, 2)) + np.array(spot)
    circles = [Circle(lat, lon, 100_000.0) for lat, lon in middles_deg.tolist()]
    areas = [_star(spot, random.uniform(1_000, 50_000), CORNERS, random) for _ in range(HUGE)]
    return list(_fences("huge", [*circles, *areas]))


def _star(spot: Sequence[float], size_m: float, corners: int, random: np.random.Generator) -> Area:
    angle = 2 * np.pi * np.arange(corners) / corners
    away_deg = size_m / 111_000 * random.uniform(0.6, 1.0, corners)
    lat = spot[0] + away_deg * np.sin(angle)
    return Area(
        shapely.Polygon(np.column_stack((spot[1] + away_deg * np.cos(angle) / np.cos(np.radians(spot[0])), lat)))
    )
