"""How many connections are open at once, and what the next one is told.

Each connection takes a file descriptor, and a process that has none left can reach neither its database nor its push
gateway. So the bound lies below what the system allows: the rest is the service's own. Past it a request is answered
503 with Retry-After as soon as its head begins to arrive; of many that keep silent the oldest are cut off.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from geo_offers.errors import Unavailable
from geo_offers.web import problems

CONNECTIONS: Final = 65_536  # a silent one takes some 20 KB: more than a GB of all of them
OWN: Final = 256  # descriptors for the service itself: at most 100 to the database and 100 to the push gateway, files
REFUSALS: Final = 64  # connections beyond the bound that are held for as long as it takes to answer them
REFUSAL_S: Final = 5.0
AGAIN_S: Final = 5.0
WARN_S: Final = 60.0

_log = structlog.get_logger()


def most_connections() -> int:
    """How many may be open at once, after raising this process's limit of descriptors as far as it is allowed to.

    The usual limit of 1,024 is one that any process may raise; it is kept low for programs that use `select`.
    """
    try:
        import resource  # noqa: PLC0415 - absent on Windows, where this module must still import
    except ImportError:
        return CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OWN
    if soft < wanted:
        with suppress(ValueError, OSError):  # macOS names a hard limit that it does not grant
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return min(CONNECTIONS, max(soft - OWN, soft // 2))


class Door:
    """A protocol factory: those of `factory` for `most` connections at a time, refusals for the others."""

    def __init__(self, factory: Callable[[], Any], most: int) -> None:
        self._factory = factory
        self._most = most
        self._inside: set[Any] = set()
        self._refused: dict[_Refusal, None] = {}  # the oldest first
        self._warned_s = -WARN_S

    def __call__(self) -> asyncio.Protocol:
        return _Guest(self)

    def enter(self) -> Any:
        """The protocol of a connection that has just come; to be given back by `leave`."""
        if len(self._inside) < self._most:
            protocol = self._factory()
            self._inside.add(protocol)
            return protocol
        self._warn()
        if len(self._refused) >= REFUSALS:
            oldest = next(iter(self._refused))
            self.leave(oldest)
            oldest.abort()
        refusal = _Refusal()
        self._refused[refusal] = None
        return refusal

    def leave(self, protocol: Any) -> None:
        self._inside.discard(protocol)
        self._refused.pop(protocol, None)

    def close(self) -> None:
        """Ends what is being refused; the others are the factory's."""
        for refusal in tuple(self._refused):
            refusal.abort()

    def _warn(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._warned_s >= WARN_S:
            self._warned_s = now_s
            _log.warning("all connections are taken; new ones are answered 503", connections=self._most)


class _Guest(asyncio.Protocol):
    """One connection. It is counted where it is made and where it is lost, which the transport tells nobody else."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._protocol: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocol = self._door.enter()
        self._protocol.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._door.leave(self._protocol)
        self._protocol.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        kept: bool | None = self._protocol.eof_received()
        return kept

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class _Refusal(asyncio.Protocol):
    """Says 503 once the request begins to arrive: a connection closed on unread bytes takes its answer back."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._deadline = asyncio.get_running_loop().call_later(REFUSAL_S, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._deadline.cancel()

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport.write(_FULL)
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


def _full() -> bytes:
    body, more = problems.problem(Unavailable("all connections are taken", AGAIN_S), "")
    said = msgspec.json.encode(body)
    headers = {"Content-Type": problems.TYPE, "Content-Length": str(len(said)), "Connection": "close", **more}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + said


_FULL: Final = _full()
