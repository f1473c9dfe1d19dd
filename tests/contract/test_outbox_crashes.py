"""Crashes, freezes and lost answers at named points, in random order: nothing lost, nothing shown twice or too late.

Two processes work on one outbox. A process may die or freeze between its steps; time passes only between actions. What
a phone would show is a ledger by the message's id, as a real one replaces by its key.
"""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from geo_offers.errors import Unavailable
from geo_offers.pipeline.lanes import Accepted, Ambiguous, Later, NotSent, TooLate, Transient, Waiting
from geo_offers.pipeline.runner import LaneRunner
from geo_offers.pipeline.streams import DeviceStreams, InAppLane

LEASE_S = 10.0
EXPIRES_S = 120.0


class Silent:
    """An observer that only keeps what it was told."""

    def __init__(self):
        self.told = []

    def counted(self, lane, outcome):
        pass

    def delivered(self, workspace, offer, lane, outcome, detail=None):
        self.told.append((offer, outcome))

    def under_way(self, workspace, offer, lane, step):
        pass

    def oldest_due(self, lane, age_s):
        pass

    def breakers(self, lane, opened):
        pass


def a_runner(lane, outbox):
    return LaneRunner(
        lane,
        outbox,
        Silent(),
        lease_s=LEASE_S,
        sweep_s=1.0,
        jitter=lambda: 0.5,
        wake_lane=lambda _lane: None,
    )


class Gateway:
    """Takes messages as the script says; keeps when each arrived at the phone."""

    name = "webhook"
    concurrency = 32
    repeats = False

    def __init__(self, outbox):
        self.outbox = outbox
        self.arrived = defaultdict(list)
        self.unsure = Counter()
        self.keys = defaultdict(set)

    async def take(self, process, message):
        if message.expires_us - self.outbox.now_us < 1_000_000:
            return TooLate()
        manner = process.manner
        if manner == "refuse":
            return NotSent("refused")
        if manner == "later":
            return Later(3.0)
        if manner in {"accept", "lose"}:
            self.arrived[message.offer].append(self.outbox.now_us)
            self.keys[message.offer].add(message.replace_key)
        self.unsure[message.offer] += 1
        await process.point("left")
        if manner == "busy":  # answered: nothing is unsure about it
            self.unsure[message.offer] -= 1
        return {"accept": Accepted(), "busy": Transient("http 500")}.get(manner, Ambiguous("no answer"))


class Process:
    """One server process: its runner over the shared outbox, with places where it may stop.

    apart: it cannot look at many at once, so it claims, and looks at them after that.
    """

    def __init__(self, outbox, gateway, *, apart=False):
        self._outbox, self._gateway = outbox, gateway
        self.apart = apart
        self.manner = "accept"
        self.start()

    def start(self):
        self.crash_at = self.freeze_at = None
        self.dead = False
        self.thaw = asyncio.Event()
        self.turning = None
        self._runner = a_runner(_LaneOf(self, self._gateway), _OutboxOf(self, self._outbox))

    async def point(self, name):
        if self.dead:
            await asyncio.Event().wait()
        if name == self.freeze_at:
            await self.thaw.wait()
        if name == self.crash_at:
            self.dead = True
            await asyncio.Event().wait()

    async def turn(self):
        if self.turning is None:
            self._runner.wake()
            self.turning = asyncio.create_task(self._turns())
        for _ in range(200):
            if self.turning.done() or self.dead:
                break
            await asyncio.sleep(0)
        if self.turning.done():
            self.turning.result()
            self.turning = None
        if self.dead:
            await self.kill()

    async def _turns(self):
        """One round, its sends, and their record."""
        await self._runner.turn()
        while self._runner._sends:
            await asyncio.sleep(0)
        await self._runner._record()

    async def kill(self):
        self.dead = True  # nothing that it still does reaches the outbox
        if self.turning is not None:
            self.turning.cancel()
            await asyncio.gather(self.turning, return_exceptions=True)
        self._runner.cut()
        await asyncio.sleep(0)
        self.start()


