"""What is under way in a lane: each send that is begun comes to an outcome, whatever its lane does."""

import asyncio
from math import inf
from uuid import UUID

from structlog.testing import capture_logs

from geo_offers.pipeline.lanes import Accepted, Ambiguous
from geo_offers.pipeline.outbox import Ready
from geo_offers.pipeline.sends import Sends
from geo_offers.pipeline.settlement import Claim
from tests.support.messages import a_message


class Lane:
    """Its sends do as the test says."""

    name, concurrency, repeats, rate_per_s = "webhook", 4, False, inf

    def __init__(self, does):
        self._does = does
        self.asked = 0

    def scope(self, message):
        return self.name

    async def send(self, message, start_by):
        self.asked += 1
        return await self._does()


class Deaf:
    def __getattr__(self, _name):
        return lambda *_given: None


def sends_of(lane):
    ended = []
    made = Sends(lane, Deaf(), jitter=lambda: 0.5, ended=lambda ready, outcome: ended.append((ready, outcome)))
    return made, ended


def a_ready(number=1):
    offer = UUID(int=number)
    return Ready(Claim(offer=offer, workspace=UUID(int=2), token=1, attempts=1, unanswered=0), a_message(offer=offer))


async def over(sends):
    async with asyncio.timeout(5):
        while len(sends):
            await asyncio.sleep(0.01)


async def test_a_send_ends_in_what_its_lane_answers():
    sends, ended = sends_of(Lane(lambda: asyncio.sleep(0, Accepted("x"))))
    ready = a_ready()
    assert sends.begin(ready, start_by=inf, until=asyncio.get_running_loop().time() + 60) == 0
    await over(sends)
    assert ended == [(ready, Accepted("x"))]


async def test_what_is_cut_off_may_have_been_shown_and_is_told_by_whom_it_was_cut():
    sends, ended = sends_of(Lane(asyncio.Event().wait))
    now = asyncio.get_running_loop().time()
    sends.begin(a_ready(1), start_by=inf, until=now + 0.05)
    await over(sends)
    sends.begin(a_ready(2), start_by=inf, until=now + 60)
    await asyncio.sleep(0)
    sends.cut()
    await over(sends)
    assert [outcome for _, outcome in ended] == [
        Ambiguous("no answer within the lease"),
        Ambiguous("cut off at the stop"),
    ]


async def test_what_is_cut_off_before_its_first_step_counts_as_begun():
    lane = Lane(asyncio.Event().wait)
    sends, ended = sends_of(lane)
    sends.begin(a_ready(), start_by=inf, until=asyncio.get_running_loop().time() + 60)
    sends.cut()
    await over(sends)
    assert [outcome for _, outcome in ended] == [Ambiguous("cut off at the stop")]
    assert lane.asked == 0


async def test_a_lane_that_raises_leaves_its_message_unanswered():
    async def raises():
        raise ValueError("planted")

    sends, ended = sends_of(Lane(raises))
    with capture_logs() as told:
        sends.begin(a_ready(), start_by=inf, until=asyncio.get_running_loop().time() + 60)
        await over(sends)
    assert [outcome for _, outcome in ended] == [Ambiguous("the lane raised")]
    assert [line["event"] for line in told] == ["lane_raised"]


async def test_what_is_past_its_time_to_start_is_held_and_its_lane_not_asked():
    lane = Lane(lambda: asyncio.sleep(0, Accepted()))
    sends, ended = sends_of(lane)
    now = asyncio.get_running_loop().time()
    sends.begin(a_ready(), start_by=now, until=now + 60)
    await over(sends)
    assert [outcome for _, outcome in ended] == [0.0]
    assert lane.asked == 0


async def test_what_finds_its_scopes_slots_taken_is_not_begun():
    lane = Lane(asyncio.Event().wait)
    lane.scope = lambda _message: "one of many"
    sends, ended = sends_of(lane)
    until = asyncio.get_running_loop().time() + 60
    assert [sends.begin(a_ready(n), start_by=inf, until=until) > 0 for n in range(3)] == [False, False, True]
    assert len(sends) == 2
    sends.cut()
    await over(sends)
    assert len(ended) == 2
