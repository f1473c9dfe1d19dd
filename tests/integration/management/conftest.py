"""The managers' calls as they are served: the edge, the calls and real storage, without the rest of the service."""

import io
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from geo_offers.pipeline.callers import ROLES
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.private import PrivateMemory
from geo_offers.pipeline.rehearsing import Rehearsals
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.sandbox.reader import ChildReader
from geo_offers.storage.audience import PostgresSegments
from geo_offers.storage.breakers import PostgresBreakers
from geo_offers.storage.campaigns import PostgresCampaigns
from geo_offers.storage.decisions import PostgresDecisionLog
from geo_offers.storage.events import PostgresEvents
from geo_offers.storage.geofences import PostgresGeofences
from geo_offers.storage.idempotency import PostgresIdempotency
from geo_offers.storage.imports import PostgresImports
from geo_offers.storage.interactions import PostgresInteractions
from geo_offers.storage.keys import PostgresKeys, create_key
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import Pool, open_pool
from geo_offers.storage.private import PostgresPrivatePlaces
from geo_offers.storage.rehearsals import PostgresArchive
from geo_offers.storage.sealing import Seals
from geo_offers.storage.stores import PostgresStores
from geo_offers.storage.vault import PostgresCredentials, Safe
from geo_offers.storage.workspaces import PostgresWorkspaces
from geo_offers.web import (
    breakers,
    campaigns,
    decisions,
    events,
    geofences,
    imports,
    interactions,
    live,
    private,
    push,
    stores,
    workspace,
)
from geo_offers.web.auth import Authenticator
from geo_offers.web.calls import IMPORT_BODY
from geo_offers.web.edge import AUTH, IDEMPOTENCY, SERVICES, errors_to_problems, handler

ALPHA = workspace_id("Alpha")
BETA = workspace_id("Beta")
SEALS = Seals(b64encode(bytes(32)).decode())
CALLS = (
    *workspace.CALLS,
    *push.CALLS,
    *stores.CALLS,
    *geofences.CALLS,
    *imports.CALLS,
    *campaigns.CALLS,
    *breakers.CALLS,
    *events.CALLS,
    *interactions.CALLS,
    *decisions.CALLS,
    *private.CALLS,
)


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def pointers(self) -> list[str]:
        return [fault["pointer"] for fault in self.body["errors"]]

    @property
    def codes(self) -> list[str]:
        return [fault["code"] for fault in self.body["errors"]]


def point(lon: float, lat: float, radius_m: float = 100, **properties: Any) -> dict[str, Any]:
    """A circle as a GeoJSON Feature."""
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": {"name": "Market", "radius_m": radius_m} | properties,
    }


def square(lon: float, lat: float, size: float = 0.01, **properties: Any) -> dict[str, Any]:
    """An area as a GeoJSON Feature, its corner given."""
    east, north = lon + size, lat + size
    ring = [[lon, lat], [east, lat], [east, north], [lon, north], [lon, lat]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": "Mall"} | properties,
    }


