"""The dispatcher over a real outbox and real gateways on the loopback."""

import asyncio
import json
import re
from collections import Counter
from contextlib import AsyncExitStack
from math import inf
from types import SimpleNamespace
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from geo_offers.gateways.log import LogLane
from geo_offers.pipeline import throttle
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.streams import InAppLane
from geo_offers.storage import surroundings
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import borrowed, listed, open_pool, transaction
from geo_offers.storage.queries import sql
from tests.support.functions import query_of
from tests.support.houses import CONSENTS, House


@pytest.fixture
async def house(database):
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(database.app_dsn, size=4))
        admin = await asyncpg.connect(database.superuser_dsn)
        stack.push_async_callback(admin.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        made = House(stack, pool, admin, session)
        await made.open_gateway()
        yield made


# ---------------------------------------------------------------------------------------------- the plain way
async def test_offers_of_all_workspaces_and_lanes_reach_their_gateway_and_the_feed(house):
    pushed = [await house.put() for _ in range(5)]
    logged = await house.put("log")
    async with house.running():
        for sent in (*pushed, logged):
            await house.until(sent, "accepted")
            assert await house.ending(sent) == ("accepted", None, 1)
            assert await house.row(sent) is None
    assert sorted(house.gateway.posts) == sorted(str(sent.offer) for sent in pushed)
    assert sorted(house.feed.told) == sorted(
        [(sent.workspace, sent.offer, "webhook", "accepted") for sent in pushed]
        + [(logged.workspace, logged.offer, "log", "accepted")]
    )
    assert house.feed.counts["webhook", "accepted"] == 5
    assert house.feed.ages.keys() == {"webhook", "inapp", "log"}


async def test_when_a_gateway_took_an_offer_is_kept_though_it_is_shown_since(house):
    sent = await house.put()
    house.gateway.answers = [web.Response(status=500), web.Response(status=200)]
    accepted_at = "SELECT accepted_at FROM offer WHERE id = $1"
    async with house.running() as dispatcher:
        await house.until_row(sent, state="due", token=1)
        assert await house.admin.fetchval(accepted_at, sent.offer) is None
        await house.until(sent, "accepted")
        taken = await house.admin.fetchval(accepted_at, sent.offer)
        assert await dispatcher.shown(sent.workspace, sent.offer, sent.device)
    assert taken is not None
    assert await house.admin.fetchval(accepted_at, sent.offer) == taken
    assert (await house.ending(sent))[0] == "shown"


async def test_a_commits_wake_up_is_enough(house):
    async with house.running(sweep_s=3600) as dispatcher:
        await asyncio.sleep(0.1)
        sent = await house.put()
        dispatcher.wake()
        await house.until(sent, "accepted", within_s=2)


async def test_without_a_wake_up_the_sweep_finds_it(house):
    async with house.running(sweep_s=0.1):
        await asyncio.sleep(0.1)
        await house.until(await house.put(), "accepted", within_s=2)


async def test_no_more_sends_are_under_way_than_allowed(house):
    house.gateway.release.clear()
    sent = [await house.put() for _ in range(12)]
    async with house.running(concurrency=4):
        async with asyncio.timeout(5):
            while house.gateway.under_way < 4:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        waiting = await house.admin.fetchval("SELECT count(*) FROM outbox WHERE state = 'due'")
        assert waiting == 8  # not leased while nobody can send them
        house.gateway.release.set()
        for each in sent:
            await house.until(each, "accepted")
    assert house.gateway.most_under_way == 4


# ---------------------------------------------------------------------------------------------- what may go wrong
async def test_what_was_withdrawn_before_the_send_is_never_posted(house):
    sent = await house.put()
    held = CONSENTS | {"offers": CONSENTS["offers"] | {"granted": False}}
    await house.admin.execute("UPDATE app_user SET consents = $2 WHERE id = $1", sent.user, json.dumps(held).encode())
    async with house.running():
        await house.until(sent, "cancelled")
    assert await house.ending(sent) == ("cancelled", "no_consent", 2)
    assert house.gateway.posts == []
    assert house.feed.told == [(sent.workspace, sent.offer, "webhook", "cancelled")]
    assert house.feed.life == [("webhook", "cancelled", "no_consent")]


async def test_a_refused_offer_fails_and_gives_its_slot_back(house):
    house.gateway.answers = [web.Response(status=422)]
    sent = await house.put()
    async with house.running():
        await house.until(sent, "failed")
    assert await house.ending(sent) == ("failed", "http 422", 2)
    assert len(house.gateway.posts) == 1
    assert house.feed.life == [("webhook", "sending", None), ("webhook", "refused", "http 422")]


async def test_a_dead_token_is_cleared_and_the_offer_comes_in_the_app_until_shown(house):
    house.gateway.answers = [web.Response(status=410)]
    sent = await house.put()
    with house.streams.attach(sent.workspace, sent.device) as stream:
        async with house.running(sweep_s=3600) as dispatcher, asyncio.timeout(5):
            frame = json.loads(await anext(stream))
            assert (frame["type"], frame["id"], frame["alert"], frame["lane"]) == (
                "offer",
                str(sent.offer),
                True,
                "inapp",
            )
            await house.until_row(sent, lane="inapp", state="due", ambiguous=True)
            assert await dispatcher.shown(sent.workspace, sent.offer, sent.device)
            assert await dispatcher.shown(sent.workspace, sent.offer, sent.device)
            assert not await dispatcher.shown(sent.workspace, sent.offer, sent.user)
    assert await house.ending(sent) == ("shown", None, 1)
    assert await house.admin.fetchval("SELECT push_token FROM device WHERE id = $1", sent.device) is None
    assert await house.admin.fetchval("SELECT lane FROM offer WHERE id = $1", sent.offer) == "inapp"
    assert await house.admin.fetchval("SELECT count(*) FROM offer_event WHERE offer = $1", sent.offer) == 1
    assert [told[3] for told in house.feed.told] == ["token_dead", "offered", "shown"]
    assert [step[:2] for step in house.feed.life] == [
        ("webhook", "sending"),
        ("webhook", "token_dead"),
        ("inapp", "moved"),
        ("inapp", "sending"),
        ("inapp", "offered"),
        ("inapp", "shown"),
    ]


async def test_a_gateway_that_says_of_all_tokens_that_they_are_dead_buries_few_and_its_lane_rests(house, monkeypatch):
    monkeypatch.setattr(throttle, "MOST_DEATHS", 3)
    house.gateway.answers = [web.Response(status=410) for _ in range(50)]
    for _ in range(12):
        await house.put()
    async with house.running(), asyncio.timeout(5):
        while len(house.gateway.posts) < 12:
            await asyncio.sleep(0.02)
    buried = await house.admin.fetchval("SELECT count(*) FROM device WHERE push_token IS NULL")
    assert (buried, await house.admin.fetchval("SELECT count(*) FROM push_tombstone")) == (3, 3)
    assert house.feed.counts["webhook", "deaths_doubted"] >= 1
    held = await house.admin.fetch("SELECT slot.state, b.lane FROM outbox b JOIN reservation slot USING (offer)")
    assert sorted((row["state"], row["lane"]) for row in held) == [(0, "inapp")] * 3 + [(0, "webhook")] * 9
    assert len(house.gateway.posts) == 12


async def test_a_throttled_gateway_slows_the_whole_lane_but_expiry_goes_on(house):
    house.gateway.answers = [web.Response(status=429, headers={"Retry-After": "4"})]
    first = await house.put()
    async with house.running(concurrency=1) as dispatcher:
        await house.until_row(first, state="due")
        second, short = await house.put(), await house.put(expires_s=0.3)
        dispatcher.wake()
        row = await house.until_row(second, state="due", token=1)
        assert row["attempts"] == 0
        await house.until(short, "expired", within_s=3.5)
        assert len(house.gateway.posts) == 1
        for sent in (first, second):
            await house.until(sent, "accepted", within_s=15)
    assert house.feed.counts["webhook", "held"] in {1, 2}  # the short one may have expired at its first look
    assert house.feed.life.count(("webhook", "held", None)) == house.feed.counts["webhook", "held"]
    assert await house.ending(short) == ("expired", "expired", 2)


async def test_a_gateway_that_is_down_gets_it_once_it_is_up_again(house):
    port = await house.close_gateway()
    sent = await house.put()
    async with house.running():
        row = await house.until_row(sent, state="due", attempts=1)
        assert not row["ambiguous"]
        await house.open_gateway(port)
        await house.until(sent, "accepted")
    assert len(house.gateway.posts) == 1


async def test_what_never_gets_an_answer_is_sent_once_more_under_its_id_and_no_more(house):
    house.gateway.answers = ["drop", "drop", "drop"]
    sent = await house.put()
    async with house.running():
        await house.until_row(sent, state="due", ambiguous=True)
        await house.until(sent, "ambiguous")
        await asyncio.sleep(0.3)
    assert house.gateway.posts == [str(sent.offer)] * 2
    assert len(house.gateway.shown) == 1
    assert (await house.ending(sent))[2] == 1


async def test_what_the_gateway_cannot_take_expires_as_a_row_with_its_slot_released(house):
    house.gateway.answers = [web.Response(status=500) for _ in range(50)]
    sent = await house.put(expires_s=1.5)
    async with house.running():
        await house.until(sent, "expired")
    assert await house.ending(sent) == ("expired", "expired", 2)
    assert 1 <= len(house.gateway.posts) <= 2


async def test_an_unreadable_offer_fails_at_its_tenth_attempt_and_holds_nobody(house):
    poison, good = await house.put(), await house.put()
    await house.admin.execute("UPDATE offer SET message = '{' WHERE id = $1", poison.offer)
    await house.admin.execute("UPDATE outbox SET attempts = 8 WHERE offer = $1", poison.offer)
    async with house.running():
        await house.until(good, "accepted")
        row = await house.until_row(poison, state="due", attempts=9)
        assert row["due"] is not None
        await house.admin.execute("UPDATE outbox SET due = clock_timestamp() WHERE offer = $1", poison.offer)
        await house.until(poison, "failed")
    assert await house.ending(poison) == ("failed", "poison", 2)


async def test_an_offer_that_was_moved_to_a_phone_which_is_erased_goes_back_to_its_own(house):
    moved, elsewhere = await house.put(), uuid4()
    await house.admin.execute("UPDATE offer SET sent_to = $2 WHERE id = $1", moved.offer, elsewhere)
    async with transaction(house._pool, [moved.workspace]) as connection:
        await connection.execute(sql("erase_device"), moved.user, elsewhere, moved.workspace)
    async with house.running():
        await house.until(moved, "accepted")


@pytest.mark.parametrize("instant", ["20000-01-01", "infinity"])
@pytest.mark.parametrize("column", ["expires_at", "created_at"])
async def test_an_offer_with_an_instant_of_no_calendar_holds_nobody(house, column, instant):
    poison, others = await house.put(), [await house.put() for _ in range(3)]
    change = f"UPDATE offer SET {column} = $2::text::timestamptz WHERE id = $1"
    await house.admin.execute(change, poison.offer, instant)
    await house.admin.execute("UPDATE outbox SET attempts = 9 WHERE offer = $1", poison.offer)
    async with house.running():
        for other in others:
            await house.until(other, "accepted")
        await house.until(poison, "failed")
    assert await house.ending(poison) == ("failed", "poison", 2)


async def test_a_lane_that_raises_is_not_trusted_with_more_than_one_repeat(house):
    class Broken:
        name, concurrency, repeats, rate_per_s = "webhook", 8, False, inf
        calls = 0

        def scope(self, message):
            return self.name

        async def send(self, message, start_by):
            self.calls += 1
            raise RuntimeError("a fault of ours")

    sent, logged = await house.put(), await house.put("log")
    broken = Broken()
    dispatcher = Dispatcher(
        PostgresOutbox(house._pool), [broken, LogLane()], house.feed, sweep_s=0.1, jitter=lambda: 0.0
    )
    dispatcher.start()
    await house.until(logged, "accepted")
    await house.until(sent, "ambiguous")
    await dispatcher.stop()
    assert broken.calls == 2


async def test_what_a_lane_left_that_is_configured_no_more_ends_by_the_app(house):
    late = await house.put("webhook", expires_s=0.2)
    outbox = PostgresOutbox(house._pool)
    dispatcher = Dispatcher(outbox, [InAppLane(house.streams)], house.feed, lease_s=0.3, sweep_s=0.1)
    house.streams.on_attach = dispatcher.ring
    dying = await house.put("webhook")
    while not [claim for claim in await outbox.claim("webhook", 1, 0.3) if claim.offer == dying.offer]:
        await asyncio.sleep(0.05)  # the process that had this lane died with one leased
    dispatcher.start()
    await house.until(late, "expired")
    stream = house.streams.attach(dying.workspace, dying.device)
    async with asyncio.timeout(10):
        assert str(dying.offer) in await anext(stream)
    await dispatcher.stop()


async def test_the_lane_goes_on_after_the_database_has_dropped_its_connections(house):
    async with house.running():
        await house.until(await house.put(), "accepted")
        for _ in range(3):
            await house.admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'geo-offers' AND datname = current_database()"
            )
            await asyncio.sleep(0.05)
        await house.until(await house.put(), "accepted", within_s=10)


