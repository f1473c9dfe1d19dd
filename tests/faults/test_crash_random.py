"""Kill -9 at moments nobody chose: phones that send until they are answered lose nothing and are told nothing twice."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp

from tests.faults.world import (
    CAP_A_DAY,
    SECRET,
    administrator,
    assert_each_once,
    at_now,
    free_partitions,
    gateway,
    until,
    world,
)
from tests.support.running import serving

SEED = 20_260_101
KILLS = 10
PEOPLE = 12
FENCES = 400
CAP = 40  # a person and day


class Walker:
    """A phone that walks from fence to fence and sends each ping until it is answered for good."""

    def __init__(self, made, phone, number):
        self.made, self.phone, self.number = made, phone, number
        self.entered = []  # the fences, in order
        self.repeated = 0

    async def walk(self, over):
        while not over.is_set() and len(self.entered) < FENCES:
            fence = (self.number + len(self.entered)) % FENCES
            await self._send(self.phone.ping(fence, at_now()))
            self.entered.append(f"grid/{fence}")

    async def _send(self, ping):
        while True:
            try:
                answer = await self.made.pings(self.phone.token, [ping])
            except (aiohttp.ClientError, OSError):
                self.repeated += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status == 200:
                assert answer.body["results"][0]["status"] in {"accepted", "late", "duplicate"}
                return
            assert answer.status == 503, answer
            assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.05)  # sooner than asked, to be there when it breaks


async def test_random_kills_lose_nothing_and_show_nothing_twice(database):
    dice = random.Random(SEED)
    moments = [dice.uniform(0.05, 0.9) for _ in range(KILLS)]
    print(f"seed {SEED}: kills after {', '.join(f'{moment:.3f}' for moment in moments)} s")  # noqa: T201  pytest shows it where it fails
    async with AsyncExitStack() as stack:
        push = await stack.enter_async_context(gateway())
        served = await stack.enter_async_context(
            serving(
                database,
                lease_s=1,
                webhook_url=push.url,
                webhook_secret=SECRET,
                device_rate_per_s=1000,
                device_burst=10_000,
            )
        )
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        await made.fences(FENCES)
        await made.campaign(caps=[CAP_A_DAY | {"limit": CAP}])
        phones = await made.phones([f"walker {n}" for n in range(PEOPLE)], push=True)
        walkers = [Walker(made, phone, number) for number, phone in enumerate(phones)]
        over = asyncio.Event()
        walking = [asyncio.create_task(walker.walk(over)) for walker in walkers]
        for moment in moments:
            await asyncio.sleep(moment)
            await served.kill()
            await free_partitions(rows)
            await served.start()
            await _resent(rows)
        await until(lambda: all(len(walker.entered) > CAP for walker in walkers), 30, why="walks past the cap")
        over.set()
        await asyncio.wait_for(asyncio.gather(*walking), 20)
        assert sum(walker.repeated for walker in walkers) > 0, "no kill met a request"

        async def sent():
            return await rows.fetchval("SELECT count(*) FROM outbox") == 0

        await until(sent, 15, why="the outbox is not empty")
        for walker in walkers:
            await _assert_walk(rows, walker)
        await assert_each_once(rows)
        await _assert_delivered(rows, push)


async def _resent(rows):
    """Wait until what the last kill met in mid-send is sent again.

    There is one resend: an offer whose both sends are met by a kill is given up, and then nobody can know more of it.
    """
    met = await rows.fetch("SELECT offer FROM outbox WHERE state = 'sending' OR ambiguous")
    ids = [row["offer"] for row in met]

    async def gone():
        return await rows.fetchval("SELECT count(*) FROM outbox WHERE offer = ANY ($1::uuid[])", ids) == 0

    await until(gone, 15, why="what was being sent is not sent again")


async def _assert_walk(rows, walker):
    visits = await rows.fetch(
        "SELECT fence, left_at, enter_decision FROM visit WHERE device = $1 ORDER BY entered_at", walker.phone.device
    )
    assert [visit["fence"] for visit in visits] == walker.entered
    assert all(visit["enter_decision"] for visit in visits)
    assert all(visit["left_at"] for visit in visits[:-1])
    offers = await rows.fetchval("SELECT count(*) FROM offer WHERE user_id = $1", walker.phone.user)
    assert offers == CAP


async def _assert_delivered(rows, push):
    assert push.faults == []
    visible = push.visible()
    offers = await rows.fetch("SELECT id, state FROM offer")
    ends = Counter((offer["state"], visible[str(offer["id"])]) for offer in offers)
    assert ends == {("accepted", 1): CAP * PEOPLE}
    assert max(len(times) for times in push.attempts.values()) <= 2
    assert set(visible) == {str(offer["id"]) for offer in offers}
