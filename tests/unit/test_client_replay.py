"""The replay command against a server of the test's own, with one fence: north of latitude 54."""

import gzip
import io
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import web

from geo_offers import wire
from geo_offers.client.replay import Options, run_replay
from geo_offers.client.retry import Patience
from geo_offers.client.trips import UnreadableTripsError, parse_trips, read_trips
from tests.support.loopback import answering
from tests.support.stalls import Stalls

QUICK = Patience(attempts=2, first_s=0.01, longest_s=0.02, total_s=1.0)
HEADER = "device_id,time_utc,lat,lon,accuracy_m,speed_kmh,bearing_deg,extra"


class FakeServer:
    """Points of a request by time, repeats known, an enter where a device comes past latitude 54."""

    def __init__(self) -> None:
        self.enrolments: list[dict[str, Any]] = []
        self.requests: dict[str, list[list[wire.Ping]]] = defaultdict(list)
        self.known: set[tuple[str, str]] = set()
        self.north: set[str] = set()
        self.refuse_all: str | None = None
        self.arrivals: list[float] = []
        self.url = ""

    async def enrol(self, request: web.Request) -> web.Response:
        self.enrolments.append(await request.json())
        if request.headers["Authorization"] != "Bearer pk_replay":
            return web.Response(status=401)
        device = uuid4()
        made = wire.Enrolled(device=device, user=uuid4(), access_token=str(device), expires_in=900, refresh_token="r")
        return web.Response(status=201, body=msgspec.json.encode(made), content_type="application/json")

    async def pings(self, request: web.Request) -> web.Response:
        pings = msgspec.json.decode(await request.read(), type=wire.Pings).pings
        answer = self.take(request.headers["Authorization"], pings)
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        number = 0
        async for message in socket:
            number += 1
            pings = msgspec.json.decode(message.data, type=list[wire.Ping])
            answer = self.take(request.headers["Authorization"], pings)
            await socket.send_str(msgspec.json.encode(msgspec.structs.replace(answer, seq=number)).decode())
        return socket

    def take(self, bearer: str, pings: list[wire.Ping]) -> wire.PingsAnswer:
        device = str(UUID(bearer.removeprefix("Bearer ")))
        self.requests[device].append(pings)
        self.arrivals.append(time.monotonic())
        results: dict[str, wire.PointResult] = {}
        transitions = []
        for ping in sorted(pings, key=lambda one: one.at):
            if self.refuse_all is not None:
                results[ping.at] = wire.PointResult(status="refused", reason=self.refuse_all)  # type: ignore[arg-type]
                continue
            status = "duplicate" if (device, ping.at) in self.known else "accepted"
            self.known.add((device, ping.at))
            results[ping.at] = wire.PointResult(status=status)  # type: ignore[arg-type]
            assert ping.lat is not None
            if status == "accepted" and (ping.lat > 54) != (device in self.north):
                self.north ^= {device}
                kind = "enter" if device in self.north else "exit"
                seen = {"type": kind, "fence": 'sea,"north"', "at": ping.at, "confidence": 1}
                transitions.append(msgspec.convert(seen, wire.TransitionSeen))
        return wire.PingsAnswer(results=[results[ping.at] for ping in pings], transitions=transitions, offers=[])


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    app = web.Application()
    app.router.add_post("/v1/devices", fake.enrol)
    app.router.add_post("/v1/pings", fake.pings)
    app.router.add_get("/v1/stream", fake.stream)
    async with answering(app) as fake.url:
        yield fake


def row(device: str, second: int, lat: float) -> str:
    return f"{device},2020-02-28T11:{second // 60:02}:{second % 60:02}Z,{lat},8.0,9.6,36.0,351.4,x"


TRIP = [row("car", second, 54.5 if 20 <= second < 70 else 53.5) for second in range(0, 90, 5)]
CROSSED = ['car,2020-02-28T11:00:20Z,enter,"sea,""north"""', 'car,2020-02-28T11:01:10Z,exit,"sea,""north"""']


