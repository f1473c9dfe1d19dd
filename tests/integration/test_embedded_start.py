"""An ordinary life of the embedded PostgreSQL: made, started again, stopped, cancelled."""

import asyncio
import os
import tempfile
import threading
from pathlib import Path

import asyncpg
import psutil
import pytest
import uvloop

from geo_offers.storage import embedded, processes
from geo_offers.storage.migrate import check


async def _ask(dsn, question, *arguments):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question, *arguments)
    finally:
        await connection.close()


def _socket_folders():
    return set(Path(tempfile.gettempdir()).glob("geo-offers-pg-*"))


async def test_a_cold_start_makes_the_roles_the_database_and_the_schema(fresh_root, small_sql):
    async with await embedded.start(fresh_root, sql=small_sql) as server:
        assert server.applied == ("0001_note.sql",)
        assert await _ask(server.superuser_dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert (
            await _ask(server.owner_dsn, "SELECT tableowner FROM pg_tables WHERE tablename = 'note'") == embedded.OWNER
        )
        app = await asyncpg.connect(server.app_dsn)
        assert await check(app, small_sql) == ()
        assert (
            await app.fetchval("SELECT current_user || ' in ' || current_database()") == "geo_offers_app in geo_offers"
        )
        await app.close()


async def test_a_warm_start_finds_its_rows_and_migrates_nothing(data_root, small_sql, mark):
    for rows in (0, 1, 2):
        async with await embedded.start(data_root, sql=small_sql) as server:
            assert server.applied == ()
            assert await _ask(server.app_dsn, "SELECT count(*) FROM note WHERE text = $1", mark) == rows
            await _ask(server.app_dsn, "INSERT INTO note (text) VALUES ($1) RETURNING id", mark)


async def test_the_server_listens_on_a_private_socket_only_and_has_the_settings_of_a_write_load(data_root, small_sql):
    async with await embedded.start(data_root, sql=small_sql) as server:
        assert server.endpoint.folder.stat().st_mode & 0o777 == 0o700
        settings = dict(
            zip(
                ("listen_addresses", "max_wal_size", "checkpoint_timeout", "fsync", "full_page_writes"),
                await _ask(
                    server.superuser_dsn,
                    "SELECT array_agg(current_setting(n)) FROM unnest(ARRAY['listen_addresses', 'max_wal_size', "
                    "'checkpoint_timeout', 'fsync', 'full_page_writes']) n",
                ),
                strict=True,
            )
        )
        assert settings == {
            "listen_addresses": "",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "fsync": "on",
            "full_page_writes": "on",
        }
        assert await _ask(server.superuser_dsn, "SHOW wal_compression") in {"lz4", "pglz"}
        assert psutil.Process(server.pid).net_connections("inet") == []


async def test_a_stop_leaves_no_process_no_socket_and_a_free_folder(data_root, small_sql):
    before = _socket_folders()
    server = await embedded.start(data_root, sql=small_sql)
    process = psutil.Process(server.pid)
    assert (data_root / "endpoint.json").exists()
    await server.stop()
    await server.stop()
    assert not process.is_running()
    assert server.pid is None
    assert _socket_folders() == before
    assert not (data_root / "endpoint.json").exists()
    async with await embedded.start(data_root, sql=small_sql):
        pass


async def test_a_connection_that_stays_open_does_not_hold_up_the_stop(data_root, small_sql):
    server = await embedded.start(data_root, sql=small_sql)
    lingering = await asyncpg.connect(server.app_dsn)
    async with asyncio.timeout(5):
        await server.stop()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await lingering.fetchval("SELECT 1")
    lingering.terminate()


async def test_a_start_that_is_cancelled_leaves_nothing_running_and_can_be_repeated(fresh_root, small_sql):
    for after_s in (0.15, 0.3, 0.5):  # while initdb runs, mostly; how far it came must not matter
        starting = asyncio.create_task(embedded.start(fresh_root, sql=small_sql))
        await asyncio.sleep(after_s)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        running = [p for p in psutil.process_iter(["cmdline"]) if str(fresh_root) in " ".join(p.info["cmdline"] or [])]
        assert psutil.wait_procs(running, timeout=10)[1] == []  # what was killed may take a moment to be gone
    async with await embedded.start(fresh_root, sql=small_sql) as server:
        assert await _ask(server.app_dsn, "SELECT count(*) FROM note") == 0


async def test_a_half_made_database_of_a_killed_first_start_is_made_anew(fresh_root, small_sql):
    half = fresh_root / "pgdata-18.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    async with await embedded.start(fresh_root, sql=small_sql) as server:
        assert server.applied == ("0001_note.sql",)
    assert not half.exists()


async def test_a_failing_statement_leaves_its_data_out_of_the_servers_log(data_root, small_sql):
    async with await embedded.start(data_root, sql=small_sql) as server:
        connection = await asyncpg.connect(server.owner_dsn)
        await connection.execute("CREATE TEMPORARY TABLE place (lat float8 UNIQUE, lon float8 NOT NULL)")
        for statement in (
            "INSERT INTO place VALUES (53.98765, NULL)",
            "INSERT INTO place VALUES (53.98765, 8.1), (53.98765, 8.1)",
            "SELECT 53.98765 / 0",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(statement)
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetchval("INSERT INTO place VALUES ($1, $2)", 53.98765, None)
        await connection.close()
    log = (data_root / "postgres.log").read_text()
    assert "null value in column" in log
    assert "53.98765" not in log


async def test_a_long_log_is_put_aside_at_the_next_start(data_root, small_sql):
    log = data_root / "postgres.log"
    log.write_bytes(b"old line\n" * 2_000_000)
    async with await embedded.start(data_root, sql=small_sql):
        assert "old line" not in log.read_text()
    assert (data_root / "postgres.log.1").stat().st_size == 18_000_000


def test_the_server_starts_under_uvloop(data_root, small_sql):
    async def live():
        async with await embedded.start(data_root, sql=small_sql) as server:
            return await _ask(server.app_dsn, "SELECT 1")

    loop = uvloop.new_event_loop()
    assert loop.run_until_complete(live()) == 1
    loop.close()


def test_another_thread_than_the_main_one_is_refused(data_root, small_sql):
    refused = []

    def work():
        try:
            asyncio.run(embedded.start(data_root, sql=small_sql))
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert refused == ["PostgreSQL must be started from the main thread"]


async def test_root_runs_the_server_as_an_unprivileged_user(data_root, small_sql, is_root):
    async with await embedded.start(data_root, sql=small_sql) as server:
        owner = psutil.Process(server.pid).uids().real
        assert owner != 0
        assert (owner == os.geteuid()) is not is_root
        assert (data_root / "pgdata-18").stat().st_uid == owner
        assert (processes.choose_account(data_root / "pgdata-18") is None) is not is_root


async def test_a_signal_from_the_terminal_does_not_reach_the_server(data_root, small_sql):
    async with await embedded.start(data_root, sql=small_sql) as server:
        assert os.getsid(server.pid) == server.pid
        assert os.getpgid(server.pid) == server.pid


async def test_a_new_version_of_the_programs_starts_with_the_schema_it_brings(own_root, small_sql, sql_copy):
    first = (small_sql / "migrations" / "0001_note.sql").read_text()
    (sql_copy / "migrations" / "0001_note.sql").write_text(first)
    (sql_copy / "migrations" / "0002_more.sql").write_text("ALTER TABLE note ADD COLUMN more text;")
    async with await embedded.start(own_root, sql=sql_copy) as server:
        assert server.applied == ("0002_more.sql",)
        assert await _ask(server.app_dsn, "SELECT count(more) FROM note") == 0
