"""Open device streams and the lane that sends over them."""

import asyncio
import json
from contextlib import asynccontextmanager
from math import inf
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import pytest

from geo_offers import wire
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.lanes import Offered, Transient, Waiting
from geo_offers.pipeline.people import change_consent, change_rates
from geo_offers.pipeline.streams import DeviceStreams, InAppLane
from tests.support import messages

WORKSPACE, DEVICE, OTHER, PERSON = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=10)
NOW_US = 1_795_000_000_000_000
LATER_US = NOW_US + 60_000_000


@pytest.fixture
def now():
    return [NOW_US]


@pytest.fixture
def streams(now):
    return DeviceStreams(queue=3, now_us=lambda: now[0])


@asynccontextmanager
async def _at_once(_user):
    yield


async def drained(stream, count):
    async with asyncio.timeout(1):
        return [await anext(stream) for _ in range(count)]


async def test_frames_come_in_the_order_in_which_they_were_put(streams):
    stream = streams.attach(WORKSPACE, DEVICE)
    for frame in ("a", "b"):
        assert streams.offer(DEVICE, frame, until_us=LATER_US)
    assert await drained(stream, 2) == ["a", "b"]


async def test_a_waiting_reader_is_woken(streams):
    stream = streams.attach(WORKSPACE, DEVICE)
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    streams.offer(DEVICE, "a", until_us=LATER_US)
    assert await asyncio.wait_for(reading, 1) == "a"


def test_open_streams_are_counted_by_workspace(streams):
    elsewhere = UUID(int=9)
    with streams.attach(WORKSPACE, DEVICE), streams.attach(WORKSPACE, OTHER), streams.attach(elsewhere, UUID(int=4)):
        streams.attach(WORKSPACE, DEVICE)  # takes over: a device has one stream
        assert (streams.count(WORKSPACE), streams.count(elsewhere), len(streams)) == (2, 1, 3)
    assert (streams.count(WORKSPACE), streams.count(elsewhere), len(streams)) == (1, 0, 1)
    streams.close()
    assert streams.count(WORKSPACE) == 0


async def test_a_device_without_a_stream_takes_nothing(streams):
    assert not streams.offer(DEVICE, "a", until_us=LATER_US)


async def test_a_phone_that_does_not_read_fills_only_its_own_queue(streams):
    streams.attach(WORKSPACE, DEVICE)
    streams.attach(WORKSPACE, OTHER)
    taken = [streams.offer(DEVICE, str(number), until_us=LATER_US) for number in range(5)]
    assert taken == [True, True, True, False, False]
    assert streams.offer(OTHER, "a", until_us=LATER_US)


async def test_the_newest_stream_wins_and_the_older_one_ends_displaced(streams):
    older = streams.attach(WORKSPACE, DEVICE)
    reading = asyncio.create_task(anext(older))
    await asyncio.sleep(0)
    newer = streams.attach(WORKSPACE, DEVICE)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(reading, 1)
    assert (older.displaced, newer.displaced) == (True, False)
    streams.offer(DEVICE, "a", until_us=LATER_US)
    assert await drained(newer, 1) == ["a"]
    older.close()  # its handler ends late: the newer one stays
    assert streams.is_open(DEVICE)


async def test_a_stream_is_closed_by_its_holder(streams):
    with streams.attach(WORKSPACE, DEVICE) as stream:
        assert streams.is_open(DEVICE)
        streams.offer(DEVICE, "a", until_us=LATER_US)
    assert not streams.is_open(DEVICE)
    assert len(streams) == 0
    assert [frame async for frame in stream] == []


async def test_closing_all_ends_every_reader(streams):
    open_streams = [streams.attach(WORKSPACE, device) for device in (DEVICE, OTHER)]
    streams.close()
    assert [[frame async for frame in stream] for stream in open_streams] == [[], []]


async def test_what_expires_in_the_queue_is_not_sent(streams, now):
    stream = streams.attach(WORKSPACE, DEVICE)
    streams.offer(DEVICE, "old", until_us=NOW_US + 5)
    streams.offer(DEVICE, "good", until_us=LATER_US)
    now[0] += 5
    assert await drained(stream, 1) == ["good"]


