"""Memory of geofences: it ends where the database does, one change of a set at a time, and no place is crowded."""

import asyncio
import gc
import threading

import pytest
from msgspec.structs import replace

from geo_offers.errors import Conflict, Crowded, NotFound, Unavailable
from geo_offers.pipeline import fences, slices, unbroken
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.pipeline.management import SetChange
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.places import index
from geo_offers.places.fences import Detect, FenceId, Geofence, split_fence_id
from geo_offers.places.geometry import Circle

ALPHA, BETA = workspace_id("Alpha"), workspace_id("Beta")


def fence(name, version=1, *, lat=10.0, radius_m=100.0, active=True):
    return Geofence(FenceId(name), version, name, Circle(lat, 20.0, radius_m), None, (), active, Detect("raw"))


class Stored:
    """The database: what is committed, in which order sets were read, and whether it answers."""

    def __init__(self):
        self.fences = {}
        self.read_sets = []
        self.away = 0
        self.broken = set()

    async def versions(self, workspace, set_id):
        self.read_sets.append(set_id)
        if self.away or set_id in self.broken:
            self.away = max(0, self.away - 1)
            raise Unavailable("the database is away")
        of_set = [held for (owner, _), held in self.fences.items() if owner == workspace]
        return {held.id: held.version for held in of_set if split_fence_id(held.id)[0] == set_id}

    async def read(self, workspace, _set_id, names):
        return [replace(self.fences[workspace, name]) for name in names]

    def commit(self, put=(), dropped=(), workspace=ALPHA):
        self.fences |= {(workspace, one.id): one for one in put}
        for name in dropped:
            del self.fences[workspace, name]


class World:
    def __init__(self):
        self.stored, self.catalog = Stored(), Catalog()
        self.memory = FenceMemory(self.catalog, self.stored)

    def change(self, *put, dropped=(), error=None, before=None, admitted=True, workspace=ALPHA, set_id="town"):
        """A change that commits; with an error its answer is lost."""

        async def work(admit):
            if before is not None:
                await before()
            if admitted:
                await admit(put, dropped)
            self.stored.commit(put, dropped, workspace)
            if error is not None:
                raise error
            return SetChange("done", put, dropped)

        return self.memory.change(workspace, set_id, work)

    def held(self, workspace=ALPHA):
        return {one.id: one for one in self.catalog.index(workspace)}

    def committed(self, workspace=ALPHA):
        return {name: one for (owner, name), one in self.stored.fences.items() if owner == workspace}

    async def mended(self):
        """Runs until no set is in doubt."""
        run = asyncio.create_task(self.memory.run())
        await until(lambda: not self.memory._doubtful)
        run.cancel()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture
def world():
    return World()


LOST = Unavailable("the database is away")


# ------------------------------------------------------------------------------------------------ doubt
@pytest.mark.parametrize("error", [LOST, RuntimeError("a fault of ours")])
async def test_what_was_put_changed_and_dropped_behind_a_lost_answer_is_mended_unasked(world, error):
    await world.change(fence("town/a"), fence("town/b"), fence("town/c"))
    left, other = world.held()[FenceId("town/c")], fence("townhall/a")
    await world.change(other, set_id="townhall")
    with pytest.raises(type(error)):
        await world.change(fence("town/a", 2, lat=11), fence("town/d", 3), dropped=[FenceId("town/b")], error=error)
    assert world.held() != world.committed()
    await world.mended()
    assert world.held() == world.committed()
    assert world.held()[FenceId("town/c")] is left  # what did not change is not read
    assert [one.id for one in world.catalog.index(ALPHA).locate_one(11, 20)] == ["town/a"]
    assert world.stored.read_sets == ["town"]


async def test_a_change_that_was_cut_off_by_a_stop_is_in_doubt_too(world):
    committed, gate = asyncio.Event(), asyncio.Event()

    async def work(_admit):
        world.stored.commit([fence("town/a")])
        committed.set()
        await gate.wait()

    call = asyncio.create_task(world.memory.change(ALPHA, "town", work))
    await until(committed.is_set)
    for task in unbroken._running:
        task.cancel()
    await until(call.done)
    assert call.cancelled()
    await world.mended()
    assert world.held() == world.committed()


