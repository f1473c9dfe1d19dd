"""Servers that people use instead, on the same fences and pings: PostGIS, Redis, Tile38. What is not there is left out.

Each has core 0 and this process core 1, over a socket of this machine; rates are by the wall's clock. PostGIS and Redis
are started here for as long as they are measured, Tile38 is one that runs. None of them does the whole of our work, and
none of it is ours: PostGIS and Redis keep no device; Redis knows circles only, by a sphere; Tile38 knows no times.
"""

import asyncio
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np
import psutil
import shapely

from bench.contenders import Pairs
from bench.report import Row, Tail, Value, Yardstick
from bench.resp import Resp, command
from bench.service import fresh_folder
from geo_offers.places.earth import FloatArray
from geo_offers.places.fences import Geofence
from geo_offers.places.geometry import Circle
from geo_offers.storage import embedded

DEEP: Final = 100
BULK: Final = 1_000
SINGLES: Final = 1_000
WIDEST_M: Final = 300.0
"""No circle of the load is wider."""
_START_S: Final = 20.0

Round = tuple[FloatArray, FloatArray]


def rows(
    fences: Sequence[Geofence],
    rounds: Sequence[Round],
    ours: Pairs,
    *,
    devices: int,
    tile38: str | None,
    postgis: str | None,
) -> Iterator[Row]:
    """What each peer that is there does with the rounds. `ours`: pairs (point, fence) of the first round.

    devices: ping n of a round is of device n modulo devices. postgis: the DSN of a database whose user may make a
    schema there; without one a server of our own is started.
    """
    core = _core()
    for name, peer in (
        ("PostGIS", lambda: _postgis_rows(fences, rounds, ours, postgis, core)),
        ("Redis", lambda: _redis_rows(fences, rounds, ours, core)),
        ("Tile38", lambda: _tile38_rows(fences, _walk(rounds, devices), tile38)),
    ):
        try:
            yield from peer()
        except NotHereError as error:
            print(f"lookup: {name} left out: {error}", file=sys.stderr, flush=True)


def _walk(rounds: Sequence[Round], devices: int) -> list[Round]:
    """The rounds cut so that each moves each device once."""
    return [
        (lat[start : start + devices], lon[start : start + devices])
        for lat, lon in rounds
        for start in range(0, len(lat), devices)
    ]


class NotHereError(Exception):
    """The peer is not installed, or was not named."""


def _core() -> int | None:
    """The peers' core, where we can choose; this process keeps to another one from here on."""
    if not hasattr(os, "sched_setaffinity") or len(allowed := sorted(os.sched_getaffinity(0))) < 2:
        return None
    os.sched_setaffinity(0, set(allowed[1:]))
    return allowed[0]


class _Meter:
    """Rates of several rounds, and what the peer's processes spent on them."""

    def __init__(self, pid: int | None, core: int | None) -> None:
        self._pid = pid
        self._rates = list[float]()
        self._yardstick = Yardstick()
        self._spent_s, self._pings = 0.0, 0
        for process in self._tree():
            if core is not None:
                process.cpu_affinity([core])

    def _tree(self) -> list[psutil.Process]:
        if self._pid is None:
            return []
        process = psutil.Process(self._pid)
        return [process, *process.children(recursive=True)]

    def _cpu_s(self) -> float:
        spent = 0.0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:2])
        return spent

    @contextmanager
    def span(self, pings: int) -> Iterator[None]:
        """Within it so many pings are asked for and answered."""
        self._yardstick.spin()
        before, started = self._cpu_s(), time.perf_counter()
        yield
        self._rates.append(pings / (time.perf_counter() - started))
        self._spent_s += self._cpu_s() - before
        self._pings += pings

    def row(self, name: str, tail: Tail | None = None, **more: Value) -> Row:
        cpu: dict[str, Value] = {"server_cpu_us_a_ping": self._spent_s / self._pings * 1e6} if self._pid else {}
        return Row(name, statistics.median(self._rates), "pings/s", self._yardstick, tail, {**cpu, **more})


