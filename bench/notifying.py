"""How fast events reach the company's own systems, and what a post costs.

The receiver is a process of its own on the same cores, PostgreSQL is the embedded one. Two rows by turns: `alone`, the
sender called by as many tasks as one endpoint allows; `queued`, a backlog for some endpoints that the real loop claims,
signs, posts and records. CPU is the sender's, by post. Then `told`: events one at a time, at odd moments, from the
commit that tells of one to the receiver's answer.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from bench.delivery import WORKSPACE, Line, gateway_of, measured, ran
from bench.report import Report
from bench.service import fresh_folder
from geo_offers.clock import now_us
from geo_offers.gateways.events import EventSender
from geo_offers.pipeline.notifying import EACH, Answer, Notifier, Post, Told
from geo_offers.storage import embedded
from geo_offers.storage.keys import UNSEALED
from geo_offers.storage.pool import Pool, open_pool, transaction
from geo_offers.storage.supervisor import SUPERUSER
from geo_offers.storage.webhooks import PostgresEventQueue, spelled, tell

SHORT: Final = ("--posts", "400", "--repeats", "2", "--told", "20")
SEED: Final = 7
KEY: Final = bytes(range(32))
TYPE: Final = "geofence.entered"
BODY: Final = (
    b'{"user":"7b3c2f0e-5f0b-4b8e-9a53-0d1c1f6f2a10","device":"7b3c2f0e","fence":"town/bakery","fence_version":7}'
)


@dataclass(frozen=True, slots=True)
class Options:
    posts: int = 4_000
    repeats: int = 5
    endpoints: int = 8
    told: int = 200


def options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--posts", type=int, default=default.posts, metavar="N", help="in a window")
    parser.add_argument("--repeats", type=int, default=default.repeats, metavar="N", help="windows of each row")
    parser.add_argument("--endpoints", type=int, default=default.endpoints, metavar="N", help="that the backlog is for")
    parser.add_argument("--told", type=int, default=default.told, metavar="N", help="events one at a time")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    yield ran(run(Options(given.posts, given.repeats, given.endpoints, given.told)))


async def run(options: Options) -> Report:
    """Start a receiver and a database, post, and check that the receiver took as many as were posted."""
    alone, queued, told = Line("events, alone"), Line("events, queued"), Line("events, told")
    async with AsyncExitStack() as stack:
        url, taken = await stack.enter_async_context(gateway_of("webhook"))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        )
        sender = EventSender(session)
        folder = stack.enter_context(fresh_folder())
        server = await stack.enter_async_context(await embedded.start(folder))
        pool = await stack.enter_async_context(open_pool(server.app_dsn, size=4))
        admin = await asyncpg.connect(server.endpoint.dsn(SUPERUSER, embedded.DATABASE))
        stack.push_async_callback(admin.close)
        endpoints = [uuid4() for _ in range(options.endpoints)]
        await admin.executemany(
            "INSERT INTO webhook_endpoint (id, workspace, url, types, secret) VALUES ($1, $2, $3, '{}', $4)",
            [(endpoint, WORKSPACE, url, KEY) for endpoint in endpoints],
        )
        for number in range(-1, options.repeats):  # the first windows are to warm up
            figures = [await measured(alone, _alone(sender, url, options.posts))]
            await _fill(admin, endpoints, options.posts)
            figures.append(await measured(queued, _queued(PostgresEventQueue(pool, UNSEALED), sender, options.posts)))
            if number >= 0:
                alone.add(*figures[0])
                queued.add(*figures[1])
        await admin.execute("UPDATE webhook_endpoint SET types = $1 WHERE id = $2", [TYPE], endpoints[0])
        told.add(*await measured(told, _told(pool, sender, options.told)))
        if (got := taken()) != (expected := 2 * options.posts * (options.repeats + 1) + options.told):
            raise RuntimeError(f"the receiver took {got} events of {expected}")
    load = {"windows": f"{options.repeats} x {options.posts} posts", "endpoints": options.endpoints, "each": EACH}
    return Report("notifying", dict(load), [alone.row(), queued.row(), told.row()])


async def _alone(sender: EventSender, url: str, posts: int) -> tuple[int, float, Sequence[float]]:
    endpoint = uuid4()
    waiting = iter([Post(endpoint, uuid4(), 1, 1, WORKSPACE, url, [spelled(KEY)], BODY) for _ in range(posts)])

    async def send() -> None:
        for post in waiting:
            answer = await sender(post)
            if not answer.good:
                raise RuntimeError(f"a post came to {answer}")

    began = perf_counter()
    await asyncio.gather(*(send() for _ in range(EACH)))
    return posts, perf_counter() - began, ()


async def _fill(admin: Any, endpoints: Sequence[UUID], posts: int) -> None:
    await admin.execute("TRUNCATE webhook_event, webhook_delivery, webhook_attempt")
    events = [(uuid4(), endpoints[number % len(endpoints)]) for number in range(posts)]
    await admin.executemany(
        "INSERT INTO webhook_event (id, workspace, type, at, body) VALUES ($1, $2, 'geofence.entered', now(), $3)",
        [(event, WORKSPACE, BODY) for event, _ in events],
    )
    await admin.executemany(
        "INSERT INTO webhook_delivery (endpoint, event, workspace) VALUES ($1, $2, $3)",
        [(endpoint, event, WORKSPACE) for event, endpoint in events],
    )
    await admin.execute("ANALYZE webhook_delivery, webhook_event")


async def _queued(queue: PostgresEventQueue, sender: EventSender, posts: int) -> tuple[int, float, Sequence[float]]:
    counter = _Counter(posts)
    notifier = Notifier(queue, sender, counter)
    began = perf_counter()
    notifier.start()
    await counter.done.wait()
    took_s = perf_counter() - began
    await notifier.stop(5)
    return posts, took_s, ()


async def _told(pool: Pool, sender: EventSender, count: int) -> tuple[int, float, Sequence[float]]:
    """The rate is that of the pauses: what counts is how long each takes."""
    answered, pauses = asyncio.Event(), Random(SEED)

    async def send(post: Post) -> Answer:
        answer = await sender(post)
        answered.set()
        return answer

    notifier, took_ms = Notifier(PostgresEventQueue(pool, UNSEALED), send, _Counter(count)), list[float]()
    notifier.start()
    began = perf_counter()
    for _ in range(count):
        await asyncio.sleep(pauses.uniform(0.01, 0.05))
        answered.clear()
        async with transaction(pool, [WORKSPACE]) as connection:
            await tell(connection, [Told(TYPE, WORKSPACE, uuid4(), now_us(), BODY)])
        committed = perf_counter()
        notifier.wake()
        await answered.wait()
        took_ms.append((perf_counter() - committed) * 1e3)
    took_s = perf_counter() - began
    await notifier.stop(5)
    return count, took_s, took_ms


class _Counter:
    """An observer that waits for so many delivered; anything else ends the bench."""

    def __init__(self, posts: int) -> None:
        self._left = posts
        self.done = asyncio.Event()

    def counted(self, lane: str, outcome: str) -> None:
        if outcome != "delivered":
            raise RuntimeError(f"an event of {lane} came to {outcome}")
        self._left -= 1
        if not self._left:
            self.done.set()

    def oldest_due(self, lane: str, age_s: float) -> None: ...
