"""`geo-offers doctor`: says whether an installation serves and what it lacks, and shows no secret."""

import base64
import json
from pathlib import Path

import pytest

from geo_offers import wire
from geo_offers.cli import doctor
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.credentials import vapid_key
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage import embedded
from geo_offers.storage.keys import create_key
from geo_offers.storage.pool import open_pool
from geo_offers.storage.sealing import Seals
from geo_offers.storage.vault import PostgresCredentials
from tests.support.commands import command

PLAIN = Path(__file__).parents[1] / "support" / "plain"


async def looked(**settings):
    """Exit code and findings by name."""
    ended = await command("doctor", "--json", settings=settings)
    report = json.loads(ended.out)
    assert ended.err == ""
    assert report["serves"] == (ended.code == 0) == all(one["state"] != "wrong" for one in report["findings"])
    return ended.code, {one["check"]: (one["state"], one["detail"]) for one in report["findings"]}


async def test_a_sound_installation_serves(database):
    code, found = await looked(DATABASE_URL=database.app_dsn)
    assert code == 0
    assert list(found) == list(doctor.CHECKS)
    assert found["database"][0] in {"ok", "note"}  # a test's server need not be durable
    assert "geo_offers_app bound by row-level security" in found["database"][1]
    assert found["settings"] == ("ok", "GEO_OFFERS_DATABASE_URL")
    assert found["data folder"][1].startswith("not used")
    assert found["children"][0] == "ok"


async def test_each_finding_is_a_line(database):
    ended = await command("doctor", settings={"DATABASE_URL": database.app_dsn})
    assert (ended.code, ended.err, len(ended.lines)) == (0, "", len(doctor.CHECKS))
    assert ended.lines[0].startswith("ok    versions    geo-offers ")


async def test_credentials_that_no_key_here_opens_are_wrong_until_they_are_resealed(database):
    old, new = (base64.b64encode(bytes([letter]) * 32).decode() for letter in (1, 2))
    async with open_pool(database.app_dsn, size=2) as pool:
        await create_key(pool, "Alpha", "manager", "owner", replay=False)
        caller = Caller(workspace_id("Alpha"), "manager", "key", role="owner", replay=False)
        held = PostgresCredentials(pool, lambda: Seals(old))
        await held.put(caller, "webpush", vapid_key(wire.WebPushCredentials(subject="mailto:push@example.com")))
    own = {"DATABASE_URL": database.app_dsn}
    code, found = await looked(**own, CREDENTIALS_KEY=new)
    assert (code, found["credentials"][0]) == (1, "wrong")
    assert f"webpush of {workspace_id('Alpha')}, sealed by the key {Seals(old).first}" in found["credentials"][1]
    assert (await command("keys", "reseal", settings=own)).code == 1  # there is no key
    ended = await command("keys", "reseal", settings=own | {"CREDENTIALS_KEY": new})
    assert (ended.code, ended.lines) == (1, ["resealed 2"])  # what lay in plain
    ended = await command("keys", "reseal", settings=own | {"CREDENTIALS_KEY": f"{new} {old}"})
    assert (ended.code, ended.lines) == (0, ["resealed 1"])
    code, found = await looked(**own, CREDENTIALS_KEY=new)
    assert found["credentials"] == ("ok", "3 kept, all sealed")


async def test_a_role_that_owns_the_tables_is_wrong(database):
    code, found = await looked(DATABASE_URL=database.owner_dsn)
    assert code == 1
    assert found["database"][0] == "wrong"
    assert "row-level security does not bind it" in found["database"][1]


async def test_a_schema_that_is_behind_is_wrong_and_names_the_command(empty_database):
    code, found = await looked(DATABASE_URL=empty_database(embedded.APP))
    assert (code, found["database"][0]) == (1, "wrong")
    assert "run geo-offers migrate" in found["database"][1]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://somebody:known%21only@127.0.0.1:9/x",
        "postgresql://somebody@127.0.0.1:9/x?password=known%21only",
        "known%21only",
        "postgresql://[known%21only",
    ],
)
async def test_a_database_that_is_not_there_is_wrong_and_no_password_is_shown(address):
    secret = "whsec_" + "a" * 32
    own = {"DATABASE_URL": address, "MIGRATE_URL": address, "WEBHOOK_URL": "https://push.example/x"}
    ended = await command("doctor", settings=own | {"WEBHOOK_SECRET": secret})
    assert (ended.code, ended.err) == (1, "")
    (line,) = [line for line in ended.lines if line.startswith("wrong")]
    assert "cannot connect to PostgreSQL" in line
    assert not any(hidden in ended.out for hidden in ("known", secret))


async def test_a_folder_of_its_own_is_looked_at_and_left_as_it_is(tmp_path):
    code, found = await looked(DATA_DIR=tmp_path / "new")
    assert code == 0
    assert found["data folder"][1].endswith("made at the first start")
    assert found["database"] == ("ok", "a PostgreSQL of its own, which starts with serve; none runs now")
    assert not (tmp_path / "new").exists()


async def test_a_folder_that_cannot_be_one_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    code, found = await looked(DATA_DIR=tmp_path / "file" / "data")
    assert (code, found["data folder"][0]) == (1, "wrong")
    assert "GEO_OFFERS_DATA_DIR" in found["data folder"][1]


async def test_the_server_of_a_running_service_is_asked(fresh_root):
    async with await embedded.start(fresh_root):
        code, found = await looked(DATA_DIR=fresh_root)
    assert code == 0
    assert "this program's schema" in found["database"][1]


async def test_a_table_that_is_not_compiled_is_a_note_that_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLAIN))
    code, found = await looked(DATABASE_URL="postgresql://nobody@127.0.0.1:9/x")
    assert code == 1  # for the database alone
    state, detail = found["table"]
    assert state == "note"
    assert detail.startswith("plain, several times slower: ")
    assert "geo_offers.places._kernel" in detail
    assert "make setup" in detail


async def test_wrong_usage_is_told_as_ever():
    ended = await command("doctor", "--loud")
    assert (ended.code, ended.out) == (2, "")
