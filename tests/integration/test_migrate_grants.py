"""What the program's own role may do with the schema, and nothing more."""

import uuid

import asyncpg
import pytest

from geo_offers.errors import Misconfigured
from geo_offers.storage.embedded import APP, OWNER
from geo_offers.storage.migrate import migrate

RIGHTS = """
SELECT tablename::text, array(
    SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
    WHERE has_table_privilege($1, format('%I.%I', schemaname, tablename), p))
FROM pg_tables WHERE schemaname = $2"""


@pytest.fixture
async def owner(empty_database):
    connection = await asyncpg.connect(empty_database(OWNER))
    yield connection
    await connection.close()


async def _rights(connection, role=APP, schema="public"):
    return dict(await connection.fetch(RIGHTS, role, schema))


async def test_every_table_of_the_schema_can_be_used_and_the_consent_ledger_only_extended(database):
    connection = await asyncpg.connect(database.owner_dsn)
    rights = await _rights(connection)
    assert rights.pop("consent_ledger") == ["SELECT", "INSERT"]
    assert rights
    assert set(map(tuple, rights.values())) == {("SELECT", "INSERT", "UPDATE", "DELETE")}
    assert await _rights(connection, schema="schema_history") == {"migration": ["SELECT"]}
    sequences = "SELECT bool_and(has_sequence_privilege($1, oid, 'USAGE')) FROM pg_class WHERE relkind = 'S'"
    assert await connection.fetchval(sequences, APP) is True
    await connection.close()


async def test_the_programs_role_can_make_nothing_of_its_own(database):
    connection = await asyncpg.connect(database.app_dsn)
    for statement in (
        "CREATE TABLE public.mine (i int)",
        "CREATE SCHEMA mine",
        "TRUNCATE workspace",
        "DELETE FROM schema_history.migration",
        "ALTER TABLE app_user DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_workspace ON app_user",
        f"SET ROLE {OWNER}",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_a_right_given_by_hand_is_taken_back_by_the_next_run(empty_database, sql_copy, owner):
    (sql_copy / "migrations" / "0001_ledger.sql").write_text("CREATE TABLE consent_ledger (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    await owner.execute(f"GRANT UPDATE, TRUNCATE ON consent_ledger TO {APP}")
    await migrate(empty_database(OWNER), APP, sql_copy)
    assert await _rights(owner) == {"consent_ledger": ["SELECT", "INSERT"]}


async def test_a_table_that_came_with_the_last_migration_is_granted_too(empty_database, sql_copy, owner):
    await migrate(empty_database(OWNER), APP, sql_copy)
    (sql_copy / "migrations" / "0001_late.sql").write_text(
        'CREATE TABLE "Odd name" (id int GENERATED ALWAYS AS IDENTITY, x text); CREATE VIEW seen AS SELECT 1 AS one;'
    )
    await migrate(empty_database(OWNER), APP, sql_copy)
    app = await asyncpg.connect(empty_database(APP))
    assert await app.fetchval("INSERT INTO \"Odd name\" (x) VALUES ('a') RETURNING id") == 1
    assert await app.fetchval("SELECT one FROM seen") == 1
    await app.close()


async def test_the_name_of_the_role_is_only_ever_a_name(postgres_server, empty_database, sql_copy, owner):
    role = f"o'\"; DROP TABLE kept; --{uuid.uuid4().hex[:8]}"
    quoted = '"' + role.replace('"', '""') + '"'
    administrator = await asyncpg.connect(postgres_server.superuser_dsn)
    await administrator.execute(f"CREATE ROLE {quoted}")
    (sql_copy / "migrations" / "0001_kept.sql").write_text("CREATE TABLE kept (i int);")
    try:
        await migrate(empty_database(OWNER), role, sql_copy)
        assert await _rights(owner, role) == {"kept": ["SELECT", "INSERT", "UPDATE", "DELETE"]}
        assert (await _rights(owner))["kept"] == []
    finally:
        await administrator.close()
        cleaner = await asyncpg.connect(empty_database("postgres"))
        await cleaner.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")
        await cleaner.close()


async def test_tables_of_others_in_the_same_database_are_left_alone(empty_database, sql_copy, owner):
    administrator = await asyncpg.connect(empty_database("postgres"))
    await administrator.execute("CREATE TABLE public.of_an_extension (i int)")
    (sql_copy / "migrations" / "0001_ours.sql").write_text("CREATE TABLE ours (i int);")
    await migrate(empty_database(OWNER), APP, sql_copy)
    assert (await _rights(owner))["of_an_extension"] == []
    await administrator.close()


async def test_the_grants_need_no_superuser_and_name_what_the_owner_lacks(empty_database, sql_copy):
    administrator = await asyncpg.connect(empty_database("postgres"))
    await administrator.execute(f"CREATE ROLE poor_{APP} LOGIN")
    try:
        with pytest.raises(Misconfigured, match="the migration stopped: permission denied"):
            await migrate(empty_database(f"poor_{APP}"), APP, sql_copy)
    finally:
        await administrator.execute(f"DROP ROLE poor_{APP}")
        await administrator.close()
