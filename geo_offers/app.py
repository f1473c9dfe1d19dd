"""The composition root of the service: every part is made here and handed to those who need it."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiohttp
import structlog

from geo_offers import clock, instants
from geo_offers.egress import guarded_session
from geo_offers.errors import Unavailable
from geo_offers.gateways import fcm
from geo_offers.gateways.apns import ApnsLane
from geo_offers.gateways.events import EventSender
from geo_offers.gateways.http2 import tls_context
from geo_offers.gateways.log import LogLane
from geo_offers.gateways.secrets_file import SecretsFile
from geo_offers.gateways.webhook import WebhookLane
from geo_offers.gateways.webpush import WebPushLane
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.credentials import Vault
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.engine import Engine, Limits
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.lanes import Lane
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.notifying import Notifier
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.people import Ended
from geo_offers.pipeline.private import PrivateMemory
from geo_offers.pipeline.rehearsing import Rehearsals
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.streams import DeviceStreams, InAppLane
from geo_offers.pipeline.tokens import AccessTokens
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.sandbox.reader import ChildReader
from geo_offers.settings import Settings
from geo_offers.storage import embedded, migrate
from geo_offers.storage.audience import PostgresSegments
from geo_offers.storage.breakers import PostgresBreakers
from geo_offers.storage.campaigns import PostgresCampaigns
from geo_offers.storage.catalogs import load_fences
from geo_offers.storage.decisions import PostgresDecisionLog
from geo_offers.storage.events import PostgresEvents
from geo_offers.storage.geofences import PostgresGeofences
from geo_offers.storage.idempotency import PostgresIdempotency
from geo_offers.storage.imports import PostgresImports
from geo_offers.storage.interactions import PostgresInteractions
from geo_offers.storage.keys import PostgresKeys, PostgresServiceKeys
from geo_offers.storage.letters import PostgresLetters
from geo_offers.storage.login import PostgresLogIns
from geo_offers.storage.nearby import PostgresLooks
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.people import PostgresOffers, PostgresPeople
from geo_offers.storage.pool import Pool, open_pool, transaction
from geo_offers.storage.private import PostgresPrivatePlaces, load_private
from geo_offers.storage.profiles import PostgresProfiles
from geo_offers.storage.proofs import log_heads
from geo_offers.storage.receipts import PostgresReceipts
from geo_offers.storage.rehearsals import PostgresArchive
from geo_offers.storage.retention import PostgresRetention
from geo_offers.storage.sealing import Seals, of_folder
from geo_offers.storage.stores import PostgresStores
from geo_offers.storage.turns import PostgresDevices, PostgresPartitions, PostgresTurns
from geo_offers.storage.vault import PostgresCredentials, PostgresVault, Safe, reseal
from geo_offers.storage.webhooks import PostgresEventQueue, PostgresWebhooks
from geo_offers.storage.workspaces import PostgresWorkspaces
from geo_offers.web.application import application
from geo_offers.web.auth import Authenticator
from geo_offers.web.health import Health
from geo_offers.web.server import HeaderDeadline, Listener

STATS_S: Final = 1.0
SWEEP_S: Final = 600.0
HEADS_S: Final = 86_400.0
CLOSING_S: Final = 1.0  # for the lanes to take leave of their gateways

_log = structlog.get_logger()


class Watch:
    """Looks after background tasks: one that fails is logged, and `failed` tells who runs the service to stop it."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self.over)
        return task

    def over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a background task failed; the service stops", task=task.get_name(), exc_info=error)
            self.failed.set()


@asynccontextmanager
async def database(settings: Settings, watch: Watch) -> AsyncIterator[str]:
    """The DSN to serve by: the operator's own server, or one of ours that lives as long as this context."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    async with await embedded.start(settings.folder, binaries=settings.binaries) as server:
        keeper = watch.start("postgres", server.keep_running())
        try:
            yield server.app_dsn
        finally:
            await _cancel([keeper])


def seals_of(settings: Settings) -> Callable[[], Seals]:
    """The keys of what is kept sealed: the operator's, or our own database's folder's, made at the first need."""
    if settings.credentials_key is None and settings.database_url is None:
        return cache(partial(of_folder, settings.folder))
    seals = Seals(settings.credentials_key or "")
    return lambda: seals