@pytest.mark.parametrize("error", [Conflict("full"), NotFound("nothing here")])
async def test_a_clear_refusal_leaves_no_doubt(world, error):
    with pytest.raises(type(error)):
        await world.change(error=error)
    await world.change(fence("town/a"))
    assert world.stored.read_sets == []


async def test_the_next_change_of_a_set_in_doubt_finds_memory_mended(world):
    with pytest.raises(Unavailable):
        await world.change(fence("town/a"), error=LOST)
    seen = []

    async def look():
        seen.append(world.held().keys())

    assert await world.change(fence("town/b"), before=look) == "done"
    assert seen == [{"town/a"}]
    assert world.held() == world.committed()
    assert not world.memory._doubtful


async def test_memory_follows_a_database_that_was_set_back_to_older_versions(world):
    await world.change(fence("town/a", 7))
    with pytest.raises(Unavailable):
        await world.change(fence("town/a", 3, lat=11), error=LOST)
    await world.mended()
    assert world.held()[FenceId("town/a")].version == 3


async def test_mending_goes_on_until_the_database_is_back(world, monkeypatch):
    monkeypatch.setattr(fences, "RETRY_S", 0)
    world.stored.away = 5
    with pytest.raises(Unavailable):
        await world.change(fence("town/a"), error=LOST)
    await world.mended()
    assert world.stored.read_sets == ["town"] * 6
    assert world.held() == world.committed()


async def test_a_set_that_cannot_be_mended_keeps_no_other_from_it(world, monkeypatch):
    monkeypatch.setattr(fences, "RETRY_S", 0)
    world.stored.broken = {"town"}
    for set_id in ("town", "city"):
        with pytest.raises(Unavailable):
            await world.change(fence(f"{set_id}/a"), set_id=set_id, error=LOST)
    run = asyncio.create_task(world.memory.run())
    await until(world.held)
    run.cancel()
    assert world.held().keys() == {"city/a"}


async def test_a_long_change_of_a_set_in_doubt_keeps_no_other_set_from_being_mended(world):
    for set_id in ("town", "city"):
        with pytest.raises(Unavailable):
            await world.change(fence(f"{set_id}/a"), set_id=set_id, error=LOST)
    begun, gate, read = asyncio.Event(), asyncio.Event(), world.stored.versions

    async def slowly(workspace, set_id):
        if set_id == "town":
            begun.set()
            await gate.wait()
        return await read(workspace, set_id)

    world.stored.versions = slowly
    change = asyncio.create_task(world.change(fence("town/b")))
    await until(begun.is_set)
    run = asyncio.create_task(world.memory.run())
    await until(world.held)
    assert world.held().keys() == {"city/a"}
    gate.set()
    await change
    run.cancel()
    assert world.held() == world.committed()


async def test_past_so_many_sets_in_doubt_nothing_is_changed_before_some_are_mended(world, monkeypatch):
    monkeypatch.setattr(fences, "DOUBTS", 2)
    for set_id in ("s1", "s2"):
        with pytest.raises(Unavailable):
            await world.change(fence(f"{set_id}/a"), set_id=set_id, error=LOST)
    with pytest.raises(Unavailable, match="too many"):
        await world.change(fence("s3/a"), set_id="s3")
    assert "s3/a" not in world.committed()
    assert await world.change(fence("s1/b"), set_id="s1") == "done"
    assert await world.change(fence("s3/a"), set_id="s3") == "done"


