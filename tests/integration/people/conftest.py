"""One real service a module, a workspace of its own a test: keys, phones, and a look past the policies."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from geo_offers.clock import now_us
from geo_offers.instants import from_us
from geo_offers.pipeline.callers import Kind, Role
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.embedded import EmbeddedServer
from geo_offers.storage.keys import create_key
from geo_offers.storage.pool import Pool, open_pool
from tests.support.databases import Database, fresh_database
from tests.support.running import Service, running

BOTH = {"locate": "v1", "offers": "v1"}
SHOP = (53.0793461, 8.8017329)  # lat, lon of the one fence, a circle of 100 m
AWAY = (53.2461357, 8.8017329)
LOOSE = {"max": 1000, "per": "day", "min_gap_h": 0, "quiet": []}


def before(**age: float) -> datetime:
    """The instant so long ago, as `timedelta` takes it."""
    return from_us(now_us()) - timedelta(**age)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes = b""

    @property
    def code(self) -> str:
        """The problem's code; fails where the answer is no problem document."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.headers
        assert self.body["status"] == self.status
        return str(self.body["code"])

    @property
    def pointers(self) -> list[str]:
        return [fault["pointer"] for fault in self.body["errors"]]


@dataclass(slots=True)
class Phone:
    """A device with its tokens."""

    api: "Api"
    device: str
    user: str
    token: str
    refresh: str
    clock: Iterator[int] = field(default_factory=itertools.count)

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.api.call(method, path, self.token, body, **more)

    async def good(self, method: str, path: str, body: Any = None) -> Any:
        return await self.api.good(method, path, self.token, body)

    async def at(self, place: tuple[float, float], *, at: datetime | None = None) -> Answer:
        """Send one ping; each later than the one before."""
        instant = at or before(seconds=30) + timedelta(milliseconds=next(self.clock))
        ping = {"at": instant.isoformat(), "lat": place[0], "lon": place[1], "accuracy_m": 5}
        return await self.call("POST", "/v1/pings", {"pings": [ping]})

    async def consent(self, purpose: str, *, granted: bool, version: str = "v1") -> Answer:
        return await self.call("PUT", f"/v1/me/consents/{purpose}", {"granted": granted, "text_version": version})

    async def consents(self) -> dict[str, bool]:
        items = (await self.good("GET", "/v1/me/consents"))["items"]
        return {item["purpose"]: item["granted"] for item in items}


