"""A server that does nothing: it takes the sender's requests by their lengths alone and answers each `accepted`.

It shows how fast the sender itself is: what a line reaches here, the sender does not stand in the way of.
"""

import asyncio
import multiprocessing
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Final, cast

from bench.sending import ACCEPTED

_LENGTH: Final = re.compile(rb"Content-Length: (\d+)")
_RESULT: Final = b'{"status":' + ACCEPTED + b"}"
_START_S: Final = 10.0


class Echo(asyncio.Protocol):
    """One connection, WebSocket or HTTP; each request is taken to hold as many pings as it has `"lat"`s."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._rest = b""
        self._frames = 0
        self._stream = False
        self._pings = 0
        self._results = b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._stream and data.startswith(b"GET "):
            _, _, data = data.partition(b"\r\n\r\n")
            self._stream = True
            self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        self._rest = self._frames_of(data) if self._stream else self._requests_of(data)

    def _frames_of(self, data: bytes) -> bytes:
        at, said = 0, list[bytes]()
        while len(data) - at >= 6:
            size, start = data[at + 1] & 127, at + 6
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 8
            if start + size > len(data):
                break
            self._frames += 1
            answer = self._answer(data, start, start + size) + b',"seq":%d}' % self._frames
            length = bytes((len(answer),)) if len(answer) < 126 else b"\x7e" + len(answer).to_bytes(2, "big")
            said.append(b"\x81" + length + answer)
            at = start + size
        self._transport.write(b"".join(said))
        return data[at:]

    def _requests_of(self, data: bytes) -> bytes:
        while (head := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if end > len(data):
                break
            answer = self._answer(data, head, end) + b"}"
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            data = data[end:]
        return data

    def _answer(self, data: bytes, start: int, end: int) -> bytes:
        pings = 1 if end - start < 256 else data.count(b'"lat"', start, end)
        if pings != self._pings:
            self._pings = pings
            self._results = b'{"results":[' + b",".join([_RESULT] * pings) + b'],"transitions":[],"offers":[]'
        return self._results


@contextmanager
def running(core: int | None) -> Iterator[str]:
    """In a process of its own, on that core; gives its address."""
    ours, its = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(its, core), daemon=True)
    child.start()
    try:
        if not ours.poll(_START_S):
            raise RuntimeError("the echo did not start")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        child.terminate()
        child.join()


def _serve(tell: Connection, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(_listen(tell))
    else:
        uvloop.run(_listen(tell))


async def _listen(tell: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    tell.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()
