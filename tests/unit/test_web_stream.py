"""What a stream takes as it comes, and what has to wait: over a real connection, to an engine that does as told."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import UUID

from aiohttp import ClientSession, WSMsgType, web

from geo_offers.errors import Unavailable
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.requests import Code, Request
from geo_offers.web import edge, sockets, stream
from tests.support.loopback import answering

WORKSPACE = UUID(int=1)
SERVER = Caller(workspace=WORKSPACE, kind="server", id="key")


class Engine:
    """Takes every ping. parts: of each request, under way until they are done. absent: devices have to be loaded."""

    def __init__(self, parts=0, absent=False):
        self.parts, self.absent = parts, absent
        self.begun, self.loaded = [], asyncio.Event()
        self.failure = None

    def begin(self, workspace, points, *, caller):
        if self.failure is not None:
            raise self.failure
        request = Request(
            workspace, 0, points, bytearray([Code.ABSENT if self.absent else Code.ACCEPTED] * len(points))
        )
        request.parts = self.parts
        self.begun.append(request)
        return request

    async def load(self, request, *, caller):
        await self.loaded.wait()
        self.absent = False
        request.codes[:] = bytes(len(request.codes))


@asynccontextmanager
async def opened(engine):
    async def known(_):
        return SERVER

    app = web.Application()
    app[edge.SERVICES] = SimpleNamespace(engine=engine, streams=None)
    app[edge.AUTH] = SimpleNamespace(caller=known, bearer=known)
    stream.mount(app, ())
    header = {"Authorization": "Bearer key"}
    async with (
        asyncio.timeout(10),
        answering(app) as url,
        ClientSession() as session,
        session.ws_connect(f"{url}/v1/stream", headers=header) as line,
    ):
        yield line


async def _send(line, frames):
    """So many frames in one write."""
    write, gathered = line._writer.transport.write, []
    line._writer.transport.write = gathered.append
    for number in range(frames):
        await line.send_json({"at": "2026-11-22T08:00:00Z", "lat": 50 + number / 100, "lon": 8})
    line._writer.transport.write = write
    write(b"".join(gathered))


async def _answers(line, count):
    return [(await line.receive_json())["seq"] for _ in range(count)]


async def _until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def test_frames_are_taken_and_answered_in_their_order():
    engine = Engine()
    async with opened(engine) as line:
        await _send(line, 300)
        assert await _answers(line, 300) == list(range(1, 301))
    assert [request.points[0].lat for request in engine.begun] == [50 + number / 100 for number in range(300)]


async def test_no_more_frames_than_the_bound_wait_for_their_commits(monkeypatch):
    monkeypatch.setattr(stream, "IN_FLIGHT", 3)
    engine = Engine(parts=1)
    async with opened(engine) as line:
        await _send(line, 8)
        await _until(lambda: len(engine.begun) == 3)
        await asyncio.sleep(0.05)
        assert len(engine.begun) == 3
        for done in range(8):
            await _until(lambda done=done: engine.begun[done].done is not None)
            engine.begun[done].part_done()
            assert await _answers(line, 1) == [done + 1]
            assert len(engine.begun) <= done + 4


async def test_what_follows_a_frame_whose_devices_are_loaded_waits_for_it():
    engine = Engine(absent=True)
    async with opened(engine) as line:
        await _send(line, 3)
        await _until(lambda: engine.begun)
        await asyncio.sleep(0.05)
        assert len(engine.begun) == 1
        engine.loaded.set()
        assert await _answers(line, 3) == [1, 2, 3]
    assert len(engine.begun) == 3


async def test_a_frame_that_cannot_be_taken_now_is_told_by_its_number_and_the_next_one_is_taken():
    engine = Engine()
    async with opened(engine) as line:
        await _send(line, 1)
        assert await _answers(line, 1) == [1]
        engine.failure = Unavailable("full", 2.0)
        await _send(line, 1)
        said = await line.receive_json()
        assert (said["type"], said["seq"], said["retry_after_s"], said["problem"]["status"]) == ("problem", 2, 2.0, 503)
        engine.failure = None
        await _send(line, 1)
        assert await _answers(line, 1) == [3]


async def test_a_fault_of_ours_ends_the_stream_and_is_logged(caplog):
    engine = Engine()
    engine.failure = ValueError("a fault")
    async with opened(engine) as line:
        await _send(line, 1)
        assert (await line.receive()).type in {WSMsgType.CLOSE, WSMsgType.CLOSED}
    assert "a fault" in caplog.text


async def _bare(line, more=b""):
    """A connection of bare bytes to the same stream; more: what is sent in one write with its request."""
    host, port = line._writer.transport.get_extra_info("peername")[:2]
    reader, writer = await asyncio.open_connection(host, port)
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Authorization: Bearer key"]
    fields += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    writer.write("\r\n".join(["GET /v1/stream HTTP/1.1", "Host: x", *fields, "", ""]).encode() + more)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_frames_sent_behind_the_request_itself_are_taken():
    ping = json.dumps({"at": "2026-11-22T08:00:00Z", "lat": 1, "lon": 2}).encode()
    frame = bytes([0x81, 0x80 | len(ping)]) + bytes(4) + ping
    async with opened(Engine()) as line:
        reader, writer = await _bare(line, frame + frame[:9])
        writer.write(frame[9:])
        assert b'"seq":1}' in await reader.readuntil(b'"seq":2}')
        writer.close()


async def test_a_phone_that_answers_no_ping_of_ours_is_let_go_and_is_no_fault(monkeypatch, caplog):
    monkeypatch.setattr(sockets, "HEARTBEAT_S", 0.2)
    async with opened(Engine()) as line:
        reader, writer = await _bare(line)
        assert (await reader.read()).startswith(b"\x89\x00")  # our ping, and then the end
        writer.close()
    assert [record.getMessage() for record in caplog.records] == []
