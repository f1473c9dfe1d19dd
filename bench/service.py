"""The real server as a child with a fresh data folder, and what the pings bench needs from it."""

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import msgspec
import psutil

from geo_offers import wire
from geo_offers.client import Client
from geo_offers.demo import service
from geo_offers.demo.service import Service
from geo_offers.storage import embedded
from geo_offers.storage.keys import create_key
from geo_offers.storage.pool import open_pool

WORKSPACE: Final = "bench"
STOP_S: Final = 20.0


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A data folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="geo-offers-bench-"))
    folder.chmod(0o711)  # PostgreSQL drops root and must still reach its data
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def running(core: int | None) -> AsyncIterator[Service]:
    """Start it, on that core if one is named."""
    with fresh_folder() as folder:
        async with service.running(folder, environment(), stop_s=STOP_S, core=core) as started:
            if core is not None:
                _off(started, core)
            yield started


def _off(started: Service, core: int) -> None:
    """The server's PostgreSQL beside the sender: the core is the server's alone."""
    others = [other for other in psutil.Process().cpu_affinity() if other != core]
    for child in psutil.Process(started.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.cpu_affinity(others)


def environment() -> Mapping[str, str]:
    """Ours alone: no setting of the caller's changes what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEO_OFFERS_")}
    return {**kept, "GEO_OFFERS_LOG_LEVEL": "warning"}


def cpu_s(started: Service) -> tuple[float, float]:
    """CPU seconds so far: of the server, and of its PostgreSQL."""
    server = psutil.Process(started.pid)
    spent = server.cpu_times()
    database = 0.0
    for child in server.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            database += times.user + times.system
    return spent.user + spent.system, database


def resident_mb(started: Service) -> float:
    """Memory of the server, its PostgreSQL not counted."""
    return float(psutil.Process(started.pid).memory_info().rss) / 2**20


async def create_server_key(started: Service, workspace: str, *, replay: bool) -> str:
    """A server key. One for replays has no bound on its devices' rate; the command line makes app keys of that kind."""
    async with (
        await embedded.obtain(started.data_dir) as server,
        open_pool(server.app_dsn, size=2) as pool,
    ):
        return await create_key(pool, workspace, "server", None, replay=replay)


async def enrol_many(started: Service, key: str, devices: int, purposes: Sequence[wire.PurposeName]) -> list[UUID]:
    """Enrol so many devices under a server key, a thousand at once, each its own person's."""
    one = wire.Enrolment(platform="other", consents=dict.fromkeys(purposes, "bench"))
    async with Client(started.url, key) as client:
        batches = [[one] * min(1_000, devices - start) for start in range(0, devices, 1_000)]
        return [device.device_id for batch in batches for device in await client.enrol_many(batch)]


async def enrol(
    started: Service, key: str, phones: int, purposes: Sequence[wire.PurposeName] = ("locate",)
) -> list[str]:
    """Enrol that many phones, each its own person's, agreeing to these; their access tokens."""
    tokens = []
    async with aiohttp.ClientSession(started.url, headers={"Authorization": f"Bearer {key}"}) as session:
        for _ in range(phones):
            body = {"platform": "other", "consents": dict.fromkeys(purposes, "bench")}
            async with session.post(
                "/v1/devices", json=body, headers={"Idempotency-Key": str(uuid.uuid4())}
            ) as response:
                said = await response.read()
                if response.status != 201:
                    raise RuntimeError(f"a phone could not be enrolled: {response.status} {said[:300]!r}")
            tokens.append(msgspec.json.decode(said, type=wire.Enrolled).access_token)
    return tokens
