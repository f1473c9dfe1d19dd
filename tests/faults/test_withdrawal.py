"""Consent withdrawn or a person erased, at any moment from decision to send: nothing leaves after the answer."""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import pytest
from aiohttp import web

from geo_offers.pipeline import people
from geo_offers.storage.people import PostgresPeople
from tests.faults.world import CONSENTS, Phone, administrator, assert_each_once, at_now, until, world
from tests.support.gateways.webhook import gateway
from tests.support.running import running


class House:
    def __init__(self, made, rows, push):
        self.made, self.rows, self.push = made, rows, push

    async def arrive(self, phone, number=0, at=None):
        answer = await self.made.pings(phone.token, [phone.ping(number, at)])
        assert answer.status == 200, answer
        return answer.body

    async def offer_of(self, phone):
        found = await self.rows.fetch("SELECT id, state, detail FROM offer WHERE user_id = $1", phone.user)
        assert len(found) == 1
        slot = await self.rows.fetchval("SELECT state FROM reservation WHERE offer = $1", found[0]["id"])
        return found[0]["state"], {0: "held", 1: "kept", 2: "released"}[slot]

    def sent_to(self, phone):
        return len(self.push.on(phone.address))


@asynccontextmanager
async def a_house(database, *, lease_s=10.0):
    async with AsyncExitStack() as stack:
        push = await stack.enter_async_context(gateway())
        given = {"lease_s": lease_s, **push.settings, "device_rate_per_s": 1000}
        service = await stack.enter_async_context(running(database, **given))
        made = await stack.enter_async_context(world(database, lambda: service.url))
        rows = await stack.enter_async_context(administrator(database))
        await made.no_gaps()
        await made.fences(20)
        await made.campaign()
        yield House(made, rows, push)


@pytest.mark.parametrize("purpose", ["offers", "locate"])
async def test_a_send_under_way_is_waited_for_and_recorded(database, purpose):
    async with a_house(database) as house:
        phone = (await house.made.phones(["one"], push=True))[0]
        release = asyncio.Event()
        house.push.before_answer = lambda _ident: release.wait()
        await house.arrive(phone)
        await until(lambda: house.push.under_way == 1, why="a send under way")
        withdrawing = asyncio.create_task(house.made.withdraw(phone, purpose))
        await asyncio.sleep(0.3)
        assert not withdrawing.done()
        release.set()
        assert (await withdrawing).status == 200
        assert await house.offer_of(phone) == ("accepted", "kept")
        assert house.sent_to(phone) == 1


async def test_a_send_that_is_never_answered_is_waited_for_no_longer_than_its_bound_and_not_repeated(
    database, monkeypatch
):
    monkeypatch.setattr(people, "UNDER_WAY_S", 0.5)
    async with a_house(database, lease_s=2.0) as house:
        phone = (await house.made.phones(["one"], push=True))[0]
        never = asyncio.Event()
        house.push.before_answer = lambda _ident: never.wait()
        await house.arrive(phone)
        await until(lambda: house.push.under_way == 1, why="a send under way")
        started = time.monotonic()
        assert (await house.made.withdraw(phone, "offers")).status == 200
        assert 0.4 < time.monotonic() - started < 3
        assert await house.offer_of(phone) == ("ambiguous", "kept")
        await asyncio.sleep(3)  # past the lease
        assert [len(times) for times in house.push.attempts.values()] == [1]
        never.set()


async def test_what_waits_to_be_sent_again_is_cancelled_and_keeps_its_slot(database):
    async with a_house(database) as house:
        phone = (await house.made.phones(["one"], push=True))[0]
        house.push.answer_with = lambda: web.Response(status=503, headers={"Retry-After": "1"})
        await house.arrive(phone)
        await until(lambda: bool(house.push.attempts) and house.push.under_way == 0, why="a first attempt")
        assert (await house.made.withdraw(phone, "offers")).status == 200
        attempts = sum(len(times) for times in house.push.attempts.values())
        await asyncio.sleep(1.5)  # past the time that the gateway asked for: where its answer was not recorded yet
        assert await house.offer_of(phone) == ("cancelled", "kept")
        assert sum(len(times) for times in house.push.attempts.values()) == attempts


