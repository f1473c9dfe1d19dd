"""What the pings bench sends, and how its profile is folded."""

import itertools
import json
from uuid import UUID

import numpy as np
import pytest

from bench import resp
from bench.load import make_devices, make_fences
from bench.peers import _channel, _walk, transitions
from bench.pings import WAYS, Crowd
from bench.profile import IDLE, fold, stage_of
from geo_offers.places.index import GeofenceIndex


def crowd(count):
    names = [UUID(int=number) for number in range(count)]
    return Crowd.of_key(make_devices(count, 1_000, 7), names, 1_800_000_000_000_000)


@pytest.mark.parametrize(("way", "lines"), [("frames", 2), ("single", 16), ("http", 3)])
def test_a_device_keeps_to_its_line_and_its_times_rise(way, lines):
    requests = crowd(650).take(WAYS[way], lines, 3, lambda _, pings: b"[" + b",".join(pings) + b"]")
    assert len({len(of_line) for of_line in requests}) == 1
    seen = {}
    for line, of_line in enumerate(requests):
        for ping in itertools.chain.from_iterable(map(json.loads, of_line)):
            seen.setdefault(ping["device"], []).append((line, ping["at"]))
    assert len(seen) == 650 // (lines * WAYS[way].size) * lines * WAYS[way].size
    for sent in seen.values():
        assert len({line for line, _ in sent}) == 1
        assert sorted(sent) == sent
        assert len(set(sent)) == 3


def test_phones_name_no_device():
    (request,) = Crowd.of_phones(make_devices(1, 1_000, 7), 0).take(WAYS["phones"], 1, 1, lambda _, pings: pings[0])[0]
    assert set(json.loads(request)) == {"at", "lat", "lon", "accuracy_m"}


def test_a_sample_belongs_to_the_innermost_frame_that_a_stage_names():
    outer = "_loop_run (geo_offers/cli/__init__.py:73)"
    turn, write = "PostgresTurn.write (geo_offers/storage/turns.py:109)", "execute (asyncpg/connection.py:9)"
    assert stage_of([outer]) == "socket + WebSocket"
    assert stage_of([outer, turn, "0x7f (libc.so.6)"]) == "commit"
    assert stage_of([outer, turn, write, "send (libc.so.6)"]) == "asyncpg"
    assert stage_of([outer, "_locate (geo_offers/pipeline/stepping.py:70)"]) == "locate"
    assert stage_of([outer, "_step_fix (geo_offers/pipeline/stepping.py:90)"]) == "presence"
    assert stage_of(["start_thread (libc.so.6)"]) == "other"
    assert fold({f"{outer};{turn}": 3, f"_worker (thread.py:1);{IDLE} (q.c:1)": 50}) == {"commit": 3}


def test_commands_and_answers_of_redis_are_framed_by_length():
    assert resp.command("SET", "a\r\nb", 1.5) == b"*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$3\r\n1.5\r\n"
    fence = make_fences(3, 7)[0]
    assert _channel(0, fence).startswith(b"*")


def test_the_transitions_expected_of_tile38_are_ours_but_for_the_sphere():
    fences, devices = make_fences(1_000, 7), make_devices(1_000, 1_000, 7)
    lat, lon = devices.walk(6)
    rounds = _walk([(lat[:3].ravel(), lon[:3].ravel()), (lat[3:].ravel(), lon[3:].ravel())], 1_000)
    assert len(rounds) == 6
    index, inside, count = GeofenceIndex(fences), [()] * 1_000, 0
    for at_lat, at_lon in zip(lat, lon, strict=True):
        now = [{fence.id for fence in held} for held in index.locate(at_lat, at_lon)]
        count += sum(len(set(a) ^ b) for a, b in zip(inside, now, strict=True))
        inside = now
    assert transitions(fences, rounds) == pytest.approx(count, rel=0.02)
    assert np.allclose(rounds[3][0], lat[3])
