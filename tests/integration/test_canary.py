"""One distinctive position goes in by every door; it must come out of none, and be kept nowhere."""

import asyncio
import json
import os
import struct
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.faults.world import HOOKS, administrator, at_now, until, world
from tests.support.gateways.webhook import gateway
from tests.support.running import serving

LAT, LON = 12.3456789, 98.7654321
FENCE_LAT, FENCE_LON = 12.345, 98.765  # 90 m away, and spelled differently
MARKS = ("12.34567", "98.76543", "12,34567", "98,76543", "1.2345678e", "9.8765432e", "123456789", "987654321")
STUMBLE_MPS = 77
OURS = {"geofence", "private_place", "import", "import_row"}  # places of the workspace, not of a person


def _marks():
    """How the position could be written: as text, as text in a binary column, or as the eight bytes of a number."""
    texts = [mark.encode() for mark in MARKS]
    numbers = [struct.pack(form, value) for form in ("<d", ">d") for value in (LAT, LON)]
    return [*MARKS, *(piece.hex() for piece in texts + numbers)]


def _found_in(text):
    return [mark for mark in _marks() if mark in text]


def _ping(**more):
    return {"at": at_now(), "lat": LAT, "lon": LON, "accuracy_m": 5} | more


def _batches(named=None):
    """Good and bad, as a phone or a server may send them."""
    own = {} if named is None else {"device": named}
    return [
        json.dumps(body)
        for body in (
            [_ping(at=at_now(30), lat=0.0, lon=0.0, **own), _ping(**own)],
            [_ping(**own), _ping(**own)],
            [_ping(at="2001-01-01T00:00:00Z", **own), _ping(at="2999-01-01T00:00:00Z", **own), _ping(at="x", **own)],
            [_ping(lat=LAT + 100, **own), _ping(lon=LON + 100, **own), _ping(lat=f"{LAT}", **own)],
            [_ping(lat=LAT + 100, **own)],
            [_ping(secret=LAT, **own)],
            [_ping(region=f"town/{LAT}", event="enter", **own)],
            [{"at": at_now(), "region": f"town/{LAT},{LON}", "event": "enter"} | own],
            [{"at": at_now(), "region": "town/there", "event": "leave"} | own],
            [{"at": at_now(), "region": "town/there", "event": f"{LAT}"} | own],
            [_ping(id=f"{LAT},{LON}", course_deg=LAT, speed_mps=LON, **own)],
            [_ping(device="00000000-0000-0000-0000-000000000001")],
            [_ping(device=f"{LAT}")],
            [_ping(accuracy_m=-LAT, **own)],
            [LAT, LON],
            {f"{LAT}": LON},
        )
    ] + [f'[{{"lat": {LAT}, "lat": {LAT}, "lon": {LON}, "at": "now"}}]', f'[{{"lat": {LAT}', f"{LAT}", ""]


class Ears:
    """Everything that anybody was told."""

    def __init__(self):
        self.heard = []

    def note(self, text):
        self.heard.append(text)

    def answer(self, body):
        """What the sender gets back; a problem may quote some of what the sender itself wrote."""
        problem = body if "code" in body else body.get("problem")
        self.note(json.dumps(body if problem is None else problem["code"]))

    def marks(self):
        return {mark: [text[:200] for text in self.heard if mark in text] for mark in _found_in("\n".join(self.heard))}


async def _send_http(made, key, ears, batches):
    headers = {"Authorization": f"Bearer {made.keys.get(key, key)}"}
    for batch in batches:
        body = batch if not batch.startswith("[") else f'{{"pings": {batch}}}'
        for path in ("/v1/pings", f"/v1/pings?lat={LAT}&lon={LON}", f"/v1/pings/{LAT},{LON}"):
            async with made.session.post(made._url() + path, data=body, headers=headers) as response:
                ears.answer(await response.json())


def _askings():
    """Good and bad, of what is nearby."""
    good = {"lat": LAT, "lon": LON}
    bad = [{"lat": LAT + 100}, {"lon": f"{LON}"}, {"accuracy_m": -LAT}, {f"{LAT}": LON}]
    return [json.dumps(body) for body in (good, good | {"accuracy_m": 50}, *(good | more for more in bad), [LAT])]


