"""Profiles, segments and audiences on the running service: what is kept, for whom, and whom a campaign speaks to."""

import json

import pytest

from geo_offers.people import segments
from tests.integration.people.conftest import AWAY, BOTH, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTRIBUTES = {
    "shoe_size": {"type": "number"},
    "city": {"type": "text"},
    "likes": {"type": "list"},
    "member": {"type": "flag", "by": "server"},
}
ALL = BOTH | {"profile": "v1"}
BIG = {"op": "attribute", "name": "shoe_size", "is": "ge", "value": 43}


async def declare(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"audience": {"attributes": ATTRIBUTES}})


async def kept(api, phone):
    """What the database holds of the person's profile."""
    row = await api.rows.fetchrow("SELECT profile, refused FROM app_user WHERE id = $1::uuid", phone.user)
    return None if row["profile"] is None else json.loads(row["profile"]), row["refused"]


async def arrive(phone):
    """The decision's outcome of one arrival: the offers made at it."""
    await phone.at(AWAY)
    answer = await phone.at(SHOP)
    assert answer.status == 200, answer.body
    return answer.body["offers"]


async def newest(api, campaign):
    found = await api.good("GET", f"/v1/decisions?campaign={campaign}&limit=1", "owner")
    (decision,) = found["items"]
    (gate,) = [gate for gate in decision["gates"] if gate["gate"] == "audience"]
    return decision["reason"] if decision["outcome"] == "suppressed" else None, gate["detail"]


# ------------------------------------------------------------------------------------------------ the profile
async def test_a_person_gives_changes_and_forgets_attributes(api):
    await declare(api)
    phone = await api.phone(consents=ALL)
    given = {
        "attributes": {"shoe_size": 42, "city": "Emden", "likes": ["tea"]},
        "locale": "de",
        "time_zone": "Asia/Tokyo",
    }
    told = await phone.good("PATCH", "/v1/me/profile", given)
    assert told["attributes"] == {"shoe_size": 42, "city": "Emden", "likes": ["tea"]}
    assert (told["locale"], told["time_zone"]) == ("de", "Asia/Tokyo")
    assert (told["stage"], told["reason"]) == ("lead", "answers ≥ 1")
    told = await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": None, "shoe_size": 43}})
    assert told["attributes"] == {"shoe_size": 43, "likes": ["tea"]}
    assert told["locale"] == "de"
    assert await phone.good("GET", "/v1/me/profile") == told
    assert (await phone.good("GET", "/v1/me/export"))["profile"] == told


async def test_a_fault_in_a_patch_is_told_with_its_place_and_nothing_of_it_is_kept(api):
    await declare(api)
    phone = await api.phone(consents=ALL)
    patch = {"attributes": {"shoe_size": "big", "gone": 1, "member": True, "city": "Emden"}, "locale": "de"}
    answer = await phone.call("PATCH", "/v1/me/profile", patch)
    assert (answer.status, answer.pointers) == (
        422,
        ["/attributes/shoe_size", "/attributes/gone", "/attributes/member"],
    )
    told = await phone.good("GET", "/v1/me/profile")
    assert (told.get("attributes", {}), told["locale"]) == ({}, "en")
    for wrong, pointer in (
        ({"attributes": {"Shoe": 1}}, "/attributes/Shoe"),
        ({"time_zone": "Mars/X"}, "/time_zone"),
        ({"attributes": {"city": "x" * 201}}, "/attributes/city"),
        ({"size": 1}, "/size"),
    ):
        answer = await phone.call("PATCH", "/v1/me/profile", wrong)
        assert (answer.status, answer.pointers) == (422, [pointer])


