"""What grows with the fences, and with the devices: look-ups, pings through the engine, memory. Draws docs/plots.

Each size has a process of its own, where memory can be told. Fences: the index alone, points one by one and in batches
of 1,000; as the load grows its towns overlap, so of the pings inside only so many are asked as make a tenth of all, at
each size. Devices: the engine with the doubles of its ports, so that what is counted is admission, look-up and presence
and nothing of sockets or a database; each device is heard of three times before memory is read.
"""

import argparse
import asyncio
import gc
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from bench import lookup
from bench.contenders import Ours
from bench.doubles import WORKSPACE, running
from bench.held import MODES, Mode, device_bytes
from bench.load import PING_EVERY_S, make_devices, make_fences
from bench.plots import Plot, Series
from bench.report import Report, Row, Tail, Yardstick, sizes
from geo_offers import clock
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.requests import Point
from geo_offers.places.earth import FloatArray

SHORT: Final = None
PLOTS: Final = Path(__file__).parent.parent / "docs" / "plots"
BATCH: Final = 1_000
INSIDE: Final = 0.1
"""Of the pings of a window. The load has more of them, about a fifth with a million fences."""
ROUNDS: Final = 3
FENCES_UNDER_DEVICES: Final = 10_000


@dataclass(frozen=True, slots=True)
class OfFences:
    """CPU nanoseconds a ping, medians of the windows; bytes of the index a fence."""

    fences: int
    p50_us: float
    p99_us: float
    single_ns: float
    batch_ns: float
    index_bytes: float
    build_s: float
    yardstick: Yardstick


@dataclass(frozen=True, slots=True)
class OfDevices:
    """full_bytes: of which all is kept that may be (`held`)."""

    devices: int
    ping_ns: float
    device_bytes: float
    full_bytes: Mapping[Mode, float]
    yardstick: Yardstick


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fences", type=sizes, default=(1_000, 10_000, 100_000, 1_000_000), metavar="N[,N…]")
    parser.add_argument("--devices", type=sizes, default=(1_000, 100_000, 1_000_000), metavar="N[,N…]")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="windows of each measurement")
    parser.add_argument("--pings", type=int, default=50_000, metavar="N", help="pings a window")
    parser.add_argument("--seed", type=int, default=7, metavar="N")
    parser.add_argument("--plots", type=Path, default=PLOTS, metavar="FOLDER", help="where the plots go")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    fences = [_alone(of_fences, size, given.pings, given.repeats, given.seed) for size in given.fences]
    devices = [_devices(size, given.pings, given.repeats, given.seed) for size in given.devices]
    report = Report(
        "growth",
        {
            "pings": f"{given.repeats} x {given.pings:,}",
            "fences_under_devices": FENCES_UNDER_DEVICES,
            "seed": given.seed,
        },
        [*map(_fences_row, fences), *map(_devices_row, devices)],
    )
    given.plots.mkdir(parents=True, exist_ok=True)
    for name, plot in plots(fences, devices).items():
        (given.plots / f"{name}.svg").write_text(plot.svg(), encoding="utf-8")
    yield report


