"""Pings end to end: prepared requests over loopback into the real server and its PostgreSQL.

The server has core 0, its database and the sender core 1, where the system lets us choose. Authentication, metrics and
presence are on and visits are committed; no campaign is live save in the line that says so. Each line is first
saturated (closed loop, the median of the windows is its highest rate), then sent at half of that (open loop, latency
from when a request was due). Each window has connections of its own and fresh pings, made before it begins.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

import msgspec

from bench import echo
from bench.load import DECIDING, PING_EVERY_S, SET, Devices, collection, make_devices, make_fences
from bench.report import Report, Row, Tail, Value, Yardstick
from bench.sending import HttpLine, Line, Record, StreamLine, on_schedule, saturate, schedule
from bench.service import WORKSPACE, cpu_s, create_server_key, enrol, enrol_many, resident_mb, running
from geo_offers import clock, instants, wire
from geo_offers.client import Client
from geo_offers.demo.service import Service

SHORT: Final = ("--fences", "10000", "--devices", "5000", "--seconds", "0.7", "--lines", "frames,single,http")
IMPORT_FENCES: Final = 10_000
"""As many as an import takes and a set holds."""
CATALOG_S: Final = 2.0
"""A campaign that is approved is live for the pings after this."""
_MOST_ROUNDS: Final = 60


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send: so many pings a request, connections, and requests in flight on each when it is saturated."""

    name: str
    kind: type[Line]
    size: int
    lines: int
    window: int
    phones: bool = False
    """Each connection is a phone's, under its own token, and is told `next`; else all are a server key's."""
    deciding: bool = False


WAYS: Final = {
    "frames": Way("WebSocket, 100 pings a frame", StreamLine, 100, 4, 32),
    "single": Way("WebSocket, one ping a frame", StreamLine, 1, 64, 16),
    "http": Way("HTTP, 100 pings a request", HttpLine, 100, 32, 1),
    "phones-http": Way("phones, HTTP, one ping a request", HttpLine, 1, 0, 1, phones=True),
    "phones": Way("phones, WebSocket, one ping a frame", StreamLine, 1, 0, 1, phones=True),
    "deciding": Way("WebSocket, 100 pings a frame, campaigns live", StreamLine, 100, 4, 32, deciding=True),
}


@dataclass(frozen=True, slots=True)
class Options:
    fences: int = 100_000
    devices: int = 50_000
    phones: int = 100
    seconds: float = 3.0
    repeats: int = 5
    seed: int = 7
    ways: Sequence[str] = tuple(WAYS)
    mode: str = "raw"


def options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--fences", type=int, default=default.fences, metavar="N")
    parser.add_argument("--devices", type=int, default=default.devices, metavar="N", help="of the server key")
    parser.add_argument("--phones", type=int, default=default.phones, metavar="N", help="each with its own connection")
    parser.add_argument("--seconds", type=float, default=default.seconds, metavar="S", help="length of each window")
    parser.add_argument("--repeats", type=int, default=default.repeats, metavar="N", help="windows of each kind")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N")
    parser.add_argument("--mode", choices=("raw", "calibrated"), default=default.mode, help="of the fences")
    parser.add_argument("--lines", type=_ways, default=default.ways, metavar="NAME[,NAME…]", help=", ".join(WAYS))


