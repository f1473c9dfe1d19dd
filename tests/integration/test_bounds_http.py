"""Bounds over HTTP: whoever sends too much, too slowly or nothing is answered or let go, and hurts only itself."""

import asyncio
import gzip
import json
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest

from geo_offers import app
from geo_offers.web import connections, edge, server
from geo_offers.web.server import HeaderDeadline
from tests.faults.world import administrator, at_now, until, world
from tests.support.running import running
from tests.support.stalls import Stalls

MIB = 2**20


@pytest.fixture
async def made(service):
    async with world(service.database, lambda: service.url) as one:
        yield one


class Line:
    """A bare TCP connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def write(self, *pieces):
        for piece in pieces:
            self.writer.write(piece if isinstance(piece, bytes) else piece.encode())

    async def answer(self, within_s=5.0):
        """Status, headers in small letters, body as the Content-Length has it."""
        async with asyncio.timeout(within_s):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, body

    async def closed_after(self, within_s):
        """Seconds until the server ends the connection; what it says before that is read and dropped."""
        started = time.monotonic()
        with Stalls() as stalls:
            async with asyncio.timeout(within_s):
                try:
                    while await self.reader.read(65_536):
                        pass
                except ConnectionError:
                    pass
        return time.monotonic() - started - stalls.seconds


@asynccontextmanager
async def a_line(url, *, receive_bytes=None):
    host, port = url.removeprefix("http://").split(":")
    bare = socket.socket()
    bare.setblocking(False)
    if receive_bytes is not None:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    await asyncio.get_running_loop().sock_connect(bare, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=bare)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


def _head(key, *more, path="/v1/pings", method="POST"):
    fields = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *more]
    return "\r\n".join(fields) + "\r\n\r\n"


async def _assert_well(made):
    """Somebody else is served as if nothing were."""
    started = time.monotonic()
    assert (await made.call("GET", "/v1/workspace", "manager")).status == 200
    assert time.monotonic() - started < 2


# ---------------------------------------------------------------------------------------------- too much
async def test_a_body_over_its_bound_is_refused_before_it_is_read(service, made):
    async with a_line(service.url) as line:
        line.write(_head(made.keys["server"], f"Content-Length: {MIB + 1}"))
        status, headers, body = await line.answer()
        assert status == 413
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["code"] == "too_large"


async def test_a_chunked_body_is_bounded_though_nobody_said_its_length(service, made):
    async with a_line(service.url) as line:
        line.write(_head(made.keys["server"], "Transfer-Encoding: chunked"))
        chunk = b" " * 65_536
        for _ in range(MIB // len(chunk) + 1):
            line.write(b"10000\r\n", chunk, b"\r\n")
        assert (await line.answer())[0] == 413


async def test_a_compressed_body_is_bounded_by_what_it_unpacks_to(service, made):
    bomb = gzip.compress(b" " * (200 * MIB), 9)
    before, started = psutil.Process().memory_info().rss, time.monotonic()
    async with a_line(service.url) as line:
        line.write(_head(made.keys["server"], "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), bomb)
        assert (await line.answer())[0] == 413
    assert time.monotonic() - started < 5
    assert psutil.Process().memory_info().rss - before < 64 * MIB
    await _assert_well(made)


async def test_a_request_takes_a_thousand_pings_and_no_more(made):
    phone = (await made.phones(["one"]))[0]
    pings = [phone.ping(None, at_now(10), named=True)] * 1_001
    assert (await made.pings("server", pings[:1_000])).status == 200
    refused = await made.pings("server", pings)
    assert refused.status == 413
    assert refused.body["errors"][0]["pointer"] == "/pings"


@pytest.mark.parametrize(
    "broken",
    [
        "POST /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "POST /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Said: one\rX-Other: two\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Said: one\r\n two\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + "x" * 9_000 + "\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: x\r\n" for n in range(200)) + "\r\n",
        "GET /" + "x" * 9_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["two lengths", "length and chunks", "bare CR", "folded", "long field", "many fields", "long path", "negative"],
)
async def test_a_head_that_two_readers_could_read_differently_is_refused(service, made, broken):
    async with a_line(service.url) as line:
        line.write(broken)
        status, headers, _ = await line.answer()
        assert status == 400
        assert "x-other" not in headers
        assert await line.closed_after(20) < 2
    await _assert_well(made)


async def test_a_flood_of_pipelined_requests_hurts_nobody_else(service, made):
    before = psutil.Process().memory_info().rss
    async with a_line(service.url, receive_bytes=4_096) as line:
        line.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        await asyncio.sleep(0.2)
        for _ in range(5):
            await _assert_well(made)
        assert psutil.Process().memory_info().rss - before < 64 * MIB


# ---------------------------------------------------------------------------------------------- too many
@asynccontextmanager
async def _crowded(database, monkeypatch, **bounds):
    """The service with room for three connections, all taken by silent ones."""
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    for name, value in bounds.items():
        monkeypatch.setattr(connections, name, value)
    async with running(database) as service, AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(a_line(service.url)) for _ in range(3)]
        for line in lines:
            line.write(ALIVE)
            assert (await line.answer())[0] == 200
        yield service, lines


ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_where_all_connections_are_taken_the_next_is_answered_503_and_a_time(database, monkeypatch):
    async with _crowded(database, monkeypatch) as (service, lines):
        for _ in range(3):
            async with a_line(service.url) as refused:
                refused.write(ALIVE)
                status, headers, body = await refused.answer()
                assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
                assert headers["content-type"] == "application/problem+json"
                assert json.loads(body)["code"] == "unavailable"
                assert await refused.closed_after(20) < 2
        for line in lines:
            line.write(ALIVE)
            assert (await line.answer())[0] == 200
        lines[0].writer.transport.abort()

        async def taken():
            async with a_line(service.url) as line:
                line.write(ALIVE)
                return (await line.answer())[0] == 200

        await until(taken, why="the place that became free")


async def test_of_many_silent_connections_past_the_bound_the_oldest_make_way_for_one_that_speaks(database, monkeypatch):
    async with (
        _crowded(database, monkeypatch, REFUSALS=2, REFUSAL_S=60.0) as (service, _),
        a_line(service.url) as oldest,
        a_line(service.url) as older,
        a_line(service.url) as refused,
    ):
        await oldest.closed_after(5)
        for line in (refused, older):
            line.write(ALIVE)
            assert (await line.answer())[0] == 503


async def test_a_silent_connection_past_the_bound_is_not_held_for_long(database, monkeypatch):
    async with _crowded(database, monkeypatch, REFUSAL_S=0.2) as (service, _), a_line(service.url) as silent:
        await silent.closed_after(5)


# ---------------------------------------------------------------------------------------------- too slow
@asynccontextmanager
async def _hasty(database, monkeypatch, **seconds):
    """The service with deadlines of a third of a second."""
    if "headers" in seconds:
        monkeypatch.setattr(app, "HeaderDeadline", lambda: HeaderDeadline(seconds["headers"]))
    monkeypatch.setattr(edge, "BODY_S", seconds.get("body", 10.0))
    monkeypatch.setattr(server, "KEEP_ALIVE_S", seconds.get("idle", 75.0))
    async with running(database) as service, world(database, lambda: service.url) as made:
        yield service, made


async def _drip(line, data, pause_s=0.1):
    for byte in data:
        if line.writer.is_closing():
            return
        line.write(bytes([byte]))
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("said", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
async def test_a_connection_that_never_ends_its_head_is_closed(database, monkeypatch, said):
    async with _hasty(database, monkeypatch, headers=0.3) as (service, _), a_line(service.url) as line:
        line.write(said)
        assert await line.closed_after(20) < 1.5


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(database, monkeypatch):
    async with _hasty(database, monkeypatch, headers=0.3) as (service, _), a_line(service.url) as line:
        dripping = asyncio.create_task(_drip(line, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert await line.closed_after(20) < 1.5
        dripping.cancel()


async def test_the_heads_deadline_ends_no_call_that_is_being_answered(database, monkeypatch):
    async with _hasty(database, monkeypatch, headers=0.3) as (service, made), a_line(service.url) as line:
        line.write(_head(made.keys["manager"], path="/v1/live", method="GET"))
        with pytest.raises(TimeoutError):
            await line.closed_after(1)


async def test_a_body_that_drips_is_answered_408_and_the_connection_ends(database, monkeypatch):
    async with _hasty(database, monkeypatch, body=0.4) as (service, made), a_line(service.url) as line:
        line.write(_head(made.keys["server"], "Content-Length: 1000"))
        dripping = asyncio.create_task(_drip(line, b" " * 1_000, 0.05))
        status, headers, body = await line.answer()
        assert (status, json.loads(body)["code"]) == (408, "too_slow")
        assert headers["connection"] == "close"
        dripping.cancel()


async def test_an_idle_connection_is_closed_and_so_is_one_that_drips_its_next_head(database, monkeypatch):
    async with (
        _hasty(database, monkeypatch, idle=0.3) as (service, _),
        a_line(service.url) as idle,
        a_line(service.url) as slow,
    ):
        for line in (idle, slow):
            line.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await line.answer())[0] == 200
        dripping = asyncio.create_task(_drip(slow, b"GET /livez HTTP/1.1\r\nHost: x\r\n"))
        assert await idle.closed_after(20) < 1.5
        assert await slow.closed_after(20) < 1.5
        dripping.cancel()


async def test_a_client_that_never_reads_its_answer_is_let_go(database, monkeypatch):
    monkeypatch.setattr(server, "UNREAD_S", 1.0)
    async with running(database) as service, world(database, lambda: service.url) as made:
        await made.fences(2_000)
        async with a_line(service.url, receive_bytes=2_048) as line:
            line.writer.transport.pause_reading()
            line.write(_head(made.keys["manager"], path="/v1/geofences?limit=1000", method="GET") * 20)
            await asyncio.sleep(0.3)
            lines = _connections()
            await _assert_well(made)
            await until(lambda: _connections() < lines, 10, why="the server holds a line that nobody reads")


def _connections():
    """How many sockets this process has open: both ends of each connection are its own."""
    return len(psutil.Process().net_connections("tcp"))


# ---------------------------------------------------------------------------------------------- too often
async def test_where_the_queue_is_full_the_answer_is_503_and_a_time(database):
    async with (
        running(database, queue_points=1_000) as service,
        world(database, lambda: service.url) as made,
        administrator(database) as rows,
    ):
        await made.no_gaps()
        await made.fences(1)
        held, other = await made.phones(["held", "other"])
        full = [held.ping(0, at_now(5), named=True)] * 999 + [held.ping(None, at_now(1), named=True)]
        async with rows.transaction():
            await rows.execute("SELECT 1 FROM app_user WHERE id = $1 FOR UPDATE", held.user)
            waiting = asyncio.create_task(made.pings("server", full))

            async def is_full():
                return "geo_offers_queued_points 1000.0" in (await made.call("GET", "/metrics", "manager")).body

            await until(is_full, why="a thousand points queued")
            refused = await made.pings(other.token, [other.ping(None)])
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) >= 1
        answer = await waiting
        assert answer.status == 200
        assert len(answer.body["results"]) == 1_000
        assert (await made.pings(other.token, [other.ping(None)])).status == 200


async def test_a_device_over_its_rate_gets_429_and_a_time_and_under_a_server_key_its_points_alone_are_refused(database):
    async with (
        running(database, device_rate_per_s=0.5, device_burst=2) as service,
        world(database, lambda: service.url) as made,
    ):
        eager, calm = await made.phones(["eager", "calm"])
        answers = [await made.pings(eager.token, [eager.ping(None)]) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert int(answers[2].headers["Retry-After"]) == 2
        many = await made.pings("server", [eager.ping(None, named=True), calm.ping(None, named=True)])
        assert many.status == 200
        assert many.body["results"] == [{"status": "refused", "reason": "rate"}, {"status": "accepted"}]
