"""Kill -9 in the middle of visits at calibrated fences: each is ended once in the end, and offered for once."""

from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import pytest_asyncio

from geo_offers.clock import now_us
from geo_offers.instants import from_us
from tests.faults.world import administrator, assert_each_once, feature, free_partitions, place, world
from tests.support.databases import fresh_database
from tests.support.running import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

AWAY = 0.003  # degrees of latitude: 330 m
STEPS = (AWAY, AWAY, 0.0006, 0.0001, 0.0, 0.0, 0.0001, *[AWAY] * 6)
"""Of a phone's way into a circle of 100 m and out again, one fix in 30 s."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(postgres_server):
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(fresh_database(postgres_server))
        served = await stack.enter_async_context(serving(database))
        made = await stack.enter_async_context(world(database, lambda: served.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.fences(1)
        calibrated = feature(0)
        calibrated["properties"]["detect"] = {"dwell_s": 60}
        await made.good("PUT", "/v1/geofences/grid/0", "manager", calibrated)
        await made.no_gaps()
        await made.campaign()
        yield served, made, rows


async def walk(made, phone, began, steps):
    """Sends each step until it is answered; the answers' transitions and offers."""
    told, offers = [], []
    for number in steps:
        lat, lon = place(0)
        at = (began + timedelta(seconds=30 * number)).isoformat()
        ping = {"at": at, "lat": lat + STEPS[number], "lon": lon, "accuracy_m": 8}
        answer = await made.pings(phone.token, [ping])
        assert answer.status == 200, answer.body
        told += [edge["type"] for edge in answer.body["transitions"]]
        offers += answer.body["offers"]
    return told, offers


@pytest.mark.parametrize("killed_after", range(1, len(STEPS)))
async def test_a_server_that_is_killed_at_any_fix_of_a_visit_ends_it_once(town, killed_after):
    served, made, rows = town
    (phone,) = await made.phones([f"walker {killed_after}"])
    began = from_us(now_us()) - timedelta(seconds=30 * len(STEPS))
    before, first = await walk(made, phone, began, range(killed_after))
    await served.kill()
    await free_partitions(rows)
    await served.start()
    # What was answered is sent again by a phone that does not know; then it goes on, and stays away for a while.
    again, second = await walk(made, phone, began, range(max(0, killed_after - 2), len(STEPS)))
    told = before + again
    assert (told.count("enter"), told.count("exit")) == (1, 1)
    found = await rows.fetch("SELECT * FROM visit WHERE device = $1", phone.device)
    assert len(found) == 1
    assert found[0]["closed_by"] == "exit"
    assert found[0]["confirmed_at"] is not None
    assert len(first + second) <= 1  # a backlog is stale: its enter is decided once, mostly by silence
    assert await rows.fetchval("SELECT count(*) FROM decision WHERE user_id = $1", phone.user) == 1
    await assert_each_once(rows)
