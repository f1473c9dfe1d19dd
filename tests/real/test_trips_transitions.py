"""Recorded trips played through the running service: its transitions are the oracle's, however the pings travel."""

import asyncio
import json
import random
import shlex
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from geo_offers.client import Client, Enrolment, Ping
from geo_offers.client.importing import Options as ImportOptions
from geo_offers.client.importing import run_import
from geo_offers.client.replay import Options, run_replay
from geo_offers.storage.embedded import EmbeddedServer
from tests.real import oracle
from tests.real.oracle import Circles, Event, Fix, Polygons
from tests.support.commands import command
from tests.support.databases import fresh_database
from tests.support.running import Service, running, without_our_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIDL = "stores/lidl_germany_osm.geojson.gz"
DISTRICTS = "polygons/neighborhoods_bremen.geojson.gz"
BUS = "trajectories/liverpool_bus_route14.csv"
CARS = {city: f"trajectories/envirocar_{city}_pings.csv.gz" for city in ("hamm", "bremen")}
STOP_RADIUS_M = 60.0
STOPS_EVERY = 10  # fixes of one bus: about five minutes of its way

COUNTS = {
    ("hamm", "lidl-100"): {"enter": 5, "exit": 5},
    ("hamm", "lidl-300"): {"enter": 5, "exit": 5, "cross": 1},
    ("bremen", "lidl-100"): {"enter": 6, "exit": 6},
    ("bremen", "lidl-300"): {"enter": 7, "exit": 7, "cross": 1},
    ("bremen", "districts"): {"enter": 56, "exit": 55, "cross": 33, "dwell": 1},
}
CASES = [*COUNTS, ("bus", "stops")]
SOME = [("hamm", "lidl-300"), ("bremen", "districts"), ("bus", "stops")]
WAYS = {
    "http": (Options(), CASES),
    "stream": (Options(transport="stream"), CASES),
    "single pings": (Options(batch=1), [("bremen", "districts")]),
    "single pings by stream": (Options(transport="stream", batch=1), [("hamm", "lidl-100")]),
    "shuffled": (Options(shuffle_seed=3), CASES),
    "sent twice": (Options(duplicate=True), SOME),
    "sevens shuffled and sent twice": (Options(batch=7, shuffle_seed=7, duplicate=True), SOME),
    "sevens shuffled and sent twice by stream": (
        Options(transport="stream", batch=7, shuffle_seed=7, duplicate=True),
        SOME,
    ),
}
PLAYED = [
    pytest.param(*case, options, id=f"{' '.join(case)}, {way}")
    for way, (options, cases) in WAYS.items()
    for case in cases
]


@dataclass(frozen=True)
class World:
    """The service with each set of fences in a workspace of its own, and a replay key to each."""

    service: Service
    data: Path
    keys: dict[str, str]
    fences: dict[str, Circles | Polygons]
    trips: dict[str, dict[str, list[Fix]]]
    expected: dict[tuple[str, str], dict[str, list[Event]]]

    def file(self, trip: str) -> Path:
        return self.data / (BUS if trip == "bus" else CARS[trip])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    real_data: Path, postgres_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    stops = tmp_path_factory.mktemp("stops") / "stops.geojson"
    trips = {city: oracle.trips(real_data / file, "device_id", "time_utc") for city, file in CARS.items()}
    trips["bus"] = oracle.trips(real_data / BUS, "vehicle_id", "timestamp", "latitude", "longitude")
    stops.write_text(json.dumps(stops_of(trips["bus"])))
    lidl, districts = oracle.features(real_data / LIDL), oracle.features(real_data / DISTRICTS)
    files = {
        "lidl-100": (real_data / LIDL, 100.0),
        "lidl-300": (real_data / LIDL, 300.0),
        "districts": (real_data / DISTRICTS, None),
        "stops": (stops, STOP_RADIUS_M),
    }
    fences: dict[str, Circles | Polygons] = {
        "lidl-100": Circles.of("lidl-100", lidl, 100.0),
        "lidl-300": Circles.of("lidl-300", lidl, 300.0),
        "districts": Polygons.of("districts", districts),
        "stops": Circles.of("stops", oracle.features(stops), STOP_RADIUS_M),
    }
    expected = {(trip, name): oracle.events(trips[trip], fences[name]) for trip, name in CASES}
    async with fresh_database(postgres_server) as database, running(database) as service:
        keys = {}
        for name, (file, radius_m) in files.items():
            manager = await service.make_key("manager", workspace=name)
            options = ImportOptions(name, radius_m=radius_m, mode="raw")
            said: list[str] = []
            assert await run_import(
                file, options, url=service.url, key=manager, apply=True, out=said.append, err=said.append
            ) == 0, said  # fmt: skip
            assert f"new {len(oracle.features(file))}, changed 0, unchanged 0, refused 0" in said
            keys[name] = await service.make_key("app", replay=True, workspace=name)
        yield World(service, real_data, keys, fences, trips, expected)


