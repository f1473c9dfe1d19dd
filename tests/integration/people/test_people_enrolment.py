"""Enrolment: who a device belongs to, what its person agreed to, and what a repeat does."""

import asyncio
import hmac
import time
import uuid
from hashlib import sha256

import asyncpg
import pytest

from geo_offers.storage.keys import proof_secret
from tests.integration.people.conftest import AWAY, BOTH, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_app_key_enrols_a_phone_with_what_its_person_agreed_to(api):
    phone = await api.phone(user="ann", locale="de-AT", time_zone="Europe/Vienna", consents={"locate": "v7"})
    uuid.UUID(phone.device), uuid.UUID(phone.user)
    (said,) = (await phone.good("GET", "/v1/me/consents"))["items"]
    assert (said["purpose"], said["granted"], said["text_version"]) == ("locate", True, "v7")
    kept = await api.rows.fetchrow("SELECT * FROM app_user WHERE id = $1", uuid.UUID(phone.user))
    assert (kept["external_id"], kept["locale"], kept["time_zone"]) == ("ann", "de-AT", "Europe/Vienna")


async def test_two_phones_without_a_user_are_two_people(api):
    one, other = await api.phone(), await api.phone()
    assert one.user != other.user


async def test_phones_that_name_one_user_are_one_person_and_what_each_agreed_to_adds_up(api):
    one = await api.phone(user="ann", consents={"locate": "v1"})
    other = await api.phone(user="ann", consents={"offers": "v1"})
    assert (one.user, one.device != other.device) == (other.user, True)
    assert await one.consents() == {"locate": True, "offers": True}


async def test_a_user_who_enrols_from_many_phones_at_once_is_one_person_who_agreed_to_all_of_it(api):
    await api.key("app")
    purposes = ["locate", "offers", "profile", "measure"] * 3
    phones = await asyncio.gather(*(api.phone(user="ann", consents={name: "v1"}) for name in purposes))
    assert len({phone.user for phone in phones}) == 1
    assert await phones[0].consents() == dict.fromkeys(sorted(set(purposes)), True)
    assert await api.ledger() == 4
    assert await api.rows.fetchval("SELECT count(*) FROM app_user WHERE workspace = $1", api.workspace) == 1


async def test_a_thousand_devices_enrol_in_one_transaction_and_quickly(api):
    enrolments = [{"platform": "android", "user": f"u{n}", "consents": BOTH} for n in range(1000)]
    await api.key("server")
    started = time.perf_counter()
    made = await api.good("POST", "/v1/devices", "server", enrolments)
    took_s = time.perf_counter() - started
    assert len({one["device"] for one in made}) == len({one["user"] for one in made}) == 1000
    assert await api.ledger() == 2000
    assert (
        len(
            {
                row[0]
                for row in await api.rows.fetch("SELECT xmin::text FROM device WHERE workspace = $1", api.workspace)
            }
        )
        == 1
    )
    assert took_s < 5, f"{took_s:.2f} s"
    print(f"1,000 devices enrolled in {took_s:.2f} s")  # noqa: T201 - a figure for whoever runs with -s
    assert await api.as_phone(made[-1]).consents() == {"locate": True, "offers": True}


async def test_an_array_is_taken_whole_or_not_at_all(api):
    answer = await api.call(
        "POST", "/v1/devices", "server", [{"platform": "ios"}, {"platform": "ios", "time_zone": "Mars/Olympus"}]
    )
    assert (answer.status, answer.pointers) == (422, ["/1/time_zone"])
    assert await api.rows.fetchval("SELECT count(*) FROM device WHERE workspace = $1", api.workspace) == 0


async def test_an_array_over_its_bound_is_too_large(api):
    answer = await api.call("POST", "/v1/devices", "server", [{"platform": "ios"}] * 1001)
    assert (answer.status, answer.code) == (413, "too_large")


