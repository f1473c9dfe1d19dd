"""The engine with doubles: who takes part in a turn, who waits for whom, and what a failure or a hold leaves behind."""

import asyncio
import uuid
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from geo_offers.errors import Forbidden, TooManyRequests, Unavailable
from geo_offers.pipeline import devices as devices_module
from geo_offers.pipeline import engine as engine_module
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.engine import Engine, Limits
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.partitions import PARTITIONS, Ownership
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.requests import Code, Point
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence import states

WORKSPACE = uuid.UUID(int=1)
NOW_US = 1_800_000_000_000_000
HOME = (10.0, 20.0)
AWAY = (11.0, 21.0)
FENCE = Geofence(FenceId("grid/home"), 1, "Home", Circle(*HOME, 100.0), None, (), True, Detect("raw"))


class Store:
    """Devices as the database keeps them: no coordinates, and what a commit wrote."""

    def __init__(self):
        self.devices = {}
        self.loads = []
        self.gates = {}  # device -> event that its load waits for, after it has read

    def add(self, user, **more):
        device = KnownDevice(
            id=uuid.uuid4(),
            user=user,
            workspace=WORKSPACE,
            partition=0,
            replay=False,
            locate=True,
            of_age=True,
            proven=False,
            token_epoch=0,
            state=states.NOWHERE,
        )
        self.devices[device.id] = replace(device, **more)
        return device.id

    async def load(self, workspace, devices):
        self.loads.append(set(devices))
        found = [self.devices[device] for device in devices if device in self.devices]
        for device in devices:
            if device in self.gates:
                await self.gates[device].wait()
        await asyncio.sleep(0)
        return found

    def wipe(self, user):
        for device in self.devices.values():
            if device.user == user:
                self.devices[device.id] = replace(device, state=states.NOWHERE)


class Turn:
    """A commit that can be held back, or fail."""

    def __init__(self, store):
        self.store = store
        self.batches = []
        self.held = {}  # user -> event that a commit with this user waits for
        self.poison = set()
        self.fails = []  # one error a commit, taken in order
        self.refused = {}
        self.epochs = []
        self.under_way = 0
        self.most_under_way = 0

    def hold(self, user):
        event = self.held[user] = asyncio.Event()
        return event

    async def __call__(self, parts):
        self.batches.append([part.user for part in parts])
        self.epochs += {part.epoch for part in parts}
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            for part in parts:
                if part.user in self.held:
                    await self.held[part.user].wait()
            await asyncio.sleep(0)
            if self.fails:
                raise self.fails.pop(0)
            if self.poison & {part.user for part in parts}:
                raise ValueError("a row that cannot be written")
        finally:
            self.under_way -= 1
        for part in parts:
            kept = states.load(part.state.kept())
            self.store.devices[part.device] = replace(self.store.devices[part.device], state=kept)
        return {part.user: self.refused[part.user] for part in parts if part.user in self.refused}


class House:
    def __init__(self, engine, store, turn, ownership):
        self.engine, self.store, self.turn, self.ownership = engine, store, turn, ownership
        self.clock_us = NOW_US
        engine._now_us = engine.devices._now_us = lambda: self.clock_us

    async def send(self, device, *fixes, caller=True):
        points = [Point(device, NOW_US + at * 1_000_000, *where) for at, where in fixes]
        return await self.engine.take(WORKSPACE, points, caller=device if caller else None)

    def sending(self, device, *fixes, caller=True):
        return asyncio.create_task(self.send(device, *fixes, caller=caller))

    async def settle(self):
        for _ in range(40):
            await asyncio.sleep(0)

    def is_empty(self):
        engine = self.engine
        held = (engine._queues, engine._ready, engine._due, engine._commits, engine._reloads, engine.devices._loads)
        return not any(held) and not engine._queued and not engine._all_queued


def owning(epoch=1):
    ownership = Ownership(None, "me")
    ownership.epochs = dict.fromkeys(range(PARTITIONS), epoch)
    return ownership