# ------------------------------------------------------------------------------------------------ PostGIS
_LAY_OUT: Final = """
CREATE EXTENSION IF NOT EXISTS postgis;
DROP SCHEMA IF EXISTS geo_offers_bench CASCADE;
CREATE SCHEMA geo_offers_bench;
SET search_path = geo_offers_bench, public;
CREATE TABLE area (number int, shape geometry(Polygon, 4326));
CREATE TABLE circle (number int, centre geography(Point, 4326), radius_m float8);
"""
_INDEX: Final = """
CREATE INDEX ON area USING gist (shape);
CREATE INDEX ON circle USING gist (centre);
ANALYZE area;
ANALYZE circle;
"""
_FIND: Final = f"""
SELECT p.place::int, f.number
FROM unnest($1::float8[], $2::float8[]) WITH ORDINALITY AS p (lat, lon, place),
LATERAL (
    SELECT number FROM area WHERE ST_Covers(shape, ST_SetSRID(ST_MakePoint(p.lon, p.lat), 4326))
    UNION ALL
    SELECT number FROM circle
    WHERE ST_DWithin(centre, ST_SetSRID(ST_MakePoint(p.lon, p.lat), 4326)::geography, {WIDEST_M})
      AND ST_Distance(centre, ST_SetSRID(ST_MakePoint(p.lon, p.lat), 4326)::geography) <= radius_m
) AS f
"""


def _postgis_rows(
    fences: Sequence[Geofence], rounds: Sequence[Round], ours: Pairs, dsn: str | None, core: int | None
) -> Iterator[Row]:
    yield from asyncio.run(_postgis(fences, rounds, ours, dsn, core))


async def _postgis(
    fences: Sequence[Geofence], rounds: Sequence[Round], ours: Pairs, dsn: str | None, core: int | None
) -> list[Row]:
    async with AsyncExitStack() as stack:
        pid = None
        if dsn is None:
            binaries = _postgis_binaries()
            folder = stack.enter_context(fresh_folder())
            server = await stack.enter_async_context(await embedded.start(folder, binaries=binaries))
            dsn, pid = server.superuser_dsn, server.pid
        connection = await asyncpg.connect(dsn)
        stack.push_async_callback(connection.close)
        meter = _Meter(pid, core)
        started = time.perf_counter()
        await _lay_out(connection, fences)
        built_s = time.perf_counter() - started
        find = await connection.prepare(_FIND)
        found = await find.fetch(*(column.tolist() for column in rounds[0]))
        differ = len({(place - 1, number) for place, number in found} ^ ours)
        singles, bulk, taken_us = meter, _Meter(pid, core), list[float]()
        for lat, lon in rounds:
            places = list(zip(lat.tolist(), lon.tolist(), strict=True))
            taken_us += await _one_by_one(singles, find, places[:SINGLES])
            await _in_bulk(bulk, find, places)
        return [
            singles.row("PostGIS, one by one", Tail.of("us a call", taken_us), build_s=built_s),
            bulk.row(f"PostGIS, {BULK:,} a statement", pairs_that_differ=differ),
        ]


def _postgis_binaries() -> Path:
    for control in sorted(Path("/usr/share/postgresql").glob("*/extension/postgis.control"), reverse=True):
        binaries = Path("/usr/lib/postgresql") / control.parent.parent.name / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise NotHereError("no PostgreSQL with it is installed (Debian: postgresql-15-postgis-3), nor --postgis given")


async def _lay_out(connection: Any, fences: Sequence[Geofence]) -> None:
    await connection.execute(_LAY_OUT)
    circles, areas = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for number, fence in enumerate(fences):
        if isinstance(fence.geometry, Circle):
            circles.append((number, fence.geometry.lon, fence.geometry.lat, fence.geometry.radius_m))
        else:
            areas.append((number, shapely.to_wkb(fence.geometry.shape)))
    await connection.execute(
        "INSERT INTO circle SELECT number, ST_MakePoint(lon, lat)::geography, radius_m"
        " FROM unnest($1::int[], $2::float8[], $3::float8[], $4::float8[]) AS c (number, lon, lat, radius_m)",
        *map(list, zip(*circles, strict=True)),
    )
    await connection.execute(
        "INSERT INTO area SELECT number, ST_GeomFromWKB(shape, 4326)"
        " FROM unnest($1::int[], $2::bytea[]) AS a (number, shape)",
        *map(list, zip(*areas, strict=True)),
    )
    await connection.execute(_INDEX)


