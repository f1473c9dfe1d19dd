"""The start-up check: the schema is the program's, and the role is one that row-level security binds."""

import shutil
import uuid

import asyncpg
import pytest

from geo_offers.errors import Misconfigured
from geo_offers.storage.embedded import APP, OWNER
from geo_offers.storage.files import sql_folder, store_data_folder
from geo_offers.storage.migrate import check, migrate


@pytest.fixture
async def connect():
    opened = []

    async def open_one(dsn):
        opened.append(await asyncpg.connect(dsn))
        return opened[-1]

    yield open_one
    for connection in opened:
        await connection.close()


@pytest.fixture
async def administrator(postgres_server, connect):
    return await connect(postgres_server.superuser_dsn)


@pytest.fixture
async def other_role(administrator):
    """A login role without rights; the test gives it some."""
    name = f"role_{uuid.uuid4().hex[:8]}"
    await administrator.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await administrator.execute(f"DROP ROLE {name}")


async def test_a_migrated_database_is_in_order_over_a_pool_too(database):
    async with asyncpg.create_pool(database.app_dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        assert await check(connection) == ()


async def test_a_database_without_schema_names_the_command(empty_database, connect):
    with pytest.raises(Misconfigured, match=r"no schema of geo-offers that this role may use: run geo-offers migrate$"):
        await check(await connect(empty_database(APP)))


async def test_a_schema_without_grants_names_the_command(empty_database, connect, other_role):
    await migrate(empty_database(OWNER), APP)
    with pytest.raises(Misconfigured, match=r"that this role may use: run geo-offers migrate$"):
        await check(await connect(empty_database(other_role)))


async def test_a_database_behind_says_by_how_much_and_names_the_command(database, connect, sql_copy):
    shutil.copytree(sql_folder() / "migrations", sql_copy / "migrations", dirs_exist_ok=True)
    last = max(int(path.name[:4]) for path in (sql_copy / "migrations").iterdir())
    for number in (last + 1, last + 2):
        (sql_copy / "migrations" / f"{number:04}_more.sql").write_text("SELECT 1;")
    with pytest.raises(
        Misconfigured, match=rf"2 migrations behind .*, next is {last + 1:04}_more\.sql: run geo-offers migrate"
    ):
        await check(await connect(database.app_dsn), sql_copy)


async def test_a_database_newer_than_the_program_is_refused(database, connect, sql_copy):
    with pytest.raises(Misconfigured, match="newer than this program"):
        await check(await connect(database.app_dsn), sql_copy)


async def test_the_owner_is_refused(database, connect):
    with pytest.raises(Misconfigured, match=f"role {OWNER} owns the database or its tables"):
        await check(await connect(database.owner_dsn))


async def test_a_superuser_is_refused_even_behind_set_role(database, connect):
    connection = await connect(database.superuser_dsn)
    for _ in ("as itself", "in disguise"):
        with pytest.raises(Misconfigured, match="role postgres is a superuser"):
            await check(connection)
        await connection.execute(f"SET ROLE {APP}")


@pytest.mark.parametrize(
    "case",
    [
        ("ALTER ROLE {role} BYPASSRLS", "has BYPASSRLS"),
        ("GRANT {owner} TO {role}", "owns the database or its tables, or may become their owner"),
        ("GRANT postgres TO {role}", "is a superuser or may become one"),
    ],
)
async def test_a_role_that_could_get_round_row_level_security_is_refused(
    empty_database, connect, administrator, other_role, case
):
    gift, refusal = case
    connection = await connect(empty_database(other_role))
    await administrator.execute(gift.format(role=other_role, owner=OWNER))
    with pytest.raises(Misconfigured, match=f"role {other_role} {refusal}.*: name an ordinary role"):
        await check(connection)


async def test_settings_that_can_lose_acknowledged_data_are_warnings(database, connect, administrator):
    try:
        await administrator.execute("ALTER SYSTEM SET fsync = off")
        await administrator.execute("ALTER SYSTEM SET full_page_writes = off")
        await administrator.execute("SELECT pg_reload_conf()")
        connection = await connect(database.app_dsn)
        await connection.execute("SELECT pg_sleep(0.1)")
        await connection.execute("SET synchronous_commit = off")
        assert await check(connection) == tuple(
            f"the PostgreSQL server runs with {name} off: a crash can lose what was acknowledged"
            for name in ("fsync", "full_page_writes", "synchronous_commit")
        )
    finally:
        await administrator.execute("ALTER SYSTEM RESET ALL")
        await administrator.execute("SELECT pg_reload_conf()")


async def test_a_server_too_old_is_refused():
    class OldServer:
        async def fetchval(self, _question):
            return 14

    with pytest.raises(Misconfigured, match="the server is PostgreSQL 14, geo-offers needs 15 or newer"):
        await check(OldServer())


def test_the_folders_outside_the_package_are_found_in_a_checkout_and_in_a_wheel(tmp_path, monkeypatch):
    assert (sql_folder() / "grants.sql").is_file()
    monkeypatch.setattr("geo_offers.storage.files._PACKAGE", tmp_path / "geo_offers")
    with pytest.raises(Misconfigured, match="lacks its folder sql/: install it again"):
        sql_folder()
    for home in (tmp_path, tmp_path / "geo_offers" / "_data"):
        (home / "store_data").mkdir(parents=True)
        assert store_data_folder() == home / "store_data"
