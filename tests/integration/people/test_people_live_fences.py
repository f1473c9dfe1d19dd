"""Fences that change under a phone: its next fix sees the fences as they are then, whether or not it has moved."""

import asyncio
import json
from datetime import timedelta

import pytest
import pytest_asyncio

from geo_offers.offers.packing import unpacked
from tests.integration.people.conftest import SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

BESIDE = (SHOP[0], SHOP[1] + 0.0003)  # some 20 m from SHOP
NEAR = (SHOP[0], SHOP[1] + 0.005)  # some 330 m from it: outside of 100 m, inside of 500 m
FAR = (SHOP[0] + 1.0, SHOP[1])


def circle(place=SHOP, radius_m=100.0, **properties):
    said = {"name": "Main Street", "radius_m": radius_m, "detect": {"mode": "raw"}} | properties
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [place[1], place[0]]}, "properties": said}


def square(place=SHOP, half=0.01):
    (lat, lon), ring = place, ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    corners = [[lon + x * half, lat + y * half] for x, y in ring]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"type": "Feature", "geometry": geometry, "properties": {"name": "Square", "detect": {"mode": "raw"}}}


async def put(api, feature, name="main"):
    """The version it got."""
    return (await api.good("PUT", f"/v1/geofences/stores/{name}", "owner", feature))["version"]


async def drop(api, name="main"):
    await api.good("DELETE", f"/v1/geofences/stores/{name}", "owner")


async def imported(api, *named):
    """Applies an import of these (name, feature) pairs; its id."""
    document = {"type": "FeatureCollection", "features": [feature | {"id": name} for name, feature in named]}
    report = await api.good("POST", "/v1/imports?set=stores&dry_run=false", "owner", document)
    assert (report["state"], report["counts"]["refused"]) == ("applied", 0)
    return report["id"]


class Seen:
    """A phone and what its fixes caused, each later than the one before by `gap_s`."""

    def __init__(self, api, phone, way):
        self.api = api
        self.phone = phone
        self._way = way
        self._at = before(hours=5)

    async def at(self, place, gap_s=1.0):
        """The edges of one fix, as text."""
        self._at += timedelta(seconds=gap_s)
        ping = {"at": self._at.isoformat(), "lat": place[0], "lon": place[1], "accuracy_m": 5}
        return [f"{edge['type']} {edge['fence'].removeprefix('stores/')}" for edge in await self._way(self, ping)]

    async def quiet_at(self, place, fixes=3):
        """Some fixes that cause nothing, so that whatever is remembered of a phone that rests is remembered."""
        for _ in range(fixes):
            assert await self.at(place) == []


async def by_its_own_call(seen, ping):
    answer = await seen.phone.call("POST", "/v1/pings", {"pings": [ping]})
    assert (answer.status, answer.body["results"]) == (200, [{"status": "accepted"}]), answer.body
    return answer.body["transitions"]


async def in_a_batch_of_a_server(seen, ping):
    """With another phone's fixes around it: more than are looked up one by one."""
    other = [
        {"at": (before(hours=1) + timedelta(seconds=n)).isoformat(), "lat": -FAR[0], "lon": FAR[1], "accuracy_m": 5}
        for n in range(12)
    ]
    if not hasattr(seen, "other"):
        seen.other, seen.sent = await seen.api.phone("replay"), 0
    seen.sent += 1
    for number, each in enumerate(other):
        each["at"] = (before(hours=4) + timedelta(seconds=20 * seen.sent + number)).isoformat()
    batch = [each | {"device": seen.other.device} for each in other]
    batch.insert(5, ping | {"device": seen.phone.device})
    answer = await seen.api.good("POST", "/v1/pings", "server", {"pings": batch})
    assert {result["status"] for result in answer["results"]} == {"accepted"}
    return [edge for edge in answer["transitions"] if edge["device"] == seen.phone.device]


