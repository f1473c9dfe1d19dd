"""Migrations: in order, once, whole or not at all, and never a file that changed after it was applied."""

import asyncio

import asyncpg
import pytest

from geo_offers.errors import Misconfigured
from geo_offers.storage import migrate as runner
from geo_offers.storage.embedded import APP, OWNER
from geo_offers.storage.migrate import load, migrate


def _write(sql, **files):
    for name, text in files.items():
        (sql / "migrations" / f"{name[1:]}.sql").write_text(text)


async def _ask(dsn, question):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_files_are_applied_in_order_and_only_once(empty_database, sql_copy):
    _write(
        sql_copy,
        _0001_first="CREATE TABLE a (i int);",
        _0002_second="ALTER TABLE a ADD COLUMN j int; INSERT INTO a VALUES (1, 2);",
    )
    owner = empty_database(OWNER)
    assert await migrate(owner, APP, sql_copy) == ["0001_first.sql", "0002_second.sql"]
    assert await migrate(owner, APP, sql_copy) == []
    _write(sql_copy, _0003_third="UPDATE a SET j = 3;")
    assert await migrate(owner, APP, sql_copy) == ["0003_third.sql"]
    assert await _ask(empty_database(APP), "SELECT array_agg(j) FROM a") == [3]
    assert await _ask(owner, "SELECT array_agg(number ORDER BY number) FROM schema_history.migration") == [1, 2, 3]


async def test_a_failing_file_changes_nothing_and_what_came_before_it_stays(empty_database, sql_copy):
    _write(
        sql_copy,
        _0001_good="CREATE TABLE good (i int);",
        _0002_bad="CREATE TABLE half (i int); INSERT INTO absent VALUES (1);",
        _0003_after="CREATE TABLE after (i int);",
    )
    owner = empty_database(OWNER)
    with pytest.raises(
        Misconfigured, match=r'0002_bad\.sql failed and changed nothing: relation "absent" does not exist'
    ):
        await migrate(owner, APP, sql_copy)
    assert await _ask(owner, "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'") == ["good"]
    _write(sql_copy, _0002_bad="CREATE TABLE half (i int);")
    assert await migrate(owner, APP, sql_copy) == ["0002_bad.sql", "0003_after.sql"]


async def test_any_number_of_programs_may_migrate_at_once(empty_database, sql_copy):
    _write(sql_copy, _0001_slow="SELECT pg_sleep(0.2); CREATE TABLE a (i int);", _0002_more="INSERT INTO a VALUES (1);")
    done = await asyncio.gather(*(migrate(empty_database(OWNER), APP, sql_copy) for _ in range(5)))
    assert sorted(done) == [[], [], [], [], ["0001_slow.sql", "0002_more.sql"]]
    assert await _ask(empty_database(APP), "SELECT count(*) FROM a") == 1


