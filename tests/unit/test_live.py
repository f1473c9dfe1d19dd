"""The live feed: who looks sees what happens, and a slow reader loses only its own oldest events."""

import asyncio
import json
from uuid import UUID

import pytest

from geo_offers.pipeline.live import HISTORY, QUEUE, READERS, LiveFeed

HERE, THERE = UUID(int=1), UUID(int=2)


def seen(reader):
    return [(event.name, json.loads(event.data)) for event in reader.events]


def test_a_reader_sees_what_happens_in_its_workspace_and_nothing_else():
    feed = LiveFeed()
    with feed.reader(HERE, None) as here, feed.reader(THERE, None) as there:
        feed.publish(HERE, "decision", {"id": 1})
        feed.publish(THERE, "delivery", {"id": 2})
        assert seen(here) == [("decision", {"id": 1})]
        assert seen(there) == [("delivery", {"id": 2})]


def test_numbers_rise_one_by_one_and_say_nothing_of_another_workspace():
    feed = LiveFeed()
    with feed.reader(HERE, None) as here, feed.reader(THERE, None) as there:
        for number in range(9):
            feed.publish(HERE if number % 3 else THERE, "x", {}, keep=bool(number % 2))
        assert [event.seq for event in there.events] == [1, 2, 3]
        assert [event.seq for event in here.events] == [1, 2, 3, 4, 5, 6]


def test_nothing_is_kept_of_a_workspace_that_nobody_looks_at():
    feed = LiveFeed()
    feed.publish(HERE, "decision", {"id": 1})
    with feed.reader(HERE, 0) as reader:
        assert seen(reader) == []


def test_who_comes_back_gets_what_was_missed_once():
    feed = LiveFeed()
    with feed.reader(HERE, None) as reader:
        for number in range(3):
            feed.publish(HERE, "x", {"n": number})
        last = reader.events[0].seq
    feed.publish(HERE, "x", {"n": 3})
    with feed.reader(HERE, last) as again:
        feed.publish(HERE, "x", {"n": 4})
        assert [data["n"] for _, data in seen(again)] == [1, 2, 3, 4]


def test_when_nobody_has_come_back_for_long_nothing_is_kept_any_more_and_numbers_go_on():
    feed = LiveFeed()
    with feed.reader(HERE, None) as reader:
        feed.publish(HERE, "x", {"n": 0})
        last = reader.events[0].seq
    for number in range(HISTORY + 5):
        assert feed.heard(HERE) == (number < HISTORY)
        feed.publish(HERE, "x", {"n": number})
    with feed.reader(HERE, last) as again:
        assert seen(again) == []
        feed.publish(HERE, "x", {"n": -1})
        assert [event.seq - last > 1 for event in again.events] == [True]


def test_who_comes_back_in_time_keeps_the_feed_for_the_next_absence():
    feed = LiveFeed()
    for _ in range(3):
        with feed.reader(HERE, None):
            pass
        for number in range(HISTORY - 1):
            feed.publish(HERE, "x", {"n": number})
        assert feed.heard(HERE)


def test_what_is_only_of_the_moment_is_not_told_later():
    feed = LiveFeed()
    with feed.reader(HERE, None) as reader:
        feed.publish(HERE, "stats", {"pings": 1}, keep=False)
        assert seen(reader) == [("stats", {"pings": 1})]
    with feed.reader(HERE, 0) as again:
        assert seen(again) == []


def test_what_is_remembered_is_bounded():
    feed = LiveFeed()
    with feed.reader(HERE, None):
        for number in range(HISTORY + 50):
            feed.publish(HERE, "x", {"n": number})
    with feed.reader(HERE, 0) as again:
        assert [data["n"] for _, data in seen(again)] == list(range(50, HISTORY + 50))
        assert again.dropped == 0


def test_a_slow_reader_loses_its_own_oldest_events_and_is_told_how_many():
    feed = LiveFeed()
    with feed.reader(HERE, None) as slow, feed.reader(HERE, None) as quick:
        for number in range(QUEUE + 7):
            feed.publish(HERE, "x", {"n": number})
            quick.events.clear()
        assert (slow.dropped, quick.dropped) == (7, 0)
        assert len(slow.events) == QUEUE
        assert seen(slow)[0] == ("x", {"n": 7})


async def test_a_waiting_reader_is_woken():
    feed = LiveFeed()
    with feed.reader(HERE, None) as reader:
        waiting = asyncio.create_task(reader.woken.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        feed.publish(HERE, "x", {"n": 1})
        await asyncio.wait_for(waiting, 1)
        assert seen(reader) == [("x", {"n": 1})]


def test_a_reader_that_is_gone_gets_nothing_more():
    feed = LiveFeed()
    with feed.reader(HERE, None) as reader:
        assert feed.watched() == [HERE]
    feed.publish(HERE, "x", {})
    assert seen(reader) == []
    assert feed.watched() == []


def test_a_reader_that_fails_is_gone_too():
    feed = LiveFeed()
    with pytest.raises(ConnectionError), feed.reader(HERE, None):
        raise ConnectionError
    assert feed.watched() == []


def test_a_workspace_has_room_for_so_many_readers():
    feed = LiveFeed()
    open_readers = [feed.reader(HERE, None) for _ in range(READERS)]
    for one in open_readers:
        assert not feed.full(HERE)
        one.__enter__()
    assert feed.full(HERE)
    assert not feed.full(THERE)
    open_readers[0].__exit__(None, None, None)
    assert not feed.full(HERE)