async def test_an_app_key_enrols_no_array(api):
    assert (await api.call("POST", "/v1/devices", "app", [{"platform": "ios"}])).status == 403


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"time_zone": "Mars/Olympus"}, "/time_zone", "time_zone"),
        ({"time_zone": "../etc/passwd"}, "/time_zone", "time_zone"),
        ({"tenant_id": "x"}, "/tenant_id", "unknown_field"),
        ({"role": "owner"}, "/role", "unknown_field"),
        ({"push": {"lane": "webhook", "token": "t", "kind": 1}}, "/push/kind", "unknown_field"),
        ({"platform": "toaster"}, "/platform", "invalid"),
        ({"locale": "not a locale"}, "/locale", "invalid"),
        ({"age": "old"}, "/age", "invalid"),
        ({"consents": {"tracking": "v1"}}, "/consents/tracking", "invalid"),
        ({"consents": {"locate": True}}, "/consents/locate", "invalid"),
        ({"user": ""}, "/user", "invalid"),
        ({"user": "x" * 129}, "/user", "invalid"),
        ({"user": "nul\0"}, "/user", "unsafe_text"),
        ({"user": "ann\u202e"}, "/user", "unsafe_text"),
        ({"push": {"lane": "webhook", "token": "t\0"}}, "/push/token", "unsafe_text"),
        ({"consents": {"locate": "v\0"}}, "/consents/locate", "unsafe_text"),
    ],
)
async def test_what_an_enrolment_gets_wrong_has_its_place(api, change, pointer, code):
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios"} | change)
    assert (answer.status, answer.code, answer.pointers) == (422, "invalid", [pointer])
    assert answer.body["errors"][0]["code"] == code


# ------------------------------------------------------------------------------------------------ replay keys
async def test_a_device_of_a_replay_key_may_send_what_is_long_past(api):
    await api.shop()
    phone = await api.buyer("replay")
    pings = [{"at": "2019-05-01T10:00:00Z", "lat": SHOP[0], "lon": SHOP[1]}]
    answer = await phone.good("POST", "/v1/pings", {"pings": pings})
    assert [result["status"] for result in answer["results"]] == ["accepted"]
    assert [offer["lane"] for offer in answer["offers"]] == ["inapp"]
    live = await api.buyer()
    refused = await live.good("POST", "/v1/pings", {"pings": pings})
    assert refused["results"] == [{"status": "refused", "reason": "too_old"}]


# ------------------------------------------------------------------------------------------------ proof of the user
async def test_a_user_is_taken_on_trust_only_where_the_workspace_says_so(api):
    await api.phone(user="ann")
    await api.good("PATCH", "/v1/workspace", "owner", {"user_proof": "required"})
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "user": "ann"})
    assert (answer.status, answer.code) == (403, "user_proof")
    await api.phone()  # nobody is named
    await api.phone("server", user="ann")  # the app's own server vouches


async def test_a_proof_is_the_hmac_of_the_user_under_the_secret_of_the_command_line(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"user_proof": "required"})
    secret = bytes.fromhex(await proof_secret(api.pool, api.name))
    good = hmac.new(secret, b"ann", sha256).hexdigest()
    phone = await api.phone(user="ann", user_proof=good)
    assert await api.rows.fetchval("SELECT proven FROM device WHERE id = $1", uuid.UUID(phone.device))
    for wrong in (hmac.new(secret, b"bob", sha256).hexdigest(), good[:-1], "", "ö" * 64, good[::-1]):
        answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "user": "ann", "user_proof": wrong})
        assert (answer.status, answer.code) == (403, "user_proof"), wrong


async def test_a_wrong_proof_is_refused_where_none_is_asked_for(api):
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "user": "ann", "user_proof": "00"})
    assert (answer.status, answer.code) == (403, "user_proof")


# ------------------------------------------------------------------------------------------------ age
async def test_whose_age_is_not_given_as_adult_is_not_located(api):
    for age in ("minor", "unknown"):
        answer = await (await api.phone(age=age)).at(SHOP)
        assert (answer.status, answer.code) == (403, "age")
    assert (await (await api.phone(age="adult")).at(SHOP)).status == 200
    assert (await (await api.phone()).at(SHOP)).status == 200


