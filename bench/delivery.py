"""How fast a lane sends, what a send costs, and how long an offer takes from its commit to the gateway's acceptance.

The gateway's double is a process of its own on the same cores; PostgreSQL is the embedded one. Three rows a lane, by
turns, window by window: `alone`, the lane called by as many senders as it allows; `dispatched`, a backlog in the outbox
that the real dispatcher claims, looks at again, sends and records; `half load`, offers committed at random instants, at
half the median rate of `dispatched` unless a rate is named, with the time from each commit's return to the lane's word
that it was accepted. What an offer points at lies ready; its commit is the outbox row. CPU is the sender's, by send.
"""

import argparse
import asyncio
import gc
import itertools
import json
import multiprocessing
import statistics
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import asyncpg

from bench.gateways import Peer, Phone, apns, fcm, webhook, webpush
from bench.report import Report, Row, Stolen, Tail, Value, Yardstick
from bench.sending import schedule
from bench.service import fresh_folder
from geo_offers import clock, instants
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.lanes import Accepted, Lane, Message, Outcome, outcome_name, replace_key
from geo_offers.storage import embedded
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import Pool, open_pool
from geo_offers.storage.supervisor import SUPERUSER

T = TypeVar("T")
SHORT: Final = ("--sends", "500", "--repeats", "2", "--seconds", "2")
PEERS: Final = {"apns": apns.PEER, "fcm": fcm.PEER, "webhook": webhook.PEER, "webpush": webpush.PEER}
PEOPLE: Final = 2_000
WORKSPACE: Final = UUID(int=1)
CAMPAIGN: Final = UUID(int=2)
FENCE: Final = "town/bakery"
TITLE: Final = "Warm rolls at the bakery by the bridge"
BODY: Final = "Two for one until noon: show this at the till."
DATA: Final = {"code": "ROLLS"}
RUNS: Final = {
    "name": "bench",
    "objective": "visit",
    "trigger": {"on": "enter", "fences": {"ids": [FENCE]}},
    "texts": {"en": {"title": TITLE, "body": BODY}},
}
LIVES: Final = timedelta(hours=2)
PATIENCE_S: Final = 60.0
TICK_S: Final = 0.005
"""Commits are gathered for so long, as a turn gathers them."""
_START_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Options:
    lane: Sequence[str] = tuple(PEERS)
    sends: int = 4_000
    """In each window of `alone` and of `dispatched`."""
    repeats: int = 5
    seconds: float = 10.0
    """Of each window at half load."""
    rate: float | None = None
    seed: int = 7


def options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--lane", action="append", choices=tuple(PEERS), help="the lanes, all by default")
    parser.add_argument("--sends", type=int, default=default.sends, metavar="N", help="in a window")
    parser.add_argument("--repeats", type=int, default=default.repeats, metavar="N", help="windows of each row")
    parser.add_argument("--seconds", type=float, default=default.seconds, metavar="S", help="of a window at half load")
    parser.add_argument("--rate", type=float, default=None, metavar="N", help="offers a second at half load")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    named = {name: value for name, value in vars(given).items() if name != "name" and value is not None}
    asked = Options(**named)
    for lane in asked.lane:
        yield ran(run(lane, asked))


@dataclass(slots=True)
class Line:
    """One row's windows."""

    name: str
    yardstick: Yardstick = field(default_factory=Yardstick)
    stolen: Stolen = field(default_factory=Stolen)
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)

    def add(self, sends: int, took_s: float, cpu_s: float, took_ms: Sequence[float]) -> None:
        self.rates.append(sends / took_s)
        self.cpu_us.append(cpu_s / sends * 1e6)
        self.took_ms.extend(took_ms)

    def row(self) -> Row:
        return Row(
            self.name,
            statistics.median(self.rates),
            "sends/s",
            self.yardstick,
            Tail.of("ms", self.took_ms) if self.took_ms else None,
            {"cpu_us_a_send": statistics.median(self.cpu_us), **self.stolen.counted()},
        )


