"""The real server as a child with a fresh data folder, and what the pings bench needs from it."""

import asyncio
import os
import shutil
import sys
import tempfile
import uuid
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import psutil

from geo_offers import wire
from geo_offers.storage.processes import end_watch, watch_parent

WORKSPACE: Final = "bench"
START_S: Final = 120.0
STOP_S: Final = 20.0
KEY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running server; made by `running`."""

    url: str
    pid: int
    folder: Path

    async def key(self, kind: str, *more: str) -> str:
        """A new key of the bench's workspace, made beside the running server as an operator would."""
        process = await asyncio.create_subprocess_exec(
            *_program("keys", "create", "--kind", kind, "--workspace", WORKSPACE, *more),
            env=_environment(self.folder),
            stdin=DEVNULL,
            stdout=PIPE,
        )
        async with asyncio.timeout(KEY_S):
            said, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"no {kind} key could be made")
        return said.decode().strip()

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds so far: of the server, and of its PostgreSQL."""
        server = psutil.Process(self.pid)
        spent = server.cpu_times()
        database = 0.0
        for child in server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                database += times.user + times.system
        return spent.user + spent.system, database

    def resident_mb(self) -> float:
        """Memory of the server, its PostgreSQL not counted."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20


@asynccontextmanager
async def running(core: int | None) -> AsyncIterator[Service]:
    """Start it, on that core if one is named (its PostgreSQL too); end it and remove its folder afterwards."""
    folder = _folder()
    log = folder / "server.log"
    try:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *_program("serve"),
                env=_environment(folder),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=output,
                start_new_session=True,
            )
        watch = watch_parent(process.pid, None)
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})  # long before it starts anything of its own
            yield Service(await _address(process, log), process.pid, folder)
        finally:
            await _end(process)
            end_watch(watch)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="geo-offers-bench-"))
    folder.chmod(0o711)  # PostgreSQL drops root and must still reach its data
    return folder


async def enrol(service: Service, key: str, phones: int) -> list[str]:
    """Enrol that many phones, each its own person's, agreeing to be located; their access tokens."""
    tokens = []
    async with aiohttp.ClientSession(service.url, headers={"Authorization": f"Bearer {key}"}) as session:
        for _ in range(phones):
            body = {"platform": "other", "consents": {"locate": "bench"}}
            async with session.post(
                "/v1/devices", json=body, headers={"Idempotency-Key": str(uuid.uuid4())}
            ) as response:
                said = await response.read()
                if response.status != 201:
                    raise RuntimeError(f"a phone could not be enrolled: {response.status} {said[:300]!r}")
            tokens.append(msgspec.json.decode(said, type=wire.Enrolled).access_token)
    return tokens


async def _address(process: Process, log: Path) -> str:
    assert process.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            async for line in process.stdout:
                if line.startswith(b"listening on "):
                    return line.removeprefix(b"listening on ").decode().strip()
    raise RuntimeError(f"the server did not start; it last said: {_last_words(log)}")


def _last_words(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _program(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "geo_offers", *arguments)


def _environment(folder: Path) -> Mapping[str, str]:
    """Ours alone: no setting of the caller's changes what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEO_OFFERS_")}
    return kept | {
        "GEO_OFFERS_HOST": "127.0.0.1",
        "GEO_OFFERS_PORT": "0",
        "GEO_OFFERS_DATA_DIR": str(folder),
        "GEO_OFFERS_LOG_LEVEL": "warning",
    }
