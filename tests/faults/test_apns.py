"""Apple in trouble, through the real dispatcher and PostgreSQL: what the rows come to, and what a phone shows.

Rows 15 and 17 to 20 of the faults that delivery has to stand, for the lane `apns`.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from h2.errors import ErrorCodes

from geo_offers.gateways.apns import ApnsLane
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.streams import InAppLane
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import open_pool
from tests.support.gateways import apns as fakes
from tests.support.gateways.apns import serving
from tests.support.houses import House

KEPT, RELEASED = 1, 2


def device(number):
    return f"{number:064x}"


class AppleHouse(House):
    """A database, Apple, and as many dispatchers as a test wants."""

    def __init__(self, stack, pool, admin, apple):
        super().__init__(stack, pool, admin, None)
        self.apple = apple

    def dispatcher(self, *, timeout_s=1.0, lease_s=10.0, sweep_s=0.1, concurrency=32):
        lane = ApnsLane(self.apple, self.apple.context(), self.apple.url, concurrency=concurrency, timeout_s=timeout_s)
        self._stack.push_async_callback(lane.close)
        lanes = [lane, InAppLane(self.streams)]
        return Dispatcher(
            PostgresOutbox(self._pool), lanes, self.feed, lease_s=lease_s, sweep_s=sweep_s, jitter=lambda: 0.0
        )

    async def offer(self, number=1, **more):
        """An offer for a phone that has token `number`."""
        sent = await self.put("apns", due_in_s=3600, **more)
        await self.admin.execute(
            "UPDATE device SET push_lane = 'apns', push_token = $2, push_at = clock_timestamp() WHERE id = $1",
            *(sent.device, device(number)),
        )
        await self.admin.execute("UPDATE outbox SET due = clock_timestamp() WHERE offer = $1", sent.offer)
        return sent

    async def token(self, sent):
        return await self.admin.fetchval("SELECT push_token FROM device WHERE id = $1", sent.device)

    def posts(self, sent):
        return [push for push in self.apple.posts if push.ident == str(sent.offer)]


@asynccontextmanager
async def a_house(database, **options):
    async with AsyncExitStack() as stack:
        apple = await stack.enter_async_context(serving(**options))
        pool = await stack.enter_async_context(open_pool(database.app_dsn, size=4))
        admin = await asyncpg.connect(database.superuser_dsn)
        stack.push_async_callback(admin.close)
        yield AppleHouse(stack, pool, admin, apple)


@pytest.fixture
async def house(database):
    async with a_house(database) as made:
        yield made


async def test_offers_reach_their_phones_and_keep_apples_name_for_them(house):
    sent = [await house.offer(number) for number in range(1, 21)]
    async with house.running():
        for each in sent:
            await house.until(each, "accepted")
    assert set(house.apple.visible()) == {str(each.offer) for each in sent}
    receipts = await house.admin.fetch("SELECT id, receipt FROM offer")
    assert {str(row["id"]): row["receipt"] for row in receipts} == {str(each.offer): str(each.offer) for each in sent}
    assert house.apple.faults == []


# ---------------------------------------------------------------------------------------------- row 15
@pytest.mark.parametrize(("status", "reason"), [(500, "InternalServerError"), (503, "ServiceUnavailable")])
async def test_what_apple_cannot_take_is_asked_once_and_expires_with_its_slot_released(house, status, reason):
    house.apple.script += [fakes.refusing(status, reason)] * 50
    sent = await house.offer(expires_s=2.5)
    async with house.running():
        await house.until(sent, "expired", within_s=10)
    assert await house.ending(sent) == ("expired", "expired", RELEASED)
    assert len(house.posts(sent)) == 1
    assert not house.apple.visible()


# ---------------------------------------------------------------------------------------------- row 17
async def test_only_a_token_that_was_registered_before_it_died_is_removed(house):
    old, renewed = await house.offer(1), await house.offer(2)
    registered_ms = await house.admin.fetchval(
        "SELECT (extract(epoch FROM push_at) * 1000)::bigint FROM device WHERE id = $1", old.device
    )
    house.apple.dead_ms |= {device(1): registered_ms + 1, device(2): registered_ms - 60_000}
    async with house.running():
        for sent in (old, renewed):
            await house.until_row(sent, lane="inapp")
    assert await house.token(old) is None
    assert await house.token(renewed) == device(2)
    assert not house.apple.visible()


async def test_a_token_registered_anew_while_the_answer_is_on_its_way_stays(house):
    answered, arrived = asyncio.Event(), asyncio.Event()

    async def dead(call):
        arrived.set()
        await answered.wait()
        call.refuse(410, "Unregistered", timestamp=int(house.apple.clock() * 1000))

    house.apple.script.append(dead)
    sent = await house.offer(1)
    async with house.running(timeout_s=5.0):
        await arrived.wait()
        await house.admin.execute(
            "UPDATE device SET push_at = clock_timestamp() + interval '1 min' WHERE id = $1", sent.device
        )
        answered.set()
        await house.until_row(sent, lane="inapp")
    assert await house.token(sent) == device(1)


# ---------------------------------------------------------------------------------------------- row 18
@pytest.mark.parametrize(
    "fault",
    [fakes.lost, fakes.dropped, fakes.goaway(answered=False), fakes.reset(ErrorCodes.INTERNAL_ERROR, shown=True)],
    ids=["lost", "dropped", "goodbye", "reset"],
)
async def test_a_lost_answer_is_followed_by_one_repeat_under_the_same_id_and_key(house, fault):
    house.apple.script.append(fault)
    sent = await house.offer()
    async with house.running():
        await house.until_row(sent, state="due", ambiguous=True)
        await house.until(sent, "accepted")
    first, second = house.posts(sent)
    assert first.headers["apns-collapse-id"] == second.headers["apns-collapse-id"]
    assert house.apple.visible() == {str(sent.offer): 1}
    assert await house.ending(sent) == ("accepted", None, KEPT)


async def test_what_is_never_answered_is_sent_twice_and_keeps_its_slot(house):
    house.apple.script += [fakes.lost] * 5
    sent = await house.offer()
    async with house.running():
        await house.until(sent, "ambiguous")
        await asyncio.sleep(0.3)
    assert len(house.posts(sent)) == 2
    assert len(house.apple.visible()) == 1
    assert (await house.ending(sent))[2] == KEPT


# ---------------------------------------------------------------------------------------------- row 19
@pytest.mark.parametrize(
    ("fault", "state"),
    [(fakes.silent, "ambiguous"), (fakes.slow(12), "ambiguous"), (fakes.endless, "failed")],
    ids=["silent", "slow", "endless"],
)
async def test_an_answer_without_end_costs_its_offer_and_nobody_elses(house, fault, state):
    house.apple.script += [fault, fault]
    hung = await house.offer(1)
    async with house.running(timeout_s=0.4):
        await house.until(hung, state, within_s=10)
        house.apple.script.clear()
        other = await house.offer(2)
        await house.until(other, "accepted")
    assert len(house.posts(hung)) == (2 if state == "ambiguous" else 1)
    assert house.apple.poured < 1_000_000


# ---------------------------------------------------------------------------------------------- row 20
async def test_goodbyes_and_refused_streams_lose_nothing_and_show_nothing_twice(house):
    refused = fakes.reset(ErrorCodes.REFUSED_STREAM)
    house.apple.script += [
        None,
        refused,
        fakes.goaway("Shutdown"),
        fakes.goaway_unseen,
        refused,
    ] * 4
    sent = [await house.offer(number) for number in range(1, 25)]
    async with house.running(timeout_s=3.0):
        for each in sent:
            await house.until(each, "accepted", within_s=15)
    assert house.apple.processed == Counter(str(each.offer) for each in sent)  # once each, not only once on the screen
    assert house.apple.faults == []
    assert not await house.admin.fetchval("SELECT count(*) FROM outbox")


async def test_one_stream_at_a_time_is_enough_for_everybody(database):
    async with a_house(database, streams=1) as house:
        sent = [await house.offer(number) for number in range(1, 21)]
        async with house.running(timeout_s=5.0):
            for each in sent:
                await house.until(each, "accepted", within_s=15)
        assert len(house.apple.posts) == 20
        assert house.apple.faults == []


async def test_a_window_of_nothing_sends_nothing_and_the_offer_goes_once_it_opens(database):
    async with a_house(database, window=0) as house:
        sent = await house.offer()
        async with house.running(timeout_s=0.3):
            row = await house.until_row(sent, state="due", attempts=1)
            assert not row["ambiguous"]
            assert house.apple.posts == []
            house.apple.window = 65_535
            for line in house.apple.live:
                line.open_window()
            await house.until(sent, "accepted", within_s=10)
        assert len(house.posts(sent)) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_of_many_offers_through_random_faults_each_is_shown_once_or_known_to_be_open(database, seed):
    async with a_house(database, script=fakes.random_script(seed, 60)) as house:
        sent = [await house.offer(number) for number in range(1, 41)]
        async with house.running(timeout_s=2.0, concurrency=4):
            async with asyncio.timeout(40):
                while await house.admin.fetchval("SELECT count(*) FROM outbox"):
                    await asyncio.sleep(0.05)
        states = Counter([(await house.ending(each))[0] for each in sent])
        assert states.keys() <= {"accepted", "ambiguous"}
        shown = house.apple.visible()
        for each in sent:
            state, _, slot = await house.ending(each)
            assert slot == KEPT
            assert shown[str(each.offer)] == 1 or state == "ambiguous"
        assert max(house.apple.processed.values()) <= 2
        assert house.apple.faults == []


# ---------------------------------------------------------------------------------------------- credentials
async def test_a_workspace_whose_key_is_refused_waits_and_holds_no_other(house):
    class Vault:
        def __init__(self):
            self.broken: UUID | None = None

        async def of(self, workspace, lane):
            key = await house.apple.of(workspace, lane)
            return replace(key, key_id="REVOKED123") if workspace == self.broken else key

    vault = Vault()
    lane = ApnsLane(vault, house.apple.context(), house.apple.url)
    house._stack.push_async_callback(lane.close)
    stuck = [await house.offer(1, expires_s=4)]
    vault.broken = stuck[0].workspace
    good = await house.offer(2)
    dispatcher = Dispatcher(PostgresOutbox(house._pool), [lane], house.feed, sweep_s=0.1, jitter=lambda: 0.0)
    dispatcher.start()
    await house.until(good, "accepted")
    await house.until(stuck[0], "expired", within_s=8)
    await dispatcher.stop()
    assert house.feed.open["apns"] == 1
    assert len(house.posts(stuck[0])) == 1
    assert await house.ending(stuck[0]) == ("expired", "expired", RELEASED)