def stops_of(bus: dict[str, list[Fix]]) -> dict[str, Any]:
    """Bus stops that nobody made: places along one bus's way."""
    way = max(bus.values(), key=len)[::STOPS_EVERY]
    features = [
        {
            "type": "Feature",
            "id": f"stop {number}",
            "geometry": {"type": "Point", "coordinates": [fix.lon, fix.lat]},
            "properties": {},
        }
        for number, fix in enumerate(way)
    ]
    return {"type": "FeatureCollection", "features": features}


def told(line: str) -> Event:
    cells = msgspec.json.decode(line)
    return Event(cells["device"], datetime.fromisoformat(cells["at"]), cells["type"], cells["fence"])


async def replayed(world: World, trip: Path, fences: str, options: Options) -> dict[str, list[Event]]:
    """What the command printed, by device in the order printed."""
    out: list[str] = []
    err: list[str] = []
    code = await run_replay(
        trip,
        replace(options, as_json=True),
        url=world.service.url,
        key=world.keys[fences],
        out=out.append,
        err=err.append,
    )
    assert code == 0, err
    assert len(err) == 1, err
    assert "refused 0" in err[0]
    assert options.duplicate or "late 0, duplicate 0" in err[0]  # what was sent twice is late past the newest 64
    found: dict[str, list[Event]] = {}
    for event in map(told, out):
        found.setdefault(event.device, []).append(event)
    return found


def some(found: dict[str, list[Event]]) -> dict[str, list[Event]]:
    return {device: events for device, events in found.items() if events}


@pytest.mark.parametrize(("trip", "fences", "options"), PLAYED)
async def test_the_transitions_are_the_oracles_event_by_event(
    world: World, trip: str, fences: str, options: Options
) -> None:
    found = await replayed(world, world.file(trip), fences, options)
    assert found == some(world.expected[trip, fences])
    if (trip, fences) in COUNTS:
        assert Counter(event.type for events in found.values() for event in events) == COUNTS[trip, fences]


async def test_the_command_line_prints_the_same_as_csv(world: World) -> None:
    ended = await command(
        "replay", world.file("hamm"), "--speed", "max", "--url", world.service.url, "--key", world.keys["lidl-300"]
    )
    assert ended.code == 0
    expected = world.expected["hamm", "lidl-300"]["hamm-car-1"]
    assert ended.lines == [
        f"{event.device},{event.at:%Y-%m-%dT%H:%M:%SZ},{event.type},{event.fence}" for event in expected
    ]
    assert ended.err == "accepted 974, late 0, duplicate 0, refused 0, unreadable lines 0, transitions 11\n"


async def test_a_reader_that_goes_away_ends_the_command_quietly(world: World) -> None:
    replay = [sys.executable, "-m", "geo_offers", "replay", str(world.file("bus")), "--batch", "7"]
    where = ["--url", world.service.url, "--key", world.keys["stops"]]
    piped = f"{shlex.join([*replay, *where])} | head -n 1"
    child = await asyncio.create_subprocess_shell(piped, stdout=PIPE, stderr=PIPE, env=without_our_settings())
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert len(out.splitlines()) == 1
    assert err == b""


async def test_many_devices_in_one_server_keys_requests_make_the_same_transitions(world: World) -> None:
    """Both cars' pings in one shuffled stream of requests, each ping naming its device."""
    cars = {name: fixes for trip in CARS for name, fixes in world.trips[trip].items()}
    expected = {n: e for trip in CARS for n, e in world.expected[trip, "lidl-300"].items()}
    async with Client(world.service.url, world.keys["lidl-300"]) as client:
        devices = {name: await client.enrol(Enrolment(platform="other", consents={"locate": "1"})) for name in cars}
    names = {device.device_id: name for name, device in devices.items()}
    found: dict[str, list[Event]] = {name: [] for name in cars}
    key = await world.service.make_key("server", workspace="lidl-300")
    async with Client(world.service.url, key) as client:
        for start in range(0, max(map(len, cars.values())), 100):
            sent = [
                Ping(at=fix.at.isoformat(), lat=fix.lat, lon=fix.lon, device=devices[name].device_id)
                for name, fixes in cars.items()
                for fix in fixes[start : start + 100]
            ]
            random.Random(start).shuffle(sent)
            answer = await client.send(sent)
            assert {result.status for result in answer.results} == {"accepted"}
            for edge in answer.transitions:
                assert edge.device is not None
                found[names[edge.device]].append(Event(names[edge.device], edge.at, edge.type, edge.fence))
    assert found == expected


@pytest.mark.parametrize(("trip", "fences"), [case for case in CASES if case[1] != "districts"])
async def test_no_recorded_fix_lies_so_near_a_rim_that_rounding_decides(world: World, trip: str, fences: str) -> None:
    circles = world.fences[fences]
    assert isinstance(circles, Circles)
    assert min(oracle.rim_m(fixes, circles) for fixes in world.trips[trip].values()) > 0.01