async def test_without_the_consent_nothing_is_kept_but_a_refusal(api):
    await declare(api)
    phone = await api.phone()
    answer = await phone.call("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}, "locale": "de"})
    assert (answer.status, answer.code) == (403, "consent_required")
    assert await kept(api, phone) == (None, [])
    told = await phone.good("PATCH", "/v1/me/profile", {"refused": ["city"], "locale": "de"})
    assert told == {"refused": ["city"], "locale": "de"}
    assert await kept(api, phone) == (None, ["city"])


async def test_withdrawal_wipes_the_profile_and_a_refusal_outlives_it(api):
    await declare(api)
    phone = await api.phone(consents=ALL)
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}, "refused": ["shoe_size"]})
    held, refused = await kept(api, phone)
    assert (held["attributes"], held["stage"], refused) == ({"city": "Emden"}, "lead", ["shoe_size"])
    await phone.consent("profile", granted=False)
    assert await kept(api, phone) == (None, ["shoe_size"])
    await phone.consent("profile", granted=True, version="v2")
    told = await phone.good("GET", "/v1/me/profile")
    assert told.get("attributes", {}) == {}
    assert (told["stage"], told["refused"]) == ("anonymous", ["shoe_size"])


async def test_a_refused_attribute_is_forgotten_and_one_given_is_told_and_its_refusal_kept(api):
    await declare(api)
    phone = await api.phone(consents=ALL)
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    told = await phone.good("PATCH", "/v1/me/profile", {"refused": ["city"]})
    assert (told.get("attributes", {}), told["refused"]) == ({}, ["city"])
    told = await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    assert (told["attributes"], told.get("refused", [])) == ({"city": "Emden"}, [])
    assert (await phone.good("GET", "/v1/me/export"))["profile"]["refused"] == ["city"]
    told = await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": None}})
    assert (told.get("attributes", {}), told["refused"]) == ({}, ["city"])


async def test_who_agrees_as_they_enrol_has_a_stage_from_then_on_and_nobody_else_has(api):
    given = [{"platform": "ios", "consents": ALL}, {"platform": "ios", "consents": ALL, "user": "kim"}]
    enrolled = await api.good("POST", "/v1/devices", "server", [*given, {"platform": "ios", "consents": BOTH}])
    unnamed, kim, silent = map(api.as_phone, enrolled)
    for phone, stage, reason in ((unnamed, "anonymous", "no log-in"), (kim, "identified", "log-in 20")):
        profile, _ = await kept(api, phone)
        assert (profile["attributes"], profile["stage"]) == ({}, stage)
        assert profile["reason"].startswith(reason)
        assert profile["since"] is not None
    assert (await kept(api, silent))[0] is None


async def test_another_phone_that_agrees_changes_no_stage(api):
    await declare(api)
    phone = await api.phone("server", user="kim", consents=ALL)
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    before = await kept(api, phone)
    await api.phone("server", user="kim", consents=BOTH | {"profile": "v2"})
    assert before[0]["stage"] == "lead"
    assert await kept(api, phone) == before


