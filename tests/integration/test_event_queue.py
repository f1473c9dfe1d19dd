"""The queue of events over a real database: leases, tokens, and what is not there any more."""

import asyncio
import re
import uuid

import aiohttp
import asyncpg
import pytest

from geo_offers.gateways.events import EventSender
from geo_offers.pipeline import notifying
from geo_offers.pipeline.notifying import Answer, Done, Notifier, Told
from geo_offers.storage import webhooks
from geo_offers.storage.keys import UNSEALED
from geo_offers.storage.pool import open_pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.webhooks import PostgresEventQueue, spelled, tell
from tests.support.gateways.events import receiving, script

WORKSPACE, OTHER, USER = (uuid.uuid4() for _ in range(3))
GOOD = Answer(200, 5)


class Nobody:
    def counted(self, lane, outcome): ...

    def oldest_due(self, lane, age_s): ...


class House:
    def __init__(self, pool, admin):
        self.pool = pool
        self.admin = admin
        self.queue = PostgresEventQueue(pool, UNSEALED)

    async def endpoint(self, workspace=WORKSPACE, types=("geofence.entered",)):
        ident = uuid.uuid4()
        await self.admin.execute(
            "INSERT INTO webhook_endpoint (id, workspace, url, types, secret) "
            "VALUES ($1, $2, 'https://a.example/', $3, $4)",
            *(ident, workspace, list(types), bytes(32)),
        )
        return ident

    async def tell(self, count=1, workspace=WORKSPACE):
        async with transaction(self.pool, [workspace]) as connection:
            await tell(connection, [Told("geofence.entered", workspace, USER, 1_700_000_000_000_000, b"{}")] * count)

    async def claim(self, *, room=None, each=10, most=100, lease_s=10.0):
        return await self.queue.claim(room or {}, each, most, lease_s)

    async def state(self):
        return [tuple(row) for row in await self.admin.fetch("SELECT state, attempts FROM webhook_delivery")]


@pytest.fixture
async def house(database):
    admin = await asyncpg.connect(database.superuser_dsn)
    async with open_pool(database.app_dsn, size=3) as pool:
        yield House(pool, admin)
    await admin.close()


async def test_an_event_goes_to_each_endpoint_of_its_workspace_that_wants_it(house):
    wants = {await house.endpoint(), await house.endpoint()}
    await house.endpoint(types=["offer.sent"])
    await house.endpoint(OTHER)
    await house.tell()
    posts = await house.claim()
    assert {post.endpoint for post in posts} == wants
    assert len({post.event for post in posts}) == 1
    assert len({post.id for post in posts}) == 2


async def test_what_is_claimed_is_not_claimed_again_until_its_lease_ends(house):
    await house.endpoint()
    await house.tell()
    (first,) = await house.claim(lease_s=0.05)
    (second,) = [post for _ in range(200) for post in await house.claim()]
    assert (second.event, second.token, second.attempts) == (first.event, first.token + 1, 2)


async def test_a_record_under_an_old_token_changes_nothing(house):
    await house.endpoint()
    await house.tell()
    (old,) = await house.claim(lease_s=0.0)
    (new,) = await house.claim()
    await house.queue.finish([Done(old, "delivered", GOOD)])
    assert await house.state() == [("leased", 2)]
    await house.queue.finish([Done(new, "delivered", GOOD)])
    assert await house.state() == [("delivered", 2)]


async def test_what_was_not_tried_gets_its_attempt_back(house):
    await house.endpoint()
    await house.tell()
    (post,) = await house.claim()
    await house.queue.finish([Done(post, "due", None)])
    assert await house.state() == [("due", 0)]
    assert not await house.admin.fetchval("SELECT count(*) FROM webhook_attempt")


async def test_an_endpoint_with_much_waiting_hides_no_other(house):
    crowded = await house.endpoint()
    await house.tell(500)
    late = await house.endpoint()
    await house.tell()
    posts = await house.claim(each=5)
    assert sorted(post.endpoint for post in posts) == sorted([*[crowded] * 5, late])
    assert {post.endpoint for post in await house.claim(room={crowded: 0, late: 0})} == set()
    assert len(await house.claim(room={crowded: 2})) == 2


