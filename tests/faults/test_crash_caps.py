"""A cap of three holds through a kill -9 in the middle of a thousand arrivals, and a resend decides nothing twice."""

import asyncio

from tests.faults.world import (
    CAP_A_DAY,
    administrator,
    assert_each_once,
    free_partitions,
    taken,
    taken_at_last,
    until,
    world,
)
from tests.support.running import serving

FENCES = 1_000
REQUESTS = 100


async def test_a_kill_in_the_middle_and_a_resend_never_pass_the_cap(database):
    async with (
        serving(database) as served,
        world(database, lambda: served.url) as made,
        administrator(database) as rows,
    ):
        await made.no_gaps()
        await made.fences(FENCES)
        await made.campaign(caps=[CAP_A_DAY])
        phones = await made.phones(["one"] * FENCES)
        requests = [
            [phone.ping(number, named=True) for number, phone in enumerate(phones) if number % REQUESTS == request]
            for request in range(REQUESTS)
        ]
        sending = [asyncio.create_task(taken(made, pings)) for pings in requests]

        async def in_the_middle():
            return await rows.fetchval("SELECT count(*) FROM visit") >= FENCES // 4

        await until(in_the_middle, why="a quarter of the visits")
        await served.kill()
        answered = sum(await asyncio.gather(*sending))
        before = await rows.fetchval("SELECT count(*) FROM visit")
        assert answered < REQUESTS, "the kill came too late to meet anything"
        assert before < FENCES
        assert before >= answered * FENCES // REQUESTS, "answered and lost"
        await free_partitions(rows)
        await served.start()

        assert all(await asyncio.gather(*(taken_at_last(made, pings) for pings in requests)))
        assert await rows.fetchval("SELECT count(*) FROM visit") == FENCES
        assert await rows.fetchval("SELECT count(*) FROM visit WHERE enter_decision IS NULL") == 0
        assert await rows.fetchval("SELECT count(*) FROM offer") == 3
        assert await rows.fetchval("SELECT count(*) FROM reservation WHERE state < 2") == 3
        await assert_each_once(rows)