class Delivered:
    """The dispatcher's observer: figures and the live feed."""

    def __init__(self, figures: Figures, live: LiveFeed) -> None:
        self._figures = figures
        self._live = live

    def counted(self, lane: str, outcome: str) -> None:
        self._figures.deliveries.labels(lane, outcome).inc()

    def delivered(self, workspace: UUID, offer: UUID, lane: str, outcome: str, detail: str | None = None) -> None:
        if self._live.heard(workspace):
            told = {"offer": offer, "lane": lane, "outcome": outcome, "at": instants.from_us(clock.now_us())}
            self._live.publish(workspace, "delivery", told if detail is None else told | {"detail": detail})

    def ended(self, workspace: UUID, offers: Iterable[Ended]) -> None:
        """By the person's own word, beside the dispatcher."""
        for one in offers:
            self.counted(one.lane, one.state)
            self.delivered(workspace, one.offer, one.lane, one.state, one.detail)

    def under_way(self, workspace: UUID, offer: UUID, lane: str, step: str) -> None:
        self.delivered(workspace, offer, lane, step)

    def oldest_due(self, lane: str, age_s: float) -> None:
        self._figures.oldest_due.labels(lane).set(age_s)

    def breakers(self, lane: str, opened: int) -> None:
        self._figures.lane_breakers.labels(lane).set(opened)


@asynccontextmanager
async def service(settings: Settings, dsn: str, watch: Watch | None = None) -> AsyncIterator[Listener]:
    """The running service; leaving it drains within 15 s."""
    watch = watch or Watch()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(dsn, size=settings.pool_size))
        async with pool.acquire() as connection:
            for warning in await migrate.check(connection):
                _log.warning("the database is not safe", reason=warning)
        guarded = await stack.enter_async_context(
            guarded_session(settings.egress_networks, tls=_trust(settings.gateway_ca))
        )
        sessions = _Sessions(await stack.enter_async_context(_session()), guarded)
        reader = await stack.enter_async_context(ChildReader())
        parts = _Parts(settings, pool, sessions, reader)
        stack.push_async_callback(parts.close_lanes)
        await parts.prepare(stack, watch)
        tasks = parts.start(watch)
        stack.push_async_callback(_cancel, tasks)
        deadline = HeaderDeadline()
        app = application(
            parts.services, parts.auth, parts.idempotency, parts.health, origins=settings.origins, deadline=deadline
        )
        listener = Listener(app, deadline)
        await listener.start(settings.host, settings.port)
        stack.push_async_callback(parts.drain, listener)
        yield listener


def lanes_of(settings: Settings, streams: DeviceStreams, sessions: "_Sessions", vault: Vault) -> tuple[Lane, ...]:
    """The app's own, the operator's, and those that workspaces bring credentials for (`credentials.TENANT_LANES`)."""
    lanes: list[Lane] = [InAppLane(streams)]
    if settings.webhook_url is not None:
        file = settings.webhook_secret_file
        signs_by = (settings.webhook_secret or "").split() if file is None else SecretsFile(Path(file).expanduser())
        lanes.append(WebhookLane(sessions.plain, settings.webhook_url, signs_by))
    if settings.log_lane:
        lanes.append(LogLane())
    fcm_url = (settings.fcm_url or fcm.BASE_URL).rstrip("/")
    networks = settings.egress_networks
    return (
        *lanes,
        fcm.FcmLane(vault, base_url=fcm_url, token_url=settings.fcm_token_url),
        ApnsLane(vault, tls_context(settings.gateway_ca), settings.apns_url),
        WebPushLane(sessions.guarded, vault, networks=networks, push_hosts=settings.push_hosts),
    )


