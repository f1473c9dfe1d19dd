"""Gateways that are down, slow or strict for minutes of simulated time: how many sends a second they see of it.

The loop's clock jumps to the next timer whenever nothing else is to be done, and the outbox's time goes with it.
"""

import asyncio
import random
import selectors
from collections import Counter
from contextlib import asynccontextmanager
from math import inf

import pytest

from geo_offers.errors import Unavailable
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.lanes import Accepted, Ambiguous, Later, TokenDead, TooLate, Transient
from geo_offers.pipeline.outbox import UNDER_WAY_S, Taken
from geo_offers.pipeline.throttle import SPREAD_S

ANSWERS_S = 0.02
HANGS_S = 5.0
CONCURRENCY = 32
OFFERS = 12  # more than open a breaker, and fewer than half of the slots
DOWN = Transient("http 503")
DOWN_FOR_A_WHILE = Transient("http 503", asked_s=20.0)  # with Retry-After


class JumpingSelector(selectors.DefaultSelector):
    """Does not wait: tells how long it would have."""

    def __init__(self, waited):
        super().__init__()
        self._waited = waited

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing will ever happen again"
            self._waited(timeout)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self, outbox):
        super().__init__(JumpingSelector(self._wait))
        self._outbox = outbox
        self._now = 0.0
        self._started_us = outbox.now_us

    def time(self):
        return self._now

    def hold_up(self, seconds):
        """Let time go by with nothing done."""
        self._wait(seconds)

    def _wait(self, seconds):
        self._now += max(seconds, 1e-6)
        self._outbox.now_us = self._started_us + round(self._now * 1e6)


class Gateway:
    """A lane whose scopes are the workspaces; `down` says which of them answer with `refusal` just now."""

    name, repeats = "webhook", False

    def __init__(
        self,
        outbox,
        *,
        rate_per_s=inf,
        down=lambda _workspace, _now: False,
        refusal=DOWN,
        concurrency=CONCURRENCY,
    ):
        self.rate_per_s, self.concurrency = rate_per_s, concurrency
        self._outbox, self._down, self._refusal = outbox, down, refusal
        self.calls = []  # second, workspace, whether it was taken
        self.too_late = 0

    def scope(self, message):
        return str(message.workspace)

    async def send(self, message, start_by):
        if message.expires_us - self._outbox.now_us < 1_000_000:
            self.too_late += 1
            return TooLate()
        now = asyncio.get_running_loop().time()
        down = self._down(message.workspace, now)
        self.calls.append((int(now), message.workspace, not down))
        await asyncio.sleep(ANSWERS_S)
        return self._refusal if down else Accepted()

    async def close(self):
        pass

    def seconds(self, *, taken):
        """How many calls each second saw."""
        return Counter(second for second, _, was in self.calls if was is taken)


class Watch:
    """An observer that keeps how many scopes were held."""

    def __init__(self):
        self.open = 0

    def counted(self, lane, outcome):
        pass

    def delivered(self, workspace, offer, lane, outcome, detail=None):
        pass

    def under_way(self, workspace, offer, lane, step):
        pass

    def oldest_due(self, lane, age_s):
        pass

    def breakers(self, lane, opened):
        self.open = max(self.open, opened)


def simulate(outbox, work):
    loop = JumpingLoop(outbox)
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()


@asynccontextmanager
async def dispatching(outbox, gateway):
    watch = Watch()
    dispatcher = Dispatcher(outbox, [gateway], watch, jitter=random.Random(7).random)
    dispatcher.start()
    try:
        yield watch
    finally:
        await dispatcher.stop()


async def empty(outbox):
    while any(record.queued for record in outbox.records.values()):
        await asyncio.sleep(0.1)


def send_a_thousand(world, gateway):
    """Offers of one workspace, all of them accepted in the end; after how many seconds."""
    took_s = []

    async def work():
        first = await world.put(expires_s=60)
        for _ in range(999):
            await world.put(expires_s=60, beside=first)
        async with dispatching(world.outbox, gateway):
            await empty(world.outbox)
            took_s.append(asyncio.get_running_loop().time())

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 1000}
    return took_s[0]


def states(outbox):
    return Counter(record.offer_state for record in outbox.records.values())


