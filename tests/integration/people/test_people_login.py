"""Log-in: what moves with a phone to the person it is named for, what does not, and what keeps holding meanwhile."""

import asyncio
import hmac
import itertools
import uuid
from datetime import timedelta

import pytest

from geo_offers import wire
from geo_offers.client import Client
from geo_offers.offers.experiment import Experiment, Variant, assign
from geo_offers.pipeline.login import named_user
from tests.integration.people.conftest import AWAY, BOTH, LOOSE, SHOP, before
from tests.integration.people.test_people_audience import ALL, arrive, declare, kept

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def log_in(phone, name, **more):
    """The same phone with its new token."""
    told = await phone.good("POST", "/v1/me/user", {"user": name, **more})
    assert told["device"] == phone.device
    phone.user, phone.token = told["user"], told["access_token"]
    return told


async def rows_of(api, user):
    """How many rows each table holds of a person."""
    tables = ("visit", "decision", "offer", "reservation", "offer_event", "device")
    return {
        table: await api.rows.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1::uuid", user)
        for table in tables
    } | {"app_user": await api.rows.fetchval("SELECT count(*) FROM app_user WHERE id = $1::uuid", user)}


GONE = {"visit": 0, "decision": 0, "offer": 0, "reservation": 0, "offer_event": 0, "device": 0, "app_user": 0}


async def test_with_consent_the_whole_history_moves_to_the_named_person(api):
    await declare(api)
    await api.shop()
    phone = await api.buyer(consents=ALL)
    anonymous = phone.user
    await phone.good("PATCH", "/v1/me/profile", {"attributes": {"shoe_size": 42}})
    (offer,) = await arrive(phone)
    await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "opened"})
    await arrive(phone)
    held = await rows_of(api, anonymous)
    told = await log_in(phone, "kim")
    assert told["merged"]
    assert phone.user != anonymous
    assert await rows_of(api, anonymous) == GONE
    assert await rows_of(api, phone.user) == held
    assert (await kept(api, phone))[0]["attributes"] == {"shoe_size": 42}
    assert await phone.consents() == {"locate": True, "offers": True, "profile": True}
    assert LOOSE.items() <= (await phone.good("GET", "/v1/me/rhythm")).items()
    inbox = await phone.good("GET", "/v1/me/offers")
    assert offer["id"] in [item["id"] for item in inbox["items"]]


async def test_without_consent_what_protects_the_person_moves_and_what_tells_of_them_is_deleted(api):
    await api.shop(caps=[{"limit": 1, "window": {"n": 1, "unit": "day"}}])
    phone = await api.buyer()
    anonymous = phone.user
    (offer,) = await arrive(phone)
    await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "shown"})  # so that it counts for good
    assert await arrive(phone) == []  # capped: a silence of its own
    told = await log_in(phone, "kim")
    assert not told["merged"]
    assert await rows_of(api, anonymous) == GONE
    assert await rows_of(api, phone.user) == GONE | {
        "visit": 1,  # which has not ended
        "decision": 1,
        "offer": 1,
        "reservation": 1,
        "offer_event": 1,
        "device": 1,
        "app_user": 1,
    }
    assert await kept(api, phone) == (None, [])
    assert await arrive(phone) == []  # the cap holds on


async def test_what_the_phone_is_inside_of_moves_with_it(api):
    await api.shop()
    phone = await api.buyer(consents=ALL)
    await arrive(phone)
    await log_in(phone, "kim")
    again = await phone.at(SHOP)
    assert (again.status, again.body["transitions"]) == (200, [])
    left = await phone.at(AWAY)
    assert [edge["type"] for edge in left.body["transitions"]] == ["exit"]
    open_visits = await api.rows.fetchval(
        "SELECT count(*) FROM visit WHERE user_id = $1::uuid AND left_at IS NULL", phone.user
    )
    assert open_visits == 0


# ------------------------------------------------------------------------------------------------ draws
TEST = {"holdout": 0.4, "variants": [{"id": "a", "share": 0.5}, {"id": "b", "share": 0.5}]}


def drawn(api, campaign, user):
    """The arm that is an id's own."""
    test = Experiment(0.4, (Variant("a", 0.5), Variant("b", 0.5)))
    return assign(test, uuid.UUID(campaign), uuid.UUID(str(user)), workspace=api.name, holdout=0.0).name


async def arm(api, phone):
    """The arm of the phone's next arrival."""
    await arrive(phone)
    (newest,) = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"]
    (gate,) = [gate["detail"] for gate in newest["gates"] if gate["gate"] == "experiment"]
    return gate["arm"]


