"""A PostgreSQL of our own in a data folder, for those who bring none: started, shared and stopped.

One process owns the folder by a lock. It runs the server on a unix socket in a fresh private folder, and the server
ends with it. What a crash leaves behind is cleared by the next owner, and only when it is certain that no server is
alive in the folder.

An owner that stays (`start`, for the service) is the folder's host: it publishes the server once the schema is in
place, and other processes share it and never stop it. A command of a moment (`obtain`) shares the host's server. Where
there is no host it owns the folder alone for that moment, since whoever shared its server would lose it in the midst of
their work; commands take turns so. A host comes before them: while it waits for one to end it holds a lock of its own,
and the next ones wait for its server.

Three roles: `postgres`, the superuser, for the supervisor alone; `geo_offers_owner`, who owns the schema and migrates
it; `geo_offers_app`, whom row-level security binds, for all the rest.

Linux and macOS. Windows has neither the lock nor the socket: set GEO_OFFERS_DATABASE_URL there.
"""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import structlog

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage import datafolder
from geo_offers.storage.datafolder import HOST_LOCK, OWNER_LOCK, AlreadyRunning, Endpoint
from geo_offers.storage.migrate import migrate
from geo_offers.storage.supervisor import SUPERUSER, Supervisor, answers

OWNER = "geo_offers_owner"
APP = "geo_offers_app"
DATABASE = "geo_offers"

TURN_WAIT_S = 20.0  # of a host, for a command that has the folder for a moment
SHARE_WAIT_S = 40.0  # of a command, for a host that waits itself and then starts, or for other commands
_INSTANT_S = 0.2  # somebody may just be asking whether a lock is held
_POLL_S = 0.05

_log = structlog.get_logger()

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


async def start(
    root: Path, *, binaries: Path | None = None, sql: Path | None = None, wait_s: float = TURN_WAIT_S
) -> EmbeddedServer:
    """Host the data folder: start its server, with roles, database and the newest schema, for all to share.

    Waits for a command that has the folder for a moment. Main thread only.
    root: made when absent. binaries: a folder with `postgres` and `initdb` instead of those found. sql: a folder with
    `migrations/` and `grants.sql` instead of the program's own.
    Raises AlreadyRunning when the folder has a host, or is not free within `wait_s`; Misconfigured with what to do for
    all else.
    """
    _refuse_windows()
    datafolder.make_root(root)
    with contextlib.ExitStack() as locks:
        if not await _lock(root, HOST_LOCK, locks, _INSTANT_S):
            raise AlreadyRunning(
                f"another geo-offers serves from {root} already: end that one, or name another folder in "
                "GEO_OFFERS_DATA_DIR"
            )
        if not await _lock(root, OWNER_LOCK, locks, 0.0):
            _log.warning("waiting for another geo-offers command to finish with the data folder", folder=str(root))
            if not await _lock(root, OWNER_LOCK, locks, wait_s):
                raise AlreadyRunning(
                    f"another geo-offers command still uses {root} after {wait_s:g} s: look at it, or try again"
                )
        return await _own(root, locks.pop_all(), binaries, sql, host=True)


async def share(root: Path, *, wait_s: float = SHARE_WAIT_S) -> EmbeddedServer | None:
    """Find the server of the data folder's host; None where the folder has no host.

    Waits for one that is starting. Raises Unavailable when it does not answer within `wait_s`.
    """
    _refuse_windows()
    deadline = time.monotonic() + wait_s
    while datafolder.is_locked(root, HOST_LOCK):
        endpoint = datafolder.published(root)
        if endpoint is not None and await answers(endpoint):
            return EmbeddedServer(endpoint, None)
        if time.monotonic() > deadline:
            raise Unavailable(_no_answer(root, wait_s))
        await asyncio.sleep(_POLL_S)
    return None


async def obtain(
    root: Path, *, binaries: Path | None = None, sql: Path | None = None, wait_s: float = SHARE_WAIT_S
) -> EmbeddedServer:
    """For a moment: the server of the data folder's host, or else one of its own that nobody shares.

    `stop` ends only what was started here. Raises as `start` and `share` do.
    """
    _refuse_windows()
    datafolder.make_root(root)
    deadline = time.monotonic() + wait_s
    while True:
        server = await share(root, wait_s=wait_s)
        if server is not None:
            return server
        with contextlib.ExitStack() as locks:
            if await _lock(root, OWNER_LOCK, locks, 0.0):
                return await _own(root, locks.pop_all(), binaries, sql, host=False)
        if time.monotonic() > deadline:
            raise Unavailable(_no_answer(root, wait_s))
        await asyncio.sleep(_POLL_S)


async def _lock(root: Path, name: str, locks: contextlib.ExitStack, wait_s: float) -> bool:
    """Whether the lock was free within that time; it is held until `locks` closes."""
    deadline = time.monotonic() + wait_s
    while (descriptor := datafolder.try_lock(root, name)) is None:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
    locks.callback(os.close, descriptor)
    return True


async def _own(
    root: Path, locks: contextlib.ExitStack, binaries: Path | None, sql: Path | None, *, host: bool
) -> EmbeddedServer:
    """Start the server of a folder whose owner's lock is among these locks; the server's `stop` lets go of them."""
    supervisor = Supervisor(root, locks)
    try:
        endpoint = await supervisor.start(binaries)
        applied = await _prepare(endpoint, sql)
        if host:
            datafolder.publish(supervisor.root, endpoint)
    except BaseException as error:
        await supervisor.stop()
        if isinstance(error, (OSError, asyncpg.PostgresError)):
            raise Misconfigured(f"PostgreSQL cannot be started in {root}: {error}") from error
        raise
    return EmbeddedServer(endpoint, supervisor, applied)


def _no_answer(root: Path, wait_s: float) -> str:
    return (
        f"another process owns {root} and its PostgreSQL did not answer within {wait_s:g} s: "
        "look at that process, or try again"
    )


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
