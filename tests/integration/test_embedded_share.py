"""One host of a data folder, any number of guests."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest

from geo_offers.errors import Unavailable
from geo_offers.storage import datafolder, embedded
from geo_offers.storage.datafolder import HOST_LOCK, OWNER_LOCK, AlreadyRunning, Endpoint

GUEST_PROGRAM = """
import asyncio, sys
from pathlib import Path
import asyncpg
from geo_offers.storage import embedded
async def main():
    server = await embedded.obtain(Path(sys.argv[1]))
    connection = await asyncpg.connect(server.app_dsn)
    await connection.execute("INSERT INTO note (text) VALUES ($1)", sys.argv[2])
    await connection.close()
    await server.stop()
    print(server.owned)
asyncio.run(main())
"""


async def _count(dsn, text):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT count(*) FROM note WHERE text = $1", text)
    finally:
        await connection.close()


async def test_a_second_process_works_beside_the_host_and_does_not_stop_its_server(data_root, small_sql, mark):
    async with await embedded.start(data_root, sql=small_sql) as server:
        guest = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", GUEST_PROGRAM, str(data_root), mark],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert guest.stdout == "False\n"
        assert server.pid is not None
        assert await _count(server.app_dsn, mark) == 1


async def test_a_second_host_is_refused(data_root, small_sql, mark):
    async with await embedded.start(data_root, sql=small_sql) as server:
        with pytest.raises(AlreadyRunning, match=f"another geo-offers serves from {data_root} already"):
            await embedded.start(data_root, sql=small_sql)
        assert await _count(server.app_dsn, mark) == 0


async def test_a_guest_of_a_host_that_is_starting_gets_its_server_when_the_schema_is_there(data_root, small_sql):
    starting = asyncio.create_task(embedded.start(data_root, sql=small_sql))
    async with asyncio.timeout(5):
        while not datafolder.is_locked(data_root, HOST_LOCK):
            await asyncio.sleep(0.001)
    guest = await embedded.obtain(data_root, sql=small_sql)
    async with await starting as host:
        assert (host.owned, guest.owned) == (True, False)
        assert await _count(guest.app_dsn, "nobody wrote this") == 0
        await guest.stop()
        assert host.pid is not None


async def test_a_folder_without_a_host_has_nothing_to_share(data_root, small_sql, fresh_root):
    assert await embedded.share(fresh_root) is None
    assert await embedded.share(fresh_root / "absent") is None
    async with await embedded.obtain(data_root, sql=small_sql):
        assert await embedded.share(data_root) is None  # it ends when its command does


@pytest.mark.parametrize(
    ("lock", "stale"), [(HOST_LOCK, False), (HOST_LOCK, True), (OWNER_LOCK, False)], ids=["host", "stale", "owner"]
)
async def test_one_whose_server_does_not_answer_is_named_after_the_wait(fresh_root, tmp_path, lock, stale):
    descriptor = datafolder.try_lock(fresh_root, lock)
    if stale:
        datafolder.publish(fresh_root, Endpoint(tmp_path, 18))
    with pytest.raises(Unavailable, match=f"another process owns {fresh_root}"):
        await embedded.obtain(fresh_root, wait_s=0.3)
    os.close(descriptor)


async def test_a_torn_endpoint_file_is_no_endpoint(fresh_root):
    for content in ("", "{", "[]", "{}", '{"folder": "/tmp", "major": "x"}'):
        (fresh_root / "endpoint.json").write_text(content)
        assert datafolder.published(fresh_root) is None
