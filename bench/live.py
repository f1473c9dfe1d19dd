"""Fences that change while pings flow: the real server, its PostgreSQL, over loopback.

One WebSocket under a server key carries all devices' pings in frames of 100, open loop, at a rate that the server holds
with ease. First the fences are imported through the API, set by set. Then, by turns: nothing else happens (quiet);
single fences are inserted, changed and deleted, and a phone that stands still in each must be told of it by its next
ping; whole files are imported. What counts is each tail beside the quiet one of the same run, and that no ping is lost.
"""

import argparse
import asyncio
import gc
import math
import statistics
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import aiohttp
import msgspec
import numpy as np

from bench.lines import StreamLine
from bench.load import PING_EVERY_S, Devices, cities_for, collection, make_devices, make_fences, middles
from bench.openloop import Outcome
from bench.report import Report, Row, Tail, Value, Yardstick
from bench.service import WORKSPACE, cpu_s, resident_mb, running
from geo_offers import clock, instants, wire
from geo_offers.client import Client
from geo_offers.demo.service import Service

FRAME: Final = 100
IMPORT_FENCES: Final = 10_000
WARM_S: Final = 2.0
ANSWER_S: Final = 10.0
ENROL_AT_ONCE: Final = 8
BESIDE_DEG: Final = 0.25  # so far north of a city no fence of the load lies
_enrolled = msgspec.json.Decoder(wire.Enrolled)
_answer = msgspec.json.Decoder(wire.PingsAnswer)


SHORT: Final = None


@dataclass(frozen=True, slots=True)
class Options:
    fences: int = 100_000
    devices: int = 1_000
    rate: float = 2_000.0
    """Pings a second."""
    seconds: float = 4.0
    """Of each quiet run."""
    repeats: int = 3
    changes: int = 100
    """Fences that are inserted, changed and deleted, over all repeats."""
    seed: int = 7


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fences", type=int, default=100_000, metavar="N")
    parser.add_argument("--rate", type=float, default=2_000.0, metavar="N", help="pings a second")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="N", help="of each quiet run")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--changes", type=int, default=100, metavar="N", help="fences put, changed and deleted")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    asked = Options(
        given.fences,
        rate=given.rate,
        seconds=given.seconds,
        repeats=given.repeats,
        changes=given.changes,
        seed=given.seed,
    )
    yield asyncio.run(run(asked))


@dataclass(slots=True)
class Run:
    """What became of the frames of one run, by number."""

    due_s: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """How long after it was due the sender sent it."""
    good: int = 0
    bad: int = 0
    span_s: tuple[float, float] = (0.0, math.inf)

    def settle(self, number: int, outcome: Outcome, _transitions: int) -> None:
        self.latency_ms[number] = (perf_counter() - self.due_s[number]) * 1e3
        self.good += outcome is Outcome.OK
        self.bad += outcome is not Outcome.OK

    def meanwhile_ms(self) -> list[float]:
        """Latencies of the frames that were due while what the run is about went on."""
        begun, ended = self.span_s
        timed = zip(self.due_s, self.latency_ms, strict=True)
        return [latency for due, latency in timed if begun <= due <= ended]


@dataclass(slots=True)
class Flow:
    """All devices' pings over one line, each device in turn."""

    line: StreamLine
    names: Sequence[str]
    devices: Devices
    at_us: int
    rate: float
    rng: np.random.Generator
    yardstick: Yardstick = field(default_factory=Yardstick)
    _ready: list[str] = field(default_factory=list)

    async def run(self, meanwhile: Callable[[], Awaitable[None]]) -> Run:
        """Send until `meanwhile` is through and every frame is answered or given up."""
        run = Run()
        self.line.sink = run.settle
        self.yardstick.spin()
        gc.collect()
        gc.disable()  # the sender's own pauses are not the server's
        sending = asyncio.create_task(self._send(run))
        try:
            await asyncio.sleep(0.1)
            begun = perf_counter()
            await meanwhile()
            run.span_s = begun, perf_counter()
        finally:
            gc.enable()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        until = perf_counter() + ANSWER_S
        while run.good + run.bad < len(run.due_s) and perf_counter() < until:  # noqa: ASYNC110 - once a run, off the clock
            await asyncio.sleep(0.005)
        self.yardstick.spin()
        return run

    async def _send(self, run: Run) -> None:
        due_s, frame = perf_counter(), self._frame()
        while True:
            late_s = perf_counter() - due_s
            if late_s < 0:
                await asyncio.sleep(-late_s)
                continue
            run.due_s.append(due_s)
            run.late_ms.append(late_s * 1e3)
            run.latency_ms.append(math.inf)
            self.line.send(len(run.due_s) - 1, frame)
            due_s += float(self.rng.exponential(FRAME / self.rate))
            frame = self._frame()

    def _frame(self) -> bytes:
        while len(self._ready) < FRAME:
            self.devices.advance()
            self.at_us += int(PING_EVERY_S * 1_000_000)
            at = instants.text(self.at_us)
            places = zip(self.names, self.devices.lat.tolist(), self.devices.lon.tolist(), strict=True)
            self._ready += [
                f'{{"device":"{name}","at":"{at}","lat":{lat:.7f},"lon":{lon:.7f},"accuracy_m":8}}'
                for name, lat, lon in places
            ]
        taken, self._ready = self._ready[:FRAME], self._ready[FRAME:]
        return f"[{','.join(taken)}]".encode()


