"""A database, a push gateway and dispatchers: offers are put into the outbox past all that decides them."""

import asyncio
import json
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web
from standardwebhooks import Webhook

from geo_offers.gateways.log import LogLane
from geo_offers.gateways.webhook import WebhookLane
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.streams import DeviceStreams, InAppLane
from geo_offers.storage.outbox import PostgresOutbox
from tests.support.gateways.webhook import SECRET

CONSENTS = {
    purpose: {"purpose": purpose, "granted": True, "text_version": "1", "at": "2026-01-01T00:00:00Z"}
    for purpose in ("locate", "offers")
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One offer in the database."""

    offer: UUID
    workspace: UUID
    user: UUID
    device: UUID


class Feed:
    """An observer that keeps everything."""

    def __init__(self):
        self.counts = Counter()
        self.told = []
        self.life = []  # of all offers, with the steps between
        self.ages = {}
        self.open = {}

    def counted(self, lane, outcome):
        self.counts[lane, outcome] += 1

    def delivered(self, workspace, offer, lane, outcome, detail=None):
        self.told.append((workspace, offer, lane, outcome))
        self.life.append((lane, outcome, detail))

    def under_way(self, workspace, offer, lane, step):
        self.life.append((lane, step, None))

    def oldest_due(self, lane, age_s):
        self.ages[lane] = age_s

    def breakers(self, lane, opened):
        self.open[lane] = opened


class Gateway:
    """A push gateway that verifies signatures, answers as told, and keeps a ledger of what a phone would show."""

    def __init__(self):
        self.answers = []  # taken one by one; then 200
        self.posts = []
        self.shown = {}
        self.under_way = self.most_under_way = 0
        self.release = asyncio.Event()
        self.release.set()
        self.arrived = asyncio.Event()

    async def take(self, request):
        body = await request.read()
        event = Webhook(SECRET).verify(body, dict(request.headers))
        self.posts.append(request.headers["webhook-id"])
        self.shown[event["data"]["replace_key"]] = event["data"]["offer"]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.arrived.set()
        try:
            await self.release.wait()
        finally:
            self.under_way -= 1
        answer = self.answers.pop(0) if self.answers else web.Response()
        if answer == "drop":
            request.transport.abort()
            return web.Response()
        return answer


class House:
    """A database, a gateway, and as many dispatchers as a test wants."""

    def __init__(self, stack, pool, admin, session):
        self._stack = stack
        self._pool = pool
        self._session = session
        self._runner = None
        self.admin = admin
        self.gateway = Gateway()
        self.url = ""
        self.feed = Feed()
        self.streams = DeviceStreams()

    async def open_gateway(self, port=0):
        app = web.Application()
        app.router.add_post("/push", self.gateway.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self._stack.push_async_callback(runner.cleanup)
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/push"
        self._runner = runner

    async def close_gateway(self):
        port = self._runner.addresses[0][1]
        await self._runner.cleanup()
        return port

    def dispatcher(self, *, lease_s=10.0, sweep_s=0.1, timeout_s=2.0, concurrency=32, streams=None):
        streams = streams or self.streams
        lanes = [
            WebhookLane(self._session, self.url, [SECRET], concurrency=concurrency, timeout_s=timeout_s),
            InAppLane(streams),
            LogLane(),
        ]
        made = Dispatcher(
            PostgresOutbox(self._pool), lanes, self.feed, lease_s=lease_s, sweep_s=sweep_s, jitter=lambda: 0.0
        )
        streams.on_attach = made.ring
        return made

    @asynccontextmanager
    async def running(self, **options):
        dispatcher = self.dispatcher(**options)
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            async with asyncio.timeout(3):  # nothing here has a reason to wait for the bound
                await dispatcher.stop()

    async def put(self, lane="webhook", *, expires_s=600.0, due_in_s=0.0):
        ids = [uuid.uuid4() for _ in range(7)]
        sent = Sent(*ids[:4])
        visit, campaign, decision = ids[4:]
        run = self.admin.execute
        async with self.admin.transaction():
            await run("INSERT INTO workspace (id, name) VALUES ($1, $2)", sent.workspace, str(sent.workspace))
            await run(
                "INSERT INTO app_user (id, workspace, partition, consents, rhythm) VALUES ($1, $2, 0, $3, $4)",
                *(sent.user, sent.workspace, json.dumps(CONSENTS).encode(), b'{"quiet": []}'),
            )
            await run(
                "INSERT INTO device (id, workspace, user_id, platform, push_lane, push_token) "
                "VALUES ($1, $2, $3, 'ios', 'webhook', 'token-1')",
                *(sent.device, sent.workspace, sent.user),
            )
            await run(
                "INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, '{}', 'approved', 'test')",
                *(campaign, sent.workspace),
            )
            await run(
                "INSERT INTO geofence (workspace, set_id, external_id, feature, min_lat, min_lon, max_lat, max_lon) "
                "VALUES ($1, 'town', 'bakery', '{}', 0, 0, 1, 1)",
                sent.workspace,
            )
            await run(
                "INSERT INTO visit (id, workspace, user_id, device, fence, fence_version, entered_at) "
                "VALUES ($1, $2, $3, $4, 'town/bakery', 1, clock_timestamp())",
                *(visit, sent.workspace, sent.user, sent.device),
            )
            await run(
                "INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, visit, trigger, lane,"
                " message, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, 'town/bakery', $7, 'enter', $8, $9,"
                " clock_timestamp(), clock_timestamp() + make_interval(secs => $10))",
                *(sent.offer, sent.workspace, sent.user, sent.device, decision, campaign, visit, lane),
                *(b'{"title": "Warm buns", "body": "Two for one"}', expires_s),
            )
            await run(
                "INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence) "
                "VALUES ($1, clock_timestamp(), $2, $3, $4, 'town/bakery', 'town/bakery')",
                *(sent.user, sent.offer, sent.workspace, campaign),
            )
            await run(
                "INSERT INTO outbox (offer, workspace, partition, lane, due) "
                "VALUES ($1, $2, 0, $3, clock_timestamp() + make_interval(secs => $4))",
                *(sent.offer, sent.workspace, lane, due_in_s),
            )
        return sent

    async def ending(self, sent):
        found = await self.admin.fetchrow(
            "SELECT o.state, o.detail, r.state FROM offer o JOIN reservation r ON r.offer = o.id WHERE o.id = $1",
            sent.offer,
        )
        return tuple(found)

    async def row(self, sent):
        return await self.admin.fetchrow("SELECT * FROM outbox WHERE offer = $1", sent.offer)

    async def until(self, sent, state, within_s=5.0):
        async with asyncio.timeout(within_s):
            while (await self.ending(sent))[0] != state:
                await asyncio.sleep(0.01)

    async def until_row(self, sent, within_s=5.0, **columns):
        async with asyncio.timeout(within_s):
            while True:
                row = await self.row(sent)
                if row is not None and all(row[name] == value for name, value in columns.items()):
                    return row
                await asyncio.sleep(0.01)
