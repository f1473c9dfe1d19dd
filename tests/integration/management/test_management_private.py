"""Private places: who says where they are, and what becomes of geofences that lie over them."""

import asyncio

import pytest

from geo_offers.errors import Unavailable
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.pipeline.private import PrivateMemory
from geo_offers.storage.geofences import PostgresGeofences, load_fences
from geo_offers.storage.pool import transaction
from geo_offers.storage.private import PostgresPrivatePlaces, load_private, sensitive_fences
from tests.integration.management.conftest import ALPHA, BETA

CLINIC = "/v1/private-places/clinic"
SHOP = "/v1/geofences/city/shop"
LON, LAT = 8.8, 53.08
DEG = 1 / 111_300  # of latitude, a metre


def clinic(site, radius_m=100, north_m=0.0, category="health"):
    feature = site.point(LON, LAT + north_m * DEG, radius_m=radius_m, category=category)
    return feature | {"properties": feature["properties"] | {"name": "Clinic"}}


async def put(site, path, body, who="owner"):
    answer = await site.call("PUT", path, body, who=who)
    assert answer.status in {200, 201}, answer.body
    return answer.body


async def approve(site, who, path=SHOP, seen=None):
    """As somebody does who has just looked at it, or at the version `seen`."""
    version = (await site.get(path)).body["version"] if seen is None else seen
    return await site.call("POST", f"{path}/approve?version={version}", who=who)


def is_on(site, name="city/shop"):
    return site.services.catalog.index(ALPHA).get(name).active


def hidden(site, workspace=ALPHA):
    private = site.services.catalog.private(workspace)
    return private is not None and bool(private.locate_one(LAT, LON))


# ------------------------------------------------------------------------------------------------ places
async def test_a_private_place_is_put_read_listed_and_deleted_and_memory_follows_each_answer(site):
    made = await site.call("PUT", CLINIC, clinic(site))
    assert (made.status, made.body["category"], made.body["id"]) == (201, "health", "clinic")
    assert made.body["feature"]["properties"] == {"name": "Clinic", "category": "health", "radius_m": 100.0}
    assert hidden(site)
    assert not hidden(site, BETA)
    assert (await site.get(CLINIC)).body == made.body
    same = await site.call("PUT", CLINIC, clinic(site))
    assert (same.status, same.body["version"]) == (200, made.body["version"])
    moved = await site.call("PUT", CLINIC, clinic(site, north_m=5_000))
    assert moved.status == 200
    assert moved.body["version"] > made.body["version"]
    assert not hidden(site)
    await put(site, "/v1/private-places/another", site.square(LON, LAT, category="worship"))
    listed = await site.all("/v1/private-places", 1)
    assert [(item["id"], item["category"]) for item in listed] == [("another", "worship"), ("clinic", "health")]
    assert (await site.call("DELETE", CLINIC)).status == 204
    assert (await site.call("DELETE", CLINIC)).status == 404
    assert (await site.get(CLINIC)).status == 404


async def test_only_an_owner_says_what_is_private_and_viewers_do_not_read_it(site):
    assert (await site.call("PUT", CLINIC, clinic(site), who="approver")).status == 403
    await put(site, CLINIC, clinic(site))
    assert (await site.call("DELETE", CLINIC, who="approver")).status == 403
    assert (await site.get(CLINIC, who="editor")).status == 200
    assert (await site.get("/v1/private-places", who="viewer")).status == 403
    assert (await site.get(CLINIC, who="beta")).status == 404
    assert (await site.get("/v1/private-places", who="beta")).body["items"] == []


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"category": "pub"}, "/properties/category", "category"),
        ({"category": None}, "/properties/category", "category"),
        ({"store": "s"}, "/properties/store", "unknown"),
        ({"active": False}, "/properties/active", "unknown"),
        ({"radius_m": 24}, "/properties/radius_m", None),
        ({"radius_m": 10_001}, "/properties/radius_m", None),
        ({"name": "a\u202eb"}, "/properties/name", None),
    ],
)
async def test_what_cannot_be_a_private_place_is_refused_with_its_place_and_nothing_is_kept(
    site, change, pointer, code
):
    body = clinic(site)
    answer = await site.call("PUT", CLINIC, body | {"properties": body["properties"] | change})
    assert (answer.status, answer.pointers) == (422, [pointer])
    assert code in {None, answer.codes[0]}
    assert (await site.get(CLINIC)).status == 404
    assert not hidden(site)


async def test_an_area_that_is_no_place_is_refused(site):
    answer = await site.call("PUT", CLINIC, site.square(LON, LAT, size=1.5, category="other"))
    assert (answer.status, answer.pointers, answer.codes) == (422, ["/geometry"], ["too_large"])


