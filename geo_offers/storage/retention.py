"""The sweep that keeps what is kept within its bounds, and ends the visits of phones that fell silent."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
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

DEVICE_STATES: Final = "device_states"
KEPT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "visits": "13 months",
        "decisions": "90 days",
        "passed_over": "90 days",
        "reservations": "60 days",  # caps look back 31 days at most
        "budget_days": "60 days",
        "offers": "30 days",  # what is left of an outbox row that was sent
        "offer_events": "30 days",
        "webhook_events": "30 days",  # longer than any of them is tried
        "webhook_deliveries": "30 days",
        "webhook_attempts": "30 days",
        "idempotency": "24 hours",
        "refresh_tokens": "0 hours",  # after their end
        "push_tombstones": "30 days",  # a phone that registers by then has asked its system again
        "import_rows": "30 days",
        "imports": "30 days",
    }
)
"""For how long each kind of row is kept, in the order in which they are swept. Pings are not kept at all."""


@dataclass(slots=True)
class Swept:
    """What a sweep did: how many rows of each kind went.

    overdue: of the kinds of which some should be gone and are not, for how many seconds the oldest should have been;
    None where the sweep did not come to its end.
    """

    rows: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((DEVICE_STATES, *KEPT), 0)))
    overdue: Mapping[str, float] | None = None


class PostgresRetention:
    """One sweep at a time; each step is a transaction of its own."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sweep(self, heard_us: Mapping[UUID, int], alive_s: float) -> Swept:
        """heard_us: devices inside something, and when they were last heard of; alive_s: how long we have listened.

        After a start every phone gets the time to be heard before it counts as silent. What the database cannot do now
        is left to the next sweep.
        """
        swept = Swept()
        try:
            async with transaction(self._pool, []) as connection:
                workspaces = [row["id"] for row in await connection.fetch(sql("retention_workspaces"))]
            await self._touch(workspaces, heard_us)
            if alive_s >= LISTEN_S:
                while await self._close_silent(workspaces, swept) == BATCH:
                    pass
            while await self._forget_interactions(workspaces) == BATCH:
                pass
            for kind in KEPT:
                while await self._forget(workspaces, kind, swept) == ROWS:
                    pass
            swept.overdue = await self._overdue(workspaces)
        except Unavailable as error:
            _log.warning("the sweep was broken off", reason=error.detail)
        return swept

    async def _touch(self, workspaces: Sequence[UUID], heard_us: Mapping[UUID, int]) -> None:
        async with transaction(self._pool, workspaces) as connection:
            seen = [from_us(instant) for instant in heard_us.values()]
            await connection.execute(sql("retention_touch"), list(heard_us), seen)

    async def _forget(self, workspaces: Sequence[UUID], kind: str, swept: Swept) -> int:
        async with transaction(self._pool, workspaces) as connection:
            done = _count(await connection.execute(sql(f"retention_{kind}"), ROWS, KEPT[kind]))
        swept.rows[kind] += done
        return done

    async def _forget_interactions(self, workspaces: Sequence[UUID]) -> int:
        async with transaction(self._pool, workspaces) as connection:
            return await interactions.forget_over(connection, BATCH)

    async def _overdue(self, workspaces: Sequence[UUID]) -> Mapping[str, float]:
        kept = {DEVICE_STATES: "24 hours", **KEPT}
        async with transaction(self._pool, workspaces) as connection:
            found = await connection.fetch(sql("retention_overdue"), list(kept), list(kept.values()))
        return {row["kind"]: row["seconds"] for row in found}

    async def _close_silent(self, workspaces: Sequence[UUID], swept: Swept) -> int:
        async with transaction(self._pool, workspaces) as connection:
            users = [row["user_id"] for row in await connection.fetch(sql("retention_silent"), BATCH)]
            await connection.fetch(sql("retention_lock"), users)
            found = await connection.fetch(sql("retention_inside"), users)
            inside = [(row["user_id"], rows.presence(row["presence"], row["id"])) for row in found]
            visits = [stay.visit for _, state in inside for stay in state.inside.values()]
            unread = [user for user, state in inside if state is NOWHERE]
            await connection.execute(sql("retention_close"), visits, unread)
            await connection.execute(sql("retention_courses"), *_courses(state for _, state in inside))
            wiped = _count(await connection.execute(sql("retention_wipe"), users))
        swept.rows[DEVICE_STATES] += wiped
        return len(users)


def _count(done: str) -> int:
    """How many rows a statement touched, as the server tells it."""
    return int(done.rpartition(" ")[2])


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
