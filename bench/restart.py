"""What many fences cost the real server: their import, their memory, and a restart until it serves again.

They are imported through the API into sets of 10,000, with stores and tags as a shop's real ones have; so many files
at once as asked, made before the clock runs. An import is answered when its fences serve. Memory is the
server's resident set beyond the one of the same server without a fence, after the import and after the restart. A
restart is timed from the command until the address is printed, which is when the first request is taken.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.load import collection, make_fences
from bench.report import Report, Row, Tail, Value, Yardstick, sizes
from bench.service import STOP_S, WORKSPACE, cpu_s, environment, fresh_folder, resident_mb
from geo_offers.client import Client
from geo_offers.demo.service import Service, running
from geo_offers.places.fences import Geofence

SET_FENCES: Final = 10_000
TAGS: Final = ("food", "clothes", "service", "bakery", "outlet", "new")
SETTLE_S: Final = 3.0
SHORT: Final = None


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fences", type=sizes, default=(100_000,), metavar="N[,N…]")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="restarts")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="imports")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    return (run(fences, given.repeats, given.at_once, given.seed) for fences in given.fences)


def run(fences: int, repeats: int, at_once: int, seed: int) -> Report:
    """Import once, restart `repeats` times."""
    documents = _documents(make_fences(fences, seed))
    load: dict[str, Value] = {"fences": fences, "repeats": repeats, "at_once": at_once, "seed": seed}
    with fresh_folder() as folder:
        row, found = asyncio.run(_run(folder, documents, fences, repeats, at_once))
    return Report("restart", load, [row], found)


async def _run(
    folder: Path, documents: Sequence[bytes], fences: int, repeats: int, at_once: int
) -> tuple[Row, dict[str, Value]]:
    yardstick = Yardstick()
    _, _, empty_mb = await _started(folder)
    async with running(folder, environment(), stop_s=STOP_S) as service:
        key = await service.create_key("manager", WORKSPACE, "--role", "owner")
        yardstick.spin()
        began, before = time.monotonic(), cpu_s(service)
        await _import(service, key, documents, at_once)
        import_s, after = time.monotonic() - began, cpu_s(service)
        await asyncio.sleep(SETTLE_S)
        imported_mb = resident_mb(service)
    restarts = []
    for _ in range(repeats):
        yardstick.spin()
        restarts.append(await _started(folder))
    seconds, cpu, resident = zip(*restarts, strict=True)
    row = Row("restart, until it serves", len(restarts), "runs", yardstick, Tail.of("s", list(seconds)))
    return row, {
        "import_s": import_s,
        "import_server_cpu_s": after[0] - before[0],
        "import_other_cpu_s": after[1] - before[1],
        "empty_mb": empty_mb,
        "restart_cpu_s": min(cpu),
        "bytes_a_fence_imported": round((imported_mb - empty_mb) * 2**20 / fences),
        "bytes_a_fence_restarted": round((resident[-1] - empty_mb) * 2**20 / fences),
    }


async def _started(folder: Path) -> tuple[float, float, float]:
    """Seconds until it serves and those of its CPU, and what is resident a little later."""
    began = time.monotonic()
    async with running(folder, environment(), stop_s=STOP_S) as service:
        taken_s, spent_s = time.monotonic() - began, cpu_s(service)[0]
        await asyncio.sleep(SETTLE_S)
        return taken_s, spent_s, resident_mb(service)


def _documents(fences: Sequence[Geofence]) -> list[bytes]:
    """The files, one a set."""
    documents: list[bytes] = []
    for number in range(0, len(fences), SET_FENCES):
        made = collection(fences[number : number + SET_FENCES])
        for place, feature in enumerate(made["features"], number):
            feature["properties"] |= {"store": f"store-{place:07d}", "tags": [TAGS[place % 2], TAGS[2 + place % 4]]}
        documents.append(msgspec.json.encode(made))
    return documents


async def _import(service: Service, key: str, documents: Sequence[bytes], at_once: int) -> None:
    free = asyncio.Semaphore(at_once)

    async def send(number: int) -> None:
        async with free:
            set_id = f"set-{number * SET_FENCES:07d}"
            applied = await client.manager.create_import(documents[number], set_id=set_id, dry_run=False)
        if applied.counts.refused:
            raise RuntimeError(f"{applied.counts.refused} fences were refused")

    async with Client(service.url, key) as client:
        await asyncio.gather(*map(send, range(len(documents))))
