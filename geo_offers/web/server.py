"""The listening socket, with the deadlines that aiohttp leaves to its users.

A connection that never sends its headers is closed. Between requests aiohttp closes idle connections by itself
(keep-alive); before the first request it waits for ever.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

HEADERS_S: Final = 5.0
KEEP_ALIVE_S: Final = 75.0
BACKLOG: Final = 1024


class HeaderDeadline:
    """Closes a connection that has not sent a whole first request head after `seconds`."""

    def __init__(self, seconds: float = HEADERS_S) -> None:
        self._seconds = seconds
        self._waiting: dict[Any, asyncio.TimerHandle] = {}

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
        """Lets a connection live on whose first request is here."""

        @web.middleware
        async def arrived(request: web.Request, handler: Any) -> web.StreamResponse:
            timer = self._waiting.pop(request.protocol, None)
            if timer is not None:
                timer.cancel()
            answer: web.StreamResponse = await handler(request)
            return answer

        return arrived


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
            shutdown_timeout=10.0,
            handler_cancellation=True,
        )
        self._server: asyncio.Server | None = None
        self.host = ""
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Raises OSError where the address cannot be had."""
        await self._runner.setup()
        assert self._runner.server is not None
        factory = self._deadline.guard(self._runner.server)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(factory, host, port, backlog=BACKLOG, reuse_address=True)
        name = self._server.sockets[0].getsockname()
        self.host, self.port = name[0], name[1]

    async def stop(self) -> None:
        """Takes no more connections, then lets the open ones finish within their bound."""
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._runner.cleanup()


def url_of(host: str, port: int) -> str:
    """The address as a URL; IPv6 in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
