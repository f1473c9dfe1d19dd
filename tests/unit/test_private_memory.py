"""The memory of private places: never more open than the database, whatever becomes of an answer."""

from uuid import UUID

import pytest

from geo_offers.errors import Conflict, Crowded, Unavailable
from geo_offers.pipeline import private as module
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.private import PlacedPrivately, PrivateMemory
from geo_offers.places.geometry import Circle
from geo_offers.places.importing.private import PrivateDraft
from geo_offers.places.outline import outline_of
from geo_offers.places.private import private_place

WORKSPACE = UUID(int=1)
OWNER = Caller(WORKSPACE, "manager", "k", "owner")
HERE, THERE = (53.0, 8.8), (54.0, 8.8)


def draft(where=HERE, ident="clinic"):
    return PrivateDraft(ident, "health", Circle(*where, 100.0), b"{}")


class Stored:
    """A database that may fail before or after it commits."""

    def __init__(self):
        self.fails = None
        self.held = []

    async def put(self, caller, given, concerns):
        concerns({"city"})
        self.held.append(given)
        if self.fails is not None:
            raise self.fails
        place = private_place(given.id, len(self.held), given.category, outline_of(given.geometry))
        return PlacedPrivately(None, place, created=True)

    async def delete(self, caller, ident, concerns):
        concerns({"city"})
        if self.fails is not None:
            raise self.fails


class Fences:
    def __init__(self):
        self.doubted, self.followed = [], []

    def doubt(self, workspace, sets):
        self.doubted += sets

    async def follow(self, workspace, sets):
        self.followed += sets


class World:
    def __init__(self):
        self.catalog, self.stored, self.fences = Catalog(), Stored(), Fences()
        self.memory = PrivateMemory(self.catalog, self.stored, self.fences)

    def hides(self, where):
        index = self.catalog.private(WORKSPACE)
        return index is not None and bool(index.locate_one(*where))


@pytest.fixture
def world():
    return World()


async def test_a_place_that_moves_is_hidden_where_it_is_now_alone(world):
    await world.memory.put(OWNER, draft(HERE))
    await world.memory.put(OWNER, draft(THERE))
    assert (world.hides(HERE), world.hides(THERE)) == (False, True)
    assert world.fences.followed == ["city"] * 2
    await world.memory.delete(OWNER, "clinic")
    assert world.catalog.private(WORKSPACE) is None


async def test_it_is_hidden_before_it_is_committed(world):
    seen = []
    put = world.stored.put

    async def looking(*given):
        seen.append(world.hides(HERE))
        return await put(*given)

    world.stored.put = looking
    await world.memory.put(OWNER, draft())
    assert seen == [True]


async def test_where_the_answer_of_a_put_is_lost_both_places_stay_hidden_until_the_next_one(world):
    await world.memory.put(OWNER, draft(HERE))
    world.stored.fails = Unavailable("away")
    with pytest.raises(Unavailable):
        await world.memory.put(OWNER, draft(THERE))
    assert (world.hides(HERE), world.hides(THERE)) == (True, True)
    assert world.fences.doubted == ["city"] * 2
    world.stored.fails = None
    await world.memory.put(OWNER, draft(THERE))
    assert (world.hides(HERE), world.hides(THERE)) == (False, True)


async def test_what_is_refused_is_as_it_was(world):
    await world.memory.put(OWNER, draft(HERE))
    world.stored.fails = Conflict("full")
    with pytest.raises(Conflict):
        await world.memory.put(OWNER, draft(THERE))
    assert (world.hides(HERE), world.hides(THERE)) == (True, False)


async def test_where_the_answer_of_a_delete_is_lost_it_stays_hidden(world):
    await world.memory.put(OWNER, draft())
    world.stored.fails = Unavailable("away")
    with pytest.raises(Unavailable):
        await world.memory.delete(OWNER, "clinic")
    assert world.hides(HERE)


async def test_too_many_at_one_spot_are_refused_before_anything_is_written(world, monkeypatch):
    monkeypatch.setattr(module, "SPOT_FENCES", 2)
    for name in ("a", "b"):
        await world.memory.put(OWNER, draft(ident=name))
    with pytest.raises(Crowded):
        await world.memory.put(OWNER, draft(ident="c"))
    assert len(world.stored.held) == 2
    await world.memory.put(OWNER, draft(THERE, "c"))