async def by_stream(seen, ping):
    """Over one line, kept open from fix to fix."""
    if not hasattr(seen, "line"):
        bearer = {"Authorization": f"Bearer {seen.phone.token}"}
        seen.line = await seen.api.session.ws_connect(f"{seen.api.service.url}/v1/stream", headers=bearer)
    await seen.line.send_str(json.dumps([ping]))
    async for message in seen.line:
        answer = json.loads(message.data)
        if "results" in answer:
            assert answer["results"] == [{"status": "accepted"}]
            return answer["transitions"]
    raise AssertionError("the line was closed")


@pytest_asyncio.fixture(
    loop_scope="module", params=[by_its_own_call, in_a_batch_of_a_server, by_stream], ids=lambda way: way.__name__
)
async def seen(api, request):
    """Sends its fixes alone, among others, or over a stream."""
    made = Seen(api, await api.phone("replay"), request.param)
    yield made
    if hasattr(made, "line"):
        await made.line.close()


STAYS = pytest.mark.parametrize("then", [SHOP, BESIDE], ids=["in place", "a step on"])

# ------------------------------------------------------------------------------------------------ into a fence


@STAYS
async def test_a_phone_inside_a_new_fence_enters_it_with_its_next_fix(api, seen, then):
    await seen.quiet_at(SHOP)
    await put(api, circle())
    assert await seen.at(then) == ["enter main"]
    assert await seen.at(then) == []
    assert await seen.at(FAR) == ["exit main"]


@STAYS
@pytest.mark.parametrize("shape", [square(half=4.0), square(half=0.5), square()], ids=["vast", "wide", "small"])
async def test_a_new_fence_of_any_size_and_kind_is_entered_so(api, seen, then, shape):
    await seen.quiet_at(SHOP)
    await put(api, shape)
    assert await seen.at(then) == ["enter main"]


@STAYS
@pytest.mark.parametrize(
    ("first", "grown"),
    [
        (circle(NEAR), circle(NEAR, 500)),
        (circle(FAR), circle()),
        (circle(active=False), circle()),
        (square(NEAR, 0.001), square(NEAR)),
        (circle(NEAR), square()),
    ],
    ids=["grown", "moved here", "activated", "area grown", "circle to area"],
)
async def test_a_phone_enters_a_fence_that_comes_to_lie_over_it(api, seen, then, first, grown):
    await put(api, first)
    await seen.quiet_at(SHOP)
    await put(api, grown)
    assert await seen.at(then) == ["enter main"]


@STAYS
async def test_a_phone_inside_another_fence_enters_the_new_one_alone(api, seen, then):
    await put(api, circle(radius_m=200), "old")
    assert await seen.at(SHOP) == ["enter old"]
    await seen.quiet_at(SHOP)
    await put(api, circle(), "new")
    assert await seen.at(then) == ["enter new"]


@STAYS
async def test_an_import_applied_and_undone_is_entered_and_left(api, seen, then):
    await seen.quiet_at(SHOP)
    ident = await imported(api, ("a", circle()), ("b", square()), ("c", circle(FAR)))
    assert await seen.at(then) == ["enter a", "enter b"]
    await seen.quiet_at(then)
    await api.good("POST", f"/v1/imports/{ident}/undo", "owner")
    assert await seen.at(then) == ["exit a", "exit b"]
    assert await seen.at(then) == []


# ------------------------------------------------------------------------------------------------ out of one
@STAYS
@pytest.mark.parametrize(
    "end",
    [None, circle(active=False), circle(FAR), circle(NEAR), square(NEAR, 0.001)],
    ids=["deleted", "deactivated", "moved far", "moved near", "another shape"],
)
async def test_a_phone_leaves_a_fence_that_is_taken_away_from_it(api, seen, then, end):
    await put(api, circle())
    assert await seen.at(SHOP) == ["enter main"]
    await seen.quiet_at(SHOP)
    await (drop(api) if end is None else put(api, end))
    assert await seen.at(then) == ["exit main"]
    assert await seen.at(then) == []


