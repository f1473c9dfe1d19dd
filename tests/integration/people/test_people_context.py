"""What goes on around an arrival silences it, with its reason: hours, events of each kind, embargo, what people did."""

import asyncio
import json
import uuid
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest

from geo_offers.instants import from_us, to_us
from geo_offers.signing import signed_headers
from geo_offers.storage.keys import create_key, signing_secret
from geo_offers.storage.retention import PostgresRetention
from tests.integration.people.conftest import AWAY, BOTH, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOSED = "24/7 off"
ALL = {**BOTH, "profile": "v1"}


def instant(**ahead):
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def gate(decision, name):
    return next(one for one in decision["gates"] if one["gate"] == name)


async def newest(api):
    return (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]


async def event(api, name, **body):
    await api.good("PUT", f"/v1/events/{name}", "owner", {"name": name} | body)


def around(lat, lon):
    ring = [[lon - 0.01, lat], [lon, lat - 0.01], [lon + 0.01, lat], [lon, lat + 0.01], [lon - 0.01, lat]]
    return {"type": "Polygon", "coordinates": [ring]}


async def heard(api, phone):
    """What comes of one more visit to the shop: None for an offer, else the gate that failed and its detail."""
    answer = await phone.at(SHOP)
    decision = await newest(api)
    await phone.at(AWAY)
    assert bool(answer.body["offers"]) == (decision["outcome"] == "offer")
    failed = [one for one in decision["gates"] if not one["passed"] and one["gate"] != "ranking"]
    if not failed:
        return None
    assert decision["reason"] == "schedule"
    return failed[0]["gate"], failed[0]["detail"]


async def in_store(api):
    """The shop's fence belongs to a store from now on."""
    feature = (await api.good("GET", "/v1/geofences/stores/main", "owner"))["feature"]
    feature["properties"]["store"] = "main"
    await api.good("PUT", "/v1/geofences/stores/main", "owner", feature)


# ------------------------------------------------------------------------------------------------ hours
async def test_an_offer_for_a_closed_store_is_silent_and_one_for_an_open_store_ends_with_its_hours(api):
    await api.shop()
    await in_store(api)
    phone = await api.buyer()
    await api.good("PUT", "/v1/stores/main", "owner", {"name": "Main", "hours": CLOSED})
    silence = await heard(api, phone)
    assert silence is not None
    assert (silence[0], silence[1]["open"]) == ("opening_hours", False)
    closing = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=10)
    opening = closing - timedelta(hours=2)
    hours = f"Mo-Su {opening:%H:%M}-{closing:%H:%M}"
    await api.good("PUT", "/v1/stores/main", "owner", {"name": "Main", "hours": hours})
    (offer,) = (await phone.at(SHOP)).body["offers"]
    assert datetime.fromisoformat(offer["expires_at"]) == closing
    assert gate(await newest(api), "opening_hours")["detail"]["open"] is True


async def test_a_campaign_keeps_to_its_hours(api):
    now = datetime.now(UTC)
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(now + timedelta(days=3)).weekday()]
    other = {"hours": [{"days": [day], "start": "00:00", "end": "24:00"}]}
    await api.shop(schedule=other)
    assert (await heard(api, await api.buyer()))[0] == "schedule"


# ------------------------------------------------------------------------------------------------ events
async def test_a_campaign_waits_for_all_its_events_and_keeps_out_of_others(api):
    await event(api, "fair", kind="corporate", start=instant(days=-1), end=instant(days=1))
    await event(api, "next", kind="corporate", start=instant(days=1), end=instant(days=2))
    await api.shop(when={"events": ["fair"], "unless": ["next"]})
    phone = await api.buyer()
    assert await heard(api, phone) is None
    await event(api, "next", kind="corporate", start=instant(days=-1), end=instant(days=2))
    gate_name, detail = await heard(api, phone)
    assert (gate_name, detail["event"], detail["why"]) == ("context", "next", "on")
    await event(api, "fair", kind="corporate", start=instant(days=-2), end=instant(days=-1))
    assert (await heard(api, phone))[1]["why"] == "over"