@dataclass
class _LaneOf:
    process: Process
    gateway: Gateway
    name: str = "webhook"
    concurrency: int = 32
    repeats: bool = False
    rate_per_s: float = inf

    def scope(self, message):
        return None

    async def send(self, message, start_by):
        await self.process.point("marked")
        return await self.gateway.take(self.process, message)


@dataclass
class _OutboxOf:
    """The outbox as one process reaches it."""

    process: Process
    inner: object = field(repr=False)

    async def take(self, *args):
        if self.process.apart:
            raise RuntimeError("planted")
        taken = await self.inner.take(*args)
        await self.process.point("taken")
        return taken

    async def claim(self, *args):
        claims = await self.inner.claim(*args)
        await self.process.point("claimed")
        return claims

    async def recheck(self, *args):
        return await self.inner.recheck(*args)

    async def finish(self, settlements):
        await self.process.point("answered")
        applied = await self.inner.finish(settlements)
        await self.process.point("recorded")
        return applied

    async def oldest_due_s(self, lane):
        return await self.inner.oldest_due_s(lane)


def withdraw(record):
    """What a withdrawal does before it answers: the person's rows that are not under way are gone."""
    record.consents.discard("offers")
    if record.queued and record.state in {"due", "leased"}:
        record.queued = False
        record.offer_state, record.slot = ("ambiguous", 1) if record.ambiguous else ("cancelled", 2)


MANNERS = ["accept", "accept", "lose", "drop", "busy", "refuse", "later"]
POINTS = ["taken", "claimed", "marked", "left", "answered", "recorded"]
WHO = st.integers(0, 1)
ACTIONS = st.one_of(
    st.tuples(st.just("turn"), WHO, st.sampled_from(MANNERS), st.none() | st.sampled_from(POINTS)),
    st.tuples(st.just("freeze"), WHO, st.sampled_from(MANNERS), st.sampled_from(["claimed", "answered"])),
    st.tuples(st.just("thaw"), WHO),
    st.tuples(st.just("outage"), WHO, st.sampled_from(MANNERS), st.sampled_from(POINTS)),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.5, 5.0, 11.0, 40.0])),
    st.tuples(st.just("withdraw"), st.integers(0, 2)),
)


async def act(action, processes, outbox, cases, withdrawn):
    match action:
        case ("turn", who, manner, crash_at):
            processes[who].manner, processes[who].crash_at = manner, crash_at
            await processes[who].turn()
            processes[who].crash_at = None
        case ("outage", who, manner, point) if processes[who].turning is None:
            processes[who].manner, processes[who].crash_at = manner, point
            await processes[who].turn()
            processes[who].crash_at = None
            outbox.now_us += 11_000_000
        case ("freeze", who, manner, point) if processes[who].turning is None:
            processes[who].manner, processes[who].freeze_at = manner, point
            await processes[who].turn()
        case ("thaw", who):
            await thaw(processes[who])
        case ("time", seconds):
            outbox.now_us += round(seconds * 1_000_000)
        case ("withdraw", which):
            withdraw(outbox.records[cases[which].offer])
            withdrawn.setdefault(cases[which].offer, outbox.now_us)


async def thaw(process):
    process.freeze_at = None
    process.thaw.set()
    await process.turn()
    process.thaw = asyncio.Event()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=25))
async def test_no_order_of_crashes_loses_an_offer_or_shows_it_twice_or_too_late(new_memory_world, actions):
    world = new_memory_world()
    outbox = world.outbox
    cases = [await world.put(expires_s=EXPIRES_S) for _ in range(3)]
    expires_us = outbox.now_us + round(EXPIRES_S * 1_000_000)
    gateway = Gateway(outbox)
    processes = [Process(outbox, gateway), Process(outbox, gateway, apart=True)]
    withdrawn = {}
    try:
        with capture_logs():  # each claim apart tells of its fault
            for action in actions:
                await act(action, processes, outbox, cases, withdrawn)
            for process in processes:
                process.manner = "accept"
                await thaw(process)
            for _ in range(40):
                for process in processes:
                    await process.turn()
                outbox.now_us += 5_000_000
    finally:
        for process in processes:
            await process.kill()
    for case in cases:
        check(case, outbox.records[case.offer], gateway, expires_us, withdrawn.get(case.offer))


