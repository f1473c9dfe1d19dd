"""How soon a kill switch bites: from its answer to the first silent arrival, and until what waits is cancelled.

The real server over its PostgreSQL, then two over one database, each with half of the people (the hooks of the tests of
faults let two serve). For each throw a phone of each server has an offer that waits in the outbox for its phone to
listen, and another phone of each comes and goes without a pause, each arrival an offer. Then the campaign, the store,
the workspace or, by the command line, everything is paused, by the first server. What counts is the first arrival that
is sent after the answer and silent, that none sent after it is an offer, and when the waiting offers are cancelled, as
the database says, asked every few milliseconds. The floor is that of the contract: a second.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import UUID

import aiohttp
import msgspec

from bench.report import Report, Row, Tail, Value, Yardstick
from bench.service import STOP_S, WORKSPACE, environment, fresh_folder
from geo_offers import clock, instants, wire
from geo_offers.client import Client
from geo_offers.demo import service
from geo_offers.demo.service import Service
from geo_offers.pipeline.partitions import PARTITIONS, partition_of
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage import embedded
from geo_offers.storage.pool import Pool, open_pool, transaction

SHORT: Final = ("--throws", "5")
SWITCHES: Final = ("campaign", "store", "workspace", "all")
HOOKS: Final = Path(__file__).parents[1] / "tests" / "faults" / "hooks"
LOOK_S: Final = 0.003
PATIENCE_S: Final = 10.0
SHOP: Final = (53.0793461, 8.8017329)
AWAY: Final = (53.2461357, 8.8017329)
PARKED: Final = "SELECT count(*) FROM outbox WHERE offer = ANY ($1) AND state = 'due' AND due > clock_timestamp()"
CANCELLED: Final = "SELECT count(*) FROM offer WHERE id = ANY ($1) AND state = 'cancelled'"
_enrolled = msgspec.json.Decoder(wire.Enrolled)
_answer = msgspec.json.Decoder(wire.PingsAnswer)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--throws", type=int, default=40, metavar="N", help="of each switch")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    rows = [row for servers in (1, 2) for row in asyncio.run(_rows(servers, given.throws))]
    yield Report("switches", {"throws": given.throws}, rows)


@dataclass(slots=True)
class Phone:
    """One person's phone, at the server that owns the person."""

    session: aiohttp.ClientSession
    url: str
    token: str

    async def call(self, method: str, path: str, body: object) -> bytes:
        return await _call(self.session, self.token, method, self.url + path, body)

    async def offers(self, place: tuple[float, float]) -> Sequence[wire.Offer]:
        """What a ping from there is offered."""
        ping = {"at": instants.text(clock.now_us()), "lat": place[0], "lon": place[1], "accuracy_m": 5}
        return _answer.decode(await self.call("POST", "/v1/pings", {"pings": [ping]})).offers


@dataclass(slots=True)
class Thrown:
    """What became of the throws of one switch, in ms from its answer; late: offers to who arrived after it."""

    silent_ms: list[float] = field(default_factory=list)
    cancelled_ms: list[float] = field(default_factory=list)
    late: int = 0


@dataclass(slots=True)
class Bed:
    """Servers over one database, a shop with its campaign, and who throws switches."""

    services: Sequence[Service]
    session: aiohttp.ClientSession
    pool: Pool
    manager: str
    app: str
    campaign: UUID

    async def throw(self, switch: str, thrown: Thrown) -> None:
        waiting, coming = [await self._phones() for _ in range(2)]
        waits = [offer.id for phone in waiting for offer in await phone.offers(SHOP)]
        if len(waits) != len(self.services):
            raise RuntimeError("an arrival was silent before the switch")
        await self._until(PARKED, waits)
        answered = asyncio.get_running_loop().create_future()
        arrivals = [asyncio.create_task(_come_and_go(phone, answered)) for phone in coming]
        await asyncio.sleep(0.1)
        await self._switch(switch, "pause")
        answered.set_result(perf_counter())
        thrown.cancelled_ms.append((await self._until(CANCELLED, waits) - answered.result()) * 1e3)
        for silent_ms, late in await asyncio.gather(*arrivals):
            thrown.silent_ms.append(silent_ms)
            thrown.late += late
        await self._switch(switch, "resume")

    async def _switch(self, switch: str, move: str) -> None:
        first = self.services[0]
        if switch == "all":
            command = (sys.executable, "-m", "geo_offers", move, "--all")
            settings = {**environment(), "GEO_OFFERS_DATA_DIR": str(first.data_dir)}
            process = await asyncio.create_subprocess_exec(*command, env=settings, stdout=DEVNULL)
            if await process.wait():
                raise RuntimeError(f"{move} --all failed")
            return
        path, body = {
            "campaign": (f"/v1/campaigns/{self.campaign}/{move}", None),
            "store": (f"/v1/stores/shop/{move}", None),
            "workspace": ("/v1/workspace", {"paused": move == "pause"}),
        }[switch]
        await _call(self.session, self.manager, "POST" if body is None else "PATCH", first.url + path, body)

    async def _phones(self) -> list[Phone]:
        """One of each server's people, who wants to hear all."""
        found: dict[int, Phone] = {}
        while len(found) < len(self.services):
            body = {"platform": "other", "consents": {"locate": "bench", "offers": "bench"}}
            url = self.services[0].url
            made = _enrolled.decode(await _call(self.session, self.app, "POST", f"{url}/v1/devices", body))
            number = partition_of(made.user) * len(self.services) // PARTITIONS
            found[number] = Phone(self.session, self.services[number].url, made.access_token)
        for phone in found.values():
            await phone.call("PUT", "/v1/me/rhythm", {"max": 1000, "per": "day", "min_gap_h": 0, "quiet": []})
        return [found[number] for number in sorted(found)]

    async def _until(self, count: str, offers: Sequence[UUID]) -> float:
        """When the database first said so of all of them."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with transaction(self.pool, [workspace_id(WORKSPACE)]) as connection:
                    if await connection.fetchval(count, offers) == len(offers):
                        return perf_counter()
                await asyncio.sleep(LOOK_S)


async def _come_and_go(phone: Phone, answered: "asyncio.Future[float]") -> tuple[float, int]:
    """Arrive until silent; ms from the switch's answer to the first silent arrival after it, and offers after it."""
    late = 0
    while True:
        after = answered.done()
        offered = await phone.offers(SHOP)
        if after and not offered:
            return (perf_counter() - answered.result()) * 1e3, late
        late += after
        await phone.offers(AWAY)