async def test_what_was_erased_meanwhile_is_not_sent_and_leaves_the_queue(house):
    await house.endpoint()
    await house.tell()
    await house.admin.execute("DELETE FROM webhook_event")
    assert await house.claim() == []
    assert await house.state() == []


async def test_what_was_erased_meanwhile_takes_nothing_of_others_along(house):
    await house.endpoint()
    await house.tell(3)
    await house.claim(each=1, lease_s=60.0)
    await house.admin.execute(
        "DELETE FROM webhook_event WHERE id IN (SELECT event FROM webhook_delivery WHERE state = 'due' LIMIT 1)"
    )
    assert len(await house.claim()) == 1
    assert await house.state() == [("leased", 1)] * 2


async def test_where_there_is_room_for_some_it_is_not_always_the_same_endpoints_that_get_it(house):
    endpoints = {await house.endpoint() for _ in range(20)}
    await house.tell(100)
    served = {
        post.endpoint for _ in range(200) for post in await house.claim(each=2, most=4)
    }  # each time two in twenty
    assert served == endpoints


async def test_an_event_that_ends_its_process_each_time_is_given_up(house):
    async def send(post):
        raise AssertionError(post)

    await house.endpoint()
    await house.tell()
    await house.admin.execute("UPDATE webhook_delivery SET attempts = 10")
    notifier = Notifier(house.queue, send, Nobody())
    for _ in range(2):
        await notifier.turn()
    assert [state for state, _ in await house.state()] == ["failed"]


async def test_what_waits_for_a_disabled_endpoint_is_given_up(house):
    await house.endpoint()
    await house.tell()
    await house.admin.execute("UPDATE webhook_endpoint SET disabled_at = now()")
    assert await house.claim() == []
    assert [state for state, _ in await house.state()] == ["failed"]
    await house.tell()
    assert len(await house.state()) == 1


async def test_an_endpoint_that_too_much_waits_for_is_disabled_and_no_other(house):
    crowded, other = await house.endpoint(types=("geofence.entered",)), await house.endpoint(types=("offer.sent",))
    elsewhere = await house.endpoint(OTHER)
    await house.tell(4)
    await house.tell(3, OTHER)
    await house.queue.bound(3)
    assert {post.endpoint for post in await house.claim()} == {elsewhere}
    why = dict(await house.admin.fetch("SELECT id, disabled_why FROM webhook_endpoint"))
    assert why == {crowded: "backlog", other: None, elsewhere: None}
    waiting = await house.admin.fetch("SELECT endpoint, state FROM webhook_delivery")
    assert {(row["endpoint"], row["state"]) for row in waiting} == {(crowded, "failed"), (elsewhere, "leased")}
    assert await house.admin.fetchval("SELECT count(*) FROM audit WHERE action = 'webhook.disable'") == 1
    await house.tell()  # a disabled one is queued nothing
    assert len(await house.state()) == 7


async def test_what_waits_for_a_disabled_endpoint_is_given_up_slice_by_slice(house, monkeypatch):
    monkeypatch.setattr(webhooks, "GIVEN_UP", 10)
    await house.endpoint()
    await house.tell(25)
    await house.queue.bound(20)
    left = []
    for _ in range(3):
        assert await house.claim(each=5) == []
        left.append([state for state, _ in await house.state()].count("failed"))
    assert left == [10, 20, 25]


async def test_who_disables_a_failing_endpoint_and_who_records_that_it_is_gone_wait_in_one_order(house):
    ident = await house.endpoint()
    await house.tell(5)
    (post,) = await house.claim(each=1)
    await house.admin.execute("UPDATE webhook_endpoint SET failing_since = clock_timestamp()")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with transaction(house.pool, [WORKSPACE]) as other:
        assert await other.fetch(sql("webhooks_disable"), [], [ident], [], 1e9)
        recording = asyncio.create_task(house.queue.finish([Done(post, "failed", Answer(410, 5))]))
        async with asyncio.timeout(5):
            while not await house.admin.fetchval(waiting):
                await asyncio.sleep(0.01)
        await other.execute(sql("webhooks_give_up"), [ident], 10)
    await recording
    assert {state for state, _ in await house.state()} == {"failed"}


