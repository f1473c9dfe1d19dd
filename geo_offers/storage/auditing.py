"""The audit: who did what, written in the transaction that does it."""

from typing import Final
from uuid import UUID

from geo_offers.pipeline.callers import Caller
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql

CLI: Final = "cli"
"""Who it was that gave a command beside the server."""


async def audit(connection: Connection, caller: Caller, action: str, subject: str) -> None:
    await note(connection, caller.workspace, caller.id, action, subject)


async def note(connection: Connection, workspace: UUID, who: str, action: str, subject: str) -> None:
    """As `audit`, of who is no caller, or of whom the id alone is at hand."""
    await connection.execute(sql("audit_add"), workspace, who, action, subject)
