"""Who owns the partitions: renewed under any load, taken over from the dead, and refused to whom it was taken from."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.pipeline import partitions
from geo_offers.pipeline.partitions import PARTITIONS, Ownership
from geo_offers.storage.pool import open_pool
from geo_offers.storage.turns import PostgresPartitions, PostgresTurns

BUSY = (3, 200)


@asynccontextmanager
async def _commit_in_flight(pool, owner, epochs, partitions=BUSY):
    """A turn's transaction with these partitions, open until the block ends."""
    held = {partition: epochs[partition] for partition in partitions}
    async with PostgresTurns(pool).open([], owner, held) as turn:
        await turn.lock([])
        yield


@pytest.fixture
async def pool(database):
    async with open_pool(database.app_dsn, size=4) as made:
        yield made


async def test_a_renewal_covers_partitions_whose_commits_are_in_flight(pool):
    store = PostgresPartitions(pool)
    epochs = await store.claim("one", 60)
    assert len(epochs) == PARTITIONS
    async with _commit_in_flight(pool, "one", epochs):
        assert await asyncio.wait_for(store.claim("one", 60), 2) == epochs


async def test_what_a_dead_owner_held_goes_to_the_next_under_a_new_epoch(pool):
    store = PostgresPartitions(pool)
    before = await store.claim("dead", 60)
    assert await store.claim("next", 60) == {}
    await pool.execute("UPDATE partition SET until = clock_timestamp()")
    after = await store.claim("next", 60)
    assert {partition: epoch - before[partition] for partition, epoch in after.items()} == dict.fromkeys(before, 1)
    assert await store.claim("dead", 60) == {}


async def test_a_partition_is_not_taken_over_while_a_commit_of_its_owner_is_in_flight(pool):
    store = PostgresPartitions(pool)
    epochs = await store.claim("slow", 0.05)
    async with _commit_in_flight(pool, "slow", epochs):
        await asyncio.sleep(0.1)
        taken = await asyncio.wait_for(store.claim("next", 60), 2)
        assert set(range(PARTITIONS)) - taken.keys() == set(BUSY)
    assert (await store.claim("next", 60)).keys() == set(range(PARTITIONS))


async def test_the_commit_of_a_deposed_owner_is_refused(pool):
    store = PostgresPartitions(pool)
    epochs = await store.claim("deposed", 0.05)
    await asyncio.sleep(0.1)
    await store.claim("next", 60)
    with pytest.raises(Unavailable, match="another process owns"):
        async with _commit_in_flight(pool, "deposed", epochs):
            pass


async def test_a_second_server_waits_for_a_dead_one_and_gives_up_on_a_living_one(pool):
    first, second = (Ownership(PostgresPartitions(pool), name) for name in ("first", "second"))
    await first.take_all()
    with pytest.raises(Misconfigured, match="another server"):
        await second.take_all(patience_s=0.3)
    await first.release()
    await second.take_all(patience_s=1)
    assert len(second.epochs) == PARTITIONS


async def test_a_server_whose_partitions_were_taken_meanwhile_ends_instead_of_going_on_with_what_it_knew(
    pool, monkeypatch
):
    monkeypatch.setattr(partitions, "RENEW_S", 0.05)
    store = PostgresPartitions(pool)
    first = Ownership(store, "first")
    first.epochs = await store.claim("first", 0.01)
    await asyncio.sleep(0.05)
    await store.claim("second", 0.01)
    await asyncio.sleep(0.05)
    with pytest.raises(Misconfigured, match="taken over"):
        await asyncio.wait_for(first.keep(), 5)