def _ways(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(WAYS):
        raise argparse.ArgumentTypeError(f"lines are {', '.join(WAYS)}")
    return names


def given_options(given: argparse.Namespace) -> Options:
    return Options(
        given.fences,
        given.devices,
        given.phones,
        given.seconds,
        given.repeats,
        given.seed,
        tuple(given.lines),
        given.mode,
    )


def reports(given: argparse.Namespace) -> Iterator[Report]:
    yield asyncio.run(_run(given_options(given)))


async def _run(options: Options) -> Report:
    fewest = max((WAYS[name].lines * WAYS[name].size for name in options.ways), default=0)
    if options.devices < fewest:
        sys.exit(f"pings: these lines need {fewest:,} devices at least, so that each request is whole")
    rows: list[Row] = []
    with own_core() as server_core:
        async with laid_out(options, server_core) as bed:
            for name in sorted(options.ways, key=lambda name: WAYS[name].deciding):  # nothing is live before it
                rows += await measure(bed, WAYS[name])
            bed.found["server_resident_mb"] = resident_mb(bed.service)
        ways = [WAYS[name] for name in options.ways]
        with echo.running(server_core) as url:
            rows += [_ceiling(way, url, options) for way in ways if not way.phones and not way.deciding]
    load: dict[str, Value] = {
        "fences": options.fences,
        "mode": options.mode,
        "devices": options.devices,
        "phones": options.phones,
        "windows": f"{options.repeats} x {options.seconds:g} s",
        "seed": options.seed,
        "server_core": "any" if server_core is None else server_core,
    }
    return Report("pings", load, rows, bed.found)


# ------------------------------------------------------------------------------------------------ what is sent
@dataclass(slots=True)
class Crowd:
    """Devices that walk; each one's time goes on from window to window. `heads`: how each one's pings begin."""

    devices: Devices
    heads: Sequence[bytes]
    at_us: int

    @classmethod
    def of_key(cls, devices: Devices, names: Sequence[UUID], at_us: int) -> Self:
        """Sent for by a server key, so that each ping names its device."""
        return cls(devices, [b'{"device":"%b",' % str(name).encode() for name in names], at_us)

    @classmethod
    def of_phones(cls, devices: Devices, at_us: int) -> Self:
        return cls(devices, [b"{"] * len(devices.lat), at_us)

    def take(
        self, way: Way, lines: int, rounds: int, wrap: Callable[[int, Sequence[bytes]], bytes]
    ) -> list[list[bytes]]:
        """For each line its requests: `rounds` pings of each of its devices, whose pings keep to it and to their order.

        wrap: of a line's number and a request's pings. Devices that fill no whole request are left out.
        """
        requests: list[list[bytes]] = [[] for _ in range(lines)]
        usable = len(self.devices.lat) // (lines * way.size) * way.size
        for _ in range(rounds):
            pings = self._round()
            for line in range(lines):
                own = pings[line::lines][:usable]
                requests[line] += [wrap(line, own[start : start + way.size]) for start in range(0, usable, way.size)]
        return requests

    def _round(self) -> list[bytes]:
        self.devices.advance()
        self.at_us += int(PING_EVERY_S * 1_000_000)
        tail = b',"at":"%b","accuracy_m":8}' % instants.text(self.at_us).encode()
        places = zip(self.devices.lat.tolist(), self.devices.lon.tolist(), strict=True)
        return [head + b'"lat":%.7f,"lon":%.7f' % place + tail for head, place in zip(self.heads, places, strict=True)]


@dataclass(slots=True)
class Bed:
    """A server with fences and devices, and who sends."""

    service: Service
    key: str
    manager: str
    crowd: Crowd
    tokens: Sequence[str]
    phones: Crowd
    options: Options
    found: dict[str, Value] = field(default_factory=dict)

    def lines(self, way: Way) -> int:
        return len(self.tokens) if way.phones else way.lines

    def tokens_of(self, way: Way) -> Sequence[str]:
        return self.tokens if way.phones else [self.key] * way.lines

    def requests(self, way: Way, pings: float) -> list[list[bytes]]:
        """Enough for so many pings, whole rounds of all devices."""
        tokens, crowd = self.tokens_of(way), self.phones if way.phones else self.crowd
        a_round = len(crowd.devices.lat) // (len(tokens) * way.size) * len(tokens) * way.size
        rounds = max(1, round(pings / a_round + 0.499))
        url = self.service.url
        return crowd.take(way, len(tokens), rounds, lambda line, pings: way.kind.wrap(url, tokens[line], pings))

    @contextmanager
    def connected(self, way: Way) -> Iterator[list[Line]]:
        with ExitStack() as stack:
            lines = [way.kind(self.service.url, token) for token in self.tokens_of(way)]
            for line in lines:
                stack.enter_context(closing(line.socket))
            yield lines

    def saturate(self, way: Way, rate: float) -> Record:
        """A window of about the asked length, where the server holds that rate."""
        requests = self.requests(way, rate * self.options.seconds)
        with self.connected(way) as lines:
            return saturate(lines, requests, way.size, way.window)

    def send(self, way: Way, rate: float, seed: int) -> Record:
        due_s = schedule(rate / way.size, self.options.seconds, seed).tolist()
        requests = self.requests(way, len(due_s) * way.size)
        with self.connected(way) as lines:
            return on_schedule(lines, requests, way.size, due_s)


@asynccontextmanager
async def laid_out(options: Options, core: int | None) -> AsyncIterator[Bed]:
    """The server on that core, its fences imported, its devices enrolled and heard of once."""
    fences = make_fences(options.fences, options.seed)
    parts = [fences[start : start + IMPORT_FENCES] for start in range(0, len(fences), IMPORT_FENCES)]
    documents = [msgspec.json.encode(collection(part, options.mode)) for part in parts]
    async with running(core) as service:
        manager = await service.create_key("manager", WORKSPACE, "--role", "owner")
        started = time.perf_counter()
        await _import(service, manager, documents)
        uploaded = time.perf_counter()
        key = await create_server_key(service, WORKSPACE, replay=True)
        names = await enrol_many(service, key, options.devices, ("locate", "offers"))
        enrolled = time.perf_counter()
        tokens = await enrol(service, await service.create_key("app", WORKSPACE, "--replay"), options.phones)
        # In the replay's time it is morning, so that no campaign waits for the quiet hours to end.
        at_us = instants.to_us(instants.from_us(clock.now_us()).replace(hour=9))
        crowd = Crowd.of_key(make_devices(options.devices, options.fences, options.seed), names, at_us)
        phones = Crowd.of_phones(make_devices(options.phones, options.fences, options.seed + 1), at_us)
        found: dict[str, Value] = {"upload_s": uploaded - started, "enrol_s": enrolled - uploaded}
        yield Bed(service, key, manager, crowd, tokens, phones, options, found)


async def _import(service: Service, manager: str, documents: Sequence[bytes]) -> None:
    async with Client(service.url, manager) as client:
        for number, document in enumerate(documents):
            set_id = f"{SET}-{number * IMPORT_FENCES}"
            applied = await client.manager.create_import(document, set_id=set_id, dry_run=False)
            if applied.counts.refused:
                raise RuntimeError(f"{applied.counts.refused} fences were refused")


async def _go_live(bed: Bed) -> None:
    """A campaign for arrivals at a fifth of the fences: arrivals are half of the transitions, so a tenth decides."""
    body = wire.CampaignBody(
        name="bench",
        objective="visit",
        trigger=wire.Trigger(on="enter", fences=wire.FenceSelector(tags=[DECIDING])),
        texts={"en": wire.Text(title="Warm rolls at {store}", body="Fresh until noon.")},
        holdout=0,
    )
    async with Client(bed.service.url, bed.manager) as client:
        campaign = await client.manager.create_campaign(body)
        submitted = await client.manager.submit(campaign.id)
    assert submitted.state == "approved", submitted
    await asyncio.sleep(CATALOG_S)


def decisions(service: Service) -> float:
    """Decisions so far, by the server's own metrics."""
    with urllib.request.urlopen(f"{service.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("geo_offers_decisions_total{"))


# ------------------------------------------------------------------------------------------------ measuring
async def measure(bed: Bed, way: Way) -> list[Row]:
    """Two rows: saturated, and at half of that."""
    if way.deciding:
        await _go_live(bed)
    print(f"pings: {way.name}", file=sys.stderr, flush=True)
    probe = bed.saturate(way, 1.0)  # loads the devices: their first pings are not counted
    probe = bed.saturate(way, 1.0)
    full = _Windows(bed)
    for _ in range(bed.options.repeats):
        full.take(lambda: bed.saturate(way, probe.rate()))
    rate = statistics.median(record.rate() for record in full.records) / 2
    half = _Windows(bed)
    for seed in range(bed.options.repeats):
        half.take(lambda seed=seed: bed.send(way, rate, bed.options.seed * 100 + seed))
    return [
        full.row(f"{way.name}, saturated", None, {"lines": bed.lines(way), "in_flight": way.window * bed.lines(way)}),
        half.row(f"{way.name}, at half", "ms from when due", {"asked": round(rate)}),
    ]


class _Windows:
    """Windows of one kind, and what they cost."""

    def __init__(self, bed: Bed) -> None:
        self.records: list[Record] = []
        self._service = bed.service
        self._yardstick = Yardstick()
        self._decided = decisions(bed.service)
        self._server_s = self._postgres_s = 0.0

    def take(self, window: Callable[[], Record]) -> None:
        self._yardstick.spin()
        before = cpu_s(self._service)
        self.records.append(window())
        after = cpu_s(self._service)
        self._server_s += after[0] - before[0]
        self._postgres_s += after[1] - before[1]

    def row(self, name: str, tail: str | None, more: dict[str, Value]) -> Row:
        records = self.records
        sent = sum(record.sent for record in records)
        transitions = sum(record.transitions for record in records)
        decided = decisions(self._service) - self._decided
        rates = [record.rate() for record in records]
        latency_ms = [float(ms) for record in records for ms in record.latency_ms()]
        found: dict[str, Value] = {
            **more,
            "sent": sent,
            "accepted": sum(record.accepted for record in records),
            "shed": sum(record.shed for record in records),
            "failed": sum(record.failed for record in records),
            "transitions": transitions,
            "transition_share": transitions / sent,
            "decisions": int(decided),
            "server_cpu_us_a_ping": self._server_s / sent * 1e6,
            "postgres_cpu_us_a_ping": self._postgres_s / sent * 1e6,
            "rate_by_window": " ".join(f"{rate:.0f}" for rate in rates),
        }
        if tail is None:
            found["sender_cpu_us_a_ping"] = sum(record.cpu_s for record in records) / sent * 1e6
        else:
            p99_ms = [Tail.of("ms", record.latency_ms()).values["p99"] for record in records]
            found["median_p99_ms"] = statistics.median(p99_ms)
            found["p99_by_window_ms"] = " ".join(f"{ms:.3g}" for ms in p99_ms)
            late_ms = [float(ms) for record in records for ms in record.late_ms()]
            found["sender_late_p99_ms"] = Tail.of("ms", late_ms).values["p99"]
        told = Tail.of(tail, latency_ms) if tail else None
        return Row(name, statistics.median(rates), "pings/s", self._yardstick, told, found)


def _ceiling(way: Way, url: str, options: Options) -> Row:
    """What the sender reaches where the answer costs next to nothing: a line above a fraction of it is in doubt."""
    devices = make_devices(min(options.devices, 20_000), 1_000, options.seed)
    crowd = Crowd.of_key(devices, [UUID(int=number) for number in range(len(devices.lat))], 0)
    yardstick, records = Yardstick(), list[Record]()
    for _ in range(options.repeats):
        requests = crowd.take(
            way, way.lines, 5 if way.size == 1 else 20, lambda _, pings: way.kind.wrap(url, "-", pings)
        )
        with ExitStack() as stack:
            lines = [way.kind(url, "-") for _ in range(way.lines)]
            for line in lines:
                stack.enter_context(closing(line.socket))
            yardstick.spin()
            records.append(saturate(lines, requests, way.size, way.window))
    cpu_us = sum(record.cpu_s for record in records) / sum(record.sent for record in records) * 1e6
    rate = statistics.median(record.rate() for record in records)
    return Row(f"{way.name}, to an echo", rate, "pings/s", yardstick, None, {"sender_cpu_us_a_ping": cpu_us})


@contextmanager
def own_core() -> Iterator[int | None]:
    """Keep this process to the second of our cores meanwhile; gives the first, None where we cannot choose."""
    if not hasattr(os, "sched_setaffinity") or len(allowed := sorted(os.sched_getaffinity(0))) < 2:
        yield None
        return
    os.sched_setaffinity(0, {allowed[1]})
    try:
        yield allowed[0]
    finally:
        os.sched_setaffinity(0, set(allowed))