def check(case, record, gateway, expires_us, withdrawn_us):
    arrived = gateway.arrived[case.offer]
    assert not record.queued, "lost: still in the outbox after its expiry"
    assert record.offer_state in {"accepted", "ambiguous", "expired", "cancelled"}
    assert gateway.unsure[case.offer] <= 2, "sent more than once again"
    assert len(gateway.keys[case.offer]) <= 1, "the copies would not replace each other"
    assert all(at < expires_us for at in arrived), "shown after its expiry"
    if withdrawn_us is not None:
        assert all(at <= withdrawn_us for at in arrived), "shown after the withdrawal"
    if arrived:
        assert record.slot == 1, "a slot given back although it was shown"
    if record.offer_state == "accepted":
        assert arrived
    if record.offer_state == "cancelled":
        assert withdrawn_us is not None
    assert record.slot in {1, 2}


async def test_without_faults_every_offer_is_accepted_at_the_first_send(new_memory_world):
    world = new_memory_world()
    cases = [await world.put() for _ in range(50)]
    gateway = Gateway(world.outbox)
    process = Process(world.outbox, gateway)
    for _ in range(3):  # 32 at a time
        await process.turn()
    await process.kill()
    assert {len(gateway.arrived[case.offer]) for case in cases} == {1}
    assert {world.record(case).offer_state for case in cases} == {"accepted"}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("manner", ["accept", "lose"])
async def test_a_crash_at_any_point_ends_with_one_message_on_the_phone(new_memory_world, point, manner):
    world = new_memory_world()
    case = await world.put()
    gateway = Gateway(world.outbox)
    first = Process(world.outbox, gateway, apart=point == "claimed")
    second = Process(world.outbox, gateway)
    first.manner, first.crash_at = manner, point
    await first.turn()
    for _ in range(4):
        await world.pass_time(LEASE_S + 1)
        await second.turn()
    await second.kill()
    expected = 1 if point in {"taken", "claimed", "marked"} or (point, manner) == ("recorded", "accept") else 2
    assert len(gateway.arrived[case.offer]) == expected
    assert world.record(case).offer_state == "accepted"
    assert world.record(case).slot == 1


async def test_two_processes_that_die_while_sending_leave_an_ambiguous_offer_and_no_third_send(new_memory_world):
    world = new_memory_world()
    case = await world.put()
    gateway = Gateway(world.outbox)
    process = Process(world.outbox, gateway)
    for point in ("left", "left", None):
        process.crash_at = point
        await process.turn()
        await world.pass_time(LEASE_S + 1)
    await process.kill()
    assert await world.ending(case) == ("ambiguous", "unanswered", 1)
    assert len(gateway.arrived[case.offer]) == 2


async def test_a_frozen_process_that_thaws_after_its_lease_changes_nothing(new_memory_world):
    world = new_memory_world()
    case = await world.put()
    gateway = Gateway(world.outbox)
    frozen, other = Process(world.outbox, gateway), Process(world.outbox, gateway)
    frozen.manner, frozen.freeze_at = "refuse", "answered"
    await frozen.turn()
    await world.pass_time(LEASE_S + 1)
    await other.turn()
    await thaw(frozen)
    await frozen.kill()
    await other.kill()
    assert world.record(case).offer_state == "accepted"
    assert not world.record(case).queued


class Faulty:
    """An outbox of which one call fails as told; `faults` counts the failures that are left."""

    def __init__(self, inner, call, error, *, faults, only=None):
        self._inner, self._call, self._error, self._only = inner, call, error, only
        self.faults = faults

    def __getattr__(self, name):
        good = getattr(self._inner, name)

        async def failing(*args):
            touches = self._only is None or self._only in {_offer(item) for item in args[0]}
            if touches and self.faults > 0:
                self.faults -= 1
                raise self._error
            return await good(*args)

        return failing if name == self._call else good


