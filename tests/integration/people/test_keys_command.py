"""`geo-offers keys` beside a running server."""

import asyncio
import os
import re
import sys

import pytest

from geo_offers.pipeline.tokens import parse_key, workspace_id
from tests.support.running import without_our_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def command(shared):
    """Run `geo-offers keys …`: exit code, stdout, stderr."""

    async def run(*arguments):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "geo_offers", "keys", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=without_our_settings() | {"GEO_OFFERS_DATABASE_URL": shared.database.app_dsn},
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_a_key_is_made_listed_and_revoked_beside_a_running_server(api, command):
    code, out, err = await command("create", "--kind", "manager", "--role", "viewer", "--workspace", api.name)
    key = out.removesuffix("\n")
    assert (code, err, out) == (0, "", f"{key}\n")
    assert (parse_key(key).prefix, parse_key(key).workspace) == ("mk", workspace_id(api.name))
    assert (await api.good("GET", "/v1/workspace", key))["name"] == api.name
    assert (await api.call("PATCH", "/v1/workspace", key, {"paused": True})).code == "role"

    (code, listed, err), (_, nothing, _) = await asyncio.gather(
        command("list", "--workspace", api.name), command("list", "--workspace", "nobody's")
    )
    assert (code, err, nothing) == (0, "", "")
    ident = parse_key(key).id
    assert re.fullmatch(rf"{ident} manager viewer \d{{4}}-\d\d-\d\d good\n", listed)
    assert parse_key(key).secret not in listed

    assert await command("revoke", "--workspace", api.name, ident) == (0, "", "")
    code, out, err = await command("revoke", "--workspace", api.name, ident)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert ident in err
    assert " revoked " in (await command("list", "--workspace", api.name))[1]


async def test_the_default_role_is_editor_and_replay_keys_are_apps(api, command):
    made = await asyncio.gather(
        command("create", "--kind", "manager", "--workspace", api.name),
        command("create", "--kind", "app", "--replay", "--workspace", api.name),
        command("create", "--kind", "server", "--workspace", api.name),
    )
    assert [out[:3] for _, out, _ in made] == ["mk_", "pk_", "sk_"]
    rows = await api.rows.fetch("SELECT kind, role, replay FROM api_key WHERE workspace = $1", api.workspace)
    assert {tuple(row) for row in rows} == {("manager", "editor", False), ("app", None, True), ("server", None, False)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--kind", "app", "--role", "owner", "--workspace", "w"),
        ("create", "--kind", "server", "--replay", "--workspace", "w"),
        ("create", "--kind", "janitor", "--workspace", "w"),
        ("create", "--kind", "app"),
    ],
)
async def test_wrong_usage_is_two_and_makes_nothing(api, command, arguments):
    code, out, err = await command(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert await api.rows.fetchval("SELECT count(*) FROM workspace WHERE name = 'w'") == 0


async def test_what_cannot_be_is_refused_in_one_line(command):
    for arguments in (("proof-secret", "--workspace", "nobody's"), ("create", "--kind", "app", "--workspace", "a\tb")):
        code, out, err = await command(*arguments)
        assert (code, out, err.count("\n")) == (1, "", 1), err
        assert err.startswith("geo-offers: ")


async def test_a_rotation_leaves_phones_at_work(api, command):
    phone = await api.phone()
    assert await command("rotate") == (0, "", "")
    assert (await phone.call("GET", "/v1/me/consents")).status == 200
    assert await api.rows.fetchval("SELECT count(*) FROM service_key WHERE retired_at IS NULL") == 1
    assert (await (await api.phone()).call("GET", "/v1/me/consents")).status == 200


async def test_the_secret_for_proofs_is_printed_alone(api, command):
    await api.key("app")
    code, out, err = await command("proof-secret", "--workspace", api.name)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{64}\n", out)
    assert os.linesep not in out.strip()


async def test_the_secret_that_signs_interactions_is_told_and_stays(api, command):
    await api.key("server")
    told = [await command("signing-secret", "--workspace", api.name) for _ in range(2)]
    assert told[0] == told[1]
    code, out, err = told[0]
    assert (code, err, bool(re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", out))) == (0, "", True)
    code, out, err = await command("signing-secret", "--workspace", "nobody's")
    assert (code, out, err.count("\n")) == (1, "", 1)
