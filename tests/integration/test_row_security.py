"""One workspace cannot see or touch another's rows, whatever a query forgets: the wall is the database's."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.keys import UNSEALED, PostgresServiceKeys, create_key
from geo_offers.storage.pool import NIL, Pool, open_pool, transaction

OURS, THEIRS = workspace_id("ours"), workspace_id("theirs")
HOLD_NOTHING_OF_A_PERSON = {"workspace", "partition", "outbox", "installation", "webhook_delivery"}
ADD_USER = "INSERT INTO app_user (id, workspace, partition) VALUES (gen_random_uuid(), $1, 0) RETURNING id"


@pytest.fixture
async def pool(database) -> AsyncIterator[Pool]:
    async with open_pool(database.app_dsn, size=2) as pool:
        for name in ("ours", "theirs"):
            await create_key(pool, name, "server", None, replay=False)
            async with transaction(pool, [workspace_id(name)]) as connection:
                await connection.fetchval(ADD_USER, workspace_id(name))
        yield pool


async def test_every_table_but_five_forces_the_one_policy(database):
    connection = await asyncpg.connect(database.superuser_dsn)
    found = await connection.fetch(
        """SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                  array_agg(p.polname) FILTER (WHERE p.polname IS NOT NULL) AS policies,
                  min(pg_get_expr(p.polqual, p.polrelid)) AS using
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_policy p ON p.polrelid = c.oid
           WHERE n.nspname = 'public' AND c.relkind = 'r' GROUP BY 1, 2"""
    )
    await connection.close()
    assert {row["name"] for row in found if not row["forced"]} == HOLD_NOTHING_OF_A_PERSON
    walled = [row for row in found if row["forced"]]
    assert len(walled) > 15
    assert all(row["policies"] == ["own_workspace"] for row in walled)
    # the sub-select is parsed once a statement; without it the list is parsed for every row
    assert all("( SELECT (NULLIF(current_setting('app.workspaces'" in row["using"] for row in walled)


async def test_no_view_can_look_over_the_wall(database):
    connection = await asyncpg.connect(database.superuser_dsn)
    open_views = await connection.fetch(
        """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm')
             AND NOT coalesce(c.reloptions::text LIKE '%security_invoker=true%', false)"""
    )
    await connection.close()
    assert open_views == []


@pytest.mark.parametrize("setting", [None, "", "{}"])
async def test_without_workspaces_nothing_is_seen(pool, setting):
    async with pool.acquire() as connection, connection.transaction():
        if setting is not None:
            await connection.execute("SELECT set_config('app.workspaces', $1, true)", setting)
        for table in ("app_user", "api_key", "service_key", "workspace_secret"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_another_workspaces_rows_cannot_be_read_changed_or_deleted(pool):
    async with transaction(pool, [OURS]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM app_user") == 1
        assert await connection.fetchval("SELECT count(*) FROM app_user WHERE workspace = $1", THEIRS) == 0
        assert await connection.execute("UPDATE app_user SET locale = 'xx' WHERE workspace = $1", THEIRS) == "UPDATE 0"
        assert await connection.execute("DELETE FROM app_user WHERE workspace = $1", THEIRS) == "DELETE 0"
    async with transaction(pool, [THEIRS]) as connection:
        assert await connection.fetchval("SELECT locale FROM app_user") == "en"


async def test_a_row_cannot_be_written_into_another_workspace(pool):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction(pool, [OURS]) as connection:
            await connection.fetchval(ADD_USER, THEIRS)


async def test_a_row_cannot_be_moved_into_another_workspace(pool):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction(pool, [OURS]) as connection:
            await connection.execute("UPDATE app_user SET workspace = $1", THEIRS)


async def test_the_setting_is_gone_with_the_transaction_and_with_the_connections_return(pool):
    async with transaction(pool, [OURS]) as connection:
        process = await connection.fetchval("SELECT pg_backend_pid()")
    seen = set()
    for _ in range(4):
        async with pool.acquire() as connection:
            seen.add(await connection.fetchval("SELECT pg_backend_pid()"))
            assert not await connection.fetchval("SELECT current_setting('app.workspaces', true)")
            assert await connection.fetchval("SELECT count(*) FROM app_user") == 0
    assert process in seen


async def test_a_setting_made_for_the_session_does_not_outlive_the_connections_return(pool):
    async with pool.acquire() as connection:
        await connection.execute(f"SET app.workspaces = '{{{OURS}}}'")
        assert await connection.fetchval("SELECT count(*) FROM app_user") == 1
    for _ in range(4):
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM app_user") == 0


async def test_a_forged_setting_raises_instead_of_leaking(pool):
    async with pool.acquire() as connection:
        await connection.execute("SET app.workspaces = '{not-a-uuid}'")
        with pytest.raises(asyncpg.InvalidTextRepresentationError):
            await connection.fetchval("SELECT count(*) FROM app_user")


async def test_the_services_own_keys_are_hidden_from_every_workspace(pool):
    await PostgresServiceKeys(pool, UNSEALED).all()
    async with transaction(pool, [OURS, THEIRS]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM service_key") == 0
    async with transaction(pool, [NIL]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM service_key") == 1


async def test_the_owner_of_the_tables_is_behind_the_wall_too(database, pool):
    connection = await asyncpg.connect(database.owner_dsn)
    assert await connection.fetchval("SELECT count(*) FROM app_user") == 0
    await connection.close()


@pytest.mark.parametrize("change", ["UPDATE consent_ledger SET granted = true", "DELETE FROM consent_ledger"])
async def test_the_consent_ledger_takes_no_change_from_the_program_or_the_owner(database, pool, change):
    async with transaction(pool, [OURS]) as connection:
        await connection.execute(
            "INSERT INTO consent_ledger VALUES ($1, 1, $2, 'locate', true, 'v1', 'enrol', now(), $2, $2)", OURS, b"0"
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction(pool, [OURS]) as connection:
            await connection.execute(change)
    owner = await asyncpg.connect(database.owner_dsn)
    await owner.execute("SELECT set_config('app.workspaces', $1, false)", f"{{{OURS}}}")
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await owner.execute(change)
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await owner.execute("TRUNCATE consent_ledger")
    await owner.close()


async def test_a_workspaces_id_follows_from_its_name():
    assert workspace_id("ours") == workspace_id("ours") != workspace_id("theirs")
    assert isinstance(workspace_id("ours"), UUID)