def _alone(measure: Any, *given: Any) -> Any:
    print(f"growth: {measure.__name__} {given[0]:,}", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as own:
        return own.submit(measure, *given).result()


# ------------------------------------------------------------------------------------------------ fences
def of_fences(size: int, pings: int, repeats: int, seed: int) -> OfFences:
    fences = make_fences(size, seed)
    built = lookup.build(fences, 0.0, float("inf"))
    ours = Ours(built.index, fences)
    gc.freeze()
    devices = make_devices(BATCH * 5, size, seed)
    windows = [_as_often_inside(ours, *devices.walk(max(1, pings // len(devices.lat)))) for _ in range(repeats)]
    single_ns, batch_ns, taken_us, yardstick = list[float](), list[float](), list[float](), Yardstick(time.process_time)
    for lat, lon in windows:
        yardstick.spin()
        places = list(zip(lat.tolist(), lon.tolist(), strict=True))
        started = time.process_time_ns()
        for place in places:
            ours.one(*place)
        single_ns.append((time.process_time_ns() - started) / len(places))
        started = time.process_time_ns()
        for start in range(0, len(places), BATCH):
            ours.many(lat[start : start + BATCH], lon[start : start + BATCH])
        batch_ns.append((time.process_time_ns() - started) / len(places))
        taken_us += lookup.each_us(ours.one, lat, lon)
    tail = Tail.of("us", taken_us).values
    singles, batches = statistics.median(single_ns), statistics.median(batch_ns)
    return OfFences(size, tail["p50"], tail["p99"], singles, batches, built.index_bytes, built.wall_s, yardstick)


def _as_often_inside(ours: Ours, lat: FloatArray, lon: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The pings of a walk, without the last of those inside that are more than their share."""
    lat, lon = lat.ravel(), lon.ravel()
    inside = np.array([len(fences) > 0 for fences in ours.many(lat, lon)])
    kept = ~inside | (np.cumsum(inside) <= INSIDE / (1 - INSIDE) * np.count_nonzero(~inside))
    return lat[kept], lon[kept]


def _fences_row(found: OfFences) -> Row:
    more = {
        "single_ns": found.single_ns,
        "p50_us": found.p50_us,
        "p99_us": found.p99_us,
        "index_bytes_a_fence": found.index_bytes,
        "build_s": found.build_s,
    }
    return Row(f"{found.fences:,} fences, batches", found.batch_ns, "ns/ping", found.yardstick, None, more)


# ------------------------------------------------------------------------------------------------ devices
def _devices(size: int, pings: int, repeats: int, seed: int) -> OfDevices:
    ping_ns, bytes_each, yardstick = _alone(of_devices, size, pings, repeats, seed)
    return OfDevices(size, ping_ns, bytes_each, {mode: _alone(device_bytes, size, mode) for mode in MODES}, yardstick)


def of_devices(size: int, pings: int, repeats: int, seed: int) -> tuple[float, float, Yardstick]:
    """CPU ns a ping, median of the windows; bytes a device."""
    return asyncio.run(_of_devices(size, pings, repeats, seed))


async def _of_devices(size: int, pings: int, repeats: int, seed: int) -> tuple[float, float, Yardstick]:
    catalog = Catalog()
    catalog.put(WORKSPACE, make_fences(FENCES_UNDER_DEVICES, seed))
    async with running(catalog) as engine:
        return await _pinged(engine, size, pings, repeats, seed)


async def _pinged(engine: Engine, size: int, pings: int, repeats: int, seed: int) -> tuple[float, float, Yardstick]:
    ids = [UUID(int=number + 1) for number in range(size)]
    devices, at_us = make_devices(size, FENCES_UNDER_DEVICES, seed), clock.now_us()
    gc.collect()
    before = lookup.resident_bytes()
    for _ in range(ROUNDS):
        devices.advance()
        at_us += int(PING_EVERY_S * 1e6)
        for start in range(0, size, BATCH):
            points = _points(ids, devices.lat, devices.lon, at_us, range(start, min(start + BATCH, size)))
            await engine.take(WORKSPACE, points, caller=None)
    gc.collect()
    bytes_each = (lookup.resident_bytes() - before) / size
    gc.freeze()
    ping_ns, yardstick = list[float](), Yardstick(time.process_time)
    for _ in range(repeats):
        yardstick.spin()
        spent_ns = done = 0
        while done < pings:
            devices.advance()
            at_us += int(PING_EVERY_S * 1e6)
            for start in range(0, min(size, pings - done), BATCH):
                points = _points(ids, devices.lat, devices.lon, at_us, range(start, min(start + BATCH, size)))
                started = time.process_time_ns()
                await engine.take(WORKSPACE, points, caller=None)
                spent_ns += time.process_time_ns() - started
                done += len(points)
        ping_ns.append(spent_ns / done)
    return statistics.median(ping_ns), bytes_each, yardstick


def _points(ids: Sequence[UUID], lat: Any, lon: Any, at_us: int, which: range) -> list[Point]:
    return [Point(ids[n], at_us, float(lat[n]), float(lon[n]), 8.0) for n in which]


def _devices_row(found: OfDevices) -> Row:
    more = {"bytes_a_device": found.device_bytes}
    more |= {f"bytes_a_full_device_{mode}": full_bytes for mode, full_bytes in found.full_bytes.items()}
    return Row(f"{found.devices:,} devices", found.ping_ns, "ns/ping", found.yardstick, None, more)


# ------------------------------------------------------------------------------------------------ plots
def plots(fences: Sequence[OfFences], devices: Sequence[OfDevices]) -> Mapping[str, Plot]:
    """By the name of their file."""
    by = "python -m bench growth"
    return {
        "lookup": Plot(
            "Look-up of one ping as fences grow",
            f"CPU time, one core; {by}",
            "fences",
            "ns a ping",
            [
                Series("one by one, mean", [(one.fences, one.single_ns) for one in fences]),
                Series("one by one, p99 (wall clock)", [(one.fences, one.p99_us * 1e3) for one in fences]),
                Series(f"batches of {BATCH:,}", [(one.fences, one.batch_ns) for one in fences]),
            ],
        ),
        "fence-memory": Plot(
            "Memory of the index a fence",
            f"resident; {by}",
            "fences",
            "bytes a fence",
            [Series("index", [(one.fences, one.index_bytes) for one in fences])],
            log_y=False,
        ),
        "devices": Plot(
            "One ping through the engine as devices grow",
            f"CPU time, batches of {BATCH:,}, {FENCES_UNDER_DEVICES:,} fences; {by}",
            "devices in memory",
            "ns a ping",
            [Series("admission, look-up, presence", [(one.devices, one.ping_ns) for one in devices])],
            log_y=False,
        ),
        "device-memory": Plot(
            "Memory a device",
            f"resident; {by}",
            "devices in memory",
            "bytes a device",
            [
                Series(f"after {ROUNDS} pings", [(one.devices, one.device_bytes) for one in devices]),
                *(
                    Series(f"all marks, {mode}", [(one.devices, one.full_bytes[mode]) for one in devices])
                    for mode in MODES
                ),
            ],
            log_y=False,
        ),
    }
