"""Pings end to end: phones on their own connections, the real server, its PostgreSQL, over loopback.

The server has core 0 and the sender core 1 where the system lets us choose. Two lines, one after the other: HTTP (one
ping a request, one request at a time on each phone's connection) and WebSocket (one ping a frame). For each the highest
rate whose p99 stays under 50 ms is found by short steps, and what is reported is a run at half of it. No campaign is
live: pings are decoded, judged, located and stepped, visits are committed, answers carry `next`.
"""

import argparse
import asyncio
import gc
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bench.lines import HttpLine, Line, StreamLine
from bench.load import PING_EVERY_S, SET, Devices, collection, make_devices, make_fences
from bench.openloop import Outcome, Record, WallPace, climb, drain, schedule, send_on_schedule
from bench.report import Report, Row, Tail, Value, Yardstick
from bench.service import WORKSPACE, cpu_s, enrol, resident_mb, running
from geo_offers import clock, instants
from geo_offers.client import Client
from geo_offers.demo.service import Service

LIMIT_MS: Final = 50.0
STEP_S: Final = 1.5
STEP_LONGEST_S: Final = 3.0
STEP_PINGS: Final = 300
"""A step is long enough for that many: of fewer, the 99th percentile is a single bad moment."""
STEP_BACKLOG_S: Final = 0.5
QUIET_S: Final = 30.0
WARM_S: Final = 2.0
ANSWER_S: Final = 5.0
IMPORT_FENCES: Final = 10_000
HTTP_FROM: Final = 250.0
STREAM_FROM: Final = 500.0


@dataclass(frozen=True, slots=True)
class Options:
    fences: int = 10_000
    phones: int = 100
    seconds: float = 3.0
    repeats: int = 3
    seed: int = 7


@dataclass(slots=True)
class Crowd:
    """The phones' pings, in turn and encoded ahead; each phone's time goes on from run to run."""

    devices: Devices
    at_us: int

    def take(self, count: int) -> list[bytes]:
        """Ping n is of phone n modulo the phones."""
        phones = len(self.devices.lat)
        pings: list[bytes] = []
        while len(pings) < count:
            self.devices.advance()
            self.at_us += int(PING_EVERY_S * 1_000_000)
            at = instants.text(self.at_us)
            positions = zip(self.devices.lat.tolist(), self.devices.lon.tolist(), strict=True)
            pings += [
                msgspec.json.encode({"at": at, "lat": round(lat, 7), "lon": round(lon, 7), "accuracy_m": 8})
                for lat, lon in positions
            ]
        assert len(pings) % phones == 0
        return pings


@dataclass(slots=True)
class Sender:
    """One kind of line, all phones connected."""

    name: str
    lines: Sequence[Line]
    crowd: Crowd
    seed: int
    yardstick: Yardstick = field(default_factory=Yardstick)
    runs: int = 0

    async def run(self, rate: float, seconds: float, backlog_s: float = math.inf) -> Record:
        """Send at that rate for so long; returns when every ping is answered or given up and the lines are quiet.

        backlog_s: it is given up early once so many seconds' pings wait for their answers.
        """
        self.runs += 1
        record = Record(schedule(rate, seconds, self.seed + self.runs), WallPace())
        pings = self.crowd.take(len(record.due_s))
        for line in self.lines:
            line.sink = record.settle
        lines, phones = self.lines, len(self.lines)
        self.yardstick.spin()
        gc.collect()
        gc.disable()  # the sender's own pauses are not the server's
        try:
            await send_on_schedule(
                record, lambda number: lines[number % phones].send(number, pings[number]), max(50.0, rate * backlog_s)
            )
            await drain(record, ANSWER_S if record.sent == len(record.due_s) else 0.0)
            await self._quiet()
        finally:
            gc.enable()
        self.yardstick.spin()
        return record

    async def _quiet(self) -> None:
        """What was given up must not weigh on the next run."""
        for line in self.lines:
            line.drop()
        async with asyncio.timeout(QUIET_S):
            while not all(line.idle for line in self.lines):  # noqa: ASYNC110 - once a run, off the clock
                await asyncio.sleep(0.01)

    async def holds(self, rate: float) -> bool:
        seconds = min(max(STEP_PINGS / rate, STEP_S), STEP_LONGEST_S)
        record = await self.run(rate, seconds, STEP_BACKLOG_S)
        return record.p99_ms() <= LIMIT_MS


SHORT: Final[Sequence[str]] = ()