async def test_a_person_keeps_their_arms_when_the_app_learns_their_name(api):
    campaign = await api.shop(**TEST)
    seen = set()
    while seen != {"holdout", "a", "b"}:
        phone = await api.buyer()
        before, anonymous = await arm(api, phone), phone.user
        names = (uuid.uuid4().hex for _ in itertools.count())
        name = next(name for name in names if drawn(api, campaign, named_user(api.workspace, name)) != before)
        await log_in(phone, name)
        assert await arm(api, phone) == before
        assert (await phone.good("GET", "/v1/me/export"))["drawn_as"] == anonymous
        seen.add(before)


async def test_a_named_person_who_was_here_before_keeps_their_own_arm_whatever_phones_they_add(api):
    campaign = await api.shop(**TEST)
    known = await api.buyer("server", user="kim")
    own = drawn(api, campaign, known.user)
    while drawn(api, campaign, (phone := await api.buyer()).user) == own:
        pass
    await log_in(phone, "kim")
    assert phone.user == known.user
    assert await arm(api, phone) == own


async def test_visits_before_the_log_in_count_after_it(api):
    second = {"op": "visits", "counter": "count", "is": "eq", "value": 2, "at": "here"}
    await api.shop(audience={"rule": second})
    phone = await api.buyer(consents=ALL)
    assert await arrive(phone) == []
    await log_in(phone, "kim")
    assert len(await arrive(phone)) == 1


async def test_the_newest_word_on_consent_holds_and_is_in_the_ledger(api):
    await api.phone("server", user="kim", consents=ALL)
    phone = await api.phone(consents=BOTH)
    await phone.consent("profile", granted=False)
    rows = await api.ledger()
    assert not (await log_in(phone, "kim"))["merged"]
    assert await phone.consents() == {"locate": True, "offers": True, "profile": False}
    said = await api.rows.fetch(
        "SELECT purpose, granted, surface FROM consent_ledger WHERE workspace = $1 AND seq > $2", api.workspace, rows
    )
    assert [tuple(row) for row in said] == [("profile", False, "login")]


async def test_a_no_on_the_phone_stops_what_is_queued_for_the_person(api):
    await api.shop()
    known = await api.buyer("server", user="kim")
    (offer,) = await arrive(known)
    await api.waiting(offer)
    phone = await api.phone()
    await phone.consent("offers", granted=False)
    await log_in(phone, "kim")
    state = await api.rows.fetchval("SELECT state FROM offer WHERE id = $1::uuid", offer["id"])
    assert state == "cancelled"


async def test_the_named_persons_own_words_hold_and_the_phones_add_to_them(api):
    await declare(api)
    known = await api.phone("server", user="kim", consents=ALL)
    await known.good("PATCH", "/v1/me/profile", {"attributes": {"shoe_size": 42}, "refused": ["likes"]})
    phone = await api.phone(consents=ALL)
    given = {"attributes": {"shoe_size": 39, "city": "Emden", "likes": ["tea"]}}
    await phone.good("PATCH", "/v1/me/profile", given)
    await log_in(phone, "kim")
    profile, refused = await kept(api, known)
    assert (profile["attributes"], refused) == ({"shoe_size": 42, "city": "Emden"}, ["likes"])
    assert profile["stage"] == "lead"


async def test_a_log_in_drops_what_one_of_both_refused_and_not_what_was_given_after_a_refusal(api):
    await declare(api)
    known = await api.phone("server", user="kim", consents=ALL)
    for said in ({"refused": ["shoe_size"]}, {"attributes": {"shoe_size": 42, "city": "Emden"}}):
        await known.good("PATCH", "/v1/me/profile", said)
    phone = await api.phone(consents=ALL)
    for said in ({"refused": ["likes", "city"]}, {"attributes": {"likes": ["tea"], "shoe_size": 39}}):
        await phone.good("PATCH", "/v1/me/profile", said)
    await log_in(phone, "kim")
    profile, refused = await kept(api, known)
    assert profile["attributes"] == {"shoe_size": 42, "likes": ["tea"]}
    assert refused == ["city", "likes", "shoe_size"]


