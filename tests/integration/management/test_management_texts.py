"""A campaign's words over the managers' calls: declared, refused with their place, kept, previewed."""

import asyncio
import uuid

import pytest

from geo_offers.offers.texts import Field, Form, Plural, Text
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import transaction

ALPHA = workspace_id("Alpha")
ROLLS = {
    "texts": {
        "en": {
            "title": "{count} rolls at {store}",
            "body": "{off} less until {until}, {name}",
            "image": "https://shop.example/rolls.png",
            "plural": {"by": "count", "forms": {"one": {"title": "One roll at {store}"}}},
        },
        "ar": {"title": "{store}", "body": "{off}"},
    },
    "fields": {
        "count": {"type": "number", "value": 3},
        "off": {"type": "percent", "value": 12.5},
        "until": {"type": "time", "from": "offer_end"},
        "name": {"type": "text", "from": "profile", "attribute": "first_name", "fallback": {"en": "friend"}},
    },
}


@pytest.fixture(autouse=True)
async def _declared(site):
    declared = {"first_name": {"type": "text"}}
    assert (await site.call("PATCH", "/v1/workspace", {"audience": {"attributes": declared}})).status == 200


async def write(site, **changes):
    return await site.call("POST", "/v1/campaigns", site.campaign(**changes), who="editor")


async def preview(site, ident, *samples, **how):
    return await site.call("POST", f"/v1/campaigns/{ident}/texts/preview", {"samples": list(samples)}, **how)


async def test_fields_and_plurals_are_kept_and_reach_decisions(site):
    written = await write(site, **ROLLS)
    assert written.status == 201, written.body
    kept = (await site.get(f"/v1/campaigns/{written.body['id']}")).body
    assert kept["fields"]["name"]["fallback"] == {"en": "friend"}
    assert kept["texts"]["en"]["plural"]["by"] == "count"
    await site.call("POST", f"/v1/campaigns/{kept['id']}/submit", who="owner")
    async with transaction(site.pool, [ALPHA]) as connection:
        (held,) = (await read_policies(connection, ALPHA)).campaigns
    assert held.fields[0] == Field("count", "number", 3)
    assert held.fields[3] == Field(
        "name", "text", source="profile", attribute="first_name", fallback=(("en", "friend"),)
    )
    assert held.texts["en"] == Text(
        "{count} rolls at {store}",
        "{off} less until {until}, {name}",
        image="https://shop.example/rolls.png",
        plural=Plural("count", (Form("one", "One roll at {store}"),)),
    )


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"texts": {"en": {"title": "{nope}", "body": "b"}}}, "/texts/en/title"),
        ({"texts": {"en": {"title": "t", "body": "b", "image": "https://10.0.0.1/i"}}}, "/texts/en/image"),
        ({"texts": {"en": {"title": "t", "body": "b", "link": "https://xn--80ak6aa92e.com/"}}}, "/texts/en/link"),
        ({"fields": {"x": {"type": "money", "value": 3, "currency": "XXQ"}}}, "/fields/x/currency"),
        ({"fields": {"x": {"type": "number"}}}, "/fields/x"),
        ({"fields": {"x": {"type": "number", "value": 1e13}}}, "/fields/x/value"),
        ({"fields": {"x": {"type": "number", "value": True}}}, "/fields/x/value"),
        ({"fields": {"x": {"type": "template", "value": "{{7*7}}"}}}, "/fields/x/type"),
        ({"fields": {"x.__class__": {"type": "number", "value": 1}}}, "/fields/x.__class__"),
        ({"fields": {"x": {"type": "text", "value": "a\u202eb"}}}, "/fields/x/value"),
        (
            {"texts": {"en": {"title": "t", "body": "b", "plural": {"by": "store", "forms": {"one": {}}}}}},
            "/texts/en/plural/by",
        ),
    ],
)
async def test_what_is_wrong_is_refused_at_its_place_and_nothing_is_kept(site, changes, pointer):
    answered = await write(site, **changes)
    assert (answered.status, answered.pointers[:1]) == (422, [pointer]), answered.body
    assert (await site.get("/v1/campaigns")).body["items"] == []


