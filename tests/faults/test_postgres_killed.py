"""Kill -9 of PostgreSQL's own process: 503 with a time to come back at, and recovery without a hand."""

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from geo_offers import app
from geo_offers.settings import Settings
from geo_offers.storage import embedded
from geo_offers.storage.embedded import APP, DATABASE, OWNER
from geo_offers.storage.supervisor import SUPERUSER
from geo_offers.web.server import url_of
from tests.faults.world import administrator, assert_each_once, at_now, until, world
from tests.support.databases import Database

PEOPLE = 20


@pytest.fixture
def own_root(server_folders):
    root = Path(tempfile.mkdtemp(prefix="geo-offers-test-", dir=server_folders))
    root.chmod(0o711)  # PostgreSQL's user passes through
    yield root
    shutil.rmtree(root)


@pytest.fixture
async def server(own_root):
    """A PostgreSQL of the test's own, looked after as `serve` does."""
    async with await embedded.start(own_root) as started:
        keeper = asyncio.create_task(started.keep_running())
        yield started
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


@asynccontextmanager
async def _everybody_locked(database):
    """Holds the lock that every turn takes, and tells whether a turn waits for it."""
    holder, watcher = [await asyncpg.connect(database.superuser_dsn) for _ in range(2)]
    await holder.execute("BEGIN")
    await holder.execute("SELECT FROM app_user FOR UPDATE")

    async def turns_wait():
        waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')"
        return await watcher.fetchval(waiting)

    try:
        yield turns_wait
    finally:
        holder.terminate()
        watcher.terminate()


async def _until_taken(made, phone, ping, refused):
    """Send one ping until it is answered for good; note each refusal on the way."""
    async with asyncio.timeout(30):
        while (answer := await made.pings(phone.token, [ping])).status != 200:
            refused.append(answer)
            await asyncio.sleep(0.1)
    return answer


async def test_the_service_outlives_its_database(server):
    dsn = server.endpoint.dsn
    database = Database(DATABASE, dsn(OWNER, DATABASE), dsn(APP, DATABASE), dsn(SUPERUSER, DATABASE))
    settings = Settings(host="127.0.0.1", port=0, database_url=database.app_dsn, device_rate_per_s=1000)
    watch = app.Watch()
    async with app.service(settings, database.app_dsn, watch) as listener:
        url = url_of(listener.host, listener.port)
        async with world(database, lambda: url) as made:
            await made.no_gaps()
            await made.fences(4)
            await made.campaign()
            phones = await made.phones([f"person {n}" for n in range(PEOPLE)])
            for phone in phones:
                assert (await made.pings(phone.token, [phone.ping(None, at_now(10))])).status == 200

            at, refused = at_now(), []
            async with _everybody_locked(database) as turns_wait:
                entered = [
                    asyncio.create_task(_until_taken(made, phone, phone.ping(1, at), refused)) for phone in phones
                ]
                await until(turns_wait, why="a turn in the midst of its transaction")
                os.kill(first := server.pid, signal.SIGKILL)
            assert (await made.call("GET", "/livez", "manager")).status == 200
            still = await made.pings(phones[0].token, [phones[0].ping(None, at_now(5))])
            assert still.status in {200, 503}  # without a transition it may be taken from memory alone
            await asyncio.gather(*entered)

            assert refused, "the kill met no request"
            assert {answer.status for answer in refused} == {503}
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
            assert {answer.body["code"] for answer in refused} == {"unavailable"}
            await until(lambda: server.pid not in {None, first}, why="a new PostgreSQL")
            assert (await made.call("GET", "/readyz", "manager")).status == 200
            async with administrator(database) as rows:
                assert await rows.fetchval("SELECT count(*) FROM visit") == PEOPLE
                assert await rows.fetchval("SELECT count(*) FROM offer") == PEOPLE
                await assert_each_once(rows)
            assert not watch.failed.is_set()