# ------------------------------------------------------------------------------------------------ order
async def test_a_caller_who_hangs_up_ends_no_change(world):
    begun, gate = asyncio.Event(), asyncio.Event()

    async def wait():
        begun.set()
        await gate.wait()

    call = asyncio.create_task(world.change(fence("town/a"), before=wait))
    await until(begun.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.set()
    await world.change(fence("town/b"))  # its turn comes after
    assert world.held().keys() == {"town/a", "town/b"}


async def test_a_set_is_changed_by_one_at_a_time_and_other_sets_go_on(world):
    gate, order = asyncio.Event(), []

    async def first():
        order.append("first")
        await gate.wait()

    async def second():
        order.append("second")

    changes = [asyncio.create_task(world.change(fence("town/a", 1), before=first))]
    changes.append(asyncio.create_task(world.change(fence("town/a", 2), before=second)))
    await world.change(fence("city/a"), set_id="city")
    assert order == ["first"]
    gate.set()
    await asyncio.gather(*changes)
    assert world.held()[FenceId("town/a")].version == 2


async def test_installing_lets_others_in_between_and_computes_no_cover_on_the_loop(world, monkeypatch):
    monkeypatch.setattr(slices, "SLICE_S", -1.0)
    where, turns = set(), 0

    def beside(one):
        where.add(threading.current_thread() is threading.main_thread())
        return prepare(one)

    prepare = fences.prepare
    monkeypatch.setattr(fences, "prepare", beside)
    monkeypatch.setattr(index, "prepare", None)
    change = asyncio.create_task(world.change(*(fence(f"town/{number}") for number in range(50))))
    while not change.done():
        turns += bool(world.held())
        await asyncio.sleep(0)
    assert len(world.held()) == 50
    assert where == {False}
    assert turns >= 49


async def test_what_many_fences_left_free_is_given_back_once_when_no_more_come(world, monkeypatch):
    monkeypatch.setattr(fences, "MANY", 2)
    monkeypatch.setattr(fences, "SETTLE_S", 0.1)
    settled = []
    monkeypatch.setattr(fences, "give_back", lambda: settled.append(len(world.held())))
    await world.change(fence("town/alone"))
    await asyncio.sleep(0.2)
    assert settled == []
    await world.change(fence("town/a"), fence("town/b"))
    await world.change(fence("town/c"), fence("town/d"))
    async with asyncio.timeout(5):
        while not settled:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert settled == [5]


def test_a_c_library_that_cannot_give_back_does_no_harm(monkeypatch):
    monkeypatch.setattr(fences.ctypes, "CDLL", lambda _name: object())
    fences.give_back()


def test_the_collector_does_not_look_at_fences():
    assert not gc.is_tracked(fence("town/a"))


async def test_covers_leave_their_worker_to_others_in_between(monkeypatch):
    monkeypatch.setattr(fences, "SHARE_S", -1.0)
    shares, share = [], fences._share
    monkeypatch.setattr(fences, "_share", lambda todo: shares.append(got := share(todo)) or got)
    covers = await fences._covers([fence(f"town/{number}") for number in range(3)])
    assert covers == {name: index.prepare(fence(name)) for name in ("town/0", "town/1", "town/2")}
    assert [len(got) for got in shares] == [1, 1, 1, 0]


# ------------------------------------------------------------------------------------------------ room
@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(fences, "SPOT_FENCES", 3)


@pytest.mark.parametrize("radius_m", [100.0, 20_000.0, 400_000.0])
async def test_a_place_has_room_for_so_many_fences_of_each_size(world, narrow, radius_m):
    await world.change(*(fence(f"town/{number}", radius_m=radius_m) for number in range(3)))
    with pytest.raises(Crowded, match="town/x would lie where more than 3") as refused:
        await world.change(fence("town/far", lat=-40), fence("town/x", radius_m=radius_m))
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/geometry", "crowded")]
    assert len(world.committed()) == 3
    assert await world.change(fence("town/x", lat=40, radius_m=radius_m)) == "done"


@pytest.mark.parametrize("radius_m", [100.0, 20_000.0, 400_000.0])
async def test_growth_is_what_a_change_would_add_to_each_place(radius_m):
    here, there = fence("s/a", radius_m=radius_m), fence("s/c", lat=-20.0, radius_m=radius_m)
    held = index.GeofenceIndex([here, replace(here, id=FenceId("s/b")), there])
    near, far = index.prepare(here), index.prepare(there)
    cases = [
        ({"s/x": near, "s/y": near}, (), dict.fromkeys(near.places, 2)),
        ({"s/a": near}, (), {}),
        ({"s/a": far}, (), dict.fromkeys(far.places, 1)),
        ({"s/a": far, "s/c": near}, (), {}),
        ({"s/x": near}, ["s/b"], {}),
        ({"s/x": near, "s/y": near}, ["s/b", "s/none"], dict.fromkeys(near.places, 1)),
    ]
    for coming, going, expected in cases:
        growth = await fences._growth(held, coming, going)
        assert dict(zip(growth.places.tolist(), growth.by.tolist(), strict=True)) == expected


async def test_an_import_may_not_crowd_a_place_by_itself(world, narrow):
    with pytest.raises(Crowded, match="town/0 "):
        await world.change(*(fence(f"town/{number}") for number in range(4)))
    assert world.committed() == {}


async def test_where_it_is_full_fences_are_still_replaced_moved_away_and_swapped(world, narrow):
    await world.change(*(fence(f"town/{number}") for number in range(3)))
    assert await world.change(fence("town/0", 2)) == "done"
    assert await world.change(fence("town/0", 3, lat=40), fence("town/3")) == "done"
    assert await world.change(fence("town/4"), dropped=[FenceId("town/3")]) == "done"
    assert await world.change(fence("town/5", active=False)) == "done"
    with pytest.raises(Crowded, match="town/5 "):
        await world.change(fence("town/5", 2))


async def test_a_place_that_was_crowded_before_there_was_a_bound_takes_changes_that_add_nothing(world, narrow):
    crowd = [fence(f"town/{number}") for number in range(5)]
    world.catalog.put(ALPHA, crowd)
    assert await world.change(*(replace(one, version=2) for one in crowd)) == "done"
    with pytest.raises(Crowded, match="town/x "):
        await world.change(*(replace(one, version=3) for one in crowd), fence("town/x"))


async def test_workspaces_take_no_room_from_each_other(world, narrow):
    for workspace in (ALPHA, BETA):
        assert await world.change(fence("town/a"), fence("town/b"), workspace=workspace) == "done"

    async def meanwhile(admit):
        await admit([fence("city/a")])
        assert await world.change(fence("town/c"), workspace=BETA) == "done"
        return SetChange("done")

    assert await world.memory.change(ALPHA, "city", meanwhile) == "done"


async def test_two_sets_at_once_do_not_take_the_same_room_and_a_refused_one_gives_it_back(world, narrow):
    admitted, gate = asyncio.Event(), asyncio.Event()

    async def work(admit):
        await admit([fence("city/a"), fence("city/b")])
        admitted.set()
        await gate.wait()
        raise NotFound("nothing here")

    other = asyncio.create_task(world.memory.change(ALPHA, "city", work))
    await until(admitted.is_set)
    with pytest.raises(Crowded, match="town/a "):
        await world.change(fence("town/a"), fence("town/b"))
    gate.set()
    with pytest.raises(NotFound):
        await other
    assert await world.change(fence("town/a"), fence("town/b")) == "done"
    assert not world.memory._arriving


async def test_a_workspace_has_room_for_so_many_fences_and_a_full_one_is_still_changed(world, monkeypatch):
    monkeypatch.setattr(fences, "WORKSPACE_FENCES", 2)
    await world.change(fence("town/a"), fence("town/b"))
    with pytest.raises(Conflict, match="at most 2"):
        await world.change(fence("town/c"))
    assert await world.change(fence("town/a", 2)) == "done"


async def test_one_change_brings_only_so_many_places_and_is_refused_before_all_are_computed(world, monkeypatch):
    """Ten thousand fences of 100 km would take gigabytes: what is refused costs no more than what may come."""
    monkeypatch.setattr(fences, "CHANGE_PLACES", 60)
    monkeypatch.setattr(fences, "SHARE_S", 0)
    covered = []
    prepare = fences.prepare
    monkeypatch.setattr(fences, "prepare", lambda one: covered.append(one) or prepare(one))
    wide = [fence(f"town/{number}", lat=number, radius_m=400.0) for number in range(50)]
    with pytest.raises(Crowded, match="cover too much at once"):
        await world.change(*wide)
    assert len(covered) < 5
    assert world.held() == world.committed() == {}
    await world.change(wide[0])
    assert set(world.held()) == {"town/0"}


async def test_all_fences_of_a_workspace_have_only_so_many_places(world, monkeypatch):
    monkeypatch.setattr(fences, "WORKSPACE_PLACES", 45)
    near, far, small = fence("town/a", radius_m=300.0), fence("town/b", lat=12.0, radius_m=300.0), fence("town/c")
    await world.change(near)
    with pytest.raises(Crowded, match="of this workspace would cover too much"):
        await world.change(far)
    await world.change(far, workspace=BETA)
    await world.change(fence("town/a", 2, radius_m=300.0))
    await world.change(dropped=[near.id])
    await world.change(far)
    assert set(world.held()) == {"town/b"}
    await world.change(small)
    assert world.catalog.index(ALPHA).filed == sum(
        len(world.catalog.index(ALPHA).places_of(one)) for one in ("town/b", "town/c")
    )
