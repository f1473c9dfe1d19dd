"""Decisions: listed newest first, with their receipts, and with people under names that lead nobody back."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.pool import transaction

ALPHA, BETA = workspace_id("Alpha"), workspace_id("Beta")
NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)
CAMPAIGN, OTHER = uuid.UUID(int=11), uuid.UUID(int=12)
ANNA, BEN = uuid.UUID(int=1), uuid.UUID(int=2)

ADD = """INSERT INTO decision (id, workspace, user_id, campaign, at, outcome, reason, offer, receipt)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""
RECEIPT = {
    "outcome": "suppressed",
    "transitions": [{"type": "enter", "fence": "town/a"}],
    "gates": [{"gate": "consent", "passed": True, "detail": {"locate": True}}],
    "versions": {"catalog": 3},
    "offer": None,
}


async def decided(site, minute, *, user=ANNA, campaign=CAMPAIGN, reason="cap", workspace=ALPHA):
    at = NOON + timedelta(minutes=minute)
    ident = uuid.UUID(int=(int(at.timestamp() * 1000) << 80) + 7)
    outcome, offer = ("suppressed", None) if reason else ("offer", uuid.UUID(int=99))
    column = json.dumps({**RECEIPT, "ms": {"lock": 0.5}}).encode()
    async with transaction(site.pool, [workspace]) as connection:
        await connection.execute(ADD, ident, workspace, user, campaign, at, outcome, reason, offer, column)
    return str(ident)


async def person(site, user, external_id):
    add = "INSERT INTO app_user (id, workspace, partition, external_id) VALUES ($1, $2, 0, $3)"
    async with transaction(site.pool, [ALPHA]) as connection:
        await connection.execute(add, user, ALPHA, external_id)


def ids(answered):
    assert answered.status == 200, answered.body
    return [item["id"] for item in answered.body["items"]]


async def test_a_decision_is_told_with_its_receipt(site):
    ident = await decided(site, 0)
    answered = await site.get(f"/v1/decisions/{ident}")
    assert answered.body == {
        "id": ident,
        "user": str(ANNA),
        "at": "2030-05-01T12:00:00Z",
        "outcome": "suppressed",
        "reason": "cap",
        "campaign": str(CAMPAIGN),
        "transitions": RECEIPT["transitions"],
        "gates": RECEIPT["gates"],
        "versions": {"catalog": 3},
        "ms": {"lock": 0.5},
    }
    assert (await site.get("/v1/decisions")).body["items"] == [answered.body]


async def test_outcomes_count_the_offers_and_each_silence_of_a_campaign(site):
    campaign = (await site.call("POST", "/v1/campaigns", site.campaign(), who="editor")).body["id"]
    about = {"campaign": uuid.UUID(campaign)}
    for minute, reason in enumerate(["cap", "quiet_hours", "quiet_hours", None]):
        await decided(site, minute, reason=reason, **about)
    await decided(site, 60, reason="muted", **about)
    await decided(site, 5, reason="cap", campaign=OTHER)
    asked = {"since": NOON.isoformat(), "until": (NOON + timedelta(hours=1)).isoformat()}
    body = (await site.get(f"/v1/campaigns/{campaign}/outcomes", **asked)).body
    assert (body["decisions"], body["offers"], body["silences"]) == (4, 1, {"quiet_hours": 2, "cap": 1})
    quiet = (await site.get(f"/v1/campaigns/{campaign}/outcomes")).body  # the decisions are of another year
    assert (quiet["decisions"], quiet["silences"]) == (0, {})
    turned = await site.get(f"/v1/campaigns/{campaign}/outcomes", since=asked["until"], until=asked["since"])
    assert (turned.status, turned.pointers) == (422, ["/until"])
    assert (await site.get(f"/v1/campaigns/{OTHER}/outcomes")).status == 404
    assert (await site.get(f"/v1/campaigns/{campaign}/outcomes", who="beta")).status == 404


async def test_an_offer_names_its_id_and_no_reason(site):
    body = (await site.get(f"/v1/decisions/{await decided(site, 0, reason=None)}")).body
    assert (body["outcome"], body["offer"], "reason" in body) == ("offer", str(uuid.UUID(int=99)), False)


