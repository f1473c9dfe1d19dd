"""The engine's commit alone: transitions to a real PostgreSQL, in turns of that many people, several at a time.

Each part holds one transition, enters and exits in turn for each phone, as the common load has them. One line without
campaigns, one where a tenth of the fences has them, one where all have. Half of the people wish no offers, so that of
what is decided half becomes an offer. Parts are made before a window is timed, and nobody listens to the live feed.

Nobody dispatches the offers but in the line that says so: there a dispatcher claims, looks again and finishes them on
the same server meanwhile, and the window ends when none is left. Its gateway takes everything at once. The last lines
are a turn of one person, and the bare write of outbox rows, a thousand a transaction.
"""

import argparse
import asyncio
import contextlib
import gc
import statistics
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from time import perf_counter, process_time
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import numpy as np
import psutil

from bench.load import SET, make_fences
from bench.report import Report, Row, Tail, Value, Yardstick
from bench.service import WORKSPACE, fresh_folder
from geo_offers import clock, wire
from geo_offers.cli.serving import hold_no_long_pauses
from geo_offers.instants import from_us
from geo_offers.offers.campaigns import CampaignState
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.lanes import Accepted, Message
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.partitions import Ownership, partition_of
from geo_offers.pipeline.requests import Arrival, Part, Request
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.places.fences import Geofence
from geo_offers.presence.states import PresenceState, Stay, Transition, TransitionType
from geo_offers.presence.visits import visit_id
from geo_offers.storage import embedded
from geo_offers.storage.keys import create_key
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import Pool, columns, open_pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.turns import PostgresPartitions, PostgresTurns
from geo_offers.storage.workspaces import raise_catalog

OWNER: Final = workspace_id(WORKSPACE)
DAY_US: Final = 86_400_000_000
LINES: Final = {"no campaign": 0.0, "a tenth decides": 0.1, "all decide": 1.0}
ROWS_A_CALL: Final = 10_000
EAGER: Final = wire.Rhythm(max=1000, per="day", min_gap_h=0, quiet=[])
SILENT: Final = wire.Rhythm(max=0, per="day", min_gap_h=0, quiet=[])
PAST: Final = (
    "INSERT INTO visit (id, workspace, user_id, device, fence, fence_version, entered_at, left_at, closed_by)"
    " SELECT q.id, $1, q.user_id, q.device, $2, 1, q.entered_at, q.entered_at + interval '5 min', 'exit'"
    " FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[]) q (id, user_id, device, entered_at)"
)
FENCES: Final = (
    "INSERT INTO geofence (workspace, set_id, external_id, feature, min_lat, min_lon, max_lat, max_lon)"
    " SELECT $1, $2, external_id, '{}', 0, 0, 0, 0 FROM unnest($3::text[]) external_id"
)
OUTBOX: Final = (
    "INSERT INTO outbox (offer, workspace, partition, lane, due)"
    " SELECT offer, $1, 0, 'nobody', now() FROM unnest($2::text::uuid[]) offer"
)
OUTBOX_ROWS: Final = 1_000
CAMPAIGN: Final = "INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, $3, $4, 'bench')"

SHORT: Final = ("--past", "20000", "--repeats", "3")


@dataclass(frozen=True, slots=True)
class Options:
    """past: visits in the table beforehand. turns: in each of `repeats` timed windows."""

    users: int = 50_000
    past: int = 200_000
    turn: int = 128
    commits: int = 3
    turns: int = 60
    repeats: int = 5
    fences: int = 1_000
    seed: int = 7


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turn", type=int, default=128, metavar="N", help="people a turn")
    parser.add_argument("--commits", type=int, default=3, metavar="N", help="turns under way at once")
    parser.add_argument("--past", type=int, default=200_000, metavar="N", help="visits that are there beforehand")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timed windows")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    asked = Options(past=given.past, turn=given.turn, commits=given.commits, repeats=given.repeats, seed=given.seed)
    yield _run_as_served(run(asked))


