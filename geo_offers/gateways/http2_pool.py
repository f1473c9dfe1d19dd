"""The HTTP/2 connections to one host under one identity: made when they are needed, up to a bound, and kept.

A request that the server has not acted on goes again at once, on whatever connection is free then.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from geo_offers.gateways.http2 import Answer, Connection, Farewell, Headers, Judge, Unsent

MOST_CONNECTIONS: Final = 4
RESENDS: Final = 2
CONNECT_S: Final = 5.0
OPEN_AGAIN_S: Final = 1.0  # after a failure, while there are others
PING_S: Final = 60.0
IDLE_S: Final = 3600.0
_CLOSE_S: Final = 1.0


class Pool:
    """`url`: https, host and port. Every connection says goodbye at `close`."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        judge: Judge,
        farewell: Farewell,
        *,
        most: int = MOST_CONNECTIONS,
        ping_s: float = PING_S,
        idle_s: float = IDLE_S,
    ) -> None:
        address = urlsplit(url)
        self.authority = address.netloc
        self._host = address.hostname or ""
        self._port = address.port or 443
        self._context = context
        self._judge = judge
        self._farewell = farewell
        self._most = most
        self._ping_s = ping_s
        self._idle_s = idle_s
        self._connections: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[asyncio.Future[Connection]] = deque()
        self._open_at = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return not (self._connections or self._opening or self._waiting)

    async def request(self, headers: Headers, body: bytes, *, start_by: float, deadline: float) -> Answer:
        """Send one request, whole by `start_by`, and await its answer; both are times of the loop.

        Raises Unsent or Unanswered.
        """
        resends = RESENDS
        while True:
            connection = await self._taken(start_by)
            try:
                return await connection.request(headers, body, start_by=start_by, deadline=deadline)
            except Unsent:
                if not resends or asyncio.get_running_loop().time() >= start_by:
                    raise
                resends -= 1
            finally:
                connection.release()

    async def close(self) -> None:
        """Close every connection for good; what is under way goes unanswered."""
        self._most = 0
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        self._fail("closed")
        connections = tuple(self._connections)
        for connection in connections:
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                for connection in connections:
                    await connection.lost.wait()
        for connection in connections:
            connection.abort()

    async def _taken(self, by: float) -> Connection:
        """Wait for a connection with a stream to spare, and take it. Raises Unsent."""
        waiting: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._serve()
        try:
            async with asyncio.timeout_at(by):
                return await waiting
        except TimeoutError:
            self._withdraw(waiting)
            raise Unsent("no free connection in time") from None
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise

    def _withdraw(self, waiting: asyncio.Future[Connection]) -> None:
        """Take a place in the line back, or what it was given in its last moment."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif not waiting.cancelled() and waiting.exception() is None:
            waiting.result().release()

    def _serve(self) -> None:
        """Hand out what is free, in the order of asking; open more where that does not do."""
        self._connections = [connection for connection in self._connections if not connection.lost.is_set()]
        while self._waiting:
            free = next((connection for connection in self._connections if connection.free), None)
            if free is None:
                break
            waiting = self._waiting.popleft()
            if not waiting.done():
                free.take()
                waiting.set_result(free)
        loop = asyncio.get_running_loop()
        if self._connections and loop.time() < self._open_at:
            return
        kept = sum(not connection.retired for connection in self._connections)
        for _ in range(len(self._opening), min(len(self._waiting), self._most - kept)):
            task = loop.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _fail(self, why: str) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(Unsent(why))

    async def _open(self) -> None:
        """Open one more. Where that fails and there is no other, nobody need wait."""
        try:
            connection = await self._connect()
        except Unsent as error:
            self._open_at = asyncio.get_running_loop().time() + OPEN_AGAIN_S
            if not self._connections:
                self._fail(str(error))
        else:
            self._connections.append(connection)
        self._serve()

    async def _connect(self) -> Connection:
        """Connect, and hear what the server allows. Raises Unsent."""
        connection = Connection(self._judge, self._farewell, self._serve, ping_s=self._ping_s, idle_s=self._idle_s)
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, self._host, self._port, ssl=self._context, ssl_shutdown_timeout=_CLOSE_S
                )
                await connection.greeted.wait()
        except (OSError, ValueError) as error:
            connection.abort()
            raise Unsent(type(error).__name__) from error
        except asyncio.CancelledError:
            connection.abort()
            raise
        if connection.retired:
            raise Unsent(connection.goodbye or "no HTTP/2 spoken")
        return connection
