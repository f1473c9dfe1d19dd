"""Google in trouble, through the real dispatcher and PostgreSQL: what the rows come to, and what a phone shows.

Rows 15 to 19, 21 and 33 of the faults that delivery has to stand, for the lane `fcm`.
"""

import asyncio
import random
import time
from contextlib import AsyncExitStack

import asyncpg
import pytest

from geo_offers import clock
from geo_offers.gateways import fcm_oauth
from geo_offers.gateways.fcm import FcmLane
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.streams import InAppLane
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import open_pool
from tests.support.gateways.fcm import Answer, Drop, Fcm, Hang, TakeThenClose, Trickle, faults, key_pem, running
from tests.support.houses import House

KEPT, RELEASED = 1, 2
HELD_BY_WORKSPACE = ("app_user", "device", "campaign", "visit", "offer", "reservation", "outbox")


class GoogleHouse(House):
    """A database, FCM, and as many dispatchers as a test wants; all offers are of one workspace."""

    def __init__(self, stack, pool, admin, fcm):
        super().__init__(stack, pool, admin, None)
        self.fcm = fcm
        self.account = fcm.account()
        self.workspace = None

    async def of(self, workspace, lane):
        """The vault's part."""
        return self.account

    def dispatcher(self, *, timeout_s=5.0, lease_s=10.0, sweep_s=0.1, now_us=clock.now_us):
        lane = FcmLane(
            self, base_url=self.fcm.url, token_url=f"{self.fcm.url}/token", timeout_s=timeout_s, now_us=now_us
        )
        self._stack.push_async_callback(lane.close)
        jitter = random.Random(7).random
        lanes = [lane, InAppLane(self.streams)]
        return Dispatcher(PostgresOutbox(self._pool), lanes, self.feed, lease_s=lease_s, sweep_s=sweep_s, jitter=jitter)

    async def offer(self, number=1, **more):
        """An offer for the phone that has this token."""
        sent = await self.put("fcm", due_in_s=3600, **more)
        if self.workspace is None:
            self.workspace = sent.workspace
        for table in HELD_BY_WORKSPACE:
            await self.admin.execute(
                f"UPDATE {table} SET workspace = $1 WHERE workspace = $2", self.workspace, sent.workspace
            )
        await self.admin.execute(
            "UPDATE device SET platform = 'android', push_lane = 'fcm', push_token = $2, push_at = clock_timestamp() "
            "WHERE id = $1",
            *(sent.device, f"token-{number}"),
        )
        await self.admin.execute("UPDATE outbox SET due = clock_timestamp() WHERE offer = $1", sent.offer)
        return sent

    async def token(self, sent):
        return await self.admin.fetchval("SELECT push_token FROM device WHERE id = $1", sent.device)

    async def until_calls(self, count, within_s=5.0):
        async with asyncio.timeout(within_s):
            while len(self.fcm.calls) < count:
                await asyncio.sleep(0.01)

    async def until_open(self):
        """Until the breaker is."""
        async with asyncio.timeout(5):
            while self.feed.open.get("fcm") != 1:
                await asyncio.sleep(0.01)

    def shown(self, number=1):
        return self.fcm.on(f"token-{number}")


@pytest.fixture
async def house(database):
    async with AsyncExitStack() as stack:
        fcm = await stack.enter_async_context(running(Fcm()))
        pool = await stack.enter_async_context(open_pool(database.app_dsn, size=4))
        admin = await asyncpg.connect(database.superuser_dsn)
        stack.push_async_callback(admin.close)
        yield GoogleHouse(stack, pool, admin, fcm)


async def test_offers_reach_their_phones_and_keep_googles_name_for_them(house):
    sent = [await house.offer(number) for number in range(20)]
    async with house.running():
        for each in sent:
            await house.until(each, "accepted")
    assert all(len(house.shown(number)) == 1 for number in range(20))
    receipts = {row["receipt"] for row in await house.admin.fetch("SELECT receipt FROM offer")}
    assert receipts == {f"projects/town/messages/{number}" for number in range(1, 21)}
    assert house.fcm.grants == 1


# ---------------------------------------------------------------------------------------------- row 15
@pytest.mark.parametrize("asked", [None, "10"])
async def test_in_an_outage_few_calls_are_made_offers_expire_as_rows_and_the_return_is_no_storm(house, asked):
    house.fcm.always = Answer(503, "UNAVAILABLE", retry_after=asked)
    brief = [await house.offer(number, expires_s=3.0) for number in range(20)]
    lasting = [await house.offer(number, expires_s=120.0) for number in range(20, 40)]
    async with house.running():
        await house.until_open()
        for sent in brief:
            await house.until(sent, "expired", within_s=20)
        assert len(house.fcm.calls) <= 60  # each once, and then trials one by one
        house.fcm.always, house.fcm.most_at_once = None, 0
        house.fcm.latency_s = lambda: 0.05
        for sent in lasting:
            await house.until(sent, "accepted", within_s=40)
    for sent in brief:
        assert await house.ending(sent) == ("expired", "expired", RELEASED)
    assert not any(house.shown(number) for number in range(20))
    assert set(house.fcm.alerts.values()) == {1}
    assert house.fcm.most_at_once < 20


