"""What decisions read of a workspace: settings, campaigns and stores at one catalog version, and the fences of all."""

from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.errors import NotFound
from geo_offers.offers.snapshot import WorkspacePolicy
from geo_offers.pipeline.catalog import Policies
from geo_offers.storage import rows
from geo_offers.storage.campaigns import read_campaigns
from geo_offers.storage.geofences import load_fences
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql
from geo_offers.storage.workspaces import settings_of

__all__ = ["load_fences", "read_policies"]


class _Store(msgspec.Struct):
    """Of a store's body only this."""

    name: str
    time_zone: str | None = None


_store = msgspec.json.Decoder(_Store)


async def read_policies(connection: Connection, workspace: UUID) -> Policies:
    """For a turn, in its transaction. The version comes first: what is committed after it is read again, not missed."""
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None:
        raise NotFound("this workspace is gone")
    settings = settings_of(row["settings"])
    campaigns = await read_campaigns(connection, workspace)
    stores = {
        found["id"]: _store.decode(found["body"]) for found in await connection.fetch(sql("stores_all"), workspace)
    }
    return Policies(
        version=row["catalog_version"],
        policy=WorkspacePolicy(
            name=row["name"],
            zone=ZoneInfo(settings.time_zone),
            place_gap_s=settings.place_gap_s,
            store_gap_s=settings.store_gap_s,
            quiet=rows.quiet(settings.quiet),
            killed=settings.paused,
        ),
        campaigns=campaigns,
        store_names={ident: store.name for ident, store in stores.items()},
        store_zones={ident: ZoneInfo(store.time_zone) for ident, store in stores.items() if store.time_zone},
    )