async def run(name: str, options: Options) -> Report:
    """Start a gateway and a database, send, and check that the gateway took as many as were sent."""
    peer = PEERS[name]
    alone, dispatched, half = (Line(f"{name}, {what}") for what in ("alone", "dispatched", "half load"))
    async with AsyncExitStack() as stack:
        about, taken = await stack.enter_async_context(gateway_of(name))
        timed = Timed(await stack.enter_async_context(peer.lane(about)))
        town = await stack.enter_async_context(_town(timed, [peer.phone(about, number) for number in range(PEOPLE)]))
        sent = 0
        for number in range(-1, options.repeats):  # the first windows are to warm up
            kept = number >= 0
            for line, window in ((alone, _alone), (dispatched, _dispatched)):
                figures = await measured(line, window(timed, town, options.sends))
                sent += options.sends
                if kept:
                    line.add(*figures)
        rate = options.rate or statistics.median(dispatched.rates) / 2
        for number in range(options.repeats):
            due_s = schedule(rate, options.seconds, options.seed + number)
            half.add(*await measured(half, _on_schedule(timed, town, due_s)))
            sent += len(due_s)
        if (told := taken()) != sent:
            raise RuntimeError(f"the gateway took {told} messages of {sent}")
    load: dict[str, Value] = {
        "lane": name,
        "windows": f"{options.repeats} x {options.sends} sends, {options.seconds:g} s at half load",
        "half_load_per_s": rate,
        "at_once": timed.concurrency,
        "seed": options.seed,
    }
    return Report("delivery", load, [line.row() for line in (alone, dispatched, half)])


Figures = tuple[int, float, float, Sequence[float]]
"""Sends, seconds, seconds of CPU, and milliseconds of each where they were taken."""


async def measured(line: Line, window: Any) -> Figures:
    line.yardstick.spin()
    gc.collect()
    gc.disable()  # the sender's own pauses are not the lane's
    cpu_s = process_time()
    try:
        with line.stolen.watched():
            sends, took_s, took_ms = await asyncio.wait_for(window, PATIENCE_S)
    finally:
        gc.enable()
    return sends, took_s, process_time() - cpu_s, took_ms


# ------------------------------------------------------------------------------------------------ windows
async def _alone(lane: "Timed", town: "Town", sends: int) -> tuple[int, float, Sequence[float]]:
    waiting = iter([town.message(number) for number in range(sends)])

    async def send() -> None:
        for message in waiting:
            outcome = await lane.send(message, inf)
            if outcome_name(outcome) != "accepted":
                raise RuntimeError(f"a send came to {outcome}")

    began = perf_counter()
    await asyncio.gather(*(send() for _ in range(lane.concurrency)))
    return sends, perf_counter() - began, ()


async def _dispatched(_lane: "Timed", town: "Town", sends: int) -> tuple[int, float, Sequence[float]]:
    await town.commit(await town.prepare(sends))
    async with town.dispatching(sends) as (_, recorded):
        began = perf_counter()
        await recorded.wait()
        return sends, perf_counter() - began, ()


async def _on_schedule(lane: "Timed", town: "Town", due_s: Sequence[float]) -> tuple[int, float, Sequence[float]]:
    offers = await town.prepare(len(due_s))
    committed_s: dict[UUID, float] = {}
    lane.accepted_s.clear()
    async with town.dispatching(len(offers)) as (dispatcher, recorded):
        began, at = perf_counter(), 0
        while at < len(offers):
            await asyncio.sleep(max(began + due_s[at] - perf_counter(), TICK_S))
            now_s, first = perf_counter() - began, at
            while at < len(offers) and due_s[at] <= now_s:
                at += 1
            await town.commit(offers[first:at])
            committed_s |= dict.fromkeys(offers[first:at], perf_counter())
            dispatcher.wake(lane.name)
        await recorded.wait()
        took_s = perf_counter() - began
    took_ms = [max(lane.accepted_s[offer] - at_s, 0.0) * 1e3 for offer, at_s in committed_s.items()]
    return len(offers), took_s, took_ms


