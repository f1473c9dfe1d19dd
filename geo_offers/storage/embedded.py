"""A PostgreSQL of our own in a data folder, for those who bring none: started, shared and stopped.

One process owns the folder by a lock. It runs the server on a unix socket in a fresh private folder and publishes it
once the schema is in place; other processes share the server and never stop it. The server ends with its owner. What a
crash leaves behind is cleared by the next owner, and only when it is certain that no server is alive in the folder.

Three roles: `postgres`, the superuser, for the supervisor alone; `geo_offers_owner`, who owns the schema and migrates
it; `geo_offers_app`, whom row-level security binds, for all the rest.

Linux and macOS. Windows has neither the lock nor the socket: set GEO_OFFERS_DATABASE_URL there.
"""

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage import datafolder
from geo_offers.storage.datafolder import AlreadyRunning, Endpoint
from geo_offers.storage.migrate import migrate
from geo_offers.storage.supervisor import SUPERUSER, Supervisor, answers

OWNER = "geo_offers_owner"
APP = "geo_offers_app"
DATABASE = "geo_offers"

SHARE_WAIT_S = 15.0  # for a server that another process is just starting

_ROLES = """
DO $$
BEGIN
    IF to_regrole('geo_offers_owner') IS NULL THEN
        CREATE ROLE geo_offers_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF to_regrole('geo_offers_app') IS NULL THEN
        CREATE ROLE geo_offers_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
END $$"""


class EmbeddedServer:
    """A running PostgreSQL, owned by this process or shared with the one that owns it. As a context it stops itself."""

    def __init__(self, endpoint: Endpoint, supervisor: Supervisor | None, applied: tuple[str, ...] = ()) -> None:
        self.endpoint = endpoint
        self.applied = applied  # names of the migrations that this start ran
        self._supervisor = supervisor

    @property
    def owned(self) -> bool:
        return self._supervisor is not None

    @property
    def owner_dsn(self) -> str:
        return self.endpoint.dsn(OWNER, DATABASE)

    @property
    def app_dsn(self) -> str:
        return self.endpoint.dsn(APP, DATABASE)

    @property
    def superuser_dsn(self) -> str:
        return self.endpoint.dsn(SUPERUSER, "postgres")

    @property
    def pid(self) -> int | None:
        """Process id of the server; None when it is shared or has ended."""
        process = self._supervisor.process if self._supervisor is not None else None
        return process.pid if process is not None and process.poll() is None else None

    async def keep_running(self) -> None:
        """Start the server again on the same socket whenever it ends unasked; return after `stop`, at once if shared.

        Run it as a task of its own. Raises Unavailable when the server keeps ending, Misconfigured when it cannot
        start.
        """
        if self._supervisor is not None:
            await self._supervisor.keep_running()

    async def stop(self) -> None:
        """Shut the server down, if it is ours, and give the data folder free. A second call does nothing."""
        if self._supervisor is not None:
            await self._supervisor.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def start(root: Path, *, binaries: Path | None = None, sql: Path | None = None) -> EmbeddedServer:
    """Start the server of a data folder, with its roles, its database and the newest schema. Main thread only.

    root: made when absent. binaries: a folder with `postgres` and `initdb` instead of those found. sql: a folder with
    `migrations/` and `grants.sql` instead of the program's own.
    Raises AlreadyRunning when another process owns the folder, Misconfigured with what to do for all else.
    """
    _refuse_windows()
    supervisor = Supervisor(root)
    try:
        endpoint = await supervisor.start(binaries)
        applied = await _prepare(endpoint, sql)
        datafolder.publish(supervisor.root, endpoint)
    except BaseException as error:
        await supervisor.stop()
        if isinstance(error, (OSError, asyncpg.PostgresError)):
            raise Misconfigured(f"PostgreSQL cannot be started in {root}: {error}") from error
        raise
    return EmbeddedServer(endpoint, supervisor, applied)


async def share(root: Path, *, wait_s: float = SHARE_WAIT_S) -> EmbeddedServer | None:
    """Find the server that another process runs in this data folder; None when nobody owns the folder.

    Waits for one that is starting. Raises Unavailable when it does not answer within `wait_s`.
    """
    _refuse_windows()
    deadline = time.monotonic() + wait_s
    while datafolder.is_locked(root):
        endpoint = datafolder.published(root)
        if endpoint is not None and await answers(endpoint):
            return EmbeddedServer(endpoint, None)
        if time.monotonic() > deadline:
            raise Unavailable(
                f"another process owns {root} and its PostgreSQL did not answer within {wait_s:g} s: "
                "look at that process, or try again"
            )
        await asyncio.sleep(0.1)
    return None


async def obtain(
    root: Path, *, binaries: Path | None = None, sql: Path | None = None, wait_s: float = SHARE_WAIT_S
) -> EmbeddedServer:
    """Share the server of the data folder where one runs, else start it; `stop` ends only what was started here."""
    while True:
        server = await share(root, wait_s=wait_s)
        if server is not None:
            return server
        with contextlib.suppress(AlreadyRunning):  # somebody was quicker: share theirs
            return await start(root, binaries=binaries, sql=sql)


async def _prepare(endpoint: Endpoint, sql: Path | None) -> tuple[str, ...]:
    """Make roles, database and schema; each step may be repeated after a crash in between."""
    connection = await asyncpg.connect(endpoint.dsn(SUPERUSER, "postgres"))
    try:
        await connection.execute(_ROLES)
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", DATABASE):
            await connection.execute("CREATE DATABASE geo_offers OWNER geo_offers_owner")
    finally:
        await connection.close()
    return tuple(await migrate(endpoint.dsn(OWNER, DATABASE), APP, sql))


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise Misconfigured(
            "the PostgreSQL that geo-offers brings does not run on Windows: set GEO_OFFERS_DATABASE_URL to one of yours"
        )