async def _call(session: aiohttp.ClientSession, token: str, method: str, url: str, body: object = None) -> bytes:
    data = None if body is None else msgspec.json.encode(body)
    headers = {"Authorization": f"Bearer {token}"}
    async with session.request(method, url, data=data, headers=headers) as answer:
        said = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {url}: {answer.status} {said[:300]!r}")
        return said


# ------------------------------------------------------------------------------------------------ servers
async def _rows(servers: int, throws: int) -> list[Row]:
    async with _laid_out(servers) as bed:
        thrown, yardstick = {switch: Thrown() for switch in SWITCHES}, Yardstick()
        for _, switch in itertools.product(range(throws), SWITCHES):
            yardstick.spin()
            await bed.throw(switch, thrown[switch])
    of = "1 server" if servers == 1 else f"{servers} servers"
    return [row for switch in SWITCHES for row in _told(f"{switch}, {of}", thrown[switch], yardstick)]


def _told(name: str, thrown: Thrown, yardstick: Yardstick) -> list[Row]:
    measured: list[tuple[str, Sequence[float], Mapping[str, Value]]] = [
        ("silent", thrown.silent_ms, {"offers_to_who_came_after": thrown.late}),
        ("cancelled", thrown.cancelled_ms, {}),
    ]
    return [
        Row(f"{name}: {what}", 1e3 / statistics.median(ms), "a second", yardstick, Tail.of("ms", ms), more)
        for what, ms, more in measured
    ]


@asynccontextmanager
async def _laid_out(servers: int) -> AsyncIterator[Bed]:
    """So many servers over the database of the first; one alone sets up what they are told of as they start."""
    async with AsyncExitStack() as stack:
        given: dict[str, str] = {"GEO_OFFERS_DEVICE_BURST": "100000"}
        folder = stack.enter_context(fresh_folder())
        async with service.running(folder, environment(), stop_s=STOP_S) as alone:
            manager = await alone.create_key("manager", WORKSPACE, "--role", "owner")
            app = await alone.create_key("app", WORKSPACE)
            campaign = await _shop(alone, manager)
        started: list[Service] = []
        for number in range(servers):
            own = folder if number == 0 else stack.enter_context(fresh_folder())
            given |= _share(number, servers)
            begun = service.running(own, {**environment(), **given}, stop_s=STOP_S)
            started.append(await stack.enter_async_context(begun))
            if number == 0:
                database = await stack.enter_async_context(await embedded.obtain(folder))
                given["GEO_OFFERS_DATABASE_URL"] = database.app_dsn
        pool = await stack.enter_async_context(open_pool(database.app_dsn, size=2))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Bed(started, session, pool, manager, app, campaign)


def _share(number: int, servers: int) -> Mapping[str, str]:
    """The environment by which a server takes its share of the people alone; nothing where it is the only one."""
    if servers == 1:
        return {}
    share = PARTITIONS // servers
    path = os.pathsep.join(filter(None, (str(HOOKS), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "FAULTS_PARTITIONS": f"{number * share}-{number * share + share - 1}"}


async def _shop(alone: Service, manager: str) -> UUID:
    """One shop with a campaign for who comes there."""
    feature: dict[str, Any] = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
        "properties": {"name": "Shop", "radius_m": 100, "store": "shop", "detect": {"mode": "raw"}},
    }
    body = wire.CampaignBody(
        name="bench",
        objective="visit",
        trigger=wire.Trigger(on="enter", fences=wire.FenceSelector(set="bench")),
        texts={"en": wire.Text(title="Warm rolls", body="Fresh until noon.")},
        holdout=0,
    )
    async with Client(alone.url, manager) as client:
        await client.manager.patch_workspace(wire.WorkspacePatch(holdout=0.0, place_gap_s=0, store_gap_s=0))
        await client.manager.put_store("shop", wire.StoreBody(name="Shop"))
        await client.manager.put_geofence("bench", "shop", feature)
        campaign = await client.manager.create_campaign(body)
        submitted = await client.manager.submit(campaign.id)
    if submitted.state != "approved":
        raise RuntimeError(f"a campaign is {submitted.state}")
    return campaign.id