class Timed:
    """The lane, with a note of when each message was accepted."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.name, self.concurrency, self.repeats, self.rate_per_s = (
            lane.name, lane.concurrency, lane.repeats, lane.rate_per_s,
        )  # fmt: skip
        self.scope = lane.scope
        self.accepted_s: dict[UUID, float] = {}

    async def send(self, message: Message, start_by: float) -> Outcome:
        outcome = await self._lane.send(message, start_by)
        if isinstance(outcome, Accepted):
            self.accepted_s[message.offer] = perf_counter()
        return outcome


class Counter:
    """An observer that waits for so many accepted; anything else that an offer may come to ends the bench."""

    def __init__(self, accepted: int) -> None:
        self._left = accepted
        self.done = asyncio.Event()

    def counted(self, lane: str, outcome: str) -> None:
        if outcome == "accepted":
            self._left -= 1
            if not self._left:
                self.done.set()
        elif outcome != "held":
            raise RuntimeError(f"an offer of the lane {lane} came to {outcome}")

    def delivered(self, workspace: UUID, offer: UUID, lane: str, outcome: str, detail: str | None = None) -> None: ...

    def under_way(self, workspace: UUID, offer: UUID, lane: str, step: str) -> None: ...

    def oldest_due(self, lane: str, age_s: float) -> None: ...

    def breakers(self, lane: str, opened: int) -> None: ...


# ------------------------------------------------------------------------------------------------ the gateway
@asynccontextmanager
async def gateway_of(name: str) -> AsyncIterator[tuple[Any, Callable[[], int]]]:
    """The double, in a process of its own: what it tells about itself, and how many messages it has taken."""
    ours, its = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(name, its), daemon=True)
    child.start()

    def asked() -> int:
        ours.send(None)
        return int(ours.recv())

    try:
        if not await asyncio.to_thread(ours.poll, _START_S):
            raise RuntimeError("the gateway did not start")
        yield ours.recv(), asked
    finally:
        child.terminate()
        child.join()


def _serve(name: str, tell: Connection) -> None:
    ran(_answer(PEERS[name], tell))


def ran(work: Coroutine[Any, Any, T]) -> T:
    """Run it on the loop that the service runs on."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


async def _answer(peer: Peer, tell: Connection) -> None:
    async with peer.serve() as gateway:
        tell.send(gateway.about)
        asyncio.get_running_loop().add_reader(tell.fileno(), lambda: (tell.recv(), tell.send(gateway.taken())))
        await asyncio.Event().wait()


# ------------------------------------------------------------------------------------------------ the town
@asynccontextmanager
async def _town(lane: Timed, phones: Sequence[Phone]) -> AsyncIterator["Town"]:
    """A fresh PostgreSQL with one campaign, one fence, and people in it."""
    with fresh_folder() as folder:
        async with await embedded.start(folder) as server, open_pool(server.app_dsn, size=8) as pool:
            admin = await asyncpg.connect(server.endpoint.dsn(SUPERUSER, embedded.DATABASE))
            try:
                town = Town(admin, pool, lane, phones)
                await town.build()
                yield town
            finally:
                await admin.close()


