"""What is made here to sign by lies sealed: nobody who reads the database can sign, and no key is lost by a new one."""

import hmac
import json
import uuid
from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
import pytest_asyncio

from geo_offers import app
from geo_offers.clock import now_us
from geo_offers.errors import Keyless
from geo_offers.pipeline.tokens import AccessTokens
from geo_offers.settings import Settings
from geo_offers.signing import signed_headers
from geo_offers.storage import embedded, vault
from geo_offers.storage.keys import PostgresServiceKeys, create_key, proof_secret, signing_secret
from geo_offers.storage.pool import NIL, open_pool
from geo_offers.storage.sealing import Seals, of_folder
from geo_offers.storage.vault import Safe
from tests.support.commands import command
from tests.support.databases import fresh_database
from tests.support.gateways.events import receiving
from tests.support.running import KEY, SAFE, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"egress_allow": "127.0.0.0/8"}
NEW = b64encode(b"\2" * 32).decode()
HOOK = {"url": "https://hooks.example/geo", "types": ["consent.changed"]}
TABLES = {
    "workspace_secret": ("user_proof", "interactions"),
    "webhook_endpoint": ("secret", "former"),
    "service_key": ("secret",),
}


@pytest_asyncio.fixture(loop_scope="module")
async def receiver():
    async with receiving() as made:
        yield made


async def opened(api):
    """The workspace, made by an installation with a key, as `keys create` does."""
    api._keys["editor"] = await create_key(api.pool, api.name, "manager", "editor", replay=False, safe=SAFE)


async def kept(api):
    """What lies in each column of secrets, of the workspace and of the service."""
    return [
        row[column]
        for table, columns in TABLES.items()
        for row in await api.rows.fetch(f"SELECT * FROM {table} WHERE workspace = ANY ($1)", [api.workspace, NIL])
        for column in columns
        if row[column] is not None
    ]


async def in_plain(api):
    """As an earlier version left them all; their values."""
    told = []
    for table, columns in TABLES.items():
        key = "id" if table != "workspace_secret" else "workspace"
        for row in await api.rows.fetch(f"SELECT * FROM {table} WHERE workspace = ANY ($1)", [api.workspace, NIL]):
            for column in columns:
                if row[column] is not None:
                    name = (
                        column
                        if table == "workspace_secret"
                        else "service_key"
                        if table == "service_key"
                        else vault.webhook(row["id"])
                    )
                    told.append(SAFE.open(row[column], row["workspace"], name))
                    await api.rows.execute(f"UPDATE {table} SET {column} = $1 WHERE {key} = $2", told[-1], row[key])
    return told


