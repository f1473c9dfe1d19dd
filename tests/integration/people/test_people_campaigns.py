"""Which campaigns an arrival concerns: approved ones and paused ones, whose silence says so; no others."""

import uuid
from datetime import timedelta

import pytest

from tests.integration.people.conftest import SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = {
    "draft": [],
    "submitted": [("submit", "editor")],
    "paused": [("pause", "owner")],
    "ended": [("end", "owner")],
}


async def another(api, **changes):
    """A draft that concerns the same arrivals as the shop's campaign, and comes before it."""
    body = {
        "name": "Cakes",
        "objective": "visit",
        "trigger": {"on": "enter", "fences": {"set": "stores"}},
        "texts": {"en": {"title": "Warm cakes", "body": "Until noon"}},
        "priority": 9,
        "holdout": 0,
    }
    return str((await api.good("POST", "/v1/campaigns", "editor", body | changes))["id"])


async def decisions(api):
    return (await api.good("GET", "/v1/decisions", "owner"))["items"]


def gate(decision, name):
    return next(one for one in decision["gates"] if one["gate"] == name)


@pytest.mark.parametrize("state", ["draft", "submitted", "ended"])
async def test_where_no_campaign_can_speak_an_arrival_is_a_visit_without_a_receipt(api, state):
    shop = await api.shop()
    await api.good("POST", f"/v1/campaigns/{shop}/end", "owner")
    campaign = await another(api)
    for move, who in WAYS[state]:
        await api.good("POST", f"/v1/campaigns/{campaign}/{move}", who)
    phone = await api.buyer()
    answer = await phone.at(SHOP)
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]
    visit = await api.rows.fetchrow("SELECT * FROM visit WHERE device = $1", uuid.UUID(phone.device))
    assert (visit["fence"], visit["enter_decision"]) == ("stores/main", None)
    assert (answer.body["offers"], await decisions(api)) == ([], [])


async def test_the_silence_of_a_paused_campaign_has_its_receipt(api):
    shop = await api.shop()
    await api.good("POST", f"/v1/campaigns/{shop}/pause", "owner")
    phone = await api.buyer()
    assert (await phone.at(SHOP)).body["offers"] == []
    (decision,) = await decisions(api)
    assert (decision["outcome"], decision["reason"], decision["campaign"]) == ("suppressed", "not_live", shop)
    assert gate(decision, "live") == {
        "gate": "live",
        "passed": False,
        "detail": {"state": "paused", "locales": 1},
    }
    assert decision["versions"]["campaign"] == 1


async def test_a_draft_neither_outranks_an_approved_campaign_nor_speaks_for_its_silence(api):
    shop = await api.shop(caps=[{"limit": 1, "window": {"n": 1, "unit": "week"}}])
    await another(api)
    first, second = await api.buyer("server", user="ann"), await api.buyer("server", user="ann")
    (offer,) = (await first.at(SHOP)).body["offers"]
    assert offer["campaign"] == shop
    assert (await second.at(SHOP)).body["offers"] == []
    newest, oldest = await decisions(api)
    assert [gate(one, "ranking")["detail"]["candidates"] for one in (newest, oldest)] == [1, 1]
    assert (newest["campaign"], newest["reason"]) == (shop, "user_inside")


# ------------------------------------------------------------------------------------------------ what makes it a risk
PLACE = "It speaks at a sensitive place."
NEWS = "It follows breaking news."
DAY = "It runs on a day that the workspace keeps free of offers."
SELECTED = [{"set": "stores"}, {"ids": ["stores/main"]}, {"tags": ["food"]}]


async def reasons(api, **changes):
    """Why a campaign of an owner that speaks alone would need others."""
    campaign = await another(api, **changes)
    return (await api.good("POST", f"/v1/campaigns/{campaign}/submit", "owner"))["reasons"]


def coming(**ahead):
    return (before() + timedelta(**ahead)).isoformat()


@pytest.mark.parametrize("fences", SELECTED, ids=["set", "ids", "tags"])
async def test_a_campaign_at_a_fence_over_a_private_place_says_so(api, fences):
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
        "properties": {"name": "Main", "radius_m": 100, "tags": ["food"]},
    }
    await api.good("PUT", "/v1/geofences/stores/main", "owner", feature)
    assert await reasons(api, trigger={"on": "enter", "fences": fences}) == []
    clinic = feature | {"properties": {"radius_m": 50, "category": "health"}}
    await api.good("PUT", "/v1/private-places/clinic", "owner", clinic)
    assert PLACE in await reasons(api, trigger={"on": "enter", "fences": fences})
    elsewhere = (
        {"set": "town"} if "set" in fences else {"ids": ["stores/other"]} if "ids" in fences else {"tags": ["x"]}
    )
    assert await reasons(api, trigger={"on": "enter", "fences": elsewhere}) == []


async def test_a_campaign_that_follows_news_says_so_and_one_that_keeps_out_of_news_does_not(api):
    await api.good("PUT", "/v1/events/storm", "editor", {"kind": "news", "name": "Storm", "end": coming(hours=2)})
    dated = {"kind": "corporate", "name": "Fair", "start": coming(hours=1), "end": coming(hours=2)}
    await api.good("PUT", "/v1/events/fair", "editor", dated)
    assert NEWS in await reasons(api, when={"events": ["fair", "storm"]})
    assert await reasons(api, when={"events": ["fair"], "unless": ["storm"]}) == []


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({}, False),
        ({"from": coming(days=1)}, False),  # without an end it is made for no day
        ({"until": coming(days=30)}, True),
        ({"from": coming(days=9), "until": coming(days=11)}, True),
        ({"until": coming(days=5)}, False),
        ({"from": coming(days=15), "until": coming(days=30)}, False),
        ({"from": "2026-01-01T00:00:00Z", "until": coming(days=30)}, True),
    ],
)
async def test_a_schedule_that_touches_a_day_kept_free_says_so(api, schedule, told):
    days = [(before() + timedelta(days=ahead)).date().isoformat() for ahead in (-3, 10)]
    await api.good("PATCH", "/v1/workspace", "owner", {"embargo": {"days": days}})
    assert (DAY in await reasons(api, schedule=schedule)) == told
    await api.good("PATCH", "/v1/workspace", "owner", {"embargo": {"days": days[:1]}})  # what is over counts no more
    assert await reasons(api, schedule=schedule) == []


async def test_outcomes_count_the_entries_at_which_another_campaign_spoke(api):
    first, second = await api.shop(priority=1), await api.shop(name="Cakes")
    third = await api.shop(name="Buns", audience={"rule": {"op": "platform", "in": ["web"]}})
    phone = await api.buyer()
    assert [offer["campaign"] for offer in (await phone.at(SHOP)).body["offers"]] == [first]
    shy = await api.phone(consents={"locate": {"text_version": "v1"}})
    await shy.at(SHOP)
    told = [await api.good("GET", f"/v1/campaigns/{one}/outcomes", "viewer") for one in (first, second, third)]
    assert [(one["decisions"], one["offers"], one["silences"]) for one in told] == [
        (2, 1, {"no_consent": 1}),
        (2, 0, {"outranked": 1, "no_consent": 1}),
        (2, 0, {"audience": 1, "no_consent": 1}),
    ]
