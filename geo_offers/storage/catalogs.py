"""What decisions read of a workspace: settings, campaigns and stores at one catalog version, and the fences of all."""

from dataclasses import replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers import wire
from geo_offers.errors import NotFound
from geo_offers.offers.stores import NO_RULES, StoreRules
from geo_offers.pipeline.catalog import Policies
from geo_offers.pipeline.choice import store_rules
from geo_offers.storage import rows
from geo_offers.storage.breakers import read_tripped
from geo_offers.storage.campaigns import read_campaigns
from geo_offers.storage.geofences import load_fences
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql

__all__ = ["load_fences", "read_policies"]


class _StoreBody(msgspec.Struct):
    """Of a store's body only this."""

    name: str
    time_zone: str | None = None
    category: str | None = None
    caps: list[wire.CapRule] = []
    budget: wire.Budget | None = None


_body = msgspec.json.Decoder(_StoreBody)


async def read_policies(connection: Connection, workspace: UUID) -> Policies:
    """For a turn, in its transaction. The version comes first: what is committed after it is read again, not missed.

    Rules that cannot be read pause the workspace; a campaign or store that cannot be read is left out.
    """
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None:
        raise NotFound("this workspace is gone")
    campaigns = await read_campaigns(connection, workspace)
    stores = rows.each_readable("store", await connection.fetch(sql("stores_all"), workspace), _store)
    return Policies(
        version=row["catalog_version"],
        policy=replace(
            rows.policy(row["name"], row["settings"], workspace), tripped=await read_tripped(connection, workspace)
        ),
        campaigns=campaigns,
        store_names={ident: name for ident, name, *_ in stores},
        store_zones={ident: zone for ident, _, zone, *_ in stores if zone is not None},
        store_categories={ident: category for ident, _, _, category, _ in stores if category is not None},
        store_rules={ident: rules for ident, *_, rules in stores if rules != NO_RULES},
    )


def _store(row: Any) -> tuple[str, str, ZoneInfo | None, str | None, StoreRules]:
    body = _body.decode(row["body"])
    zone = ZoneInfo(body.time_zone) if body.time_zone else None
    return row["id"], body.name, zone, body.category, store_rules(body.caps, body.budget)