async def test_the_bound_of_a_backlog_reads_no_more_than_that_of_each(house):
    await house.endpoint()
    await house.endpoint(OTHER)
    await house.tell(500)
    await house.tell(500, OTHER)
    await house.admin.execute("ANALYZE webhook_delivery")
    await house.admin.execute("SET enable_seqscan = off")
    plan = await house.admin.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql('webhooks_backlogs')}", 50)
    read = [int(float(found)) for (line,) in plan for found in re.findall(r"Index.*rows=([\d.]+)", line)]
    assert read
    assert max(read) <= 51


async def test_a_turn_that_fails_tells_nothing(house):
    async def turn():
        async with transaction(house.pool, [WORKSPACE]) as connection:
            await tell(connection, [Told("geofence.entered", WORKSPACE, USER, 0, b"{}")])
            raise RuntimeError

    await house.endpoint()
    with pytest.raises(RuntimeError):
        await turn()
    assert await house.state() == []


async def test_an_endpoint_fails_from_its_first_bad_answer_to_its_next_good_one(house):
    ident = await house.endpoint()
    await house.tell(2)
    one, other = await house.claim()

    async def since():
        return await house.admin.fetchval("SELECT failing_since FROM webhook_endpoint WHERE id = $1", ident)

    await house.queue.finish([Done(one, "due", Answer(500, 5))])
    first = await since()
    (again,) = await house.claim()
    await house.queue.finish([Done(again, "due", Answer(500, 5), 60.0)])
    assert first is not None
    assert await since() == first
    await house.queue.finish([Done(other, "delivered", GOOD)])
    assert await since() is None


@pytest.mark.parametrize("seed", [3, 11])
async def test_through_any_faults_each_event_is_taken_in_the_end(house, monkeypatch, seed):
    monkeypatch.setattr(notifying, "SLOTS_S", (0.0, *[0.01] * 29))
    monkeypatch.setattr(notifying, "LEAST_REST_S", 0.01)
    monkeypatch.setattr(notifying, "_PAUSE_S", (0.001, 0.01))
    async with receiving() as receiver, aiohttp.ClientSession() as session:
        receiver.secrets = [spelled(bytes(32))]
        receiver.answers = [*script(seed, {500: 0.2, 429: 0.1, "drop": 0.2, "hang": 0.05}, 200)]
        ident = await house.endpoint()
        await house.admin.execute("UPDATE webhook_endpoint SET url = $1 WHERE id = $2", receiver.url, ident)
        await house.tell(60)
        notifier = Notifier(house.queue, EventSender(session, timeout_s=0.1), Nobody(), sweep_s=0.01)
        notifier.start()
        await receiver.until("geofence.entered", 60, within_s=30)
        async with asyncio.timeout(10):  # an answer that came too late is asked for again
            while {state for state, _ in await house.state()} != {"delivered"}:
                await asyncio.sleep(0.01)
        await notifier.stop(1)
    assert len(receiver.taken) == 60
    assert not receiver.unsigned


async def test_of_many_with_a_backlog_none_comes_last_each_time(house):
    endpoints = {await house.endpoint() for _ in range(6)}
    await house.tell(10)
    served = [{post.endpoint for post in await house.claim(most=10, lease_s=0.0)} for _ in range(100)]
    assert all(len(some) == 1 for some in served)
    assert set.union(*served) == endpoints


async def test_who_changes_an_endpoint_and_who_records_its_failures_wait_in_one_order(house):
    ident = await house.endpoint()
    await house.tell()
    (post,) = await house.claim()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with transaction(house.pool, [WORKSPACE]) as manager:
        await manager.fetchrow(sql("webhooks_lock"), WORKSPACE, ident)
        recording = asyncio.create_task(house.queue.finish([Done(post, "due", Answer(500, 5), 9.0)]))
        async with asyncio.timeout(5):
            while not await house.admin.fetchval(waiting):
                await asyncio.sleep(0.01)
        await manager.execute(sql("webhooks_change"), ident, None, None, None, True)
        await manager.execute(sql("webhooks_give_up"), [ident], 10)
    await recording
    assert await house.state() == [("failed", 1)]
