"""Bounds of the stream: a frame too large, of the wrong kind, too early, too often, or a phone that never reads."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import psutil
import pytest
from aiohttp import WSMsgType
from structlog.testing import capture_logs

from geo_offers.web import connections, sockets, stream
from tests.faults.world import at_now, until, world
from tests.support.running import running

KIB = 1024
MIB = 2**20


@asynccontextmanager
async def a_house(database, **settings):
    async with running(database, **settings) as service, world(database, lambda: service.url) as made:
        yield made


@asynccontextmanager
async def a_stream(made, token=None, **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with made.session.ws_connect(f"{made._url()}/v1/stream", headers=headers, autoclose=False) as line:
        yield line


async def _code(line, within_s=5.0):
    """The code with which the server ends the stream; text frames before it are dropped."""
    async with asyncio.timeout(within_s):
        while (message := await line.receive()).type is WSMsgType.TEXT:
            pass
    assert message.type is WSMsgType.CLOSE, message
    return message.data


async def _streams(made):
    page = (await made.call("GET", "/metrics", "manager")).body
    return float(next(one for one in page.splitlines() if one.startswith("geo_offers_streams ")).split()[1])


async def _refused(made, token=None):
    """Status and headers of a stream that is refused before the upgrade."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with a_stream(made, token):
            pass
    return refused.value.status, refused.value.headers


async def test_past_the_bound_whoever_asks_for_a_stream_is_refused_before_the_upgrade(database, monkeypatch):
    monkeypatch.setattr(stream, "STREAMS", 3)
    async with a_house(database) as made:
        one, other = await made.phones(["one", "other"])
        async with a_stream(made, one.token), a_stream(made, made.keys["server"]) as server, a_stream(made) as unnamed:
            for token in (other.token, made.keys["server"], None):
                status, headers = await _refused(made, token)
                assert (status, headers["Retry-After"], headers["Connection"]) == (503, "5", "close")
            await unnamed.close()
            async with a_stream(made, other.token) as line:
                await line.send_json(other.ping(None))
                assert (await line.receive_json(timeout=5))["seq"] == 1
            await server.send_json(one.ping(None, named=True))
            assert (await server.receive_json(timeout=5))["seq"] == 1


async def test_however_many_streams_are_open_a_quarter_of_the_connections_is_left_for_calls(database, monkeypatch):
    monkeypatch.setattr(connections, "CONNECTIONS", 8)
    async with a_house(database) as made, AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(a_stream(made, made.keys["server"]))
        assert (await _refused(made, made.keys["server"]))[0] == 503
        assert (await made.call("GET", "/v1/workspace", "manager")).status == 200


async def test_few_may_wait_with_their_first_frame_and_whoever_names_themselves_need_not_wait(database, monkeypatch):
    monkeypatch.setattr(stream, "UNNAMED", 1)
    async with a_house(database) as made:
        one, other = await made.phones(["one", "other"])
        async with a_stream(made) as unnamed:
            status, headers = await _refused(made)
            assert (status, headers["Retry-After"]) == (503, "5")
            async with a_stream(made, other.token) as line:
                await line.send_json(other.ping(None))
                assert (await line.receive_json(timeout=5))["seq"] == 1
            await unnamed.send_json({"type": "auth", "token": one.token})
            await unnamed.send_json(one.ping(None))
            assert (await unnamed.receive_json(timeout=5))["seq"] == 2
            async with a_stream(made) as next_one:
                await next_one.send_json({"type": "auth", "token": other.token})
                await next_one.send_json(other.ping(None))
                assert (await next_one.receive_json(timeout=5))["seq"] == 2


async def test_who_says_nothing_gives_the_place_back(database, monkeypatch):
    monkeypatch.setattr(stream, "UNNAMED", 1)
    monkeypatch.setattr(stream, "AUTH_S", 0.1)
    async with a_house(database) as made:
        for _ in range(3):
            async with a_stream(made) as line:
                assert await _code(line) == 1008


async def test_a_managers_key_opens_no_stream(database):
    async with a_house(database) as made:
        assert (await _refused(made, made.keys["manager"]))[0] == 403


