"""Where the time of a ping goes: frames saturate the server while py-spy looks at it, its samples folded to stages.

A sample belongs to the innermost of its frames that the table names, so that a call into a library counts for the stage
that made it. Nanoseconds are a stage's share of the CPU time that a ping took in the same windows, slowed by the
looking. Needs py-spy (`pip install py-spy`) and the right to trace: root, or a `ptrace_scope` of 0.
"""

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import pings
from bench.report import Report, Row, Yardstick
from bench.sending import saturate
from bench.service import cpu_s

SHORT: Final = None
STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "asyncpg": ("asyncpg/",),
    "commit": (
        "geo_offers/pipeline/turn.py",
        "geo_offers/pipeline/records.py",
        "geo_offers/storage/",
        "geo_offers/offers/",
        "geo_offers/people/",
    ),
    "answer encode": (
        "geo_offers/web/pings.py:answer",
        "geo_offers/web/pings.py:_results",
        "geo_offers/web/pings.py:_transitions",
        "geo_offers/web/pings.py:_offers",
        "geo_offers/web/pings.py:_next",
        "geo_offers/web/edge.py",
    ),
    "decode": (
        "geo_offers/pipeline/quick.py:read",
        "geo_offers/web/bodies.py",
        "geo_offers/web/pings.py",
        "geo_offers/instants.py",
    ),
    "quiet pass": ("geo_offers/pipeline/devices.py:Devices.settle",),
    "locate": ("geo_offers/places/", "geo_offers/pipeline/stepping.py:_locate"),
    "presence": ("geo_offers/presence/", "geo_offers/pipeline/stepping.py"),
    "engine": ("geo_offers/pipeline/",),
    "socket + WebSocket": ("aiohttp/", "picows/", "geo_offers/web/", "asyncio/", "geo_offers/cli/"),
}
"""Where a frame's `path:function` begins with one of these; the first stage that fits."""
OTHER: Final = "other"
IDLE: Final = "_queue_SimpleQueue_get"
"""A worker thread that waits for work: py-spy takes its native frames for a running one."""
SETTLE_S: Final = 1.0
"""Until py-spy samples."""


def options(parser: argparse.ArgumentParser) -> None:
    pings.options(parser)
    parser.add_argument("--rate", type=int, default=500, metavar="N", help="samples a second")
    parser.set_defaults(lines=("frames",))


def reports(given: argparse.Namespace) -> Iterator[Report]:
    yield asyncio.run(_run(pings.given_options(given), given.rate))


async def _run(options: pings.Options, samples_a_second: int) -> Report:
    spy = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if spy is None:
        sys.exit("profile: py-spy is not installed (pip install py-spy)")
    way, yardstick = pings.WAYS[options.ways[0]], Yardstick()
    with pings.own_core() as core, tempfile.TemporaryDirectory() as folder:
        async with pings.laid_out(options, core) as bed:
            bed.saturate(way, 1.0)
            probe = bed.saturate(way, 1.0)
            raw, stacks, spent_s, sent, transitions = Path(folder, "raw"), Counter[str](), 0.0, 0, 0
            for _ in range(options.repeats):
                yardstick.spin()
                requests = bed.requests(way, probe.rate() * options.seconds)
                with bed.connected(way) as lines, _spying(spy, bed.service.pid, samples_a_second, raw):
                    before = cpu_s(bed.service)[0]
                    record = saturate(lines, requests, way.size, way.window)
                    spent_s += cpu_s(bed.service)[0] - before
                sent += record.sent
                transitions += record.transitions
                stacks.update(_read(raw))
    shares = fold(stacks)
    total = sum(shares.values()) or 1
    ns = spent_s / sent * 1e9
    rows = [
        Row(stage, ns * count / total, "ns/ping", yardstick, None, {"share": count / total, "samples": count})
        for stage, count in shares.most_common()
    ]
    top = {f"other_{n + 1}": leaf for n, (leaf, _) in enumerate(_leaves(stacks).most_common(3))}
    return Report(
        "profile",
        {"line": way.name, "fences": options.fences, "devices": options.devices, "samples_a_second": samples_a_second},
        rows,
        {"server_cpu_ns_a_ping": ns, "sent": sent, "transitions": transitions, **top},
    )


@contextmanager
def _spying(spy: str, pid: int, samples_a_second: int, raw: Path) -> Iterator[None]:
    """Samples of what runs within are in the file afterwards."""
    asked = ("--native", "-f", "raw", "-r", str(samples_a_second), "-o", str(raw), "-d", "3600", "-p", str(pid))
    child = subprocess.Popen([spy, "record", *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        child.send_signal(signal.SIGINT)  # it writes what it has
        child.wait(60)


def _read(raw: Path) -> Counter[str]:
    """Stacks, outermost frame first, split by semicolons, and how often each was seen."""
    found = Counter[str]()
    for line in raw.read_text(errors="replace").splitlines():
        stack, _, count = line.rpartition(" ")
        found[stack] += int(count)
    return found


def fold(stacks: Mapping[str, int]) -> Counter[str]:
    """Samples by stage."""
    found = Counter[str]()
    for stack, count in stacks.items():
        if IDLE not in stack:
            found[stage_of(stack.split(";"))] += count
    return found


def stage_of(frames: Iterable[str]) -> str:
    """The stage of the innermost frame that any stage names; frames are `function (path:line)`, outermost first."""
    for frame in reversed(list(frames)):
        named = _named(frame)
        for stage, words in STAGES.items():
            if named.startswith(words):
                return stage
    return OTHER


def _named(frame: str) -> str:
    """`answer (geo_offers/web/pings.py:88)` as `geo_offers/web/pings.py:answer`."""
    function, _, place = frame.partition(" (")
    return f"{place.rstrip(')').rpartition(':')[0]}:{function}"


def _leaves(stacks: Mapping[str, int]) -> Counter[str]:
    found = Counter[str]()
    for stack, count in stacks.items():
        frames = stack.split(";")
        if IDLE not in stack and stage_of(frames) == OTHER:
            found[frames[-1]] += count
    return found
