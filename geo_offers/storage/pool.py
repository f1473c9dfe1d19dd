"""Connections to PostgreSQL, and the one way to open a transaction: for a list of workspaces, READ COMMITTED.

READ COMMITTED is pinned and asserted: caps are counted in the statement after the one that locks the user, and any
higher level would count in a snapshot older than the lock.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage.queries import sql

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Pool = asyncpg.Pool

NIL = UUID(int=0)  # the service's own rows live under it

_SETTINGS = {
    "application_name": "geo-offers",
    "timezone": "UTC",
    "lock_timeout": "3s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "5s",
    "default_transaction_isolation": "read committed",
    "plan_cache_mode": "force_generic_plan",  # else small arrays are planned anew each time: +0.4 ms on a turn of one
    "enable_seqscan": "off",  # a plan made while a table was empty stays until its next ANALYZE, and each has its index
}


CLOSE_S: Final = 2.0  # a server that hangs must not hold up the stop
_BUSY = (TimeoutError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,  # a statement's time is over, the server stops or starts
    asyncpg.IdleInTransactionSessionTimeoutError,  # this process was held up
)
_UNABLE = (
    asyncpg.InsufficientResourcesError,  # no disk, memory or connections left
    asyncpg.ReadOnlySQLTransactionError,  # a standby by now
)


async def _pinned(connection: Any) -> None:
    level = await connection.fetchval(sql("isolation"))
    if level != "read committed":
        raise Misconfigured(f"transactions must run READ COMMITTED, and this server makes them {level.upper()}")


class _Connection(asyncpg.Connection):
    """Reset when it goes back to its pool, unless its last use was a transaction: that leaves nothing behind."""

    __slots__ = ("_as_it_was",)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._as_it_was = False

    def leave_as_it_was(self) -> None:
        """What has been set since it was taken from the pool ended with its transaction: a round trip is saved."""
        self._as_it_was = True

    def get_reset_query(self) -> str:
        as_it_was, self._as_it_was = self._as_it_was, False
        return "" if as_it_was else str(super().get_reset_query())


@asynccontextmanager
async def open_pool(dsn: str, *, size: int) -> AsyncIterator[Pool]:
    """A pool of `size` connections; raises Misconfigured where the server cannot be reached at the start."""
    try:
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            server_settings=_SETTINGS,
            init=_pinned,
            connection_class=_Connection,
            timeout=5,
            command_timeout=30,
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TimeoutError) as error:
        raise Misconfigured(f"cannot connect to PostgreSQL: {error}") from error
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), CLOSE_S)
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def transaction(pool: Pool, workspaces: Iterable[UUID]) -> AsyncIterator[Connection]:
    """One transaction that sees the rows of these workspaces and no others.

    Raises Unavailable where there is no connection within 3 s, a lock is not had in time or the server goes away;
    nothing of it is applied then, save that a commit whose answer was lost may have been.
    """
    async with borrowed(pool) as connection:
        try:
            await connection.execute(sql("begin").replace("$1", f"'{listed(workspaces)}'"))
            yield connection
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")


def listed(workspaces: Iterable[UUID]) -> str:
    """The setting by which a transaction sees the rows of these workspaces."""
    return "{" + ",".join(str(workspace) for workspace in workspaces) + "}"


@asynccontextmanager
async def borrowed(pool: Pool) -> AsyncIterator[Connection]:
    """A connection for one transaction, or one statement that is its own: it is left as it was, save by who fails.

    Raises as `transaction` does.
    """
    try:
        async with pool.acquire(timeout=3) as connection:
            yield connection
            connection.leave_as_it_was()  # type: ignore[attr-defined]  # the proxy hands on what it has not
    except _BUSY as error:
        raise Unavailable("the database is busy; send the same request again") from error
    except _AWAY as error:
        raise Unavailable("the database is away; send the same request again", 2.0) from error
    except _UNABLE as error:
        raise Unavailable("the database cannot take this now; send the same request again", 5.0) from error


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows turned into the column arrays that `unnest` takes."""
    if not rows:
        return [[] for _ in range(width)]
    return [list(column) for column in zip(*rows, strict=True)]
