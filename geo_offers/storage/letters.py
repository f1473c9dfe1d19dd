"""Dead letters in PostgreSQL."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Conflict, NotFound
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.partitions import partition_of
from geo_offers.storage import cursors
from geo_offers.storage.auditing import audit
from geo_offers.storage.decisions import user_names
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.vault import Safe

_NEWEST: Final = (datetime(9000, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
_RELEASED: Final = 2


class _Budgeted(msgspec.Struct, frozen=True):
    """What counts here of a campaign's or a store's body."""

    budget: wire.Budget | None = None


class PostgresLetters:
    """`pipeline.letters.Letters`."""

    def __init__(self, pool: Pool, safe: Safe) -> None:
        self._pool = pool
        self._safe = safe

    async def page(self, caller: Caller, query: wire.OutboxQuery) -> wire.LetterPage:
        before = cursors.decode(query.cursor, tuple[datetime, UUID], _NEWEST)
        async with transaction(self._pool, [caller.workspace]) as connection:
            names = await user_names(connection, caller, self._safe)
            asked = (caller.workspace, query.state, query.lane, *before, query.limit + 1)
            found = await connection.fetch(sql("letters_page"), *asked)
        shown = found[: query.limit]
        more = cursors.encode((shown[-1]["created_at"], shown[-1]["id"])) if len(found) > query.limit else None
        return wire.LetterPage(items=[_letter(row, names.of(row["user_id"])) for row in shown], next=more)

    async def summary(self, workspace: UUID) -> wire.OutboxSummary:
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("letters_counted"), workspace)
        return wire.OutboxSummary(items=[wire.LaneCount(**row) for row in found])

    async def replay(self, caller: Caller, offer: UUID) -> str:
        async with transaction(self._pool, [caller.workspace]) as connection:
            person: UUID | None = await connection.fetchval(sql("letter_person"), offer)
            row = None if person is None else await connection.fetchrow(sql("letter_look"), offer, person)
            if person is None or row is None:
                raise NotFound("there is no such offer")
            if (why := _unfit(row)) is not None:
                raise Conflict(why)
            if await _spent(connection, offer, person):
                raise Conflict("the budget that it was made from is given to others since")
            await connection.execute(sql("letter_again"), offer, person, partition_of(person))
            await audit(connection, caller, "outbox.replay", str(offer))
        lane: str = row["lane"]
        return lane


def _unfit(row: Any) -> str | None:
    if row["state"] != "failed":
        return f"only what has failed is sent again; this offer is {row['state']}"
    if row["slot"] != _RELEASED:
        return "it may have been shown: an earlier send went unanswered"
    if row["expired"]:
        return "it has expired"
    if row["taken"]:
        return "the person was promised something else since"
    return None


async def _spent(connection: Connection, offer: UUID, person: UUID) -> bool:
    """Tell whether a budget has no place left for it; what it looked at stays locked, as in a turn."""
    purses = await connection.fetch(sql("letter_purses"), offer, person)
    budgets = {row["owner"]: msgspec.json.decode(row["body"], type=_Budgeted).budget for row in purses}
    asked = columns([(row["workspace"], row["owner"], row["day"]) for row in purses], 3)
    for spent in await connection.fetch(sql("turn_budgets"), *asked):
        budget = budgets[spent["of_owner"]]
        if budget is None:
            continue
        if budget.total is not None and spent["total"] >= budget.total:
            return True
        if budget.per_day is not None and spent["today"] >= budget.per_day:
            return True
    return False


def _letter(row: Any, user: str) -> wire.Letter:
    return wire.Letter(
        offer=row["id"],
        user=user,
        campaign=row["campaign"],
        lane=row["lane"],
        state=row["state"],
        kept=row["kept"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        attempts=row["attempts"],
        due=row["due"],
        detail=row["detail"],
        finished_at=row["finished_at"],
    )