async def test_what_waits_in_the_queue_is_dropped_when_the_person_withdraws(streams):
    mine = [streams.attach(WORKSPACE, device, user=PERSON) for device in (DEVICE, OTHER)]
    another = streams.attach(WORKSPACE, UUID(int=4), user=UUID(int=11))
    for stream in (*mine, another):
        streams.offer(stream.device, "a", until_us=LATER_US)
    streams.clear(PERSON)
    for stream in (*mine, another):
        streams.offer(stream.device, "b", until_us=LATER_US)
    assert [await drained(stream, 1) for stream in mine] == [["b"], ["b"]]
    assert await drained(another, 2) == ["a", "b"]


async def test_a_withdrawal_empties_the_stream_of_a_phone_that_the_engine_has_forgotten(streams):
    stream = streams.attach(WORKSPACE, OTHER, user=PERSON)
    streams.offer(OTHER, "a", until_us=LATER_US)
    people, engine = AsyncMock(), Mock(exclusive=_at_once)
    people.under_way = AsyncMock(side_effect=[1, 0])
    caller = Caller(WORKSPACE, "device", str(DEVICE), device=DEVICE, user=PERSON)
    withdrawal = wire.ConsentChange(granted=False, text_version="v1")
    await change_consent(people, engine, streams, change_rates(), caller=caller, purpose="offers", change=withdrawal)
    streams.offer(OTHER, "b", until_us=LATER_US)
    assert await drained(stream, 1) == ["b"]


async def test_what_a_send_under_way_puts_on_a_stream_during_a_withdrawal_is_dropped_before_it_returns(streams):
    stream = streams.attach(WORKSPACE, DEVICE, user=PERSON)
    people, engine = AsyncMock(), Mock(exclusive=_at_once)

    async def under_way(_caller, _device):
        streams.offer(DEVICE, "a", until_us=LATER_US)
        return 0

    people.under_way = under_way
    caller = Caller(WORKSPACE, "device", str(DEVICE), device=DEVICE, user=PERSON)
    withdrawal = wire.ConsentChange(granted=False, text_version="v1")
    await change_consent(people, engine, streams, change_rates(), caller=caller, purpose="offers", change=withdrawal)
    streams.offer(DEVICE, "b", until_us=LATER_US)
    assert await drained(stream, 1) == ["b"]


async def test_streams_that_are_over_leave_nothing_of_their_person_behind(streams):
    with streams.attach(WORKSPACE, DEVICE, user=PERSON), streams.attach(WORKSPACE, DEVICE, user=PERSON):
        assert len(streams) == 1
    assert streams._of_user == {}


async def test_a_cancelled_reader_loses_no_frame(streams):
    stream = streams.attach(WORKSPACE, DEVICE)
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    streams.offer(DEVICE, "a", until_us=LATER_US)
    assert await drained(stream, 1) == ["a"]


async def test_attaching_rings(streams):
    rung = []
    streams.on_attach = lambda workspace, device: rung.append((workspace, device))
    streams.attach(WORKSPACE, DEVICE)
    assert rung == [(WORKSPACE, DEVICE)]


def a_message(**changed):
    here = {
        "offer": UUID(int=9),
        "user": UUID(int=4),
        "workspace": WORKSPACE,
        "device": DEVICE,
        "link": "https://example.org/buns",
        "data": None,
    }
    return messages.a_message(**(here | {"created_us": NOW_US, "expires_us": LATER_US} | changed))


async def test_the_lane_sends_the_offer_as_an_alert(streams):
    lane = InAppLane(streams)
    assert await lane.send(a_message(), inf) == Waiting()
    stream = streams.attach(WORKSPACE, DEVICE)
    assert await lane.send(a_message(), inf) == Offered()
    (frame,) = await drained(stream, 1)
    assert json.loads(frame) == {
        "type": "offer",
        "id": str(UUID(int=9)),
        "campaign": str(UUID(int=5)),
        "fence": "town/bakery",
        "title": "Warm buns",
        "body": "Two for one",
        "lane": "inapp",
        "alert": True,
        "created_at": "2026-11-18T11:06:40Z",
        "expires_at": "2026-11-18T11:07:40Z",
        "link": "https://example.org/buns",
    }


async def test_a_full_stream_is_tried_again_later(streams):
    lane = InAppLane(streams)
    streams.attach(WORKSPACE, DEVICE)
    outcomes = [await lane.send(a_message(), inf) for _ in range(4)]
    assert outcomes[:3] == [Offered()] * 3
    assert isinstance(outcomes[3], Transient)