@dataclass(slots=True)
class Calls:
    """The calls of a manager, and of a phone that stands still where fences come and go."""

    session: aiohttp.ClientSession
    manager: str
    phone: str
    spot: tuple[float, float]
    at_us: int

    async def _call(self, method: str, path: str, key: str, body: object = None) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {key}"}
        async with self.session.request(method, path, data=data, headers=headers) as answer:
            said = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")
            return said

    async def edges(self) -> list[str]:
        """What the phone's next ping is told."""
        self.at_us += 1_000_000
        ping = {"at": instants.text(self.at_us), "lat": self.spot[0], "lon": self.spot[1], "accuracy_m": 5}
        said = _answer.decode(await self._call("POST", "/v1/pings", self.phone, {"pings": [ping]}))
        return [seen.type for seen in said.transitions]

    async def change(self, number: int, radius_m: float | None) -> None:
        """Put a circle about the spot, or delete it."""
        path = f"/v1/geofences/live/f{number}"
        if radius_m is None:
            await self._call("DELETE", path, self.manager)
            return
        lat, lon = self.spot
        geometry = {"type": "Point", "coordinates": [lon, lat]}
        feature = {"type": "Feature", "geometry": geometry, "properties": {"name": "Live", "radius_m": radius_m}}
        await self._call("PUT", path, self.manager, feature)


CHANGES: Final[Sequence[tuple[str, float | None, Sequence[str]]]] = (
    ("insert", 100.0, ["enter"]),
    ("change", 150.0, []),
    ("delete", None, ["exit"]),
)


async def run(options: Options) -> Report:
    """Start a server, fill it, measure."""
    async with running(None) as service, aiohttp.ClientSession(service.url) as session:
        manager = await service.create_key("manager", WORKSPACE, "--role", "owner")
        loaded, imported_s = await _import_all(service, manager, options)
        app = await service.create_key("app", WORKSPACE, "--replay")
        names: list[str] = []
        while len(names) < options.devices:
            some = await asyncio.gather(*(_enrol(session, app) for _ in range(ENROL_AT_ONCE)))
            names += [str(one.device) for one in some]
        del names[options.devices :]
        phone = await _enrol(session, app)
        line = await StreamLine.connect(service.url, await service.create_key("server", WORKSPACE))
        assert isinstance(line, StreamLine)
        devices = make_devices(options.devices, options.fences, options.seed)
        rng = np.random.default_rng([options.seed, 6])
        flow = Flow(line, names, devices, clock.now_us(), options.rate, rng)
        lat, lon = middles(cities_for(options.fences), options.seed)[:, 0].tolist()
        calls = Calls(session, manager, phone.access_token, (lat + BESIDE_DEG, lon), clock.now_us())
        rows = [loaded, *await _live(flow, calls, service, options)]
        found: dict[str, Value] = {"imported_and_serving_s": imported_s, "server_resident_mb": resident_mb(service)}
        line.close()
    load: dict[str, Value] = {
        "fences": options.fences,
        "devices": options.devices,
        "pings/s": options.rate,
        "a_frame": FRAME,
        "repeats": options.repeats,
        "seed": options.seed,
    }
    return Report("live", load, rows, found)


async def _enrol(session: aiohttp.ClientSession, key: str) -> wire.Enrolled:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid.uuid4())}
    body = {"platform": "other", "consents": {"locate": "bench"}}
    async with session.post("/v1/devices", json=body, headers=headers) as answer:
        said = await answer.read()
        if answer.status != 201:
            raise RuntimeError(f"a phone could not be enrolled: {answer.status} {said[:300]!r}")
    return _enrolled.decode(said)


