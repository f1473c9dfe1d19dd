"""The sender's connections, as thin as can be: prepared bytes out, and of the answers only what is counted.

A client with a pool, time-outs and typed answers would cost as much as the server, and its waits would be measured
instead. One line is one phone's connection.
"""

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bench.openloop import Outcome

Sink = Callable[[int, Outcome, int], None]
"""Number of the ping, what became of it, and its transitions."""
TOO_MUCH: Final = frozenset({429, 503})
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class _Result(msgspec.Struct):
    status: str


class _Refusal(msgspec.Struct):
    status: int


class _Answer(msgspec.Struct):
    type: str | None = None
    seq: int | None = None
    results: list[_Result] = []
    transitions: list[msgspec.Raw] = []
    problem: _Refusal | None = None


_answer = msgspec.json.Decoder(_Answer)


def _outcome(answer: _Answer) -> Outcome:
    if answer.problem is not None:
        return Outcome.SHED if answer.problem.status in TOO_MUCH else Outcome.FAILED
    accepted = answer.results and all(result.status == "accepted" for result in answer.results)
    return Outcome.OK if accepted else Outcome.FAILED


class Line(asyncio.Protocol):
    """A connection that sends numbered pings and tells the sink what became of each."""

    def __init__(self, token: str, host: str) -> None:
        self._token = token
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sink: Sink = _nowhere

    @classmethod
    async def connect(cls, url: str, token: str) -> "Line":
        address = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: cls(token, address.netloc), address.hostname, address.port)
        async with asyncio.timeout(10):
            await line.ready
        return line

    def send(self, number: int, ping: bytes) -> None:
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether nothing that was sent waits for its answer."""
        raise NotImplementedError

    def drop(self) -> None:
        """Forget what was not sent yet."""

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    @property
    def _lost(self) -> bool:
        return self._transport is None or self._transport.is_closing()


def _nowhere(_number: int, _outcome: Outcome, _transitions: int) -> None:
    """Where late answers of an earlier run go."""


class StreamLine(Line):
    """`GET /v1/stream`: one ping a text frame, sent when it is due, answers told apart by their frame's number."""

    def __init__(self, token: str, host: str) -> None:
        super().__init__(token, host)
        self._frames = 0
        self._asked: dict[int, tuple[int, Sink]] = {}
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        key = b64encode(os.urandom(16)).decode()
        self._write(
            (
                f"GET /v1/stream HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._token}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            ).encode()
        )

    def send(self, number: int, ping: bytes) -> None:
        if self._lost:
            self.sink(number, Outcome.FAILED, 0)
            return
        self._frames += 1
        self._asked[self._frames] = number, self.sink
        self._write(_frame(_TEXT, ping))

    @property
    def idle(self) -> bool:
        return not self._asked

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open and not self._opened():
            return
        while (frame := self._take_frame()) is not None:
            kind, payload = frame
            if kind == _TEXT:
                self._answered(_answer.decode(payload))
            elif kind == _PING:
                self._write(_frame(_PONG, payload))
            elif kind == _CLOSE:
                self.close()

    def _opened(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        status = bytes(self._buffer[9:12])
        del self._buffer[: end + 4]
        if status != b"101":
            self.ready.set_exception(ConnectionError(f"the stream was refused with {status.decode()}"))
            self.close()
            return False
        self._open = True
        self.ready.set_result(None)
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """The next whole frame of the server's, which never masks and never cuts its short texts."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        kind, payload = buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return kind, payload

    def _answered(self, answer: _Answer) -> None:
        asked = self._asked.pop(answer.seq, None) if answer.seq is not None else None
        if asked is not None:
            asked[1](asked[0], _outcome(answer), len(answer.transitions))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the server closed the stream"))
        for number, sink in self._asked.values():
            sink(number, Outcome.FAILED, 0)
        self._asked.clear()


def _frame(kind: int, payload: bytes) -> bytes:
    """A client's frame must be masked; under a mask of zeros the server does the same work and the sender none."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((0x80 | kind,)) + length + b"\x00\x00\x00\x00" + payload