async def test_an_absent_age_follows_the_workspace(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"age": "unknown"})
    answer = await (await api.phone()).at(SHOP)
    assert (answer.status, answer.code) == (403, "age")
    assert (await (await api.phone(age="adult")).at(SHOP)).status == 200


async def test_an_age_given_later_holds_for_the_person_on_all_phones(api):
    first = await api.phone(user="ann")
    assert (await first.at(AWAY)).status == 200
    second = await api.phone(user="ann", age="minor")
    for phone in (first, second):
        assert (await phone.at(AWAY)).status == 403
    await api.phone(user="ann")  # says nothing of age: it stays as it is
    assert (await first.at(AWAY)).status == 403
    await api.phone(user="ann", age="adult")
    assert (await first.at(AWAY)).status == 200


async def test_a_server_key_is_told_of_an_age_point_by_point(api):
    phone, child = await api.phone(), await api.phone(age="minor")
    pings = [{"at": "2026-01-01T00:00:00Z", "lat": 1, "lon": 1, "device": one.device} for one in (phone, child)]
    answer = await api.good("POST", "/v1/pings", "server", {"pings": pings})
    assert answer["results"][1] == {"status": "refused", "reason": "age"}


async def test_the_newest_time_zone_and_language_that_a_phone_gave_are_the_persons(api):
    first = await api.phone(user="ann")
    told = await first.good("GET", "/v1/me/export")
    assert (told["locale"], told.get("time_zone")) == ("en", None)
    await api.phone(user="ann", locale="de-AT")
    await api.phone(user="ann", time_zone="Asia/Tokyo")
    await api.phone(user="ann")
    told = await first.good("GET", "/v1/me/export")
    assert (told["locale"], told["time_zone"]) == ("de-AT", "Asia/Tokyo")
    await api.phone(user="ann", locale="fr")
    assert (await first.good("GET", "/v1/me/export"))["locale"] == "fr"


async def test_of_the_enrolments_of_one_call_the_last_word_on_a_person_holds(api):
    said = [{"locale": "de"}, {"locale": "fr", "time_zone": "Europe/Paris"}, {"age": "minor"}, {}]
    made = await api.good("POST", "/v1/devices", "server", [{"platform": "ios", "user": "ann"} | one for one in said])
    told = await api.as_phone(made[0]).good("GET", "/v1/me/export")
    assert (told["locale"], told["time_zone"], told["age"]) == ("fr", "Europe/Paris", "minor")


async def test_an_offer_speaks_the_language_that_the_persons_newest_phone_gave(api):
    texts = {name: {"title": f"in {name}", "body": "Until noon"} for name in ("en", "de")}
    await api.shop(texts=texts)
    first = await api.buyer(user="ann")
    assert [offer["title"] for offer in (await first.at(SHOP)).body["offers"]] == ["in en"]
    await first.at(AWAY)
    second = await api.phone(user="ann", locale="de-AT")
    assert [offer["title"] for offer in (await second.at(SHOP)).body["offers"]] == ["in de"]


async def test_nothing_is_kept_of_a_phone_that_is_its_persons(api):
    phone = await api.phone(user="ann", locale="de-AT", time_zone="Europe/Vienna")
    (device,) = (await phone.good("GET", "/v1/me/export"))["devices"]
    assert device.keys() == {"id", "platform", "created_at"}
    kept = await api.rows.fetchrow("SELECT locale, time_zone FROM device WHERE id = $1", uuid.UUID(phone.device))
    assert tuple(kept) == ("en", None)


# ------------------------------------------------------------------------------------------------ push tokens
async def test_a_push_token_that_turns_up_on_another_device_leaves_the_first(api):
    push = {"lane": "webhook", "token": "token-1"}
    first = await api.phone(push=push)
    second = await api.phone(push=push)
    found = await api.rows.fetch("SELECT id, push_lane, push_token FROM device WHERE workspace = $1", api.workspace)
    kept = {str(row["id"]): (row["push_lane"], row["push_token"]) for row in found}
    assert kept == {first.device: (None, None), second.device: ("webhook", "token-1")}