async def test_a_local_event_is_on_at_fences_that_meet_its_area_alone(api):
    when = {"kind": "local", "start": instant(days=-1), "end": instant(days=1)}
    await event(api, "street", area=around(*AWAY), **when)
    await api.shop(when={"events": ["street"]})
    phone = await api.buyer()
    assert (await heard(api, phone))[1]["why"] == "elsewhere"
    await event(api, "street", area=around(*SHOP), **when)
    assert await heard(api, phone) is None


async def test_a_number_turns_an_event_on_and_off_and_grows_too_old(api):
    await event(api, "rain", kind="predictive", above=2.0, hysteresis=0.5, max_age_s=600)
    await api.shop(when={"events": ["rain"]})
    phone = await api.buyer()
    assert (await heard(api, phone))[1]["why"] == "no_number"
    for value, ago, why in (
        (9.0, 700, "number_too_old"),
        (2.1, 60, None),
        (1.6, 50, None),
        (1.4, 40, "bound_not_crossed"),
    ):
        await api.good("POST", "/v1/events/rain/value", "server", {"value": value, "at": instant(seconds=-ago)})
        silence = await heard(api, phone)
        assert (silence and silence[1]["why"]) == why, value


async def test_news_is_off_until_two_have_approved_it(api):
    await event(api, "flood", kind="news", end=instant(hours=2))
    await api.shop(when={"events": ["flood"]})
    phone = await api.buyer()
    assert (await heard(api, phone))[1]["why"] == "not_approved"
    await api.good("POST", "/v1/events/flood/approve", "approver")
    assert (await heard(api, phone))[1]["why"] == "not_approved"
    await api.good(
        "POST", "/v1/events/flood/approve", await create_key(api.pool, api.name, "manager", "approver", replay=False)
    )
    assert await heard(api, phone) is None


async def test_nothing_is_sent_on_an_embargo_day_or_during_its_event(api):
    await api.shop()
    phone = await api.buyer()
    today = datetime.now(UTC).date()
    await api.good("PATCH", "/v1/workspace", "owner", {"embargo": {"days": [today.isoformat()]}})
    assert await heard(api, phone) == (
        "embargo",
        {"on": today.isoformat(), "until": f"{today + timedelta(days=1)}T00:00:00Z"},
    )
    await event(api, "mourning", kind="corporate", start=instant(days=-1), end=instant(days=1))
    await api.good("PATCH", "/v1/workspace", "owner", {"embargo": {"events": ["mourning"]}})
    assert (await heard(api, phone))[1]["on"] == "mourning"
    await api.good("PATCH", "/v1/workspace", "owner", {"embargo": {}})
    assert await heard(api, phone) is None


# ------------------------------------------------------------------------------------------------ interactions
def did(ident="a", kind="basket_left", **more):
    return {"id": ident, "user": "ann", "type": kind, "at": instant(minutes=-1)} | more


async def tell(api, body):
    return await api.good("POST", "/v1/interactions", "server", body)


async def kept_of(api, phone):
    return (await phone.good("GET", "/v1/me/export"))["interactions"]


async def test_what_a_person_did_turns_an_event_on_for_them_while_it_is_valid_and_they_agree_to_profiling(api):
    await event(api, "basket", kind="interaction", type="basket_left")
    await api.shop(when={"events": ["basket"]})
    ann, ben = await api.buyer("server", user="ann", consents=ALL), await api.buyer("server", user="ben", consents=ALL)
    assert await tell(api, did()) == {"kept": True, "reason": None}
    assert await tell(api, did()) == {"kept": False, "reason": "known"}
    assert await tell(api, did("b", at=instant(days=-3))) == {"kept": False, "reason": "over"}
    assert await heard(api, ann) is None
    assert (await heard(api, ben))[1]["why"] == "no_interaction"
    assert [one["id"] for one in await kept_of(api, ann)] == ["a"]
    await ann.consent("profile", granted=False)
    assert await kept_of(api, ann) == []
    assert (await heard(api, ann))[1]["why"] == "no_interaction"
    assert await tell(api, did("c")) == {"kept": False, "reason": "no_consent"}


