"""A WebSocket that takes a text as it comes, and writes those of one pass of the event loop at once.

A phone sends a small frame and waits for its answer. To wake a task for it costs more than to take the ping, and so
does a write for each of many answers: a call into the system, and a client that is woken. So a text is offered to
`at_once` from within the transport's callback, and what is answered goes out together when the loop has gone round.

aiohttp does the rest: handshake, frames, masks, control frames, heartbeat, closing. It reads into a queue; ours keeps
for `receive` what is not taken at once, and all that comes behind it.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader  # decision 14 says why
from aiohttp._websocket.writer import WebSocketWriter
from aiohttp.abc import AbstractStreamWriter

FRAME: Final = 64 * 1024
SEND_S: Final = 10.0
UNREAD: Final = 32 * 1024
HEARTBEAT_S: Final = 30.0
AHEAD: Final = 256 * 1024  # reading pauses where twice as much waits to be received

AtOnce = Callable[[str], bool]


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

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        """As aiohttp's, with a queue of our own."""
        self._ws_protocol = protocol
        self._writer = writer
        self._reset_heartbeat()
        self._reader = self._queue = _Queue(request.protocol, AHEAD, loop=asyncio.get_running_loop())
        self._parser = WebSocketReader(self._queue, FRAME, compress=False, decode_text=True)
        request.protocol.set_parser(self._parser, data_received_cb=self._on_data_received)
        request.protocol.keep_alive(False)

    # ------------------------------------------------------------------------------------------ what comes
    async def receive_or(self, at_once: AtOnce) -> WSMessage:
        """The next message that `at_once` does not take: it is asked about each text as it comes.

        It says whether it has taken it, and waits for nothing.
        """
        self._queue.at_once = at_once
        try:
            return await self.receive()
        finally:
            self._queue.at_once = None

    # ------------------------------------------------------------------------------------------ what goes
    def put(self, text: bytes) -> None:
        """Raises ConnectionResetError where the stream is over."""
        if self._ended:
            raise ConnectionResetError("the stream is over")
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        size = len(text)
        self._gathered += (_head(size), text)
        self._size += size

    @property
    def is_full(self) -> bool:
        """Whether the phone is behind with reading."""
        return self._size + self._transport.get_write_buffer_size() >= UNREAD

    async def room(self) -> None:
        """Waits while the phone is far behind. One that takes nothing for long is let go, without a word.

        It would not read that either; what it missed is still due. Raises ConnectionResetError then.
        """
        if not self.is_full:
            return
        self._flush()
        try:
            async with asyncio.timeout(SEND_S):
                await self._out.drain()  # waits from 64 KiB on
        except TimeoutError as error:
            self._transport.abort()
            raise ConnectionResetError("the phone does not read") from error

    async def send(self, text: bytes) -> None:
        """`put`, then wait for `room`."""
        self.put(text)
        await self.room()

    def _flush(self) -> None:
        if self._gathered and not self._transport.is_closing():
            self._transport.write(b"".join(self._gathered))
        self._gathered.clear()
        self._size = 0

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """What was to be sent goes first."""
        self._flush()
        self._ended = True
        self._queue.at_once = None
        return await super().close(code=code, message=message, drain=drain)


class _Queue(WebSocketDataQueue):
    """Offers texts to `at_once` while there is one; from the first message on that it does not take there is none."""

    at_once: AtOnce | None = None

    def feed_data(self, data: Any, size: int) -> None:
        if self.at_once is not None:
            if data.type is WSMsgType.TEXT and self.at_once(data.data):
                return
            self.at_once = None
        super().feed_data(data, size)


@lru_cache(maxsize=1_024)
def _head(size: int) -> bytes:
    """What comes before a text of so many bytes: one whole frame, which a server does not mask (RFC 6455, 5.2)."""
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big")
    return b"\x81\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")
