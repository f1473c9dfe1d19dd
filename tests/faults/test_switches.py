"""Two servers share a database and its partitions: what is switched off beside one of them is silent at both."""

import os
import sys
import uuid
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack

import pytest

from geo_offers.pipeline.partitions import PARTITIONS, partition_of
from tests.faults.world import HOOKS, administrator, until, world
from tests.support.running import serving, without_our_settings

SILENCES = {"campaign": "not_live", "store": "not_live", "workspace": "kill_switch", "all": "kill_switch"}
HALF = PARTITIONS // 2
STORE = "/v1/stores/grid%2F0"  # the fence has no store: it counts as its own


@pytest.fixture
async def two(database, monkeypatch):
    """Both servers, each with its half of the partitions and the phones of some people; one fence, its store."""
    async with serving(database) as served, world(database, lambda: served.url) as made:
        await made.no_gaps()
        await made.fences(1)
        await made.good("PUT", STORE, "manager", {"name": "Main"})
        campaign = await made.campaign()
        phones = [[], []]
        while min(map(len, phones)) < 2 * len(SILENCES):
            (phone,) = await made.phones([None])
            phones[partition_of(uuid.UUID(phone.user)) // HALF].append(phone)
        await served.terminate()
    monkeypatch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
    servers = []
    async with AsyncExitStack() as stack:
        for number in range(2):
            monkeypatch.setenv("FAULTS_PARTITIONS", f"{number * HALF}-{number * HALF + HALF - 1}")
            servers.append(await stack.enter_async_context(serving(database)))
        yield campaign, servers, phones


async def turn(database, made, which, campaign, *, off):
    """Turn a switch by the first server, the installation's beside both."""
    move = "pause" if off else "resume"
    if which == "all":
        settings = without_our_settings() | {"GEO_OFFERS_DATABASE_URL": database.app_dsn}
        arguments = (sys.executable, "-m", "geo_offers", move, "--all")
        process = await create_subprocess_exec(*arguments, env=settings, stdout=PIPE)
        await process.communicate()
        assert process.returncode == 0
    elif which == "workspace":
        await made.good("PATCH", "/v1/workspace", "manager", {"paused": off})
    elif which == "store":
        await made.good("POST", f"{STORE}/{move}", "manager")
    else:
        await made.good("POST", f"/v1/campaigns/{campaign}/{move}", "manager")


async def test_a_switch_at_one_server_silences_the_next_arrival_at_both_and_ends_what_waits_of_both(database, two):
    campaign, servers, phones = two
    async with (
        administrator(database) as rows,
        world(database, lambda: servers[0].url) as first,
        world(database, lambda: servers[1].url) as second,
    ):
        for which, reason in SILENCES.items():
            waiting = [(made, own.pop()) for made, own in zip((first, second), phones, strict=True)]
            coming = [(made, own.pop()) for made, own in zip((first, second), phones, strict=True)]
            answers = [await made.pings(phone.token, [phone.ping(0)]) for made, phone in waiting]
            waits = [uuid.UUID(offer["id"]) for answer in answers for offer in answer.body["offers"]]
            assert len(waits) == 2

            async def both(found, waits=waits):
                return await rows.fetchval(f"SELECT count(*) FROM {found} = ANY ($1)", waits) == 2

            parked = "outbox WHERE state = 'due' AND token > 0 AND due > clock_timestamp() AND offer"
            await until(lambda parked=parked, both=both: both(parked), why="nobody listens to either offer")
            await turn(database, first, which, campaign, off=True)
            for made, phone in reversed(coming):
                answer = await made.pings(phone.token, [phone.ping(0)])
                assert [edge["type"] for edge in answer.body["transitions"]] == ["enter"]
                assert answer.body["offers"] == []
            ended = f"offer WHERE state = 'cancelled' AND detail = '{reason}' AND id"
            await until(lambda ended=ended, both=both: both(ended), why="what waited is cancelled")
            said = await rows.fetch("SELECT reason FROM decision ORDER BY created_at DESC LIMIT 2")
            assert [row["reason"] for row in said] == [reason, reason]
            await turn(database, first, which, campaign, off=False)