@pytest.mark.parametrize("age", ["minor", "unknown"])
async def test_of_the_young_nothing_is_kept_that_would_profile_them(api, age):
    ann = await api.phone("server", user="ann", age=age)
    assert await tell(api, did()) == {"kept": False, "reason": "no_consent"}
    assert await kept_of(api, ann) == []


async def test_a_purchase_silences_its_own_campaign_and_no_other_whatever_the_person_lets_us_profile(api):
    rolls = await api.shop(priority=9)
    other = {"name": "Cakes", "objective": "visit", "holdout": 0, "texts": {"en": {"title": "Cakes", "body": "Warm"}}}
    made = await api.good(
        "POST", "/v1/campaigns", "owner", other | {"trigger": {"on": "enter", "fences": {"set": "stores"}}}
    )
    await api.good("POST", f"/v1/campaigns/{made['id']}/submit", "owner")
    ann = await api.buyer("server", user="ann")
    (offer,) = (await ann.at(SHOP)).body["offers"]
    assert offer["campaign"] == rolls
    await ann.at(AWAY)
    assert (await tell(api, did(kind="purchase", campaign=rolls)))["kept"]
    (offer,) = (await ann.at(SHOP)).body["offers"]
    assert offer["campaign"] == made["id"]
    others = gate(await newest(api), "ranking")["detail"]["others"]
    assert others[0]["reason"] == "schedule"
    await ann.at(AWAY)
    assert (await tell(api, did("p2", kind="purchase", campaign=made["id"])))["kept"]
    assert (await heard(api, ann))[1]["why"] == "purchased"


async def test_an_interaction_may_be_signed_instead_of_sent_with_a_key(api):
    await api.phone("server", user="ann", consents=ALL)
    secret = await signing_secret(api.pool, api.name)
    assert len(b64decode(secret.removeprefix("whsec_"))) == 32
    body = json.dumps(did()).encode()
    path = f"/v1/workspaces/{api.workspace}/interactions"
    now_s = int(datetime.now(UTC).timestamp())
    good = signed_headers([secret], "msg_1", now_s, body)
    answer = await api.call("POST", path, None, body, headers=good)
    assert (answer.status, answer.body["kept"]) == (200, True)
    for headers, sent in (
        ({}, body),
        (good, body.replace(b"basket", b"casket")),
        (signed_headers([secret], "msg_1", now_s - 600, body), body),
        (signed_headers(["whsec_" + "A" * 43], "msg_1", now_s, body), body),
    ):
        assert (await api.call("POST", path, None, sent, headers=headers)).status == 401
    nowhere = f"/v1/workspaces/{uuid.uuid4()}/interactions"
    assert (await api.call("POST", nowhere, None, body, headers=good)).status == 401


async def backed_off(api, phone):
    """The step of back-off that the next arrival's receipt tells."""
    await phone.at(SHOP)
    step = gate(await newest(api), "rhythm_gap")["detail"]["step"]
    await phone.at(AWAY)
    return step


async def test_a_purchase_that_names_an_offer_redeems_it_once_and_moves_the_persons_step_back(api):
    campaign = await api.shop()
    ann = await api.buyer("server", user="ann")
    offers = []
    for kind in ("shown", "dismissed"):
        (offer,) = (await ann.at(SHOP)).body["offers"]
        await ann.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": kind})
        await ann.at(AWAY)
        offers.append(offer["id"])
    assert await backed_off(api, ann) == 2
    rolls = did(
        kind="purchase", offer=offers[0], at=instant(hours=-3), valid_s=3600
    )  # long over, and redeemed all the same
    assert await tell(api, rolls) == {"kept": False, "reason": "over", "redeemed": True}
    assert await backed_off(api, ann) == 2, "a step below none is none: the dismissal came after it"
    bought = did("b", kind="purchase", offer=offers[1])
    assert await tell(api, bought) == {"kept": True, "reason": None, "redeemed": True}
    assert await tell(api, bought) == {"kept": False, "reason": "known", "redeemed": False}
    assert await backed_off(api, ann) == 0
    (kept,) = await kept_of(api, ann)
    assert kept["campaign"] == campaign, "it silences the offer's campaign, without the consent to profiling"
    told = {one["offer"]["id"]: one for one in (await ann.good("GET", "/v1/me/export"))["offers"]}
    assert [event["type"] for event in told[offers[1]]["events"]] == ["dismissed", "redeemed"]


