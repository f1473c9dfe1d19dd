"""What goes on around a due offer, looked at again before it is sent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.context import Asked, Number
from geo_offers.offers.lasting import holds
from geo_offers.people.consent import Purpose
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.places.fences import FenceId
from geo_offers.storage import rows
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.events import numbers_of
from geo_offers.storage.pool import Pool, transaction


@dataclass(frozen=True, slots=True)
class _Around:
    """What goes on in a workspace: read once for all its offers of a batch."""

    policies: Policies
    campaigns: Mapping[UUID, Campaign]
    numbers: Mapping[str, Number]


async def silenced(pool: Pool, catalog: Catalog, found: Sequence[Any]) -> Collection[UUID]:
    """The offers among these rows that hours, events, embargo or a purchase would silence now.

    A campaign or a geofence that is not there is for others to find: the rows say so themselves.
    """
    looked = [row for row in found if row["locked"] and not row["replay"]]
    versions = {row["workspace"]: row["catalog_version"] for row in looked}
    around = {workspace: await _around(pool, catalog, workspace, versions[workspace]) for workspace in versions}
    return {row["offer"] for row in looked if not _holds(catalog, around[row["workspace"]], row)}


async def _around(pool: Pool, catalog: Catalog, workspace: UUID, version: int) -> _Around:
    """What this process holds, unless it is old; numbers that are fed to the workspace are always read."""
    held = catalog.policies.get(workspace)
    numbers: Mapping[UUID, Mapping[str, Number]] = {}
    if held is None or held.version < version or held.surroundings.numbered:
        async with transaction(pool, [workspace]) as connection:
            if held is None or held.version < version:
                held = catalog.renew(workspace, await read_policies(connection, workspace))
            if held.surroundings.numbered:
                numbers = await numbers_of(connection, {workspace: held.surroundings.numbered})
    return _Around(held, {one.id: one for one in held.campaigns}, numbers.get(workspace, {}))


def _holds(catalog: Catalog, around: _Around, row: Any) -> bool:
    campaign = around.campaigns.get(row["campaign"])
    fence = catalog.index(row["workspace"]).get(FenceId(row["fence"]))
    if campaign is None or fence is None:
        return True
    interactions = rows.interactions(row["interactions"], row["user_id"])
    if interactions is None:
        return False
    now_us, zone = row["now_us"], around.policies.zone_of(fence)
    known = interactions if rows.consents(row["consents"], row["user_id"]).granted(Purpose.PROFILE) else ()
    moment = around.policies.surroundings.moment(Asked(now_us, fence, zone, around.numbers, known))
    return holds(campaign, moment, interactions, zone, now_us)