@pytest.mark.parametrize("refusal", [DOWN, DOWN_FOR_A_WHILE], ids=["without a word", "asking for 20 s"])
def test_a_gateway_that_is_down_for_a_minute_is_not_stormed_when_it_returns(new_memory_world, refusal):
    world = new_memory_world()
    down_s = (5.0, 65.0)
    gateway = Gateway(world.outbox, down=lambda _workspace, now: down_s[0] <= now < down_s[1], refusal=refusal)

    async def work():
        first = await world.put(expires_s=600)
        async with dispatching(world.outbox, gateway) as watch:
            for _ in range(700):  # 10 a second, from before the outage to after it
                await world.put(expires_s=600, beside=first)
                await asyncio.sleep(0.1)
            await empty(world.outbox)
            assert watch.open == 1

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 701}
    refused = gateway.seconds(taken=False)
    assert sum(count for second, count in refused.items() if second < 7) <= CONCURRENCY
    assert all(count == 1 for second, count in refused.items() if second >= 7)  # one try each time
    assert sum(refused.values()) <= CONCURRENCY + 6
    waited = 10 * (down_s[1] - down_s[0])
    assert max(gateway.seconds(taken=True).values()) <= 2 * waited / SPREAD_S


@pytest.mark.parametrize("refusal", [DOWN_FOR_A_WHILE, Later(20.0)], ids=["down", "busy for each"])
def test_what_was_refused_together_does_not_come_back_together(new_memory_world, refusal):
    world = new_memory_world()
    gateway = Gateway(world.outbox, down=lambda _workspace, now: now < 1.0, refusal=refusal, concurrency=1_000)

    async def work():
        first = await world.put(expires_s=600)
        for _ in range(499):
            await world.put(expires_s=600, beside=first)
        async with dispatching(world.outbox, gateway):
            await empty(world.outbox)

    simulate(world.outbox, work)
    refused, taken = gateway.seconds(taken=False), gateway.seconds(taken=True)
    assert refused[0] >= 200  # a batch at least was under way at once
    assert all(second >= 20 for second in taken)
    assert max(taken.values()) <= 2 * 500 / SPREAD_S


def test_what_a_gateway_refuses_for_ten_minutes_expires_as_rows_and_nothing_of_it_is_sent_late(new_memory_world):
    world = new_memory_world()
    gateway = Gateway(world.outbox, down=lambda _workspace, now: now < 600)

    async def work():
        first = await world.put(expires_s=120)
        async with dispatching(world.outbox, gateway):
            for _ in range(599):
                await asyncio.sleep(1)
                await world.put(expires_s=120, beside=first)
            await empty(world.outbox)

    simulate(world.outbox, work)
    ends = states(world.outbox)
    assert set(ends) == {"accepted", "expired"}
    assert ends["expired"] >= 470  # whose two minutes lay within the ten
    assert {record.slot for record in world.outbox.records.values() if record.offer_state == "expired"} == {2}
    assert sum(gateway.seconds(taken=False).values()) <= CONCURRENCY + 16  # ten to open it, then a try a minute
    assert max(gateway.seconds(taken=True).values()) <= 2 * ends["accepted"] / SPREAD_S


def test_a_scope_in_trouble_holds_no_other(new_memory_world):
    world = new_memory_world()
    broken = set()
    gateway = Gateway(world.outbox, down=lambda workspace, _now: workspace in broken)

    async def work():
        bad, good = await world.put(expires_s=60), await world.put(expires_s=60)
        broken.add(bad.workspace)
        fine = [good]
        for _ in range(500):
            await world.put(expires_s=60, beside=bad)
        async with dispatching(world.outbox, gateway):
            for _ in range(50):
                fine.append(await world.put(expires_s=60, beside=good))
                await asyncio.sleep(0.5)
                assert all(world.record(case).offer_state == "accepted" for case in fine[:-3])
            await empty(world.outbox)
        assert all(world.record(case).offer_state == "accepted" for case in fine)

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 51, "expired": 501}
    assert sum(gateway.seconds(taken=False).values()) <= CONCURRENCY + 6