async def _ask_nearby(made, token, ears):
    """With a key each, under which an answer or a mark of what was asked might be kept."""
    for number, body in enumerate(_askings()):
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"nearby-{number}"}
        for path in ("/v1/me/nearby", f"/v1/me/nearby?lat={LAT}"):
            async with made.session.post(made._url() + path, data=body, headers=headers) as response:
                ears.answer(await response.json())


async def _send_stream(made, token, ears, frames):
    headers = {"Authorization": f"Bearer {token}"}
    async with made.session.ws_connect(f"{made._url()}/v1/stream", headers=headers) as line:
        for frame in frames:
            await line.send_str(frame)
            ears.answer(await line.receive_json(timeout=5))
        await line.send_str(f'{{"type": "shown", "offer": "{LAT}"}}')
        ears.answer(await line.receive_json(timeout=5))


async def _listen(made, ears):
    headers = {"Authorization": f"Bearer {made.keys['manager']}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with made.session.get(f"{made._url()}/v1/live", headers=headers, timeout=timeout) as response:
        async for piece in response.content.iter_any():
            ears.note(piece.decode())


async def _fail_in_the_database(made, rows, phone, ears):
    """A turn whose lock times out: both ends write their logs."""
    async with rows.transaction():
        await rows.execute("SELECT 1 FROM app_user WHERE id = $1 FOR UPDATE", phone.user)
        answer = await made.pings(phone.token, [_ping()])
    assert answer.status == 503
    ears.answer(answer.body)


async def _fail_in_memory(made, phone, ears):
    """An error whose own words name the position."""
    answer = await made.pings(phone.token, [_ping(speed_mps=STUMBLE_MPS)])
    assert answer.status == 503
    ears.answer(answer.body)


async def _ask_all(made, phone, ears):
    """Every reading call there is."""
    for path, key in (
        ("/v1/decisions?limit=1000", "manager"),
        ("/v1/decisions?limit=1000", "server"),
        ("/v1/me/export", phone.token),
        ("/v1/me/offers", phone.token),
        ("/v1/me/consents", phone.token),
        ("/v1/workspace", "manager"),
        ("/metrics", "manager"),
        ("/readyz", "manager"),
    ):
        answer = await made.call("GET", path, key)
        assert answer.status == 200, (path, answer)
        ears.note(json.dumps(answer.body))


async def _assert_rows_clean(rows):
    tables = [row[0] for row in await rows.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert tables
    filled = set()
    for table in tables:
        found = [row[0] for row in await rows.fetch(f'SELECT t::text FROM "{table}" t')]
        if found:
            filled.add(table)
        if table not in OURS:
            assert (table, _found_in("\n".join(found))) == (table, [])
    assert {"visit", "decision", "offer", "device", "geofence", "reservation"} <= filled


async def test_a_position_that_goes_in_comes_out_nowhere(database, postgres_root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
    monkeypatch.setenv("FAULTS_STUMBLE_MPS", str(STUMBLE_MPS))
    ears = Ears()
    log = postgres_root / "postgres.log"
    async with AsyncExitStack() as stack:
        push = await stack.enter_async_context(gateway())
        settings = {**push.settings, "log_lane": "true", "log_level": "debug"}
        served = await stack.enter_async_context(
            serving(database, device_rate_per_s=1000, device_burst=10_000, **settings)
        )
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        fence = {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [FENCE_LON, FENCE_LAT]},
            "properties": {"name": "There", "radius_m": 500, "detect": {"mode": "raw"}},
        }
        await made.good("PUT", "/v1/geofences/town/there", "manager", fence)
        await made.campaign(trigger={"on": "enter", "fences": {"set": "town"}})
        listening = asyncio.create_task(_listen(made, ears))
        phone, other, third, late = await made.phones(["one", "two", "three", "four"], push=True)

        await _send_http(made, phone.token, ears, _batches())
        await _send_http(made, "server", ears, _batches(other.device))
        await _send_stream(made, third.token, ears, _batches())
        await _ask_nearby(made, phone.token, ears)
        assert await rows.fetchval("SELECT count(*) FROM idempotency WHERE key LIKE 'nearby-%'") == 0
        await _fail_in_the_database(made, rows, late, ears)
        await _fail_in_memory(made, late, ears)
        await until(lambda: len(push.attempts) >= 3, why="the offers' sends")
        ears.note(json.dumps(push.bodies))
        await _ask_all(made, phone, ears)
        await asyncio.sleep(0.2)
        listening.cancel()

        told = "\n".join(ears.heard)
        assert "There" in told  # what is nearby was answered
        assert '"type":"enter"' in told.replace(" ", "")  # it was taken, and told about without its place
        assert "event: decision" in told
        assert ears.marks() == {}
        await _assert_rows_clean(rows)
        assert await served.terminate() == 0
        assert "could not be stepped" in "\n".join(served.stderr)
        assert _found_in("\n".join([*served.stdout, *served.stderr])) == []
        assert _found_in(log.read_text(errors="replace")) == []


async def test_a_place_that_a_person_named_comes_out_to_them_alone_and_what_it_hides_nowhere(
    database, postgres_root, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
    ears, log = Ears(), postgres_root / "postgres.log"
    async with AsyncExitStack() as stack:
        settings = {"log_lane": "true", "log_level": "debug"}
        served = await stack.enter_async_context(
            serving(database, device_rate_per_s=1000, device_burst=10_000, **settings)
        )
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        around = {"type": "Point", "coordinates": [FENCE_LON, FENCE_LAT]}
        fence = {"type": "Feature", "geometry": around, "properties": {"radius_m": 500, "detect": {"mode": "raw"}}}
        await made.good("PUT", "/v1/geofences/town/there", "manager", fence)
        await made.campaign(trigger={"on": "enter", "fences": {"set": "town"}})
        listening = asyncio.create_task(_listen(made, ears))
        phone, other = await made.phones(["one", "two"])
        rhythm = {"max": 9, "quiet": [], "not_at": [{"lat": LAT, "lon": LON, "radius_m": 50}]}
        own = await made.good("PUT", "/v1/me/rhythm", phone.token, rhythm)
        assert own["not_at"] == rhythm["not_at"]
        wrong = {"not_at": [{"lat": LAT, "lon": LON, "radius_m": 1}]}
        ears.answer((await made.call("PUT", "/v1/me/rhythm", phone.token, wrong)).body)
        await _send_http(made, phone.token, ears, _batches())
        await _send_stream(made, phone.token, ears, _batches())
        assert (await rows.fetchval("SELECT count(*) FROM visit"), ears.marks()) == (0, {})

        sensitive = fence | {"properties": {"radius_m": 600, "category": "health"}}
        await made.good("PUT", "/v1/private-places/clinic", "manager", sensitive)
        await _send_http(made, other.token, ears, _batches())
        await _send_http(made, "server", ears, _batches(other.device))
        for path, key in (("/v1/decisions", "manager"), ("/metrics", "manager"), ("/v1/me/export", other.token)):
            ears.note(json.dumps((await made.call("GET", path, key)).body))
        assert await rows.fetchval("SELECT count(*) FROM visit") == 0
        for table in [
            row[0] for row in await rows.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]:
            held = [row[0] for row in await rows.fetch(f'SELECT t::text FROM "{table}" t')]
            assert bool(_found_in("\n".join(held))) == (table == "app_user"), table
        assert str(LAT) in json.dumps(await made.good("GET", "/v1/me/export", phone.token))
        await made.good("DELETE", "/v1/me", phone.token)
        assert _found_in("\n".join(row[0] for row in await rows.fetch("SELECT u::text FROM app_user u"))) == []
        listening.cancel()
        assert ears.marks() == {}
        assert await served.terminate() == 0
        assert _found_in("\n".join([*served.stdout, *served.stderr])) == []
        assert _found_in(log.read_text(errors="replace")) == []


@pytest.mark.parametrize("written", [f"{LAT}", struct.pack("<d", LON).hex(), b"98.7654321".hex(), "98,7654321"])
def test_the_search_would_find_it(written):
    assert _found_in(f"some {written} text")
