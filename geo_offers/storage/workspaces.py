"""The workspace's own row: its settings, and the version that rises with all that a decision reads of it."""

from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import NotFound
from geo_offers.pipeline.callers import Caller
from geo_offers.storage import rows
from geo_offers.storage.audience import check_settings
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql


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

    async def change(self, workspace: UUID, patch: wire.WorkspacePatch) -> wire.WorkspaceState:
        given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("workspace_lock"), workspace)
            if row is None:
                raise NotFound("this workspace is gone")
            settings = msgspec.structs.replace(rows.settings(row["settings"], workspace), **given)
            if "audience" in given:
                await check_settings(connection, workspace, settings)
            await connection.execute(sql("workspace_change"), workspace, msgspec.json.encode(settings))
        return _state(row["id"], row["name"], settings)


def _state(ident: UUID, name: str, settings: wire.Workspace) -> wire.WorkspaceState:
    return wire.WorkspaceState(id=ident, name=name, **msgspec.structs.asdict(settings))


async def raise_catalog(connection: Connection, workspace: UUID) -> None:
    """Tell every process that decides for this workspace to read it again; with the commit of what has changed."""
    await connection.execute(sql("workspace_catalog_raise"), workspace)


async def audit(connection: Connection, caller: Caller, action: str, subject: str) -> None:
    await connection.execute(sql("audit_add"), caller.workspace, caller.id, action, subject)