class HangingGateway(Gateway):
    """Of the scopes that are down nothing is heard."""

    async def send(self, message, start_by):
        if not self._down(message.workspace, asyncio.get_running_loop().time()):
            return await super().send(message, start_by)
        await asyncio.sleep(HANGS_S)
        return Ambiguous("TimeoutError")


def test_a_scope_that_hangs_holds_no_other_before_its_breaker_has_opened(new_memory_world):
    world = new_memory_world()
    hanging = set()
    gateway = HangingGateway(world.outbox, down=lambda workspace, _now: workspace in hanging)
    waited = []

    async def work():
        bad, good = await world.put(expires_s=60), await world.put(expires_s=60)
        hanging.add(bad.workspace)
        for _ in range(500):
            await world.put(expires_s=60, beside=bad)
        async with dispatching(world.outbox, gateway) as watch:
            await asyncio.sleep(0.5)  # by now the scope has what it can get
            while asyncio.get_running_loop().time() < HANGS_S - 1:
                case, began = await world.put(expires_s=60, beside=good), asyncio.get_running_loop().time()
                while world.record(case).offer_state != "accepted":
                    await asyncio.sleep(0.05)
                waited.append(asyncio.get_running_loop().time() - began)
            assert watch.open == 0

    simulate(world.outbox, work)
    assert len(waited) > 2
    assert max(waited) < 1.5


def test_a_scope_alone_with_a_backlog_has_half_of_the_lane_and_is_claimed_once(new_memory_world):
    world = new_memory_world()
    gateway = Gateway(world.outbox)
    took_s = send_a_thousand(world, gateway)
    assert took_s <= 1000 / (CONCURRENCY / 2) * ANSWERS_S * 1.2
    assert sum(record.token for record in world.outbox.records.values()) <= 1000 + CONCURRENCY


def test_what_is_over_the_rate_is_sent_at_the_rate_and_seldom_touched_before(new_memory_world):
    world = new_memory_world()
    gateway = Gateway(world.outbox, rate_per_s=50.0)
    took_s = send_a_thousand(world, gateway)
    seen = gateway.seconds(taken=True)
    assert max(seen.values()) <= 60  # a second's, and what may leave at once
    assert took_s <= 1000 / 50 * 1.1
    assert sum(record.token for record in world.outbox.records.values()) <= 3 * 1000


def test_a_token_that_is_registered_anew_while_it_dies_is_another_one_and_stays(new_memory_world):
    world, left = new_memory_world(), []

    class Forgetful(Gateway):
        async def send(self, message, start_by):
            await asyncio.sleep(ANSWERS_S)
            await world.register_token(case, message.push_token)
            return TokenDead()

    async def work():
        nonlocal case
        case = await world.put()
        async with dispatching(world.outbox, Forgetful(world.outbox)):
            while (await world.row(case)).lane == "webhook":
                await asyncio.sleep(0.1)
        left.append(await world.push_token(case))

    case = None
    simulate(world.outbox, work)
    assert left == ["token-1"]


class SlowOutbox:
    """An outbox whose calls take as many seconds as told; counts how many are asked at once."""

    def __init__(self, inner, **seconds):
        self._inner, self._seconds = inner, seconds
        self.asked = Counter()
        self.most_asked = 0

    def __getattr__(self, name):
        good = getattr(self._inner, name)

        async def slow(*given):
            self.asked[name] += 1
            self.most_asked = max(self.most_asked, self.asked.total())
            await asyncio.sleep(self._seconds[name])
            self.asked[name] -= 1
            return await good(*given)

        return slow if name in self._seconds else good


class CountingGateway(Gateway):
    """Counts what is under way; its sends are all of one scope, which has no other beside it."""

    def __init__(self, outbox, **named):
        super().__init__(outbox, **named)
        self.under_way = self.most_under_way = 0

    def scope(self, message):
        return self.name

    async def send(self, message, start_by):
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await super().send(message, start_by)
        finally:
            self.under_way -= 1


def test_in_a_backlog_the_next_are_looked_at_while_the_last_are_sent_and_recorded(new_memory_world):
    world = new_memory_world()
    outbox, gateway = SlowOutbox(world.outbox, take=0.02, finish=0.01), CountingGateway(world.outbox)

    async def work():
        first = await world.put(expires_s=60)
        for _ in range(999):
            await world.put(expires_s=60, beside=first)
        async with dispatching(outbox, gateway):
            await empty(world.outbox)

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 1000}
    assert outbox.most_asked > 1
    assert gateway.most_under_way <= CONCURRENCY
    assert sum(record.token for record in world.outbox.records.values()) == 1000  # none was claimed in vain