@asynccontextmanager
async def a_house(**limits):
    store = Store()
    turn = Turn(store)
    catalog = Catalog()
    catalog.put(WORKSPACE, [FENCE])
    limits = Limits(**({"rate_per_s": 1.0, "burst": 1e6} | limits))
    ownership = owning()
    engine = Engine(catalog, store, turn, Figures(), ownership, limits=limits, now_us=lambda: NOW_US)
    running = asyncio.create_task(engine.run())
    try:
        with capture_logs():
            yield House(engine, store, turn, ownership)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def types(request):
    return [seen.transition.type.value for seen in request.transitions]


def statuses(request):
    return [(result.status, result.reason) for result in request.results]


# ---------------------------------------------------------------------------------------------- turns
async def test_points_without_a_transition_are_answered_without_a_commit():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        request = await house.send(device, (1, AWAY), (2, AWAY))
        assert statuses(request) == [("accepted", None)] * 2
        assert house.turn.batches == []


async def test_fixes_of_which_calibrated_fences_take_no_note_are_counted():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        calibrated = replace(FENCE, detect=Detect())
        house.engine._catalog.put(WORKSPACE, [calibrated])
        here = [Point(device, NOW_US + at * 1_000_000, *HOME, mock=True) for at in range(3)]
        coarse = [Point(device, NOW_US + 9_000_000, *AWAY, accuracy_m=500.0)]
        await house.engine.take(WORKSPACE, here + coarse, caller=device)
        house.engine.observe()
        page = house.engine._figures.page().decode()
        assert 'geo_offers_fixes_left_out_total{worth="mocked"} 3.0' in page
        assert 'geo_offers_fixes_left_out_total{worth="coarse"} 1.0' in page


async def test_what_a_point_caused_is_committed_before_it_is_answered():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        sending = house.sending(device, (1, HOME))
        await house.settle()
        assert not sending.done()
        release.set()
        assert types(await sending) == ["enter"]


async def test_a_user_takes_part_in_a_turn_with_one_part_and_in_the_order_of_the_requests():
    async with a_house() as house:
        user = uuid.uuid4()
        first, second = house.store.add(user), house.store.add(user)
        sent = [
            house.sending(first, (1, HOME)),
            house.sending(second, (1, HOME)),
            house.sending(first, (2, AWAY)),
            house.sending(second, (2, AWAY)),
        ]
        assert [types(await request) for request in sent] == [["enter"], ["enter"], ["exit"], ["exit"]]
        assert house.turn.batches == [[user]] * 4
        assert house.turn.most_under_way == 1


async def test_other_users_go_on_while_a_commit_is_in_flight():
    async with a_house() as house:
        slow, quick = uuid.uuid4(), uuid.uuid4()
        held, free = house.store.add(slow), house.store.add(quick)
        release = house.turn.hold(slow)
        first = house.sending(held, (1, HOME))
        await house.settle()
        later = house.sending(held, (2, AWAY))
        assert types(await house.send(free, (1, HOME))) == ["enter"]
        assert types(await house.send(free, (2, AWAY))) == ["exit"]
        assert not first.done()
        assert not later.done()
        release.set()
        assert types(await first) == ["enter"]
        assert types(await later) == ["exit"]


async def test_who_comes_while_a_commit_is_young_is_taken_along_by_the_next_one(monkeypatch):
    monkeypatch.setattr(engine_module, "SPACING_S", 60.0)
    async with a_house() as house:
        users = [uuid.uuid4() for _ in range(4)]
        devices = [house.store.add(user) for user in users]
        release = house.turn.hold(users[0])
        sent = []
        for device in devices:
            sent.append(house.sending(device, (1, HOME)))
            await house.settle()
        assert house.turn.batches == [users[:1]]
        release.set()
        await asyncio.gather(*sent)
        assert house.turn.batches == [users[:1], users[1:]]


