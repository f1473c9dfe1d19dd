"""Kill -9 at moments nobody chose: phones that send until they are answered lose nothing and are told nothing twice.

Four lanes send meanwhile, and at each gateway things go wrong by the same seed. FAULTS_KILLS and FAULTS_SEED say how
many kills and which moments; `make soak` makes 200.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import aiohttp
from h2.errors import ErrorCodes

from geo_offers.clock import now_us
from geo_offers.instants import from_us
from tests.faults.world import CAP_A_DAY, administrator, assert_each_once, at_now, free_partitions, until, world
from tests.support.gateways import apns, fcm, webhook, webpush
from tests.support.gateways.common import Gateway, settings_for
from tests.support.running import serving

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
SEED = int(os.environ.get("FAULTS_SEED", "20260101"))
PEOPLE = 12
FENCES = 400
LATE = FENCES  # the fence of offers that do not live long
STEPS = 3  # of each person about a kill
WILD_STEPS = 2  # and between two
STEP_S = (0.0, 0.25)
CAP = (STEPS + WILD_STEPS) * KILLS  # a person and day: the last steps are over it
LIFE_S = (2.0, 5.0)  # it has to be set up before its end
LATE_S = 0.1  # well within the lease on a machine that is busy


@dataclass(frozen=True)
class Way:
    """A lane as the run uses it: its double, and what goes wrong there, in the double's words."""

    gateway: Callable[[], AbstractAsyncContextManager[Gateway]]
    late: Any
    """It is shown, and answered late."""
    lost: Any
    """It is shown, and never answered."""
    busy: Any
    """It is not taken, and may come back soon."""
    down: Any
    """It is not taken, and there is no knowing when it will be."""
    cut: Any
    """It is not looked at, and never answered."""
    shut: Any
    """It is not taken, whenever it comes back."""


# Of Apple's, each is of one stream alone: a connection that ends takes others with it, which nobody drew.
WAYS = {
    "webhook": Way(
        webhook.gateway,
        late=webhook.Late(LATE_S),
        lost=webhook.Lost(shown=True),
        busy=webhook.Refused(503, after_s=1),
        down=webhook.Refused(500),
        cut=webhook.Lost(shown=False),
        shut=webhook.Refused(503, after_s=1),
    ),
    "fcm": Way(
        lambda: fcm.running(fcm.Fcm("town-test")),
        late=fcm.Hang(LATE_S, taken=True),
        lost=fcm.Drop(taken=True),
        busy=fcm.Answer(503, "UNAVAILABLE", retry_after="1"),
        down=fcm.Answer(500, "INTERNAL"),
        cut=fcm.Drop(),
        shut=fcm.Answer(503, "UNAVAILABLE", retry_after="1"),
    ),
    "apns": Way(
        apns.serving,
        late=apns.slow(LATE_S),
        lost=apns.reset(ErrorCodes.CANCEL, shown=True),
        busy=apns.reset(ErrorCodes.REFUSED_STREAM),
        down=apns.goaway_unseen,
        cut=apns.reset(ErrorCodes.INTERNAL_ERROR),
        shut=apns.refusing(429, "TooManyRequests"),
    ),
    "webpush": Way(
        webpush.push_service,
        late=webpush.Late(LATE_S),
        lost=webpush.Lost(taken=True),
        busy=webpush.Answer(429, {"retry-after": "1"}),
        down=webpush.Answer(502),
        cut=webpush.Lost(taken=False),
        shut=webpush.Answer(429, {"retry-after": "1"}),
    ),
}
ALWAYS = {"late": 0.1, "lost": 0.05}
WILD = {"busy": 0.08, "down": 0.06, "cut": 0.08}
REFUSED = {"busy", "down", "shut"}


