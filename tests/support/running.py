"""The service as tests run it: in this process (`Service`), or as a child that can be killed (`Served`)."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from geo_offers import app
from geo_offers.pipeline.callers import Kind, Role
from geo_offers.settings import PREFIX, Settings
from geo_offers.storage.keys import create_key
from geo_offers.storage.pool import open_pool
from geo_offers.storage.sealing import Seals
from geo_offers.storage.vault import Safe
from geo_offers.web.server import Listener, url_of
from tests.support.databases import Database

WORKSPACE = "test"
KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="  # of what the service in this process keeps sealed
SAFE = Safe(lambda: Seals(KEY))
START_S = 20.0
STOP_S = 20.0  # the service itself promises 15


async def make_key(
    database: Database, kind: Kind = "manager", role: Role | None = None, *, replay: bool = False, workspace: str = ""
) -> str:
    """Make a key past the command line; a manager's role is owner unless another is named."""
    async with open_pool(database.app_dsn, size=1) as pool:
        given = (role or "owner") if kind == "manager" else None
        return await create_key(pool, workspace or WORKSPACE, kind, given, replay=replay)


class Service:
    """The service in this process."""

    def __init__(self, database: Database, listener: Listener) -> None:
        self.database = database
        self.listener = listener
        self.url = url_of(listener.host, listener.port)

    async def make_key(
        self, kind: Kind = "manager", role: Role | None = None, *, replay: bool = False, workspace: str = ""
    ) -> str:
        return await make_key(self.database, kind, role, replay=replay, workspace=workspace)


@asynccontextmanager
async def running(database: Database, **settings: Any) -> AsyncIterator[Service]:
    """Run the service in this process on a free port; `settings` are fields of Settings. Leaving it drains it."""
    given: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "database_url": database.app_dsn, "credentials_key": KEY}
    async with app.service(Settings(**(given | settings)), database.app_dsn) as listener:
        yield Service(database, listener)


def without_our_settings() -> dict[str, str]:
    """The environment for a child, without settings that this machine may have."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


class Served:
    """`python -m geo_offers serve` as a child process; killed and started again it keeps its port.

    stdout and stderr hold the lines of all its lives.
    """

    def __init__(self, database: Database, settings: Mapping[str, object]) -> None:
        self.database = database
        self.settings = dict(settings)
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.url = ""
        self.process: Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._listening = asyncio.Event()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Return once it listens; fails with what it said on stderr where it ends before."""
        own = {"HOST": "127.0.0.1", "PORT": self.url.rpartition(":")[2] or "0", "DATABASE_URL": self.database.app_dsn}
        own |= {name.upper(): "" if value is None else str(value) for name, value in self.settings.items()}
        self._listening.clear()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "geo_offers", "serve", stdout=PIPE, stderr=PIPE,
            env=without_our_settings() | {PREFIX + name: value for name, value in own.items() if value},
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(self.process.stdout, self.stdout)),
            asyncio.create_task(self._read(self.process.stderr, self.stderr)),
        ]
        listening = asyncio.create_task(self._listening.wait())
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait({listening, ended}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (listening, ended):
            task.cancel()
        if not self._listening.is_set():
            said = "\n".join(self.stderr[-20:])
            await self.kill()
            raise AssertionError(f"serve did not come up:\n{said}")

    async def _read(self, source: asyncio.StreamReader, lines: list[str]) -> None:
        while line := await source.readline():
            lines.append(line.decode().rstrip("\n"))
            if lines is self.stdout and lines[-1].startswith("listening on "):
                self.url = lines[-1].removeprefix("listening on ")
                self._listening.set()

    async def kill(self) -> None:
        """Kill -9, and wait for the end."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM; the exit code. Fails where it does not end in time."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        code = await asyncio.wait_for(self.process.wait(), STOP_S)
        await asyncio.gather(*self._readers)
        return code

    async def restart(self) -> None:
        """Kill -9, and start again on the same port."""
        await self.kill()
        await self.start()

    async def make_key(
        self, kind: Kind = "manager", role: Role | None = None, *, replay: bool = False, workspace: str = ""
    ) -> str:
        return await make_key(self.database, kind, role, replay=replay, workspace=workspace)


@asynccontextmanager
async def serving(database: Database, **settings: object) -> AsyncIterator[Served]:
    """Run the service as a child; `settings` are fields of Settings, None unsets one. What is left of it is killed."""
    served = Served(database, settings)
    await served.start()
    try:
        yield served
    finally:
        await served.kill()
