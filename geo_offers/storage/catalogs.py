"""What decisions read of a workspace: settings, campaigns and stores at one catalog version, and the fences of all."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.errors import NotFound
from geo_offers.pipeline.catalog import Policies
from geo_offers.storage import rows
from geo_offers.storage.audience import read_audiences
from geo_offers.storage.campaigns import read_campaigns
from geo_offers.storage.geofences import load_fences
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql

__all__ = ["load_fences", "read_policies"]


class _StoreBody(msgspec.Struct):
    """Of a store's body only this."""

    name: str
    time_zone: str | None = None


_body = msgspec.json.Decoder(_StoreBody)


async def read_policies(connection: Connection, workspace: UUID) -> Policies:
    """For a turn, in its transaction. The version comes first: what is committed after it is read again, not missed.

    Rules that cannot be read pause the workspace; a campaign or store that cannot be read is left out.
    """
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None:
        raise NotFound("this workspace is gone")
    audiences = await read_audiences(connection, workspace, rows.settings(row["settings"], workspace))
    campaigns = await read_campaigns(connection, workspace, audiences)
    stores = rows.each_readable("store", await connection.fetch(sql("stores_all"), workspace), _store)
    return Policies(
        version=row["catalog_version"],
        policy=rows.policy(row["name"], row["settings"], workspace),
        campaigns=campaigns,
        store_names={ident: name for ident, name, _ in stores},
        store_zones={ident: zone for ident, _, zone in stores if zone is not None},
        journey=audiences.journey,
    )


def _store(row: Any) -> tuple[str, str, ZoneInfo | None]:
    body = _body.decode(row["body"])
    return row["id"], body.name, ZoneInfo(body.time_zone) if body.time_zone else None
