"""SIGTERM: what was taken is finished, what cannot be is given back, whatever hangs on the line, within 15 s."""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest

from geo_offers.gateways.webhook import WebhookLane
from tests.faults.world import administrator, at_now, until, world
from tests.support.gateways.webhook import SECRET, gateway
from tests.support.running import running, serving

FENCES = 200
PEOPLE = 10
DRAIN_S = 15.0


async def _walk(made, phone, number, answered):
    for step in range(FENCES):
        try:
            answer = await made.pings(phone.token, [phone.ping((number + step) % FENCES, at_now())])
        except (aiohttp.ClientError, OSError):
            return
        if answer.status != 200:
            assert answer.status == 503, answer
            return
        answered.append((phone.device, (number + step) % FENCES))


async def _stop(served):
    """Exit code and seconds."""
    started = time.monotonic()
    code = await served.terminate()
    return code, time.monotonic() - started


@pytest.fixture
async def loaded(database):
    """A service with a crowd that walks, and a gateway that takes a third of a second for each message."""
    async with AsyncExitStack() as stack:
        push = await stack.enter_async_context(gateway())

        async def slowly(_ident):
            await asyncio.sleep(0.3)

        push.before_answer = slowly
        settings = {**push.settings, "device_rate_per_s": 1000}
        served = await stack.enter_async_context(serving(database, **settings))
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        await made.fences(FENCES)
        await made.campaign()
        phones = await made.phones([f"walker {n}" for n in range(PEOPLE)], push=True)
        yield served, made, rows, push, phones


async def test_under_load_it_drains_and_gives_its_leases_back(loaded):
    served, made, rows, push, phones = loaded
    answered = []
    walking = [asyncio.create_task(_walk(made, phone, number, answered)) for number, phone in enumerate(phones)]
    await until(lambda: push.under_way > 3 and len(answered) > PEOPLE, why="load")
    code, took_s = await _stop(served)
    await asyncio.gather(*walking)
    assert code == 0
    assert took_s <= DRAIN_S
    assert "Traceback" not in "\n".join(served.stderr)
    visits = await rows.fetch("SELECT device::text, fence FROM visit")
    assert {(device, f"grid/{fence}") for device, fence in answered} <= {
        (row["device"], row["fence"]) for row in visits
    }
    assert await rows.fetchval("SELECT count(*) FROM outbox WHERE state <> 'due'") == 0
    assert await rows.fetchval("SELECT count(*) FROM partition WHERE owner IS NOT NULL") == 0
    # Each send that was under way was waited for and recorded.
    accepted = {str(row["id"]) for row in await rows.fetch("SELECT id FROM offer WHERE state = 'accepted'")}
    assert accepted == set(push.attempts)


async def _hold_lines(stack, served, made, phone):
    """Every kind of connection that could keep a server from stopping."""
    session, url = made.session, served.url
    host, port = url.removeprefix("http://").split(":")
    bearer = {"Authorization": f"Bearer {phone.token}"}
    live = await session.get(f"{url}/v1/live", headers={"Authorization": f"Bearer {made.keys['manager']}"})
    stack.callback(live.close)
    for key in (phone.token, made.keys["server"]):
        line = await session.ws_connect(f"{url}/v1/stream", headers={"Authorization": f"Bearer {key}"})
        stack.push_async_callback(line.close)
    for start in (
        b"",
        b"GET /livez HTTP/1.1\r\nHost:",
        f"POST /v1/pings HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n"
        "Content-Length: 900\r\n\r\n{".encode(),
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        _, writer = await asyncio.open_connection(host, int(port))
        stack.callback(writer.close)
        writer.write(start)


async def test_lines_that_nobody_ends_and_a_gateway_that_never_answers_do_not_keep_it(loaded):
    served, made, rows, push, phones = loaded

    async def never(_ident):
        await asyncio.Event().wait()

    push.before_answer = never
    async with AsyncExitStack() as stack:
        await _hold_lines(stack, served, made, phones[0])
        await made.pings(phones[1].token, [phones[1].ping(3)])
        await until(lambda: push.under_way == 1, why="a send under way")
        code, took_s = await _stop(served)
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await stack.aclose()
    assert code == 0
    assert took_s <= DRAIN_S
    assert "Traceback" not in "\n".join(served.stderr)
    left = await rows.fetch("SELECT state, ambiguous FROM outbox")
    assert [(row["state"], row["ambiguous"]) for row in left] == [("due", True)]  # to be sent once more, by the next


@pytest.mark.parametrize("manner", ["well", "by an error", "never"])
async def test_a_lane_is_closed_once_and_its_good_bye_keeps_nobody(database, monkeypatch, manner):
    closed = []

    async def close(_lane):
        closed.append(manner)
        if manner == "by an error":
            raise OSError("gone already")
        if manner == "never":
            await asyncio.Event().wait()

    monkeypatch.setattr(WebhookLane, "close", close)
    async with running(database, webhook_url="http://127.0.0.1:9/push", webhook_secret=SECRET):
        assert closed == []
        started = time.monotonic()
    assert closed == [manner]
    assert time.monotonic() - started <= DRAIN_S
