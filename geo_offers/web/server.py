"""The listening socket, with the deadlines that aiohttp leaves to its users.

A connection that never sends its headers is closed. Between requests aiohttp closes idle connections by itself
(keep-alive); before the first request it waits for ever, and so it does with an answer that nobody reads, even on a
connection it has closed. At the stop a call under way has some seconds to end; aiohttp would wait for the whole of its
bound, twice, for a feed that never does.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from geo_offers.errors import Misconfigured
from geo_offers.web.connections import Door, most_connections

HEADERS_S: Final = 5.0
KEEP_ALIVE_S: Final = 75.0
BACKLOG: Final = 1024
UNREAD_S: Final = 30.0  # so long may a client leave an answer unread
STOP_S: Final = 3.0  # for the calls under way; then for those whose client does not read or does not send
PART_S: Final = 1.0  # for the streams to say goodbye
ENDLESS: Final = frozenset({"/v1/live", "/v1/stream"})


class HeaderDeadline:
    """Closes a connection that has not sent a whole first request head after `seconds`."""

    def __init__(self, seconds: float = HEADERS_S) -> None:
        self._seconds = seconds
        self._waiting: dict[Any, asyncio.TimerHandle] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()

    def guard(self, factory: Callable[[], Any]) -> Callable[[], Any]:
        """The protocol factory with a timer on each connection."""

        def guarded() -> Any:
            protocol = factory()
            timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, protocol)
            self._waiting[protocol] = timer
            return protocol

        return guarded

    def _expire(self, protocol: Any) -> None:
        self._waiting.pop(protocol, None)
        if protocol.transport is not None:
            protocol.transport.close()

    def middleware(self) -> Any:
        """Lets a connection live on whose first request is here, and knows which requests are under way."""

        @web.middleware
        async def arrived(request: web.Request, handler: Any) -> web.StreamResponse:
            timer = self._waiting.pop(request.protocol, None)
            if timer is not None:
                timer.cancel()
            under_way = self._streams if request.path in ENDLESS else self._calls
            task = asyncio.current_task()
            assert task is not None
            under_way.add(task)
            task.add_done_callback(under_way.discard)  # after its answer is written, too
            answer: web.StreamResponse = await handler(request)
            return answer

        return arrived

    async def finish(self) -> None:
        """Waits for the calls under way, then ends what is left of them and of the streams."""
        for tasks, patience_s in ((self._calls, STOP_S), (self._streams, PART_S)):
            if tasks:
                await asyncio.wait(tasks, timeout=patience_s)
            for task in tuple(tasks):
                task.cancel()


class Listener:
    """An application that answers on a socket; port 0 picks a free one."""

    def __init__(self, app: web.Application, deadline: HeaderDeadline) -> None:
        self._deadline = deadline
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=8_190,
            max_field_size=8_190,
            shutdown_timeout=STOP_S,
            handler_cancellation=True,
        )
        self._server: asyncio.Server | None = None
        self._door: Door | None = None
        self.host = ""
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Raises Misconfigured where the address cannot be had."""
        await self._runner.setup()
        assert self._runner.server is not None
        self._door = Door(self._deadline.guard(self._runner.server), most_connections())
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._door, host, port, backlog=BACKLOG, reuse_address=True)
        except OSError as error:
            await self._runner.cleanup()
            raise Misconfigured(
                f"cannot listen on {host} port {port}: {error.strerror or error}; "
                "choose another by GEO_OFFERS_HOST and GEO_OFFERS_PORT (0 picks a free one)"
            ) from error
        for listening in self._server.sockets:
            _let_go_of_unread(listening)
        name = self._server.sockets[0].getsockname()
        self.host, self.port = name[0], name[1]

    async def stop(self) -> None:
        """Takes no more connections, then lets the open ones finish within their bound."""
        if self._server is not None:
            self._server.close()
        if self._door is not None:
            self._door.close()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._runner.cleanup(), self._deadline.finish())


def _let_go_of_unread(listening: Any) -> None:
    """Has the kernel end a connection whose client acknowledges nothing, or has no room, for so long.

    Each connection has it from its listening socket. Linux only; elsewhere the kernel's own patience holds.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        with listening.dup() as same:  # uvloop's stand-in for a socket sets no options
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_S * 1000))


def url_of(host: str, port: int) -> str:
    """The address as a URL; IPv6 in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