async def test_a_person_locked_by_a_turn_is_served_as_soon_as_it_ends(house, database):
    sent = await house.put()
    other = await asyncpg.connect(database.superuser_dsn)
    async with house.running(sweep_s=3600):
        async with other.transaction():
            await other.execute("SELECT 1 FROM app_user WHERE id = $1 FOR NO KEY UPDATE", sent.user)
            await asyncio.sleep(0.2)
            assert house.gateway.posts == []
        await house.until(sent, "accepted", within_s=1)
    await other.close()


# ---------------------------------------------------------------------------------------------- ends of processes
async def test_a_killed_process_leaves_the_offer_to_another_which_sends_it_once_more(house):
    house.gateway.release.clear()
    sent = await house.put()
    killed = house.dispatcher(lease_s=1.0)
    killed.start()
    await asyncio.wait_for(house.gateway.arrived.wait(), 5)
    for task in killed.tasks:
        task.cancel()
    await asyncio.gather(*killed.tasks, return_exceptions=True)
    assert (await house.row(sent))["state"] == "sending"
    house.gateway.release.set()
    async with house.running(lease_s=1.0):
        await house.until(sent, "accepted")
    assert house.gateway.posts == [str(sent.offer)] * 2
    assert list(house.gateway.shown.values()) == [str(sent.offer)]


