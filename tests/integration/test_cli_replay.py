"""`geo-offers replay` as users run it: a child process that speaks to a running server."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from geo_offers.client import Client
from tests.support.commands import command, command_on_a_terminal
from tests.support.running import Service

CIRCLE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [8.0, 53.0]},
    "properties": {"radius_m": 100, "detect": {"mode": "raw"}},
}
ROWS = [
    "car,2020-02-28T11:00:00Z,53.0,7.99",
    "car,2020-02-28T11:00:05Z,53.0,8.0",
    "car,2020-02-28T11:00:10.250Z,53.0,8.01",
    "car,2020-02-28T12:00:15+01:00,53.0,7.99",
]
TRANSITIONS = [
    ("2020-02-28T11:00:05Z", "enter"),
    ("2020-02-28T11:00:10.250000Z", "exit"),
    ("2020-02-28T11:00:15Z", "cross"),
]
SUMMARY = "accepted 4, late 0, duplicate 0, refused 0, unreadable lines 0, transitions 3\n"


def trip(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "trip.csv"
    file.write_text("\n".join(["device,at,lat,lon", *rows]) + "\n")
    return file


async def town(service: Service) -> str:
    """One fence, `shops/corner, 1`, in a set; gives a replay key."""
    async with Client(service.url, await service.make_key()) as client:
        await client.manager.put_geofence("shops", "corner, 1", CIRCLE)
    return await service.make_key("app", replay=True)


@pytest.mark.parametrize("transport", ["http", "stream"])
async def test_one_transition_a_line_is_printed_as_device_at_type_fence(
    service: Service, tmp_path: Path, transport: str
) -> None:
    key = await town(service)
    ended = await command("replay", trip(tmp_path, *ROWS), "--transport", transport, "--url", service.url, "--key", key)
    assert ended.code == 0
    assert ended.lines == [f'car,{at},{kind},"shops/corner, 1"' for at, kind in TRANSITIONS]
    assert ended.err == SUMMARY


async def test_json_is_one_object_a_line(service: Service, tmp_path: Path) -> None:
    key = await town(service)
    given = ("--json", "--batch", 1, "--speed", "max")
    ended = await command("replay", trip(tmp_path, *ROWS), *given, "--url", service.url, "--key", key)
    assert ended.code == 0
    assert [json.loads(line) for line in ended.lines] == [
        {"device": "car", "at": at, "type": kind, "fence": "shops/corner, 1"} for at, kind in TRANSITIONS
    ]


async def test_a_speed_up_plays_the_recorded_time_that_much_faster(service: Service, tmp_path: Path) -> None:
    key = await town(service)
    replayed = ("replay", trip(tmp_path, *ROWS), "--url", service.url, "--key", key)
    started = time.monotonic()
    ended = await command(*replayed, "--speed", 5)
    assert [line.split(",")[2] for line in ended.lines] == [kind for _, kind in TRANSITIONS]
    assert time.monotonic() - started >= 3.0  # 15 s were recorded


async def test_bad_rows_are_named_by_line_and_the_rest_is_played(service: Service, tmp_path: Path) -> None:
    key = await town(service)
    file = trip(tmp_path, "car,yesterday,53,8", ROWS[0], "car,2020-02-28T11:00:02Z,95,8", *ROWS[1:])
    ended = await command("replay", file, "--url", service.url, "--key", key)
    assert ended.code == 0
    assert len(ended.lines) == 3
    assert ended.complaints == [
        "line 2 time 'yesterday' is no RFC 3339 time",
        "line 4 was refused by the server: out_of_range",
        "accepted 4, late 0, duplicate 0, refused 1, unreadable lines 1, transitions 3",
    ]


async def test_a_key_that_is_not_for_replays_takes_no_recorded_point_and_the_last_line_says_so(
    service: Service, tmp_path: Path
) -> None:
    await town(service)
    key = await service.make_key("app")
    ended = await command("replay", trip(tmp_path, *ROWS), "--url", service.url, "--key", key)
    assert (ended.code, ended.out) == (1, "")
    assert ended.complaints[-1] == (
        "the server took no point: too_old 4; recorded trips need a replay key (keys create --replay)"
    )


async def test_what_cannot_be_replayed_is_refused_in_one_line(service: Service, tmp_path: Path) -> None:
    key, manager = await asyncio.gather(service.make_key("app", replay=True), service.make_key())
    file, absent = trip(tmp_path, *ROWS), tmp_path / "absent.csv"
    shops = tmp_path / "shops.geojson"
    shops.write_text(json.dumps(CIRCLE))
    told = [
        ((absent, key), f"there is no file {absent}"),
        ((shops, key), "the file has no device column; name it device_id or device or vehicle_id or id"),
        ((file, "pk_x"), "401 unauthenticated: this is no key or token of this service"),
        (
            (file, manager),
            "403 forbidden: a key or token of kind 'manager' may not call this; it takes app or server",
        ),
    ]
    for (given, by), said in told:
        ended = await command("replay", given, "--url", service.url, "--key", by)
        assert (ended.code, ended.out, ended.err) == (1, "", said + "\n")


@pytest.mark.parametrize(
    "given", [("replay", "{file}"), ("import", "{file}", "--set", "shops")], ids=["replay", "import"]
)
async def test_a_server_that_is_away_is_told_in_one_line_and_soon(
    tmp_path: Path, unused_tcp_port: int, given: tuple[str, ...]
) -> None:
    file = trip(tmp_path, *ROWS)
    if given[0] == "import":
        file.write_text(json.dumps(CIRCLE))
    url = f"http://127.0.0.1:{unused_tcp_port}"
    started = time.monotonic()
    ended = await command(*(word.format(file=file) for word in given), "--url", url, "--key", "x")
    assert (ended.code, ended.out, len(ended.complaints)) == (1, "", 1)
    assert ended.err.startswith(f"no server answers at {url}: ")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--speed", "fast"), "argument --speed: a number above 0, or max"),
        (("--speed", "nan"), "argument --speed: a number above 0, or max"),
        (("--batch", "many"), "argument --batch: 1 to 1000"),
        (("--batch", "0"), "argument --batch: 1 to 1000"),
        ((), "the following arguments are required: --url, --key"),
    ],
)
async def test_wrong_usage_is_told_with_the_usage_and_code_2(wrong: tuple[str, ...], said: str) -> None:
    ended = await command("replay", "trip.csv", *wrong, *(("--url", "u", "--key", "k") if wrong else ()))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("usage: geo-offers replay ")
    assert ended.complaints[-1] == f"geo-offers replay: error: {said}"


async def test_progress_is_shown_on_a_terminal_and_the_transitions_stay_whole_lines(
    service: Service, tmp_path: Path
) -> None:
    key = await town(service)
    given = ("replay", trip(tmp_path, *ROWS), "--batch", 1, "--url", service.url, "--key", key)
    shown = await command_on_a_terminal(*given)
    assert "replaying:   0%|" in shown.err
    assert "replaying: 100%|" in shown.err
    assert "4/4" in shown.err
    piped = await command(*given)
    assert piped.err == SUMMARY
    assert shown.out == piped.out