def options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--fences", type=int, default=default.fences, metavar="N")
    parser.add_argument("--phones", type=int, default=default.phones, metavar="N", help="phones on each line")
    parser.add_argument("--seconds", type=float, default=default.seconds, metavar="S", help="length of each repeat")
    parser.add_argument("--repeats", type=int, default=default.repeats, metavar="N")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    yield asyncio.run(run(Options(given.fences, given.phones, given.seconds, given.repeats, given.seed)))


async def run(options: Options) -> Report:
    """Start a server, load it, measure both lines."""
    with _own_core() as server_core:
        async with running(server_core) as service:
            upload_s = await _load(service, options)
            app = await service.create_key("app", WORKSPACE, "--replay")
            rows: list[Row] = []
            limits: dict[str, Value] = {}
            for number, (kind, name, first) in enumerate(
                ((HttpLine, "HTTP", HTTP_FROM), (StreamLine, "WebSocket", STREAM_FROM))
            ):
                tokens = await enrol(service, app, options.phones)
                lines = [await kind.connect(service.url, token) for token in tokens]
                seed = options.seed + number
                crowd = Crowd(make_devices(options.phones, options.fences, seed), clock.now_us())
                highest, row = await _measure(service, Sender(name, lines, crowd, 1_000 * seed), first, options)
                rows.append(row)
                limits[f"{name}_highest_pings/s_at_p99_50_ms"] = round(highest)
                for line in lines:
                    line.close()
            found: dict[str, Value] = {**limits, "upload_s": upload_s, "server_resident_mb": resident_mb(service)}
    load: dict[str, Value] = {
        "sender": "open loop, exponential gaps",
        "rate": "half the highest with p99 <= 50 ms",
        "seconds": f"{options.repeats} x {options.seconds:g}",
        "warm_up_s": WARM_S,
        "phones": options.phones,
        "fences": options.fences,
        "campaigns": 0,
        "seed": options.seed,
        "server_core": "any" if server_core is None else server_core,
    }
    return Report("pings", load, rows, found)


async def _load(service: Service, options: Options) -> float:
    """Import the fences through the API; seconds until they are applied."""
    fences = make_fences(options.fences, options.seed)
    started = WallPace().now()
    async with Client(service.url, await service.create_key("manager", WORKSPACE, "--role", "owner")) as client:
        for start in range(0, len(fences), IMPORT_FENCES):
            document = msgspec.json.encode(collection(fences[start : start + IMPORT_FENCES]))
            applied = await client.manager.create_import(document, set_id=SET, dry_run=False)
            if applied.counts.refused:
                raise RuntimeError(f"{applied.counts.refused} fences were refused")
    return WallPace().now() - started


async def _measure(service: Service, sender: Sender, first: float, options: Options) -> tuple[float, Row]:
    await sender.run(first, WARM_S)
    highest = await climb(sender.holds, first)
    rate = max(highest / 2, 10.0)
    await sender.run(rate, WARM_S)
    sender.yardstick = Yardstick()
    before = cpu_s(service)
    records = [await sender.run(rate, options.seconds) for _ in range(options.repeats)]
    after = cpu_s(service)
    sent = sum(len(record.due_s) for record in records)
    late_ms = [late * 1e3 for record in records for late in record.late_s]
    p99_ms = [record.p99_ms() for record in records]
    return highest, Row(
        f"{sender.name}, {options.phones} phones",
        statistics.median(record.rate() for record in records),
        "pings/s",
        sender.yardstick,
        Tail.of("ms from when due", [ms for record in records for ms in record.ok_latency_ms()]),
        {
            "asked": round(rate),
            "sent": sent,
            **{outcome.name.lower(): sum(r.count(outcome) for r in records) for outcome in _COUNTED},
            "transitions": sum(record.transitions for record in records),
            "server_cpu_us_a_ping": (after[0] - before[0]) / sent * 1e6,
            "postgres_cpu_us_a_ping": (after[1] - before[1]) / sent * 1e6,
            "p99_by_repeat_ms": " ".join(f"{ms:.3g}" for ms in p99_ms),
            "sender_late_p99_ms": Tail.of("ms", late_ms).values["p99"],
        },
    )


_COUNTED: Final = (Outcome.OK, Outcome.SHED, Outcome.FAILED)


@contextmanager
def _own_core() -> Iterator[int | None]:
    """Keep this process to the second of our cores meanwhile; gives the first, None where we cannot choose."""
    if not hasattr(os, "sched_setaffinity") or len(allowed := sorted(os.sched_getaffinity(0))) < 2:
        yield None
        return
    os.sched_setaffinity(0, {allowed[1]})
    try:
        yield allowed[0]
    finally:
        os.sched_setaffinity(0, set(allowed))
