"""The lane `webhook`: a push gateway that reads the body and answers 202."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web

from bench.gateways import Gateway, Peer, Phone
from geo_offers.gateways.webhook import WebhookLane
from tests.support.loopback import answering

SECRET: Final = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@asynccontextmanager
async def serve() -> AsyncIterator[Gateway]:
    taken = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal taken
        await request.read()
        taken += 1
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/push", take)
    async with answering(app) as url:
        yield Gateway(f"{url}/push", lambda: taken)


@asynccontextmanager
async def lane(about: Any) -> AsyncIterator[WebhookLane]:
    connector = aiohttp.TCPConnector(limit=0)  # as the service has it: the lane bounds itself
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield WebhookLane(session, about, [SECRET])


def phone(_about: Any, number: int) -> Phone:
    return Phone("android", f"token-{number}")


PEER: Final = Peer(serve, lane, phone)