async def test_a_file_changed_after_it_was_applied_is_refused(empty_database, sql_copy):
    _write(sql_copy, _0001_first="CREATE TABLE a (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    _write(sql_copy, _0001_first="CREATE TABLE a (i int);\n", _0002_next="CREATE TABLE b (i int);")
    with pytest.raises(Misconfigured, match=r"migration 0001_first\.sql is not the one .* put the released file back"):
        await migrate(empty_database(OWNER), APP, sql_copy)
    assert await _ask(empty_database(OWNER), "SELECT to_regclass('b')") is None


async def test_a_database_newer_than_the_program_is_refused(empty_database, sql_copy):
    _write(sql_copy, _0001_first="CREATE TABLE a (i int);", _0002_newer="CREATE TABLE b (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    (sql_copy / "migrations" / "0002_newer.sql").unlink()
    with pytest.raises(Misconfigured, match=r"newer than this program \(it has 0002_newer\.sql\): install the newer"):
        await migrate(empty_database(OWNER), APP, sql_copy)


async def test_a_history_with_a_hole_is_refused(empty_database, sql_copy):
    _write(sql_copy, _0001_first="CREATE TABLE a (i int);", _0002_second="CREATE TABLE b (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    await _ask(empty_database(OWNER), "DELETE FROM schema_history.migration WHERE number = 1")
    with pytest.raises(Misconfigured, match="lacks migration 0001: restore it from a backup"):
        await migrate(empty_database(OWNER), APP, sql_copy)


async def test_a_file_that_ends_its_own_transaction_is_refused_and_not_recorded(empty_database, sql_copy):
    _write(sql_copy, _0001_commits="CREATE TABLE a (i int); COMMIT;")
    with pytest.raises(Misconfigured, match=r"0001_commits\.sql ends its own transaction"):
        await migrate(empty_database(OWNER), APP, sql_copy)
    assert await _ask(empty_database(OWNER), "SELECT count(*) FROM schema_history.migration") == 0


async def test_a_migration_gives_up_waiting_for_a_table_in_use(empty_database, sql_copy, monkeypatch):
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT", "SET LOCAL lock_timeout = '100ms'")
    _write(sql_copy, _0001_first="CREATE TABLE a (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    _write(sql_copy, _0002_alters="ALTER TABLE a ADD COLUMN j int;")
    reader = await asyncpg.connect(empty_database(APP))
    async with reader.transaction():
        await reader.fetch("SELECT * FROM a")
        with pytest.raises(Misconfigured, match=r"0002_alters\.sql failed and changed nothing: .*lock timeout"):
            await migrate(empty_database(OWNER), APP, sql_copy)
    await reader.close()
    assert await migrate(empty_database(OWNER), APP, sql_copy) == ["0002_alters.sql"]


async def test_names_without_a_schema_mean_the_public_one_whatever_the_owner_has_set(empty_database, sql_copy):
    await _ask(empty_database(OWNER), f"CREATE SCHEMA {OWNER}")
    _write(sql_copy, _0001_first="CREATE TABLE a (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    assert await _ask(empty_database(OWNER), "SELECT schemaname FROM pg_tables WHERE tablename = 'a'") == "public"


@pytest.mark.parametrize(
    ("names", "refusal"),
    [
        (["0002_first"], "stands where migration 0001 should"),
        (["0001_first", "0003_third"], "stands where migration 0002 should"),
        (["0001_first", "0001_other"], "stands where migration 0002 should"),
        (["1_first"], "not named as a migration"),
        (["0001_First"], "not named as a migration"),
        (["0001-first"], "not named as a migration"),
    ],
)
def test_a_folder_with_a_gap_a_double_or_a_strange_name_is_refused(sql_copy, names, refusal):
    for name in names:
        (sql_copy / "migrations" / f"{name}.sql").write_text("SELECT 1;")
    with pytest.raises(Misconfigured, match=refusal):
        load(sql_copy / "migrations")


async def test_a_role_that_does_not_exist_is_named(empty_database, sql_copy):
    with pytest.raises(Misconfigured, match="there is no role missing_role on this server: make it with CREATE ROLE"):
        await migrate(empty_database(OWNER), "missing_role", sql_copy)


async def test_the_owner_cannot_be_the_programs_role_too(empty_database, sql_copy):
    with pytest.raises(Misconfigured, match="use two roles in GEO_OFFERS_MIGRATE_URL and GEO_OFFERS_DATABASE_URL"):
        await migrate(empty_database(OWNER), OWNER, sql_copy)


@pytest.mark.parametrize(
    "dsn", ["postgresql://owner:canary@127.0.0.1:1/geo", "nonsense://canary", "postgresql://o:canary@h:x/d"]
)
async def test_a_server_out_of_reach_is_refused_without_telling_the_password(dsn, sql_copy):
    with pytest.raises(Misconfigured, match="cannot connect to PostgreSQL as the owner") as refused:
        await migrate(dsn, APP, sql_copy)
    assert "canary" not in refused.value.detail