def test_an_offer_that_comes_while_a_record_is_written_does_not_wait_for_it(new_memory_world):
    world = new_memory_world()
    outbox, gateway = SlowOutbox(world.outbox, finish=5.0), CountingGateway(world.outbox)

    async def work():
        dispatcher = Dispatcher(outbox, [gateway], Watch(), sweep_s=60.0)
        first = await world.put()
        dispatcher.start()
        while not outbox.asked["finish"]:
            await asyncio.sleep(0.01)
        await world.put(beside=first)
        dispatcher.wake()
        await asyncio.sleep(0.01)
        assert outbox.asked["finish"] == 1
        assert len(gateway.calls) == 2
        await empty(world.outbox)
        await dispatcher.stop()

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 2}


def test_a_slot_that_becomes_free_while_a_record_is_written_is_used(new_memory_world):
    world = new_memory_world()
    outbox, waited_s = SlowOutbox(world.outbox, finish=5.0), []

    class Slower(Gateway):
        """The first answer comes at once, the second soon, all others late."""

        async def send(self, message, start_by):
            self.calls.append(message.offer)
            await asyncio.sleep({1: 0.02, 2: 0.6}.get(len(self.calls), 7.0))
            return Accepted()

    async def work():
        gateway = Slower(world.outbox, concurrency=4)
        gateway.scope = lambda _message: gateway.name
        dispatcher = Dispatcher(outbox, [gateway], Watch(), jitter=lambda: 0.5)
        first = await world.put()
        dispatcher.start()
        while not outbox.asked["finish"]:
            await asyncio.sleep(0.01)
        for _ in range(4):  # all slots
            await world.put(beside=first)
        dispatcher.wake()
        await asyncio.sleep(0.2)
        assert len(gateway.calls) == 5
        await world.put(beside=first)
        dispatcher.wake()
        began = asyncio.get_running_loop().time()
        while len(gateway.calls) < 6:
            await asyncio.sleep(0.01)
        waited_s.append(asyncio.get_running_loop().time() - began)
        await dispatcher.stop()

    simulate(world.outbox, work)
    assert waited_s[0] < 1


@pytest.mark.parametrize("which", [1, 2], ids=["the loop", "its helper"])
def test_what_is_looked_at_as_the_lane_stops_is_put_back_and_not_left_as_being_sent(new_memory_world, which):
    world = new_memory_world()
    looks = []

    class LateAnswer:
        """One look's answer comes after the time that a stop gives to sends."""

        def __getattr__(self, name):
            return getattr(world.outbox, name)

        async def take(self, *given):
            await asyncio.sleep(0.01)
            looks.append(given)
            mine, taken = len(looks), await world.outbox.take(*given)
            if mine == which:
                await asyncio.sleep(9)
            return taken

    async def work():
        gateway = CountingGateway(world.outbox, concurrency=8)
        dispatcher = Dispatcher(LateAnswer(), [gateway], Watch(), jitter=random.Random(7).random)
        first = await world.put()
        for _ in range(7):
            await world.put(beside=first)
        dispatcher.start()
        await asyncio.sleep(0.5)
        await dispatcher.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    simulate(world.outbox, work)
    assert {record.state for record in world.outbox.records.values() if record.queued} == {"due"}


class Altered:
    """An outbox of which some calls are another's."""

    def __init__(self, inner, **calls):
        self._inner, self._calls = inner, calls

    def __getattr__(self, name):
        return self._calls.get(name) or getattr(self._inner, name)