class Trouble:
    """What goes wrong at one gateway.

    There is one repeat of what was not answered: an offer of which both sends come to nothing is given up, and nobody
    can know more of it. So what keeps an offer from its phone meets it at its first coming only, and away from kills
    (while `wild`).
    """

    def __init__(self, way, fake, dice):
        self.way, self.fake, self.dice = way, fake, dice
        self.wild = False
        self.shut = set()  # addresses of which nothing is taken
        self.refused = Counter()  # by offer
        self.unanswered = set()  # offers that were shown
        self.met = Counter()

    def __call__(self, address, offer):
        kind = self._kind(address, offer)
        if kind is None:
            return None
        self.met[kind] += 1
        self.refused[offer] += kind in REFUSED
        if kind == "lost":
            self.unanswered.add(offer)
        return getattr(self.way, kind)

    def _kind(self, address, offer):
        if address in self.shut:
            return "shut"
        shares = ALWAYS | (WILD if self.wild and len(self.fake.attempts[offer]) == 1 else {})
        (kind,) = self.dice.choices([*shares, None], [*shares.values(), 1 - sum(shares.values())])
        return kind


class Person:
    """One with a phone that asks until it is answered, and has its tokens renewed when they have run out."""

    def __init__(self, made, phone):
        self.made, self.phone = made, phone
        self.repeated = 0

    async def arrive(self, number):
        ping = self.phone.ping(number, at_now())
        answer = await self.answered(lambda: self.made.pings(self.phone.token, [ping]))
        assert answer.status == 200, answer
        return answer.body

    async def answered(self, ask):
        while True:
            answer = await self._answered(ask)
            if answer.status != 401:
                return answer
            await self.renew()

    async def renew(self):
        body = {"refresh_token": self.phone.refresh}
        answer = await self._answered(lambda: self.made.call("POST", "/v1/devices/token", "", body))
        assert answer.status == 200, answer
        self.phone = replace(self.phone, token=answer.body["access_token"], refresh=answer.body["refresh_token"])

    async def _answered(self, ask):
        while True:
            try:
                answer = await ask()
            except (aiohttp.ClientError, OSError):
                self.repeated += 1
            else:
                if answer.status != 503:
                    return answer
                assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.05)  # sooner than asked, to be there when it breaks


class Walker(Person):
    """Walks from fence to fence."""

    def __init__(self, made, phone, number, dice):
        super().__init__(made, phone)
        self.number, self.dice = number, dice
        self.entered = []  # the fences, in order

    async def walk(self, steps):
        for _ in range(steps):
            await asyncio.sleep(self.dice.uniform(*STEP_S))
            fence = (self.number + len(self.entered)) % FENCES
            told = await self.arrive(fence)
            assert told["results"][0]["status"] in {"accepted", "late", "duplicate"}
            self.entered.append(f"grid/{fence}")


class Leaver(Person):
    """Comes back with new tokens, arrives, and then takes the consent back."""

    def __init__(self, made, phone, fake):
        super().__init__(made, phone)
        self.fake = fake
        self.seen = None

    async def live(self, wait_s):
        await self.renew()
        await self.arrive(0)
        await asyncio.sleep(wait_s)
        answer = await self.answered(lambda: self.made.withdraw(self.phone, "offers"))
        assert answer.status == 200, answer
        self.seen = self.sent

    @property
    def sent(self):
        return self.fake.arrivals[self.phone.address]


class Latecomer(Person):
    """Arrives for an offer that does not live long, and of which the gateway takes nothing before its end."""

    async def live(self, life_s):
        ends = from_us(now_us()) + timedelta(seconds=life_s)
        trigger = {"on": "enter", "fences": {"set": "late"}}
        await self.made.campaign(trigger=trigger, schedule={"until": ends.isoformat()})
        await self.arrive(LATE)