# ------------------------------------------------------------------------------------------------ geofences over them
async def test_a_geofence_over_a_private_place_is_off_until_two_others_than_its_author_approve_it(site):
    await put(site, CLINIC, clinic(site))
    made = await put(site, SHOP, site.point(LON, LAT, radius_m=50), who="approver")
    assert made["approval"] == {"state": "pending", "places": ["clinic"], "approvals": 0}
    assert not is_on(site)
    own = await approve(site, "approver")
    assert (own.status, own.body["code"]) == (403, "own_fence")
    assert (await approve(site, "editor")).status == 403
    for _ in range(2):  # one person is one person
        once = await approve(site, "second approver")
        assert (once.status, once.body["approval"]["approvals"]) == (200, 1)
        assert not is_on(site)
    twice = await approve(site, "owner")
    assert twice.body["approval"] == {"state": "approved", "places": ["clinic"], "approvals": 2}
    assert is_on(site)
    assert (await site.get(SHOP)).body == twice.body


async def test_nobody_approves_an_edit_of_a_geofence_that_they_have_not_seen(site):
    await put(site, CLINIC, clinic(site))
    seen = (await put(site, SHOP, site.point(LON, LAT, radius_m=50)))["version"]
    unsaid = await site.call("POST", f"{SHOP}/approve", who="approver")
    assert (unsaid.status, unsaid.pointers, unsaid.codes) == (422, [""], ["missing"])
    newest = (await put(site, SHOP, site.point(LON, LAT, radius_m=500), who="editor"))["version"]
    assert newest > seen
    refused = await approve(site, "approver", seen=seen)
    assert (refused.status, refused.body["code"]) == (409, "conflict")
    assert (await site.get(SHOP)).body["approval"]["approvals"] == 0
    for who in ("approver", "second approver"):  # both have looked at it before either agrees
        assert (await approve(site, who, seen=newest)).status == 200
    assert is_on(site)
    repeated = await approve(site, "second approver", seen=newest)
    assert repeated.body["approval"]["approvals"] == 2


async def test_whoever_edits_an_approved_geofence_resets_its_approval(site):
    await put(site, CLINIC, clinic(site))
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    for who in ("approver", "second approver"):
        await approve(site, who)
    assert is_on(site)
    again = await put(site, SHOP, site.point(LON, LAT, radius_m=60), who="editor")
    assert again["approval"]["state"] == "pending"
    assert not is_on(site)


async def test_a_geofence_beside_all_private_places_needs_nobody(site):
    await put(site, CLINIC, clinic(site))
    made = await put(site, SHOP, site.point(LON, LAT + 151 * DEG, radius_m=50))
    assert "approval" not in made
    assert is_on(site)
    answer = await approve(site, "approver")
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert (await approve(site, "approver", "/v1/geofences/city/nowhere", seen=1)).status == 404
    touching = await put(site, SHOP, site.point(LON, LAT + 149 * DEG, radius_m=50))
    assert touching["approval"]["state"] == "pending"


async def test_an_inactive_geofence_stays_off_when_it_is_approved(site):
    await put(site, CLINIC, clinic(site))
    await put(site, SHOP, site.point(LON, LAT, radius_m=50, active=False))
    for who in ("approver", "second approver"):
        assert (await approve(site, who)).status == 200
    assert not is_on(site)


async def test_a_place_put_over_geofences_turns_them_off_and_says_which(site):
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    await put(site, "/v1/geofences/mall/all", site.square(LON - 0.001, LAT - 0.001))
    await put(site, "/v1/geofences/mall/far", site.point(LON + 1, LAT))
    placed = await put(site, CLINIC, clinic(site))
    assert placed["waiting"] == ["city/shop", "mall/all"]
    assert [is_on(site, name) for name in ("city/shop", "mall/all", "mall/far")] == [False, False, True]
    assert (await site.get(SHOP)).body["approval"]["state"] == "pending"
    for who in ("approver", "second approver"):
        await approve(site, who)
    assert (await site.get(CLINIC)).body["waiting"] == ["mall/all"]
    assert is_on(site)


async def test_a_place_that_is_put_as_it_is_lets_approved_geofences_be_and_one_that_changes_does_not(site):
    await put(site, CLINIC, clinic(site))
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    for who in ("approver", "second approver"):
        await approve(site, who)
    await put(site, CLINIC, clinic(site))
    assert is_on(site)
    assert (await put(site, CLINIC, clinic(site, radius_m=120)))["waiting"] == ["city/shop"]
    assert not is_on(site)