@pytest.mark.parametrize("age", ["minor", "unknown"])
async def test_nothing_is_kept_of_minors_and_of_whose_age_is_not_known(api, age):
    await declare(api)
    phone = await api.phone(consents=BOTH, age=age)
    answer = await phone.call("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    assert (answer.status, answer.code) == (403, "consent_required")
    assert (await kept(api, phone))[0] is None


async def test_a_profile_goes_with_the_news_that_its_person_is_a_minor(api):
    await declare(api)
    phone = await api.phone("server", user="kim", consents=ALL)
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    await api.phone("server", user="kim", age="minor")
    assert (await kept(api, phone))[0] is None


async def test_the_apps_server_gives_what_it_knows_by_either_name(api):
    await declare(api)
    phone = await api.phone("server", user="kim", consents=ALL)
    for name, purchases, stage in (("kim", 1, "customer"), (phone.user, 0, "identified")):
        patch = {"attributes": {"purchases": purchases, "member": True}}
        told = await api.good("PATCH", f"/v1/users/{name}/profile", "server", patch)
        assert told["attributes"] == {"purchases": purchases, "member": True}
        assert told["stage"] == stage
    assert (await api.call("PATCH", "/v1/users/nobody/profile", "server", {})).status == 404
    assert (await api.call("PATCH", "/v1/users/kim/profile", "owner", {})).status == 403


async def test_a_device_without_proof_reads_no_profile_and_is_told_what_it_said(api):
    await declare(api)
    proven = await api.phone("server", user="kim", consents=ALL)
    await proven.good("PATCH", "/v1/me/profile", {"attributes": {"shoe_size": 42}})
    other = await api.phone("app", user="kim")
    answer = await other.call("GET", "/v1/me/profile")
    assert (answer.status, answer.code) == (403, "user_proof")
    told = await other.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    assert told == {"attributes": {"city": "Emden"}, "locale": "en"}
    assert "profile" not in await other.good("GET", "/v1/me/export")


async def test_an_unreadable_profile_is_not_known_and_mends_itself(api):
    await declare(api)
    campaign = await api.shop(audience={"rule": {"op": "not", "of": BIG}})
    phone = await api.buyer(consents=ALL)
    await api.rows.execute("UPDATE app_user SET profile = 'x' WHERE id = $1::uuid", phone.user)
    assert await arrive(phone) == []
    assert await newest(api, campaign) == ("audience", {"profile": False})
    await phone.consent("profile", granted=False)
    await phone.consent("profile", granted=True, version="v2")
    assert len(await arrive(phone)) == 1


# ------------------------------------------------------------------------------------------------ segments
def on(platform):
    return {"rule": {"op": "platform", "in": [platform]}}


async def test_whom_an_approved_campaign_is_for_does_not_change_unseen(api):
    await api.good("PUT", "/v1/segments/phones", "editor", on("ios"))
    await api.good("PUT", "/v1/segments/buyers", "editor", {"rule": {"op": "segment", "id": "phones"}})
    campaign = await api.shop(audience={"segments": ["buyers"]}, stakes={"discount_percent": 50})
    other = await api.shop(name="For all", stakes={"discount_percent": 50})
    phone = await api.buyer(platform="android")
    await api.good("PUT", "/v1/segments/phones", "editor", on("ios"))
    assert (await api.good("GET", f"/v1/campaigns/{campaign}", "viewer"))["state"] == "approved"  # nothing changed
    await api.good("PUT", "/v1/segments/phones", "editor", on("android"))
    held = await api.good("GET", f"/v1/campaigns/{campaign}", "viewer")
    assert (held["state"], held["approvals"], held["version"]) == ("submitted", 0, 2)
    offers = (await phone.at(SHOP)).body["offers"]
    assert [offer["campaign"] for offer in offers] == [other]
    actions = [row["action"] for row in (await api.good("GET", "/v1/audit", "owner"))["items"]]
    assert actions.count("campaign.reset") == 1


async def test_what_nobody_had_to_agree_to_goes_on_when_its_segment_changes(api):
    await api.good("PUT", "/v1/segments/phones", "editor", on("ios"))
    campaign = await api.shop(audience={"segments": ["phones"]})
    await api.good("PUT", "/v1/segments/phones", "editor", on("android"))
    assert (await api.good("GET", f"/v1/campaigns/{campaign}", "viewer"))["state"] == "approved"


async def test_segments_are_put_read_listed_and_deleted(api):
    await declare(api)
    made = await api.call("PUT", "/v1/segments/big", "editor", {"name": "Big feet", "rule": BIG})
    assert (made.status, made.body) == (201, {"id": "big", "name": "Big feet", "rule": BIG})
    assert (await api.call("PUT", "/v1/segments/big", "editor", {"rule": BIG})).status == 200
    await api.good("PUT", "/v1/segments/all", "editor", {"rule": {"op": "all", "of": [{"op": "segment", "id": "big"}]}})
    listed = await api.good("GET", "/v1/segments", "viewer")
    assert [segment["id"] for segment in listed["items"]] == ["all", "big"]
    assert (await api.good("GET", "/v1/segments/big", "viewer"))["rule"] == BIG
    assert (await api.call("DELETE", "/v1/segments/big", "editor")).status == 409
    for ident in ("all", "big"):
        assert (await api.call("DELETE", f"/v1/segments/{ident}", "editor")).status == 204
    assert (await api.call("GET", "/v1/segments/big", "viewer")).status == 404
    assert (await api.call("PUT", "/v1/segments/big", "viewer", {"rule": BIG})).status == 403


async def test_a_segment_with_a_fault_is_refused_with_its_place(api):
    await declare(api)
    deep = BIG
    for _ in range(segments.DEPTH):
        deep = {"op": "not", "of": deep}
    for rule, pointer in (
        ({"op": "attribute", "name": "gone", "is": "known"}, "/rule/name"),
        ({"op": "any", "of": [BIG, BIG | {"value": "big"}]}, "/rule/of/1/value"),
        ({"op": "segment", "id": "gone"}, "/rule/id"),
        ({"op": "eval", "of": "1"}, "/rule/op"),
        (deep, "/rule"),
    ):
        answer = await api.call("PUT", "/v1/segments/s", "editor", {"rule": rule})
        assert (answer.status, answer.pointers) == (422, [pointer])
    assert (await api.good("GET", "/v1/segments", "viewer"))["items"] == []


async def test_segments_never_come_to_name_each_other_in_a_circle(api):
    await declare(api)
    await api.good("PUT", "/v1/segments/a", "editor", {"rule": BIG})
    await api.good("PUT", "/v1/segments/b", "editor", {"rule": {"op": "segment", "id": "a"}})
    answer = await api.call(
        "PUT", "/v1/segments/a", "editor", {"rule": {"op": "not", "of": {"op": "segment", "id": "b"}}}
    )
    assert (answer.status, answer.body["errors"][0]["code"]) == (422, "cycle")
    assert (await api.good("GET", "/v1/segments/a", "viewer"))["rule"] == BIG


async def test_what_segments_and_campaigns_ask_of_attributes_stays_declared(api):
    await declare(api)
    await api.good("PUT", "/v1/segments/big", "editor", {"rule": BIG})
    campaign = await api.shop(ask="city")
    answer = await api.call("PATCH", "/v1/workspace", "owner", {"audience": {"attributes": {}}})
    assert (answer.status, answer.pointers) == (422, ["/audience/attributes"] * 2)
    said = " ".join(fault["detail"] for fault in answer.body["errors"])
    assert "'big'" in said
    assert campaign in said
    stages = {"customer": {"op": "visits", "counter": "count", "is": "ge", "value": 3}}
    answer = await api.call(
        "PATCH", "/v1/workspace", "owner", {"audience": {"attributes": ATTRIBUTES, "stages": stages}}
    )
    assert (answer.status, answer.pointers) == (422, ["/audience/stages/customer"])


async def test_a_campaigns_audience_is_checked_when_it_is_written(api):
    await declare(api)
    await api.shop()
    body = {
        "name": "Rolls",
        "objective": "visit",
        "trigger": {"on": "enter", "fences": {"set": "stores"}},
        "texts": {"en": {"title": "Warm rolls", "body": "Until noon"}},
    }
    wrong = {"segments": ["gone"], "rule": {"op": "attribute", "name": "city", "is": "lt", "value": "B"}}
    answer = await api.call("POST", "/v1/campaigns", "editor", body | {"audience": wrong, "ask": "member"})
    assert (answer.status, answer.pointers) == (422, ["/audience/segments/0", "/audience/rule/is", "/ask"])
    answer = await api.call("POST", "/v1/campaigns", "editor", body | {"audience": {"stages": ["lost"]}})
    assert (answer.status, answer.pointers) == (422, ["/audience/stages/0"])


# ------------------------------------------------------------------------------------------------ decisions
async def test_a_campaign_speaks_to_its_segment_and_stage_alone_and_says_why_it_is_silent(api):
    await declare(api)
    await api.good("PUT", "/v1/segments/big", "editor", {"rule": BIG})
    campaign = await api.shop(audience={"segments": ["big"], "stages": ["lead"]})
    phone = await api.buyer(consents=ALL)
    assert await arrive(phone) == []
    unknown = {"stage": "anonymous", "why": "no log-in", "failed": "segment", "segment": "big"}
    assert await newest(api, campaign) == ("audience", unknown)
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"shoe_size": 44}})
    assert len(await arrive(phone)) == 1
    assert await newest(api, campaign) == (None, {"stage": "lead", "why": "answers ≥ 1"})
    await api.good("PUT", "/v1/segments/big", "editor", {"rule": BIG | {"value": 45}})
    assert await arrive(phone) == []
    await phone.consent("profile", granted=False)
    assert await arrive(phone) == []
    assert await newest(api, campaign) == ("audience", {"profile": False})