@pytest.mark.parametrize("extra", [1, 200 * KIB])
async def test_a_frame_over_its_bound_ends_the_stream_as_too_big(database, extra):
    async with a_house(database) as made:
        phone = (await made.phones(["one"]))[0]
        async with a_stream(made, phone.token) as line:
            await line.send_str(" " * (sockets.FRAME + extra))
            assert await _code(line) == 1009


async def test_a_message_in_many_fragments_is_bounded_as_one(database):
    async with a_house(database) as made:
        phone = (await made.phones(["one"]))[0]
        async with a_stream(made, phone.token) as line:
            piece = b" " * KIB
            line._writer._write_websocket_frame(piece, WSMsgType.TEXT, 0)
            line._writer.transport.write(b"")
            for _ in range(sockets.FRAME // KIB + 1):
                line._writer._write_websocket_frame(piece, WSMsgType.CONTINUATION, 0)
            assert await _code(line) in {1002, 1009}


async def test_five_hundred_pings_fit_into_a_frame(database):
    async with a_house(database) as made:
        phone = (await made.phones(["one"]))[0]
        async with a_stream(made, phone.token) as line:
            await line.send_str(json.dumps([phone.ping(None, at_now(500 - n)) for n in range(500)]))
            answer = await line.receive_json(timeout=5)
            assert [one["status"] for one in answer["results"]] == ["accepted"] * 500


async def test_a_binary_frame_ends_the_stream(database):
    async with a_house(database) as made:
        phone = (await made.phones(["one"]))[0]
        async with a_stream(made, phone.token) as line:
            await line.send_bytes(json.dumps(phone.ping(None)).encode())
            assert await _code(line) == 1003


async def test_whoever_does_not_say_who_they_are_in_time_is_let_go(database, monkeypatch):
    monkeypatch.setattr(stream, "AUTH_S", 0.3)
    async with a_house(database) as made, a_stream(made) as line:
        assert await _code(line, 2) == 1008


@pytest.mark.parametrize("first", ['{"type": "auth", "token": "at_x"}', "{", '{"at": "now"}', '{"type": "auth"}'])
async def test_a_first_frame_that_proves_nothing_ends_the_stream(database, first):
    async with a_house(database) as made, a_stream(made) as line:
        await line.send_str(first)
        assert await _code(line) == 1008


async def test_a_page_of_another_origin_may_not_open_a_stream(database):
    async with a_house(database, allowed_origins="https://app.example") as made:
        phone = (await made.phones(["one"]))[0]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with a_stream(made, phone.token, Origin="https://elsewhere.example"):
                pass
        assert refused.value.status == 403
        async with a_stream(made, phone.token, Origin="https://app.example") as line:
            await line.send_json(phone.ping(None))
            assert (await line.receive_json(timeout=5))["seq"] == 1


async def test_a_frame_that_cannot_be_taken_is_answered_by_its_number_and_the_stream_lives_on(database):
    async with a_house(database) as made:
        phone = (await made.phones(["one"]))[0]
        async with a_stream(made, phone.token) as line:
            for bad in ("{", "[]", '{"at": 1}', '{"at": "x", "at": "y", "lat": 1, "lon": 2}', "null"):
                await line.send_str(bad)
            await line.send_json(phone.ping(None))
            frames = [await line.receive_json(timeout=5) for _ in range(6)]
        assert [frame["seq"] for frame in frames] == [1, 2, 3, 4, 5, 6]
        assert [frame.get("type") for frame in frames] == ["problem"] * 5 + [None]
        assert {frame["problem"]["status"] for frame in frames[:5]} <= {400, 422}


async def test_a_flood_of_frames_is_slowed_by_the_devices_rate_and_nobody_else_is(database):
    async with a_house(database, device_rate_per_s=1.0, device_burst=5) as made:
        eager, calm = await made.phones(["eager", "calm"])
        async with a_stream(made, eager.token) as line, a_stream(made, calm.token) as other:
            for _ in range(500):
                await line.send_json(eager.ping(None))
            started = time.monotonic()
            await other.send_json(calm.ping(None))
            assert (await other.receive_json(timeout=5))["results"] == [{"status": "accepted"}]
            assert time.monotonic() - started < 2
            frames = [await line.receive_json(timeout=5) for _ in range(500)]
        taken = [frame for frame in frames if "results" in frame]
        refused = [frame for frame in frames if frame.get("type") == "problem"]
        assert 5 <= len(taken) <= 10
        assert len(taken) + len(refused) == 500
        assert {(one["problem"]["status"], one["retry_after_s"]) for one in refused} == {(429, 1.0)}


async def test_a_newer_stream_of_a_device_ends_the_older_one(database):
    async with a_house(database) as made:
        phone = (await made.phones(["one"]))[0]
        async with a_stream(made, phone.token) as older, a_stream(made, phone.token) as newer:
            assert await _code(older) == 1008
            await newer.send_json(phone.ping(None))
            assert (await newer.receive_json(timeout=5))["seq"] == 1
            assert await _streams(made) == 1


async def _deaf_stream(made, token):
    """The writing end of a stream whose answers nobody takes."""
    host, port = made._url().removeprefix("http://").split(":")
    bare = socket.socket()
    bare.setblocking(False)
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
    await asyncio.get_running_loop().sock_connect(bare, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=bare)
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    fields += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Authorization: Bearer {token}"]
    writer.write("\r\n".join(["GET /v1/stream HTTP/1.1", "Host: x", *fields, "", ""]).encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    return writer


def _frame(text):
    """A text frame as a client sends it, masked by nothing."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return b"\x81" + size + b"\0\0\0\0" + data


@pytest.mark.parametrize("leaves", [True, False], ids=["hangs up", "reads nothing"])
@pytest.mark.parametrize("who", ["phone", "server"])
async def test_who_is_gone_before_being_told_what_was_wrong_is_no_fault_of_ours(
    database, monkeypatch, caplog, who, leaves
):
    monkeypatch.setattr(sockets, "SEND_S", 0.2)
    async with a_house(database) as made:
        phone = (await made.phones(["deaf"]))[0]
        tasks = len(asyncio.all_tasks())
        with capture_logs() as told:
            writer = await _deaf_stream(made, phone.token if who == "phone" else made.keys["server"])
            writer.write(_frame("{") * 20_000)
            if leaves:
                await until(lambda: writer.transport.get_write_buffer_size() == 0, why="the frames are sent")
                writer.transport.abort()
            await until(lambda: len(asyncio.all_tasks()) <= tasks, 30, why="a stream that nobody reads is still held")
            writer.transport.abort()
    assert [one for one in told if one["log_level"] in {"error", "critical"}] == []
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_phone_that_never_reads_hurts_only_itself_and_is_let_go(database, monkeypatch):
    monkeypatch.setattr(sockets, "SEND_S", 0.5)
    async with a_house(database, device_rate_per_s=1000, device_burst=100_000) as made:
        await made.fences(20)
        deaf, other = await made.phones(["deaf", "other"])
        tasks, before = len(asyncio.all_tasks()), psutil.Process().memory_info().rss
        writer = await _deaf_stream(made, deaf.token)
        flooding = asyncio.create_task(_flood(writer, deaf))
        await until(lambda: len(asyncio.all_tasks()) > tasks + 30, 20, why="answers that cannot be written")
        started = time.monotonic()
        assert (await made.pings(other.token, [other.ping(None)])).status == 200
        assert time.monotonic() - started < 2

        async def gone():
            return await _streams(made) == 0

        await until(gone, 20, why="a stream that nobody reads is still held")
        await asyncio.wait_for(flooding, 5)
        writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 2, 5, why="tasks that hang on it")
        assert psutil.Process().memory_info().rss - before < 128 * MIB


async def _flood(writer, phone):
    """Large answers: 400 results each."""
    try:
        frame = _frame(json.dumps([phone.ping(None, at_now(1))] * 400))
        while True:
            writer.write(frame)
            await writer.drain()
    except ConnectionError:
        return