async def waiting_backends(api, count):
    """Return once so many of the service's transactions wait for a lock of another."""
    found = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(2):
        while await api.rows.fetchval(found) < count:
            await asyncio.sleep(0.01)
            await api.rows.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first


async def test_of_two_devices_that_enrol_with_one_push_token_at_once_one_keeps_it(api):
    await api.phone()  # the workspace's ledger has a head
    push = {"lane": "webhook", "token": "token-1"}
    both = [{"platform": "ios", "consents": BOTH, "push": one} for one in (push, {"lane": "webhook", "token": "mine"})]
    await api.key("server")
    async with api.rows.transaction():  # both are held up before their commits, with their devices written
        await api.rows.execute("SELECT 1 FROM consent_head WHERE workspace = $1 FOR UPDATE", api.workspace)
        enrolling = [
            asyncio.create_task(api.good("POST", "/v1/devices", "app", both[0])),
            asyncio.create_task(api.good("POST", "/v1/devices", "server", both[::-1])),
        ]
        await waiting_backends(api, 2)
    await asyncio.gather(*enrolling)
    held = await api.rows.fetch("SELECT push_lane, push_token FROM device WHERE workspace = $1", api.workspace)
    assert sorted(row["push_token"] for row in held if row["push_token"]) == ["mine", "token-1"]
    assert len([row for row in held if row["push_lane"]]) == 2


async def test_phones_that_enrol_at_once_with_the_same_push_tokens_in_any_order_end_well(api):
    tokens = [{"lane": "webhook", "token": f"token-{n}"} for n in range(200)]
    await api.key("server")
    orders = [tokens, tokens[::-1], tokens[100:] + tokens[:100]] * 2
    await asyncio.gather(
        *(api.good("POST", "/v1/devices", "server", [{"platform": "ios", "push": p} for p in o]) for o in orders)
    )
    held = await api.rows.fetch(
        "SELECT push_token FROM device WHERE workspace = $1 AND push_token IS NOT NULL", api.workspace
    )
    assert sorted(row["push_token"] for row in held) == sorted(push["token"] for push in tokens)


async def free_devices(shared, devices):
    """Those of the devices whose rows nobody has locked."""
    other = await asyncpg.connect(shared.database.superuser_dsn)
    try:
        found = await other.fetch("SELECT id FROM device WHERE id = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED", devices)
        return {str(row["id"]) for row in found}
    finally:
        await other.close()


async def test_devices_that_lose_their_push_tokens_are_locked_in_the_order_of_their_ids(api, shared):
    """A turn locks devices of several people too: in any other order each could wait for the other."""
    made = [await api.phone(push={"lane": "webhook", "token": f"token-{number}"}) for number in range(6)]
    first, *others = sorted(phone.device for phone in made)
    taken_over = sorted(range(6), key=lambda number: made[number].device, reverse=True)
    pushes = [{"platform": "ios", "push": {"lane": "webhook", "token": f"token-{number}"}} for number in taken_over]
    await api.key("server")
    async with api.rows.transaction():
        await api.rows.execute("SELECT 1 FROM device WHERE id = $1 FOR UPDATE", uuid.UUID(first))
        enrolling = asyncio.create_task(api.good("POST", "/v1/devices", "server", pushes))
        await waiting_backends(api, 1)
        assert await free_devices(shared, others) == set(others)
    await enrolling


async def test_devices_of_a_person_who_withdraws_are_locked_in_the_order_of_their_ids(api, shared):
    phones = [await api.phone("server", user="ann") for _ in range(2)]
    while phones[0].device == min(phone.device for phone in phones):  # the rows lie in the order in which they came
        phones.append(await api.phone("server", user="ann"))
    await api.rows.execute("UPDATE device SET presence = '{}' WHERE user_id = $1", uuid.UUID(phones[0].user))
    first, *others = sorted(phone.device for phone in phones)
    async with api.rows.transaction():
        await api.rows.execute("SELECT 1 FROM device WHERE id = $1 FOR UPDATE", uuid.UUID(first))
        withdrawing = asyncio.create_task(phones[0].consent("locate", granted=False))
        await waiting_backends(api, 1)
        assert await free_devices(shared, others) == set(others)
    assert (await withdrawing).status == 200


