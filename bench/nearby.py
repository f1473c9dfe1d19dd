"""How long who asks waits for `POST /v1/me/nearby`: the real server and its PostgreSQL, over loopback.

A city of stores with campaigns at some of them, and in it spots with ten shops at each and so many campaigns, by turns
of a geofence and of a tag; a fifth of them have a budget, a fifth hours. People ask from the middle of a spot: callers
with a kept connection each, the next question as soon as the last one is answered, each of another person. The lines
take turns, window by window. The floor is that of the contract: p99 of 50 ms on a quiet machine.
"""

import argparse
import asyncio
import gc
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

import aiohttp
import msgspec

from bench.load import cities_for, collection, make_fences, middles
from bench.report import Report, Row, Tail, Value, Yardstick, sizes
from bench.service import WORKSPACE, cpu_s, enrol, running
from geo_offers import wire
from geo_offers.client import Client
from geo_offers.demo.service import Service

SHORT: Final = ("--calls", "100", "--repeats", "2", "--campaigns", "50")
SHOPS: Final = 10
SHOP_M: Final = 60.0
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STEP_DEG: Final = 0.0001  # from shop to shop; all ten hold the middle
PHONES: Final = 100  # together they may ask a thousand times a second
_answer = msgspec.json.Decoder(wire.Nearby)


@dataclass(frozen=True, slots=True)
class Options:
    stores: int = 2_000
    elsewhere: int = 300
    """Campaigns at single stores of the city."""
    campaigns: Sequence[int] = (3, 50)
    callers: Sequence[int] = (1, 4)
    calls: int = 400
    """In each window of a line."""
    repeats: int = 5
    seed: int = 7


def options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--stores", type=int, default=default.stores, metavar="N")
    parser.add_argument("--elsewhere", type=int, default=default.elsewhere, metavar="N", help="campaigns in the city")
    parser.add_argument("--campaigns", type=sizes, default=default.campaigns, metavar="N[,N…]", help="on one spot")
    parser.add_argument("--callers", type=sizes, default=default.callers, metavar="N[,N…]", help="at once")
    parser.add_argument("--calls", type=int, default=default.calls, metavar="N", help="in a window")
    parser.add_argument("--repeats", type=int, default=default.repeats, metavar="N", help="windows of each line")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    named = {name: value for name, value in vars(given).items() if name != "name"}
    yield asyncio.run(run(Options(**named)))


@dataclass(slots=True)
class Line:
    """So many callers at a spot of so many campaigns, and what became of their questions."""

    campaigns: int
    callers: int
    question: bytes
    yardstick: Yardstick = field(default_factory=Yardstick)
    took_ms: list[float] = field(default_factory=list)
    windows_s: list[float] = field(default_factory=list)
    cpu_us: list[tuple[float, float]] = field(default_factory=list)
    """A call's, of the server and of its PostgreSQL, by window."""
    told: int = 0
    """Offers in the last answer."""

    def row(self) -> Row:
        calls = len(self.took_ms) / len(self.windows_s)
        server, database = (statistics.median(spent) for spent in zip(*self.cpu_us, strict=True))
        return Row(
            f"{self.campaigns} campaigns, {self.callers} at once",
            statistics.median(calls / took_s for took_s in self.windows_s),
            "calls/s",
            self.yardstick,
            Tail.of("ms", self.took_ms),
            {"server_cpu_us": server, "postgres_cpu_us": database, "offers_told": self.told},
        )