def _offer(item):
    return item.offer if hasattr(item, "offer") else item.claim.offer


async def work(world, outbox, turns=6):
    """Rounds of one runner, with more than a lease after every fourth."""
    gateway = Gateway(world.outbox)
    runner = Process(outbox, gateway)._runner
    with capture_logs():
        for _ in range(turns):
            for _ in range(4):
                runner.wake()
                await runner._guarded(runner.turn())
                while runner._sends:
                    await asyncio.sleep(0)
            await world.pass_time(LEASE_S + 1)
    return gateway


@pytest.mark.parametrize(
    ("call", "faults", "apart"),
    [
        ("take", 2, False),
        ("finish", 2, False),
        ("oldest_due_s", 1, False),
        ("claim", 2, True),
        ("recheck", 2, True),
    ],
)
async def test_a_database_that_is_away_for_a_while_costs_no_offer_and_no_second_message(
    new_memory_world, call, faults, apart
):
    world = new_memory_world()
    cases = [await world.put() for _ in range(3)]
    inner = Faulty(world.outbox, "take", RuntimeError("planted"), faults=10_000) if apart else world.outbox
    outbox = Faulty(inner, call, Unavailable("away"), faults=faults)
    gateway = await work(world, outbox)
    assert outbox.faults == 0
    assert [world.record(case).offer_state for case in cases] == ["accepted"] * 3
    assert [len(gateway.arrived[case.offer]) for case in cases] == [1] * 3


async def test_a_row_whose_look_fails_counts_its_attempts_and_holds_no_other(new_memory_world):
    world = new_memory_world()
    bad, good = await world.put(expires_s=1e6), await world.put()
    inner = Faulty(world.outbox, "take", RuntimeError("planted"), faults=10_000)
    outbox = Faulty(inner, "recheck", RuntimeError("planted"), faults=10_000, only=bad.offer)
    gateway = await work(world, outbox, turns=1)
    assert world.record(good).offer_state == "accepted"
    assert world.record(bad).attempts == 1
    for _ in range(12):
        await world.pass_time(100)
        await work(world, outbox, turns=1)
    assert await world.ending(bad) == ("failed", "poison", 2)
    assert gateway.arrived[bad.offer] == []


async def test_a_row_whose_record_fails_holds_no_other_and_is_sent_once_more(new_memory_world):
    world = new_memory_world()
    bad, good = await world.put(), await world.put()
    outbox = Faulty(world.outbox, "finish", RuntimeError("planted"), faults=2, only=bad.offer)
    gateway = await work(world, outbox)
    assert await world.ending(good) == ("accepted", None, 1)
    assert await world.ending(bad) == ("accepted", None, 1)
    assert (len(gateway.arrived[good.offer]), len(gateway.arrived[bad.offer])) == (1, 2)


class Held:
    """A lane whose sends end when the test says so."""

    name, concurrency, repeats, rate_per_s = "inapp", 8, True, inf

    def __init__(self):
        self.answers = {}

    def scope(self, message):
        return None

    async def send(self, message, start_by):
        self.answers[message.offer] = asyncio.get_running_loop().create_future()
        return await self.answers[message.offer]


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_ends_while_a_record_is_being_written_is_recorded_next(new_memory_world):
    world = new_memory_world()
    first, second = await world.put(lane="inapp"), await world.put(lane="inapp")
    lane, slow = Held(), asyncio.Event()
    good = world.outbox.finish

    async def finish(settlements):
        await slow.wait()
        return await good(settlements)

    world.outbox.finish = finish
    runner = a_runner(lane, world.outbox)
    await runner.turn()
    await settled()
    lane.answers[first.offer].set_result(Accepted())
    await settled()
    recording = asyncio.create_task(runner.turn())
    await settled()
    lane.answers[second.offer].set_result(Accepted())
    await settled()
    slow.set()
    await recording
    await runner.turn()
    assert [world.record(case).offer_state for case in (first, second)] == ["accepted"] * 2


