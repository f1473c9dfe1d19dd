"""One answer an Idempotency-Key: replayed, told from another request, and made again where it was never given."""

import asyncio
import json
import uuid

import pytest

from tests.integration.people.conftest import SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAMPAIGN = {
    "name": "Rolls",
    "objective": "visit",
    "trigger": {"on": "enter", "fences": {"set": "stores"}},
    "texts": {"en": {"title": "Warm rolls", "body": "Until noon"}},
}


async def create(api, body=CAMPAIGN, key="k", who="owner"):
    return await api.call("POST", "/v1/campaigns", who, body, key=key)


async def campaigns(api):
    return (await api.good("GET", "/v1/campaigns", "owner"))["items"]


async def kept(api, key="k"):
    return await api.rows.fetchrow("SELECT * FROM idempotency WHERE workspace = $1 AND key = $2", api.workspace, key)


# ------------------------------------------------------------------------------------------------ a repeat
async def test_a_repeat_is_answered_as_the_first_was_and_does_nothing(api):
    first, second = await create(api), await create(api)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (second.status, second.raw) == (first.status, first.raw) == (201, first.raw)
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert len(await campaigns(api)) == 1


async def test_without_a_key_every_request_is_its_own(api):
    for _ in range(2):
        await api.good("POST", "/v1/campaigns", "owner", CAMPAIGN)
    assert len(await campaigns(api)) == 2


async def test_an_answer_without_a_body_is_replayed_without_one(api):
    await api.shop()
    phone = await api.buyer()
    (offer,) = (await phone.at(SHOP)).body["offers"]
    path = f"/v1/me/offers/{offer['id']}/events"
    answers = [await phone.call("POST", path, {"type": "opened"}, key="k") for _ in range(2)]
    assert [(answer.status, answer.raw) for answer in answers] == [(204, b"")] * 2
    assert answers[1].headers["Idempotency-Replayed"] == "true"


async def test_a_refusal_for_good_is_kept_too(api):
    bad = {"granted": True, "text_version": ""}
    phone = await api.phone()
    answers = [await phone.call("PUT", "/v1/me/consents/locate", bad, key="k") for _ in range(2)]
    assert [answer.status for answer in answers] == [422, 422]
    assert answers[0].body == answers[1].body
    assert answers[1].code == "invalid"
    assert answers[1].headers["Idempotency-Replayed"] == "true"


async def test_what_may_succeed_later_is_not_kept(api):
    phone = await api.phone()
    assert (await phone.at(SHOP)).status == 200  # the service knows the phone by heart
    await api.rows.execute("DELETE FROM app_user WHERE id = $1", uuid.UUID(phone.user))
    assert (await phone.call("PUT", "/v1/me/rhythm", {"max": 1}, key="k")).status == 401
    assert await kept(api) is None


async def test_the_words_of_a_withdrawal_are_not_said_again_by_its_repeat(api):
    phone = await api.phone()
    no = {"granted": False, "text_version": "v1"}
    await phone.call("PUT", "/v1/me/consents/locate", no, key="no")
    await phone.consent("locate", granted=True)
    repeat = await phone.call("PUT", "/v1/me/consents/locate", no, key="no")
    assert (repeat.status, repeat.body["granted"]) == (200, False)
    assert (await phone.consents())["locate"] is True


# ------------------------------------------------------------------------------------------------ another request
async def test_the_same_key_for_another_request_is_refused(api):
    await create(api)
    answer = await create(api, CAMPAIGN | {"name": "Other"})
    assert (answer.status, answer.body["errors"][0]["code"]) == (422, "idempotency_key_reused")
    for method, path in (("POST", "/v1/campaigns?x=1"), ("PATCH", "/v1/workspace")):
        answer = await api.call(method, path, "owner", CAMPAIGN, key="k")
        assert answer.body["errors"][0]["code"] == "idempotency_key_reused"
    assert len(await campaigns(api)) == 1


