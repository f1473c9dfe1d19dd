"""Receipts of many offers beside those who close, retry and decide: each waits for the other, and nobody for ever."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from geo_offers import wire
from geo_offers.pipeline.settlement import Claim, Close, Retry
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import open_pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.receipts import OFFERS, PostgresReceipts

WORKSPACE = uuid.UUID(int=7)
FIRST, SECOND = (uuid.UUID(int=number) for number in (1, 2))  # campaigns, in the order in which budgets are locked
AT = datetime.now(UTC)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class House:
    def __init__(self, pool, admin, dsn):
        self.pool = pool
        self.admin = admin
        self.dsn = dsn
        self.receipts = PostgresReceipts(pool)
        self.outbox = PostgresOutbox(pool)

    async def offer(self, number, state="queued", *, campaign=FIRST, slot=0):
        """An offer of a person of its own; one that is queued is being sent, under the token 1."""
        ident, user = uuid.UUID(int=1_000 + number), uuid.uuid4()
        await self.admin.execute("INSERT INTO app_user (id, workspace, partition) VALUES ($1, $2, 0)", user, WORKSPACE)
        await self.admin.execute(
            "INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, trigger, lane, message, "
            "created_at, expires_at, state) VALUES ($1, $2, $3, $4, $4, $5, 'a/b', 'enter', 'log', '{}', $6, $7, $8)",
            *(ident, WORKSPACE, user, uuid.uuid4(), campaign, AT, AT + timedelta(hours=1), state),
        )
        await self.admin.execute(
            "INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence, state, campaign_day) "
            "VALUES ($1, $2, $3, $4, $5, 'a/b', 'a/b', $6, '2026-01-01')",
            *(user, AT, ident, WORKSPACE, campaign, slot),
        )
        if state == "queued":
            await self.admin.execute(
                "INSERT INTO outbox (offer, workspace, partition, lane, due, state, token) "
                "VALUES ($1, $2, 0, 'log', $3, 'sending', 1)",
                *(ident, WORKSPACE, AT),
            )
        return ident

    async def state(self, *offers):
        return [await self.admin.fetchval("SELECT state FROM offer WHERE id = $1", offer) for offer in offers]

    async def tell(self, *told):
        given = [wire.Receipt(offer=offer, type=kind, at=AT, reason=reason) for offer, kind, reason in told]
        return (await self.receipts.keep(WORKSPACE, given)).statuses

    async def stuck(self, count):
        """Until so many wait for locks."""
        async with asyncio.timeout(10):
            while await self.admin.fetchval(WAITING) < count:
                await asyncio.sleep(0.01)


def closing(offer):
    return Close(Claim(offer, WORKSPACE, 1, 1, 0), "failed", keep=False)


@pytest.fixture
async def house(database):
    admin = await asyncpg.connect(database.superuser_dsn)
    await admin.execute("INSERT INTO workspace (id, name) VALUES ($1, 'w')", WORKSPACE)
    async with open_pool(database.app_dsn, size=6) as pool:
        yield House(pool, admin, database.superuser_dsn)
    await admin.close()


@pytest.mark.parametrize("held", [0, 1])
async def test_an_offer_that_is_being_closed_is_waited_for_without_another_in_hand(house, held):
    offers = [await house.offer(number) for number in range(2)]
    async with transaction(house.pool, [WORKSPACE]) as closer:
        for offer in (offers[held], offers[1 - held]):
            await closer.execute(sql("outbox_close"), None, [offer], [1], ["accepted"], [None], [1], [None])
            if offer == offers[held]:
                telling = asyncio.create_task(house.tell(*((offer, "shown", None) for offer in offers)))
                await house.stuck(1)
    assert await telling == ["kept", "kept"]
    assert await house.state(*offers) == ["shown", "shown"]


async def test_who_records_sends_takes_all_rows_before_a_budget(house):
    """Closing gives to the budget that the receipt of a released slot takes from again."""
    closed, kept, retried = [await house.offer(number) for number in range(3)]
    released = await house.offer(3, "cancelled", slot=2)
    done = [closing(closed), *(Retry(Claim(offer, WORKSPACE, 1, 1, 0), 9.0, 1) for offer in (kept, retried))]
    blocker = await asyncpg.connect(house.dsn)
    async with blocker.transaction():
        await blocker.execute("SELECT FROM outbox WHERE offer = $1 FOR UPDATE", kept)
        recording = asyncio.create_task(house.outbox.finish(done))
        await house.stuck(1)
        telling = asyncio.create_task(house.tell((retried, "shown", None), (released, "shown", None)))
        await asyncio.sleep(0.2)  # it is done by now, or waits for the budget
    await blocker.close()
    assert await telling == ["kept", "kept"]
    await recording
    assert await house.state(closed, kept, retried, released) == ["failed", "queued", "shown", "shown"]


async def test_budgets_of_two_kinds_of_receipts_are_not_held_at_once(house):
    """Who closes gives to both in their order, while the receipts take from the second and give to the first."""
    closed = [await house.offer(number, campaign=campaign) for number, campaign in enumerate((FIRST, SECOND))]
    taken = await house.offer(2, "cancelled", campaign=SECOND, slot=2)
    given = await house.offer(3, "accepted", campaign=FIRST, slot=1)
    blocker = await asyncpg.connect(house.dsn)
    async with blocker.transaction():
        await blocker.execute("SELECT FROM offer WHERE id = $1 FOR UPDATE", given)
        telling = asyncio.create_task(house.tell((taken, "shown", None), (given, "failed", "not_shown")))
        await house.stuck(1)
        recording = asyncio.create_task(house.outbox.finish([closing(offer) for offer in closed]))
        await asyncio.sleep(0.2)  # it is done by now, or holds the first and waits for the second
    await blocker.close()
    assert await telling == ["kept", "kept"]
    assert await recording == set(closed)
    assert await house.state(taken, given, *closed) == ["shown", "failed", "failed", "failed"]


async def test_a_thousand_receipts_beside_a_dispatcher_that_closes_the_same_offers(house):
    offers = [await house.offer(number, campaign=(FIRST, SECOND)[number % 2]) for number in range(3 * OFFERS)]
    told = [(offer, kind, None) for offer in offers for kind in ("delivered", "shown")]

    async def record(some):
        for start in range(0, len(some), 50):
            await house.outbox.finish([closing(offer) for offer in some[start : start + 50]])

    telling = house.tell(*reversed(told))
    _, _, statuses = await asyncio.gather(record(offers[::-2]), record(offers[::2]), telling)
    assert statuses == ["kept"] * len(told)
    assert set(await house.state(*offers)) == {"shown"}


async def test_one_transaction_is_of_no_more_than_a_hundred_offers(house, monkeypatch):
    seen, asked = [], house.receipts._watched

    async def watched(workspace, told, *rest, **more):
        seen.append(len({one.offer for _, one in told}))
        return await asked(workspace, told, *rest, **more)

    monkeypatch.setattr(house.receipts, "_watched", watched)
    known = await house.offer(0, "accepted", slot=1)
    others = [uuid.uuid4() for _ in range(2 * OFFERS)]
    statuses = await house.tell(*((offer, "shown", None) for offer in (others[0], known, *others[1:])))
    assert statuses == ["unknown", "kept", *["unknown"] * (2 * OFFERS - 1)]
    assert seen == [OFFERS, OFFERS, 1]