OFFER = uuid.UUID(int=99)
ADD_OFFER = """INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, trigger, lane, message,
    created_at, expires_at, state, detail, accepted_at, finished_at)
VALUES ($1, $2, $3, $3, $3, $4, 'town/a', 'enter', 'fcm', '{}', $5, $6, $7, $8, $9, $10)"""


async def offered(site, state, detail=None, *, accepted_s=None, finished_s=None, events=()):
    """The offer of the decision at noon; times in seconds from its making."""
    at = [None if s is None else NOON + timedelta(seconds=s) for s in (0, 300, accepted_s, finished_s)]
    async with transaction(site.pool, [ALPHA]) as connection:
        await connection.execute(ADD_OFFER, OFFER, ALPHA, ANNA, CAMPAIGN, *at[:2], state, detail, *at[2:])
        for type_, s, reason in events:
            await connection.execute(
                "INSERT INTO offer_event (offer, type, workspace, user_id, reason, at) VALUES ($1, $2, $3, $4, $5, $6)",
                *(OFFER, type_, ALPHA, ANNA, reason, NOON + timedelta(seconds=s)),
            )
    return (await site.get(f"/v1/decisions/{await decided(site, 0, reason=None)}")).body["delivery"]


async def test_one_decision_tells_the_life_of_its_offer_step_by_step(site):
    events = [("dismissed", 9, "not_now"), ("opened", 7, None), ("shown", 3, None)]
    delivery = await offered(site, "shown", accepted_s=1, finished_s=3, events=events)
    assert (delivery["lane"], delivery["state"], delivery["expires_at"]) == ("fcm", "shown", "2030-05-01T12:05:00Z")
    assert delivery["steps"] == [
        {"step": "decided", "at": "2030-05-01T12:00:00Z"},
        {"step": "accepted", "at": "2030-05-01T12:00:01Z"},
        {"step": "shown", "at": "2030-05-01T12:00:03Z"},
        {"step": "opened", "at": "2030-05-01T12:00:07Z"},
        {"step": "dismissed", "at": "2030-05-01T12:00:09Z", "detail": "not_now"},
    ]


async def test_an_offer_that_was_opened_unheard_was_shown_then(site):
    delivery = await offered(site, "shown", finished_s=4, events=[("opened", 4, None)])
    assert {step["step"] for step in delivery["steps"]} == {"decided", "shown", "opened"}


async def test_an_offer_that_was_not_said_tells_why(site):
    delivery = await offered(site, "cancelled", "quiet_hours", finished_s=2)
    assert (delivery["state"], delivery["detail"]) == ("cancelled", "quiet_hours")
    assert delivery["steps"][1:] == [{"step": "cancelled", "at": "2030-05-01T12:00:02Z", "detail": "quiet_hours"}]


async def test_an_offer_that_waits_tells_its_attempts_and_when_it_is_due(site):
    async with transaction(site.pool, [ALPHA]) as connection:
        await connection.execute(
            "INSERT INTO outbox (offer, workspace, partition, lane, due, attempts) VALUES ($1, $2, 0, 'fcm', $3, 2)",
            *(OFFER, ALPHA, NOON + timedelta(seconds=8)),
        )
    delivery = await offered(site, "queued")
    assert (delivery["attempts"], delivery["due"]) == (2, "2030-05-01T12:00:08Z")
    assert [step["step"] for step in delivery["steps"]] == ["decided"]


async def test_the_newest_comes_first_on_pages_of_any_size(site):
    made = [await decided(site, minute) for minute in (3, 1, 4, 0, 2)]
    newest_first = sorted(made, reverse=True)
    for limit in (1, 2, 5):
        assert [item["id"] for item in await site.all("/v1/decisions", limit)] == newest_first


async def test_filters_hold_together(site):
    first = await decided(site, 0)
    await decided(site, 1, campaign=OTHER)
    await decided(site, 2, reason="quiet_hours")
    last = await decided(site, 3)
    query = {"campaign": str(CAMPAIGN), "reason": "cap"}
    assert ids(await site.get("/v1/decisions", **query)) == [last, first]
    assert ids(await site.get("/v1/decisions", **query, since="2030-05-01T12:03:00Z")) == [last]
    assert ids(await site.get("/v1/decisions", **query, until="2030-05-01T14:03:00+02:00")) == [first]


