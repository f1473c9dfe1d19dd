"""What a ping costs at calibrated fences beside plain ones: by how many borders are near, and of the common load.

The engine with the doubles of its ports, as in `growth`: admission, look-ups, presence, and nothing of sockets or a
database; CPU time of frames of 1,000 that are columns already. Both lines have the same fences at the same places, with
another detection mode, and take turns. Phones at one place keep still, with errors such as their accuracy says; those
of the common load walk and drive. Where eight borders are near, that many stores of a market have been put about a
phone on top of the load. Memory is of devices as in `held`.
"""

import argparse
import asyncio
import gc
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
from msgspec.structs import replace

from bench.doubles import WORKSPACE, running
from bench.held import MODES, Mode, device_bytes
from bench.load import PING_EVERY_S, make_devices, make_fences
from bench.report import Report, Row, Yardstick
from geo_offers import clock
from geo_offers.pipeline import quick
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.requests import Point
from geo_offers.places.earth import FloatArray, metres_per_degree
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.places.index import GeofenceIndex, prepare
from geo_offers.presence import evidence

SHORT: Final = ("--fences", "5000", "--repeats", "3", "--memory", "100000")
FRAME: Final = 1_000
WARM: Final = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """Phones that have so many borders within reach of a fix; away_m: none is nearer than this."""

    name: str
    borders: range
    away_m: float = 0.0


KINDS: Final = (
    Kind("no border within 300 m", range(1), 300.0),
    Kind("no border near", range(1)),
    Kind("one or two", range(1, 3)),
    Kind("eight", range(8, 9)),
)
ACCURACY_M: Final = 8.0
MARKETS: Final = 500
STORES: Final = 8
STORE_M: Final = 30.0
"""Radius of a market's stores; from their middle they are half as much farther away."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fences", type=int, default=100_000, metavar="N")
    parser.add_argument(
        "--devices", type=int, default=20_000, metavar="N", help="places, and phones of the common load"
    )
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="pings of each phone that are timed")
    parser.add_argument("--memory", type=int, default=1_000_000, metavar="N", help="devices whose memory is measured")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    rows = asyncio.run(_rows(given.fences, given.devices, given.repeats, given.seed))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as own:
        found = {f"bytes_a_device_{mode}": own.submit(device_bytes, given.memory, mode).result() for mode in MODES}
    load = {"fences": given.fences, "devices": given.devices, "pings_a_phone": given.repeats, "seed": given.seed}
    yield Report("calibrated", load, rows, found)


async def _rows(count: int, devices: int, repeats: int, seed: int) -> list[Row]:
    walking = make_devices(devices, count, seed)
    fences = make_fences(count, seed)
    fences += [
        store
        for place in zip(walking.lat[:MARKETS].tolist(), walking.lon[:MARKETS].tolist(), strict=True)
        for store in _market(*place, str(len(fences)))
    ]
    covers = [prepare(fence) for fence in fences]
    indexes = {mode: GeofenceIndex() for mode in MODES}
    for mode, index in indexes.items():
        for fence, cover in zip(fences, covers, strict=True):
            index.put(replace(fence, detect=Detect(mode)), cover)
    gc.freeze()
    places = {kind: _places(kind, indexes["raw"], walking.lat, walking.lon) for kind in KINDS}
    rng = np.random.default_rng([seed, 4])
    rows = []
    for kind, (lat, lon) in places.items():
        if len(lat):
            steps = [_jittered(lat, lon, rng) for _ in range(WARM + repeats)]
            rows += await _lines(kind.name, indexes, steps)
    return rows + await _lines("the common load", indexes, list(zip(*walking.walk(WARM + repeats), strict=True)))


def _market(lat: float, lon: float, name: str) -> list[Geofence]:
    north_m, east_m = metres_per_degree(np.array([lat]))
    places = [
        (
            lat + 1.5 * STORE_M * math.cos(turn) / float(north_m[0]),
            lon + 1.5 * STORE_M * math.sin(turn) / float(east_m[0]),
        )
        for turn in (2 * math.pi * number / STORES for number in range(STORES))
    ]
    return [_fence(f"{name}-{lat}-{lon}-{number}", Circle(*place, STORE_M)) for number, place in enumerate(places)]


def _places(kind: Kind, index: GeofenceIndex, lat: FloatArray, lon: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Outside of all fences."""
    reach_m = evidence.reach_m(evidence.scale_m(ACCURACY_M))
    chosen = [
        len(index.around(*place, reach_m)) in kind.borders
        and not index.locate_one(*place)
        and not (kind.away_m and index.around(*place, kind.away_m))
        for place in zip(lat.tolist(), lon.tolist(), strict=True)
    ]
    return lat[chosen], lon[chosen]


def _jittered(lat: FloatArray, lon: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    north_m, east_m = metres_per_degree(lat)
    y_m, x_m = rng.normal(0, ACCURACY_M / evidence.AXIS / 4, (2, len(lat)))
    return lat + y_m / north_m, lon + x_m / east_m


async def _lines(
    name: str, indexes: Mapping[Mode, GeofenceIndex], steps: Sequence[tuple[FloatArray, FloatArray]]
) -> list[Row]:
    """One row a mode; a round of pings by turns."""
    spent: dict[Mode, list[float]] = {mode: [] for mode in MODES}
    yardsticks = {mode: Yardstick(time.process_time) for mode in MODES}
    edges = dict.fromkeys(MODES, 0)
    async with running(_catalog(indexes["raw"])) as raw, running(_catalog(indexes["calibrated"])) as weighed:
        at_us = clock.now_us()
        for number, (lat, lon) in enumerate(steps):
            at_us += int(PING_EVERY_S * 1e6)
            for mode, engine in (("raw", raw), ("calibrated", weighed)):
                ns, told = await _round(engine, lat, lon, at_us)
                if number >= WARM:
                    yardsticks[mode].spin()
                    spent[mode].append(ns / len(lat))
                    edges[mode] += told
    times = statistics.median(b / a for a, b in zip(spent["raw"], spent["calibrated"], strict=True))
    more = {mode: {"phones": len(steps[0][0]), "edges": edges[mode]} for mode in MODES}
    more["calibrated"] |= {"times_raw": times}
    return [
        Row(f"{name}, {mode}", statistics.median(spent[mode]), "ns/ping", yardsticks[mode], None, more[mode])
        for mode in MODES
    ]


def _catalog(index: GeofenceIndex) -> Catalog:
    catalog = Catalog()
    catalog.install(WORKSPACE, index)
    return catalog


async def _round(engine: Engine, lat: FloatArray, lon: FloatArray, at_us: int) -> tuple[float, int]:
    """CPU ns of one ping of every phone, and the edges."""
    spent_ns, edges = 0, 0
    for start in range(0, len(lat), FRAME):
        places = enumerate(zip(lat[start : start + FRAME].tolist(), lon[start : start + FRAME].tolist(), strict=True))
        batch = quick.batch_of([Point(UUID(int=start + n + 1), at_us, *place, ACCURACY_M) for n, place in places])
        started = time.process_time_ns()
        request = await engine.take(WORKSPACE, batch, caller=None)
        spent_ns += time.process_time_ns() - started
        edges += len(request.transitions)
    return spent_ns, edges


def _fence(name: str, shape: Circle) -> Geofence:
    return Geofence(FenceId(f"bench/{name}"), 1, "", shape, None, (), active=True, detect=Detect())