def collection(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def with_id(ident: str, feature: dict[str, Any]) -> dict[str, Any]:
    return feature | {"id": ident}


def escaped(text: str) -> str:
    return quote(text, safe="")


def campaign(**changes: Any) -> dict[str, Any]:
    """The body of a small good campaign."""
    return {
        "name": "Bread",
        "objective": "visit",
        "trigger": {"on": "enter", "fences": {"set": "town"}},
        "texts": {"en": {"title": "Warm bread", "body": "Today at {store}"}},
    } | changes


@dataclass(slots=True)
class Site:
    """A running edge with keys of every role in the workspace Alpha, an owner's in Beta, and a server key."""

    client: TestClient[web.Request, web.Application]
    services: Services
    pool: Pool
    keys: dict[str, str]

    def headers(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[who]}"}

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        who: str = "owner",
        key: str | None = None,
        query: dict[str, str] | None = None,
    ) -> Answered:
        """`body` is JSON, or bytes as they are; `path` is percent-encoded already."""
        headers = self.headers(who) | ({} if key is None else {"Idempotency-Key": key})
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        data = io.BytesIO(raw) if raw else None
        url = self.client.make_url("/").join(URL(path, encoded=True)).update_query(query or {})
        async with self.client.session.request(method, url, data=data, headers=headers) as response:
            read = await response.read()
            return Answered(response.status, json.loads(read) if read else None, dict(response.headers))

    async def get(self, path: str, who: str = "owner", **query: str) -> Answered:
        return await self.call("GET", path, who=who, query=query)

    async def all(self, path: str, limit: int, **query: str) -> list[Any]:
        """All items of a list, page by page."""
        items: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=str(limit), **query, **cursor)
            assert page.status == 200, page.body
            assert len(page.body["items"]) <= limit
            items += page.body["items"]
            if page.body["next"] is None:
                return items
            cursor = {"cursor": page.body["next"]}

    point = staticmethod(point)
    square = staticmethod(square)
    collection = staticmethod(collection)
    with_id = staticmethod(with_id)
    escaped = staticmethod(escaped)
    campaign = staticmethod(campaign)

    async def catalog_version(self) -> int:
        found = await self.pool.fetchval("SELECT catalog_version FROM workspace WHERE id = $1", ALPHA)
        return cast("int", found)


@pytest.fixture
async def pool(database: Any) -> AsyncIterator[Pool]:
    async with open_pool(database.app_dsn, size=4) as pool:
        yield pool


@pytest.fixture
async def reader() -> AsyncIterator[ChildReader]:
    async with ChildReader() as reader:
        yield reader


@pytest.fixture
async def site(pool: Pool, reader: ChildReader) -> AsyncIterator[Site]:
    nothing = cast("Any", None)  # what these calls never touch
    catalog, stored, private_places = Catalog(), PostgresGeofences(pool), PostgresPrivatePlaces(pool)
    fence_memory = FenceMemory(catalog, stored)
    services = Services(
        engine=nothing,
        catalog=catalog,
        live=LiveFeed(),
        figures=Figures(),
        tokens=nothing,
        dispatcher=Dispatcher(PostgresOutbox(pool), (), nothing),  # recalls; no lane sends
        streams=nothing,
        people=nothing,
        offers=nothing,
        looks=nothing,
        workspaces=PostgresWorkspaces(pool),
        credentials=PostgresCredentials(pool, lambda: SEALS),
        stores=PostgresStores(pool),
        segments=PostgresSegments(pool),
        profiles=nothing,
        log_ins=nothing,
        geofences=stored,
        fence_memory=fence_memory,
        private_places=private_places,
        private_memory=PrivateMemory(catalog, private_places, fence_memory),
        imports=PostgresImports(pool),
        reader=reader,
        campaigns=PostgresCampaigns(pool),
        rehearsals=Rehearsals(PostgresArchive(pool), catalog),
        decisions=PostgresDecisionLog(pool, Safe(lambda: SEALS)),
        letters=nothing,
        breakers=PostgresBreakers(pool),
        events=PostgresEvents(pool),
        interactions=PostgresInteractions(pool, Safe(lambda: SEALS)),
        receipts=nothing,
        webhooks=nothing,
        notifier=nothing,
    )
    app = web.Application(client_max_size=IMPORT_BODY, middlewares=[errors_to_problems])
    app[SERVICES] = services
    app[AUTH] = Authenticator(PostgresKeys(pool), nothing, nothing)
    app[IDEMPOTENCY] = PostgresIdempotency(pool)
    for call in CALLS:
        app.router.add_route(call.method, call.path, handler(call))
    live.mount(app)
    keys = {role: await create_key(pool, "Alpha", "manager", role, replay=False) for role in ROLES}
    keys["second approver"] = await create_key(pool, "Alpha", "manager", "approver", replay=False)
    keys["server"] = await create_key(pool, "Alpha", "server", None, replay=False)
    keys["app"] = await create_key(pool, "Alpha", "app", None, replay=False)
    keys["beta"] = await create_key(pool, "Beta", "manager", "owner", replay=False)
    async with TestClient(TestServer(app, handler_cancellation=True)) as client:
        yield Site(client, services, pool, keys)
