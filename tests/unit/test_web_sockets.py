"""What goes out over a stream's socket, and when: frames as bytes, over a real connection."""

import asyncio
import os
from base64 import b64encode
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, WSMsgType, web

from geo_offers.web import sockets
from geo_offers.web.sockets import Socket
from tests.support.loopback import answering

TEXT, BINARY, CLOSE = 0x81, 0x82, 0x88


def frame(kind, data=b""):
    """As a client sends it, masked by nothing."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return bytes([kind]) + size + b"\0\0\0\0" + data


class Phone:
    """The other end: writes bytes, reads frames."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def told(self):
        kind, size = await self.reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
        return kind, await self.reader.readexactly(size)


@asynccontextmanager
async def opened(answer):
    """A phone on a socket that answers each text by `answer`, and what was written to it, write by write."""
    writes = []

    async def handler(request):
        socket = Socket()
        await socket.prepare(request)
        write = request.transport.write
        request.transport.write = lambda data: (writes.append(bytes(data)), write(data))
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            await socket.send(answer(message.data))
        if message.type is WSMsgType.BINARY:
            await socket.close(code=1003)
        return socket

    app = web.Application()
    app.router.add_get("/", handler)
    async with answering(app) as url, asyncio.timeout(10):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        key = b64encode(os.urandom(16)).decode()
        fields = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        yield Phone(reader, writer), writes
        writer.close()


async def test_answers_to_frames_that_come_together_go_out_together_and_in_their_order():
    async with opened(str.encode) as (phone, writes):
        phone.writer.write(b"".join(frame(TEXT, b"%d" % number) for number in range(20)))
        assert [await phone.told() for _ in range(20)] == [(TEXT, b"%d" % number) for number in range(20)]
        assert len(writes) == 1


async def test_what_is_taken_as_it_comes_is_not_received_and_what_is_not_keeps_its_place():
    taken, received = [], []

    def at_once(said):
        if said.startswith("a"):
            taken.append(said)
        return said.startswith("a")

    async def handler(request):
        socket = Socket()
        await socket.prepare(request)
        while (message := await socket.receive_or(at_once)).type is WSMsgType.TEXT:
            received.append(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", handler)
    async with answering(app) as url, ClientSession() as session:
        line = await session.ws_connect(url)
        write, gathered = line._writer.transport.write, []
        line._writer.transport.write = gathered.append
        for said in ("a1", "a2", "b3", "a4", "b5"):
            await line.send_str(said)
        line._writer.transport.write = write
        write(b"".join(gathered))
        await asyncio.sleep(0.1)
        await line.send_str("a6")
        await line.close()
    assert (taken, received) == (["a1", "a2", "a6"], ["b3", "a4", "b5"])


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (frame(CLOSE, (1000).to_bytes(2)), 1000),
        (frame(BINARY, b"x"), 1003),
        (b"\x81\xff" + (2**20).to_bytes(8) + bytes(4), 1009),
        (b"\x83\x80" + bytes(4), 1002),
    ],
    ids=["hangs up", "binary", "too large", "no such frame"],
)
async def test_what_was_said_before_the_end_is_answered_before_the_end(last, code):
    async with opened(str.encode) as (phone, _):
        phone.writer.write(frame(TEXT, b"a") + frame(TEXT, b"b") + last)
        assert [await phone.told() for _ in range(2)] == [(TEXT, b"a"), (TEXT, b"b")]
        kind, said = await phone.told()
        assert (kind, int.from_bytes(said[:2])) == (CLOSE, code)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
async def test_a_text_of_any_length_is_one_frame(size):
    async with opened(lambda said: b"x" * int(said)) as (phone, _):
        phone.writer.write(frame(TEXT, b"%d" % size))
        assert await phone.told() == (TEXT, b"x" * size)


async def test_nothing_is_said_after_the_end():
    socket = Socket()

    async def handler(request):
        await socket.prepare(request)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", handler)
    async with answering(app) as url, ClientSession() as session, session.ws_connect(url) as line:
        assert (await line.receive()).type is WSMsgType.CLOSE
        with pytest.raises(ConnectionResetError):
            await socket.send(b"late")


async def test_a_phone_that_does_not_read_is_let_go_without_a_word(monkeypatch):
    monkeypatch.setattr(sockets, "SEND_S", 0.1)
    gone = asyncio.get_running_loop().create_future()

    async def handler(request):
        socket = Socket()
        await socket.prepare(request)
        try:
            while True:
                await socket.send(b"x" * 60_000)
        except ConnectionResetError:
            gone.set_result(request.transport is None or request.transport.is_closing())
        return socket

    app = web.Application()
    app.router.add_get("/", handler)
    async with answering(app) as url, ClientSession() as session, session.ws_connect(url):
        assert await asyncio.wait_for(gone, 5)