async def test_every_third_visit_to_the_store_is_counted_with_consent_alone(api):
    third = {"op": "visits", "counter": "count", "is": "eq", "value": 3, "at": "here"}
    campaign = await api.shop(audience={"rule": third})
    phone, silent = await api.buyer(consents=ALL), await api.buyer()
    enrolled = await kept(api, phone)
    made = [len(await arrive(phone)) for _ in range(4)]
    assert made == [0, 0, 1, 0]
    assert [len(await arrive(silent)) for _ in range(4)] == [0] * 4
    assert await newest(api, campaign) == ("audience", {"profile": False})
    assert await kept(api, silent) == (None, [])
    tables = await api.tables()
    assert not [row for name, rows in tables.items() for row in rows if silent.user in row and "shoe_size" in row]
    assert await kept(api, phone) == enrolled
    assert enrolled[0]["attributes"] == {}


async def test_visits_of_long_ago_and_drives_past_do_not_count(api):
    second = {"op": "visits", "counter": "count", "is": "eq", "value": 2}
    await api.shop(audience={"rule": second})
    phone = await api.buyer(consents=ALL)
    assert await arrive(phone) == []
    await phone.at(AWAY)
    await api.rows.execute("UPDATE visit SET label = 'drove_past' WHERE user_id = $1::uuid", phone.user)
    assert await arrive(phone) == []
    await phone.at(AWAY)
    await api.rows.execute(
        "UPDATE visit SET entered_at = entered_at - interval '400 days' WHERE user_id = $1::uuid", phone.user
    )
    assert await arrive(phone) == []
    assert len(await arrive(phone)) == 1


