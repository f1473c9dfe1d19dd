"""A phone that takes an offer and leaves its stream at once has shown it, as far as the service is concerned."""

import asyncio

import asyncpg
import msgspec
import pytest

from geo_offers import wire
from geo_offers.client import Client, Enrolment, MemorySeenStore, Ping, Rhythm
from geo_offers.clock import now_us
from geo_offers.instants import text

STORE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [8.8017, 53.0793]},
    "properties": {"name": "Main Street", "radius_m": 100},
}
CAMPAIGN = {
    "name": "Warm rolls",
    "objective": "visit",
    "trigger": {"on": "enter", "fences": {"set": "stores"}},
    "texts": {"en": {"title": "Warm rolls", "body": "Fresh until noon."}},
    "holdout": 0,
}
TRIES = 5


@pytest.fixture
async def town(service):
    """One store with a campaign; gives a key for phones."""
    async with Client(service.url, await service.make_key()) as client:
        await client.manager.put_geofence("stores", "main-street", STORE)
        await client.manager.patch_workspace(wire.WorkspacePatch(holdout=0))
        campaign = await client.manager.create_campaign(msgspec.convert(CAMPAIGN, wire.CampaignBody))
        await client.manager.submit(campaign.id)
    return await service.make_key("app")


async def _states(service):
    """How far the offers have come, and how many are still to be delivered."""
    connection = await asyncpg.connect(service.database.superuser_dsn)
    try:
        rows = await connection.fetch("SELECT state FROM offer")
        return [row["state"] for row in rows], await connection.fetchval("SELECT count(*) FROM outbox")
    finally:
        await connection.close()


async def test_an_offer_taken_just_before_leaving_is_not_alerted_again(service, town):
    async with Client(service.url, town) as client:
        for place in range(TRIES):
            device = await client.enrol(Enrolment(platform="ios", consents={"locate": "v1", "offers": "v1"}))
            await device.set_rhythm(Rhythm(max=3, per="day", min_gap_h=0, quiet=[]))
            async with asyncio.timeout(10), device.stream(seen=MemorySeenStore()) as stream:
                await stream.send([Ping(at=text(now_us()), lat=53.0793, lon=8.8017, accuracy_m=8)])
                await anext(stream.offers())
            assert await _states(service) == (["shown"] * (place + 1), 0)  # nothing is left to be sent again
