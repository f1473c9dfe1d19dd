"""What it costs to ask whether a ping is hidden: quiet pings at the door, with private places and with `not_at`.

Requests of a server key, a ping a phone, among 10,000 fences; each phone walks some metres a request..
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from bench.report import Report, Row, Tail, Yardstick
from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline import quick
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.requests import Code, Point
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.states import NOWHERE

SHORT: Final[Sequence[str]] = ("--phones", "5000", "--repeats", "3")
FENCES: Final = 10_000
BATCH: Final = 100
ROUNDS: Final = 6
STEP_DEG: Final = 2e-4
START_US: Final = 1_800_000_000_000_000
_WORKSPACE: Final = UUID(int=1)
_FAR: Final = (Circle(-40.0, 10.0, 500.0),) * 2


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--phones", type=int, default=20_000, metavar="N")
    parser.add_argument("--places", type=int, default=1_000, metavar="N", help="private places")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    yield run(given.phones, given.places, given.repeats)


def run(phones: int, places: int, repeats: int) -> Report:
    """The cases in turns."""
    rng = random.Random(7)
    index, private = _circles(FENCES, 53.0, rng), _circles(places, 53.0, rng)
    cases: dict[str, tuple[GeofenceIndex | None, Whereabouts | None]] = {
        "nothing": (None, None),
        f"{places:,} private places": (private, None),
        "two circles of not_at": (None, Whereabouts(not_at=_FAR)),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    sticks = {name: Yardstick() for name in cases}
    for _ in range(repeats):
        for name, (hidden, where) in cases.items():
            sticks[name].spin()
            found[name] += _settled(index, hidden, where, phones, rng)
    rows = [
        Row(name, statistics.median(times), "ns/ping", sticks[name], Tail.of("ns/ping", times))
        for name, times in found.items()
    ]
    return Report("seclusion", {"phones": phones, "fences": FENCES, "batch": BATCH, "repeats": repeats}, rows)


def _circles(count: int, lat: float, rng: random.Random) -> GeofenceIndex:
    return GeofenceIndex(
        Geofence(
            FenceId(f"s/{number}"),
            1,
            "",
            Circle(lat + rng.uniform(-0.2, 0.2), 8.8 + rng.uniform(-0.3, 0.3), 100.0),
            None,
            (),
            active=True,
            detect=Detect("raw"),
        )
        for number in range(count)
    )


def _settled(
    index: GeofenceIndex, private: GeofenceIndex | None, where: Whereabouts | None, phones: int, rng: random.Random
) -> list[float]:
    """Nanoseconds a ping, of each request."""
    tracks: Any = quick.tracks(1.0, 20.0)
    at_us, times, walks = START_US, list[float](), list[list[float]]()
    for number in range(phones):
        device, user = UUID(int=number + 1), UUID(int=number + (1 << 64))
        known = KnownDevice(device, user, _WORKSPACE, 0, True, True, True, False, 0, NOWHERE, where)
        tracks.add(known, 1, 0, index, held=False)
        walks.append([53.0 + rng.uniform(-0.2, 0.2), 8.8 + rng.uniform(-0.3, 0.3)])
    epochs = dict.fromkeys(range(256), 1)
    for round_ in range(ROUNDS):
        for first in range(0, phones, BATCH):
            at_us += 1_000_000
            points = []
            for number in range(first, min(phones, first + BATCH)):
                walks[number] = [degrees + rng.uniform(-STEP_DEG, STEP_DEG) for degrees in walks[number]]
                lat, lon = walks[number]
                points.append(Point(UUID(int=number + 1), at_us, lat, lon, 8.0))
            batch, codes = quick.batch_of(points), bytearray([Code.ABSENT]) * len(points)
            began = time.perf_counter()
            tracks.settle(batch, codes, _WORKSPACE, at_us, epochs=epochs, index=index, private=private)
            if round_:
                times.append((time.perf_counter() - began) / len(points) * 1e9)
    return times