class Town:
    """The run: a service that is killed, its gateways and what goes wrong there, and the phones behind them."""

    def __init__(self, stack, dice, served, made, rows):
        self.stack, self.dice, self.served, self.made, self.rows = stack, dice, served, made, rows
        self.troubles, self.walkers, self.leavers, self.latecomers = [], [], [], []

    async def settle(self, fakes):
        """Give it its fences, its campaign, and people of every lane."""
        await self.made.no_gaps()
        await self.made.fences(FENCES)
        await self.made.fences(1, first=LATE, into="late")
        await self.made.campaign(caps=[CAP_A_DAY | {"limit": CAP}])
        leavers, latecomers = [], []
        for lane, fake in fakes.items():
            await self.made.credentials(fake)
            fake.trouble = Trouble(WAYS[lane], fake, self.dice)
            self.troubles.append(fake.trouble)
            phones = await self._phones(fake, "walker", PEOPLE // len(fakes))
            self.walkers += [Walker(self.made, phone, number, self.dice) for number, phone in enumerate(phones)]
            phones = await self._phones(fake, "leaver", -(-KILLS // len(fakes)))
            leavers.append([Leaver(self.made, phone, fake) for phone in phones])
            phones = await self._phones(fake, "latecomer", -(-KILLS // len(fakes)))
            latecomers.append([Latecomer(self.made, phone) for phone in phones])
            fake.trouble.shut = {phone.address for phone in phones}
        self.leavers = [leaver for each in zip(*leavers, strict=True) for leaver in each]
        self.latecomers = [latecomer for each in zip(*latecomers, strict=True) for latecomer in each]

    async def _phones(self, fake, kind, count):
        return await self.made.phones([f"{fake.lane} {kind} {n}" for n in range(count)], gateway=fake)

    @property
    def staying(self):
        return [walker.phone.user for walker in self.walkers]

    @property
    def shown(self):
        return {trouble.fake.lane: sum(trouble.fake.visible().values()) for trouble in self.troubles}

    def begin(self, work):
        task = asyncio.create_task(work)
        self.stack.callback(task.cancel)
        return task

    async def walk(self, steps):
        async with asyncio.timeout(30):
            await asyncio.gather(*(walker.walk(steps) for walker in self.walkers))

    async def live_through_kills(self):
        leaving = []
        for number, (leaver, latecomer) in enumerate(zip(self.leavers[:KILLS], self.latecomers, strict=False)):
            walking = self.begin(self.walk(STEPS))
            leaving.append(self.begin(leaver.live(self.dice.uniform(0.0, 0.9))))
            await asyncio.sleep(self.dice.uniform(0.05, 0.9))
            await self.served.kill()
            await free_partitions(self.rows)
            await self.served.start()
            await self._resent()
            await walking
            self._be_wild(True)
            await latecomer.live(self.dice.uniform(*LIFE_S))
            await self.walk(WILD_STEPS)
            self._be_wild(False)
            await until(self._calm, 15, why="what a gateway left open is not sent again")
            if (number + 1) % 20 == 0:
                print(f"{number + 1} kills, shown {self.shown}")  # noqa: T201  a soak takes half an hour
        await asyncio.wait_for(asyncio.gather(*leaving), 20)
        await self.walk(STEPS)

        async def sent():
            return await self.rows.fetchval("SELECT count(*) FROM outbox") == 0

        await until(sent, 40, why="the outbox is not empty")

    def _be_wild(self, wild):
        for trouble in self.troubles:
            trouble.wild = wild

    async def _in_doubt(self):
        """Offers of those who stay of which a send is under way, or was and got no answer."""
        return await self.rows.fetch(
            "SELECT b.offer FROM outbox b JOIN offer o ON o.id = b.offer"
            " WHERE o.user_id = ANY ($1) AND (b.state = 'sending' OR b.ambiguous)",
            self.staying,
        )

    async def _calm(self):
        return not await self._in_doubt()

    async def _resent(self):
        """Wait until what the last kill met in mid-send is sent again (see `Trouble`), while others are being sent."""
        ids = [row["offer"] for row in await self._in_doubt()]

        async def gone():
            return await self.rows.fetchval("SELECT count(*) FROM outbox WHERE offer = ANY ($1)", ids) == 0

        await until(gone, 15, why="what was being sent is not sent again")


async def test_random_kills_lose_nothing_and_show_nothing_twice_late_or_against_a_withdrawal(database, tmp_path):
    dice, began_s = random.Random(SEED), time.monotonic()
    print(f"seed {SEED}, {KILLS} kills")  # noqa: T201  pytest shows it where it fails
    async with AsyncExitStack() as stack:
        fakes = {lane: await stack.enter_async_context(way.gateway()) for lane, way in WAYS.items()}
        settings = {"lease_s": 1, "device_rate_per_s": 1000, "device_burst": 10_000}
        settings |= settings_for(fakes.values(), tmp_path)
        served = await stack.enter_async_context(serving(database, **settings))
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        town = Town(stack, dice, served, made, rows)
        await town.settle(fakes)
        await town.live_through_kills()
        met = {lane: dict(fake.trouble.met) for lane, fake in fakes.items()}
        print(f"shown: {town.shown}; trouble: {met}; {time.monotonic() - began_s:.0f} s")  # noqa: T201
        assert sum(walker.repeated for walker in town.walkers) > 0, "no kill met a request"
        for walker in town.walkers:
            await _assert_walk(rows, walker)
        await assert_each_once(rows)
        offers = {
            str(row["id"]): row
            for row in await rows.fetch("SELECT id, user_id, lane, state, detail, expires_at FROM offer")
        }
        for trouble in town.troubles:
            _assert_sent_no_more_than_twice_and_not_late(trouble, offers)
        _assert_shown(town, offers)
        _assert_never_shown([one.phone.user for one in town.latecomers], offers, fakes.values())
        assert [leaver.sent for leaver in town.leavers if leaver.seen is not None] == [
            leaver.seen for leaver in town.leavers if leaver.seen is not None
        ]
        assert any(leaver.seen for leaver in town.leavers), "nobody left who had been sent something"


async def _assert_walk(rows, walker):
    visits = await rows.fetch(
        "SELECT fence, left_at, enter_decision FROM visit WHERE device = $1 ORDER BY entered_at", walker.phone.device
    )
    assert [visit["fence"] for visit in visits] == walker.entered
    assert all(visit["enter_decision"] for visit in visits)
    assert all(visit["left_at"] for visit in visits[:-1])
    offers = await rows.fetchval("SELECT count(*) FROM offer WHERE user_id = $1", walker.phone.user)
    assert offers == CAP


def _assert_sent_no_more_than_twice_and_not_late(trouble, offers):
    """What the gateway refused was not sent."""
    fake = trouble.fake
    assert fake.faults == []
    thrice = {offer: times for offer, times in fake.attempts.items() if len(times) - trouble.refused[offer] > 2}
    assert thrice == {}, fake.lane
    assert [offer for offer, times in fake.visible().items() if times > 1] == []
    assert [offer for offer, times in fake.attempts.items() if max(times) >= offers[offer]["expires_at"]] == []


def _assert_shown(town, offers):
    """Each offer of those who stay is on a screen, once, and known to be: save where no answer ever came."""
    visible = sum((trouble.fake.visible() for trouble in town.troubles), Counter())
    unanswered = set().union(*(trouble.unanswered for trouble in town.troubles))
    staying = {offer: row for offer, row in offers.items() if str(row["user_id"]) in town.staying}
    assert len(staying) == CAP * len(town.walkers)
    assert [offer for offer in staying if not visible[offer]] == []
    open_ends = {offer: row for offer, row in staying.items() if row["state"] != "accepted"}
    assert {offer: row for offer, row in open_ends.items() if offer not in unanswered} == {}
    assert {row["state"] for row in open_ends.values()} <= {"ambiguous"}


def _assert_never_shown(latecomers, offers, fakes):
    """Each offer that its gateway never took has expired, and nothing of it is on a screen."""
    visible = sum((fake.visible() for fake in fakes), Counter())
    theirs = {offer: row["state"] for offer, row in offers.items() if str(row["user_id"]) in latecomers}
    assert set(theirs.values()) == {"expired"}
    assert len(theirs) == KILLS
    assert not visible.keys() & theirs.keys()