async def sends(api, secret):
    """The status of a call that is signed by this secret."""
    body = json.dumps(
        {"receipts": [{"offer": str(uuid.uuid4()), "type": "shown", "at": "2026-01-01T00:00:00Z"}]}
    ).encode()
    signed = signed_headers([secret], "msg", now_us() // 1_000_000, body)
    answer = await api.call("POST", f"/v1/workspaces/{api.workspace}/receipts", body=body, headers=signed)
    return answer.status


async def test_a_dump_of_the_database_holds_no_secret(api):
    await opened(api)
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    rotated = await api.good("POST", f"/v1/webhooks/{made['id']}/secret", "owner")
    (service,) = await PostgresServiceKeys(api.pool, SAFE).all()
    secrets = [b64decode(one["secret"].removeprefix("whsec_")) for one in (made, rotated)]
    secrets += [bytes.fromhex(await proof_secret(api.pool, api.name, SAFE)), service.secret]
    secrets.append(b64decode((await signing_secret(api.pool, api.name, SAFE)).removeprefix("whsec_")))
    tables = await api.rows.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert set(TABLES) <= {table["tablename"] for table in tables}
    for table in tables:
        for row in await api.rows.fetch(f'SELECT * FROM "{table["tablename"]}"'):
            told = b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
            for secret in secrets:
                spelled = (secret, secret.hex().encode(), b64encode(secret))
                assert not any(one in told for one in spelled), table["tablename"]


async def test_what_an_earlier_version_left_in_plain_serves_as_it_is_and_is_resealed(api, receiver):
    await opened(api)
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    await api.rows.execute("UPDATE webhook_endpoint SET url = $1 WHERE id = $2", receiver.url, uuid.UUID(made["id"]))
    receiver.secrets = [made["secret"]]
    signing, proof = await signing_secret(api.pool, api.name, SAFE), await proof_secret(api.pool, api.name, SAFE)
    plain = await in_plain(api)
    assert sorted(await kept(api)) == sorted(plain)

    async def serves(times):
        assert await sends(api, signing) == 200
        named = {"user": "ada", "user_proof": hmac.new(bytes.fromhex(proof), b"ada", sha256).hexdigest()}
        assert (await api.call("POST", "/v1/devices", "app", {"platform": "ios"} | named)).status == 201
        await api.good("POST", f"/v1/webhooks/{made['id']}/test", "editor")
        await receiver.until("webhook.test", times)
        assert receiver.unsigned == 0

    await serves(1)
    before = await vault.looked(api.pool, lambda: Seals(KEY))
    assert before.plain >= len(plain)
    assert await vault.reseal(api.pool, Seals(KEY)) == (before.plain, 0)
    assert await vault.reseal(api.pool, Seals(KEY)) == (0, 0)
    assert not set(plain) & set(await kept(api))
    assert await vault.looked(api.pool, lambda: Seals(KEY)) == vault.Looked(before.found, 0, [])
    await serves(2)


async def test_a_new_key_in_front_takes_over_and_nothing_is_lost(api):
    await opened(api)
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    await api.good("POST", f"/v1/webhooks/{made['id']}/secret", "owner")
    told = [SAFE.open(row, api.workspace, vault.webhook(uuid.UUID(made["id"]))) for row in (await kept(api))[2:4]]
    signing = await signing_secret(api.pool, api.name, SAFE)
    done, shut = await vault.reseal(api.pool, Seals(f"{NEW} {KEY}"))
    assert done >= 5
    assert shut == 0
    assert (await vault.looked(api.pool, lambda: Seals(NEW))).shut == []
    assert len((await vault.looked(api.pool, lambda: Seals(KEY))).shut) >= 5
    anew = Safe(lambda: Seals(NEW))
    assert await signing_secret(api.pool, api.name, anew) == signing
    assert [
        anew.open(row, api.workspace, vault.webhook(uuid.UUID(made["id"]))) for row in (await kept(api))[2:4]
    ] == told
    assert (await sends(api, signing)) == 409  # the service has the old key alone
    await vault.reseal(api.pool, Seals(f"{KEY} {NEW}"))
    assert (await sends(api, signing)) == 200


async def test_sealed_for_one_row_it_opens_in_no_other(api):
    await opened(api)
    first, second = [await api.good("POST", "/v1/webhooks", "editor", HOOK) for _ in range(2)]
    await api.rows.execute(
        "UPDATE webhook_endpoint SET secret = (SELECT secret FROM webhook_endpoint WHERE id = $1) WHERE id = $2",
        *(uuid.UUID(one["id"]) for one in (first, second)),
    )
    await api.rows.execute("UPDATE workspace_secret SET interactions = user_proof WHERE workspace = $1", api.workspace)
    with pytest.raises(Keyless):
        await signing_secret(api.pool, api.name, SAFE)
    (moved,) = (await vault.looked(api.pool, lambda: Seals(KEY))).shut[1:]
    assert moved.startswith(f"webhook {second['id']} of {api.workspace}")
    await api.rows.execute("DELETE FROM webhook_endpoint WHERE id = $1", uuid.UUID(second["id"]))
    assert await signing_secret(api.pool, api.name, SAFE, new=True) != await proof_secret(api.pool, api.name, SAFE)


async def test_where_a_secret_does_not_open_its_events_wait_and_no_others(api, receiver):
    await opened(api)
    shut, well = [await api.good("POST", "/v1/webhooks", "editor", HOOK) for _ in range(2)]
    await api.rows.execute("UPDATE webhook_endpoint SET url = $1", receiver.url)
    receiver.secrets = [shut["secret"], well["secret"]]
    held = await api.rows.fetchval("SELECT secret FROM webhook_endpoint WHERE id = $1", uuid.UUID(shut["id"]))
    other = Safe(lambda: Seals(NEW)).keep(bytes(32), api.workspace, vault.webhook(uuid.UUID(shut["id"])))
    await api.rows.execute("UPDATE webhook_endpoint SET secret = $1 WHERE id = $2", other, uuid.UUID(shut["id"]))
    for made in (shut, well):
        await api.good("POST", f"/v1/webhooks/{made['id']}/test", "editor")
    await receiver.until("webhook.test", 1)
    (waiting,) = (await api.good("GET", f"/v1/webhooks/{shut['id']}/deliveries", "viewer"))["items"]
    assert (waiting["attempts"], waiting["log"]) == (0, [])
    await api.rows.execute("UPDATE webhook_endpoint SET secret = $1 WHERE id = $2", held, uuid.UUID(shut["id"]))
    await api.rows.execute("UPDATE webhook_delivery SET due = now() WHERE endpoint = $1", uuid.UUID(shut["id"]))
    await receiver.until("webhook.test", 2)
    assert receiver.unsigned == 0


async def test_a_webhook_whose_old_secret_is_lost_signs_by_its_new_one(api, receiver):
    await opened(api)
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    other = Safe(lambda: Seals(NEW)).keep(bytes(32), api.workspace, vault.webhook(uuid.UUID(made["id"])))
    await api.rows.execute("UPDATE webhook_endpoint SET secret = $1, url = $2", other, receiver.url)
    receiver.secrets = [(await api.good("POST", f"/v1/webhooks/{made['id']}/secret", "owner"))["secret"]]
    await api.good("POST", f"/v1/webhooks/{made['id']}/test", "editor")
    await receiver.until("webhook.test", 1)
    assert receiver.unsigned == 0


async def test_without_a_key_no_webhook_is_made_and_the_rest_serves_in_plain(postgres_server, session):
    async with fresh_database(postgres_server) as database, running(database, credentials_key=None) as service:
        key = await service.make_key(workspace="alone")
        headers = {"Authorization": f"Bearer {key}"}
        async with session.post(f"{service.url}/v1/webhooks", json=HOOK, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (409, "credentials_key")
        own = {"DATABASE_URL": database.app_dsn}
        assert (await command("keys", "signing-secret", "--workspace", "alone", settings=own)).code == 0
        doctor = await command("doctor", settings=own)
        (said,) = [line for line in doctor.lines if "credentials" in line]
        assert said.startswith("note")
        assert "3 of 3 lie in the database in plain: set GEO_OFFERS_CREDENTIALS_KEY" in said
        resealed = await command("keys", "reseal", settings=own | {"CREDENTIALS_KEY": KEY})
        assert resealed.lines == ["resealed 3"]


async def test_a_wrong_key_is_one_clear_line_and_a_lost_one_can_be_replaced(postgres_server):
    async with fresh_database(postgres_server) as database:
        own = {"DATABASE_URL": database.app_dsn, "CREDENTIALS_KEY": KEY}
        wrong = own | {"CREDENTIALS_KEY": NEW}
        assert (await command("keys", "create", "--kind", "server", "--workspace", "w", settings=own)).code == 0
        assert (await command("keys", "rotate", settings=own)).code == 0
        (before,) = (await command("keys", "signing-secret", "--workspace", "w", settings=own)).lines
        served = await command("serve", settings=wrong | {"PORT": "0"})
        assert (served.code, served.out) == (1, "")
        (line,) = [one for one in served.complaints if one.startswith("geo-offers: ")]
        assert "service_key: no key here opens this secret" in line
        assert "GEO_OFFERS_CREDENTIALS_KEY" in line
        assert "Traceback" not in served.err
        for secret in ("signing-secret", "proof-secret"):
            assert (await command("keys", secret, "--workspace", "w", settings=wrong)).code == 1
            assert (await command("keys", secret, "--workspace", "w", "--new", settings=wrong)).code == 0
        (after,) = (await command("keys", "signing-secret", "--workspace", "w", settings=wrong)).lines
        assert after != before
        assert (await command("keys", "rotate", settings=wrong)).code == 0
        async with running(database, credentials_key=NEW):
            pass  # it serves again


async def test_an_embedded_database_is_sealed_at_the_first_start(fresh_root):
    async with await embedded.start(fresh_root) as server, open_pool(server.app_dsn, size=1) as pool:
        await create_key(pool, "w", "server", None, replay=False)
        signing = await signing_secret(pool, "w")
        async with app.service(Settings(data_dir=str(fresh_root), port=0), server.app_dsn):
            pass
        seals = of_folder(fresh_root)
        assert await vault.looked(pool, lambda: seals) == vault.Looked(3, 0, [])
        assert await signing_secret(pool, "w", Safe(lambda: seals)) == signing


async def test_tokens_go_on_while_another_process_replaces_the_key(api):
    tokens = AccessTokens(PostgresServiceKeys(api.pool, SAFE))
    given = await tokens.issue(api.workspace, uuid.uuid4(), uuid.uuid4(), 0, now_us())
    await PostgresServiceKeys(api.pool, Safe(lambda: Seals(f"{NEW} {KEY}"))).rotate()
    later = now_us() + 60_000_000
    assert (await tokens.check(given, later)).workspace == api.workspace
    await PostgresServiceKeys(api.pool, SAFE).rotate()
    assert await tokens.check(given, later + 60_000_000)