async def test_a_place_that_is_put_again_after_a_lost_answer_brings_the_memory_of_geofences_along(site, monkeypatch):
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    follow = site.services.fence_memory.follow

    async def away(*_):
        raise Unavailable("the database is away")

    monkeypatch.setattr(site.services.fence_memory, "follow", away)
    assert (await site.call("PUT", CLINIC, clinic(site))).status == 503
    assert is_on(site)  # memory does not know yet
    monkeypatch.setattr(site.services.fence_memory, "follow", follow)
    assert (await put(site, CLINIC, clinic(site)))["waiting"] == ["city/shop"]
    assert not is_on(site)


async def test_a_place_that_goes_or_moves_away_leaves_geofences_as_they_were_put(site):
    await put(site, CLINIC, clinic(site))
    await put(site, "/v1/private-places/church", clinic(site, category="worship"))
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    await put(site, CLINIC, clinic(site, north_m=5_000))
    assert (await site.get(SHOP)).body["approval"]["places"] == ["church"]
    assert not is_on(site)
    assert (await site.call("DELETE", "/v1/private-places/church")).status == 204
    assert "approval" not in (await site.get(SHOP)).body
    assert is_on(site)


async def test_an_import_says_which_rows_need_approval_and_leaves_them_off(site):
    await put(site, CLINIC, clinic(site))
    file = site.collection(
        site.with_id("over", site.point(LON, LAT)), site.with_id("beside", site.point(LON + 0.1, LAT))
    )
    report = (await site.call("POST", "/v1/imports", file, query={"set": "city", "dry_run": "false"})).body
    notes = {row["external_id"]: [note["code"] for note in row.get("notes", [])] for row in report["rows"]}
    assert notes == {"over": ["sensitive"], "beside": []}
    assert [is_on(site, f"city/{name}") for name in ("over", "beside")] == [False, True]
    assert (await approve(site, "owner", "/v1/geofences/city/over")).body["code"] == "own_fence"
    for who in ("approver", "second approver"):
        assert (await approve(site, who, "/v1/geofences/city/over")).status == 200
    assert is_on(site, "city/over")


async def test_what_an_undo_puts_back_over_a_private_place_is_off(site):
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    file = site.collection(site.with_id("shop", site.point(LON + 1, LAT)))
    report = (await site.call("POST", "/v1/imports", file, query={"set": "city", "dry_run": "false"})).body
    await put(site, CLINIC, clinic(site))
    assert is_on(site)
    assert (await site.call("POST", f"/v1/imports/{report['id']}/undo")).status == 200
    assert not is_on(site)


async def test_whoever_asks_is_told_which_geofences_are_over_sensitive_places(site):
    await put(site, CLINIC, clinic(site))
    await put(site, "/v1/private-places/church", clinic(site, category="worship"))
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    await put(site, "/v1/geofences/city/far", site.point(LON + 1, LAT))
    async with transaction(site.pool, [ALPHA]) as connection:
        assert await sensitive_fences(connection, ALPHA) == {"city/shop": ["health", "worship"]}


async def test_a_restart_finds_the_same(site):
    await put(site, CLINIC, clinic(site))
    await put(site, "/v1/private-places/rotten", site.square(LON + 1, LAT, category="school"))
    await put(site, SHOP, site.point(LON, LAT, radius_m=50))
    async with transaction(site.pool, [ALPHA]) as connection:
        await connection.execute("UPDATE private_place SET feature = '{' WHERE id = 'rotten'")
    catalog, stored = Catalog(), PostgresGeofences(site.pool)
    fences = FenceMemory(catalog, stored)
    private = PrivateMemory(catalog, PostgresPrivatePlaces(site.pool), fences)
    await private.load(ALPHA, load_private(site.pool, ALPHA))
    async for workspace, pages in load_fences(site.pool):
        await fences.load(workspace, pages)
    assert not catalog.index(ALPHA).get("city/shop").active
    assert [place.id for place in catalog.private(ALPHA).locate_one(LAT, LON)] == ["private/clinic"]
    inside = catalog.private(ALPHA).locate_one(LAT + 0.005, LON + 1.005)
    assert [place.id for place in inside] == ["private/rotten"]  # its box stays private


async def test_a_place_and_a_geofence_over_it_that_come_at_once_never_leave_the_geofence_on(site):
    for number in range(8):
        path, fence = f"/v1/private-places/p{number}", f"/v1/geofences/s{number}/f"
        here = clinic(site, north_m=1_000.0 * number)
        shop = site.point(LON, LAT + 1_000 * number * DEG, radius_m=50)
        placed, fenced = await asyncio.gather(site.call("PUT", path, here), site.call("PUT", fence, shop))
        assert (placed.status, fenced.status) == (201, 201)
        assert not is_on(site, f"s{number}/f")
        assert (await site.get(fence)).body["approval"]["state"] == "pending"
