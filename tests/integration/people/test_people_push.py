"""Where a phone takes push: told at the enrolment, told anew when it changes, and gone when it is dead."""

import uuid
from base64 import urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.integration.people.conftest import BOTH, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
KEYS = {"p256dh": urlsafe_b64encode(POINT).decode(), "auth": urlsafe_b64encode(bytes(16)).decode()}
BROWSER = {"lane": "webpush", "token": "https://push.example.com/wpush/v2/one", "keys": KEYS}
IPHONE = {"lane": "apns", "token": "0f" * 32}
ANDROID = {"lane": "fcm", "token": "dQw4w9WgXcQ:APA91bH"}


async def held(api, phone):
    query = "SELECT push_lane, push_token, push_keys, push_at, push_ok_at FROM device WHERE id = $1"
    return await api.rows.fetchrow(query, uuid.UUID(phone.device))


async def bury(api, push, at):
    await api.rows.execute(
        "INSERT INTO push_tombstone (workspace, lane, token, died_at) VALUES ($1, $2, $3, $4)",
        *(api.workspace, push["lane"], sha256(push["token"].encode()).digest(), at),
    )


@pytest.mark.parametrize("push", [BROWSER, IPHONE, ANDROID])
async def test_a_phone_enrols_with_a_push_services_token(api, push):
    phone = await api.phone(push=push)
    kept = await held(api, phone)
    assert (kept["push_lane"], kept["push_token"]) == (push["lane"], push["token"])
    assert (kept["push_keys"] is not None) == (push is BROWSER)
    assert kept["push_at"] > before(minutes=1)
    (told,) = (await phone.good("GET", "/v1/me/export"))["devices"]
    assert (told["push_token"], told.get("push_keys")) == (push["token"], kept["push_keys"])


@pytest.mark.parametrize(
    ("push", "pointer"),
    [
        (IPHONE | {"token": "../.."}, "/push/token"),
        (BROWSER | {"token": "https://127.0.0.1/x"}, "/push/token"),
        ({"lane": "webpush", "token": BROWSER["token"]}, "/push/keys"),
        (IPHONE | {"keys": KEYS}, "/push/keys"),
        (BROWSER | {"keys": KEYS | {"p256dh": "x"}}, "/push/keys/p256dh"),
        (BROWSER | {"keys": KEYS | {"auth": "x"}}, "/push/keys/auth"),
        (IPHONE | {"lane": "telegraph"}, "/push/lane"),
        (IPHONE | {"at": "2026-01-01T00:00:00"}, "/push/at"),
        (IPHONE | {"at": "0001-01-01T00:00:00+14:00"}, "/push/at"),
    ],
)
async def test_what_cannot_be_pushed_to_is_refused_at_its_place_in_each_call(api, push, pointer):
    body = {"platform": "ios", "consents": BOTH, "push": push}
    assert (await api.call("POST", "/v1/devices", "app", body)).pointers == [pointer]
    many = await api.call("POST", "/v1/devices", "server", [{"platform": "ios"}, body])
    assert many.pointers == [f"/1{pointer}"]
    phone = await api.phone()
    answered = await phone.call("PUT", "/v1/me/push", push)
    assert (answered.status, answered.pointers) == (422, [pointer.removeprefix("/push")])


async def test_a_phone_tells_its_new_token_and_takes_it_back(api):
    phone = await api.phone(push=ANDROID)
    assert (await phone.call("PUT", "/v1/me/push", BROWSER)).status == 204
    kept = await held(api, phone)
    assert (kept["push_lane"], kept["push_token"]) == ("webpush", BROWSER["token"])
    assert (await phone.call("PUT", "/v1/me/push", IPHONE)).status == 204
    assert (await held(api, phone))["push_keys"] is None
    assert [(await phone.call("DELETE", "/v1/me/push")).status for _ in range(2)] == [204, 204]
    assert set(await held(api, phone)) == {None}


async def test_a_token_leaves_the_phone_that_had_it(api):
    first, second = await api.phone(push=BROWSER), await api.phone()
    await second.call("PUT", "/v1/me/push", BROWSER)
    assert set(await held(api, first)) == {None}
    assert (await held(api, second))["push_token"] == BROWSER["token"]


async def test_telling_the_same_token_again_keeps_what_is_known_of_it(api):
    phone = await api.phone(push=IPHONE)
    await api.rows.execute("UPDATE device SET push_ok_at = now() WHERE id = $1", uuid.UUID(phone.device))
    await phone.call("PUT", "/v1/me/push", IPHONE)
    assert (await held(api, phone))["push_ok_at"] is not None
    await phone.call("PUT", "/v1/me/push", IPHONE | {"token": "1f" * 32})
    assert (await held(api, phone))["push_ok_at"] is None


async def test_a_token_that_has_died_since_its_registration_is_not_taken_again_and_a_later_registration_is(api):
    died = before(minutes=10)
    await bury(api, IPHONE, died)
    phone = await api.phone(push=IPHONE | {"at": (died - timedelta(minutes=1)).isoformat()})
    assert (await held(api, phone))["push_token"] is None
    await phone.call("PUT", "/v1/me/push", IPHONE | {"at": died.isoformat()})
    assert (await held(api, phone))["push_token"] is None
    await phone.call("PUT", "/v1/me/push", ANDROID | {"at": died.isoformat()})
    assert (await held(api, phone))["push_token"] == ANDROID["token"]
    await phone.call("PUT", "/v1/me/push", IPHONE | {"at": (died + timedelta(minutes=1)).isoformat()})
    assert (await held(api, phone))["push_token"] == IPHONE["token"]


async def test_no_registration_is_later_than_now(api):
    await bury(api, ANDROID, before(minutes=-10))
    phone = await api.phone(push=ANDROID | {"at": before(minutes=-20).isoformat()})
    assert (await held(api, phone))["push_token"] is None
    assert (await held(api, phone))["push_at"] < before(minutes=-1)


async def test_tokens_that_died_in_another_workspace_are_nobodys_business(api):
    await api.rows.execute(
        "INSERT INTO push_tombstone (workspace, lane, token, died_at) VALUES ($1, $2, $3, $4)",
        *(uuid.uuid4(), "apns", sha256(IPHONE["token"].encode()).digest(), before(minutes=-10)),
    )
    assert (await held(api, await api.phone(push=IPHONE)))["push_token"] == IPHONE["token"]


async def test_a_phone_changes_its_token_at_a_bounded_rate(api):
    phone = await api.phone()
    answers = [(await phone.call("PUT", "/v1/me/push", IPHONE)).status for _ in range(25)]
    assert answers[0] == 204
    assert 429 in answers