def _run_as_served(work: Coroutine[Any, Any, Report]) -> Report:
    """On the event loop that the server has: uvloop, where there is one (not on Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


@dataclass(slots=True)
class Phones:
    """One phone each of that many people, entering and leaving fences in turn."""

    users: Sequence[UUID]
    devices: Sequence[UUID]
    fences: Sequence[Geofence]
    epochs: dict[int, int]
    rng: np.random.Generator
    states: dict[UUID, PresenceState] = field(default_factory=dict)

    def turns(self, count: int, size: int) -> deque[list[Part]]:
        """The next transitions of that many phones, one each: nobody is in two turns at once."""
        chosen = self.rng.permutation(len(self.users))[: count * size].tolist()
        return deque(self._parts(chosen[start : start + size]) for start in range(0, len(chosen), size))

    def _parts(self, phones: Sequence[int]) -> list[Part]:
        request = Request(OWNER, clock.now_us(), [], bytearray(len(phones)))
        return [self._part(request, number) for number in phones]

    def _part(self, request: Request, number: int) -> Part:
        user, device, at_us = self.users[number], self.devices[number], request.received_us
        state = self.states.get(device)
        stay = next(iter(state.inside.values()), None) if state is not None else None
        if stay is None:
            fence = self.fences[int(self.rng.integers(len(self.fences)))]
            stay = Stay(fence.id, fence.version, visit_id(OWNER, device, fence.id, at_us), at_us)
            kind, inside = TransitionType.ENTER, {fence.id: stay}
        else:
            fence = self.fences[_number(stay)]
            kind, inside = TransitionType.EXIT, {}
        edge = Transition(kind, stay.fence, 1, at_us, stay.visit, stay.entered_us, 8.0, distance_m=-20.0)
        after = self.states[device] = PresenceState(at_us, 48.0, 11.0, inside)
        part = Part(request, user, device, partition_of(user), [], state=after, arrivals=[Arrival(device, edge, fence)])
        part.taken_us, part.epoch = at_us, self.epochs[part.partition]
        return part


def _number(stay: Stay) -> int:
    return int(stay.fence.rpartition("/f")[2])


@dataclass(slots=True)
class Window:
    """What a window took: seconds by the wall, of this process and of PostgreSQL, and of each turn."""

    transitions: int
    wall_s: float
    server_s: float
    postgres_s: float
    turns_s: list[float]


@dataclass(slots=True)
class Stand:
    """The commit with all that it needs, over a PostgreSQL of its own."""

    options: Options
    pool: Pool
    turn: DecisionTurn
    phones: Phones
    postgres_s: Callable[[], float]
    dispatching: bool = False

    async def window(self, turns: int) -> Window:
        due = self.phones.turns(turns, self.options.turn)
        took: list[float] = []
        gc.collect()
        began = perf_counter(), process_time(), self.postgres_s()
        await asyncio.gather(*(self._commit(due, took) for _ in range(self.options.commits)))
        await self._sent()
        ended = perf_counter(), process_time(), self.postgres_s()
        wall_s, server_s, postgres_s = (end - begin for begin, end in zip(began, ended, strict=True))
        return Window(len(took) * self.options.turn, wall_s, server_s, postgres_s, took)

    async def _commit(self, due: deque[list[Part]], took: list[float]) -> None:
        while due:
            parts = due.popleft()
            started = perf_counter()
            refused = await self.turn(parts)
            took.append(perf_counter() - started)
            if refused:
                raise RuntimeError(f"{len(refused)} people were refused")

    async def _sent(self) -> None:
        """Wait until no offer is left, where somebody sends them."""
        left = self.dispatching
        while left:
            await asyncio.sleep(0.005)
            async with transaction(self.pool, [OWNER]) as connection:
                left = await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")

    @asynccontextmanager
    async def dispatched(self) -> AsyncIterator[None]:
        """Let a dispatcher send what this makes; what is left of before is dropped."""
        async with transaction(self.pool, [OWNER]) as connection:
            await connection.execute("DELETE FROM outbox")
        dispatcher = Dispatcher(PostgresOutbox(self.pool, self.turn.catalog), [_Gateway()], _Nobody())
        before, self.turn.wake, self.dispatching = self.turn.wake, dispatcher.wake, True
        dispatcher.start()
        try:
            yield
        finally:
            await dispatcher.stop()
            self.turn.wake, self.dispatching = before, False

    async def campaigns(self, share: float) -> None:
        """Make that share of the fences have campaigns, and no other."""
        chosen = [fence.id for fence in self.phones.fences][: round(share * len(self.phones.fences))]
        async with transaction(self.pool, [OWNER]) as connection:
            await connection.execute("DELETE FROM campaign WHERE workspace = $1", OWNER)
            for event in ("enter", "exit") if chosen else ():
                body = _campaign(event, chosen)
                await connection.execute(CAMPAIGN, uuid4(), OWNER, body, CampaignState.APPROVED.value)
            await raise_catalog(connection, OWNER)


class _Gateway:
    """Takes every message at once."""

    name: Final = "inapp"
    concurrency: Final = 200
    repeats: Final = False
    rate_per_s: Final = inf

    def scope(self, _message: Message) -> None:
        return None

    async def send(self, _message: Message, _start_by: float) -> Accepted:
        return Accepted()


class _Nobody:
    """Hears of every delivery, and tells nobody."""

    def counted(self, lane: str, outcome: str) -> None: ...

    def delivered(self, workspace: UUID, offer: UUID, lane: str, outcome: str, detail: str | None = None) -> None: ...

    def under_way(self, workspace: UUID, offer: UUID, lane: str, step: str) -> None: ...

    def oldest_due(self, lane: str, age_s: float) -> None: ...

    def breakers(self, lane: str, opened: int) -> None: ...


def _campaign(event: str, fences: Sequence[str]) -> bytes:
    body = {
        "name": f"rolls on {event}",
        "objective": "visit",
        "trigger": {"on": event, "fences": {"set": SET} if len(fences) > 999 else {"ids": fences}},
        "texts": {"en": {"title": "Warm rolls at {fence}", "body": "Until noon, two for one"}},
        "holdout": 0,
    }
    return msgspec.json.encode(msgspec.convert(body, wire.CampaignBody))


async def run(options: Options) -> Report:
    """Start PostgreSQL, fill it, measure each line."""
    async with _standing(options) as stand:
        rows = []
        for name, share in LINES.items():
            await stand.campaigns(share)
            await stand.window(max(options.turns // 2, 10))
            rows.append(await _measure(stand, name))
        rows += [await _measure_dispatched(stand), await _measure_one(stand), await _measure_outbox(stand)]
        load: dict[str, Value] = {
            "people": options.users,
            "past_visits": options.past,
            "people_a_turn": options.turn,
            "commits_at_once": options.commits,
            "windows": f"{options.repeats} x {options.turns} turns",
            "seed": options.seed,
        }
        return Report("turns", load, rows)


async def _measure(stand: Stand, name: str) -> Row:
    yardstick, windows = Yardstick(), []
    for _ in range(stand.options.repeats):
        yardstick.spin()
        windows.append(await stand.window(stand.options.turns))
    return Row(
        name,
        statistics.median(window.transitions / window.wall_s for window in windows),
        "transitions/s",
        yardstick,
        Tail.of("ms a turn", [took_s * 1e3 for window in windows for took_s in window.turns_s]),
        {
            "server_cpu_us": statistics.median(window.server_s / window.transitions * 1e6 for window in windows),
            "postgres_cpu_us": statistics.median(window.postgres_s / window.transitions * 1e6 for window in windows),
        },
    )


async def _measure_dispatched(stand: Stand) -> Row:
    """Turns of 100 on two connections, all of which decide, with the offers sent meanwhile."""
    two = replace(stand, options=replace(stand.options, turn=100, commits=2))
    async with two.dispatched():
        await two.window(10)
        return await _measure(two, "all decide, dispatched, 2 x 100")


async def _measure_one(stand: Stand) -> Row:
    one = replace(stand, options=replace(stand.options, turn=1, commits=1, turns=500))
    await one.window(100)
    return await _measure(one, "all decide, a turn of one")


async def _measure_outbox(stand: Stand) -> Row:
    yardstick, rates = Yardstick(), []
    for _ in range(stand.options.repeats):
        yardstick.spin()
        batches = [msgspec.json.encode([uuid4() for _ in range(OUTBOX_ROWS)]).decode() for _ in range(20)]
        began = perf_counter()
        for batch in batches:
            async with transaction(stand.pool, [OWNER]) as connection:
                await connection.execute(OUTBOX, OWNER, f"{{{batch[1:-1]}}}")
        rates.append(len(batches) * OUTBOX_ROWS / (perf_counter() - began))
    return Row("outbox rows alone", statistics.median(rates), "rows/s", yardstick)


# ------------------------------------------------------------------------------------------------ the stand
@asynccontextmanager
async def _standing(options: Options) -> AsyncIterator[Stand]:
    with fresh_folder() as folder:
        async with (
            await embedded.start(folder) as server,
            open_pool(server.app_dsn, size=options.commits + 3) as pool,
        ):
            await create_key(pool, WORKSPACE, "server", None, replay=False)
            ownership = Ownership(PostgresPartitions(pool), "bench")
            await ownership.take_all()
            phones = await _phones(pool, options, dict(ownership.epochs))
            turn = DecisionTurn(
                store=PostgresTurns(pool),
                catalog=Catalog(),
                ownership=ownership,
                figures=Figures(),
                live=LiveFeed(),
                wake=lambda: None,
                lanes=frozenset(),
                tz_version="bench",
            )
            with _kept(ownership):
                stand = Stand(options, pool, turn, phones, partial(_children_cpu_s, psutil.Process()))
                await stand.window(max(options.users // 2 // options.turn, 1))  # half of them are inside now
                hold_no_long_pauses()
                yield stand


@contextmanager
def _kept(ownership: Ownership) -> Iterator[None]:
    keeper = asyncio.create_task(ownership.keep())
    try:
        yield
    finally:
        keeper.cancel()


def _children_cpu_s(process: psutil.Process) -> float:
    spent = 0.0
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            spent += times.user + times.system
    return spent


async def _phones(pool: Pool, options: Options, epochs: dict[int, int]) -> Phones:
    rng = np.random.default_rng([options.seed, 9])
    users, devices = ([uuid4() for _ in range(options.users)] for _ in range(2))
    settings = msgspec.json.encode(wire.Workspace(place_gap_s=0, store_gap_s=0))
    consents = {
        purpose: wire.ConsentState(purpose=purpose, granted=True, text_version="v1", at=from_us(clock.now_us()))
        for purpose in ("locate", "offers")
    }
    agreed = msgspec.json.encode(consents)
    people = [(user, OWNER, partition_of(user), None, "adult", "en", "Europe/Berlin") for user in users]
    phones = [(device, OWNER, user, "ios", False, False) for user, device in zip(users, devices, strict=True)]
    async with transaction(pool, [OWNER]) as connection:
        await connection.execute(sql("workspace_change"), OWNER, settings)
        for start in range(0, options.users, ROWS_A_CALL):
            page = slice(start, start + ROWS_A_CALL)
            await connection.fetch(sql("users_add"), *columns(people[page], 7))
            await connection.fetch(sql("devices_add"), *columns(phones[page], 6))
        for rhythm, whose in ((EAGER, users[::2]), (SILENT, users[1::2])):
            await connection.execute(
                "UPDATE app_user SET rhythm = $2, consents = $3 WHERE id = ANY ($1::uuid[])",
                whose,
                msgspec.json.encode(rhythm),
                agreed,
            )
    fences = make_fences(options.fences, options.seed)
    async with transaction(pool, [OWNER]) as connection:
        await connection.execute(FENCES, OWNER, SET, [fence.id.partition("/")[2] for fence in fences])
    made = Phones(users, devices, fences, epochs, rng)
    for first in range(0, options.past, ROWS_A_CALL):
        await _past(pool, made, first, options.past)
    await pool.execute("ANALYZE")
    return made


async def _past(pool: Pool, phones: Phones, first: int, past: int) -> None:
    """Visits of the last weeks, the oldest first, as their ids and pages are."""
    step_us = 30 * DAY_US // past
    began_us = clock.now_us() - 31 * DAY_US
    fence = phones.fences[first % len(phones.fences)].id
    rows = []
    for number in range(first, min(first + ROWS_A_CALL, past)):
        who, at_us = number * 7_919 % len(phones.users), began_us + number * step_us
        device = phones.devices[who]
        rows.append((visit_id(OWNER, device, fence, at_us), phones.users[who], device, from_us(at_us)))
    async with transaction(pool, [OWNER]) as connection:
        await connection.execute(PAST, OWNER, fence, *columns(rows, 4))