async def run(options: Options) -> Report:
    """Start a server, fill it, ask."""
    async with running(None) as service:
        manager = await service.create_key("manager", WORKSPACE, "--role", "owner")
        spots = await _city(service, manager, options)
        app = await service.create_key("app", WORKSPACE)
        tokens = itertools.cycle(await enrol(service, app, PHONES, ("locate", "offers")))
        lines = [
            Line(campaigns, callers, msgspec.json.encode({"lat": lat, "lon": lon}))
            for (campaigns, (lat, lon)), callers in itertools.product(spots.items(), options.callers)
        ]
        async with aiohttp.ClientSession(service.url) as session:
            for line in lines:
                await _window(service, session, line, tokens, options.calls // 4, kept=False)
            for _, line in itertools.product(range(options.repeats), lines):
                await _window(service, session, line, tokens, options.calls, kept=True)
    load: dict[str, Value] = {
        "stores": options.stores,
        "campaigns_elsewhere": options.elsewhere,
        "shops_on_a_spot": SHOPS,
        "windows": f"{options.repeats} x {options.calls} calls",
        "seed": options.seed,
    }
    return Report("nearby", load, [line.row() for line in lines])


# ------------------------------------------------------------------------------------------------ asking
async def _window(
    service: Service, session: aiohttp.ClientSession, line: Line, tokens: Iterator[str], calls: int, *, kept: bool
) -> None:
    took_ms: list[float] = []
    due = iter(range(calls))

    async def ask() -> None:
        for _ in due:
            headers = {"Authorization": f"Bearer {next(tokens)}", "Content-Type": "application/json"}
            began = perf_counter()
            async with session.post("/v1/me/nearby", data=line.question, headers=headers) as answer:
                said = await answer.read()
            took_ms.append((perf_counter() - began) * 1e3)
            if answer.status != 200:
                raise RuntimeError(f"who asked was answered {answer.status} {said[:300]!r}")
            line.told = len(_answer.decode(said).items)

    line.yardstick.spin()
    gc.collect()
    gc.disable()  # the sender's own pauses are not the server's
    before, began = cpu_s(service), perf_counter()
    await asyncio.gather(*(ask() for _ in range(line.callers)))
    window_s, after = perf_counter() - began, cpu_s(service)
    gc.enable()
    if line.told == 0:
        raise RuntimeError("nobody was told of anything")
    if kept:
        line.took_ms += took_ms
        line.windows_s.append(window_s)
        line.cpu_us.append(((after[0] - before[0]) / calls * 1e6, (after[1] - before[1]) / calls * 1e6))


# ------------------------------------------------------------------------------------------------ the city
async def _city(service: Service, manager: str, options: Options) -> Mapping[int, tuple[float, float]]:
    """Lay it out; the spots' middles by how many campaigns they have."""
    fences = make_fences(options.stores, options.seed)
    lat, lon = middles(cities_for(options.stores), options.seed)
    spots = {count: (float(lat[number]), float(lon[number])) for number, count in enumerate(options.campaigns)}
    documents = {"city": collection(fences)} | {f"spot-{count}": _shops(count, *at) for count, at in spots.items()}
    bodies = [_campaign(number, ids=[fence.id.replace("bench/", "city/")]) for number, fence in enumerate(fences)]
    del bodies[options.elsewhere :]
    for count in spots:
        bodies += [_campaign(number, **_selected(count, number)) for number in range(count)]
    async with Client(service.url, manager) as client:
        await client.manager.patch_workspace(wire.WorkspacePatch(holdout=0.0))
        for name, document in documents.items():
            applied = await client.manager.create_import(msgspec.json.encode(document), set_id=name, dry_run=False)
            if applied.counts.refused:
                raise RuntimeError(f"{applied.counts.refused} fences were refused")
        for body in bodies:
            campaign = await client.manager.create_campaign(body)
            submitted = await client.manager.submit(campaign.id)
            if submitted.state != "approved":
                raise RuntimeError(f"a campaign is {submitted.state}")
    return spots


def _shops(count: int, lat: float, lon: float) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "id": f"shop{number}",
            "geometry": {"type": "Point", "coordinates": [lon, lat + (number - SHOPS // 2) * STEP_DEG]},
            "properties": {"name": f"Shop {number}", "radius_m": SHOP_M, "tags": [f"spot-{count}-{number}"]},
        }
        for number in range(SHOPS)
    ]
    return {"type": "FeatureCollection", "features": features}


def _selected(count: int, number: int) -> dict[str, list[str]]:
    """The next shop, by its id or by its tag."""
    shop = number % SHOPS
    return {"tags": [f"spot-{count}-{shop}"]} if number // SHOPS % 2 else {"ids": [f"spot-{count}/shop{shop}"]}


def _campaign(number: int, **fences: list[str]) -> wire.CampaignBody:
    hours = [{"days": DAYS, "start": "00:00", "end": "24:00"}] if number % 5 == 1 else []
    body = {
        "name": f"bench {number}",
        "objective": "visit",
        "trigger": {"on": "dwell" if number % 3 == 0 else "enter", "fences": fences},
        "texts": {"en": {"title": f"Warm rolls {number} at {{store}}", "body": "Fresh until noon."}},
        "schedule": {"until": "2100-01-01T00:00:00Z", "hours": hours},
        "value": number % 7,
        "caps": [{"limit": 3, "window": {"n": 1, "unit": "day"}}],
        **({"budget": {"total": 1_000_000}} if number % 5 == 0 else {}),
        "holdout": 0,
    }
    return msgspec.convert(body, wire.CampaignBody)
