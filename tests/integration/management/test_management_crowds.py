"""How many geofences may lie at one spot: told before anything is written, and everything else goes on."""

import pytest

from geo_offers.pipeline import fences
from tests.integration.management.conftest import ALPHA, collection, point, with_id
from tests.support.fences import load_fences


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(fences, "SPOT_FENCES", 2)


async def put(site, ident, lon=20, **more):
    return await site.call("PUT", f"/v1/geofences/town/{ident}", point(lon, 10, **more))


async def stored(site):
    """What both the database and memory hold."""
    loaded = {fence.id: fence for fence in (await load_fences(site.pool))[ALPHA]}
    assert {fence.id: fence for fence in site.services.catalog.index(ALPHA)} == loaded
    return sorted(loaded)


def assert_crowded(answered, fence):
    assert (answered.status, answered.headers["Content-Type"]) == (409, "application/problem+json")
    assert answered.body["code"] == "crowded"
    assert (answered.pointers, answered.codes) == (["/geometry"], ["crowded"])
    assert answered.body["detail"].startswith(f"{fence} would lie where more than 2 active geofences are then")
    assert answered.body["detail"].endswith("fewer, smaller or inactive")


async def test_a_geofence_too_many_at_a_spot_is_refused_with_what_to_do(site):
    for name in ("a", "b"):
        assert (await put(site, name)).status == 201
    assert_crowded(await put(site, "c"), "town/c")
    assert await stored(site) == ["town/a", "town/b"]
    assert (await put(site, "c", lon=30)).status == 201
    assert (await put(site, "a", name="renamed")).status == 200
    assert (await put(site, "d", active=False)).status == 201


async def test_an_import_too_many_at_a_spot_changes_nothing_and_names_the_first(site):
    await put(site, "x")
    body = collection(*(with_id(name, point(lon, 10)) for name, lon in (("a", 30), ("b", 20), ("c", 20))))
    report = (await site.call("POST", "/v1/imports?set=town", body)).body
    assert_crowded(await site.call("POST", f"/v1/imports/{report['id']}/apply"), "town/b")
    assert_crowded(await site.call("POST", "/v1/imports?set=town&dry_run=false", body), "town/b")
    assert await stored(site) == ["town/x"]
    assert (await site.get(f"/v1/imports/{report['id']}")).body["state"] == "previewed"
    await site.call("DELETE", "/v1/geofences/town/x")
    assert (await site.call("POST", f"/v1/imports/{report['id']}/apply")).body["state"] == "applied"
    assert await stored(site) == ["town/a", "town/b", "town/c"]


async def test_an_undo_is_refused_where_others_have_taken_the_room_since(site):
    await put(site, "a")
    body = collection(with_id("a", point(30, 10)), with_id("new", point(20, 10)))
    report = (await site.call("POST", "/v1/imports?set=town&dry_run=false", body)).body
    await site.call("PUT", "/v1/geofences/city/b", point(20, 10))
    undo = f"/v1/imports/{report['id']}/undo"
    await site.call("DELETE", "/v1/geofences/town/new")
    await site.call("PUT", "/v1/geofences/city/c", point(20, 10))
    assert_crowded(await site.call("POST", undo), "town/a")
    assert await stored(site) == ["city/b", "city/c", "town/a"]
    await site.call("DELETE", "/v1/geofences/city/c")
    assert (await site.call("POST", undo)).body["state"] == "undone"


async def test_an_undo_may_put_back_where_what_it_takes_away_was(site):
    for name in ("a", "b"):
        await put(site, name)
    places = {"a": 30, "b": 30, "c": 20, "d": 20}
    swapped = collection(*(with_id(name, point(lon, 10)) for name, lon in places.items()))
    report = (await site.call("POST", "/v1/imports?set=town&dry_run=false", swapped)).body
    assert report["counts"] == {"new": 2, "changed": 2, "unchanged": 0, "refused": 0}
    assert (await site.call("POST", f"/v1/imports/{report['id']}/undo")).body["state"] == "undone"
    assert await stored(site) == ["town/a", "town/b"]


async def test_what_an_undo_leaves_as_it_is_needs_no_room(site):
    for name in ("a", "b"):
        await put(site, name)
    moved = collection(with_id("a", point(30, 10)), with_id("b", point(30, 10)))
    report = (await site.call("POST", "/v1/imports?set=town&dry_run=false", moved)).body
    await put(site, "b", lon=40)
    await put(site, "c")
    undone = await site.call("POST", f"/v1/imports/{report['id']}/undo")
    assert [row.get("code") for row in undone.body["rows"]] == [None, "changed_since"]
    assert await stored(site) == ["town/a", "town/b", "town/c"]