class Api:
    """The service's calls by one workspace. Keys are named by kind, a manager's by role; anything else is a token."""

    def __init__(self, service: Service, pool: Pool, session: aiohttp.ClientSession, rows: asyncpg.Connection) -> None:
        self.service = service
        self.pool = pool
        self.session = session
        self.rows = rows
        self.name = f"w-{uuid.uuid4().hex[:12]}"
        self.workspace = workspace_id(self.name)
        self._keys: dict[str, str] = {}

    async def key(self, who: str) -> str:
        """The key of that name, made when it is first asked for; kinds, roles, or `replay`."""
        if who not in self._keys:
            kind: Kind = "app" if who in {"app", "replay"} else "server" if who == "server" else "manager"
            role: Role | None = who if kind == "manager" else None  # type: ignore[assignment]
            self._keys[who] = await create_key(self.pool, self.name, kind, role, replay=who == "replay")
        return self._keys[who]

    async def call(
        self,
        method: str,
        path: str,
        who: str | None = None,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body` is JSON, or bytes as they are; `key` is an Idempotency-Key."""
        sent = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {who if '_' in who else await self.key(who)}"
        if key is not None:
            sent["Idempotency-Key"] = key
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        async with self.session.request(method, self.service.url + path, data=data, headers=sent) as response:
            raw = await response.read()
            known = "json" in response.content_type
            return Answer(response.status, response.headers, json.loads(raw) if raw and known else None, raw)

    async def good(self, method: str, path: str, who: str | None = None, body: Any = None) -> Any:
        answer = await self.call(method, path, who, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.body

    async def phone(self, who: str = "app", **enrolment: Any) -> Phone:
        """A new phone; its person agrees to be located and to offers unless told otherwise."""
        body = {"platform": "ios", "consents": BOTH} | enrolment
        return self.as_phone(await self.good("POST", "/v1/devices", who, body))

    def as_phone(self, enrolled: Mapping[str, Any]) -> Phone:
        return Phone(self, enrolled["device"], enrolled["user"], enrolled["access_token"], enrolled["refresh_token"])

    async def shop(self, **campaign: Any) -> str:
        """One fence and one approved campaign at it; answers the campaign's id."""
        feature = {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
            "properties": {"name": "Main Street", "radius_m": 100, "detect": {"mode": "raw"}},
        }
        await self.good("PUT", "/v1/geofences/stores/main", "owner", feature)
        await self.good("PATCH", "/v1/workspace", "owner", {"place_gap_s": 0, "store_gap_s": 0, "holdout": 0})
        body = {
            "name": "Rolls",
            "objective": "visit",
            "trigger": {"on": "enter", "fences": {"set": "stores"}},
            "texts": {"en": {"title": "Warm rolls", "body": "Until noon"}},
            "holdout": 0,
        } | campaign
        made = await self.good("POST", "/v1/campaigns", "owner", body)
        handed_in = await self.good("POST", f"/v1/campaigns/{made['id']}/submit", "owner")
        for _ in range(handed_in["approvers"]):  # as many others as its risk asks for
            approver = await create_key(self.pool, self.name, "manager", "approver", replay=False)
            await self.good("POST", f"/v1/campaigns/{made['id']}/approve", approver)
        return str(made["id"])

    async def buyer(self, who: str = "app", **enrolment: Any) -> Phone:
        """A phone whose person wants to hear all."""
        phone = await self.phone(who, **enrolment)
        await phone.good("PUT", "/v1/me/rhythm", LOOSE)
        return phone

    async def waiting(self, offer: Mapping[str, Any]) -> None:
        """Return once the dispatcher has found that nobody listens, and the offer waits in the outbox."""
        looked = "SELECT state = 'due' AND token > 0 AND due > clock_timestamp() FROM outbox WHERE offer = $1"
        async with asyncio.timeout(5):
            while not await self.rows.fetchval(looked, uuid.UUID(offer["id"])):
                await asyncio.sleep(0.01)

    async def tables(self) -> dict[str, list[str]]:
        """Every row of every table as text, whatever workspace it is of."""
        names = await self.rows.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        dump: dict[str, list[str]] = {}
        for name in (row["relname"] for row in names):
            dump[name] = [str(dict(row)) for row in await self.rows.fetch(f'SELECT * FROM "{name}"')]
        return dump

    async def ledger(self) -> int:
        """How many rows the workspace's ledger has."""
        found: int = await self.rows.fetchval(
            "SELECT count(*) FROM consent_ledger WHERE workspace = $1", self.workspace
        )
        return found


@dataclass(frozen=True, slots=True)
class Shared:
    service: Service
    pool: Pool
    database: Database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(request: pytest.FixtureRequest, postgres_server: EmbeddedServer) -> AsyncIterator[Shared]:
    """A service for all tests of a module, with its SETTINGS; a rate that no test meets by chance."""
    given = getattr(request.module, "SETTINGS", {})
    async with (
        fresh_database(postgres_server) as database,
        running(database, device_burst=100_000.0, **given) as service,
        open_pool(database.app_dsn, size=4) as pool,
    ):
        yield Shared(service, pool, database)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rows(shared: Shared) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(shared.database.superuser_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as made:
        yield made


@pytest.fixture
def api(shared: Shared, session: aiohttp.ClientSession, rows: asyncpg.Connection) -> Api:
    """A workspace that nobody else uses."""
    return Api(shared.service, shared.pool, session, rows)
