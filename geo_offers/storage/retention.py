"""The sweep that keeps what is kept within its bounds, and ends the visits of phones that fell silent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from geo_offers.errors import Unavailable
from geo_offers.instants import from_us
from geo_offers.presence.states import NOWHERE, PresenceState
from geo_offers.storage import interactions, rows
from geo_offers.storage.pool import Pool, transaction
from geo_offers.storage.queries import sql

LISTEN_S: Final = 1_800.0  # phones that are there send at least every 20 minutes
BATCH: Final = 500  # people a transaction
ROWS: Final = 10_000  # old rows a transaction
_log = structlog.get_logger()
_OLD: Final = (
    "retention_visits",
    "retention_decisions",
    "retention_reservations",
    "retention_offers",
    "retention_offer_events",
    "retention_idempotency",
    "retention_refresh_tokens",
    "retention_import_rows",
    "retention_imports",
)


class PostgresRetention:
    """One sweep at a time; each step is a transaction of its own."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sweep(self, heard_us: Mapping[UUID, int], alive_s: float) -> None:
        """heard_us: devices inside something, and when they were last heard of; alive_s: how long we have listened.

        After a start every phone gets the time to be heard before it counts as silent. What the database cannot do now
        is left to the next sweep.
        """
        try:
            async with transaction(self._pool, []) as connection:
                workspaces = [row["id"] for row in await connection.fetch(sql("retention_workspaces"))]
            await self._touch(workspaces, heard_us)
            if alive_s >= LISTEN_S:
                while await self._close_silent(workspaces) == BATCH:
                    pass
            while await self._forget_interactions(workspaces) == BATCH:
                pass
            for statement in _OLD:
                while await self._forget(workspaces, statement) == ROWS:
                    pass
        except Unavailable as error:
            _log.warning("the sweep was broken off", reason=error.detail)

    async def _touch(self, workspaces: Sequence[UUID], heard_us: Mapping[UUID, int]) -> None:
        async with transaction(self._pool, workspaces) as connection:
            seen = [from_us(instant) for instant in heard_us.values()]
            await connection.execute(sql("retention_touch"), list(heard_us), seen)

    async def _forget(self, workspaces: Sequence[UUID], statement: str) -> int:
        async with transaction(self._pool, workspaces) as connection:
            done: str = await connection.execute(sql(statement), ROWS)
        return int(done.rpartition(" ")[2])

    async def _forget_interactions(self, workspaces: Sequence[UUID]) -> int:
        async with transaction(self._pool, workspaces) as connection:
            return await interactions.forget_over(connection, BATCH)

    async def _close_silent(self, workspaces: Sequence[UUID]) -> int:
        async with transaction(self._pool, workspaces) as connection:
            users = [row["user_id"] for row in await connection.fetch(sql("retention_silent"), BATCH)]
            await connection.fetch(sql("retention_lock"), users)
            found = await connection.fetch(sql("retention_inside"), users)
            inside = [(row["user_id"], rows.presence(row["presence"], row["id"])) for row in found]
            visits = [stay.visit for _, state in inside for stay in state.inside.values()]
            unread = [user for user, state in inside if state is NOWHERE]
            await connection.execute(sql("retention_close"), visits, unread)
            await connection.execute(sql("retention_courses"), *_courses(state for _, state in inside))
            await connection.execute(sql("retention_wipe"), users)
        return len(users)


def _courses(states: Iterable[PresenceState]) -> tuple[list[Any], ...]:
    """Of the open visits that have one: id, label, confidence, fixes, accuracy."""
    told = [
        (stay.visit, stay.course.label(stay.entered_us, state.newest_us), stay.course)
        for state in states
        for stay in state.inside.values()
        if stay.course is not None and state.newest_us is not None
    ]
    return (
        [visit for visit, _, _ in told],
        [label for _, label, _ in told],
        [course.confidence for *_, course in told],
        [course.fixes for *_, course in told],
        [course.accuracy_m for *_, course in told],
    )