async def test_a_commit_that_takes_long_is_not_waited_for():
    async with a_house() as house:
        first, second = house.store.add(stuck := uuid.uuid4()), house.store.add(uuid.uuid4())
        release = house.turn.hold(stuck)
        held = house.sending(first, (1, HOME))
        await house.settle()
        assert types(await asyncio.wait_for(house.send(second, (1, HOME)), 5)) == ["enter"]
        assert not held.done()
        release.set()
        await held


async def test_no_more_commits_are_in_flight_than_there_may_be():
    async with a_house() as house:
        users = [uuid.uuid4() for _ in range(8)]
        devices = [house.store.add(user) for user in users]
        events = [house.turn.hold(user) for user in users]
        sent = []
        for device in devices:
            sent.append(house.sending(device, (1, HOME)))
            await house.settle()
            await asyncio.sleep(engine_module.SPACING_S * 1.5)
        assert house.turn.under_way == engine_module.COMMITS
        for event in events:
            event.set()
        assert [types(request) for request in await asyncio.gather(*sent)] == [["enter"]] * 8
        assert house.turn.most_under_way == engine_module.COMMITS


async def test_a_request_for_many_users_is_answered_when_each_is_committed():
    async with a_house() as house:
        users = [uuid.uuid4() for _ in range(3)]
        devices = [house.store.add(user) for user in users]
        release = house.turn.hold(users[2])
        points = [Point(device, NOW_US, *HOME) for device in devices]
        sending = asyncio.create_task(house.engine.take(WORKSPACE, points, caller=None))
        await house.settle()
        assert not sending.done()
        release.set()
        request = await sending
        assert {seen.device for seen in request.transitions} == set(devices)
        assert statuses(request) == [("accepted", None)] * 3


# ---------------------------------------------------------------------------------------------- failures
async def test_after_a_failed_commit_the_state_is_the_stores_and_the_same_request_works():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        house.turn.fails.append(Unavailable("the database is away", 2.0))
        with pytest.raises(Unavailable):
            await house.send(device, (1, AWAY), (2, HOME))
        assert device not in house.engine.devices
        request = await house.send(device, (1, AWAY), (2, HOME))
        assert statuses(request) == [("accepted", None)] * 2
        assert types(request) == ["enter"]
        assert len(house.store.loads) == 2
        assert house.is_empty()


async def test_a_failed_commit_fails_what_its_phone_has_sent_since_so_that_a_resend_in_order_is_not_late():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        house.turn.fails.append(Unavailable("the database is away"))
        failing = house.sending(device, (1, HOME), (2, AWAY))
        await house.settle()
        later = house.sending(device, (3, HOME))
        await house.settle()
        release.set()
        for sent in (failing, later):
            with pytest.raises(Unavailable):
                await sent
        assert types(await house.send(device, (1, HOME), (2, AWAY))) == ["enter", "exit"]
        assert types(await house.send(device, (3, HOME))) == ["enter"]
        assert house.is_empty()


async def test_a_failed_commit_fails_nothing_of_the_users_other_phones():
    async with a_house() as house:
        user = uuid.uuid4()
        device, other = house.store.add(user), house.store.add(user)
        release = house.turn.hold(user)
        house.turn.fails.append(Unavailable("the database is away"))
        failing = house.sending(device, (1, HOME))
        await house.settle()
        later = house.sending(other, (2, HOME))
        release.set()
        with pytest.raises(Unavailable):
            await failing
        assert types(await later) == ["enter"]  # stepped from what the store holds, not from what was never committed


async def test_a_poison_part_does_not_take_its_batch_along():
    async with a_house() as house:
        users = [uuid.uuid4() for _ in range(5)]
        devices = [house.store.add(user) for user in users]
        for device in devices:
            await house.send(device, (0, AWAY))
        house.turn.poison.add(users[2])
        sent = [house.sending(device, (1, HOME)) for device in devices]
        done = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(one, Unavailable) for one in done] == [False, False, True, False, False]
        assert [types(one) for one in done if not isinstance(one, Unavailable)] == [["enter"]] * 4
        assert house.turn.batches[0] == users  # they were one batch
        assert house.is_empty()


async def test_a_part_that_cannot_be_stepped_does_not_take_its_turn_along(monkeypatch):
    async with a_house() as house:
        devices = [house.store.add(uuid.uuid4()) for _ in range(3)]
        for device in devices:
            await house.send(device, (0, AWAY))
        real = house.engine.devices.step

        def step(part, index):
            if part.device == devices[1]:
                raise ZeroDivisionError
            return real(part, index)

        monkeypatch.setattr(house.engine.devices, "step", step)
        sent = [house.sending(device, (1, HOME)) for device in devices]
        done = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(one, Unavailable) for one in done] == [False, True, False]
        assert house.is_empty()


async def test_a_user_who_is_gone_at_the_commit_is_refused_and_forgotten():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        house.turn.refused[user] = "unknown_device"
        request = await house.send(device, (1, HOME))
        assert statuses(request) == [("refused", "unknown_device")]
        assert types(request) == []
        assert device not in house.engine.devices


# ---------------------------------------------------------------------------------------------- holds
async def test_a_hold_waits_for_the_commit_in_flight_and_later_points_see_the_wiped_state():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        sending = house.sending(device, (1, HOME))
        await house.settle()
        order = []

        async def withdraw():
            async with house.engine.exclusive(user):
                order.append("held")
                house.store.wipe(user)

        withdrawing = asyncio.create_task(withdraw())
        later = house.sending(device, (2, HOME))
        await house.settle()
        assert order == []
        release.set()
        assert types(await sending) == ["enter"]
        await withdrawing
        assert order == ["held"]
        assert types(await later) == ["enter"]  # nowhere again: without the wipe it would be no edge
        assert house.is_empty()


async def test_nothing_of_a_held_user_runs_and_others_do():
    async with a_house() as house:
        held, other = house.store.add(user := uuid.uuid4()), house.store.add(uuid.uuid4())
        async with house.engine.exclusive(user):
            waiting = house.sending(held, (1, HOME))
            assert types(await house.send(other, (1, HOME))) == ["enter"]
            await house.settle()
            assert not waiting.done()
        assert types(await waiting) == ["enter"]


async def test_consent_that_went_during_a_hold_refuses_what_waited_behind_it():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        await house.send(device, (0, AWAY))
        async with house.engine.exclusive(user):
            waiting = house.sending(device, (1, HOME))
            await house.settle()
            house.store.devices[device] = replace(house.store.devices[device], locate=False)
        assert statuses(await waiting) == [("refused", "consent_required")]
        assert house.turn.batches == []
        with pytest.raises(Forbidden):
            await house.send(device, (2, HOME))


async def test_consent_that_went_refuses_all_that_waited_not_only_what_comes_first():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        await house.send(device, (0, AWAY))
        async with house.engine.exclusive(user):
            waiting = [house.sending(device, (at, HOME)) for at in (1, 2, 3)]
            await house.settle()
            house.store.devices[device] = replace(house.store.devices[device], locate=False)
        assert [statuses(request) for request in await asyncio.gather(*waiting)] == [
            [("refused", "consent_required")]
        ] * 3
        assert house.turn.batches == []
        assert house.is_empty()


async def test_a_device_forgotten_while_others_of_its_request_are_loaded_is_no_stranger():
    async with a_house() as house:
        held, other = house.store.add(user := uuid.uuid4()), house.store.add(uuid.uuid4())
        await house.send(held, (0, AWAY))
        house.store.gates[other] = asyncio.Event()
        points = [Point(device, NOW_US + 1, *AWAY) for device in (held, other, uuid.uuid4())]
        sending = asyncio.create_task(house.engine.take(WORKSPACE, points, caller=None))
        await house.settle()
        async with house.engine.exclusive(user):
            pass
        house.store.gates[other].set()
        assert statuses(await sending) == [("accepted", None), ("accepted", None), ("refused", "unknown_device")]


async def test_a_device_that_was_being_loaded_while_its_user_was_held_is_loaded_again():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        house.store.gates[device] = asyncio.Event()
        sending = house.sending(device, (1, HOME))
        await house.settle()  # what was consented to is read, and on its way
        async with house.engine.exclusive(user):
            house.store.devices[device] = replace(house.store.devices[device], locate=False)
        house.store.gates[device].set()
        with pytest.raises(Forbidden):
            await sending
        assert len(house.store.loads) == 2


async def test_a_hold_during_one_load_costs_one_more_load_however_many_others_are_under_way():
    async with a_house() as house:
        device, busy = house.store.add(user := uuid.uuid4()), house.store.add(uuid.uuid4())
        house.store.gates[busy] = asyncio.Event()
        stuck = house.sending(busy, (1, AWAY))
        await house.settle()
        async with house.engine.exclusive(user):
            pass
        request = await asyncio.wait_for(house.send(device, (1, HOME)), 1)
        assert types(request) == ["enter"]
        assert house.store.loads == [{busy}, {device}]
        house.store.gates[busy].set()
        await stuck


async def test_a_device_forgotten_while_an_old_read_of_it_is_under_way_is_read_again():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        house.store.gates[device] = asyncio.Event()
        old = house.sending(device, (3, HOME))  # has read: nowhere
        await house.settle()
        gate = house.store.gates.pop(device)
        assert types(await house.send(device, (1, HOME))) == ["enter"]
        house.turn.fails.append(Unavailable("the database is away"))
        with pytest.raises(Unavailable):
            await house.send(device, (2, AWAY))
        gate.set()
        assert types(await old) == []  # it was inside already; from the old read it would be a second enter


async def test_a_hold_whose_caller_is_cancelled_while_it_waits_or_runs_lets_the_next_in():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        sending = house.sending(device, (1, HOME))
        await house.settle()

        async def hold():
            async with house.engine.exclusive(user):
                await asyncio.Event().wait()

        waiting, running = asyncio.create_task(hold()), asyncio.create_task(hold())
        await house.settle()
        waiting.cancel()
        release.set()
        await sending
        await house.settle()
        running.cancel()
        await asyncio.gather(waiting, running, return_exceptions=True)
        assert types(await house.send(device, (2, AWAY))) == ["exit"]
        assert house.is_empty()


@pytest.mark.parametrize("steps", range(8))
async def test_a_hold_that_is_cancelled_at_any_step_of_the_loop_keeps_nobody_out(steps):
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())

        async def hold():
            async with house.engine.exclusive(user):
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold())
        for _ in range(steps):
            await asyncio.sleep(0)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        assert types(await asyncio.wait_for(house.send(device, (1, HOME)), 1)) == ["enter"]
        assert house.is_empty()


# ---------------------------------------------------------------------------------------------- bounds
async def test_a_caller_who_stops_waiting_leaves_its_points_counted_until_they_are_through():
    async with a_house(queued_points=10) as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        leavers = [house.sending(device, *((at * 5 + n, HOME) for n in range(5))) for at in range(2)]
        await house.settle()
        for leaver in leavers:
            leaver.cancel()
        await asyncio.gather(*leavers, return_exceptions=True)
        assert house.engine.sizes(WORKSPACE)["queued"] == 10
        with pytest.raises(Unavailable):
            await house.send(device, (100, HOME))
        release.set()
        await house.settle()
        assert house.is_empty()
        assert statuses(await house.send(device, (1, HOME))) == [("duplicate", None)]  # all of it was done


async def test_a_caller_who_leaves_before_a_failure_leaves_no_unseen_error_behind(recwarn):
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        house.turn.fails.append(Unavailable("the database is away"))
        unseen = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
        leaver = house.sending(device, (1, HOME))
        await house.settle()
        leaver.cancel()
        release.set()
        await asyncio.gather(leaver, return_exceptions=True)
        await house.settle()
        assert house.is_empty()
        assert unseen == []


async def test_points_whose_devices_are_being_loaded_count_as_queued():
    async with a_house(queued_points=3) as house:
        device = house.store.add(uuid.uuid4())
        house.store.gates[device] = asyncio.Event()
        sending = house.sending(device, (1, AWAY), (2, AWAY), (3, AWAY))
        await house.settle()
        with pytest.raises(Unavailable):
            await house.send(device, (4, AWAY))
        house.store.gates[device].set()
        await sending
        assert house.is_empty()


@pytest.mark.parametrize("error", [Unavailable("the database is away"), None])
async def test_a_load_that_fails_or_is_given_up_leaves_nothing_queued(error):
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        if error is None:
            house.store.gates[device] = asyncio.Event()
        else:
            house.store.load = _raiser(error)
        sending = house.sending(device, (1, AWAY))
        await house.settle()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert house.is_empty()


def _raiser(error):
    async def load(workspace, devices):
        raise error

    return load


async def test_a_device_over_its_rate_is_told_so_and_under_a_server_key_point_by_point():
    async with a_house(burst=2) as house:
        device, other = house.store.add(uuid.uuid4()), house.store.add(uuid.uuid4())
        for at in range(2):
            await house.send(device, (at, AWAY))
        with pytest.raises(TooManyRequests):
            await house.send(device, (3, AWAY))
        points = [Point(device, NOW_US + 4, *AWAY), Point(other, NOW_US + 4, *AWAY)]
        request = await house.engine.take(WORKSPACE, points, caller=None)
        assert statuses(request) == [("refused", "rate"), ("accepted", None)]
        assert house.is_empty()


async def test_only_so_many_devices_are_held_and_idle_ones_make_room():
    async with a_house(devices=1) as house:
        first, second = house.store.add(uuid.uuid4()), house.store.add(uuid.uuid4())
        await house.send(first, (1, AWAY))
        house.clock_us = NOW_US + devices_module.IDLE_US + 1
        assert statuses(await house.send(second, (1, AWAY))) == [("accepted", None)]
        assert first not in house.engine.devices


async def test_a_phone_inside_a_fence_is_kept_for_most_of_a_day_and_one_outside_for_an_hour():
    async with a_house() as house:
        user = uuid.uuid4()
        inside, outside, fresh = (house.store.add(user) for _ in range(3))
        await house.send(inside, (0, HOME))
        await house.send(outside, (0, AWAY))
        house.clock_us = NOW_US + devices_module.IDLE_US + 1
        await house.send(fresh, (0, AWAY))
        await house.engine.forget_idle()
        assert [device in house.engine.devices for device in (inside, outside, fresh)] == [True, False, True]
        house.clock_us = NOW_US + devices_module.SILENT_US + 1
        await house.engine.forget_idle()
        assert [device in house.engine.devices for device in (inside, outside, fresh)] == [False] * 3
        assert len(house.engine.devices) == 0
        assert statuses(await house.send(inside, (1, HOME))) == [
            ("accepted", None)
        ]  # from the store it is still inside
        assert len(house.turn.batches) == 1


async def test_a_look_for_idle_devices_in_full_memory_is_not_made_at_every_ping(monkeypatch):
    monkeypatch.setattr(devices_module, "IDLE_US", devices_module.LOOK_US // 2)
    async with a_house(devices=1) as house:
        first, second = house.store.add(uuid.uuid4()), house.store.add(uuid.uuid4())
        await house.send(first, (1, AWAY))
        with pytest.raises(Unavailable):
            await house.send(second, (1, AWAY))
        house.clock_us = NOW_US + devices_module.IDLE_US + 1
        with pytest.raises(Unavailable):
            await house.send(second, (1, AWAY))
        house.clock_us = NOW_US + devices_module.LOOK_US + 1
        assert statuses(await house.send(second, (1, AWAY))) == [("accepted", None)]


async def test_a_workspace_is_told_of_its_own_devices_only():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        await house.send(device, (1, AWAY))
        assert house.engine.sizes(WORKSPACE) == {"devices": 1, "queued": 0}
        assert house.engine.sizes(uuid.uuid4()) == {"devices": 0, "queued": 0}
        async with house.engine.exclusive(user):
            pass
        assert house.engine.sizes(WORKSPACE) == {"devices": 0, "queued": 0}


# ---------------------------------------------------------------------------------------------- ownership
async def test_a_commit_names_the_ownership_that_its_states_are_from():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        await house.send(device, (1, HOME))
        assert house.turn.epochs == [1]


async def test_what_was_known_before_a_partition_was_lost_is_loaded_anew_when_it_is_ours_again():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        await house.send(device, (1, AWAY))
        stay = states.Stay(FENCE.id, FENCE.version, uuid.uuid4(), NOW_US + 2_000_000)
        walked_in = states.PresenceState(newest_us=NOW_US + 2_000_000, inside={FENCE.id: stay})
        house.store.devices[device] = replace(house.store.devices[device], state=walked_in)  # seen by the other owner
        house.ownership.epochs = owning(3).epochs
        assert types(await house.send(device, (5, HOME))) == []
        assert types(await house.send(device, (6, AWAY))) == ["exit"]
        assert house.turn.epochs == [3]


async def test_a_ping_of_a_partition_that_another_process_owns_is_not_taken():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        await house.send(device, (1, AWAY))
        house.ownership.epochs = {}
        with pytest.raises(Unavailable, match="another process owns"):
            await house.send(device, (2, HOME))
        assert house.turn.batches == []
        assert house.is_empty()


async def test_a_user_whom_the_turn_refuses_is_answered_with_its_reason_and_loaded_anew():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        house.turn.refused[user] = "consent_required"
        assert statuses(await house.send(device, (1, HOME))) == [("refused", "consent_required")]
        assert house.engine.devices.get(device) is None
        assert house.is_empty()


# ---------------------------------------------------------------------------------------------- many transitions
def hopping(device, count):
    return [Point(device, NOW_US + at, *(AWAY if at % 2 else HOME)) for at in range(count)]


async def test_a_request_of_many_transitions_takes_many_turns_and_has_one_answer():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        request = await house.engine.take(WORKSPACE, hopping(device, 200), caller=device)
        assert statuses(request) == [("accepted", None)] * 200
        assert types(request) == ["enter", "exit"] * 100
        assert house.turn.batches == [[user]] * 4
        assert house.is_empty()


async def test_others_go_on_between_the_turns_of_a_phone_that_hops():
    async with a_house() as house:
        hopper, other = house.store.add(user := uuid.uuid4()), house.store.add(uuid.uuid4())
        release = house.turn.hold(user)
        points = hopping(hopper, 200)
        hops = asyncio.create_task(house.engine.take(WORKSPACE, points, caller=hopper))
        await house.settle()
        later = asyncio.create_task(house.engine.take(WORKSPACE, [Point(hopper, NOW_US + 1_000, *HOME)], caller=hopper))
        assert types(await house.send(other, (1, HOME))) == ["enter"]
        release.set()
        assert types(await hops) == ["enter", "exit"] * 100
        assert types(await later) == ["enter"]  # in the order of the requests, whatever turns the first one took


async def test_a_failure_between_the_turns_of_one_request_fails_it_and_a_resend_adds_what_is_missing():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        points, turn = hopping(device, 100), house.turn

        async def fails_second(parts):
            if turn.batches:
                raise Unavailable("the database is away")
            return await turn(parts)

        house.engine._commit_turn = fails_second
        with pytest.raises(Unavailable):
            await house.engine.take(WORKSPACE, points, caller=device)
        house.engine._commit_turn = turn
        request = await house.engine.take(WORKSPACE, points, caller=device)
        assert {status for status, _ in statuses(request)} == {"late", "accepted"}
        assert types(request) == ["enter", "exit"] * 18  # 64 were committed before
        assert house.is_empty()


async def test_a_user_who_is_gone_is_refused_with_all_that_was_left_for_later_turns():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        house.turn.refused[user] = "unknown_device"
        request = await house.engine.take(WORKSPACE, hopping(device, 100), caller=device)
        assert statuses(request) == [("refused", "unknown_device")] * 100
        assert house.is_empty()


# ---------------------------------------------------------------------------------------------- any order
ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3), st.lists(st.booleans(), min_size=1, max_size=4)),
    st.tuples(st.just("many"), st.lists(st.integers(0, 3), min_size=1, max_size=6)),
    st.tuples(st.just("fail"), st.booleans()),
    st.tuples(st.just("poison"), st.integers(0, 2)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("hold"), st.integers(0, 2)),
    st.tuples(st.just("slow"), st.integers(0, 2)),
    st.tuples(st.just("settle"), st.integers(1, 6)),
)


class Play:
    """Four phones of three people, and what is done with them."""

    def __init__(self, house):
        self.house = house
        self.users = [uuid.UUID(int=n + 10) for n in range(3)]
        owners = [self.users[0], self.users[0], self.users[1], self.users[2]]
        self.devices = [house.store.add(user) for user in owners]
        self.at = 0
        self.sent, self.others = [], []

    def next_at(self):
        self.at += 1
        return self.at

    async def act(self, action):
        house = self.house
        match action:
            case ("send", which, inside):
                fixes = [(self.next_at(), HOME if one else AWAY) for one in inside]
                self.sent.append(house.sending(self.devices[which], *fixes, caller=False))
            case ("many", whom):
                points = [Point(self.devices[n], NOW_US + self.next_at() * 1_000_000, *HOME) for n in whom]
                self.sent.append(asyncio.create_task(house.engine.take(WORKSPACE, points, caller=None)))
            case ("fail", known):
                house.turn.fails.append(Unavailable("away") if known else ValueError("ours"))
            case ("poison", who):
                house.turn.poison ^= {self.users[who]}
            case ("cancel", which) if which < len(self.sent):
                self.sent[which].cancel()
            case ("hold", who):
                self.others.append(asyncio.create_task(self._hold(self.users[who])))
            case ("slow", who):
                if self.users[who] in house.turn.held:
                    house.turn.held.pop(self.users[who]).set()
                else:
                    house.turn.hold(self.users[who])
            case ("settle", turns):
                for _ in range(turns):
                    await asyncio.sleep(0)

    async def _hold(self, user):
        async with self.house.engine.exclusive(user):
            await asyncio.sleep(0)

    async def end(self):
        for event in self.house.turn.held.values():
            event.set()
        done = await asyncio.wait_for(asyncio.gather(*self.sent, return_exceptions=True), 5)
        await asyncio.wait_for(asyncio.gather(*self.others), 5)
        await asyncio.wait_for(self.house.engine.drain(), 5)
        await self.house.settle()
        return done


@settings(max_examples=150, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=30))
async def test_in_any_order_of_requests_failures_holds_and_leavers_every_point_has_one_answer(actions):
    async with a_house() as house:
        play = Play(house)
        for action in actions:
            await play.act(action)
        for done in await play.end():
            if isinstance(done, BaseException):
                assert isinstance(done, Unavailable | asyncio.CancelledError), done
            else:
                assert not {Code.ABSENT, Code.STEP} & set(done.codes)
        assert house.is_empty()
        for batch in house.turn.batches:
            assert len(set(batch)) == len(batch), "a user twice in one turn"
        for device, stored in house.store.devices.items():  # memory agrees with what was committed
            track = house.engine.devices.get(device)
            assert track is None or dict(track.device.state.inside) == dict(stored.state.inside)


@settings(max_examples=60, deadline=None)
@given(inside=st.lists(st.booleans(), min_size=1, max_size=12), failing=st.sets(st.integers(0, 11)))
async def test_however_often_commits_fail_a_client_that_resends_sees_each_edge_once(inside, failing):
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        edges = []
        for number, within in enumerate(inside):
            if number in failing:
                house.turn.fails.append(Unavailable("away"))
            for _ in range(2):
                try:
                    edges += types(await house.send(device, (number, HOME if within else AWAY)))
                    break
                except Unavailable:
                    continue
            house.turn.fails.clear()
        changes = [after for before, after in pairwise([False, *inside]) if before != after]
        assert edges == ["enter" if entered else "exit" for entered in changes]