async def test_a_stop_waits_for_what_is_under_way_and_leaves_nothing_leased(house):
    house.gateway.release.clear()
    sent = [await house.put() for _ in range(6)]
    dispatcher = house.dispatcher(concurrency=2)
    dispatcher.start()
    async with asyncio.timeout(5):
        while house.gateway.under_way < 2:
            await asyncio.sleep(0.01)
    stopping = asyncio.create_task(dispatcher.stop())
    await asyncio.sleep(0.1)
    assert not stopping.done()
    house.gateway.release.set()
    await asyncio.wait_for(stopping, 5)
    states = Counter([(await house.ending(each))[0] for each in sent])
    assert states == {"accepted": 2, "queued": 4}
    left = await house.admin.fetch("SELECT DISTINCT state, attempts FROM outbox")
    assert [tuple(row) for row in left] == [("due", 0)]


async def test_a_stop_is_bounded_and_records_what_it_cut_off_as_unanswered(house):
    house.gateway.release.clear()
    sent = await house.put()
    dispatcher = house.dispatcher(timeout_s=60, lease_s=100)
    dispatcher.start()
    await asyncio.wait_for(house.gateway.arrived.wait(), 5)
    async with asyncio.timeout(3):
        await dispatcher.stop(within_s=0.2)
    row = await house.row(sent)
    assert (row["state"], row["ambiguous"]) == ("due", True)
    house.gateway.release.set()


