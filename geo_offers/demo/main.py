"""`geo-offers demo`: the service, the town, the crowd and the page, all in one command and all ended by Ctrl-C."""

import asyncio
import fcntl
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from aiohttp import web

from geo_offers import clock
from geo_offers.client import ApiError, Client, ClientError, Manager
from geo_offers.demo import loader, site, town
from geo_offers.demo.crowd import Crowd, TokenFile
from geo_offers.demo.feed import Feed
from geo_offers.demo.keys import keys_of
from geo_offers.demo.outcomes import Outcomes
from geo_offers.demo.service import Service, running
from geo_offers.demo.stage import Stage
from geo_offers.demo.walking import StreetMap
from geo_offers.demo.witness import Witness
from geo_offers.errors import GeoOffersError, Misconfigured, Unavailable
from geo_offers.instants import from_us
from geo_offers.storage.datafolder import make_root
from geo_offers.storage.files import store_data_folder

LEAST_PHONES, MOST_PHONES = 1, 1_000
_STOP_S = 3.0  # of the five in which Ctrl-C ends everything
_NOT_OURS = {  # the demo has a database of its own, and bothers nobody's push gateway
    "GEO_OFFERS_DATABASE_URL",
    "GEO_OFFERS_MIGRATE_URL",
    "GEO_OFFERS_WEBHOOK_URL",
    "GEO_OFFERS_WEBHOOK_SECRET",
    "GEO_OFFERS_WEBHOOK_SECRET_FILE",
}


async def run(data_dir: Path, *, phones: int = 240) -> int:
    """Run until SIGINT or SIGTERM. Answers the exit code: 0 when asked to end, 1 after a sentence on stderr."""
    stop = asyncio.Event()
    with _signals(stop):
        show = asyncio.create_task(_show(data_dir / "demo", phones), name="demo")
        asked = asyncio.create_task(stop.wait(), name="demo stop")
        await asyncio.wait({show, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        show.cancel()
        (end,) = await asyncio.gather(show, return_exceptions=True)
    if end is None or isinstance(end, asyncio.CancelledError):
        return 0
    for error in _leaves(end):
        if not isinstance(error, (GeoOffersError, ClientError)):
            raise error
        _say(str(error))
    return 1


async def _show(folder: Path, phones: int) -> None:
    """Everything, until cancelled; raises when a part of it ends by itself."""
    if not LEAST_PHONES <= phones <= MOST_PHONES:
        raise Misconfigured(f"the demo walks {LEAST_PHONES} to {MOST_PHONES} phones, not {phones}")
    site.check()
    plan = town.read(store_data_folder())
    async with AsyncExitStack() as stack:
        stack.enter_context(_alone(folder))
        _say("starting the service and its database")
        service = await stack.enter_async_context(running(folder, _environment(), stop_s=_STOP_S))
        keys = await keys_of(service, plan.workspace.name)
        manager = (await stack.enter_async_context(Client(service.url, keys.manager))).manager
        await loader.load(manager, plan, _say)
        client = await stack.enter_async_context(Client(service.url, keys.server))
        feed = Feed()
        stage = Stage(feed, plan.map["name"], tuple(plan.map["view"]))
        tokens = TokenFile(folder / "demo-crowd.json")
        streets = StreetMap(plan.streets, plan.shops, plan.walks)
        picture = await _picture(manager, plan)
        outcomes = await _outcomes(manager)
        witness = Witness(picture["fences"]["features"])
        crowd = Crowd(client, streets, plan.people, stage=stage, tokens=tokens, witness=witness, seed=_seed())

        async def about(n: int) -> Mapping[str, Any] | None:
            return await _about(crowd.about(n), stage.last_decision(n), manager)

        page = site.build(feed, stage, picture, about=about, presence=witness.tell, outcomes=outcomes.tell)
        url = await stack.enter_async_context(_site(page, feed))
        await crowd.gather(phones)
        print(f"geo-offers demo: open {url}", flush=True)  # noqa: T201 - the one line that the command prints
        async with asyncio.TaskGroup() as group:
            group.create_task(_listen(manager, stage, outcomes))
            group.create_task(crowd.walk())
            group.create_task(_mourn(service))


async def _listen(manager: Manager, stage: Stage, outcomes: Outcomes) -> None:
    async for event in manager.live():
        stage.service_says(event.kind, event.data)
        if event.kind == "decision":
            outcomes.decided()


async def _mourn(service: Service) -> None:
    code = await service.ended()
    raise Unavailable(f"the service ended by itself with exit code {code}; {service.log} says why")


async def _outcomes(manager: Manager) -> Outcomes:
    """Of the campaigns that there are, by name, from now on."""
    names = {campaign.id: campaign.name async for campaign in manager.campaigns()}
    ordered = sorted(names, key=lambda campaign: names[campaign].casefold())
    return Outcomes(manager, {campaign: names[campaign] for campaign in ordered}, from_us(clock.now_us()))


async def _picture(manager: Manager, plan: town.Town) -> Mapping[str, Any]:
    """Collect what the page draws once: the town from its file, the fences as the service has them."""
    fences = []
    async for state in manager.geofences(set_id=loader.FENCE_SET):
        feature = msgspec.json.decode(state.feature)
        fences.append({**feature, "id": state.fence})
    return {
        "title": plan.map["name"],
        "view": plan.map["view"],
        "brand": plan.workspace.name,
        "town": plan.map,
        "fences": {"type": "FeatureCollection", "features": fences},
        "stores": [{"name": shop.name, "lat": shop.lat, "lon": shop.lon} for shop in plan.shops],
    }


@asynccontextmanager
async def _site(page: web.Application, feed: Feed) -> AsyncIterator[str]:
    """Serve the page on a free port of the loopback address; answers its address."""
    runner = web.AppRunner(page, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        feed.close()
        await runner.cleanup()


async def _about(
    person: Mapping[str, Any] | None, told: Mapping[str, Any] | None, manager: Manager
) -> Mapping[str, Any] | None:
    """A person with their last decision as it is on record, and with the title of the offer that it made."""
    if person is None or told is None:
        return person
    try:
        decision = await manager.decision(UUID(told["id"]))
    except ApiError:
        return person  # they were erased meanwhile
    return {**person, "decision": decision, "title": told.get("offer", {}).get("title")}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One demo a data folder: a second one would erase the crowd of the first."""
    make_root(folder)
    with (folder / "demo.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Misconfigured(
                f"another demo runs on {folder}: open its page, or give this one another folder with --data-dir"
            ) from error
        yield


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_OURS}


def _seed() -> int:
    return secrets.randbits(32)


def _say(sentence: str) -> None:
    print(f"geo-offers demo: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - progress of the set-up
