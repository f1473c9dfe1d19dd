"""An offer that ends the process which sends it: it runs out, and takes no other with it."""

import contextlib
import os
from contextlib import AsyncExitStack

import aiohttp

from tests.faults.world import HOOKS, administrator, assert_each_once, free_partitions, until, world
from tests.support.gateways.webhook import gateway
from tests.support.running import serving

NEIGHBOURS = 6


async def test_an_offer_that_ends_its_process_runs_out_and_its_neighbours_are_told_once(database, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
    monkeypatch.setenv("FAULTS_POISON", "token-poison-0")
    async with AsyncExitStack() as stack:
        push = await stack.enter_async_context(gateway())
        served = await stack.enter_async_context(serving(database, lease_s=3, **push.settings))
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        await made.fences(1)
        await made.campaign()
        names = ["poison", *(f"neighbour {number}" for number in range(NEIGHBOURS))]
        phones = await made.phones(names, push=True)
        with contextlib.suppress(aiohttp.ClientError, OSError):  # it may end before it answers
            await made.pings("server", [phone.ping(0, named=True) for phone in phones])
        lives = 1

        async def all_over():
            nonlocal lives
            if served.process.returncode is not None:  # who runs the service starts it again
                await free_partitions(rows)
                await served.start()
                lives += 1
            return await rows.fetchval("SELECT count(*) FROM outbox") == 0

        await until(all_over, 25, why="the outbox is not empty")
        ends = await rows.fetch("SELECT id, user_id::text AS person, state, detail FROM offer")
        poison = next(end for end in ends if end["person"] == phones[0].user)
        assert (poison["state"], poison["detail"]) == ("ambiguous", "unanswered")
        assert lives == 3  # its first send and its one repeat
        neighbours = [end for end in ends if end is not poison]
        assert [end["state"] for end in neighbours] == ["accepted"] * NEIGHBOURS
        assert push.visible() == {str(end["id"]): 1 for end in neighbours}
        assert max(len(times) for times in push.attempts.values()) <= 2
        assert push.faults == []
        await assert_each_once(rows)