# ---------------------------------------------------------------------------------------------- in the app
async def test_an_offer_waits_for_its_phone_over_a_restart_without_spinning(house):
    sent = await house.put("inapp")
    async with house.running(sweep_s=0.02):
        row = await house.until_row(sent, state="due", token=1)
        await asyncio.sleep(0.3)
        assert (await house.row(sent))["token"] == 1
        assert (row["attempts"], row["ambiguous"]) == (0, False)
    async with house.running(sweep_s=3600):
        await asyncio.sleep(0.1)
        with house.streams.attach(sent.workspace, sent.device) as stream:
            async with asyncio.timeout(2):
                assert json.loads(await anext(stream))["id"] == str(sent.offer)


async def test_an_offer_not_shown_comes_again_after_a_reconnect_and_after_the_lease(house):
    sent = await house.put("inapp")
    async with house.running(lease_s=0.5, sweep_s=0.05), asyncio.timeout(5):
        with house.streams.attach(sent.workspace, sent.device) as stream:
            first = await anext(stream)
        with house.streams.attach(sent.workspace, sent.device) as stream:
            assert await anext(stream) == first
            assert await anext(stream) == first  # the lease has run out
        row = await house.until_row(sent, state="due")
        assert row["attempts"] == 0


async def test_an_offer_on_a_stream_that_nobody_answers_expires_with_its_slot_kept(house):
    sent = await house.put("inapp", expires_s=0.7)
    with house.streams.attach(sent.workspace, sent.device):
        async with house.running(lease_s=0.3, sweep_s=0.05):
            await house.until(sent, "expired")
    assert await house.ending(sent) == ("expired", "expired", 1)


