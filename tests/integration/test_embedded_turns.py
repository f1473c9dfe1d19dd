"""Commands of a moment and the host of a data folder, started in the same second: each gets its turn."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from geo_offers.storage import datafolder, embedded
from geo_offers.storage.datafolder import OWNER_LOCK, AlreadyRunning
from tests.support.commands import command
from tests.support.running import Served, without_our_settings

WAITING = "waiting for another geo-offers command to finish with the data folder"
MAKING_AND_REMOVING = 'while mkdir -p "$1/base/1"; do : > "$1/base/1/f"; rm -r "$1/base"; done 2>/dev/null'


async def _ask(dsn, question):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def _until(condition, within_s=15.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


@contextmanager
def _running(root, *arguments):
    """Run a command on the data folder; what is left of it is killed."""
    own = {"GEO_OFFERS_DATA_DIR": str(root), "GEO_OFFERS_PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "geo_offers", *arguments],
        env=without_our_settings() | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _ending(half_made):
    """Run what goes on making and removing files in that folder."""
    with subprocess.Popen(["sh", "-c", MAKING_AND_REMOVING, "sh", str(half_made)]) as process:
        try:
            yield
        finally:
            process.kill()


async def test_a_host_waits_for_a_command_to_end_and_says_so_once(data_root, small_sql):
    brief = await embedded.obtain(data_root, sql=small_sql)
    with capture_logs() as said:
        starting = asyncio.create_task(embedded.start(data_root, sql=small_sql))
        await _until(lambda: said)
        assert await _ask(brief.app_dsn, "SELECT 1") == 1
        await brief.stop()
        async with await starting as host:
            assert await _ask(host.app_dsn, "SELECT 1") == 1
    assert [(line["event"], line["folder"]) for line in said] == [(WAITING, str(data_root))]


async def test_a_command_that_does_not_end_is_named_after_the_wait(fresh_root):
    descriptor = datafolder.try_lock(fresh_root, OWNER_LOCK)
    with pytest.raises(AlreadyRunning, match=f"another geo-offers command still uses {fresh_root} after 0.2 s"):
        await embedded.start(fresh_root, wait_s=0.2)
    os.close(descriptor)


async def test_commands_that_come_while_a_host_waits_share_its_server(data_root, small_sql):
    brief = await embedded.obtain(data_root, sql=small_sql)
    with capture_logs() as said:
        starting = asyncio.create_task(embedded.start(data_root, sql=small_sql))
        await _until(lambda: said)
    later = [asyncio.create_task(embedded.obtain(data_root, sql=small_sql)) for _ in range(3)]
    await brief.stop()
    guests = await asyncio.gather(*later)
    async with await starting as host:
        assert [guest.endpoint for guest in guests] == [host.endpoint] * 3
        assert not any(guest.owned for guest in guests)


async def test_a_second_host_is_refused_at_once_though_the_first_still_waits(data_root, small_sql):
    async with await embedded.obtain(data_root, sql=small_sql):
        with capture_logs() as said:
            first = asyncio.create_task(embedded.start(data_root, sql=small_sql))
            await _until(lambda: said)
            with pytest.raises(AlreadyRunning, match=r"serves from .* already"):
                await embedded.start(data_root, sql=small_sql)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    async with await embedded.start(data_root, sql=small_sql):  # the one that gave up holds nothing
        pass


async def test_a_command_never_loses_its_server_to_the_end_of_another(data_root, small_sql):
    one = await embedded.obtain(data_root, sql=small_sql)
    waiting = asyncio.create_task(embedded.obtain(data_root, sql=small_sql))
    assert await _ask(one.app_dsn, "SELECT 1") == 1
    await one.stop()
    async with await waiting as other:
        assert other.owned
        assert await _ask(other.app_dsn, "SELECT 1") == 1


async def test_a_server_and_keys_started_at_once_in_a_fresh_folder_all_do_their_work(fresh_root, database):
    first = await embedded.obtain(fresh_root)  # stands for the first of the keys, so that the order is certain
    served = Served(database, {"database_url": None, "data_dir": fresh_root})
    starting = asyncio.create_task(served.start())
    try:
        await _until(lambda: served.stderr)
        make = ("keys", "create", "--workspace", "w", "--kind")
        kinds = ("manager", "app", "server")
        keys = [asyncio.create_task(command(*make, kind, settings={"DATA_DIR": fresh_root})) for kind in kinds]
        await first.stop()
        await starting
        assert [(ended.code, ended.err, len(ended.lines)) for ended in await asyncio.gather(*keys)] == [(0, "", 1)] * 3
        assert await served.terminate() == 0
        assert [WAITING in line for line in served.stderr] == [True]
    finally:
        await first.stop()
        await served.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_waits_ends_with_0_when_asked(data_root, small_sql, how):
    async with await embedded.obtain(data_root, sql=small_sql):
        with _running(data_root, "serve") as process:
            line = await asyncio.to_thread(process.stderr.readline)
            assert WAITING.encode() in line
            process.send_signal(how)
            out, err = await asyncio.to_thread(process.communicate, timeout=10)
            assert (process.returncode, out, err) == (0, b"", b"")


async def test_the_initdb_of_a_killed_command_that_is_still_ending_does_not_hinder_the_next_start(
    fresh_root, small_sql
):
    half_made = fresh_root / "pgdata-18.new"
    with _ending(half_made):
        await _until(half_made.exists)
        async with await embedded.start(fresh_root, sql=small_sql) as server:
            assert server.applied == ("0001_note.sql",)
    assert (fresh_root / "pgdata-18" / "PG_VERSION").exists()