class Town:
    """Who is in it and what they are told."""

    def __init__(self, admin: Any, pool: Pool, lane: Timed, phones: Sequence[Phone]) -> None:
        self._admin = admin
        self._outbox = PostgresOutbox(pool)
        self._lane = lane
        self._phones = phones
        self._people = [(uuid4(), uuid4(), uuid4()) for _ in phones]  # person, device, visit
        self._numbers = itertools.count()

    async def build(self) -> None:
        """All that an offer points at."""
        now = instants.from_us(clock.now_us())
        told = {"granted": True, "text_version": "1", "at": "2026-01-01T00:00:00Z"}
        consents = json.dumps({name: {"purpose": name, **told} for name in ("locate", "offers")}).encode()
        await self._admin.execute("INSERT INTO workspace (id, name) VALUES ($1, 'bench')", WORKSPACE)
        await self._admin.execute(
            "INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, $3, 'approved', 'bench')",
            *(CAMPAIGN, WORKSPACE, json.dumps(RUNS).encode()),
        )
        await self._admin.execute(
            "INSERT INTO geofence (workspace, set_id, external_id, feature, min_lat, min_lon, max_lat, max_lon) "
            "VALUES ($1, 'town', 'bakery', '{}', 0, 0, 1, 1)",
            WORKSPACE,
        )
        rows = list(zip(self._people, self._phones, strict=True))
        await self._copy(
            "app_user", ("id", "workspace", "partition", "consents", "rhythm"),
            ((user, WORKSPACE, 0, consents, b'{"quiet": []}') for (user, _, _), _ in rows),
        )  # fmt: skip
        await self._copy(
            "device", ("id", "workspace", "user_id", "platform", "push_lane", "push_token", "push_keys", "push_at"),
            (
                (device, WORKSPACE, user, phone.platform, self._lane.name, phone.token, phone.keys, now)
                for (user, device, _), phone in rows
            ),
        )  # fmt: skip
        await self._copy(
            "visit", ("id", "workspace", "user_id", "device", "fence", "fence_version", "entered_at"),
            ((visit, WORKSPACE, user, device, FENCE, 1, now) for (user, device, visit), _ in rows),
        )  # fmt: skip
        await self._admin.execute("ANALYZE")

    async def prepare(self, offers: int) -> Sequence[UUID]:
        """So many offers, each of the next person, with the slot it takes; they are not due yet."""
        now = instants.from_us(clock.now_us())
        told = json.dumps({"title": TITLE, "body": BODY, "data": DATA}).encode()
        made = [(uuid4(), *self._people[next(self._numbers) % len(self._people)]) for _ in range(offers)]
        await self._copy(
            "offer",
            ("id", "workspace", "user_id", "device", "decision", "campaign", "fence", "visit", "trigger", "lane",
             "message", "created_at", "expires_at"),
            (
                (offer, WORKSPACE, user, device, uuid4(), CAMPAIGN, FENCE, visit, "enter", self._lane.name, told, now,
                 now + LIVES)
                for offer, user, device, visit in made
            ),
        )  # fmt: skip
        await self._copy(
            "reservation", ("user_id", "at", "offer", "workspace", "campaign", "store", "fence"),
            ((user, now, offer, WORKSPACE, CAMPAIGN, FENCE, FENCE) for offer, user, _, _ in made),
        )  # fmt: skip
        return [offer for offer, *_ in made]

    async def commit(self, offers: Sequence[UUID]) -> None:
        """Make them due, in one transaction."""
        await self._admin.execute(
            "INSERT INTO outbox (offer, workspace, partition, lane, due) "
            "SELECT offer, $2, 0, $3, clock_timestamp() FROM unnest($1::uuid[]) offer",
            *(offers, WORKSPACE, self._lane.name),
        )

    @asynccontextmanager
    async def dispatching(self, offers: int) -> AsyncIterator[tuple[Dispatcher, asyncio.Event]]:
        """The dispatcher at work; the event is set when so many offers are recorded as accepted."""
        counter = Counter(offers)
        dispatcher = Dispatcher(self._outbox, [self._lane], counter)
        dispatcher.start()
        try:
            yield dispatcher, counter.done
        finally:
            await dispatcher.stop()

    async def _copy(self, table: str, columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
        await self._admin.copy_records_to_table(table, records=list(rows), columns=columns)

    def message(self, number: int) -> Message:
        """The same as the outbox gives, without a row."""
        (user, device, _), phone = (of[number % len(self._people)] for of in (self._people, self._phones))
        now_us = clock.now_us()
        return Message(
            offer=uuid4(),
            workspace=WORKSPACE,
            user=user,
            device=device,
            platform=phone.platform,
            push_token=phone.token,
            push_keys=phone.keys,
            campaign=CAMPAIGN,
            fence=FENCE,
            title=TITLE,
            body=BODY,
            link=None,
            data=DATA,
            replace_key=replace_key(uuid4()),
            created_us=now_us,
            expires_us=now_us + round(LIVES.total_seconds() * 1e6),
        )
