"""What goes on around a due offer, looked at again before it is sent."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from geo_offers.instants import to_us
from geo_offers.offers.context import Asked
from geo_offers.offers.lasting import holds
from geo_offers.people.consent import Purpose
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.places.fences import FenceId
from geo_offers.storage import rows
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.events import numbers_of
from geo_offers.storage.pool import Connection


async def silenced(connection: Connection, catalog: Catalog, found: Sequence[Any]) -> Collection[UUID]:
    """The offers among these rows that hours, events, embargo or a purchase would silence now.

    A campaign or a geofence that is not there is for others to find: the rows say so themselves.
    """
    quiet: set[UUID] = set()
    for row in found:
        if row["whole"] and not row["replay"]:
            policies = await _policies(connection, catalog, row["workspace"], row["catalog_version"])
            if not await _holds(connection, catalog, policies, row):
                quiet.add(row["offer"])
    return quiet


async def _policies(connection: Connection, catalog: Catalog, workspace: UUID, version: int) -> Policies:
    held = catalog.policies.get(workspace)
    if held is None or held.version < version:
        held = catalog.renew(workspace, await read_policies(connection, workspace))
    return held


async def _holds(connection: Connection, catalog: Catalog, policies: Policies, row: Any) -> bool:
    campaign = next((one for one in policies.campaigns if one.id == row["campaign"]), None)
    fence = catalog.index(row["workspace"]).get(FenceId(row["fence"]))
    if campaign is None or fence is None:
        return True
    interactions = rows.interactions(row["interactions"], row["user_id"])
    if interactions is None:
        return False
    surroundings, now_us, zone = policies.surroundings, to_us(row["now"]), policies.zone_of(fence)
    wanted = {row["workspace"]: surroundings.numbered} if surroundings.numbered else {}
    numbers = (await numbers_of(connection, wanted)).get(row["workspace"], {}) if wanted else {}
    known = interactions if rows.consents(row["consents"], row["user_id"]).granted(Purpose.PROFILE) else ()
    moment = surroundings.moment(Asked(now_us, fence, zone, numbers, known))
    return holds(campaign, moment, interactions, zone, now_us)
