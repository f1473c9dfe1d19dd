"""When an event is tried again, and what is learnt of an endpoint."""

import asyncio
import random
import uuid
from collections import Counter

import pytest

from geo_offers.pipeline.notifying import EACH, MOST, SLOTS_S, Answer, Notifier, Post, settled

GOOD = Answer(200, 5)


def post(attempts=1, endpoint=None, host="hooks.example"):
    endpoint = endpoint or uuid.uuid4()
    return Post(endpoint, uuid.uuid4(), 1, attempts, uuid.uuid4(), f"https://{host}/", ["whsec_MDE="], b"{}")


@pytest.mark.parametrize("status", [200, 204, 299])
def test_2xx_is_the_end(status):
    assert settled(post(), Answer(status, 5), 0.5).state == "delivered"


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 500, 503, None])
@pytest.mark.parametrize("attempts", range(1, 10))
def test_all_else_comes_again_in_its_slot_a_fifth_more_or_less(status, attempts):
    for jitter, share in ((0.0, 0.8), (0.5, 1.0), (1.0, 1.2)):
        done = settled(post(attempts), Answer(status, 5), jitter)
        assert (done.state, done.after_s) == ("due", pytest.approx(SLOTS_S[attempts] * share))


def test_the_tenth_time_is_the_last():
    assert settled(post(10), Answer(500, 5), 0.5).state == "failed"


def test_who_is_gone_is_not_tried_again():
    assert settled(post(), Answer(410, 5), 0.5).state == "failed"


@pytest.mark.parametrize("answer", [Answer(None, 15_000, "TimeoutError", slow=True), Answer(429, 5)])
def test_who_is_slow_or_asks_for_it_gets_a_minute(answer):
    assert settled(post(1), answer, 0.5).after_s == 60.0
    assert settled(post(2), answer, 0.5).after_s == 300.0


@pytest.mark.parametrize(("asked_s", "given_s"), [(1.0, 300.0), (400.0, 400.0), (3600.0, 600.0)])
def test_retry_after_moves_it_within_once_and_twice_the_slot(asked_s, given_s):
    assert settled(post(2), Answer(503, 5, retry_after_s=asked_s), 0.5).after_s == given_s


class Queue:
    """What is due, by endpoint; a claim takes what there is room for."""

    def __init__(self, due):
        self.due = due
        self.rooms = []
        self.done = []

    async def claim(self, room, each, most, lease_s):
        self.rooms.append(dict(room))
        posts = []
        for endpoint, waiting in self.due.items():
            take = room.get(endpoint, each)
            take = min(take, most - len(posts))
            posts += waiting[:take]
            self.due[endpoint] = waiting[take:]
        return posts

    async def finish(self, done):
        self.done += done

    async def bound(self, most): ...

    async def oldest_due_s(self):
        return 0.0


class Nobody:
    def counted(self, lane, outcome): ...

    def oldest_due(self, lane, age_s): ...


async def ran(queue, send, until):
    notifier = Notifier(queue, send, Nobody(), sweep_s=0.01, jitter=lambda: 0.5)
    notifier.start()
    async with asyncio.timeout(5):
        while not until():
            await asyncio.sleep(0.005)
    await notifier.stop(0.1)


async def test_a_slow_endpoint_has_so_many_under_way_and_holds_no_other():
    slow, quick = uuid.uuid4(), uuid.uuid4()
    queue = Queue({slow: [post(endpoint=slow) for _ in range(100)], quick: [post(endpoint=quick) for _ in range(100)]})
    under_way = []

    async def send(one):
        if one.endpoint == slow:
            under_way.append(one)
            await asyncio.sleep(60)
        return GOOD

    await ran(queue, send, lambda: sum(done.state == "delivered" for done in queue.done) == 100)
    assert len(under_way) == EACH < MOST
    assert {done.state for done in queue.done if done.post.endpoint == slow} == {"due"}
    assert all(done.answer is None for done in queue.done if done.post.endpoint == slow)


async def test_a_host_that_hangs_with_all_its_endpoints_holds_no_other():
    hanging, other = [uuid.uuid4() for _ in range(20)], uuid.uuid4()
    due = {endpoint: [post(endpoint=endpoint, host="hangs.example") for _ in range(EACH)] for endpoint in hanging}
    queue = Queue(due | {other: [post(endpoint=other) for _ in range(EACH)]})
    under_way = []

    async def send(one):
        if one.host == "hangs.example":
            under_way.append(one)
            await asyncio.sleep(60)
        return GOOD

    await ran(queue, send, lambda: sum(done.state == "delivered" for done in queue.done) == EACH)
    assert len(under_way) == MOST // 2
    assert {(done.state, done.answer) for done in queue.done if done.post.endpoint in hanging} == {("due", None)}


