"""The workspace's own row: its settings, and the version that rises with all that a decision reads of it."""

from typing import Final
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault, Invalid, NotFound
from geo_offers.offers import caps
from geo_offers.pipeline.callers import Caller
from geo_offers.storage import cursors, rows
from geo_offers.storage.audience import check_settings
from geo_offers.storage.auditing import audit
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql

_NEWEST: Final = 2**63 - 1


class PostgresWorkspaces:
    """`pipeline.management.Workspaces`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, workspace: UUID) -> wire.WorkspaceState:
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("workspace_read"), workspace)
        if row is None:
            raise NotFound("this workspace is gone")
        return _state(row["id"], row["name"], rows.settings(row["settings"], workspace))

    async def audit(self, workspace: UUID, cursor: str | None, limit: int) -> wire.DeedPage:
        (before,) = cursors.decode(cursor, tuple[int], (_NEWEST,))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("audit_page"), workspace, min(before, _NEWEST), limit + 1)
        more = cursors.encode((found[limit - 1]["id"],)) if len(found) > limit else None
        items = [
            wire.Deed(at=row["at"], caller=row["caller"], action=row["action"], subject=row["subject"])
            for row in found[:limit]
        ]
        return wire.DeedPage(items=items, next=more)

    async def change(self, caller: Caller, patch: wire.WorkspacePatch) -> wire.WorkspaceState:
        workspace = caller.workspace
        given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("workspace_lock"), workspace)
            if row is None:
                raise NotFound("this workspace is gone")
            settings = msgspec.structs.replace(rows.settings(row["settings"], workspace), **given)
            if "audience" in given:
                await check_settings(connection, workspace, settings)
            await connection.execute(sql("workspace_change"), workspace, msgspec.json.encode(settings))
            if "caps" in given:
                await check_caps(connection, workspace)
            await audit(connection, caller, "workspace.change", ",".join(sorted(given)))
        return _state(row["id"], row["name"], settings)


def _state(ident: UUID, name: str, settings: wire.Workspace) -> wire.WorkspaceState:
    return wire.WorkspaceState(id=ident, name=name, **msgspec.structs.asdict(settings))


async def check_category(connection: Connection, workspace: UUID, category: str | None) -> None:
    """Invalid where a store or a campaign is of a category that the workspace has not named."""
    if category is None:
        return
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None or category not in rows.settings(row["settings"], workspace).categories:
        detail = "the workspace has no such category; add it to its categories first"
        raise Invalid(detail, (Fault("/category", "category", detail),))


async def read_rules(connection: Connection, workspace: UUID) -> wire.Workspace:
    return rows.settings(await connection.fetchval(sql("workspace_read_settings"), workspace), workspace)


async def raise_catalog(connection: Connection, workspace: UUID) -> None:
    """Tell every process that decides for this workspace to read it again; with the commit of what has changed."""
    await connection.execute(sql("workspace_catalog_raise"), workspace)


async def check_caps(connection: Connection, workspace: UUID) -> None:
    """Invalid where more rules could hold for one decision than may.

    Asked after the workspace's row was changed: of two changes at once the second waits there, and sees the first.
    """
    found = await connection.fetchrow(sql("caps_in_force"), workspace)
    assert found is not None  # it was changed just now
    if sum(found) > caps.MAX_RULES:
        told = f"the workspace has {found['workspace']}, a store {found['store']}, a campaign {found['campaign']}"
        detail = f"At most {caps.MAX_RULES} rules can hold for one decision: {told}; drop some."
        raise Invalid(detail, (Fault("/caps", "too_many", detail),))