@pytest.mark.parametrize("small", [circle(NEAR), square(NEAR, 0.001)], ids=["circle", "area"])
async def test_a_phone_leaves_a_fence_that_shrank_away_from_it(api, seen, small):
    await put(api, circle(NEAR, 500))
    assert await seen.at(SHOP) == ["enter main"]
    await seen.quiet_at(SHOP)
    await put(api, small)
    assert await seen.at(SHOP) == ["exit main"]
    assert await seen.at(NEAR) == ["enter main"]


# ------------------------------------------------------------------------------------------------ neither
@STAYS
@pytest.mark.parametrize(
    "changed",
    [circle(), circle(radius_m=500), circle(NEAR, 500), square(), circle(tags=["bread"])],
    ids=["the same", "grown", "moved a little", "another shape", "other words"],
)
async def test_a_fence_that_changes_around_a_phone_makes_no_edge_and_is_left_once(api, seen, then, changed):
    await put(api, circle())
    assert await seen.at(SHOP) == ["enter main"]
    await seen.quiet_at(SHOP)
    await put(api, changed)
    assert await seen.at(then) == []
    assert await seen.at(then) == []
    assert await seen.at(FAR) == ["exit main"]


async def test_a_fence_that_was_put_and_taken_away_between_two_fixes_was_never_there(api, seen):
    await seen.quiet_at(SHOP)
    await put(api, circle())
    await drop(api)
    assert await seen.at(SHOP) == []


async def test_a_fence_that_was_away_between_two_fixes_alone_is_still_the_same_visit(api, seen):
    await put(api, circle())
    assert await seen.at(SHOP) == ["enter main"]
    await drop(api)
    await put(api, circle())
    assert await seen.at(SHOP) == []
    assert await seen.at(FAR) == ["exit main"]


# ------------------------------------------------------------------------------------------------ one for another
@STAYS
async def test_a_fence_in_the_place_of_a_deleted_one_is_another_fence(api, seen, then):
    await put(api, circle(), "old")
    assert await seen.at(SHOP) == ["enter old"]
    await seen.quiet_at(SHOP)
    await drop(api, "old")
    await put(api, circle(), "new")
    assert await seen.at(then) == ["exit old", "enter new"]
    assert await seen.at(then) == []
    assert await seen.at(FAR) == ["exit new"]


@STAYS
async def test_a_fence_put_elsewhere_after_a_delete_is_not_taken_for_the_deleted_one(api, seen, then):
    await put(api, circle(), "old")
    assert await seen.at(SHOP) == ["enter old"]
    await seen.quiet_at(SHOP)
    await drop(api, "old")
    await put(api, circle(FAR), "new")
    assert await seen.at(then) == ["exit old"]
    assert await seen.at(FAR) == ["enter new"]


async def test_many_fences_that_come_and_go_at_one_place_are_told_apart(api, seen):
    inside = set()
    for turn in range(12):
        name = f"f{turn}"
        await put(api, circle(radius_m=100 + turn), name)
        left = f"f{turn - 3}" if turn >= 3 else None
        if left is not None:
            await drop(api, left)
        expected = ([f"exit {left}"] if left in inside else []) + [f"enter {name}"]
        assert await seen.at(SHOP) == expected
        inside = (inside | {name}) - {left}
    assert await seen.at(FAR) == sorted(f"exit {name}" for name in inside)


async def test_a_phone_that_nobody_sees_change_is_told_all_at_its_next_fix(api, seen):
    """Two phones: what one is told takes nothing from the other."""
    other = Seen(api, await api.phone("replay"), by_its_own_call)
    await put(api, circle(), "old")
    for each in (seen, other):
        assert await each.at(SHOP) == ["enter old"]
    await drop(api, "old")
    assert await seen.at(SHOP) == ["exit old"]
    await put(api, circle(), "new")
    assert await seen.at(SHOP) == ["enter new"]
    assert await other.at(SHOP) == ["exit old", "enter new"]