def test_what_a_look_has_found_too_long_ago_is_looked_at_again_before_it_is_sent(new_memory_world):
    world, looks = new_memory_world(), []
    gateway = Gateway(world.outbox)

    async def take(*given):
        taken = await world.outbox.take(*given)
        looks.append(taken)
        if len(looks) == 1:
            await world.withdraw(gone, "offers")
            await asyncio.sleep(3)
        return taken

    async def work():
        nonlocal gone, stays
        gone = await world.put(expires_s=60)
        stays = await world.put(expires_s=60, beside=gone)
        async with dispatching(Altered(world.outbox, take=take), gateway):
            await empty(world.outbox)

    gone = stays = None
    simulate(world.outbox, work)
    assert [ready.claim.offer for ready in looks[0].looked.ready] == [gone.offer, stays.offer]
    assert [world.record(each).offer_state for each in (gone, stays)] == ["cancelled", "accepted"]
    assert len(gateway.calls) == 1


def test_a_database_that_is_slow_by_the_row_is_asked_for_fewer_until_they_can_be_sent(new_memory_world):
    world, asked = new_memory_world(), []

    async def take(lane, limit, lease_s):
        asked.append(limit)
        taken = await world.outbox.take(lane, limit, lease_s)
        await asyncio.sleep(len(taken.claims))  # one second a row; a look is good for 2.5
        return taken

    async def work():
        first = await world.put(expires_s=600)
        for _ in range(15):
            await world.put(expires_s=600, beside=first)
        async with dispatching(Altered(world.outbox, take=take), Gateway(world.outbox)):
            await empty(world.outbox)

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 16}
    assert min(asked) <= 2 < max(asked)


def test_what_is_over_is_recorded_before_the_next_stranded_row_is_looked_at(new_memory_world):
    world, calls = new_memory_world(), []

    async def recheck(claims, lease_s):
        calls.append("look")
        return await world.outbox.recheck(claims, lease_s)

    async def finish(settlements):
        calls.append("record")
        return await world.outbox.finish(settlements)

    async def work():
        first = await world.put(expires_s=15)
        for _ in range(19):
            await world.put(expires_s=15, beside=first)
        await world.outbox.take("webhook", 200, 10.0)  # and dies
        await asyncio.sleep(16)
        async with dispatching(Altered(world.outbox, recheck=recheck, finish=finish), Gateway(world.outbox)):
            await empty(world.outbox)

    simulate(world.outbox, work)
    assert states(world.outbox) == {"expired": 20}
    assert calls == ["look", "record"] * 20


def test_what_is_claimed_and_could_not_be_judged_is_looked_at_again_at_once(new_memory_world):
    world = new_memory_world()
    gateway = Gateway(world.outbox)

    async def take(*given):
        return Taken((await world.outbox.take(*given)).claims)

    async def work():
        first = await world.put(expires_s=60)
        for _ in range(9):
            await world.put(expires_s=60, beside=first)
        async with dispatching(Altered(world.outbox, take=take), gateway):
            await empty(world.outbox)

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 10}
    assert {record.token for record in world.outbox.records.values()} == {1}


def test_a_database_that_goes_away_between_single_looks_leaves_nothing_as_being_sent(new_memory_world):
    world, looks = new_memory_world(), []

    async def take(*_given):
        raise RuntimeError("planted")

    async def recheck(claims, lease_s):
        looked = await world.outbox.recheck(claims, lease_s)
        looks.append(claims)
        if len(looks) == 1:
            raise RuntimeError("planted")
        if len(looks) == 3:
            raise Unavailable("away")
        return looked

    async def work():
        first = await world.put(expires_s=60)
        for _ in range(4):
            await world.put(expires_s=60, beside=first)
        async with dispatching(Altered(world.outbox, take=take, recheck=recheck), Gateway(world.outbox)):
            await empty(world.outbox)

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 5}
    assert not any(record.ambiguous for record in world.outbox.records.values())


@pytest.mark.parametrize("look_s", [0.0, 2.0])
def test_nothing_may_leave_after_who_withdraws_has_had_an_answer(new_memory_world, look_s):
    world = new_memory_world()
    looked_at, start_by = [], []

    async def take(*given):
        looked_at.append(asyncio.get_running_loop().time())
        taken = await world.outbox.take(*given)
        await asyncio.sleep(look_s)
        return taken

    class Waits(Gateway):
        async def send(self, message, until):
            assert asyncio.get_running_loop().time() < until
            start_by.append((looked_at[-1], until))
            return Accepted()

    async def work():
        await world.put(expires_s=60)
        dispatcher = Dispatcher(Altered(world.outbox, take=take), [Waits(world.outbox)], Watch(), jitter=lambda: 0.5)
        dispatcher.start()
        await empty(world.outbox)
        await dispatcher.stop()

    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": 1}
    [(looked, until)] = start_by
    assert looked + UNDER_WAY_S / 2 < until < looked + UNDER_WAY_S


