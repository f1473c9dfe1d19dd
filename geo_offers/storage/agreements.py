"""What people agreed to when they approved a campaign is more than its body: also whom its segments and events name."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.pipeline.callers import Caller
from geo_offers.storage import rows
from geo_offers.storage.auditing import audit
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql

_body: Final = msgspec.json.Decoder(wire.CampaignBody)


async def agreed_to(connection: Connection, workspace: UUID) -> list[tuple[UUID, wire.CampaignBody]]:
    """Campaigns that somebody had to agree to and that speak, or may again; held to the end of the transaction.

    To be asked for before the workspace's row is: campaigns are locked first everywhere.
    """
    found = await connection.fetch(sql("campaigns_agreed"), workspace)
    return rows.each_readable("campaign", found, lambda row: (row["id"], _body.decode(row["body"])))


async def ask_anew(connection: Connection, caller: Caller, campaigns: Collection[UUID]) -> None:
    """Hand them back in under a new version, silent until it is approved. The caller raises the catalog."""
    if campaigns:
        await connection.execute(sql("campaigns_ask_anew"), caller.workspace, campaigns)
        for ident in campaigns:
            await audit(connection, caller, "campaign.reset", str(ident))
