"""What a workspace signs in to push services with: in by the owner, sealed at rest, and never out again."""

import json
from base64 import b64encode, urlsafe_b64decode

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from geo_offers.pipeline.credentials import ApnsKey, FcmAccount, VapidKey
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage import vault
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import transaction
from geo_offers.storage.sealing import Seals
from geo_offers.storage.vault import PostgresVault
from tests.integration.management.conftest import SEALS

ALPHA, BETA = workspace_id("Alpha"), workspace_id("Beta")
PUSH = "/v1/workspace/push"


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


RSA, P256 = (pem(key) for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())))
FCM = {
    "service_account": {
        "type": "service_account",
        "project_id": "bakery-4711",
        "private_key_id": "0f" * 20,
        "private_key": RSA,
        "client_email": "push@bakery-4711.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "client_id": "1",
    }
}
APNS = {
    "team": "ABCDE12345",
    "key_id": "KEY1234567",
    "private_key": P256,
    "topic": "com.example.shop",
    "environment": "sandbox",
}
WEB = {"subject": "mailto:push@example.com"}
GIVEN = {"fcm": FCM, "apns": APNS, "webpush": WEB | {"private_key": P256}}
OWN = 4  # secrets of two workspaces
SECRETS = [line for key in (RSA, P256) for line in key.split("\n")[1:-2]]


@pytest.fixture
def box(site):
    return PostgresVault(site.pool, lambda: SEALS, fresh_s=0.0)


async def lanes(site, workspace=ALPHA):
    async with transaction(site.pool, [workspace]) as connection:
        return (await read_policies(connection, workspace)).push_lanes


async def test_what_is_set_is_what_a_lane_signs_in_with(site, box):
    for lane, body in GIVEN.items():
        answered = await site.call("PUT", f"{PUSH}/{lane}", body)
        assert (answered.status, answered.body["lane"], answered.body["version"]) == (201, lane, 1)
        assert (await site.call("PUT", f"{PUSH}/{lane}", body)).status == 200
    email = FCM["service_account"]["client_email"]
    token_uri = FCM["service_account"]["token_uri"]
    assert await box.of(ALPHA, "fcm") == FcmAccount("bakery-4711", email, "0f" * 20, RSA, token_uri)
    assert await box.of(ALPHA, "apns") == ApnsKey("ABCDE12345", "KEY1234567", P256, "com.example.shop", sandbox=True)
    assert await box.of(ALPHA, "webpush") == VapidKey(P256, "mailto:push@example.com")
    assert await box.of(BETA, "fcm") is None


async def test_what_may_be_told_is_told_and_the_key_is_not(site):
    said = [(await site.call("PUT", f"{PUSH}/{lane}", body)).body for lane, body in GIVEN.items()]
    listed = (await site.get(PUSH)).body["items"]
    assert sorted(said, key=lambda one: one["lane"]) == listed
    fcm, apns, webpush = said
    assert (fcm["project"], fcm["key_id"], fcm["created_by"]) == (
        "bakery-4711",
        "0f" * 20,
        site.keys["owner"].split("_")[2],
    )
    assert (apns["team"], apns["topic"], apns["environment"]) == ("ABCDE12345", "com.example.shop", "sandbox")
    assert apns["fingerprint"] == webpush["fingerprint"] != fcm["fingerprint"]
    assert len(urlsafe_b64decode(webpush["application_server_key"] + "=")) == 65
    assert not any(secret in json.dumps([said, listed]) for secret in SECRETS)
    assert (await site.get(PUSH, who="beta")).body == {"items": []}


async def test_only_an_owner_sees_or_sets_them(site):
    for who in ("approver", "editor", "viewer"):
        assert (await site.get(PUSH, who=who)).status == 403
        assert (await site.call("PUT", f"{PUSH}/apns", APNS, who=who)).status == 403
        assert (await site.call("DELETE", f"{PUSH}/apns", who=who)).status == 403
    assert (await site.get(PUSH, who="server")).status == 403


async def test_decisions_read_which_lanes_there_are_at_once_and_no_longer_than_they_are_there(site):
    before = await site.catalog_version()
    assert await lanes(site) == frozenset()
    await site.call("PUT", f"{PUSH}/apns", APNS)
    assert await lanes(site) == {"apns"}
    assert await site.catalog_version() == before + 1
    assert (await site.call("DELETE", f"{PUSH}/apns")).status == 204
    assert (await lanes(site), await site.catalog_version()) == (frozenset(), before + 2)
    assert (await site.call("DELETE", f"{PUSH}/apns")).status == 404
    assert (await site.call("DELETE", f"{PUSH}/telegraph")).status == 404
    assert await lanes(site, BETA) == frozenset()


async def test_who_set_what_is_in_the_audit_without_it(site):
    await site.call("PUT", f"{PUSH}/apns", APNS)
    await site.call("DELETE", f"{PUSH}/apns")
    deeds = (await site.get("/v1/audit")).body["items"][:2]
    assert [(deed["action"], deed["subject"]) for deed in deeds] == [
        ("push.forget", "apns"),
        ("push.credentials", "apns"),
    ]


async def test_web_push_keeps_its_key_until_another_is_given(site):
    made = (await site.call("PUT", f"{PUSH}/webpush", WEB)).body
    again = (await site.call("PUT", f"{PUSH}/webpush", {"subject": "https://example.com/push"})).body
    assert again["application_server_key"] == made["application_server_key"]
    assert (again["subject"], again["version"]) == ("https://example.com/push", 2)
    other = (await site.call("PUT", f"{PUSH}/webpush", WEB | {"private_key": P256})).body
    assert other["application_server_key"] != made["application_server_key"]


