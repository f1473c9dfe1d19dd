"""The service as a child process with a data folder of its own: for the demo, and for benches."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage.processes import end_watch, watch_parent

_START_S = 120.0  # a first start makes a database
_KEY_S = 60.0
_ANSWERS = b"listening on "


class Service:
    """A running service; made by `running`."""

    def __init__(self, url: str, data_dir: Path, process: Process, environment: Mapping[str, str]) -> None:
        self.url = url
        self.data_dir = data_dir
        self.log = _log(data_dir)
        self.pid = process.pid
        self._process = process
        self._environment = environment

    async def ended(self) -> int:
        """Exit code, once the service ends by itself."""
        return await self._process.wait()

    async def create_key(self, kind: str, workspace: str, *more: str) -> str:
        """A new key, made beside the running service as an operator would; Misconfigured where it is refused."""
        process = await asyncio.create_subprocess_exec(
            *_program("keys", "create", "--kind", kind, "--workspace", workspace, *more),
            env=self._environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            async with asyncio.timeout(_KEY_S):
                said, failed = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise Misconfigured(f"no {kind} key could be made: {failed.decode(errors='replace').strip()}")
        return said.decode().strip()


@asynccontextmanager
async def running(
    data_dir: Path, environment: Mapping[str, str], *, stop_s: float, core: int | None = None
) -> AsyncIterator[Service]:
    """Start the service and wait until it answers; end it cleanly afterwards, also when this process is killed.

    environment: its own, save for the address and the folder. stop_s: how long it may take to end. core: the processor
    that it and its database are kept to. Raises Unavailable, with its last words, where it does not start.
    """
    environment = {
        **environment,
        "GEO_OFFERS_HOST": "127.0.0.1",
        "GEO_OFFERS_PORT": "0",
        "GEO_OFFERS_DATA_DIR": str(data_dir),
    }
    with _log(data_dir).open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *_program("serve"),
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C at the terminal is for this process, which ends the service last
        )
    watch = watch_parent(process.pid, None)
    drain: asyncio.Task[None] | None = None
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})  # long before it starts anything of its own
        assert process.stdout is not None
        url = await _address(process.stdout, _log(data_dir))
        drain = asyncio.create_task(_swallow(process.stdout))
        yield Service(url, data_dir, process, environment)
    finally:
        await _end(process, stop_s)
        end_watch(watch)
        if drain is not None:
            await drain


def _log(data_dir: Path) -> Path:
    return data_dir / "server.log"


async def _address(output: asyncio.StreamReader, log: Path) -> str:
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            async for line in output:
                if line.startswith(_ANSWERS):
                    return line.removeprefix(_ANSWERS).decode().strip()
    raise Unavailable(f"the service did not start; it last said: {_last_words(log)} (see {log})")


def _last_words(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]


async def _swallow(output: asyncio.StreamReader) -> None:
    while await output.read(65_536):
        pass


async def _end(process: Process, stop_s: float) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(stop_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _program(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "geo_offers", *arguments)