async def test_a_preview_shows_every_text_on_every_channel(site):
    ident = (await write(site, **ROLLS)).body["id"]
    answered = await site.call("POST", f"/v1/campaigns/{ident}/texts/preview", {}, who="viewer")
    assert answered.status == 200, answered.body
    assert (answered.body["campaign"], answered.body["version"]) == (ident, 1)
    english, arabic = answered.body["items"]
    assert english["title"] == "3 rolls at Main Street"
    assert english["body"].startswith("12.5% less until ")
    assert english["body"].endswith(", friend")
    assert (english["locale"], english["direction"], english["image"]) == (
        "en",
        "ltr",
        "https://shop.example/rolls.png",
    )
    assert (english["title_characters"], english.get("lacking", [])) == (len(english["title"]), [])
    assert [channel["channel"] for channel in english["channels"]] == [
        "inapp",
        "log",
        "webhook",
        "fcm",
        "apns",
        "webpush",
    ]
    assert all(channel["bytes"] <= channel.get("most_bytes", 10_000) for channel in english["channels"])
    assert (arabic["direction"], arabic["title"]) == ("rtl", "\u2068Main Street\u2069")


async def test_a_sample_is_spoken_to_in_its_locale_at_its_place_and_time(site):
    texts = {
        "en": {"title": "{store}", "body": "{day} {far} {name}"},
        "de": {"title": "{store}", "body": "{day} {far} {name}"},
    }
    fields = {
        "day": {"type": "datetime", "from": "offer_end", "style": "short"},
        "far": {"type": "distance", "from": "distance"},
        "name": {"type": "text", "from": "profile", "attribute": "first_name"},
    }
    ident = (await write(site, texts=texts, fields=fields)).body["id"]
    at = {"at": "2026-12-24T17:00:00Z", "distance_m": 500}
    swiss = {"locale": "de-CH", "store": "Beck", "time_zone": "Europe/Zurich", "profile": {"first_name": "Ada"}}
    answered = await preview(site, ident, at | swiss, at | {"locale": "en-US"})
    assert answered.status == 200, answered.body
    first, second = answered.body["items"]
    assert (first["sample"], first["locale"], first["title"]) == (0, "de", "Beck")
    assert first["body"] == "24.12.26, 18:30 500 m Ada"
    assert (second["sample"], second["locale"], second["lacking"]) == (1, "en", ["name"])
    assert "1,650 ft" in second["body"]


async def test_a_preview_says_what_a_channel_cuts(site):
    ident = (await write(site, texts={"en": {"title": "{store} " * 12, "body": "b"}})).body["id"]
    (item,) = (await preview(site, ident, {"store": "Bakery in the lane"})).body["items"]
    assert item["title_characters"] > 100
    for channel in item["channels"]:
        assert channel["cut"] == ["title"]
        assert channel["title"].endswith("…")
        assert len(channel["title"]) <= 100


@pytest.mark.parametrize(
    ("sample", "pointer"),
    [
        ({"time_zone": "Mars/X"}, "/samples/0/time_zone"),
        ({"at": "2026-01-01T00:00:00"}, "/samples/0/at"),
        ({"distance_m": -1}, "/samples/0/distance_m"),
        ({"store": "a\u202eb"}, "/samples/0/store"),
        ({"price": 3}, "/samples/0/price"),
    ],
)
async def test_a_bad_sample_is_refused_at_its_place(site, sample, pointer):
    ident = (await write(site)).body["id"]
    answered = await preview(site, ident, sample)
    assert (answered.status, answered.pointers) == (422, [pointer])


async def test_a_preview_of_no_campaign_or_of_another_workspaces_is_none(site):
    ident = (await write(site)).body["id"]
    assert (await preview(site, uuid.uuid4(), {})).status == 404
    assert (await preview(site, ident, {}, who="beta")).status == 404
    assert (await preview(site, ident, *([{}] * 11))).status == 422


async def test_many_languages_are_checked_while_others_are_answered(site):
    locales = ["de", "fr", "it", "es", "pt", "nl", "sv", "da", "fi", "cs", "sk", "hu", "ro", "bg", "el", "tr", "uk"]
    texts = {locale: {"title": "{count}", "body": "b"} for locale in locales}
    written, asked = await asyncio.gather(
        write(site, texts=texts, fields={"count": {"type": "number", "value": 1234.5}}), site.get("/v1/workspace")
    )
    assert (written.status, asked.status) == (201, 200)
