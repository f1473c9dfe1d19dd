"""What the database cannot do now is Unavailable, whatever it says of it; what is wrong stays an error of ours."""

import asyncpg
import pytest

from geo_offers.errors import Unavailable
from geo_offers.storage.pool import open_pool, transaction

UNABLE = {
    "disk_full": "53100",
    "out_of_memory": "53200",
    "too_many_connections": "53300",
    "read_only_sql_transaction": "25006",
    "idle_in_transaction_session_timeout": "25P03",
    "query_canceled": "57014",
    "admin_shutdown": "57P01",
    "cannot_connect_now": "57P03",
    "deadlock_detected": "40P01",
    "lock_not_available": "55P03",
}


async def refused(database, state):
    async with open_pool(database.app_dsn, size=1) as pool:
        try:
            async with transaction(pool, []) as connection:
                await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")
        finally:
            async with transaction(pool, []) as connection:  # the connection is good for the next
                assert await connection.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("state", UNABLE.values(), ids=UNABLE)
async def test_what_the_database_cannot_do_now_may_be_sent_again(database, state):
    with pytest.raises(Unavailable):
        await refused(database, state)


async def test_a_statement_that_is_wrong_is_no_want_of_a_database(database):
    with pytest.raises(asyncpg.CheckViolationError):
        await refused(database, "23514")
