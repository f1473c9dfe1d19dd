"""Kill -9 at moments nobody chose: phones that send until they are answered lose nothing and are told nothing twice.

FAULTS_KILLS and FAULTS_SEED say how many and which moments; `make soak` makes 200.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any

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

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
SEED = int(os.environ.get("FAULTS_SEED", "20260101"))
PEOPLE = 12
FENCES = 400
STEPS = 4  # of each person between two kills
STEP_S = (0.0, 0.25)
CAP = STEPS * KILLS  # a person and day: the last steps are over it


@dataclass(frozen=True)
class Way:
    """A lane as the run uses it: its fake, and the settings of a service that sends to it.

    A fake has `attempts` and `visible()` by the offer's id, `screens` by device, and `faults`.
    """

    fake: Callable[[], AbstractAsyncContextManager[Any]]
    settings: Callable[[Any], dict[str, Any]]


WAYS = {"webhook": Way(gateway, lambda fake: {"webhook_url": fake.url, "webhook_secret": SECRET})}


async def _answered(ask):
    """Ask until it is answered for good: the answer, and how often it was not."""
    unanswered = 0
    while True:
        try:
            answer = await ask()
        except (aiohttp.ClientError, OSError):
            unanswered += 1
            await asyncio.sleep(0.05)
            continue
        if answer.status != 503:
            return answer, unanswered
        assert int(answer.headers["Retry-After"]) >= 1
        await asyncio.sleep(0.05)  # sooner than asked, to be there when it breaks


class Walker:
    """A phone that walks from fence to fence and sends each ping until it is answered for good."""

    def __init__(self, made, phone, number, dice):
        self.made, self.phone, self.number, self.dice = made, phone, number, dice
        self.entered = []  # the fences, in order
        self.repeated = 0

    async def walk(self, steps):
        for _ in range(steps):
            await asyncio.sleep(self.dice.uniform(*STEP_S))
            fence = (self.number + len(self.entered)) % FENCES
            ping = self.phone.ping(fence, at_now())
            answer, unanswered = await _answered(lambda ping=ping: self.made.pings(self.phone.token, [ping]))
            assert answer.status == 200, answer
            assert answer.body["results"][0]["status"] in {"accepted", "late", "duplicate"}
            self.repeated += unanswered
            self.entered.append(f"grid/{fence}")


class Leaver:
    """A phone that arrives and then takes its consent back, both until they are answered."""

    def __init__(self, made, phone, fake):
        self.made, self.phone, self.fake = made, phone, fake
        self.seen = None

    async def live(self, wait_s):
        ping = self.phone.ping(0, at_now())
        await _answered(lambda: self.made.pings(self.phone.token, [ping]))
        await asyncio.sleep(wait_s)
        answer, _ = await _answered(lambda: self.made.withdraw(self.phone, "offers"))
        assert answer.status == 200, answer
        self.seen = self.sent()

    def sent(self):
        return {ident: len(self.fake.attempts[ident]) for ident in self.fake.screens[self.phone.device].values()}


async def test_random_kills_lose_nothing_and_show_nothing_twice_late_or_against_a_withdrawal(database):
    dice = random.Random(SEED)
    moments = [dice.uniform(0.05, 0.9) for _ in range(KILLS)]
    print(f"seed {SEED}, {KILLS} kills")  # noqa: T201  pytest shows it where it fails
    async with AsyncExitStack() as stack:
        fakes = {lane: await stack.enter_async_context(way.fake()) for lane, way in WAYS.items()}
        settings = {"lease_s": 1, "device_rate_per_s": 1000, "device_burst": 10_000}
        for lane, way in WAYS.items():
            settings |= way.settings(fakes[lane])
        served = await stack.enter_async_context(serving(database, **settings))
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        await made.fences(FENCES)
        await made.campaign(caps=[CAP_A_DAY | {"limit": CAP}])
        walkers, leavers = [], []
        for lane, fake in fakes.items():
            many = PEOPLE // len(fakes)
            phones = await made.phones([f"{lane} walker {n}" for n in range(many)], push=True, lane=lane)
            walkers += [Walker(made, phone, number, dice) for number, phone in enumerate(phones)]
            many = -(-KILLS // len(fakes))
            phones = await made.phones([f"{lane} leaver {n}" for n in range(many)], push=True, lane=lane)
            leavers += [Leaver(made, phone, fake) for phone in phones]

        def begin(work):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
            return task

        leaving = []
        for moment, leaver in zip(moments, leavers, strict=False):
            walking = [begin(walker.walk(STEPS)) for walker in walkers]
            leaving.append(begin(leaver.live(dice.uniform(0.0, 0.9))))
            await asyncio.sleep(moment)
            await served.kill()
            await free_partitions(rows)
            await served.start()
            await _resent(rows)
            await asyncio.wait_for(asyncio.gather(*walking), 20)
        await asyncio.wait_for(asyncio.gather(*leaving), 20)
        await asyncio.wait_for(asyncio.gather(*(walker.walk(STEPS) for walker in walkers)), 20)
        assert sum(walker.repeated for walker in walkers) > 0, "no kill met a request"

        async def sent():
            return await rows.fetchval("SELECT count(*) FROM outbox") == 0

        await until(sent, 15, why="the outbox is not empty")
        for walker in walkers:
            await _assert_walk(rows, walker)
        await assert_each_once(rows)
        for fake in fakes.values():
            _assert_at_most_one_repeat(fake)
        await _assert_shown(rows, fakes.values(), [walker.phone.user for walker in walkers])
        assert [leaver.sent() for leaver in leavers if leaver.seen is not None] == [
            leaver.seen for leaver in leavers if leaver.seen is not None
        ]


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


def _assert_at_most_one_repeat(fake):
    assert fake.faults == []
    assert max(len(times) for times in fake.attempts.values()) <= 2
    assert max(fake.visible().values()) == 1


async def _assert_shown(rows, fakes, walkers):
    """Each offer of those who stay is on a screen, once, and known to be."""
    visible = sum((fake.visible() for fake in fakes), Counter())
    offers = await rows.fetch("SELECT id, state FROM offer WHERE user_id = ANY ($1::uuid[])", walkers)
    ends = Counter((offer["state"], visible[str(offer["id"])]) for offer in offers)
    assert ends == {("accepted", 1): CAP * len(walkers)}