async def test_old_tokens_end_with_the_log_in_and_the_refresh_token_goes_on(api):
    phone = await api.phone()
    old = phone.token
    await log_in(phone, "kim")
    assert (await api.call("GET", "/v1/me/consents", old)).status == 401
    tokens = await api.good("POST", "/v1/devices/token", None, {"refresh_token": phone.refresh})
    phone.token = tokens["access_token"]
    again = await phone.good("POST", "/v1/me/user", {"user": "kim"})
    assert (again["user"], again["merged"]) == (phone.user, False)


async def test_a_phone_with_the_sdk_goes_on_as_the_named_person(api):
    async with Client(api.service.url, await api.key("app")) as client:
        device = await client.enrol(wire.Enrolment(platform="ios", consents=BOTH))
        anonymous = device.user
        await device.log_in("kim")
        assert device.user == named_user(api.workspace, "kim") != anonymous
        assert {state.purpose for state in await device.consents()} == set(BOTH)
        assert (await device.link()).url


async def test_a_phone_of_one_named_person_does_not_become_anothers(api):
    phone = await api.phone(user="ann")
    answer = await phone.call("POST", "/v1/me/user", {"user": "kim"})
    assert answer.status == 409
    named = "SELECT count(*) FROM app_user WHERE external_id = 'kim' AND workspace = $1"
    assert await api.rows.fetchval(named, api.workspace) == 0


async def test_a_log_in_wants_the_proof_where_the_workspace_does(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"user_proof": "required"})
    phone = await api.phone()
    for more in ({}, {"user_proof": "0" * 64}):
        answer = await phone.call("POST", "/v1/me/user", {"user": "kim", **more})
        assert (answer.status, answer.code) == (403, "user_proof")
    secret = await api.rows.fetchval("SELECT user_proof FROM workspace_secret WHERE workspace = $1", api.workspace)
    await log_in(phone, "kim", user_proof=hmac.new(secret, b"kim", "sha256").hexdigest())
    assert await api.rows.fetchval("SELECT proven FROM device WHERE id = $1::uuid", phone.device)


async def test_a_log_in_without_proof_makes_the_phone_speak_for_itself_alone(api):
    known = await api.phone("server", user="kim", consents=ALL)
    phone = await api.phone(consents=ALL)
    await log_in(phone, "kim")
    assert phone.user == known.user
    assert (await phone.call("GET", "/v1/me/profile")).code == "user_proof"
    exported = await phone.good("GET", "/v1/me/export")
    assert [device["id"] for device in exported["devices"]] == [phone.device]


async def test_a_minors_phone_makes_the_person_a_minor_of_whom_nothing_is_kept(api):
    await declare(api)
    known = await api.phone("server", user="kim", consents=ALL)
    await known.good("PATCH", "/v1/me/profile", {"attributes": {"city": "Emden"}})
    phone = await api.phone(consents=BOTH, age="minor")
    assert not (await log_in(phone, "kim"))["merged"]
    assert (await kept(api, known))[0] is None
    assert (await known.at(SHOP)).status == 403


async def test_pings_beside_a_log_in_are_answered_and_leave_nothing_behind(api):
    """Whatever the order, each ping is taken, or refused for its token, or to be sent again; nobody unnamed is left."""
    await api.shop()
    for number in range(5):
        phone = await api.buyer(consents=ALL)
        anonymous = phone.user
        start = before(seconds=60)
        places = [SHOP if turn % 2 else AWAY for turn in range(20)]
        pings = [phone.at(place, at=start + timedelta(seconds=turn)) for turn, place in enumerate(places)]
        answers = asyncio.gather(*pings)
        told = await phone.good("POST", "/v1/me/user", {"user": f"kim-{number}"})
        said = await answers
        assert {answer.status for answer in said} <= {200, 401, 503}
        taken = [result for answer in said if answer.status == 200 for result in answer.body["results"]]
        assert {result["status"] for result in taken} <= {"accepted", "late"}
        phone.token, phone.user = told["access_token"], told["user"]
        assert (await phone.at(AWAY)).status == 200
        assert await rows_of(api, anonymous) == GONE
        inside = await api.rows.fetchval(
            "SELECT count(*) FROM visit WHERE user_id = $1::uuid AND left_at IS NULL", phone.user
        )
        assert inside == 0


async def test_two_phones_that_log_in_as_one_new_person_at_once_are_both_theirs(api):
    phones = [await api.phone(consents=ALL) for _ in range(4)]
    name = uuid.uuid4().hex
    told = await asyncio.gather(*(log_in(phone, name) for phone in phones))
    assert len({one["user"] for one in told}) == 1
    assert (await rows_of(api, phones[0].user))["device"] == 4