async def test_an_offer_asks_for_one_attribute_until_it_is_given_or_refused(api):
    await declare(api)
    await api.shop(ask="shoe_size", data={"sku": "7"})
    phone = await api.buyer(consents=ALL)
    (offer,) = await arrive(phone)
    assert offer["data"] == {"sku": "7", "ask": "shoe_size"}
    await phone.good("PATCH", "/v1/me/profile", {"refused": ["shoe_size"]})
    (offer,) = await arrive(phone)
    assert offer["data"] == {"sku": "7"}
    await phone.consent("profile", granted=False)
    await phone.consent("profile", granted=True, version="v2")
    (offer,) = await arrive(phone)
    assert offer["data"] == {"sku": "7"}
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"shoe_size": 42}})
    (offer,) = await arrive(phone)
    assert offer["data"] == {"sku": "7"}
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"shoe_size": None}})
    (offer,) = await arrive(phone)
    assert offer["data"] == {"sku": "7"}  # a refusal is for good, whatever was given since
    nobody = await api.buyer()
    (offer,) = await arrive(nobody)
    assert offer["data"] == {"sku": "7"}


async def test_a_text_says_an_attribute_of_who_has_it_and_its_fallback_of_who_has_not(api):
    await declare(api)
    city = {"type": "text", "from": "profile", "attribute": "city", "fallback": {"en": "you"}}
    await api.shop(fields={"city": city}, texts={"en": {"title": "Warm rolls", "body": "Hello {city}"}})
    known, other = await api.buyer(consents=ALL), await api.buyer()
    await known.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    said = [(await phone.at(SHOP)).body["offers"][0]["body"] for phone in (known, other)]
    assert said == ["Hello Emden", "Hello you"]
    asked = {"lat": SHOP[0], "lon": SHOP[1]}
    told = [(await phone.good("POST", "/v1/me/nearby", asked))["items"][0]["body"] for phone in (known, other)]
    assert told == said


async def test_a_text_says_only_attributes_that_are_declared(api):
    await declare(api)
    wrong = {"shoe": {"type": "text", "from": "profile", "attribute": "shoe", "fallback": {"en": "you"}}}
    body = {
        "name": "Rolls",
        "objective": "visit",
        "trigger": {"on": "enter", "fences": {"set": "stores"}},
        "texts": {"en": {"title": "Warm rolls", "body": "Hello {shoe}"}},
    }
    answer = await api.call("POST", "/v1/campaigns", "editor", body | {"fields": wrong})
    assert (answer.status, answer.pointers) == (422, ["/fields/shoe/attribute"])