async def test_who_left_while_the_gateway_was_away_is_sent_nothing_when_it_is_back(database):
    async with a_house(database) as house:
        phone = (await house.made.phones(["one"], push=True))[0]
        house.push.answer_with = lambda: web.Response(status=503, headers={"Retry-After": "1"})
        await house.arrive(phone)
        await until(lambda: bool(house.push.attempts) and house.push.under_way == 0, why="a first attempt")
        visit = "UPDATE visit SET left_at = clock_timestamp() - interval '121 s' WHERE device = $1"
        await house.rows.execute(visit, phone.device)  # past the two minutes in which it may still be on its way
        house.push.answer_with = web.Response

        async def ended():
            return (await house.offer_of(phone))[0] != "queued"

        await until(ended, why="the offer is not ended")
        assert await house.offer_of(phone) == ("cancelled", "released")
        assert await house.rows.fetchval("SELECT detail FROM offer") == "left"
        assert [len(times) for times in house.push.attempts.values()] == [1]


async def test_no_interleaving_of_arrivals_and_withdrawals_sends_after_the_answer(database):
    async with a_house(database) as house:
        phones = await house.made.phones([f"person {n}" for n in range(40)], push=True)

        async def takes_a_while(_ident):
            await asyncio.sleep(0.2)

        house.push.before_answer = takes_a_while
        answered = {}

        async def live(number, phone):
            arriving = asyncio.create_task(house.made.pings(phone.token, [phone.ping(number % 20)]))
            await asyncio.sleep(number * 0.015)
            if phone is phones[-1]:  # on a busy machine all others may be through before anything is sent
                await until(lambda: bool(house.push.attempts), why="a first send")
            answer = await house.made.withdraw(phone, "offers" if number % 2 else "locate")
            answered[phone.device] = (time.monotonic(), house.sent_to(phone))
            assert answer.status == 200
            await arriving

        await asyncio.gather(*(live(number, phone) for number, phone in enumerate(phones)))
        await asyncio.sleep(1)
        assert {phone.device: house.sent_to(phone) for phone in phones} == {
            device: sent for device, (_, sent) in answered.items()
        }
        assert max(len(times) for times in house.push.attempts.values()) == 1
        assert await house.rows.fetchval("SELECT count(*) FROM outbox") == 0
        assert await house.rows.fetchval("SELECT count(*) FROM offer WHERE state = 'queued'") == 0
        await assert_each_once(house.rows)


async def test_withdrawing_locate_wipes_the_presence_and_the_visit(database):
    async with a_house(database) as house:
        phone = (await house.made.phones(["one"]))[0]
        await house.arrive(phone)
        assert (await house.made.withdraw(phone, "locate")).status == 200
        device = await house.rows.fetchrow(
            "SELECT newest_at, presence, received_at FROM device WHERE id = $1", phone.device
        )
        assert list(device) == [None, None, None]
        assert await house.rows.fetchval("SELECT count(*) FROM visit WHERE device = $1", phone.device) == 0
        refused = await house.made.pings(phone.token, [phone.ping(0)])
        assert (refused.status, refused.body["code"]) == (403, "consent_required")
        assert (await house.made.withdraw(phone, "locate", granted=True)).status == 200
        again = await house.arrive(phone)
        assert [seen["type"] for seen in again["transitions"]] == ["enter"]


@asynccontextmanager
async def _commit_held_back(rows, phone):
    """Whoever locks this person waits; so a turn stays in flight. Well below the lock's time-out."""
    transaction = rows.transaction()
    await transaction.start()
    await rows.execute("SELECT 1 FROM app_user WHERE id = $1 FOR UPDATE", phone.user)
    try:
        yield
    finally:
        await transaction.rollback()


async def test_a_turn_in_flight_does_not_bring_back_what_a_withdrawal_wiped(database):
    async with a_house(database) as house:
        phone = (await house.made.phones(["one"], push=True))[0]
        await house.arrive(phone, None, at_now(10))
        async with _commit_held_back(house.rows, phone):
            arriving = asyncio.create_task(house.arrive(phone, 0))
            await asyncio.sleep(0.3)
            withdrawing = asyncio.create_task(house.made.withdraw(phone, "locate"))
            await asyncio.sleep(0.3)
            behind = asyncio.create_task(house.made.pings(phone.token, [phone.ping(1)]))
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in (arriving, withdrawing, behind))
        assert [seen["type"] for seen in (await arriving)["transitions"]] == ["enter"]
        assert (await withdrawing).status == 200
        late = await behind
        assert late.status == 403 or [result["reason"] for result in late.body["results"]] == ["consent_required"]
        assert await house.rows.fetchval("SELECT count(*) FROM visit WHERE device = $1", phone.device) == 0
        assert await house.rows.fetchval("SELECT presence FROM device WHERE id = $1", phone.device) is None
        assert (await house.made.withdraw(phone, "locate", granted=True)).status == 200
        again = await house.arrive(phone, 0)
        assert [seen["type"] for seen in again["transitions"]] == ["enter"]


