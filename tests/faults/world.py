"""What tests of faults work with: a service's calls, people's phones and a grid of fences."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from geo_offers.clock import now_us
from geo_offers.instants import from_us
from geo_offers.offers.packing import unpacked
from tests.support.databases import Database
from tests.support.gateways.common import Gateway
from tests.support.running import make_key

HOOKS = Path(__file__).parent / "hooks"  # on the PYTHONPATH of a child it plants the faults that are asked for
STEP_DEG = 0.01  # about 1.1 km: circles of 100 m stay apart
COLUMNS = 40
LOOSE = {"max": 1000, "per": "day", "min_gap_h": 0, "quiet": []}
CAP_A_DAY = {"limit": 3, "window": {"n": 1, "unit": "day"}, "mode": "rolling", "scope": "user"}
CONSENTS = {"locate": "v1", "offers": "v1"}


def at_now(back_s: float = 0.0) -> str:
    return from_us(now_us() - round(back_s * 1e6)).isoformat()


def place(number: int) -> tuple[float, float]:
    """Where the centre of fence `number` of the grid is: lat, lon."""
    return 10.0 + STEP_DEG * (number // COLUMNS), 20.0 + STEP_DEG * (number % COLUMNS)


def feature(number: int, radius_m: float = 100.0) -> dict[str, Any]:
    lat, lon = place(number)
    return {
        "type": "Feature",
        "id": str(number),
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": {"name": f"Place {number}", "radius_m": radius_m, "detect": {"mode": "raw"}},
    }


@dataclass(frozen=True, slots=True)
class Phone:
    device: str
    user: str
    token: str
    address: str = ""  # what its push token is, where it has one
    refresh: str = ""

    def ping(self, number: int | None, at: str | None = None, *, named: bool = False) -> dict[str, Any]:
        """A ping from inside fence `number`, or from where no fence is; `named` for a server key's request."""
        lat, lon = (0.0, 0.0) if number is None else place(number)
        sent: dict[str, Any] = {"at": at or at_now(), "lat": lat, "lon": lon, "accuracy_m": 5}
        return sent | {"device": self.device} if named else sent


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


class World:
    """One workspace of a running service. `url` is asked at each call, since a server may come back elsewhere."""

    def __init__(self, url: Callable[[], str], session: aiohttp.ClientSession, keys: Mapping[str, str]) -> None:
        self._url = url
        self.session = session
        self.keys = keys

    async def call(self, method: str, path: str, key: str, body: Any = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        async with self.session.request(method, self._url() + path, headers=headers, json=body) as response:
            known = "json" in response.content_type
            return Answer(response.status, response.headers, await (response.json() if known else response.text()))

    async def good(self, method: str, path: str, key: str, body: Any = None) -> Any:
        answer = await self.call(method, path, key, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.body

    async def fences(self, count: int, *, first: int = 0, into: str = "grid") -> None:
        """`count` circles of the grid, from the `first` on, in a set of their own."""
        collection = {"type": "FeatureCollection", "features": [feature(first + number) for number in range(count)]}
        done = await self.good("POST", f"/v1/imports?set={into}&dry_run=false", "manager", collection)
        assert done["counts"]["new"] == count, done["counts"]

    async def credentials(self, gateway: Gateway) -> None:
        """Give the workspace what this gateway knows it by."""
        if gateway.credentials:
            await self.good("PUT", f"/v1/workspace/push/{gateway.lane}", "manager", gateway.credentials)

    async def no_gaps(self) -> None:
        await self.good("PATCH", "/v1/workspace", "manager", {"place_gap_s": 0, "store_gap_s": 0})

    async def campaign(self, **more: Any) -> str:
        """An approved campaign in a workspace that holds nobody out."""
        await self.good("PATCH", "/v1/workspace", "manager", {"holdout": 0})
        body = {
            "name": "hello",
            "objective": "visit",
            "trigger": {"on": "enter", "fences": {"set": "grid"}},
            "texts": {"en": {"title": "Welcome to {fence}", "body": "Good to see you"}},
            "holdout": 0,
        }
        made = await self.good("POST", "/v1/campaigns", "manager", body | more)
        await self.good("POST", f"/v1/campaigns/{made['id']}/submit", "manager")
        return str(made["id"])

    async def phones(
        self, names: Sequence[str | None], *, push: bool = False, loose: bool = True, gateway: Gateway | None = None
    ) -> list[Phone]:
        """One phone a name, enrolled at once; phones of one name are one person's.

        push: with a token for the lane `webhook`. gateway: as phones that this one sends to.
        """
        enrolments: list[dict[str, Any]] = [
            {"platform": "ios", "locale": "en", "time_zone": "UTC", "consents": CONSENTS}
            | ({} if name is None else {"user": name})
            | ({"push": {"lane": "webhook", "token": f"token-{name}-{number}"}} if push else {})
            | ({} if gateway is None else gateway.phone(f"{name}-{number}"))
            for number, name in enumerate(names)
        ]
        made = await self.good("POST", "/v1/devices", "server", enrolments)
        phones = [
            Phone(
                *(one["device"], one["user"], one["access_token"]),
                address=sent.get("push", {}).get("token", ""),
                refresh=one["refresh_token"],
            )
            for one, sent in zip(made, enrolments, strict=True)
        ]
        if loose:
            for phone in {phone.user: phone for phone in phones}.values():
                await self.good("PUT", "/v1/me/rhythm", phone.token, LOOSE)
        return phones

    async def withdraw(self, phone: Phone, purpose: str, *, granted: bool = False) -> Answer:
        """Take a consent back, or give it again."""
        change = {"granted": granted, "text_version": "v1"}
        return await self.call("PUT", f"/v1/me/consents/{purpose}", phone.token, change)

    async def pings(self, key: str, pings: Iterable[Mapping[str, Any]]) -> Answer:
        return await self.call("POST", "/v1/pings", key, {"pings": list(pings)})


@asynccontextmanager
async def world(database: Database, url: Callable[[], str], *, answer_s: float = 30) -> AsyncIterator[World]:
    keys = {kind: await make_key(database, kind) for kind in ("manager", "app", "server")}
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # a killed server leaves no half-dead connection
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=answer_s)) as session:
        yield World(url, session, keys)