async def test_a_device_that_comes_while_its_offer_is_found_without_one_is_not_forgotten(new_memory_world):
    world = new_memory_world()
    case, other = await world.put(lane="inapp"), await world.put(lane="inapp")
    lane = Held()
    runner = a_runner(lane, world.outbox)
    await runner.turn()
    await settled()
    runner.ring(case.workspace, case.device)
    await runner.turn()  # the row is under way: to hasten it now would miss it
    lane.answers[case.offer].set_result(Waiting())
    lane.answers[other.offer].set_result(Waiting())
    await settled()
    await runner.turn()
    await settled()
    assert world.record(case).state == "sending"
    assert world.record(other).state == "due"
    runner.cut()
    await settled()


# ---------------------------------------------------------------------------------------------- in the app
class Phone:
    """Shows an id once; may lose its connection, and its answers."""

    def __init__(self):
        self.screen = []
        self.stream = None

    async def read(self, outbox, case, *, answers):
        seen = []
        while self.stream is not None and self.stream._waiting:
            seen.append(await anext(self.stream))
        if seen and str(case.offer) not in self.screen:
            self.screen.append(str(case.offer))
        if seen and answers:
            await outbox.shown(case.workspace, case.offer, case.device)
        return len(seen)


PHONE_ACTIONS = st.one_of(
    st.tuples(st.just("turn")),
    st.tuples(st.just("attach")),
    st.tuples(st.just("detach")),
    st.tuples(st.just("read"), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(st.just("time"), st.sampled_from([0.5, 5.0, 11.0, 40.0])),
)


class InAppProcess:
    """A server process with the streams of its devices."""

    def __init__(self, world):
        self.streams = DeviceStreams(now_us=lambda: world.outbox.now_us)
        self.runner = a_runner(InAppLane(self.streams), world.outbox)
        self.streams.on_attach = self.runner.ring

    async def turn(self):
        self.runner.wake()
        await self.runner.turn()
        while self.runner._sends:
            await asyncio.sleep(0)
        await self.runner._record()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(PHONE_ACTIONS, max_size=25))
async def test_an_offer_in_the_app_comes_again_until_the_phone_has_said_shown(new_memory_world, actions):
    world = new_memory_world()
    case = await world.put(lane="inapp", expires_s=EXPIRES_S)
    expires_us = world.outbox.now_us + round(EXPIRES_S * 1_000_000)
    process, phone = InAppProcess(world), Phone()
    for action in actions:
        match action:
            case ("turn",):
                await process.turn()
            case ("attach",):
                phone.stream = process.streams.attach(case.workspace, case.device)
            case ("detach",) if phone.stream is not None:
                phone.stream.close()
                phone.stream = None
            case ("read", answers):
                read = await phone.read(world.outbox, case, answers=answers)
                assert not read or world.outbox.now_us < expires_us, "shown after its expiry"
            case ("restart",):
                process.streams.close()
                phone.stream, process = None, InAppProcess(world)
            case ("time", seconds):
                await world.pass_time(seconds)
    in_time = world.outbox.now_us < expires_us
    phone.stream = process.streams.attach(case.workspace, case.device)
    await process.turn()
    await phone.read(world.outbox, case, answers=True)
    record = world.record(case)
    if in_time:
        assert record.offer_state == "shown", "the phone is there, and it was not sent"
    await world.pass_time(EXPIRES_S)
    await process.turn()
    assert not record.queued
    assert len(phone.screen) == len(set(phone.screen))
    assert record.slot == 1 if phone.screen else record.slot in {1, 2}


async def test_an_offer_for_an_absent_phone_waits_without_attempts_or_spinning(new_memory_world):
    world = new_memory_world()
    case = await world.put(lane="inapp", expires_s=600)
    process = InAppProcess(world)
    for _ in range(5):
        await process.turn()
        await world.pass_time(30)
    record = world.record(case)
    assert (record.attempts, record.token, record.ambiguous) == (0, 1, False)
    assert record.due_us == record.expires_us
    await world.pass_time(600)
    await process.turn()
    assert await world.ending(case) == ("expired", "expired", 1)  # it was in the answer to the ping
