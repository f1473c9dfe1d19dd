"""Loads the town through the public API, as any customer would. What is in place already is left alone."""

from collections.abc import Callable

import msgspec

from geo_offers import wire
from geo_offers.client import Manager
from geo_offers.clock import now_us
from geo_offers.demo.crowd import zone_where_it_is
from geo_offers.demo.town import Shop, Town
from geo_offers.errors import Misconfigured

FENCE_SET = "town"
_LATE_MORNING_H = 11.0
Say = Callable[[str], None]


async def load(manager: Manager, town: Town, say: Say) -> None:
    """Workspace rules, stores, fences and campaigns. Raises Misconfigured where the service refuses a part."""
    await _workspace(manager, town)
    stores = await _stores(manager, town.shops)
    fences = await _fences(manager, town)
    campaigns = await _campaigns(manager, town)
    if stores or fences or campaigns:
        say(f"loaded {stores} stores, {fences} fences and {campaigns} campaigns")
    else:
        say("stores, fences and campaigns are in place")


async def _workspace(manager: Manager, town: Town) -> None:
    """It is late morning in the town whenever a demo starts: its stores are open."""
    now = msgspec.to_builtins(await manager.workspace())
    wanted = town.workspace.patch | {"time_zone": zone_where_it_is(_LATE_MORNING_H, now_us())}
    if any(now.get(name) != value for name, value in wanted.items()):
        await manager.patch_workspace(msgspec.convert(wanted, wire.WorkspacePatch))


async def _stores(manager: Manager, shops: list[Shop]) -> int:
    """How many were put."""
    present = {store.id: store async for store in manager.stores()}
    count = 0
    for shop in shops:
        wanted = wire.Store(id=shop.id, name=shop.name, street=shop.street, hours=shop.hours)
        if present.get(shop.id) != wanted:
            await manager.put_store(shop.id, wire.StoreBody(name=shop.name, street=shop.street, hours=shop.hours))
            count += 1
    return count


async def _fences(manager: Manager, town: Town) -> int:
    """How many were new or changed."""
    preview = await manager.create_import(msgspec.json.encode(town.fences), set_id=FENCE_SET)
    for row in preview.rows:
        if row.status == "refused":
            raise Misconfigured(f"fence {row.external_id or row.row} of the town is refused: {row.detail}")
    count = preview.counts.new + preview.counts.changed
    if count:
        await manager.apply_import(preview.id)
    return count


async def _campaigns(manager: Manager, town: Town) -> int:
    """How many were created. A campaign that is there is a manager's to change, so its name alone is looked at."""
    present = {campaign.name: campaign async for campaign in manager.campaigns()}
    count = 0
    for entry in town.campaigns:
        body = msgspec.convert({name: value for name, value in entry.items() if name != "key"}, wire.CampaignBody)
        campaign = present.get(body.name)
        if campaign is None:
            campaign = await manager.create_campaign(body)
            count += 1
        if campaign.state == "draft":
            answer = await manager.submit(campaign.id)
            if answer.state != "approved":
                raise Misconfigured(f"campaign {body.name!r} waits for approval: {', '.join(answer.reasons)}")
    return count