# ---------------------------------------------------------------------------------------------- plans
def _read(plan):
    """How many rows each step of a plan that was run has read."""
    text = "\n".join(row[0] for row in plan)
    return [float(rows) * int(loops) for rows, loops in re.findall(r"rows=([\d.]+) loops=(\d+)", text)]


async def test_a_claim_reads_the_index_and_not_what_is_not_due(house):
    await house.admin.execute(
        "INSERT INTO outbox (offer, workspace, partition, lane, due) SELECT gen_random_uuid(), gen_random_uuid(), 0, "
        "'inapp', clock_timestamp() + make_interval(secs => 600 + n) FROM generate_series(1, 5000) n"
    )
    await house.put("inapp")
    await house.admin.execute("ANALYZE outbox")
    await house.admin.execute("SET plan_cache_mode = force_generic_plan")
    await house.admin.execute(f"PREPARE claim (text, int, float8) AS {await query_of(house.admin, 'outbox_claim')}")
    plan = await house.admin.fetch("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE claim ('inapp', 200, 10)")
    text = "\n".join(row[0] for row in plan)
    assert "outbox_due" in text
    assert "Seq Scan" not in text
    assert "Rows Removed by Filter" not in text


async def test_a_claim_reads_no_more_of_a_backlog_than_it_takes(house):
    await house.admin.execute(
        "INSERT INTO outbox (offer, workspace, partition, lane, due) SELECT gen_random_uuid(), gen_random_uuid(), 0, "
        "'webhook', clock_timestamp() - make_interval(secs => n) FROM generate_series(1, 5000) n"
    )
    await house.admin.execute("ANALYZE outbox")
    await house.admin.execute("SET plan_cache_mode = force_generic_plan")
    claim = await query_of(house.admin, "outbox_claim")
    await house.admin.execute(f"PREPARE claim_some (text, int, float8) AS {claim}")
    plan = await house.admin.fetch("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE claim_some ('webhook', 20, 10)")
    assert max(_read(plan)) == 20