async def _one_by_one(meter: _Meter, find: Any, places: Sequence[tuple[float, float]]) -> list[float]:
    taken_us = list[float]()
    with meter.span(len(places)):
        for lat, lon in places:
            started = time.perf_counter()
            await find.fetch([lat], [lon])
            taken_us.append((time.perf_counter() - started) * 1e6)
    return taken_us


async def _in_bulk(meter: _Meter, find: Any, places: Sequence[tuple[float, float]]) -> None:
    with meter.span(len(places)):
        for start in range(0, len(places), BULK):
            lat, lon = zip(*places[start : start + BULK], strict=True)
            await find.fetch(list(lat), list(lon))


# ------------------------------------------------------------------------------------------------ Redis
def _redis_rows(fences: Sequence[Geofence], rounds: Sequence[Round], ours: Pairs, core: int | None) -> Iterator[Row]:
    circles = {number: fence.geometry for number, fence in enumerate(fences) if isinstance(fence.geometry, Circle)}
    with ExitStack() as stack:
        pid, port = stack.enter_context(_redis())
        redis = stack.enter_context(Resp("127.0.0.1", port))
        started = time.perf_counter()
        centres = [command("GEOADD", "f", circle.lon, circle.lat, number) for number, circle in circles.items()]
        for _ in redis.pipeline(centres, DEEP):
            pass
        built_s = time.perf_counter() - started
        meter, found = _Meter(pid, core), list[Pairs]()
        radius_m = {str(number).encode(): circle.radius_m for number, circle in circles.items()}
        for lat, lon in rounds:
            asked = [_geosearch(*place) for place in zip(lat.tolist(), lon.tolist(), strict=True)]
            with meter.span(len(asked)):
                answers = list(redis.pipeline(asked, DEEP))
            found.append(
                {
                    (point, int(number))
                    for point, near in enumerate(answers)
                    for number, away_m in near
                    if float(away_m) <= radius_m[number]
                }
            )
        differ = len(found[0] ^ {pair for pair in ours if pair[1] in circles})
        yield meter.row(f"Redis, circles only, {DEEP} deep", pairs_that_differ=differ, build_s=built_s)


def _geosearch(lat: float, lon: float) -> bytes:
    return command("GEOSEARCH", "f", "FROMLONLAT", lon, lat, "BYRADIUS", WIDEST_M * 1.005, "m", "WITHDIST")