# ---------------------------------------------------------------------------------------------- row 16
@pytest.mark.parametrize("asked", [None, "20", 20.0], ids=["nothing", "seconds", "date"])
async def test_over_its_quota_the_project_rests_for_as_long_as_it_asks_and_no_attempt_counts(house, asked):
    house.fcm.play(Answer(429, "QUOTA_EXCEEDED", retry_after=asked))
    first = await house.offer()
    async with house.running():
        await house.until_calls(1)
        others = [await house.offer(number) for number in range(2, 12)]
        for sent in (first, *others):
            row = await house.until_row(sent, state="due", attempts=0)
            left_s = (row["due"] - await house.admin.fetchval("SELECT clock_timestamp()")).total_seconds()
            assert left_s > (55 if asked is None else 12) or sent is not first
        await asyncio.sleep(1.0)
        due = await house.admin.fetch("SELECT due - clock_timestamp() AS left, attempts FROM outbox")
        assert all(row["left"].total_seconds() > 10 and row["attempts"] == 0 for row in due)
    assert len(house.fcm.calls) == 1


async def test_after_the_rest_everything_is_sent_once(house):
    house.fcm.play(*[Answer(429, "QUOTA_EXCEEDED", retry_after="10")] * 5)
    began = time.monotonic()
    sent = [await house.offer(number) for number in range(5)]
    async with house.running():
        for each in sent:
            await house.until(each, "accepted", within_s=30)
    assert time.monotonic() - began >= 10
    assert set(house.fcm.alerts.values()) == {1}
    assert len(house.fcm.alerts) == 5


# ---------------------------------------------------------------------------------------------- row 17
@pytest.mark.parametrize("state", ["unregistered", "mismatch", "malformed"])
async def test_a_dead_token_is_removed_and_the_offer_waits_in_the_app(house, state):
    house.fcm.tokens["token-1"] = state
    sent = await house.offer()
    async with house.running():
        await house.until_row(sent, lane="inapp")
    assert await house.token(sent) is None
    assert house.fcm.screens == {}


async def test_a_token_registered_anew_while_the_answer_is_on_its_way_stays(house):
    house.fcm.tokens["token-1"] = "unregistered"
    house.fcm.latency_s = lambda: 0.3
    sent = await house.offer()
    async with house.running():
        await house.until_calls(0)
        while not house.fcm.connections:
            await asyncio.sleep(0.01)
        await house.admin.execute(
            "UPDATE device SET push_at = clock_timestamp() + interval '1 min' WHERE id = $1", sent.device
        )
        await house.until_row(sent, lane="inapp")
    assert await house.token(sent) == "token-1"


# ---------------------------------------------------------------------------------------------- row 18
@pytest.mark.parametrize("fault", [Drop(taken=True), Hang(2.0, taken=True)], ids=["dropped", "silent"])
async def test_a_lost_answer_is_followed_by_one_repeat_in_the_same_place(house, fault):
    house.fcm.play(fault)
    sent = await house.offer()
    async with house.running(timeout_s=0.5):
        await house.until_row(sent, state="due", ambiguous=True)
        await house.until(sent, "accepted")
    assert len(house.fcm.calls) == 2
    assert len(house.shown()) == 1
    assert await house.ending(sent) == ("accepted", None, KEPT)


async def test_an_answer_behind_which_the_connection_closes_is_an_answer(house):
    house.fcm.play(TakeThenClose())
    sent = await house.offer()
    async with house.running():
        await house.until(sent, "accepted")
    assert len(house.fcm.calls) == 1


async def test_what_is_never_answered_is_sent_twice_and_keeps_its_slot(house):
    house.fcm.play(*[Drop(taken=True)] * 5)
    sent = await house.offer()
    async with house.running():
        await house.until(sent, "ambiguous")
        await asyncio.sleep(0.3)
    assert len(house.fcm.calls) == 2
    assert len(house.shown()) == 1
    assert (await house.ending(sent))[2] == KEPT


