"""A WebSocket whose texts of one pass of the event loop go out together.

A write of its own is the dearest part of a small answer: a call into the system, and a client that is woken for it. A
client that sends many frames gets its answers in as few writes as its frames came in reads.
"""

import asyncio
from functools import lru_cache
from typing import Final

from aiohttp import WSCloseCode, web
from aiohttp.abc import AbstractStreamWriter

FRAME: Final = 64 * 1024
SEND_S: Final = 10.0
UNREAD: Final = 32 * 1024
HEARTBEAT_S: Final = 30.0


class Socket(web.WebSocketResponse):
    """Takes frames of up to `FRAME` bytes; a phone that takes nothing for `SEND_S` is let go."""

    def __init__(self) -> None:
        super().__init__(max_msg_size=FRAME, compress=False, heartbeat=HEARTBEAT_S, autoping=True, timeout=2.0)
        self._gathered: list[bytes] = []
        self._size = 0
        self._ended = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Raises ConnectionResetError where the phone is gone already."""
        self._out = await super().prepare(request)
        if request.transport is None:
            raise ConnectionResetError("the phone is gone")
        self._transport = request.transport
        return self._out

    async def send(self, text: bytes) -> None:
        """Does not wait while the phone reads. Raises ConnectionResetError where it is gone, or let go.

        It is let go without a word, which it would not read either. What it missed is still due.
        """
        if self._ended:
            raise ConnectionResetError("the stream is over")
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        size = len(text)
        self._gathered += (_head(size), text)
        self._size += size
        if self._size + self._transport.get_write_buffer_size() >= UNREAD:
            await self._room()

    async def _room(self) -> None:
        """Waits until the line is not full any more, which it is at 64 KiB."""
        self._flush()
        try:
            async with asyncio.timeout(SEND_S):
                await self._out.drain()
        except TimeoutError as error:
            self._transport.abort()
            raise ConnectionResetError("the phone does not read") from error

    def _flush(self) -> None:
        if self._gathered and not self._transport.is_closing():
            self._transport.write(b"".join(self._gathered))
        self._gathered.clear()
        self._size = 0

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """What was to be sent goes first."""
        self._flush()
        self._ended = True
        return await super().close(code=code, message=message, drain=drain)


@lru_cache(maxsize=1_024)
def _head(size: int) -> bytes:
    """What comes before a text of so many bytes: one whole frame, which a server does not mask (RFC 6455, 5.2)."""
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big")
    return b"\x81\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")
