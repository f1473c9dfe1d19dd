"""The `replay` command: recorded trips sent as phones would send them, and every transition printed as it comes.

Each device of the file becomes a device of its own at the server, so that no trip carries another's presence. Its rows
go out by time; what a shuffle changes is only the order within a request.
"""

import asyncio
import csv
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from geo_offers import instants, wire
from geo_offers.client.api import Client
from geo_offers.client.errors import ClientError, UnreadableAnswer
from geo_offers.client.pings import MAX_POINTS
from geo_offers.client.retry import Patience
from geo_offers.client.seen import MemorySeenStore
from geo_offers.client.terminal import Bar, Console, Say, bar, printable, to_stderr, to_stdout
from geo_offers.client.trips import Row, Trips, UnreadableTripsError, read_trips

TEXT_VERSION = "replay"
AT_ONCE = 32  # devices replayed at the same time when none of them waits for its time

REFUSALS_TOLD = 20  # line by line; the rest is counted in the last line

Send = Callable[[Sequence[wire.Ping]], Awaitable[wire.PingsAnswer]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay.

    speed: times as fast as recorded; None for as fast as the server answers. batch: most pings a request.
    shuffle_seed: shuffles the pings of each request. duplicate: each request goes out twice.
    """

    speed: float | None = None
    as_json: bool = False
    transport: Literal["http", "stream"] = "http"
    batch: int = 500
    shuffle_seed: int | None = None
    duplicate: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MAX_POINTS:
            raise ValueError(f"a batch is 1 to {MAX_POINTS} pings, not {self.batch}")
        if self.speed is not None and not 0 < self.speed < float("inf"):
            raise ValueError(f"the speed is a number above 0, not {self.speed}")


@dataclass(slots=True)
class _Tally:
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    transitions: int = 0


async def run_replay(
    file: Path,
    options: Options,
    *,
    url: str,
    key: str,
    out: Say = to_stdout,
    err: Say = to_stderr,
    patience: Patience | None = None,
) -> int:
    """Replay the file with an app key made for replays; transitions on `out`, all else on `err`.

    Returns 0 when done, 1 when refused: nothing of the file can be read, the server said no, gave no answer, or took
    none of the points.
    """
    try:
        trips = await asyncio.to_thread(read_trips, file)
        for line, reason in trips.faults:
            err(printable(f"line {line} {reason}"))
        if not trips.devices:
            err("nothing to replay: the file has no readable row")
            return 1
        async with Client(url, key, patience=patience) as client:
            await client.knock()
            with bar(trips.rows * (2 if options.duplicate else 1), "ping", "replaying") as progress:
                tally = await _Replay(client, trips, options, progress, Console(out, err)).run()
    except (UnreadableTripsError, ClientError) as error:
        err(printable(str(error)))
        return 1
    return _summary(trips, tally, err)


def _summary(trips: Trips, tally: _Tally, err: Say) -> int:
    counts = [f"{status} {tally.statuses[status]}" for status in ("accepted", "late", "duplicate", "refused")]
    err(f"{', '.join(counts)}, unreadable lines {len(trips.faults)}, transitions {tally.transitions}")
    if tally.statuses.total() != tally.statuses["refused"]:
        return 0
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(tally.reasons.items()))
    hint = "; recorded trips need a replay key (keys create --replay)" if tally.reasons["too_old"] else ""
    err(f"the server took no point: {reasons}{hint}")
    return 1


class _Replay:
    def __init__(self, client: Client, trips: Trips, options: Options, progress: Bar, console: Console) -> None:
        self._client = client
        self._trips = trips
        self._options = options
        self._progress = progress
        self._console = console
        self._tally = _Tally()
        self._first_us = min(rows[0].at_us for rows in trips.devices.values())
        self._started_s = asyncio.get_running_loop().time()
        self._turns = asyncio.Semaphore(AT_ONCE if options.speed is None else len(trips.devices))

    async def run(self) -> _Tally:
        await _all_of([self._device(name, rows) for name, rows in self._trips.devices.items()])
        return self._tally

    async def _device(self, name: str, rows: list[Row]) -> None:
        # seeded by name as well: the shuffle of one device does not hang on how the others' requests fell
        shuffle = None if self._options.shuffle_seed is None else _rng(f"{self._options.shuffle_seed}/{name}")
        async with self._turns, AsyncExitStack() as stack:
            send = await self._phone(stack)
            async for batch in self._batches(rows):
                if shuffle is not None:
                    shuffle.shuffle(batch)
                for _ in range(2 if self._options.duplicate else 1):
                    self._answered(name, batch, await send([row.ping for row in batch]))

    async def _phone(self, stack: AsyncExitStack) -> Send:
        consents: dict[wire.PurposeName, str] = {"locate": TEXT_VERSION, "offers": TEXT_VERSION}
        device = await self._client.enrol(wire.Enrolment(platform="other", consents=consents))
        if self._options.transport == "http":
            return device.send
        return (await stack.enter_async_context(device.stream(seen=MemorySeenStore()))).send

    async def _batches(self, rows: Sequence[Row]) -> AsyncIterator[list[Row]]:
        """Rows as they come due: each wait ends with the next row, and takes along what is due with it."""
        loop = asyncio.get_running_loop()
        start = 0
        while start < len(rows):
            await asyncio.sleep(max(self._due_s(rows[start]) - loop.time(), 0.0))
            end = start + 1
            while end < len(rows) and end - start < self._options.batch and self._due_s(rows[end]) <= loop.time():
                end += 1
            yield list(rows[start:end])
            start = end

    def _due_s(self, row: Row) -> float:
        """When to send it, on the loop's clock."""
        if self._options.speed is None:
            return self._started_s
        return self._started_s + (row.at_us - self._first_us) / 1e6 / self._options.speed

    def _answered(self, name: str, batch: Sequence[Row], answer: wire.PingsAnswer) -> None:
        if len(answer.results) != len(batch):
            raise UnreadableAnswer(f"the server answered {len(answer.results)} of {len(batch)} points")
        for row, result in zip(batch, answer.results, strict=True):
            self._tally.statuses[result.status] += 1
            if result.status == "refused":
                reason = result.reason or "without a reason"
                self._tally.reasons[reason] += 1
                if self._tally.statuses["refused"] <= REFUSALS_TOLD:
                    self._console.err(f"line {row.line} was refused by the server: {reason}")
        for transition in answer.transitions:
            self._tally.transitions += 1
            self._console.out(self._line(name, transition))
        self._progress.update(len(batch))

    def _line(self, name: str, transition: wire.TransitionSeen) -> str:
        at = instants.text(instants.to_us(transition.at))
        if self._options.as_json:
            told = {"device": name, "at": at, "type": transition.type, "fence": transition.fence}
            return msgspec.json.encode(told).decode()
        cells = io.StringIO()
        csv.writer(cells, lineterminator="").writerow(
            [printable(name), at, transition.type, printable(transition.fence)]
        )
        return cells.getvalue()


def _rng(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a repeatable order of rows; nothing secret comes of it


async def _all_of(running: Sequence[Coroutine[None, None, None]]) -> None:
    """Run them all; the first failure stops the others and is raised as it is."""
    tasks = [asyncio.create_task(one) for one in running]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