async def _import(client: Client, set_id: str, document: bytes) -> None:
    applied = await client.manager.create_import(document, set_id=set_id, dry_run=False)
    if applied.counts.refused:
        raise RuntimeError(f"{applied.counts.refused} fences were refused")


async def _import_all(service: Service, manager: str, options: Options) -> tuple[Row, float]:
    """Import the fences, one set after the other; an answered fence is in memory, and the next ping sees it."""
    fences = make_fences(options.fences, options.seed)
    parts = [fences[start : start + IMPORT_FENCES] for start in range(0, len(fences), IMPORT_FENCES)]
    documents = [msgspec.json.encode(collection(part)) for part in parts]
    yardstick, took_s, before = Yardstick(), list[float](), cpu_s(service)
    yardstick.spin()
    async with Client(service.url, manager) as client:
        for number, document in enumerate(documents):
            began = perf_counter()
            await _import(client, f"bench{number}", document)
            took_s.append(perf_counter() - began)
    yardstick.spin()
    after = cpu_s(service)
    more: dict[str, Value] = {
        "server_cpu_ms_a_fence": (after[0] - before[0]) * 1e3 / len(fences),
        "other_cpu_ms_a_fence": (after[1] - before[1]) * 1e3 / len(fences),
    }
    tail = Tail.of("s an import", took_s)
    return Row("imports", len(fences) / sum(took_s), "fences/s", yardstick, tail, more), sum(took_s)


async def _live(flow: Flow, calls: Calls, service: Service, options: Options) -> list[Row]:
    await flow.run(lambda: asyncio.sleep(WARM_S))
    flow.yardstick = Yardstick()
    quiet, changing, importing = list[Run](), list[Run](), list[Run]()
    took_ms: dict[str, list[float]] = {name: [] for name, _, _ in CHANGES}
    told: dict[str, int] = dict.fromkeys(took_ms, 0)
    numbers = iter(range(options.changes))
    share = math.ceil(options.changes / options.repeats)
    document = msgspec.json.encode(collection(make_fences(IMPORT_FENCES, options.seed + 1)))

    async def change() -> None:
        for number in (next(numbers, None) for _ in range(share)):
            for name, radius_m, edges in CHANGES if number is not None else ():
                began = perf_counter()
                await calls.change(number or 0, radius_m)
                took_ms[name].append((perf_counter() - began) * 1e3)
                told[name] += await calls.edges() == edges

    async with Client(service.url, calls.manager) as client:
        for repeat in range(options.repeats):
            quiet.append(await flow.run(lambda: asyncio.sleep(options.seconds)))
            changing.append(await flow.run(change))
            quiet.append(await flow.run(lambda: asyncio.sleep(options.seconds)))
            importing.append(await flow.run(lambda: _import(client, f"while{repeat}", document)))  # noqa: B023 - awaited here
    floor = _p99(quiet)
    rows = [
        _pings("pings, quiet", quiet, flow, floor),
        _pings("pings, single changes", changing, flow, floor),
        _pings(f"pings, imports of {IMPORT_FENCES:,}", importing, flow, floor),
    ]
    for name, ms in took_ms.items():
        more: dict[str, Value] = {"told_by_the_next_ping": f"{told[name]} of {len(ms)}"}
        rows.append(Row(name, 1e3 / statistics.median(ms), "a second", flow.yardstick, Tail.of("ms", ms), more))
    return rows


def _p99(runs: Sequence[Run]) -> float:
    """Median of the runs'."""
    return statistics.median(Tail.of("ms", run.meanwhile_ms()).values["p99"] for run in runs)


def _pings(name: str, runs: Sequence[Run], flow: Flow, floor_ms: float) -> Row:
    frames = sum(len(run.due_s) for run in runs)
    while_s = sum(run.span_s[1] - run.span_s[0] for run in runs)
    answered = [run.meanwhile_ms() for run in runs]
    more: dict[str, Value] = {
        "sent": FRAME * frames,
        "lost": FRAME * (frames - sum(run.good for run in runs)),
        "p99_over_quiet": _p99(runs) / floor_ms,
        "p99_by_run_ms": " ".join(f"{Tail.of('ms', ms).values['p99']:.3g}" for ms in answered),
        "sender_late_p99_ms": Tail.of("ms", [ms for run in runs for ms in run.late_ms]).values["p99"],
        "s": while_s,
    }
    tail = Tail.of("ms from when due", [ms for one in answered for ms in one])
    return Row(name, FRAME * sum(map(len, answered)) / while_s, "pings/s", flow.yardstick, tail, more)
