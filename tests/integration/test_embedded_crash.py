"""What killing leaves behind, and that the next start gets past it without losing a row or harming a stranger."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import asyncpg
import psutil
import pytest

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage import embedded, processes, supervisor

OWNER_PROGRAM = """
import asyncio, sys
from pathlib import Path
import asyncpg
from geo_offers.storage import embedded, processes
async def main():
    server = await embedded.start(Path(sys.argv[1]), sql=Path(sys.argv[2]))
    connection = await asyncpg.connect(server.app_dsn)
    await connection.execute("INSERT INTO note (text) VALUES ($1)", sys.argv[4])
    print(server.pid, flush=True)
    await asyncio.sleep(60)
if sys.argv[3] == "shell":
    processes.kernel_ends_orphans = lambda: False
asyncio.run(main())
"""


def _run_owner(root, sql, tie, mark):
    """Run a program that owns the folder, writes `mark`, tells its server's process id, and waits to be killed."""
    command = [sys.executable, "-c", OWNER_PROGRAM, str(root), str(sql), tie, mark]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextmanager
def _sleep_in(folder, account):
    """Run a process that is no PostgreSQL but of its user: PostgreSQL itself would believe in it."""
    credentials = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    with subprocess.Popen(["sleep", "60"], cwd=folder, **credentials) as process:
        try:
            yield process
        finally:
            process.kill()


async def _count(dsn, text):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT count(*) FROM note WHERE text = $1", text)
    finally:
        await connection.close()


async def _write(dsn, text):
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO note (text) VALUES ($1)", text)
    await connection.close()


async def _until(condition, within_s=10.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_killed_server_is_started_again_with_all_committed_rows(data_root, small_sql, mark):
    server = await embedded.start(data_root, sql=small_sql)
    await _write(server.app_dsn, mark)
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    async with await embedded.start(data_root, sql=small_sql) as again:
        assert await _count(again.app_dsn, mark) == 1


async def test_the_owner_brings_a_killed_server_back_on_the_same_socket(data_root, small_sql, mark):
    async with await embedded.start(data_root, sql=small_sql) as server:
        keeper = asyncio.create_task(server.keep_running())
        await _write(server.app_dsn, mark)
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await _until(lambda: server.pid not in {None, first})
        assert (await embedded.share(data_root)).owned is False  # waits until it answers
        assert await _count(server.app_dsn, mark) == 1
        await server.stop()
        await asyncio.wait_for(keeper, 5)


async def test_a_server_that_keeps_ending_is_given_up(data_root, small_sql, monkeypatch):
    monkeypatch.setattr(supervisor, "RESTARTS_A_MINUTE", 1)
    async with await embedded.start(data_root, sql=small_sql) as server:
        keeper = asyncio.create_task(server.keep_running())
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await _until(lambda: server.pid not in {None, first})
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="ended 2 times within a minute"):
            await asyncio.wait_for(keeper, 10)


@pytest.mark.parametrize("tie", ["kernel", "shell"])
async def test_the_server_ends_with_a_killed_owner_and_the_next_start_finds_its_rows(data_root, small_sql, tie, mark):
    owner = _run_owner(data_root, small_sql, tie, mark)
    with owner:
        server = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        owner.wait()
        # Nobody may reap an orphan in a container: a zombie has ended too.
        await _until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, 5)
    left = (data_root / "endpoint.json").exists()
    async with await embedded.start(data_root, sql=small_sql) as again:
        assert left
        assert await _count(again.app_dsn, mark) == 1


async def test_owner_and_server_killed_together_are_recovered_from(data_root, small_sql, mark):
    owner = _run_owner(data_root, small_sql, "kernel", mark)
    with owner:
        os.kill(int(owner.stdout.readline()), signal.SIGKILL)
        owner.kill()
        owner.wait()
    assert (data_root / "pgdata-18" / "postmaster.pid").exists()
    async with await embedded.start(data_root, sql=small_sql) as again:
        assert await _count(again.app_dsn, mark) == 1


async def test_a_stale_pid_file_that_names_a_stranger_does_not_harm_the_stranger(data_root, small_sql):
    with _sleep_in("/", processes.choose_account(data_root / "pgdata-18")) as stranger:
        pid_file = data_root / "pgdata-18" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{data_root}/pgdata-18\n1700000000\n5432\n/tmp\n\n  1 2\nready\n")
        async with await embedded.start(data_root, sql=small_sql) as server:
            assert server.pid != stranger.pid
        assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "\n", "garbage", "12"])
async def test_a_truncated_pid_file_does_not_prevent_a_start(data_root, small_sql, content):
    (data_root / "pgdata-18" / "postmaster.pid").write_text(content)
    async with await embedded.start(data_root, sql=small_sql) as server:
        assert server.pid is not None


async def test_a_process_alive_in_the_data_folder_is_waited_for_and_then_named_never_touched(
    data_root, small_sql, monkeypatch
):
    monkeypatch.setattr(supervisor, "ORPHAN_WAIT_S", 0.3)
    data = data_root / "pgdata-18"
    with _sleep_in(data, processes.choose_account(data)) as orphan:
        (data / "postmaster.pid").write_text(f"{orphan.pid}\n")
        with pytest.raises(Misconfigured, match=rf"processes {orphan.pid} still work in .*pgdata-18"):
            await embedded.start(data_root, sql=small_sql)
        assert orphan.poll() is None
        assert (data / "postmaster.pid").exists()
    async with await embedded.start(data_root, sql=small_sql):
        pass


async def test_without_proc_the_process_table_tells_who_is_alive(data_root, small_sql):
    data = data_root / "pgdata-18"
    async with await embedded.start(data_root, sql=small_sql) as server:
        assert processes._alive_by_ps(data) == [server.pid]
    assert processes._alive_by_ps(data) == []
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n")  # alive, and no PostgreSQL of that folder
    assert processes._alive_by_ps(data) == []