async def test_a_repeat_takes_no_push_token_from_the_device_that_has_it_by_now(api):
    push = {"lane": "webhook", "token": "token-1"}
    first = (await api.call("POST", "/v1/devices", "app", {"platform": "ios", "push": push}, key="k1")).body["device"]
    second = await api.phone(push=push)
    again = (await api.call("POST", "/v1/devices", "app", {"platform": "ios", "push": push}, key="k1")).body["device"]
    assert again == first
    kept = await api.rows.fetchval("SELECT push_token FROM device WHERE id = $1", uuid.UUID(second.device))
    assert kept == "token-1"


async def test_one_push_token_in_two_enrolments_of_a_request_is_refused(api):
    one = {"platform": "ios", "push": {"lane": "webhook", "token": "t"}}
    answer = await api.call("POST", "/v1/devices", "server", [one, one])
    assert (answer.status, answer.body["errors"][0]["code"]) == (422, "duplicate")


async def test_a_push_token_of_another_workspace_is_nobodys_business(api, shared, session, rows):
    other = type(api)(shared.service, shared.pool, session, rows)
    push = {"lane": "webhook", "token": "shared"}
    phone = await api.phone(push=push)
    await other.phone(push=push)
    assert await rows.fetchval("SELECT push_token FROM device WHERE id = $1", uuid.UUID(phone.device)) == "shared"


# ------------------------------------------------------------------------------------------------ repeats
ENROLMENT = {"platform": "ios", "consents": BOTH}


async def test_a_repeat_under_the_same_key_gives_the_same_device_with_new_tokens(api):
    answers = [await api.call("POST", "/v1/devices", "app", ENROLMENT, key="k1") for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    first, second = (api.as_phone(answer.body) for answer in answers)
    assert (first.device, first.user) == (second.device, second.user)
    assert first.refresh != second.refresh
    assert (await first.call("GET", "/v1/me/consents")).status == 401
    assert (await second.call("GET", "/v1/me/consents")).status == 200
    assert (await api.call("POST", "/v1/devices/token", None, {"refresh_token": first.refresh})).status == 401
    assert await api.ledger() == 2
    assert "Idempotency-Replayed" not in answers[1].headers


async def test_the_new_tokens_are_good_though_the_phone_was_at_work_with_the_old_ones(api):
    first = api.as_phone((await api.call("POST", "/v1/devices", "app", ENROLMENT, key="k1")).body)
    assert (await first.at(SHOP)).status == 200
    second = api.as_phone((await api.call("POST", "/v1/devices", "app", ENROLMENT, key="k1")).body)
    assert (await second.at(SHOP)).status == 200
    assert (await first.at(SHOP)).status == 401


@pytest.mark.parametrize("user", [{}, {"user": "ann"}])
async def test_a_repeat_does_not_agree_again_to_what_was_withdrawn_meanwhile(api, user):
    phone = api.as_phone((await api.call("POST", "/v1/devices", "app", ENROLMENT | user, key="k1")).body)
    assert (await phone.consent("locate", granted=False)).status == 200
    said = await api.ledger()
    again = api.as_phone((await api.call("POST", "/v1/devices", "app", ENROLMENT | user, key="k1")).body)
    assert await again.consents() == {"locate": False, "offers": True}
    assert await api.ledger() == said


async def test_a_repeat_of_an_array_gives_the_same_devices_in_order(api):
    body = [ENROLMENT | {"user": f"u{n}"} for n in range(5)]
    first, second = [(await api.call("POST", "/v1/devices", "server", body, key="k1")).body for _ in range(2)]
    assert [one["device"] for one in first] == [one["device"] for one in second]
    assert [one["user"] for one in first] == [one["user"] for one in second]


async def test_the_same_key_of_another_caller_is_another_key(api):
    mine = await api.call("POST", "/v1/devices", "app", ENROLMENT, key="k1")
    theirs = await api.call("POST", "/v1/devices", "server", ENROLMENT, key="k1")
    assert mine.body["device"] != theirs.body["device"]