class Rows:
    """What is due at its instant, of endpoints in any order, as the database gives it; each call takes a while."""

    def __init__(self, rows):
        self.rows = rows  # by endpoint: [due, state, post]
        self.claimed = Counter()

    async def claim(self, room, each, most, lease_s):
        await asyncio.sleep(0.005)
        now_s, posts = asyncio.get_running_loop().time(), []
        for endpoint in random.sample(sorted(self.rows), len(self.rows)):
            due = [row for row in self.rows[endpoint] if row[1] == "due" and row[0] <= now_s]
            for row in due[: min(room.get(endpoint, each), most - len(posts))]:
                row[1] = "leased"
                posts.append(row[2])
                self.claimed[endpoint] += 1
        return posts

    async def finish(self, done):
        for one in done:
            for row in self.rows[one.post.endpoint]:
                if row[2] is one.post:
                    row[:2] = asyncio.get_running_loop().time() + one.after_s, one.state

    async def bound(self, most): ...

    async def oldest_due_s(self):
        return 0.0


async def test_what_a_host_has_no_room_for_is_claimed_in_vain_once_and_its_room_is_divided():
    endpoints = [uuid.uuid4() for _ in range(40)]
    rows = {one: [[0.0, "due", post(endpoint=one, host="slow.example")] for _ in range(2 * EACH)] for one in endpoints}
    queue, release = Rows(rows), asyncio.Event()
    sent = Counter()

    async def send(one):
        sent[one.endpoint] += 1
        if sent.total() <= MOST // 2:
            await release.wait()
        return GOOD

    notifier = Notifier(queue, send, Nobody(), sweep_s=0.01, jitter=lambda: 0.5)
    notifier.start()
    async with asyncio.timeout(20):
        while queue.claimed.total() < MOST // 2 + EACH * 32:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5)  # what was put back is due again
        assert sent.total() == MOST // 2
        assert queue.claimed.total() <= MOST // 2 + EACH * 40
        release.set()
        while sent.total() < 40 * 2 * EACH:
            await asyncio.sleep(0.01)
    await notifier.stop(1.0)
    assert set(sent) == set(endpoints)


def test_a_host_is_one_however_it_is_spelled():
    spelled = ("hooks.example", "HOOKS.example", "hooks.example:443", "hooks.example.")
    assert {post(host=host).host for host in spelled} == {"hooks.example"}


async def test_who_fails_is_asked_by_one_alone_until_an_answer_is_good():
    endpoint = uuid.uuid4()
    queue = Queue({endpoint: [post(endpoint=endpoint) for _ in range(EACH + 20)]})
    sent = []

    async def send(one):
        sent.append(one)
        return Answer(500, 5) if len(sent) <= EACH + 2 else GOOD

    await ran(queue, send, lambda: len(queue.done) == EACH + 20)
    rooms = [room[endpoint] for room in queue.rooms if endpoint in room]
    assert 1 in rooms
    assert max(rooms) <= EACH


async def test_a_fault_of_one_post_is_its_own():
    endpoint = uuid.uuid4()
    queue = Queue({endpoint: [post(endpoint=endpoint) for _ in range(3)]})

    async def send(one):
        if one is first:
            raise RuntimeError("a fault of ours")
        return GOOD

    first = queue.due[endpoint][0]
    await ran(queue, send, lambda: len(queue.done) == 3)
    assert [done.state for done in queue.done].count("delivered") == 2


async def test_what_cannot_be_recorded_holds_nothing_of_the_others():
    endpoint = uuid.uuid4()
    queue = Queue({endpoint: [post(endpoint=endpoint) for _ in range(3)]})
    poison = queue.due[endpoint][1]
    record = queue.finish

    async def finish(done):
        if any(one.post is poison for one in done):
            raise ValueError("a row that the database does not take")
        await record(done)

    async def send(_one):
        return GOOD

    queue.finish = finish
    await ran(queue, send, lambda: len(queue.done) == 2)
    assert poison not in [done.post for done in queue.done]