@pytest.mark.parametrize("lane", ["webhook", "inapp"])
async def test_the_age_of_the_oldest_is_read_at_the_head_of_an_index(house, lane):
    await house.admin.execute(
        "INSERT INTO outbox (offer, workspace, partition, lane, due, since) "
        "SELECT gen_random_uuid(), gen_random_uuid(), 0, $1, "
        "clock_timestamp() + make_interval(secs => n - 2500), clock_timestamp() - make_interval(secs => n) "
        "FROM generate_series(1, 5000) n",
        lane,
    )
    await house.admin.execute("ANALYZE outbox")
    await house.admin.execute("SET plan_cache_mode = force_generic_plan")
    await house.admin.execute(f"PREPARE oldest_{lane} (text) AS {sql('outbox_oldest')}")
    plan = await house.admin.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE oldest_{lane} ('{lane}')")
    assert max(_read(plan)) == 1


async def test_the_re_check_reads_each_phone_by_its_key(house):
    async with transaction(
        house._pool, []
    ) as connection:  # as the role that policies bind: they may keep an index away
        look = await query_of(connection, "outbox_look")
        await connection.execute(f"PREPARE look (text, uuid[], bigint[], float8) AS {look}")
        plan = [row[0].strip() for row in await connection.fetch("EXPLAIN EXECUTE look ('{}', '{}', '{}', 10)")]
    phone = next(number for number, line in enumerate(plan) if "on device d" in line)
    assert plan[phone + 1].startswith("Index Cond: (id = ")


async def test_a_person_who_is_locked_is_no_fault_of_the_stored_values(house, monkeypatch):
    sent = await house.put()
    await house.admin.execute("UPDATE outbox SET state = 'leased', token = 1 WHERE offer = $1", sent.offer)
    campaign = await house.admin.fetchval("SELECT campaign FROM offer")
    monkeypatch.setattr(surroundings, "holds", lambda *_: True)
    around = SimpleNamespace(numbered=(), moment=lambda _asked: None)
    policies = SimpleNamespace(
        version=10**9, campaigns=[SimpleNamespace(id=campaign)], surroundings=around, zone_of=lambda _fence: None
    )
    fence = await house.admin.fetchval("SELECT fence FROM offer")
    catalog = SimpleNamespace(policies={sent.workspace: policies}, index=lambda _workspace: {fence: object()})
    async with house.admin.transaction():
        await house.admin.execute("SELECT FROM app_user FOR NO KEY UPDATE")
        async with borrowed(house._pool) as connection:
            found = await connection.fetch(sql("outbox_look"), listed([sent.workspace]), [sent.offer], [1], 10.0)
        with capture_logs() as logs:
            await surroundings.silenced(house._pool, catalog, found)
    assert [row["locked"] for row in found] == [False]
    assert logs == []


async def test_what_is_withdrawn_while_the_look_has_begun_counts_where_its_person_is_not_locked_yet(house):
    """The statement's own moment is older than the withdrawal: what is said is read from the row that it locks."""
    sent = await house.put()
    await house.admin.execute("UPDATE outbox SET state = 'leased', token = 1 WHERE offer = $1", sent.offer)
    gate = "CROSS JOIN LATERAL (SELECT pg_advisory_xact_lock_shared(7) OFFSET 0) held JOIN workspace w"
    look = await house.admin.fetchval("SELECT pg_get_functiondef('outbox_look'::regproc)")
    assert look.count("JOIN workspace w") == look.count("outbox_look") == 1
    await house.admin.execute(look.replace("JOIN workspace w", gate).replace("outbox_look", "gated_look"))
    held = CONSENTS | {"offers": CONSENTS["offers"] | {"granted": False}}
    await house.admin.execute("SELECT pg_advisory_lock(7)")
    async with borrowed(house._pool) as connection:
        asked = "SELECT * FROM gated_look($1, $2, $3, $4)", listed([sent.workspace]), [sent.offer], [1], 10.0
        looking = asyncio.create_task(connection.fetch(*asked))
        async with asyncio.timeout(5):
            while not await house.admin.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            ):
                await asyncio.sleep(0.01)
        await house.admin.execute(
            "UPDATE app_user SET consents = $2 WHERE id = $1", sent.user, json.dumps(held).encode()
        )
        await house.admin.execute("SELECT pg_advisory_unlock(7)")
        (row,) = await looking
    assert json.loads(row["consents"]) == held