async def taken(made: World, pings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a server key's pings were answered 200; not where they were answered 503 or not at all."""
    try:
        answer = await made.pings("server", pings)
    except (aiohttp.ClientError, OSError):
        return False
    assert answer.status in {200, 503}
    return answer.status == 200


async def taken_at_last(made: World, pings: Sequence[Mapping[str, Any]], tries: int = 5) -> bool:
    """Send as a phone does that is told to come back: on a busy machine many requests wait for each other too long.

    At most so many tries.
    """
    for _ in range(tries):
        if await taken(made, pings):
            return True
    return False


@asynccontextmanager
async def administrator(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A look past row-level security."""
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def free_partitions(connection: asyncpg.Connection) -> None:
    """Spare the next server the wait for the lease of one that was killed (3 s)."""
    await connection.execute("UPDATE partition SET owner = NULL, until = NULL")


async def until(condition: Callable[[], Awaitable[bool] | bool], within_s: float = 15.0, *, why: str = "") -> None:
    """Wait for what can be seen from outside."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        seen = condition()
        if not isinstance(seen, bool):
            seen = await seen
        if seen:
            return
        assert loop.time() < deadline, f"not within {within_s} s: {why}"
        await asyncio.sleep(0.02)


async def assert_each_once(connection: asyncpg.Connection) -> None:
    """What no crash may break: every visit and transition decided at most once, every offer reserved and told once."""
    doubled = await connection.fetch(
        "SELECT device, fence, entered_at FROM visit GROUP BY device, fence, entered_at HAVING count(*) > 1"
    )
    assert doubled == []
    # A decision belongs to the transitions of one turn; two decisions on one transition would both name it.
    receipts = [json.loads(unpacked(row["receipt"])) for row in await connection.fetch("SELECT receipt FROM decision")]
    decided = Counter((told["visit"], told["type"]) for receipt in receipts for told in receipt["transitions"])
    assert [named for named, times in decided.items() if times > 1] == []
    unequal = await connection.fetchval(
        """SELECT count(*) FROM decision d FULL JOIN offer o ON o.decision = d.id
        FULL JOIN reservation r ON r.offer = o.id
        WHERE (d.outcome = 'offer') IS DISTINCT FROM (o.id IS NOT NULL) OR (o.id IS NULL) <> (r.offer IS NULL)"""
    )
    assert unequal == 0