# ------------------------------------------------------------------------------------------------ dwell
@STAYS
async def test_a_dwell_time_that_is_cut_short_around_a_phone_counts_from_its_enter(api, seen, then):
    await put(api, circle(detect={"dwell_s": 3600}))
    assert await seen.at(SHOP) == ["enter main"]
    assert await seen.at(SHOP, 70) == []
    await put(api, circle(detect={"dwell_s": 60}))
    assert await seen.at(then) == ["dwell main"]
    assert await seen.at(then, 3600) == []


@STAYS
async def test_a_dwell_time_that_is_drawn_out_around_a_phone_puts_its_dwell_off(api, seen, then):
    await put(api, circle(detect={"dwell_s": 60}))
    assert await seen.at(SHOP) == ["enter main"]
    assert await seen.at(SHOP, 50) == []
    await put(api, circle(detect={"dwell_s": 120}))
    assert await seen.at(then, 40) == []
    assert await seen.at(then, 40) == ["dwell main"]


async def test_a_dwell_time_that_changes_after_the_dwell_makes_no_second_one(api, seen):
    await put(api, circle(detect={"dwell_s": 60}))
    assert await seen.at(SHOP) == ["enter main"]
    assert await seen.at(SHOP, 60) == ["dwell main"]
    await put(api, circle(detect={"dwell_s": 600}))
    assert await seen.at(SHOP, 700) == []


# ------------------------------------------------------------------------------------------------ meanwhile
async def test_no_ping_is_lost_while_a_file_is_applied_and_the_phone_enters_once(api, seen):
    grid = [(f"g{n}", circle((FAR[0] + n // 40 * 0.01, FAR[1] + n % 40 * 0.01))) for n in range(800)]
    applying = asyncio.create_task(imported(api, *grid, ("here", circle())))
    told = []
    while not applying.done():
        told += await seen.at(SHOP)
    await applying
    told += await seen.at(SHOP)
    assert told == ["enter here"]


# ------------------------------------------------------------------------------------------------ versions
async def test_each_decision_names_the_fence_version_that_it_saw(api):
    """The visit keeps the one that was entered; a later edge of it is decided by the fence as it is then."""
    for edge in ("enter", "dwell", "exit"):
        await api.shop(trigger={"on": edge, "fences": {"set": "stores"}})
    entered = await put(api, circle(detect={"dwell_s": 3600}))
    phone = Seen(api, await api.buyer("replay"), by_its_own_call)
    late = Seen(api, await api.buyer("replay"), by_its_own_call)
    assert await phone.at(SHOP) == ["enter main"]
    changed = await put(api, circle(radius_m=150, detect={"dwell_s": 60}))
    assert await phone.at(SHOP, 60) == ["dwell main"]
    assert await late.at(SHOP) == ["enter main"]
    moved = await put(api, circle(NEAR))
    assert await phone.at(SHOP) == ["exit main"]
    assert entered < changed < moved
    assert await receipts(api, phone) == {
        "enter": (entered, entered), "dwell": (entered, changed), "exit": (entered, moved)
    }  # fmt: skip
    assert await receipts(api, late) == {"enter": (changed, changed)}
    kept = await api.rows.fetch("SELECT device::text, fence_version FROM visit WHERE workspace = $1", api.workspace)
    assert dict(map(tuple, kept)) == {phone.phone.device: entered, late.phone.device: changed}


async def receipts(api, seen):
    """By kind of edge: the version that the visit entered, and the one that the decision saw."""
    rows = await api.rows.fetch("SELECT receipt FROM decision WHERE user_id = $1", seen.phone.user)
    found = {}
    for receipt in (json.loads(unpacked(row["receipt"])) for row in rows):
        for edge in receipt["transitions"]:
            found[edge["type"]] = (edge["fence_version"], receipt["versions"]["fence"])
    return found
