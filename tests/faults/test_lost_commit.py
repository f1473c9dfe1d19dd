"""A commit whose connection broke may still be under way in the database: what is loaded next waits for it."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from geo_offers.presence import states
from geo_offers.storage.pool import open_pool
from geo_offers.storage.turns import PostgresDevices
from tests.faults.world import administrator, until, world
from tests.support.running import running

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
STATE = states.PresenceState(newest_us=int(AT.timestamp() * 1e6))


async def test_a_device_is_not_loaded_past_a_commit_that_is_still_under_way(database):
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(database))
        made = await stack.enter_async_context(world(database, lambda: service.url))
        (phone,) = await made.phones(["one"])
        broken, watcher = [await stack.enter_async_context(administrator(database)) for _ in range(2)]
        pool = await stack.enter_async_context(open_pool(database.app_dsn, size=1))
        async with broken.transaction():  # nobody waits for its answer any more
            await broken.execute("SELECT id FROM app_user WHERE id = $1 FOR NO KEY UPDATE", phone.user)
            await broken.execute(
                "UPDATE device SET newest_at = $2, presence = $3 WHERE id = $1", phone.device, AT, STATE.kept()
            )
            workspace = await watcher.fetchval("SELECT workspace FROM device WHERE id = $1", phone.device)
            loading = asyncio.create_task(PostgresDevices(pool).load(workspace, [phone.device]))

            async def waits():
                return loading.done() or await watcher.fetchval(WAITING) > 0

            await until(waits, why="the load to wait")
            assert not loading.done()
        (device,) = await loading
        assert device.state.newest_us == STATE.newest_us
