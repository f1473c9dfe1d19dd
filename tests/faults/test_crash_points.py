"""Kill -9 at each named point between a ping and its offer's record: nothing lost, nothing visible twice."""

import asyncio
import os
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio

from tests.faults.world import HOOKS, administrator, assert_each_once, at_now, free_partitions, until, world
from tests.support.databases import fresh_database
from tests.support.gateways.webhook import Webhook, gateway
from tests.support.running import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
PEOPLE = 3
POINTS = (
    "written, not committed",
    "committed, not answered",
    "marked as being sent",
    "bytes left, no answer",
    "accepted, not recorded",
    "recorded",
)
# Where the death may come between a send and its record; of three sends one may be recorded and the others not.
MOST_ATTEMPTS = {"bytes left, no answer": {2}, "accepted, not recorded": {2}, "recorded": {1, 2}}


class House:
    """One service that dies and comes back, and the gateway that sees it all."""

    def __init__(self, served, made, rows, push, kill_file):
        self.served, self.made, self.rows, self.push = served, made, rows, push
        self._kill_file = kill_file

    def arm(self, point):
        self._kill_file.write_text(point)

    def dead(self):
        return self.served.process.returncode is not None

    async def come_back(self):
        self.arm("")
        await free_partitions(self.rows)
        await self.served.start()

    async def offers(self, users):
        return await self.rows.fetch("SELECT id, state FROM offer WHERE user_id = ANY ($1::uuid[])", users)

    async def settled(self, users, count):
        async def done():
            found = await self.offers(users)
            left = await self.rows.fetchval("SELECT count(*) FROM outbox")
            return len(found) >= count and left == 0

        await until(done, 15, why="the outbox is not empty")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server, tmp_path_factory):
    kill_file = tmp_path_factory.mktemp("faults") / "kill"
    kill_file.write_text("")
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
        patch.setenv("FAULTS_KILL_FILE", str(kill_file))
        database = await stack.enter_async_context(fresh_database(postgres_server))
        push = await stack.enter_async_context(gateway())
        served = await stack.enter_async_context(serving(database, lease_s=3, **push.settings))
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        await made.fences(4)
        await made.campaign()
        yield House(served, made, rows, push, kill_file)


async def _send(house, pings):
    """The answer, or None where the server died before it gave one."""
    try:
        return await house.made.pings("server", pings)
    except (aiohttp.ClientError, OSError):
        return None


def _kill_when_it_arrives(house):
    async def kill(_ident):
        house.push.before_answer = None
        house.served.process.kill()

    house.push.before_answer = kill


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_loses_no_offer_and_shows_none_twice(house, point):
    phones = await house.made.phones([f"{point} {n}" for n in range(PEOPLE)], push=True)
    users = [phone.user for phone in phones]
    at = at_now()
    pings = [phone.ping(0, at, named=True) for phone in phones]
    if point == "bytes left, no answer":
        _kill_when_it_arrives(house)
    else:
        house.arm(point)
    first = await _send(house, pings)
    await until(house.dead, why=f"the process did not die at {point!r}")
    before = len(await house.offers(users))
    assert before == (0 if point == "written, not committed" else PEOPLE)
    assert first is None or {one["status"] for one in first.body["results"]} == {"accepted"}

    await house.come_back()
    again = await house.made.pings("server", pings)
    assert again.status == 200
    assert {one["status"] for one in again.body["results"]} <= {"accepted", "late", "duplicate"}
    assert len(again.body["offers"]) == PEOPLE - before
    await house.settled(users, PEOPLE)
    assert await house.rows.fetchval("SELECT count(*) FROM visit WHERE user_id = ANY ($1::uuid[])", users) == PEOPLE
    await assert_each_once(house.rows)
    _assert_visible_once(house.push, await house.offers(users), point)


def _assert_visible_once(push: Webhook, offers, point):
    assert push.faults == []
    assert len(offers) == PEOPLE
    assert {offer["state"] for offer in offers} == {"accepted"}
    visible = push.visible()
    assert [visible[str(offer["id"])] for offer in offers] == [1] * PEOPLE
    most = max(len(push.attempts[str(offer["id"])]) for offer in offers)
    assert most in MOST_ATTEMPTS.get(point, {1})


async def test_a_server_that_was_killed_is_followed_by_the_next_without_help(house):
    phone = (await house.made.phones(["patient"], push=True))[0]
    await house.served.kill()
    await asyncio.wait_for(house.served.start(), 10)  # the lease of the dead one's partitions runs out
    answer = await house.made.pings(phone.token, [phone.ping(1)])
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]
    await house.settled([phone.user], 1)
    assert house.push.faults == []
