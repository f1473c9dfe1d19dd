"""The aiohttp application: the table of calls mounted, with the few routes that stream."""

from collections.abc import Collection
from typing import Final

from aiohttp import web

from geo_offers.pipeline.idempotency import Idempotency
from geo_offers.pipeline.services import Services
from geo_offers.web import (
    breakers,
    campaigns,
    decisions,
    devices,
    events,
    geofences,
    imports,
    interactions,
    live,
    me,
    ops,
    outbox,
    pings,
    preferences,
    private,
    profile,
    push,
    receipts,
    segments,
    stores,
    stream,
    webhooks,
    workspace,
)
from geo_offers.web.auth import Authenticator
from geo_offers.web.calls import IMPORT_BODY, Call
from geo_offers.web.edge import AUTH, IDEMPOTENCY, SERVICES, errors_to_problems, handler
from geo_offers.web.health import Health
from geo_offers.web.openapi import document
from geo_offers.web.server import HeaderDeadline

CALLS: Final[tuple[Call, ...]] = (
    *devices.CALLS,
    *me.CALLS,
    *preferences.CALLS,
    *profile.CALLS,
    *pings.CALLS,
    *workspace.CALLS,
    *push.CALLS,
    *stores.CALLS,
    *segments.CALLS,
    *geofences.CALLS,
    *imports.CALLS,
    *private.CALLS,
    *campaigns.CALLS,
    *outbox.CALLS,
    *breakers.CALLS,
    *events.CALLS,
    *interactions.CALLS,
    *receipts.CALLS,
    *webhooks.CALLS,
    *decisions.CALLS,
)


def application(
    services: Services,
    auth: Authenticator,
    idempotency: Idempotency,
    health: Health,
    *,
    origins: Collection[str],
    deadline: HeaderDeadline,
) -> web.Application:
    """Mounts every call; whoever listens adds the deadline to the socket."""
    app = web.Application(client_max_size=IMPORT_BODY, middlewares=[deadline.middleware(), errors_to_problems])
    app[SERVICES] = services
    app[AUTH] = auth
    app[IDEMPOTENCY] = idempotency
    app[ops.HEALTH] = health
    for call in CALLS:
        app.router.add_route(call.method, call.path, handler(call))
    preferences.mount(app)
    stream.mount(app, origins)
    live.mount(app)
    app.router.add_get("/livez", ops.livez)
    app.router.add_get("/readyz", ops.readyz)
    app.router.add_get("/metrics", ops.metrics)
    described = document(CALLS)

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/v1/openapi.json", openapi)
    return app