async def test_a_manager_sees_people_under_names_that_hold_but_lead_nobody_back(site):
    await decided(site, 0)
    await decided(site, 1)
    await decided(site, 2, user=BEN)
    seen = {}
    for who in ("viewer", "editor", "approver", "owner", "server"):
        ben, anna, again = (item["user"] for item in (await site.get("/v1/decisions", who=who)).body["items"])
        assert anna == again != ben
        seen[who] = anna
    assert seen["owner"] == seen["server"] == str(ANNA)
    assert seen["viewer"] == seen["editor"] == seen["approver"]
    assert seen["viewer"].startswith("p-")
    assert len(seen["viewer"]) == 18
    assert (await site.get("/v1/decisions", who="viewer")).body["items"][0]["user"] not in {str(ANNA), str(BEN)}


async def test_the_same_person_has_another_name_in_another_workspace(site):
    ours = await decided(site, 0)
    theirs = await decided(site, 1, workspace=BETA)
    viewer = (await site.get(f"/v1/decisions/{ours}", who="viewer")).body["user"]
    log = site.services.decisions
    other = await log.names(type("C", (), {"workspace": BETA, "kind": "manager", "may": lambda _self, _role: False})())
    assert viewer != other.of(ANNA)
    assert (await site.get(f"/v1/decisions/{theirs}")).status == 404


@pytest.mark.parametrize("who", ["owner", "server"])
async def test_a_search_by_user_is_audited(site, who):
    await person(site, ANNA, "anna@shop")
    mine = [await decided(site, minute) for minute in (0, 1, 2)]
    await decided(site, 3, user=BEN)
    for name in (str(ANNA), "anna@shop"):
        assert ids(await site.get("/v1/decisions", who=who, user=name)) == mine[::-1]
    page = await site.get("/v1/decisions", who=who, user="anna@shop", limit="2")
    rest = await site.get("/v1/decisions", who=who, user="anna@shop", cursor=page.body["next"])
    assert ids(page) + ids(rest) == mine[::-1]
    assert ids(await site.get("/v1/decisions", who=who, user="nobody")) == []
    async with transaction(site.pool, [ALPHA]) as connection:
        found = await connection.fetch("SELECT caller, action, subject FROM audit WHERE caller <> 'cli' ORDER BY id")
    key = site.keys[who].split("_")[2]
    assert {(row["caller"], row["action"]) for row in found} == {(key, "decisions.search_user")}
    assert [row["subject"] for row in found] == [str(ANNA), "anna@shop", "anna@shop", "anna@shop", "nobody"]


async def test_others_do_not_search_by_user(site):
    cases = ["viewer", "editor", "approver"]
    for who in cases:
        answered = await site.get("/v1/decisions", who=who, user=str(ANNA))
        assert (answered.status, answered.body["code"]) == (403, "role")


async def test_another_workspace_sees_none_of_it(site):
    ident = await decided(site, 0)
    assert (await site.get(f"/v1/decisions/{ident}", who="beta")).status == 404
    assert ids(await site.get("/v1/decisions", who="beta")) == []
    assert ids(await site.get("/v1/decisions", who="beta", user=str(ANNA))) == []
    assert (await site.get("/v1/decisions/none")).status == 404


async def test_a_query_with_a_fault_is_refused(site):
    cases = [
        ({"since": "2030-05-01T12:00:00"}, 422),
        ({"since": "0001-01-01T00:00:00+14:00"}, 422),
        ({"until": "soon"}, 422),
        ({"campaign": "none"}, 422),
        ({"reason": "a\u0000"}, 422),
        ({"user": "a\u0000"}, 422),
        ({"cursor": "forged"}, 400),
        ({"sort": "at"}, 422),
    ]
    for query, status in cases:
        assert (await site.get("/v1/decisions", **query)).status == status


async def test_an_app_key_reads_no_decisions(site):
    assert (await site.get("/v1/decisions", who="app")).status == 403
