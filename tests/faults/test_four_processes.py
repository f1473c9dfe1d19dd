"""Four servers share a database and its partitions; two are killed in the middle of a thousand entries at once.

Of 400 entries of one person under a cap of 3, and of 600 people under a budget of 60, come exactly 3 and 60 offers.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from geo_offers.pipeline.partitions import PARTITIONS, partition_of
from tests.faults.world import CAP_A_DAY, HOOKS, administrator, assert_each_once, taken, taken_at_last, until, world
from tests.support.running import Served, serving

ENTRIES, OF_ONE, CAP, BUDGET, SERVERS, A_REQUEST = 1_000, 400, 3, 60, 4, 5
SHARE = PARTITIONS // SERVERS


def fences(first, after):
    return {"on": "enter", "fences": {"ids": [f"grid/{number}" for number in range(first, after)]}}


async def set_up(database, rows):
    """A town, its campaigns and its people, by a server that is gone again; pings by the server that takes each."""
    async with serving(database) as served, world(database, lambda: served.url) as made:
        await made.no_gaps()
        await made.fences(ENTRIES)
        await made.campaign(trigger=fences(0, OF_ONE), caps=[CAP_A_DAY | {"limit": CAP}])
        await made.campaign(trigger=fences(OF_ONE, ENTRIES), budget={"total": BUDGET, "per_day": BUDGET})
        phones = await made.phones(["one"] * OF_ONE, loose=False)
        phones += await made.phones([f"person {number}" for number in range(OF_ONE, ENTRIES)], loose=False)
        await rows.execute("""UPDATE app_user SET rhythm = '{"max":1000,"per":"day","min_gap_h":0,"quiet":[]}'""")
        await served.terminate()
    pings = [[] for _ in range(SERVERS)]
    for number, phone in enumerate(phones):
        pings[partition_of(UUID(phone.user)) // SHARE].append(phone.ping(number, named=True))
    return pings, partition_of(UUID(phones[0].user)) // SHARE


@pytest.fixture
async def servers(monkeypatch):
    """Starts the four, each with its share of the partitions; the last three are told apart by their settings alone."""
    monkeypatch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
    started = []

    async def start(database):
        for number in range(SERVERS):
            started.append(Served(database, {}))
            await again(number)
        return started

    async def again(number):
        monkeypatch.setenv("FAULTS_PARTITIONS", f"{number * SHARE}-{number * SHARE + SHARE - 1}")
        await started[number].start()

    start.again = again
    yield start
    for served in started:
        await served.kill()


async def test_a_thousand_entries_at_four_servers_with_kills_between_give_exactly_what_cap_and_budget_have(
    database, servers
):
    async with AsyncExitStack() as stack:
        rows = await stack.enter_async_context(administrator(database))
        pings, of_the_one = await set_up(database, rows)
        killed = of_the_one, (of_the_one + 2) % SERVERS  # the entries of one person take their time: a kill meets them
        running = await servers(database)
        assert await rows.fetchval("SELECT count(DISTINCT owner) FROM partition") == SERVERS
        worlds = [await stack.enter_async_context(world(database, lambda one=one: one.url)) for one in running]
        requests = [
            (made, mine[first : first + A_REQUEST])
            for made, mine in zip(worlds, pings, strict=True)
            for first in range(0, len(mine), A_REQUEST)
        ]
        sending = [asyncio.create_task(taken(*request)) for request in requests]
        for number, part in zip(killed, (8, 3), strict=True):

            async def so_far(part=part):
                return await rows.fetchval("SELECT count(*) FROM visit") >= ENTRIES // part

            await until(so_far, why=f"one visit in {part}")
            await running[number].kill()
        answered = await asyncio.gather(*sending)
        assert not all(answered), "the kills came too late to meet anything"
        for number in killed:
            await rows.execute("UPDATE partition SET owner = NULL, until = NULL WHERE id / $1 = $2", SHARE, number)
            await servers.again(number)
        assert all(await asyncio.gather(*(taken_at_last(*request) for request in requests)))

        assert await rows.fetchval("SELECT count(*) FROM visit WHERE enter_decision IS NOT NULL") == ENTRIES
        offers = "SELECT count(*) FROM offer o JOIN visit v ON v.id = o.visit WHERE split_part(o.fence, '/', 2)::int"
        assert await rows.fetchval(f"{offers} < $1", OF_ONE) == CAP
        assert await rows.fetchval(f"{offers} >= $1", OF_ONE) == BUDGET
        found = await rows.fetch("SELECT coalesce(reason, outcome) AS said, count(*) FROM decision GROUP BY 1")
        assert {row["said"]: row["count"] for row in found} == {
            "offer": CAP + BUDGET,
            "cap": OF_ONE - CAP,
            "budget": ENTRIES - OF_ONE - BUDGET,
        }
        assert [row["used"] for row in await rows.fetch("SELECT used FROM budget")] == [BUDGET, BUDGET]
        await assert_each_once(rows)
