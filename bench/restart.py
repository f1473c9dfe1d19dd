"""What many fences cost the real server: their import, their memory, and a restart until it serves again.

They are imported through the API into sets of 10,000, with stores and tags as a shop's real ones have. Memory is the
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
from bench.report import Report, Row, Tail, Yardstick, sizes
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
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    return (run(fences, given.repeats, given.seed) for fences in given.fences)


def run(fences: int, repeats: int, seed: int) -> Report:
    """Import once, restart `repeats` times."""
    with fresh_folder() as folder:
        return asyncio.run(_run(folder, fences, repeats, seed))


async def _run(folder: Path, fences: int, repeats: int, seed: int) -> Report:
    yardstick = Yardstick()
    _, _, empty_mb = await _started(folder)
    async with running(folder, environment(), stop_s=STOP_S) as service:
        began = time.monotonic()
        await _import(service, make_fences(fences, seed))
        import_s = time.monotonic() - began
        await asyncio.sleep(SETTLE_S)
        imported_mb = resident_mb(service)
    restarts = []
    for _ in range(repeats):
        yardstick.spin()
        restarts.append(await _started(folder))
    seconds, cpu, resident = zip(*restarts, strict=True)
    return Report(
        "restart",
        {"fences": fences, "repeats": repeats, "seed": seed},
        [Row("restart, until it serves", len(restarts), "runs", yardstick, Tail.of("s", list(seconds)))],
        {
            "import_s": import_s,
            "empty_mb": empty_mb,
            "restart_cpu_s": min(cpu),
            "bytes_a_fence_imported": round((imported_mb - empty_mb) * 2**20 / fences),
            "bytes_a_fence_restarted": round((resident[-1] - empty_mb) * 2**20 / fences),
        },
    )


async def _started(folder: Path) -> tuple[float, float, float]:
    """Seconds until it serves and those of its CPU, and what is resident a little later."""
    began = time.monotonic()
    async with running(folder, environment(), stop_s=STOP_S) as service:
        taken_s, spent_s = time.monotonic() - began, cpu_s(service)[0]
        await asyncio.sleep(SETTLE_S)
        return taken_s, spent_s, resident_mb(service)


async def _import(service: Service, fences: Sequence[Geofence]) -> None:
    async with Client(service.url, await service.create_key("manager", WORKSPACE, "--role", "owner")) as client:
        for number in range(0, len(fences), SET_FENCES):
            made = collection(fences[number : number + SET_FENCES])
            for place, feature in enumerate(made["features"], number):
                feature["properties"] |= {"store": f"store-{place:07d}", "tags": [TAGS[place % 2], TAGS[2 + place % 4]]}
            document = msgspec.json.encode(made)
            applied = await client.manager.create_import(document, set_id=f"set-{number:07d}", dry_run=False)
            if applied.counts.refused:
                raise RuntimeError(f"{applied.counts.refused} fences were refused")
