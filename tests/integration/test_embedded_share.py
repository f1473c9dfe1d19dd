"""One owner of a data folder, any number of guests."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest

from geo_offers.errors import Unavailable
from geo_offers.storage import datafolder, embedded
from geo_offers.storage.datafolder import AlreadyRunning, Endpoint

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


async def test_a_second_process_works_beside_the_owner_and_does_not_stop_its_server(data_root, small_sql, mark):
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


async def test_a_second_owner_is_refused(data_root, small_sql, mark):
    async with await embedded.start(data_root, sql=small_sql) as server:
        with pytest.raises(AlreadyRunning, match="another process already runs PostgreSQL"):
            await embedded.start(data_root, sql=small_sql)
        assert await _count(server.app_dsn, mark) == 0


async def test_of_two_that_come_at_once_one_owns_and_the_other_shares_when_the_schema_is_there(data_root, small_sql):
    one, two = await asyncio.gather(*(embedded.obtain(data_root, sql=small_sql) for _ in range(2)))
    owner, guest = (one, two) if one.owned else (two, one)
    assert (owner.owned, guest.owned) == (True, False)
    connection = await asyncpg.connect(guest.app_dsn)
    assert await connection.fetchval("SELECT count(*) FROM note WHERE text = 'nobody wrote this'") == 0
    await connection.close()
    await guest.stop()
    assert owner.pid is not None
    await owner.stop()


async def test_a_folder_that_nobody_owns_has_nothing_to_share(fresh_root):
    assert await embedded.share(fresh_root) is None
    assert await embedded.share(fresh_root / "absent") is None


@pytest.mark.parametrize("stale", [False, True])
async def test_an_owner_whose_server_does_not_answer_is_named_after_the_wait(fresh_root, tmp_path, stale):
    descriptor = datafolder.lock(fresh_root)
    if stale:
        datafolder.publish(fresh_root, Endpoint(tmp_path, 18))
    with pytest.raises(Unavailable, match=f"another process owns {fresh_root}"):
        await embedded.share(fresh_root, wait_s=0.3)
    os.close(descriptor)


async def test_a_torn_endpoint_file_is_no_endpoint(fresh_root):
    for content in ("", "{", "[]", "{}", '{"folder": "/tmp", "major": "x"}'):
        (fresh_root / "endpoint.json").write_text(content)
        assert datafolder.published(fresh_root) is None
