"""The service as a child process with a data folder of its own, and the keys that the demo holds for it."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from geo_offers.client import ApiError, Client
from geo_offers.demo.private import read_private, write_private
from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage.processes import end_watch, watch_parent

_START_S = 120.0  # a first start makes a database
_STOP_S = 3.0
_KEY_S = 60.0
_ANSWERS = b"listening on "
_NOT_OURS = ("GEO_OFFERS_DATABASE_URL", "GEO_OFFERS_MIGRATE_URL", "GEO_OFFERS_WEBHOOK_URL")  # the demo uses its own


class Keys(Struct, frozen=True):
    """`manager` is an owner's mk_ key, `server` an sk_ key; both of one workspace."""

    manager: str
    server: str


class Service:
    """A running service; made by `running`."""

    def __init__(self, url: str, data_dir: Path, process: Process) -> None:
        self.url = url
        self.data_dir = data_dir
        self.log = _log(data_dir)
        self._process = process

    async def ended(self) -> int:
        """Exit code, once the service ends by itself."""
        return await self._process.wait()

    async def keys(self, workspace: str) -> Keys:
        """Keys of the workspace: those kept from the last run where they still work, else new ones."""
        file = self.data_dir / "demo-keys.json"
        kept = read_private(file, Keys)
        if kept is not None and await self._work(kept):
            return kept
        manager, server = await asyncio.gather(
            self._create_key("manager", workspace, "--role", "owner"), self._create_key("server", workspace)
        )
        keys = Keys(manager, server)
        write_private(file, keys)
        return keys

    async def _work(self, keys: Keys) -> bool:
        """Whether the service knows both; one that is known and may not read the workspace works all the same."""
        for key in (keys.manager, keys.server):
            async with Client(self.url, key) as client:
                try:
                    await client.manager.workspace()
                except ApiError as error:
                    if error.status == 401:
                        return False
                    if error.status != 403:
                        raise
        return True

    async def _create_key(self, kind: str, workspace: str, *more: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *_program("keys", "create", "--kind", kind, "--workspace", workspace, *more),
            env=_environment(self.data_dir),
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
async def running(data_dir: Path) -> AsyncIterator[Service]:
    """Start the service and wait until it answers; end it cleanly afterwards, also when this process is killed."""
    log = _log(data_dir)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *_program("serve"),
            env=_environment(data_dir),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C at the terminal is for the demo, which ends the service last
        )
    watch = watch_parent(process.pid, None)
    drain: asyncio.Task[bytes] | None = None
    try:
        assert process.stdout is not None
        url = await _address(process.stdout, log)
        drain = asyncio.create_task(_swallow(process.stdout))
        yield Service(url, data_dir, process)
    finally:
        await _end(process)
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


async def _swallow(output: asyncio.StreamReader) -> bytes:
    while await output.read(65_536):
        pass
    return b""


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _program(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "geo_offers", *arguments)


def _environment(data_dir: Path) -> Mapping[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    return inherited | {
        "GEO_OFFERS_HOST": "127.0.0.1",
        "GEO_OFFERS_PORT": "0",
        "GEO_OFFERS_DATA_DIR": str(data_dir),
    }
