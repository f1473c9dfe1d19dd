"""What a browser gets from the simulator when it reads well, badly, or not at all."""

import asyncio
import json

from geo_offers.demo.feed import Feed


def _events(chunk: bytes) -> list[tuple[str, object]]:
    parts = [part.split("\n") for part in chunk.decode().strip().split("\n\n")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in parts]


async def _next(watcher) -> list[tuple[str, object]]:
    async with asyncio.timeout(1):
        return _events(await anext(watcher.chunks()))


async def test_events_come_in_the_order_in_which_they_happened():
    feed = Feed()
    with feed.watch() as watcher:
        feed.publish("moved", {"n": 1})
        feed.publish("decided", {"n": 2})
        assert await _next(watcher) == [("moved", {"n": 1}), ("decided", {"n": 2})]


async def test_of_positions_a_late_reader_gets_only_the_newest():
    feed = Feed()
    with feed.watch() as watcher:
        feed.replace("at", [1])
        feed.replace("at", [2])
        feed.replace("stats", {"pings_per_s": 3})
        assert await _next(watcher) == [("at", [2]), ("stats", {"pings_per_s": 3})]


async def test_a_reader_that_falls_behind_loses_its_own_oldest_events_and_they_are_counted():
    feed = Feed()
    with feed.watch() as slow:
        for n in range(300):
            feed.publish("moved", n)
        got = await _next(slow)
        assert [n for _, n in got] == list(range(44, 300))
        assert slow.dropped == 44


async def test_one_slow_reader_takes_nothing_from_another():
    feed = Feed()
    with feed.watch() as slow, feed.watch() as quick:
        for n in range(300):
            feed.publish("moved", n)
            assert await _next(quick) == [("moved", n)]
        assert (slow.dropped, quick.dropped) == (44, 0)


async def test_closing_the_feed_ends_every_reader():
    feed = Feed()
    with feed.watch() as watcher:
        reading = asyncio.create_task(anext(watcher.chunks(), None))
        await asyncio.sleep(0)
        feed.close()
        async with asyncio.timeout(1):
            assert await reading is None


def test_the_number_of_readers_has_a_bound():
    feed = Feed(most=1)
    assert not feed.full
    with feed.watch():
        assert feed.full
    assert not feed.full