async def test_an_offer_that_is_redeemed_is_not_sent_any_more(api):
    await api.shop()
    ann = await api.buyer("server", user="ann")
    (offer,) = (await ann.at(SHOP)).body["offers"]
    await api.waiting(offer)
    assert (await tell(api, did(kind="purchase", offer=offer["id"])))["redeemed"]
    held = "SELECT count(*) FROM outbox WHERE offer = $1::uuid"
    assert await api.rows.fetchval(held, offer["id"]) == 0
    became = "SELECT became FROM reservation WHERE offer = $1::uuid"
    assert await api.rows.fetchval(became, offer["id"]) == 7


async def test_what_redeems_no_offer_of_this_person_is_refused_with_its_place_and_nothing_of_it_is_kept(api):
    await api.shop()
    ann, ben = await api.buyer("server", user="ann", consents=ALL), await api.buyer("server", user="ben", consents=ALL)
    (theirs,) = (await ben.at(SHOP)).body["offers"]
    (own,) = (await ann.at(SHOP)).body["offers"]
    for wrong, pointer in (
        ({"offer": theirs["id"]}, "/offer"),
        ({"offer": str(uuid.uuid4())}, "/offer"),
        ({"offer": own["id"], "campaign": str(uuid.uuid4())}, "/campaign"),
        ({"offer": own["id"], "type": "basket_left"}, "/offer"),
    ):
        answer = await api.call("POST", "/v1/interactions", "server", did(kind="purchase") | wrong)
        assert (answer.status, answer.pointers) == (422, [pointer])
    assert (await ann.call("POST", f"/v1/me/offers/{own['id']}/events", {"type": "redeemed"})).status == 422
    assert await kept_of(api, ann) == []
    assert not await api.rows.fetchval("SELECT count(*) FROM offer_event WHERE workspace = $1", api.workspace)


async def test_what_people_did_is_forgotten_when_it_is_over_and_erased_with_them(api):
    ann = await api.phone("server", user="ann", consents=ALL)
    assert (await tell(api, did("short", valid_s=3600)))["kept"]
    assert (await tell(api, did("long", valid_s=86_400)))["kept"]
    past_us = to_us(before(seconds=1))
    stored = await api.rows.fetchval("SELECT interactions FROM app_user WHERE id = $1", uuid.UUID(ann.user))
    moved = [one | {"until_us": past_us} if one["id"] == "short" else one for one in json.loads(stored)]
    await api.rows.execute(
        "UPDATE app_user SET interactions = $2, interactions_until = $3 WHERE id = $1",
        uuid.UUID(ann.user),
        json.dumps(moved).encode(),
        from_us(past_us),
    )
    await PostgresRetention(api.pool).sweep({}, 0)
    assert [one["id"] for one in await kept_of(api, ann)] == ["long"]
    await api.good("DELETE", "/v1/me", ann.token)
    assert not any("short" in row for rows in (await api.tables()).values() for row in rows)


async def test_an_interaction_of_nobody_or_by_a_wrong_key_is_refused(api):
    assert (await api.call("POST", "/v1/interactions", "server", did(user="nobody"))).status == 404
    assert (await api.call("POST", "/v1/interactions", "app", did())).status == 403
    for change, pointer in (
        ({"type": "Left!"}, "/type"),
        ({"valid_s": 2_592_001}, "/valid_s"),
        ({"at": "2026-01-01T00:00:00"}, "/at"),
        ({"id": ""}, "/id"),
        ({"store": "x"}, "/store"),
    ):
        answer = await api.call("POST", "/v1/interactions", "server", did() | change)
        assert (answer.status, answer.pointers) == (422, [pointer])


