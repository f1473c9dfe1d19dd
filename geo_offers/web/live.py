"""GET /v1/live: the workspace's feed as server-sent events. No coordinates; users as the caller may know them.

A reader that takes nothing for ten seconds is cut off, so that it holds no memory but its own bounded queue. One whose
key is revoked is, too.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import msgspec
from aiohttp import web

from geo_offers import wire
from geo_offers.errors import Forbidden, TooManyRequests, Unauthenticated, Unavailable
from geo_offers.pipeline.live import Event, Reader
from geo_offers.pipeline.management import UserNames
from geo_offers.web import bodies
from geo_offers.web.auth import Authenticator
from geo_offers.web.edge import AUTH, SERVICES

HEARTBEAT_S: Final = 15.0
WRITE_S: Final = 10.0
BATCH: Final = 100  # events a write
KEY_CHECK_S: Final = 1.0
_PERSONAL: Final = ("user", "device")  # a device that is known is as good as a name

_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that gathers output would hold the feed back
}


FEEDS: Final = web.AppKey("feeds", set[asyncio.Task[Any]])


def mount(app: web.Application) -> None:
    """The route, and the end of all feeds when the application stops: they would keep it waiting."""
    app[FEEDS] = set()
    app.router.add_get("/v1/live", live)
    app.on_shutdown.append(_end_feeds)


async def _end_feeds(app: web.Application) -> None:
    for feed in app[FEEDS]:
        feed.cancel()


async def live(request: web.Request) -> web.StreamResponse:
    """Answers until the reader goes or falls behind; goes on after `Last-Event-ID` where that is remembered."""
    header = request.headers.get("Authorization")
    caller = await request.app[AUTH].caller(header)
    if caller.kind != "manager":
        raise Forbidden("the live feed takes a manager key")
    query = bodies.convert(request.query, wire.LiveQuery)
    services = request.app[SERVICES]
    if services.live.full(caller.workspace):
        raise TooManyRequests("too many readers of this workspace's feed are open", 5.0)
    with services.live.reader(caller.workspace, _last_seen(request)) as reader:
        names = await services.decisions.names(caller)
        response = web.StreamResponse(headers=_HEADERS)
        with _open(request):
            key = asyncio.create_task(_good_key(request.app[AUTH], header), name="live key")
            feed = asyncio.create_task(_feed(request, response, reader, _Told(query.types, names)), name="live feed")
            try:
                await asyncio.wait((key, feed), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (key, feed):
                    task.cancel()
                await asyncio.gather(key, feed, return_exceptions=True)
        return response


async def _good_key(auth: Authenticator, header: str | None) -> None:
    """Returns when the key is not good any more; what the database cannot tell now is asked again."""
    with suppress(Unauthenticated):
        while True:
            await asyncio.sleep(KEY_CHECK_S)
            with suppress(Unavailable):
                await auth.caller(header)


@contextmanager
def _open(request: web.Request) -> Iterator[None]:
    """Known to `mount` as long as it is open."""
    feeds, task = request.app.get(FEEDS, set()), asyncio.current_task()
    assert task is not None
    feeds.add(task)
    try:
        yield
    finally:
        feeds.discard(task)


def _last_seen(request: web.Request) -> int | None:
    """What is no number of ours has seen nothing."""
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


class _Told:
    """Events as this reader gets them."""

    def __init__(self, types: str | None, names: UserNames) -> None:
        self._types = None if types is None else frozenset(types.split(","))
        self._names = names

    def frames(self, events: Iterable[Event]) -> bytes:
        return b"".join(
            b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.name.encode(), self._data(event.data))
            for event in events
            if self._types is None or event.name in self._types
        )

    def _data(self, data: bytes) -> bytes:
        if self._names.secret is None:
            return data
        told = msgspec.json.decode(data)
        for personal in _PERSONAL:
            if personal in told:
                told[personal] = self._names.of(UUID(told[personal]))
        return msgspec.json.encode(told)


async def _feed(request: web.Request, response: web.StreamResponse, reader: Reader, told: _Told) -> None:
    try:
        await response.prepare(request)
        await _write(response, b"retry: 2000\n\n")
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await reader.woken.wait()
            except TimeoutError:
                await _write(response, b": alive\n\n")
                continue
            reader.woken.clear()
            while reader.events:
                await _write(response, _dropped(reader) + told.frames(_taken(reader)))
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()


def _taken(reader: Reader) -> list[Event]:
    return [reader.events.popleft() for _ in range(min(BATCH, len(reader.events)))]


def _dropped(reader: Reader) -> bytes:
    """What the reader lost since it was last told."""
    if not reader.dropped:
        return b""
    lost, reader.dropped = reader.dropped, 0
    return b'event: dropped\ndata: {"dropped":%d}\n\n' % lost


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(WRITE_S):
            await response.write(data)
