"""The demo's own small site on the loopback address: the page, the town, and the feed. The browser never gets a key."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from geo_offers.client import ClientError
from geo_offers.demo.feed import Feed
from geo_offers.demo.stage import Stage
from geo_offers.errors import Misconfigured

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Presence = Callable[[int | None], Mapping[str, Any] | None]
About = Callable[[int], Awaitable[Mapping[str, Any] | None]]
Outcomes = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_PATIENCE_S = 10.0  # a browser that takes nothing for so long is gone

FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)
STAGE: web.AppKey[Stage] = web.AppKey("stage", Stage)
TOWN: web.AppKey[bytes] = web.AppKey("town", bytes)
ABOUT: web.AppKey[About] = web.AppKey("about")
PRESENCE: web.AppKey[Presence] = web.AppKey("presence")
OUTCOMES: web.AppKey[Outcomes] = web.AppKey("outcomes")


def console() -> Path:
    """Where the pages lie, and beside them the browser libraries that the set-up fetched."""
    return Path(str(files("geo_offers"))) / "web" / "console"


def check() -> None:
    """Raise Misconfigured where the set-up did not fetch the browser libraries."""
    if not (console() / "static" / "leaflet" / "leaflet.js").is_file():
        raise Misconfigured("the page's browser libraries are missing: run `make setup`, which fetches them")


def build(
    feed: Feed, stage: Stage, town: Mapping[str, Any], *, about: About, presence: Presence, outcomes: Outcomes
) -> web.Application:
    """Build the site.

    town: what the page draws once. about: answers what is known of one person. presence: what one phone's last minutes
    were like, or those of one that is about to arrive. outcomes: what came of each campaign's arrivals.
    """
    app = web.Application(middlewares=[_guard])
    app[FEED], app[STAGE], app[TOWN], app[ABOUT] = feed, stage, msgspec.json.encode(town), about
    app[PRESENCE], app[OUTCOMES] = presence, outcomes
    app.router.add_get("/", _index)
    app.router.add_get("/favicon.ico", _favicon)
    app.router.add_get("/demo/town", _town)
    app.router.add_get("/demo/feed", _feed, allow_head=False)
    app.router.add_get(r"/demo/people/{n:\d{1,9}}", _person)
    app.router.add_get("/demo/presence", _presence)
    app.router.add_get(r"/demo/presence/{n:\d{1,9}}", _presence)
    app.router.add_get("/demo/campaigns", _campaigns)
    app.router.add_static("/pages", console() / "pages")
    app.router.add_static("/static", console() / "static")
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only by a loopback name (a page elsewhere could point its own name at us), and never without our headers."""
    if request.host.rpartition(":")[0] not in {"127.0.0.1", "localhost"}:
        raise web.HTTPMisdirectedRequest(text="this page answers to 127.0.0.1 alone\n")
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        refusal.headers.update(_HEADERS)
        raise
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


async def _index(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(console() / "pages" / "index.html")


async def _favicon(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(console() / "pages" / "mark.svg")


async def _town(request: web.Request) -> web.Response:
    return web.Response(body=request.app[TOWN], content_type="application/json")


async def _person(request: web.Request) -> web.Response:
    told = await request.app[ABOUT](int(request.match_info["n"]))
    if told is None:
        raise web.HTTPNotFound(text="this person has left the town\n")
    return web.Response(body=msgspec.json.encode(told), content_type="application/json")


async def _presence(request: web.Request) -> web.Response:
    """`null` where nobody is about to arrive, or the phone has told nothing."""
    n = request.match_info.get("n")
    told = request.app[PRESENCE](None if n is None else int(n))
    return web.Response(body=msgspec.json.encode(told), content_type="application/json")


async def _campaigns(request: web.Request) -> web.Response:
    try:
        told = await request.app[OUTCOMES]()
    except ClientError as error:
        raise web.HTTPServiceUnavailable(text="the service does not answer\n", headers={"Retry-After": "5"}) from error
    return web.Response(body=msgspec.json.encode(told), content_type="application/json")


async def _feed(request: web.Request) -> web.StreamResponse:
    feed, stage = request.app[FEED], request.app[STAGE]
    if feed.full:
        raise web.HTTPServiceUnavailable(text="too many pages watch already\n", headers={"Retry-After": "10"})
    response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    with feed.watch() as watcher:
        try:
            await response.write(b"retry: 1000\n\n" + stage.hello())
            async for chunk in watcher.chunks():
                async with asyncio.timeout(_PATIENCE_S):
                    await response.write(chunk)
        except (ConnectionError, TimeoutError):
            return response  # the browser went away, or stopped reading
    return response