async def test_an_erasure_in_flight_leaves_no_row_and_sends_nothing_more(database):
    async with a_house(database) as house:
        phone = (await house.made.phones(["one"], push=True))[0]
        release = asyncio.Event()
        house.push.before_answer = lambda _ident: release.wait()
        await house.arrive(phone, 0)
        await until(lambda: house.push.under_way == 1, why="a send under way")
        async with _commit_held_back(house.rows, phone):
            arriving = asyncio.create_task(house.made.pings(phone.token, [phone.ping(1)]))
            await asyncio.sleep(0.2)
            erasing = asyncio.create_task(house.made.call("DELETE", "/v1/me", phone.token))
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.3)
        assert not erasing.done()  # the send under way is waited for
        release.set()
        assert (await erasing).status == 204
        await arriving
        sent = house.sent_to(phone)
        assert await _rows_naming(house.rows, phone) == {}
        assert (await house.made.pings(phone.token, [phone.ping(2)])).status == 401
        await asyncio.sleep(1)
        assert house.sent_to(phone) == sent
        assert await _rows_naming(house.rows, phone) == {}
        assert await house.rows.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_device_without_proof_that_pings_on_while_it_is_erased_is_told_and_sent_nothing_more(
    database, monkeypatch
):
    waiting, under_way = asyncio.Event(), PostgresPeople.under_way

    async def seen(self, caller, device):
        waiting.set()
        return await under_way(self, caller, device)

    monkeypatch.setattr(PostgresPeople, "under_way", seen)
    async with a_house(database) as house:
        other = (await house.made.phones(["one"]))[0]
        push = {"lane": "webhook", "token": "unproven"}
        enrolment = {"platform": "ios", "user": "one", "push": push, "consents": CONSENTS}
        made = await house.made.good("POST", "/v1/devices", "app", enrolment)
        phone = Phone(made["device"], made["user"], made["access_token"], "unproven")
        assert phone.user == other.user
        release = asyncio.Event()
        house.push.before_answer = lambda _ident: release.wait()
        await house.arrive(phone, 0)
        await until(lambda: house.push.under_way == 1, why="a send under way")
        erasing = asyncio.create_task(house.made.call("DELETE", "/v1/me", phone.token))
        await asyncio.wait_for(waiting.wait(), 5)
        pinging = asyncio.create_task(house.made.pings(phone.token, [phone.ping(1)]))
        await asyncio.wait({pinging}, timeout=0.5)
        assert not pinging.done()
        release.set()
        assert (await erasing).status == 204
        late = await pinging
        assert late.status == 401 or [result["reason"] for result in late.body["results"]] == ["unknown_device"]
        assert house.sent_to(phone) == 1
        mark = f"%{UUID(phone.device)}%"
        for table in ("visit", "decision", "offer", "device", "outbox"):
            assert await house.rows.fetchval(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE $1', mark) == 0
        assert await house.rows.fetchval("SELECT count(*) FROM outbox") == 0
        assert len((await house.arrive(other, 1))["offers"]) == 1


async def _rows_naming(rows, phone):
    """Tables with rows that still name the person or the phone."""
    found = {}
    for (table,) in await rows.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        count = await rows.fetchval(
            f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE ANY ($1::text[])',
            [f"%{UUID(phone.user)}%", f"%{UUID(phone.device)}%"],
        )
        if count:
            found[table] = count
    return found


async def test_an_open_stream_gets_nothing_after_the_withdrawal_is_answered(database):
    async with a_house(database, lease_s=0.5) as house:
        phone = (await house.made.phones(["one"]))[0]
        bearer = {"Authorization": f"Bearer {phone.token}"}
        async with house.made.session.ws_connect(f"{house.made._url()}/v1/stream", headers=bearer) as line:
            await line.send_json(phone.ping(0))
            frames = [await line.receive_json(timeout=5) for _ in range(3)]  # the answer, and the offer until `shown`
            assert [frame.get("alert") for frame in frames if frame.get("type") == "offer"] == [True, True]
            assert (await house.made.withdraw(phone, "offers")).status == 200
            await _until_silent(line)
            with pytest.raises(TimeoutError):
                await line.receive_json(timeout=1.2)


async def _until_silent(line):
    """Take what was written before the answer and may still be on the way."""
    with contextlib.suppress(TimeoutError):
        while True:
            await line.receive_json(timeout=0.3)