def _trust(ca_file: str | None) -> ssl.SSLContext:
    """The system's authorities, and the operator's own beside them."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


@dataclass(frozen=True, slots=True)
class _Sessions:
    """plain: to where the operator says. guarded: to where tenants and clients say."""

    plain: aiohttp.ClientSession
    guarded: aiohttp.ClientSession


def _session() -> aiohttp.ClientSession:
    """For the push gateway, which bounds itself: keeps no cookie and unpacks nothing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    )


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Parts:
    """All parts of one service, wired."""

    def __init__(self, settings: Settings, pool: Pool, sessions: _Sessions, reader: ChildReader) -> None:
        self._pool = pool
        figures, live, catalog = Figures(), LiveFeed(), Catalog()
        self.streams = DeviceStreams()
        self._seals = seals = seals_of(settings)
        self._embedded = settings.database_url is None
        safe = Safe(seals)
        self._lanes = lanes_of(settings, self.streams, sessions, PostgresVault(pool, seals))
        push = frozenset(lane.name for lane in self._lanes) - {"inapp"}
        delivered = Delivered(figures, live)
        dispatcher = Dispatcher(PostgresOutbox(pool, catalog, push), self._lanes, delivered, lease_s=settings.lease_s)
        self.streams.on_attach = dispatcher.ring
        self.ownership = Ownership(PostgresPartitions(pool), secrets.token_hex(8))
        notifier = Notifier(PostgresEventQueue(pool, safe), EventSender(sessions.guarded), delivered)
        turn = DecisionTurn(
            store=PostgresTurns(pool),
            catalog=catalog,
            ownership=self.ownership,
            figures=figures,
            live=live,
            wake=dispatcher.wake,
            notify=notifier.wake,
            lanes=push,
            tz_version=version("tzdata"),
            holidays_version=version("holidays"),
        )
        limits = Limits(
            queued_points=settings.queue_points, rate_per_s=settings.device_rate_per_s, burst=settings.device_burst
        )
        engine = Engine(catalog, PostgresDevices(pool), turn, figures, self.ownership, limits=limits)
        self._tokens = AccessTokens(PostgresServiceKeys(pool, safe))
        geofences = PostgresGeofences(pool, self.ownership.owner)
        fence_memory, private_places = (
            FenceMemory(catalog, geofences),
            PostgresPrivatePlaces(pool, self.ownership.owner),
        )
        self.services = Services(
            engine=engine,
            catalog=catalog,
            live=live,
            figures=figures,
            tokens=self._tokens,
            dispatcher=dispatcher,
            streams=self.streams,
            people=PostgresPeople(pool, safe, delivered.ended),
            offers=PostgresOffers(pool),
            looks=PostgresLooks(pool),
            workspaces=PostgresWorkspaces(pool),
            credentials=PostgresCredentials(pool, seals),
            stores=PostgresStores(pool),
            segments=PostgresSegments(pool),
            profiles=PostgresProfiles(pool),
            log_ins=PostgresLogIns(pool, safe, delivered.ended),
            geofences=geofences,
            fence_memory=fence_memory,
            private_places=private_places,
            private_memory=PrivateMemory(catalog, private_places, fence_memory),
            imports=PostgresImports(pool, self.ownership.owner),
            reader=reader,
            campaigns=PostgresCampaigns(pool),
            rehearsals=Rehearsals(PostgresArchive(pool), catalog),
            decisions=PostgresDecisionLog(pool, safe),
            letters=PostgresLetters(pool, safe),
            networks=settings.egress_networks,
            push_hosts=settings.push_hosts,
            public_url=(settings.public_url or "").rstrip("/"),
            fcm_token_url=settings.fcm_token_url,
            breakers=PostgresBreakers(pool),
            events=PostgresEvents(pool),
            interactions=PostgresInteractions(pool, safe),
            receipts=PostgresReceipts(pool),
            webhooks=PostgresWebhooks(pool, safe),
            notifier=notifier,
        )
        self.auth = Authenticator(PostgresKeys(pool), self._tokens, engine)
        self.idempotency = PostgresIdempotency(pool)
        self.health = Health(self._ask_database)
        self._retention = PostgresRetention(pool)

    async def _ask_database(self) -> None:
        async with transaction(self._pool, []):
            return

    async def prepare(self, stack: AsyncExitStack, watch: Watch) -> None:
        """Keys, ownership and fences, before the first request. The lease is kept from the first moment on."""
        await self._tokens.refresh()
        await self._seal()
        await self.ownership.take_all()
        stack.push_async_callback(self.let_go)
        stack.push_async_callback(_cancel, [watch.start("ownership", self.ownership.keep())])
        async for workspace, pages in load_fences(self._pool):
            await self.services.private_memory.load(workspace, load_private(self._pool, workspace))
            await self.services.fence_memory.load(workspace, pages)

    async def _seal(self) -> None:
        """Seal what an earlier version left in plain, or a key that was replaced.

        Not in a database that others serve from: they may not have the key yet, and it is the operator's to say
        (`geo-offers keys reseal`).
        """
        if self._embedded:
            await reseal(self._pool, self._seals())

    def start(self, watch: Watch) -> list[asyncio.Task[None]]:
        """The background tasks."""
        self.services.dispatcher.start()
        for task in (*self.services.dispatcher.tasks, self.services.notifier.start()):
            task.add_done_callback(watch.over)
        named = {
            "engine": self.services.engine.run(),
            "geofences": self.services.fence_memory.run(),
            "stats": self._tell_stats(),
            "retention": self._sweep(),
            "consent heads": self._tell_heads(),
        }
        return [watch.start(name, work) for name, work in named.items()]

    async def _tell_stats(self) -> None:
        services, before = self.services, dict[UUID, int]()
        while True:
            await asyncio.sleep(STATS_S)
            watched = services.live.watched()
            for workspace in watched:
                pings = services.figures.pings(workspace)
                rate = (pings - before[workspace]) / STATS_S if workspace in before else 0.0
                told = {"pings_per_s": rate, "streams": services.streams.count(workspace)}
                told |= services.figures.stats(workspace) | services.engine.sizes(workspace)
                told |= {"fences": len(services.catalog.index(workspace))}
                services.live.publish(workspace, "stats", told, keep=False)
            before = {workspace: services.figures.pings(workspace) for workspace in watched}

    async def _sweep(self) -> None:
        started = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.services.engine.forget_idle()
            alive_s = asyncio.get_running_loop().time() - started
            swept = await self._retention.sweep(await self.services.engine.devices.heard(), alive_s)
            self.services.figures.swept(swept.rows, swept.overdue, clock.now_us() / 1e6)
            await self.services.breakers.sweep()

    async def _tell_heads(self) -> None:
        while True:
            await log_heads(self._pool)
            await asyncio.sleep(HEADS_S)

    async def close_lanes(self) -> None:
        """Connections that are kept for the next send are let go; a gateway that hangs is not waited for."""
        closing = {asyncio.create_task(lane.close(), name=f"close-{lane.name}") for lane in self._lanes}
        _, late = await asyncio.wait(closing, timeout=CLOSING_S)
        await _cancel(late)
        for task in closing - late:
            if (error := task.exception()) is not None:
                _log.error("a lane was not closed", task=task.get_name(), exc_info=error)

    async def let_go(self) -> None:
        """Gives the partitions free, so that a successor need not wait for the lease; a database that hangs lets it."""
        with contextlib.suppress(TimeoutError, Unavailable):
            await asyncio.wait_for(self.ownership.release(), 1)

    async def drain(self, listener: Listener) -> None:
        """No new requests, then what is queued, then what is being sent."""
        self.health.stopping = True
        self.streams.close()
        await listener.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.services.engine.drain()
        await asyncio.gather(  # and two seconds more to give back what was not sent
            self.services.dispatcher.stop(4), self.services.notifier.stop(4)
        )