async def test_faults_have_their_places_and_repeat_no_secret(site):
    account = FCM["service_account"]
    for path, body, pointer in (
        ("fcm", {"service_account": account | {"token_uri": "https://attacker.example"}}, "/service_account/token_uri"),
        ("fcm", {"service_account": account | {"private_key": P256}}, "/service_account/private_key"),
        ("apns", APNS | {"private_key": P256[:-30]}, "/private_key"),
        ("apns", APNS | {"team": "x"}, "/team"),
        ("webpush", {"subject": "x", "private_key": P256}, "/subject"),
        ("webpush", WEB | {"private_key": P256, "more": 1}, "/more"),
    ):
        answered = await site.call("PUT", f"{PUSH}/{path}", body)
        assert (answered.status, answered.pointers) == (422, [pointer])
        assert not any(secret in json.dumps(answered.body) for secret in SECRETS)
    assert (await site.get(PUSH)).body == {"items": []}


async def test_without_the_operators_key_nothing_is_kept(site, monkeypatch):
    monkeypatch.setattr(site.services.credentials, "_seals", Seals)
    answered = await site.call("PUT", f"{PUSH}/apns", APNS)
    assert (answered.status, answered.body["code"]) == (409, "credentials_key")
    assert "GEO_OFFERS_CREDENTIALS_KEY" in answered.body["detail"]
    assert await lanes(site) == frozenset()


async def test_a_key_that_is_not_here_opens_nothing_and_a_lost_web_push_key_is_not_made_anew_in_silence(
    site, monkeypatch
):
    await site.call("PUT", f"{PUSH}/webpush", WEB)
    other = Seals(b64encode(b"\1" * 32).decode())
    assert await PostgresVault(site.pool, lambda: other).of(ALPHA, "webpush") is None
    monkeypatch.setattr(site.services.credentials, "_seals", lambda: other)
    assert (await site.call("PUT", f"{PUSH}/webpush", WEB)).status == 409
    assert (await site.call("PUT", f"{PUSH}/webpush", WEB | {"private_key": P256})).status == 200


async def test_of_many_sends_at_once_one_asks_the_database(site, monkeypatch):
    await site.call("PUT", f"{PUSH}/apns", APNS)
    box, reads = PostgresVault(site.pool, lambda: SEALS), []
    read = box._read

    async def counted(workspace, lane):
        reads.append(lane)
        return await read(workspace, lane)

    monkeypatch.setattr(box, "_read", counted)
    held = [await box.of(ALPHA, "apns") for _ in range(50)]
    assert len(set(held)) == 1
    assert reads == ["apns"]


async def test_what_is_replaced_is_in_force_when_what_was_read_is_old(site):
    await site.call("PUT", f"{PUSH}/apns", APNS)
    slow, quick = (PostgresVault(site.pool, lambda: SEALS, fresh_s=fresh_s) for fresh_s in (60.0, 0.0))
    for box in (slow, quick):
        assert (await box.of(ALPHA, "apns")).topic == "com.example.shop"
    await site.call("PUT", f"{PUSH}/apns", APNS | {"topic": "com.example.bakery"})
    assert (await slow.of(ALPHA, "apns")).topic == "com.example.shop"
    assert (await quick.of(ALPHA, "apns")).topic == "com.example.bakery"


async def test_what_is_held_is_bounded(site, monkeypatch):
    monkeypatch.setattr(vault, "MOST_HELD", 3)
    box = PostgresVault(site.pool, lambda: SEALS)
    for number in range(9):
        await box.of(ALPHA, f"lane-{number}")
        assert len(box._held) <= 3


async def test_a_new_key_put_in_front_takes_over(site):
    for lane, body in GIVEN.items():
        await site.call("PUT", f"{PUSH}/{lane}", body)
    old, new = b64encode(bytes(32)).decode(), b64encode(b"\2" * 32).decode()
    await vault.reseal(site.pool, Seals(old))  # the workspaces' own secrets, which were made without a key
    assert await vault.reseal(site.pool, Seals(f"{new} {old}")) == (3 + OWN, 0)
    assert await vault.reseal(site.pool, Seals(f"{new} {old}")) == (0, 0)
    assert await vault.looked(site.pool, lambda: Seals(new)) == vault.Looked(3 + OWN, 0, [])
    assert len((await vault.looked(site.pool, lambda: Seals(old))).shut) == 3 + OWN
    assert await vault.reseal(site.pool, Seals(old)) == (0, 3 + OWN)
    assert (await PostgresVault(site.pool, lambda: Seals(new)).of(ALPHA, "apns")).key == P256


async def test_sealed_for_one_workspace_it_opens_in_no_other(site, database):
    await site.call("PUT", f"{PUSH}/apns", APNS)
    administrator = await asyncpg.connect(database.superuser_dsn)
    try:
        await administrator.execute("UPDATE push_credential SET workspace = $1", BETA)
    finally:
        await administrator.close()
    assert await PostgresVault(site.pool, lambda: SEALS).of(BETA, "apns") is None


async def test_a_dump_of_the_database_holds_no_secret(site, database):
    for lane, body in GIVEN.items():
        await site.call("PUT", f"{PUSH}/{lane}", body, key=f"canary-{lane}")
    held = [secret.encode() for secret in SECRETS] + [b"BEGIN PRIVATE KEY"]
    administrator = await asyncpg.connect(database.superuser_dsn)
    try:
        tables = await administrator.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for table in tables:
            for row in await administrator.fetch(f'SELECT * FROM "{table["tablename"]}"'):
                kept = b"\0".join(v if isinstance(v, bytes) else str(v).encode() for v in row.values())
                assert not any(secret in kept for secret in held), table["tablename"]
    finally:
        await administrator.close()
    assert "push_credential" in {table["tablename"] for table in tables}