def test_what_the_loop_held_up_past_its_time_to_start_is_no_gateways_fault_and_is_looked_at_anew(new_memory_world):
    world = new_memory_world()
    seen = []

    class HeldUp(Gateway):
        def scope(self, message):
            seen.append(message.offer)
            if len(seen) == OFFERS:  # the sends of the round have been begun, and none has had its first turn
                asyncio.get_running_loop().hold_up(6.0)
            return super().scope(message)

    async def work():
        first = await world.put(expires_s=60)
        for _ in range(OFFERS - 1):
            await world.put(expires_s=60, beside=first)
        async with dispatching(world.outbox, gateway) as watch:
            await empty(world.outbox)
            assert watch.open == 0

    gateway = HeldUp(world.outbox)
    simulate(world.outbox, work)
    assert states(world.outbox) == {"accepted": OFFERS}
    assert len(seen) == 2 * OFFERS
    assert len(gateway.calls) == OFFERS
    assert {record.attempts for record in world.outbox.records.values()} == {1}


def test_an_outage_between_records_written_one_by_one_hides_none_of_them(new_memory_world):
    world = new_memory_world()
    calls = []

    class Heard(Watch):
        def __init__(self):
            super().__init__()
            self.told = Counter()

        def delivered(self, workspace, offer, lane, outcome, detail=None):
            self.told[outcome] += 1

    async def finish(settlements):
        calls.append(len(settlements))
        if len(settlements) > 1:
            raise RuntimeError("planted")
        if len(calls) == 4:
            raise Unavailable("away")
        return await world.outbox.finish(settlements)

    async def work():
        first = await world.put(expires_s=60)
        for _ in range(4):
            await world.put(expires_s=60, beside=first)
        dispatcher = Dispatcher(
            Altered(world.outbox, finish=finish), [Gateway(world.outbox)], heard, jitter=lambda: 0.5
        )
        dispatcher.start()
        await empty(world.outbox)
        await dispatcher.stop()

    heard = Heard()
    simulate(world.outbox, work)
    assert calls[0] > 1
    assert states(world.outbox) == {"accepted": 5}
    assert heard.told == {"accepted": 5}


def test_a_device_that_comes_back_is_served_however_many_offers_others_wait_for(new_memory_world):
    world = new_memory_world()
    outbox = SlowOutbox(world.outbox, take=0.02, finish=0.01)
    waited_s = []

    class Streams(Gateway):
        """As the app's lane: its sends take no time, and a device may come back for them."""

        repeats = True

        async def send(self, message, start_by):
            return Accepted()

    async def work():
        dispatcher = Dispatcher(outbox, [Streams(world.outbox)], Watch(), jitter=random.Random(7).random)
        parked = await world.put(expires_s=600)
        world.record(parked).due_us += 500_000_000
        dispatcher.start()
        for _ in range(1_000):
            await world.put(beside=parked)
        await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
        dispatcher.ring(parked.workspace, parked.device)
        while world.record(parked).offer_state != "accepted":
            dispatcher.wake()
            await asyncio.sleep(0.001)
        waited_s.append(asyncio.get_running_loop().time() - began)
        await dispatcher.stop()

    simulate(world.outbox, work)
    assert waited_s[0] < 5


def test_a_gateway_that_never_answers_is_cut_off_within_the_lease_and_tried_once_more(new_memory_world):
    world = new_memory_world()
    began = []

    class Silent(Gateway):
        async def send(self, message, start_by):
            began.append(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

    async def work():
        nonlocal case
        case = await world.put(expires_s=600)
        async with dispatching(world.outbox, Silent(world.outbox)):
            await empty(world.outbox)

    case = None
    simulate(world.outbox, work)
    record = world.record(case)
    assert (record.offer_state, record.detail, record.slot) == ("ambiguous", "no answer within the lease", 1)
    assert len(began) == 2
    assert record.token == 2  # no lease ran out meanwhile