# ------------------------------------------------------------------------------------------------ unreadable
async def test_a_person_of_whom_it_cannot_be_read_what_they_did_is_offered_nothing_until_it_is_told_anew(api):
    await api.shop()
    ann, ben = await api.buyer("server", user="ann", consents=ALL), await api.buyer("server", user="ben")
    await api.rows.execute("UPDATE app_user SET interactions = 'x' WHERE id = $1", uuid.UUID(ann.user))
    assert (await ann.at(SHOP)).body["offers"] == []
    assert (await newest(api))["reason"] == "quiet_hours"
    await ann.at(AWAY)
    assert await heard(api, ben) is None
    assert (await tell(api, did()))["kept"]
    assert await heard(api, ann) is None


@pytest.mark.parametrize(
    "rule",
    [
        b"x",
        b'{"kind":"recurring","holidays":{"region":"XX","zone":"UTC"}}',
        b'{"kind":"recurring","parts":[{"starts":"2026-01-01T00:00:00","zone":"Mars/X","length_s":60,"rule":null}]}',
    ],
)
async def test_an_event_that_cannot_be_read_silences_who_names_it_and_nobody_else(api, rule):
    await event(api, "fair", kind="corporate", start=instant(days=-2), end=instant(days=-1))
    await api.shop(when={"unless": ["fair"]}, priority=9)
    phone = await api.buyer()
    await api.rows.execute("UPDATE event SET rule = $2 WHERE workspace = $1", api.workspace, rule)
    await api.good("PATCH", "/v1/workspace", "owner", {"place_gap_s": 1})
    assert (await heard(api, phone))[1]["why"] == "unknown"
    assert [one["next"] for one in (await api.good("GET", "/v1/events", "viewer"))["items"]] == [[]]
    told = (await api.good("GET", "/v1/events/fair", "viewer"))["event"]
    await api.good("PUT", "/v1/events/fair", "owner", told)
    assert await heard(api, phone) is None, "the same again mends it"


# ------------------------------------------------------------------------------------------------ before the send
async def ended(api, offer):
    """How the offer ended once it was looked at again."""
    await api.rows.execute("UPDATE outbox SET due = now() WHERE offer = $1", uuid.UUID(offer["id"]))
    async with asyncio.timeout(10):
        while True:
            row = await api.rows.fetchrow("SELECT state, detail FROM offer WHERE id = $1", uuid.UUID(offer["id"]))
            if row["state"] != "queued":
                return row["state"], row["detail"]
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("change", ["store", "embargo", "event", "purchase"])
async def test_what_silences_an_offer_after_it_was_made_keeps_it_from_being_sent(api, change):
    await event(api, "fair", kind="corporate", start=instant(days=-1), end=instant(days=1))
    campaign = await api.shop(when={"events": ["fair"]})
    await in_store(api)
    await api.good("PUT", "/v1/stores/main", "owner", {"name": "Main", "hours": "24/7"})
    ann = await api.buyer("server", user="ann")
    (offer,) = (await ann.at(SHOP)).body["offers"]
    await api.waiting(offer)
    match change:
        case "store":
            await api.good("PUT", "/v1/stores/main", "owner", {"name": "Main", "hours": CLOSED})
        case "embargo":
            days = [(datetime.now(UTC) + timedelta(days=n)).date().isoformat() for n in range(2)]
            await api.good("PATCH", "/v1/workspace", "owner", {"embargo": {"days": days}})
        case "event":
            await event(api, "fair", kind="corporate", start=instant(days=-2), end=instant(days=-1))
        case "purchase":
            assert (await tell(api, did(kind="purchase", campaign=campaign)))["kept"]
    assert await ended(api, offer) == ("cancelled", "schedule")


async def test_what_nothing_silences_goes_on_waiting_for_its_phone(api):
    await api.shop()
    ann = await api.buyer("server", user="ann")
    (offer,) = (await ann.at(SHOP)).body["offers"]
    await api.waiting(offer)
    await api.rows.execute("UPDATE outbox SET due = now() WHERE offer = $1", uuid.UUID(offer["id"]))
    await asyncio.sleep(0.1)
    await api.waiting(offer)
    assert await api.rows.fetchval("SELECT state FROM offer WHERE id = $1", uuid.UUID(offer["id"])) == "queued"