# ---------------------------------------------------------------------------------------------- row 19
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Hang(30.0), "ambiguous"),
        (Trickle(b"x", 1.0), "accepted"),
        (Trickle(b"x" * 65_536, 0.0), "accepted"),
        (Trickle(b"x" * 65_536, 0.0, status=400), "failed"),
        (Trickle(b"x" * 1_000_000, 0.0, status=404, length=100_000_000), "failed"),
    ],
    ids=["hang", "a byte a second", "endless", "endless refusal", "100 MB"],
)
async def test_a_slow_or_endless_answer_ends_in_time_and_holds_nobody(house, fault, state):
    house.fcm.play(fault, *([fault] if state == "ambiguous" else []))
    sent = await house.offer()
    async with house.running(timeout_s=3.0):
        await house.until_calls(1)
        if state == "ambiguous":
            await house.until_calls(2)
        neighbour = await house.offer(2)
        await house.until(neighbour, "accepted", within_s=2)  # sooner than the other is given up
        await house.until(sent, state)
    assert len(house.shown(2)) == 1


# ---------------------------------------------------------------------------------------------- row 21
async def test_while_no_bearer_can_be_had_one_asks_for_all_and_nothing_is_lost(house):
    house.fcm.oauth_script.extend([Answer(503, raw=b"")] * 100)
    sent = [await house.offer(number, expires_s=120.0) for number in range(30)]
    async with house.running():
        await asyncio.sleep(3.0)
        assert house.fcm.grants == 1
        assert house.fcm.calls == []
        house.fcm.oauth_script.clear()
        for each in sent:
            await house.until(each, "accepted", within_s=40)
    assert set(house.fcm.alerts.values()) == {1}
    assert house.fcm.grants <= 3


async def test_the_old_bearer_is_used_to_its_end_and_a_new_one_ends_the_pause(house, monkeypatch):
    monkeypatch.setattr(fcm_oauth, "RENEWED_AT", 0.1)
    house.fcm.bearer_lasts_s = 6.0
    async with house.running():
        await house.until(await house.offer(1), "accepted")
        house.fcm.oauth_script.extend([Answer(500, raw=b"")] * 100)
        ends_s = next(iter(house.fcm.bearers.values()))
        while time.monotonic() < ends_s - 2.0:
            await house.until(await house.offer(2), "accepted")
        assert house.fcm.grants > 1
        await asyncio.sleep(ends_s + 0.2 - time.monotonic())
        calls = len(house.fcm.calls)
        late = await house.offer(3)
        await asyncio.sleep(0.5)
        assert len(house.fcm.calls) == calls
        house.fcm.oauth_script.clear()
        await house.until(late, "accepted", within_s=30)


async def test_a_slow_endpoint_holds_sends_back_and_loses_none(house):
    house.fcm.oauth_script.append(Hang(1.5))
    sent = [await house.offer(number) for number in range(20)]
    async with house.running(timeout_s=1.0):
        for each in sent:
            await house.until(each, "accepted", within_s=30)
    assert set(house.fcm.alerts.values()) == {1}
    assert house.fcm.grants == 2


async def test_a_clock_that_google_does_not_believe_keeps_offers_waiting(house):
    sent = await house.offer(expires_s=7200.0)
    async with house.running(now_us=lambda: clock.now_us() + 3_600_000_000):
        await house.until_row(sent, state="due", attempts=0)
        await house.until_open()
    assert house.fcm.calls == []
    assert (await house.ending(sent))[0] == "queued"


# ---------------------------------------------------------------------------------------------- row 33
async def test_an_account_is_replaced_while_offers_go_out_and_none_is_dropped(house):
    async with house.running():
        sent = [await house.offer(number) for number in range(10)]
        await house.until_calls(5)
        house.fcm.key = key_pem(1)
        house.fcm.expire_bearers()
        house.account = house.fcm.account()
        sent += [await house.offer(number) for number in range(10, 20)]
        for each in sent:
            await house.until(each, "accepted", within_s=20)
    assert set(house.fcm.alerts.values()) == {1}


# ---------------------------------------------------------------------------------------------- any of them
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_script_of_faults_shows_twice_or_too_late(house, seed):
    house.fcm.play(*faults(seed, 60))
    sent = {number: await house.offer(number, expires_s=8.0) for number in range(30)}
    async with house.running(timeout_s=0.5):
        async with asyncio.timeout(30):
            while await house.admin.fetchval("SELECT count(*) FROM outbox WHERE lane = 'fcm'"):
                await asyncio.sleep(0.1)
    for number, each in sent.items():
        state, _, slot = await house.ending(each)
        assert len(house.shown(number)) <= 1
        assert state in {"accepted", "ambiguous", "expired", "failed", "queued"}
        if state == "accepted":
            assert len(house.shown(number)) == 1
        if slot == RELEASED:
            assert not house.shown(number)
