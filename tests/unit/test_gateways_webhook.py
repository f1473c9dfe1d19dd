"""The webhook lane against real servers on the loopback: what left, what was answered, and what that means."""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import format_datetime
from math import inf
from time import monotonic

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from geo_offers import clock
from geo_offers.errors import Misconfigured
from geo_offers.gateways import exchange
from geo_offers.gateways.webhook import WebhookLane
from geo_offers.instants import from_us
from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    Later,
    NotSent,
    Refused,
    TokenDead,
    TooLate,
    Transient,
)
from tests.support.gateways.webhook import SECRET
from tests.support.loopback import answering
from tests.support.messages import a_message
from tests.support.stalls import Stalls

OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler):
    app = web.Application()
    app.router.add_post("/push", handler)
    async with answering(app) as url:
        yield f"{url}/push"


@asynccontextmanager
async def raw_serving(handler):
    """A peer below HTTP."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/push"
    finally:
        server.close()


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


async def send(session, url, message=None, **options):
    options = {"timeout_s": 5.0} | options
    return await WebhookLane(session, url, [SECRET], **options).send(message or a_message(), inf)


async def answered(session, status, headers=None, body=b""):
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status, headers=headers, body=body)

    async with serving(handler) as url:
        return await send(session, url)


async def test_a_phone_that_takes_its_push_elsewhere_now_is_not_sent_to(session):
    called = []

    async def handler(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response(status=202)

    async with serving(handler) as url:
        outcome = await send(session, url, a_message(push_token=None))
    assert (outcome, called) == (TokenDead(detail="no token", by_us=True), [])


async def test_the_gateway_gets_a_signed_event_under_the_offers_id(session):
    got = []

    async def handler(request: web.Request) -> web.Response:
        got.append((dict(request.headers), await request.read()))
        return web.Response(status=202)

    message = a_message()
    async with serving(handler) as url:
        lane = WebhookLane(session, url, [OTHER, SECRET])
        assert await lane.send(message, inf) == Accepted()
        assert await lane.send(message, inf) == Accepted()
    for headers, body in got:
        assert headers["webhook-id"] == str(message.offer)
        assert headers["Content-Type"] == "application/json"
        for secret in (SECRET, OTHER):
            event = Webhook(secret).verify(body, headers)
        assert event["type"] == "offer.push"
        assert event["data"] == {
            "offer": str(message.offer),
            "user": str(message.user),
            "device": str(message.device),
            "platform": "ios",
            "push_token": "token-1",
            "title": "Warm buns",
            "body": "Two for one",
            "data": {"code": "BUN"},
            "replace_key": "r" * 32,
            "expires_at": from_us(message.expires_us).isoformat().replace("+00:00", "Z"),
            "ttl_s": 90,
        }


async def test_the_time_to_live_is_counted_again_at_each_send(session):
    lived = []

    async def handler(request: web.Request) -> web.Response:
        lived.append(json.loads(await request.read())["data"]["ttl_s"])
        return web.Response()

    now = [clock.now_us()]
    message = a_message(expires_us=now[0] + 60_000_000)
    async with serving(handler) as url:
        lane = WebhookLane(session, url, [SECRET], now_us=lambda: now[0])
        await lane.send(message, inf)
        now[0] += 58_500_000
        await lane.send(message, inf)
        now[0] += 600_000
        assert await lane.send(message, inf) == TooLate()
    assert lived == [60, 1]


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, Accepted()),
        (204, {}, Accepted()),
        (299, {}, Accepted()),
        (301, {"Location": "/elsewhere"}, Refused("http 301")),
        (307, {"Location": "/push"}, Refused("http 307")),
        (400, {}, Refused("http 400")),
        (404, {}, Refused("http 404")),
        (410, {}, TokenDead()),
        (429, {}, Later(5.0, whole_lane=True)),
        (429, {"Retry-After": "7"}, Later(7.0, whole_lane=True)),
        (429, {"Retry-After": "nonsense"}, Later(5.0, whole_lane=True)),
        (500, {}, Transient("http 500")),
        (502, {"Retry-After": "9"}, Transient("http 502")),
        (503, {}, Transient("http 503")),
        (503, {"Retry-After": "30"}, Transient("http 503", asked_s=30.0)),
    ],
)
async def test_the_status_is_the_answer(session, status, headers, outcome):
    assert await answered(session, status, headers) == outcome


async def test_a_redirect_is_not_followed(session):
    hits = []

    async def handler(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response(status=307, headers={"Location": "/push?again"})

    async with serving(handler) as url:
        await send(session, url)
    assert len(hits) == 1


NOW_US = 1_795_000_000_000_000
BEYOND_ALL_ZONES = "Sat, 01 Jan 2050 00:00:00 +99999999999999999"
PARTS = [
    *("Sun,", "Sunday,", "Nov", "06-Nov-94", "06", "31", "94", "1994", "0001", "9999", "99999", "08:49:37", "99:99:99"),
    *("GMT", "-0000", "+9999", "-2400", "+99999999999999999", "EST", "(", ",", ":", "-", "é", "\u0663"),
]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 1.0),
        (" 12 ", 12.0),
        ("3601", 3600.0),
        ("9" * 400, 3600.0),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("", None),
        (format_datetime(from_us(NOW_US + 45_000_000), usegmt=True), 45.0),
        (format_datetime(from_us(NOW_US - 45_000_000), usegmt=True), 1.0),
        ("Mon, 32 Foo 2026 00:00:00 GMT", None),
        ("Sat, 01 Jan 2050 00:00:00 GMT", 3600.0),
        ("Sat, 01 Jan 2050 00:00:00 -0000", 3600.0),
        (from_us(NOW_US + 45_000_000).strftime("%A, %d-%b-%y %H:%M:%S GMT"), 45.0),  # as RFC 850 wrote it
        (from_us(NOW_US + 45_000_000).ctime(), 45.0),  # as asctime of C does
        (BEYOND_ALL_ZONES, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_within_bounds(value, seconds):
    assert exchange.retry_after_s(value, NOW_US) == seconds


@given(st.one_of(st.text(), st.lists(st.sampled_from(PARTS), max_size=8).map(" ".join)))
def test_whatever_retry_after_says_it_is_some_seconds_or_nothing(value):
    seconds = exchange.retry_after_s(value, NOW_US)
    assert seconds is None or 1.0 <= seconds <= 3600.0


@pytest.mark.parametrize(("status", "outcome"), [(429, Later(5.0, whole_lane=True)), (503, Transient("http 503"))])
async def test_an_answer_stands_whatever_its_retry_after_says(session, status, outcome):
    assert await answered(session, status, {"Retry-After": BEYOND_ALL_ZONES}) == outcome


async def test_a_connection_that_is_refused_means_that_nothing_was_sent(session):
    with socket.socket() as taken:  # bound, not listening: refused, and nobody else can take the port
        taken.bind(("127.0.0.1", 0))
        outcome = await send(session, f"http://127.0.0.1:{taken.getsockname()[1]}/push")
    assert isinstance(outcome, NotSent)


async def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(session):
    assert isinstance(await send(session, "http://gateway.invalid/push", timeout_s=3), NotSent)


async def test_a_connection_that_is_never_taken_up_means_that_nothing_was_sent(session):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        others = [socket.socket() for _ in range(3)]  # fill the backlog, so that the next SYN is dropped
        for other in others:
            other.setblocking(False)
            other.connect_ex(address)
        outcome = await send(session, f"http://127.0.0.1:{address[1]}/push", timeout_s=0.3)
        for other in others:
            other.close()
    assert isinstance(outcome, NotSent)


@asynccontextmanager
async def one_connection():
    """A lane whose one connection is in use until `release` is set; `taken` are the titles that came."""
    taken, release = [], asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        taken.append((await request.json())["data"]["title"])
        await release.wait()
        return web.Response()

    async with serving(slow) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        lane = WebhookLane(session, url, [SECRET])
        first = asyncio.create_task(lane.send(a_message(title="first"), inf))
        while not taken:
            await asyncio.sleep(0.01)
        yield lane, taken, release
        assert await first == Accepted()


async def test_what_gets_its_connection_after_its_time_to_start_is_not_sent_and_harms_no_other():
    loop = asyncio.get_running_loop()
    async with one_connection() as (lane, taken, release):
        start_by = loop.time() + 0.1
        second = asyncio.create_task(lane.send(a_message(title="second"), start_by))
        await asyncio.sleep(0.2)
        release.set()
        assert await second == NotSent("TooLateToBegin")
        assert await lane.send(a_message(title="third"), loop.time() + 60) == Accepted()
    assert taken == ["first", "third"]


async def test_what_gets_its_connection_after_the_offers_end_is_not_sent():
    async with one_connection() as (lane, taken, release):
        ends_us = clock.now_us() + 1_500_000
        second = asyncio.create_task(lane.send(a_message(title="second", expires_us=ends_us), inf))
        while clock.now_us() < ends_us + 100_000:
            await asyncio.sleep(0.05)
        release.set()
        assert await second in {NotSent("TooLateToBegin"), TooLate()}  # the latter where this machine was held up
    assert taken == ["first"]


async def test_no_answer_in_time_is_ambiguous(session):
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        await release.wait()
        return web.Response()

    async with serving(handler) as url:
        began = monotonic()
        with Stalls() as stalls:
            outcome = await send(session, url, timeout_s=0.3)
        took_s = monotonic() - began
        release.set()
    assert isinstance(outcome, Ambiguous)
    assert took_s < 2 + stalls.seconds


async def test_a_connection_dropped_after_the_request_is_ambiguous(session):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with raw_serving(handler) as url:
        assert isinstance(await send(session, url), Ambiguous)


async def test_a_connection_reset_after_the_request_is_ambiguous(session):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        linger = struct.pack("ii", 1, 0)  # close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with raw_serving(handler) as url:
        assert isinstance(await send(session, url), Ambiguous)


@pytest.mark.parametrize(
    "answer",
    [
        b"banana\r\n\r\n",
        b"HTTP/1.1 200\x00OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 2",
    ],
)
async def test_an_answer_that_is_none_is_ambiguous(session, answer):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with raw_serving(handler) as url:
        assert isinstance(await send(session, url), Ambiguous)


async def test_an_endless_answer_is_cut_off_and_its_status_stands(session):
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        await request.read()
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2_000):
            await response.write(b"x" * 50_000)  # 100 MB in all
            sent += 50_000
        return response

    async with serving(handler) as url:
        assert await send(session, url, timeout_s=5) == Accepted()
    assert sent < 20_000_000  # socket buffers, not the whole body


async def test_an_answer_that_drips_ends_with_the_deadline_and_its_status_stands(session):
    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(status=410)
        await response.prepare(request)
        for _ in range(1_200):  # for a minute
            await response.write(b".")
            await asyncio.sleep(0.05)
        return response

    async with serving(handler) as url:
        began = monotonic()
        with Stalls() as stalls:
            assert await send(session, url, timeout_s=1.0) == TokenDead()
        assert monotonic() - began < 2 + stalls.seconds


async def test_a_small_answer_leaves_the_connection_for_the_next_send(session):
    peers = set()

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=b"y" * 10_000)

    async with serving(handler) as url:
        lane = WebhookLane(session, url, [SECRET])
        for _ in range(3):
            await lane.send(a_message(), inf)
    assert len(peers) == 1


async def test_a_cancelled_send_is_not_swallowed(session):
    began = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        began.set()
        await asyncio.sleep(5)
        return web.Response()

    async with serving(handler) as url:
        task = asyncio.create_task(send(session, url, timeout_s=5))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_secret_that_is_none_is_found_at_the_start(session):
    with pytest.raises(Misconfigured):
        WebhookLane(session, "http://127.0.0.1/push", ["not base64!"])