@contextmanager
def _redis() -> Iterator[tuple[int, int]]:
    """Process and port of a Redis of our own."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotHereError("redis-server is not installed (Debian: redis-server)")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with fresh_folder() as folder:
        settings = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
        child = subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + _START_S
            while time.monotonic() < until:
                with suppress(OSError), Resp("127.0.0.1", port) as redis:
                    redis.ask("PING")
                    break
                time.sleep(0.05)
            yield child.pid, port
        finally:
            child.terminate()
            child.wait()


# ------------------------------------------------------------------------------------------------ Tile38
def _tile38_rows(fences: Sequence[Geofence], rounds: Sequence[Round], address: str | None) -> Iterator[Row]:
    """The whole job: each ping moves its device, and whoever listens hears of enters and exits."""
    if address is None:
        raise NotHereError("no --tile38 host:port given")
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        tile38 = stack.enter_context(Resp(host or "127.0.0.1", int(port)))
        tile38.ask("PDELCHAN", "geo-offers-bench-*")
        tile38.ask("DROP", "geo-offers-bench")
        stack.callback(tile38.ask, "DROP", "geo-offers-bench")
        stack.callback(tile38.ask, "PDELCHAN", "geo-offers-bench-*")
        heard = stack.enter_context(_listening(host or "127.0.0.1", int(port)))
        started = time.perf_counter()
        for _ in tile38.pipeline([_channel(number, fence) for number, fence in enumerate(fences)], DEEP):
            pass
        built_s = time.perf_counter() - started
        meter = _Meter(None, None)
        for lat, lon in rounds:
            places = enumerate(zip(lat.tolist(), lon.tolist(), strict=True))
            moves = [command("SET", "geo-offers-bench", device, "POINT", *place) for device, place in places]
            with meter.span(len(moves)):
                for _ in tile38.pipeline(moves, DEEP):
                    pass
        told = heard.quiet()
        expected = transitions(fences, rounds)
        yield meter.row(
            f"Tile38, {DEEP} deep", build_s=built_s, transitions=told, expected=expected, agrees=str(told == expected)
        )


def _channel(number: int, fence: Geofence) -> bytes:
    name, where = f"geo-offers-bench-{number}", fence.geometry
    fenced = ("geo-offers-bench", "FENCE", "DETECT", "enter,exit")
    if isinstance(where, Circle):
        return command("SETCHAN", name, "NEARBY", *fenced, "POINT", where.lat, where.lon, where.radius_m)
    return command("SETCHAN", name, "INTERSECTS", *fenced, "OBJECT", shapely.to_geojson(where.shape))


class _Heard:
    """Counts what a subscriber gets."""

    def __init__(self, line: Resp) -> None:
        self._line = line
        self.count = 0

    def listen(self) -> None:
        with suppress(OSError, ValueError, ConnectionError):
            while True:
                said = self._line.read()
                self.count += isinstance(said, list) and said[0] == b"pmessage"

    def quiet(self) -> int:
        """The count, once nothing has come for half a second."""
        before = -1
        while before != self.count:
            before = self.count
            time.sleep(0.5)
        return self.count


@contextmanager
def _listening(host: str, port: int) -> Iterator[_Heard]:
    line = Resp(host, port)
    line.socket.settimeout(None)
    line.ask("PSUBSCRIBE", "geo-offers-bench-*")
    heard = _Heard(line)
    thread = threading.Thread(target=heard.listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        line.socket.shutdown(socket.SHUT_RDWR)
        thread.join()


def transitions(fences: Sequence[Geofence], rounds: Sequence[Round]) -> int:
    """Enters and exits of the walk by Tile38's own measure, circles by a sphere: what it has to tell."""
    circles = [number for number, fence in enumerate(fences) if isinstance(fence.geometry, Circle)]
    shapes = [fence.geometry for fence in fences]
    tree = shapely.STRtree([_hull(shape) for shape in shapes])
    areas = np.array([None if isinstance(shape, Circle) else shape.shape for shape in shapes])
    round_ = np.zeros(len(fences), dtype=np.bool_)
    round_[circles] = True
    centre = np.array([(s.lat, s.lon, s.radius_m) if isinstance(s, Circle) else (0.0, 0.0, 0.0) for s in shapes]).T
    inside: Pairs = set()
    count = 0
    for lat, lon in rounds:
        points, near = tree.query(shapely.points(lon, lat))
        held = np.empty(len(points), dtype=np.bool_)
        on = round_[near]
        at, fence = points[on], near[on]
        held[on] = _sphere_m(lat[at], lon[at], centre[0][fence], centre[1][fence]) <= centre[2][fence]
        at, fence = points[~on], near[~on]
        held[~on] = shapely.intersects_xy(areas[fence], lon[at], lat[at])
        now: Pairs = set(zip(points[held].tolist(), near[held].tolist(), strict=True))
        count += len(now ^ inside)
        inside = now
    return count


def _hull(shape: Any) -> Any:
    if not isinstance(shape, Circle):
        return shape.shape
    north = shape.radius_m * 1.01 / 110_000
    east = north / max(math.cos(math.radians(shape.lat)), 1e-6) * 1.02
    return shapely.box(shape.lon - east, shape.lat - north, shape.lon + east, shape.lat + north)


def _sphere_m(lat0: FloatArray, lon0: FloatArray, lat1: FloatArray, lon1: FloatArray) -> FloatArray:
    """By the haversine formula on a sphere of 6,371 km, as Tile38 has it."""
    a, b = np.radians(lat0), np.radians(lat1)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(lon1 - lon0) / 2) ** 2
    return 2 * 6_371_000 * np.arcsin(np.sqrt(half))