def trip_file(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "trips.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    return file


async def ran(
    server: FakeServer, file: Path, key: str = "pk_replay", **options: Any
) -> tuple[int, list[str], list[str]]:
    out: list[str] = []
    err: list[str] = []
    code = await run_replay(
        file, Options(**options), url=server.url, key=key, out=out.append, err=err.append, patience=QUICK
    )
    return code, out, err


# ---------------------------------------------------------------------------------------------- replaying
@pytest.mark.parametrize("transport", ["http", "stream"])
@pytest.mark.parametrize(
    "options", [{}, {"batch": 1}, {"batch": 7, "shuffle_seed": 3}, {"batch": 4, "duplicate": True}]
)
async def test_the_transitions_are_the_same_however_the_pings_travel(
    server: FakeServer, tmp_path: Path, transport: str, options: dict[str, Any]
) -> None:
    rows = list(reversed(TRIP))
    code, out, err = await ran(server, trip_file(tmp_path, *rows), transport=transport, **options)
    assert (code, out) == (0, CROSSED)
    twice = 18 if options.get("duplicate") else 0
    assert err == [f"accepted 18, late 0, duplicate {twice}, refused 0, unreadable lines 0, transitions 2"]
    (requests,) = server.requests.values()
    batch = options.get("batch", 500)
    assert all(len(pings) <= batch for pings in requests)
    first = requests[0][0]
    assert (first.accuracy_m, first.speed_mps, first.course_deg) == (9.6, 10.0, 351.4)


async def test_a_shuffle_is_the_same_for_the_same_seed_and_stays_within_its_request(
    server: FakeServer, tmp_path: Path
) -> None:
    file = trip_file(tmp_path, *TRIP)
    for seed in (1, 1, 2):
        await ran(server, file, batch=9, shuffle_seed=seed)
    first, again, other = ([[ping.at for ping in pings] for pings in one] for one in server.requests.values())
    assert first == again != other
    assert [sorted(pings) for pings in first] == [sorted(pings) for pings in other]
    assert first[0] != sorted(first[0])


async def test_each_device_of_the_file_is_a_phone_of_its_own_with_both_consents(
    server: FakeServer, tmp_path: Path
) -> None:
    file = trip_file(tmp_path, row("a", 0, 54.5), row("b", 1, 54.5), row("a", 2, 53.5))
    code, out, _ = await ran(server, file, as_json=True)
    assert code == 0
    assert sorted((line["device"], line["type"]) for line in map(msgspec.json.decode, out)) == [
        ("a", "enter"), ("a", "exit"), ("b", "enter"),
    ]  # fmt: skip
    assert set(msgspec.json.decode(out[0])) == {"device", "at", "type", "fence"}
    assert [set(one["consents"]) for one in server.enrolments] == [{"locate", "offers"}] * 2


async def test_a_speed_up_keeps_the_recorded_intervals(server: FakeServer, tmp_path: Path) -> None:
    file = trip_file(tmp_path, row("a", 0, 53), row("a", 30, 53), row("a", 31, 53), row("b", 60, 53))
    before = time.monotonic()
    with Stalls() as stalls:
        code, _, _ = await ran(server, file, speed=100.0)
    assert code == 0
    first, *_, last = (arrival - before for arrival in server.arrivals)
    assert first - stalls.seconds < 0.25
    assert 0.6 <= last < 1.2 + stalls.seconds
    a, b = server.requests.values()
    assert sum(map(len, a)) == 3
    assert sum(map(len, b)) == 1
    assert len(a) >= 2


async def test_rows_that_cannot_be_read_are_named_by_line_and_the_rest_goes_on(
    server: FakeServer, tmp_path: Path
) -> None:
    bad = [
        "car,yesterday,53,8,,,,",
        "car,2020-02-28T11:00:01Z,north,8,,,,",
        "car,short",
        *TRIP,
        ",2020-01-01T00:00:00Z",
    ]
    code, out, err = await ran(server, trip_file(tmp_path, *bad))
    assert (code, out) == (0, CROSSED)
    assert err[:4] == [
        "line 2 time 'yesterday' is no RFC 3339 time",
        "line 3 lat or latitude 'north' is no number",
        "line 4 has 2 fields where the header has 8",
        "line 23 has 2 fields where the header has 8",
    ]
    assert "unreadable lines 4" in err[-1]


async def test_a_key_that_is_no_replay_key_is_recognised_by_what_is_refused(server: FakeServer, tmp_path: Path) -> None:
    server.refuse_all = "too_old"
    code, out, err = await ran(server, trip_file(tmp_path, *TRIP[:2]))
    assert (code, out) == (1, [])
    assert err[:2] == ["line 2 was refused by the server: too_old", "line 3 was refused by the server: too_old"]
    assert "replay key" in err[-1]


async def test_the_servers_no_ends_it_with_one_line(server: FakeServer, tmp_path: Path) -> None:
    code, out, err = await ran(server, trip_file(tmp_path, row("a", 0, 53), row("b", 0, 53)), key="pk_other")
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("401")


async def test_a_file_without_a_readable_row_is_refused(server: FakeServer, tmp_path: Path) -> None:
    code, _, err = await ran(server, trip_file(tmp_path))
    assert (code, err) == (1, ["nothing to replay: the file has no readable row"])
    code, _, err = await ran(server, tmp_path / "absent.csv")
    assert code == 1
    assert err[0].startswith("there is no file")


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 1001}, {"speed": 0.0}, {"speed": float("inf")}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Options(**options)