async def test_the_same_key_of_another_caller_is_another_key(api):
    assert (await create(api)).status == (await create(api, who="editor")).status == 201
    assert len(await campaigns(api)) == 2


async def test_a_repeat_is_known_by_its_bytes(api):
    await create(api, json.dumps(CAMPAIGN).encode())
    assert (await create(api, json.dumps(CAMPAIGN, indent=1).encode())).status == 422


# ------------------------------------------------------------------------------------------------ at once
async def test_a_twin_that_comes_while_the_first_still_runs_is_told_to_come_back(api):
    await create(api, key="before")
    await api.rows.execute("UPDATE idempotency SET status = NULL, answer = NULL WHERE workspace = $1", api.workspace)
    answer = await create(api, key="before")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (409, "conflict", "1")


async def test_of_many_at_once_one_does_the_work(api):
    await api.key("owner")
    answers = await asyncio.gather(*(create(api) for _ in range(12)))
    assert {answer.status for answer in answers} <= {201, 409}
    made = [answer for answer in answers if answer.status == 201]
    assert len({answer.body["id"] for answer in made}) == 1
    assert len(await campaigns(api)) == 1
    for answer in answers:
        if answer.status == 409:
            assert int(answer.headers["Retry-After"]) >= 1


# ------------------------------------------------------------------------------------------------ after a crash
async def test_a_key_whose_first_request_died_is_free_again_after_a_minute(api):
    await create(api)
    await api.rows.execute("UPDATE idempotency SET status = NULL WHERE workspace = $1", api.workspace)
    assert (await create(api)).status == 409
    await api.rows.execute(
        "UPDATE idempotency SET created_at = created_at - interval '61 s' WHERE workspace = $1", api.workspace
    )
    assert (await create(api)).status == 201
    assert len(await campaigns(api)) == 1


async def test_a_repeat_after_a_crash_between_the_write_and_the_answer_finds_what_was_written(api):
    first = await create(api)
    await api.rows.execute("DELETE FROM idempotency WHERE workspace = $1", api.workspace)
    again = await create(api)
    assert (again.status, again.body["id"]) == (201, first.body["id"])
    assert "Idempotency-Replayed" not in again.headers
    assert len(await campaigns(api)) == 1


async def test_an_enrolment_after_a_crash_finds_its_device(api):
    body = {"platform": "ios", "consents": {"locate": "v1"}}
    first = await api.call("POST", "/v1/devices", "app", body, key="k")
    await api.rows.execute("DELETE FROM idempotency WHERE workspace = $1", api.workspace)
    again = await api.call("POST", "/v1/devices", "app", body, key="k")
    assert again.body["device"] == first.body["device"]
    assert await api.rows.fetchval("SELECT count(*) FROM device WHERE workspace = $1", api.workspace) == 1
    assert await api.ledger() == 1


# ------------------------------------------------------------------------------------------------ keys and secrets
@pytest.mark.parametrize("key", ["", "x" * 256, "x" * 300, "\xe9", "ключ", "a\tb"])
async def test_a_key_that_is_none_is_refused(api, key):
    answer = await create(api, key=key)
    assert (answer.status, answer.code) == (400, "malformed")


async def test_a_key_may_be_long(api):
    assert (await create(api, key="x" * 255)).status == 201


async def test_answers_with_secrets_are_never_kept(api):
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios"}, key="k")
    row = await kept(api)
    assert (row["status"], row["answer"]) == (201, b"")
    assert answer.body["refresh_token"] not in str(dict(row))


async def test_pings_and_reads_take_no_key(api):
    await api.shop()
    phone = await api.buyer()
    ping = {"pings": [{"at": "2026-01-01T00:00:00Z", "lat": 1, "lon": 1}]}
    await phone.call("POST", "/v1/pings", ping, key="p")
    await phone.call("GET", "/v1/me/export", key="p")
    assert await kept(api, "p") is None
