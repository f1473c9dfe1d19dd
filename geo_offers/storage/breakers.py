"""Breakers: tripped by a sweep over the reservations, ended by a manager."""

from typing import Any, Final
from uuid import UUID

import structlog
from msgspec import UNSET, UnsetType

from geo_offers import wire
from geo_offers.errors import NotFound, Unavailable
from geo_offers.offers.breakers import Tripped
from geo_offers.pipeline.callers import Caller
from geo_offers.places.fences import FenceId
from geo_offers.storage import cursors, rows
from geo_offers.storage.auditing import audit, note
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.workspaces import raise_catalog

DAYS: Final = 7  # so far back offers and opt-outs count
_KINDS: Final = ("campaign", "store", "fence")
_SWEEP: Final = "breaker"  # who it was, in the audit

_log = structlog.get_logger()


class PostgresBreakers:
    """`pipeline.breakers.Breakers`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.BreakerPage:
        after = cursors.decode(cursor, tuple[str, str], ("", ""))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("breakers_page"), workspace, *after, limit + 1)
        more = cursors.encode((found[limit - 1]["kind"], found[limit - 1]["subject"])) if len(found) > limit else None
        items = [wire.OpenBreaker(kind=row["kind"], id=row["subject"], **_counted(row)) for row in found[:limit]]
        return wire.BreakerPage(items=items, next=more)

    async def resume(self, caller: Caller, kind: str, subject: str) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            if not await close(connection, caller.workspace, kind, subject):
                raise NotFound("there is no such open breaker")
            await audit(connection, caller, f"{kind}.resume", subject)
            await raise_catalog(connection, caller.workspace)

    async def sweep(self) -> None:
        """A transaction a workspace; what the database cannot do now is left to the next sweep."""
        try:
            async with transaction(self._pool, []) as connection:
                workspaces = [row["id"] for row in await connection.fetch(sql("retention_workspaces"))]
            for workspace in workspaces:
                async with transaction(self._pool, [workspace]) as connection:
                    await _trip(connection, workspace)
        except Unavailable as error:
            _log.warning("the sweep for breakers was broken off", reason=error.detail)


async def _trip(connection: Connection, workspace: UUID) -> None:
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None:
        return
    rule = rows.settings(row["settings"], workspace).breaker
    found = await connection.fetch(sql("breaker_suspects"), workspace, DAYS, rule.per_1000, rule.least)
    tripped = [one for one in found if await _silence(connection, workspace, one, rule.per_1000)]
    for one in tripped:
        await note(connection, workspace, _SWEEP, f"{one['kind']}.pause", one["subject"])
        counts = {name: one[name] for name in ("kind", "subject", "offers", "opt_outs")}
        _log.warning("a breaker has tripped", workspace=str(workspace), **counts)
    if tripped:
        await raise_catalog(connection, workspace)


async def _silence(connection: Connection, workspace: UUID, one: Any, per_1000: int) -> bool:
    """Whether it speaks no more from now on, and did until now."""
    kind, subject = one["kind"], one["subject"]
    if kind == "campaign" and not await connection.fetchval(sql("breaker_pause_campaign"), workspace, UUID(subject)):
        return False
    counted = (one["offers"], one["opt_outs"], per_1000)
    return await connection.fetchval(sql("breaker_trip"), workspace, kind, subject, *counted) is not None


async def close(connection: Connection, workspace: UUID, kind: str, subject: str) -> bool:
    """Whether it was open."""
    return await connection.fetchval(sql("breaker_resume"), workspace, kind, subject) is not None


async def read_tripped(connection: Connection, workspace: UUID) -> Tripped:
    """All that is silent, as decisions read it."""
    found = await connection.fetch(sql("breakers_open"), workspace)
    of: dict[str, list[str]] = {kind: [row["subject"] for row in found if row["kind"] == kind] for kind in _KINDS}
    return Tripped(
        campaigns=frozenset(UUID(subject) for subject in of["campaign"]),
        stores=frozenset(of["store"]),
        fences=frozenset(FenceId(subject) for subject in of["fence"]),
    )


def breaker_of(row: Any) -> wire.Breaker | UnsetType:
    """The open breaker that was read with a campaign's or a store's row, if there is one."""
    return UNSET if row.get("tripped_at") is None else wire.Breaker(**_counted(row))


def _counted(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("tripped_at", "offers", "opt_outs", "per_1000")}
