"""Keys: hashed at rest, each for its own calls, roles in their order, and refused soon after their end."""

import asyncio
import re
import uuid
from hashlib import sha256

import pytest

from geo_offers.clock import now_us
from geo_offers.pipeline.callers import ROLES
from geo_offers.storage.keys import revoke_key
from geo_offers.web import auth
from geo_offers.web.application import CALLS
from tests.integration.people.conftest import SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKSPACE = "/v1/workspace"
KINDS = {"app": "app", "server": "server", "manager": "owner"}


def concrete(path):
    """The path with something in its placeholders."""
    return re.sub(r"\{[^}]*\}", "x", path)


# ------------------------------------------------------------------------------------------------ at rest
async def test_no_table_holds_what_opens_anything(api):
    phone = await api.phone(user="ann")
    answer = (await api.call("POST", "/v1/devices", "server", {"platform": "ios"}, key="k")).body
    again = (await api.call("POST", "/v1/devices/token", None, {"refresh_token": phone.refresh})).body
    keys = [await api.key(who) for who in ("app", "server", "replay", *ROLES)]
    texts = [*keys, phone.token, phone.refresh, *answer.values(), *again.values()]
    secrets = {str(text).rpartition("_")[2] for text in texts if str(text)[:3] in {"pk_", "sk_", "mk_", "rt_", "at_"}}
    assert len(secrets) >= 12
    dump = "\n".join(row for rows in (await api.tables()).values() for row in rows)
    for secret in secrets:
        assert secret not in dump
        if re.fullmatch("[0-9a-f]{64}", secret):
            assert str(bytes.fromhex(secret)) not in dump
    hashes = {row["secret_hash"] for row in await api.rows.fetch("SELECT secret_hash FROM api_key")}
    assert {sha256(key.rpartition("_")[2].encode()).digest() for key in keys} <= hashes


# ------------------------------------------------------------------------------------------------ who may call what
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
async def test_a_call_is_for_those_who_may_make_it_and_asks_for_a_key_before_anything_else(api, call):
    path = concrete(call.path)
    if not call.who:
        assert (await api.call(call.method, path)).status != 401
        return
    for headers in (
        {},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
    ):
        answer = await api.call(call.method, path, headers=headers)
        assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (401, "unauthenticated", "Bearer")
    for kind, who in KINDS.items():
        answer = await api.call(call.method, path, who)
        assert (answer.status == 403) == (kind not in call.who), (kind, answer.body)
    answer = await api.call(call.method, path, (await api.phone()).token)
    assert (answer.status == 403) == ("device" not in call.who)


@pytest.mark.parametrize(
    "call", [call for call in CALLS if "manager" in call.who], ids=lambda call: f"{call.method} {call.path}"
)
async def test_a_manager_key_may_do_what_its_role_and_those_below_it_may(api, call):
    for role in ROLES:
        answer = await api.call(call.method, concrete(call.path), role)
        enough = ROLES.index(role) >= ROLES.index(call.role)
        assert (answer.status != 403) == enough, (role, answer.body)
        if not enough:
            assert answer.code == "role"


async def test_roles_in_use(api):
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 1]},
        "properties": {"radius_m": 100, "name": "x"},
    }
    for role, reads, writes, owns in (
        ("viewer", 200, 403, 403),
        ("editor", 200, 201, 403),
        ("approver", 200, 201, 403),
        ("owner", 200, 201, 200),
    ):
        assert (await api.call("GET", "/v1/geofences", role)).status == reads
        assert (await api.call("PUT", f"/v1/geofences/s/{role}", role, feature)).status == writes
        assert (await api.call("PATCH", WORKSPACE, role, {"place_gap_s": 5})).status == owns


# ------------------------------------------------------------------------------------------------ good and bad keys
async def test_a_key_is_one_text_and_no_part_of_it_may_be_another(api, shared, session, rows):
    key = await api.key("owner")
    other = type(api)(shared.service, shared.pool, session, rows)
    prefix, workspace, ident, secret = key.split("_")
    _, their_workspace, their_ident, their_secret = (await other.key("owner")).split("_")
    wrong = [
        f"pk_{workspace}_{ident}_{secret}",
        f"sk_{workspace}_{ident}_{secret}",
        f"xx_{workspace}_{ident}_{secret}",
        f"{prefix}_{their_workspace}_{ident}_{secret}",
        f"{prefix}_{workspace}_{their_ident}_{secret}",
        f"{prefix}_{workspace}_{ident}_{their_secret}",
        f"{prefix}_{workspace}_{their_ident}_{their_secret}",
        f"{prefix}_{workspace}_{ident}_{secret[:-1]}",
        f"{prefix}_{workspace}_{ident}_{secret}0",
        f"{prefix}_{workspace}_{ident}_{secret.upper()}",
        f"{prefix}_{workspace}_{ident}_\xff",
        f"{prefix}_{workspace}_\xe9_{secret}",
        f"{prefix}_{uuid.uuid4().hex}_{ident}_{secret}",
        (await api.phone()).refresh,
    ]
    for text in wrong:
        answer = await api.call("GET", WORKSPACE, text)
        assert (answer.status, answer.code) == (401, "unauthenticated"), text
    assert (await api.call("GET", WORKSPACE, key)).status == 200
    assert (await api.call("GET", WORKSPACE, headers={"Authorization": f"bearer  {key} "})).status == 200


async def test_a_key_opens_its_own_workspace_alone(api, shared, session, rows):
    await api.shop()
    other = type(api)(shared.service, shared.pool, session, rows)
    assert (await other.good("GET", WORKSPACE, "owner"))["name"] == other.name
    assert (await other.good("GET", "/v1/geofences", "owner"))["items"] == []
    assert (await other.call("GET", "/v1/geofences/stores/main", "owner")).status == 404
    assert (await (await other.phone()).at(SHOP)).body["transitions"] == []


async def test_a_revoked_key_is_refused_within_five_seconds(api, monkeypatch):
    key = await api.key("owner")
    assert (await api.call("GET", WORKSPACE, key)).status == 200
    assert await revoke_key(api.pool, api.name, key.split("_")[2])
    assert not await revoke_key(api.pool, api.name, key.split("_")[2])
    monkeypatch.setattr(auth, "now_us", lambda: now_us() + 5_000_000)
    assert (await api.call("GET", WORKSPACE, key)).status == 401


async def test_a_revoked_key_that_was_not_used_lately_is_refused_at_once(api):
    key = await api.key("owner")
    await revoke_key(api.pool, api.name, key.split("_")[2])
    assert (await api.call("GET", WORKSPACE, key)).status == 401


async def test_devices_outlive_the_key_that_enrolled_them(api):
    phone = await api.phone()
    await revoke_key(api.pool, api.name, (await api.key("app")).split("_")[2])
    assert (await phone.at(SHOP)).status == 200


async def test_many_keys_at_once_make_one_workspace(api):
    await asyncio.gather(*(api.key(who) for who in ("app", "server", "replay", *ROLES)))
    assert await api.rows.fetchval("SELECT count(*) FROM workspace WHERE name = $1", api.name) == 1
    assert await api.rows.fetchval("SELECT count(*) FROM api_key WHERE workspace = $1", api.workspace) == 7
