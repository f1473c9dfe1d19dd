"""`geo-offers preview` as users run it: a child process that speaks to a running server."""

import json
from uuid import uuid4

import msgspec
import pytest

from geo_offers import wire
from geo_offers.client import Client
from tests.support.commands import command
from tests.support.running import Service

POINT = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [8.0, 53.0]},
    "properties": {"name": "Market", "radius_m": 100},
}
BODY = {
    "name": "Bread",
    "objective": "visit",
    "trigger": {"on": "enter", "fences": {"set": "town"}},
    "texts": {"en": {"title": "Warm bread", "body": "Today"}},
    "value": 20,
    "stakes": {"discount_percent": 10},
}


async def test_a_campaign_s_preview_is_said_in_a_few_lines_and_as_it_came(service: Service) -> None:
    key = await service.make_key()
    async with Client(service.url, key) as client:
        await client.manager.put_geofence("town", "a", POINT)
        campaign = (await client.manager.create_campaign(msgspec.convert(BODY, wire.CampaignBody))).id
    asked = (campaign, "--url", service.url, "--key", key, "--days", "14")
    ended = await command("preview", *asked)
    assert (ended.code, ended.err) == (0, "")
    about, counts, people, *rest = ended.lines
    assert about == "invented people: fewer than ten have had an entry in 14 days"
    assert people.endswith("people in 14 days")
    assert [line.partition(":")[0].strip() for line in rest] == [
        "offers of it a week",
        "offers of all campaigns a week",
        "with it",
        "cost",
    ]
    told = json.loads((await command("preview", *asked, "--json")).out)
    assert counts.startswith(f"{told['entries']:,} entries → {told['offers']:,} offers: ")
    assert rest[-1] == f"cost: 0.00 to {told['offers'] * 2:,.2f}"


async def test_what_is_not_there_is_refused_in_one_line(service: Service) -> None:
    key = await service.make_key()
    ended = await command("preview", uuid4(), "--url", service.url, "--key", key)
    assert (ended.code, ended.err) == (1, "404 not_found: there is no such campaign\n")


@pytest.mark.parametrize("words", [("bread",), (uuid4(), "--days", "91"), (uuid4(), "--days", "two")])
async def test_wrong_words_end_with_the_usage(words: tuple[object, ...]) -> None:
    ended = await command("preview", *words, "--url", "http://127.0.0.1:1", "--key", "mk_1")
    assert ended.code == 2
    assert "usage: geo-offers preview" in ended.err
