"""For operators: is it alive, is it ready, how is it doing."""

from typing import Final

from aiohttp import web

from geo_offers.pipeline.services import Services
from geo_offers.web.edge import SERVICES
from geo_offers.web.health import Health

HEALTH: Final = web.AppKey("health", Health)


async def livez(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """503 while stopping or where the database does not answer."""
    failing = await request.app[HEALTH].failing()
    if failing is None:
        return web.json_response({"status": "ready"})
    return web.json_response({"status": "not ready", "reason": failing}, status=503, headers={"Retry-After": "2"})


async def metrics(request: web.Request) -> web.Response:
    services: Services = request.app[SERVICES]
    services.engine.observe()
    services.figures.streams.set(len(services.streams))
    return web.Response(
        body=services.figures.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )
