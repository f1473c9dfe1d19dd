"""What the engine does with pings that are not to be looked at: nothing, whether they are settled at once or wait."""

import asyncio
import uuid

from msgspec.structs import replace

from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline.requests import Point
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from tests.unit.test_engine_turns import AWAY, FENCE, HOME, NOW_US, WORKSPACE, a_house, statuses, types

PRIVATE = Geofence(FenceId("private/home"), 1, "", Circle(*HOME, 150.0), None, (), True, Detect("raw"))
ACCEPTED = ("accepted", None)


def pings(house):
    return house.engine._figures.pings(WORKSPACE)


async def test_a_private_place_hides_from_the_moment_that_it_is_there_until_it_goes():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        assert types(await house.send(device, (1, AWAY))) == []
        house.engine._catalog.hide(WORKSPACE, PRIVATE)
        assert statuses(hidden := await house.send(device, (2, HOME), (3, HOME))) == [ACCEPTED] * 2
        assert (types(hidden), house.turn.batches, pings(house)) == ([], [], 1)
        house.engine._catalog.show(WORKSPACE, PRIVATE.id)
        assert house.engine._catalog.private(WORKSPACE) is None
        assert types(await house.send(device, (4, HOME))) == ["enter"]


async def test_a_device_that_is_only_loaded_for_a_hidden_ping_was_not_heard_and_its_ping_is_not_counted():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4(), where=Whereabouts(not_at=(Circle(*HOME, 100.0),)))
        assert statuses(await house.send(device, (1, HOME))) == [ACCEPTED]
        assert pings(house) == 0
        assert statuses(await house.send(device, (1, AWAY))) == [ACCEPTED]
        assert pings(house) == 1


async def test_a_phone_in_a_private_place_counts_as_silent():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        assert types(await house.send(device, (1, HOME))) == ["enter"]
        heard_us = (await house.engine.devices.heard())[device]
        house.engine._catalog.hide(WORKSPACE, replace(PRIVATE, outline=Circle(*AWAY, 150.0)))
        house.clock_us += 5_000_000
        await house.send(device, (6, AWAY))
        assert (await house.engine.devices.heard())[device] == heard_us
        await house.send(device, (7, HOME))
        assert (await house.engine.devices.heard())[device] == heard_us + 5_000_000


async def test_what_waits_when_a_place_becomes_private_is_not_looked_at_when_its_turn_comes():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        release = house.turn.hold(user)
        first = house.sending(device, (1, HOME))
        await house.settle()
        waiting = house.sending(device, (2, AWAY), (3, HOME))
        await house.settle()
        assert not waiting.done()
        house.engine._catalog.hide(WORKSPACE, replace(PRIVATE, outline=Circle(*AWAY, 150.0)))
        release.set()
        assert types(await first) == ["enter"]
        assert statuses(told := await waiting) == [ACCEPTED] * 2
        assert types(told) == []  # no exit was seen
        assert house.is_empty()


async def test_what_waits_while_a_person_changes_their_mind_is_not_looked_at():
    async with a_house() as house:
        device = house.store.add(user := uuid.uuid4())
        await house.send(device, (1, AWAY))
        async with house.engine.exclusive(user):
            waiting = house.sending(device, (2, HOME))
            await house.settle()
            house.store.devices[device] = replace(house.store.devices[device], where=Whereabouts("off"))
        assert statuses(told := await waiting) == [ACCEPTED]
        assert (types(told), house.turn.batches) == ([], [])


async def test_hidden_points_are_in_no_count_of_points():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        house.engine._catalog.hide(WORKSPACE, PRIVATE)
        await house.send(device, (1, HOME), (2, AWAY), (1, AWAY), (3, HOME))
        page = house.engine._figures.page().decode()
        assert 'geo_offers_points_total{status="accepted"} 2.0' in page
        assert page.count("geo_offers_points_total{") == 1
        assert pings(house) == 2


async def test_what_the_phone_itself_saw_of_a_fence_over_a_private_place_is_hidden():
    async with a_house() as house:
        device = house.store.add(uuid.uuid4())
        house.engine._catalog.hide(WORKSPACE, PRIVATE)
        saw = Point(device, NOW_US, None, None, region=FENCE.id, entered=True)
        told = await asyncio.wait_for(house.engine.take(WORKSPACE, [saw], caller=device), 5)
        assert (statuses(told), types(told)) == ([ACCEPTED], [])