# ---------------------------------------------------------------------------------------------- reading files
def test_generic_columns_are_found_by_name_and_a_time_without_zone_is_utc() -> None:
    text = '"id","vehicle_id","timestamp","latitude","longitude","bearing"\n7,"4716","2026-01-26 15:57:02",53.4,-2.9,\n'
    ((device, (found,)),) = parse_trips(io.StringIO(text)).devices.items()
    assert device == "4716"
    assert found.line == 2
    assert found.ping == wire.Ping(at="2026-01-26T15:57:02Z", lat=53.4, lon=-2.9)


def test_a_line_that_is_no_csv_does_not_end_the_file() -> None:
    text = "device,at,lat,lon\na,2026-01-01T00:00:00Z,1,2\na," + "x" * 200_000 + ",1,2\na,2026-01-01T00:00:01Z,1,2\n"
    trips = parse_trips(io.StringIO(text))
    assert trips.rows == 2
    assert len(trips.faults) == 1
    assert trips.faults[0][0] == 3


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "1e999", "53,5", "5 3"])
def test_a_number_that_is_none_refuses_its_row(cell: str) -> None:
    trips = parse_trips(io.StringIO(f'device,at,lat,lon\na,2026-01-01T00:00:00Z,"{cell}",2\n'))
    assert (trips.rows, len(trips.faults)) == (0, 1)


@pytest.mark.parametrize("header", ["", "device,at,lat", "at,lat,lon", "device,lat,lon", "{}"])
def test_a_file_without_the_columns_is_refused_by_name(header: str) -> None:
    with pytest.raises(UnreadableTripsError, match=r"has no .* column"):
        parse_trips(io.StringIO(header + "\n"))


def test_a_packed_file_is_unpacked_and_a_torn_one_refused(tmp_path: Path) -> None:
    whole = tmp_path / "trips.csv.gz"
    packed = gzip.compress("\n".join(["\ufeff" + HEADER, *TRIP]).encode())
    whole.write_bytes(packed)
    assert read_trips(whole).rows == 18
    whole.write_bytes(packed[:-20])
    with pytest.raises(UnreadableTripsError, match="cannot be read"):
        read_trips(whole)
