"""Which campaigns an arrival concerns: approved ones and paused ones, whose silence says so; no others."""

import uuid

import pytest

from tests.integration.people.conftest import SHOP

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
