"""Geofences: put, seen by the next ping, read as they were normalised, listed by set and box, deleted."""

import asyncio

from geo_offers.pipeline.tokens import workspace_id
from geo_offers.places.fences import FenceId
from geo_offers.storage import geofences
from geo_offers.storage.geofences import lock_set
from geo_offers.storage.pool import transaction
from tests.support.fences import load_fences

ALPHA, BETA = workspace_id("Alpha"), workspace_id("Beta")
MARKET = "/v1/geofences/town/market"


def inside(site, lat, lon, workspace=ALPHA):
    return [fence.id for fence in site.services.catalog.index(workspace).locate_one(lat, lon)]


async def in_memory_after_a_restart(site):
    loaded = await load_fences(site.pool)
    held = sorted(site.services.catalog.index(ALPHA), key=lambda fence: fence.id)
    assert sorted(loaded[ALPHA], key=lambda fence: fence.id) == held
    return held


# ------------------------------------------------------------------------------------------------ one
async def test_a_geofence_is_in_memory_before_its_answer(site):
    answered = await site.call("PUT", MARKET, site.point(20, 10, store="unknown", tags=["food"]), who="editor")
    assert answered.status == 201
    assert inside(site, 10, 20) == ["town/market"]
    body = answered.body
    assert body["fence"] == "town/market"
    assert body["feature"] == {
        "type": "Feature",
        "id": "market",
        "geometry": {"type": "Point", "coordinates": [20.0, 10.0]},
        "properties": {"name": "Market", "store": "unknown", "radius_m": 100.0, "tags": ["food"], "active": True},
    }
    assert (await site.get(MARKET, who="viewer")).body == body


async def test_a_geofence_that_is_replaced_is_the_new_one_at_once(site):
    first = await site.call("PUT", MARKET, site.point(20, 10))
    second = await site.call("PUT", MARKET, site.square(30, 10))
    assert (second.status, second.body["version"] > first.body["version"]) == (200, True)
    assert inside(site, 10, 20) == []
    assert inside(site, 10.005, 30.005) == ["town/market"]


async def test_what_was_put_is_what_a_restart_loads(site):
    hole = site.square(40, 40, 0.1)
    hole["geometry"]["coordinates"].append(
        [[40.02, 40.02], [40.02, 40.04], [40.04, 40.04], [40.04, 40.02], [40.02, 40.02]]
    )
    west, east = site.square(-180, 5)["geometry"], site.square(179.99, 5)["geometry"]
    islands = site.square(0, 0) | {
        "geometry": {"type": "MultiPolygon", "coordinates": [west["coordinates"], east["coordinates"]]}
    }
    detect = {"mode": "raw", "dwell_s": 90}
    await site.call("PUT", "/v1/geofences/a/circle", site.point(20.123456789, -10.1, 33.3, detect=detect, active=False))
    await site.call("PUT", "/v1/geofences/a/hole", hole)
    await site.call("PUT", "/v1/geofences/b/islands", islands)
    held = await in_memory_after_a_restart(site)
    assert [fence.id for fence in held] == ["a/circle", "a/hole", "b/islands"]
    assert (held[0].detect.dwell_s, held[0].active, held[1].detect.dwell_s) == (90, False, 300)
    assert inside(site, 5.005, -180) == inside(site, 5.005, 180) == ["b/islands"]
    assert (await load_fences(site.pool))[BETA] == []


async def test_detection_is_stored_as_it_was_given(site):
    given = await site.call("PUT", MARKET, site.point(20, 10, detect={"dwell_s": 120}))
    assert given.body["feature"]["properties"]["detect"] == {"dwell_s": 120}


async def test_a_deleted_geofence_is_gone_from_memory_too(site):
    await site.call("PUT", MARKET, site.point(20, 10))
    assert (await site.call("DELETE", MARKET)).status == 204
    assert inside(site, 10, 20) == []
    assert (await site.get(MARKET)).status == 404
    assert (await site.call("DELETE", MARKET)).status == 404


async def test_an_external_id_may_hold_a_slash_and_a_set_may_not(site):
    path = f"/v1/geofences/town/{site.escaped('north/gate 50%')}"
    answered = await site.call("PUT", path, site.point(20, 10))
    assert (answered.status, answered.body["fence"]) == (201, "town/north/gate 50%")
    assert (await site.get(path)).body["feature"]["id"] == "north/gate 50%"
    refused = await site.call("PUT", f"/v1/geofences/{site.escaped('to/wn')}/gate", site.point(20, 10))
    assert (refused.status, refused.pointers) == (422, ["/set"])


async def test_the_path_names_the_geofence_and_not_the_body(site):
    answered = await site.call("PUT", MARKET, site.point(20, 10) | {"id": "else"})
    assert answered.body["feature"]["id"] == "market"


async def test_an_id_that_cannot_be_shown_is_refused(site):
    cases = ["x" * 129, "a\u0000", " a", "a\u202e"]
    for ident in cases:
        answered = await site.call("PUT", f"/v1/geofences/town/{site.escaped(ident)}", site.point(20, 10))
        assert (answered.status, answered.pointers) == (422, ["/external_id"])


BOW_TIE = [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]


async def test_a_feature_with_a_fault_is_refused_with_its_place(site):
    cases = [
        ({"geometry": {"type": "Polygon", "coordinates": BOW_TIE}, "properties": {}}, "/geometry/coordinates"),
        ({"geometry": {"type": "Point", "coordinates": [20, 95]}}, "/geometry/coordinates"),
        ({"geometry": None}, "/geometry"),
        ({"properties": {"radius_m": 0}}, "/properties/radius_m"),
        ({"properties": {"radius_m": 100, "shop": 1}}, "/properties/shop"),
        ({"properties": {"radius_m": 100, "detect": {"mode": "guessed"}}}, "/properties/detect/mode"),
        ({"properties": {"radius_m": 100, "detect": {"min_confidence": 1}}}, "/properties/detect/min_confidence"),
        ({"owner": "me"}, "/owner"),
        ({"type": "FeatureCollection"}, "/type"),
    ]
    for change, pointer in cases:
        answered = await site.call("PUT", MARKET, site.point(20, 10) | change)
        assert answered.status == 422
        assert any(found.startswith(pointer) for found in answered.pointers), answered.body
        assert inside(site, 10, 20) == []
        assert (await site.get(MARKET)).status == 404


async def test_an_outline_of_far_too_many_points_is_refused_quickly(site):
    star = [[0.001 * (number % 2), number / 1e4] for number in range(60_000)]
    feature = site.square(0, 0)
    feature["geometry"]["coordinates"] = [[*star, star[0]]]
    async with asyncio.timeout(5):
        answered = await site.call("PUT", MARKET, feature)
    assert answered.status == 422


async def test_a_body_that_is_not_json_is_refused(site):
    cases = [b"", b"{", b"[" * 2000 + b"]" * 2000, b'{"type": 1e999}', b'{"a": 1, "a": 2}']
    for raw in cases:
        assert (await site.call("PUT", MARKET, raw)).status == 400


async def test_another_workspace_does_not_see_or_touch_a_geofence(site):
    await site.call("PUT", MARKET, site.point(20, 10))
    assert (await site.get(MARKET, who="beta")).status == 404
    assert (await site.call("DELETE", MARKET, who="beta")).status == 404
    assert (await site.get("/v1/geofences", who="beta")).body == {"items": [], "next": None}
    assert (await site.call("PUT", MARKET, site.point(50, 50), who="beta")).status == 201
    assert (inside(site, 10, 20), inside(site, 10, 20, BETA)) == (["town/market"], [])


async def test_geofences_are_written_by_editors_only(site):
    cases = ["viewer", "server", "app"]
    for who in cases:
        assert (await site.call("PUT", MARKET, site.point(20, 10), who=who)).status == 403
        assert (await site.call("DELETE", MARKET, who=who)).status == 403


async def test_a_set_has_room_for_so_many(site, monkeypatch):
    monkeypatch.setattr(geofences, "SET_FENCES", 2)
    for name in ("a", "b"):
        assert (await site.call("PUT", f"/v1/geofences/town/{name}", site.point(20, 10))).status == 201
    assert (await site.call("PUT", "/v1/geofences/town/c", site.point(20, 10))).status == 409
    assert (await site.call("PUT", "/v1/geofences/town/a", site.point(21, 10))).status == 200
    assert (await site.call("PUT", "/v1/geofences/city/c", site.point(20, 10))).status == 201
    assert len(await in_memory_after_a_restart(site)) == 3


# ------------------------------------------------------------------------------------------------ memory follows
def linger_after_commits(site):
    """Makes the way from a put's commit to memory long; the event is set at the commit."""
    committed, put = asyncio.Event(), site.services.geofences.put

    async def slow(*given):
        placed = await put(*given)
        committed.set()
        await asyncio.sleep(0.1)
        return placed

    site.services.geofences.put = slow
    return committed


async def test_a_delete_right_after_a_put_leaves_nothing_in_memory(site):
    committed = linger_after_commits(site)
    put = asyncio.create_task(site.call("PUT", MARKET, site.point(20, 10)))
    await committed.wait()
    deleted = await site.call("DELETE", MARKET)
    assert ((await put).status, deleted.status) == (201, 204)
    assert await in_memory_after_a_restart(site) == []


async def test_a_caller_who_hangs_up_leaves_memory_and_database_alike(site):
    committed = linger_after_commits(site)
    call = asyncio.create_task(site.call("PUT", MARKET, site.point(20, 10)))
    await committed.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.sleep(0.02)  # the server hears of it while the change is on its way
    assert (await site.call("DELETE", "/v1/geofences/town/none")).status == 404  # its turn comes after that change
    assert [fence.id for fence in await in_memory_after_a_restart(site)] == ["town/market"]


async def test_who_changes_a_set_waits_for_whoever_is_changing_it_in_any_process(site):
    async with transaction(site.pool, [ALPHA]) as connection:  # as another process would
        await lock_set(connection, ALPHA, "town")
        waiting = asyncio.create_task(site.call("PUT", MARKET, site.point(20, 10)))
        assert (await site.call("PUT", "/v1/geofences/city/x", site.point(20, 10))).status == 201
        await asyncio.sleep(0.05)
        assert not waiting.done()
    assert (await waiting).status == 201


async def test_many_changes_at_once_leave_memory_and_database_alike(site):
    async def put(number):
        return await site.call("PUT", MARKET, site.point(20, 10, 100 + number))

    async def delete(_number):
        return await site.call("DELETE", MARKET)

    answers = await asyncio.gather(*((put, delete)[number % 2](number) for number in range(12)))
    assert {answered.status for answered in answers} <= {200, 201, 204, 404}
    await in_memory_after_a_restart(site)


async def test_a_full_load_goes_on_over_many_pages(site, monkeypatch):
    monkeypatch.setattr(geofences, "_START_PAGE", 2)
    for number in range(5):
        await site.call("PUT", f"/v1/geofences/s{number % 2}/{number}", site.point(20, 10))
    assert len(await in_memory_after_a_restart(site)) == 5


# ------------------------------------------------------------------------------------------------ lists
async def test_lists_are_in_order_and_whole_for_every_page_size(site):
    names = [("b", "1"), ("a", "2"), ("a", "1"), ("a", "x/y"), ("c", "1")]
    for set_id, external_id in names:
        await site.call("PUT", f"/v1/geofences/{set_id}/{site.escaped(external_id)}", site.point(20, 10))
    for limit in (1, 2, 5):
        found = [item["fence"] for item in await site.all("/v1/geofences", limit)]
        assert found == ["a/1", "a/2", "a/x/y", "b/1", "c/1"]
        of_a = [item["fence"] for item in await site.all("/v1/geofences", limit, set="a")]
        assert of_a == ["a/1", "a/2", "a/x/y"]
    assert (await site.get("/v1/geofences", set="none")).body["items"] == []


BOXES = [
    ("19.9,9.9,20.1,10.1", ["s/here"]),
    ("19.99,9.99,30.1,10.1", ["s/east", "s/here"]),
    ("-180,-90,180,90", ["s/east", "s/fiji", "s/here"]),
    ("21,11,29,12", []),
    ("179,-18,-179,-17", ["s/fiji"]),
    ("179.5,-18,180,-17", ["s/fiji"]),
    ("-180,-18,-179.9,-17", ["s/fiji"]),
    ("-170,-18,170,-17", []),
    ("170,-20,20.5,20", ["s/fiji", "s/here"]),
]


async def test_a_box_finds_what_touches_it_over_the_antimeridian_too(site):
    await site.call("PUT", "/v1/geofences/s/here", site.point(20, 10))
    await site.call("PUT", "/v1/geofences/s/east", site.square(30, 10))
    await site.call("PUT", "/v1/geofences/s/fiji", site.point(180, -17.5, 1000))
    for bbox, expected in BOXES:
        found = [item["fence"] for item in await site.all("/v1/geofences", 2, bbox=bbox)]
        assert found == expected
        assert [item["fence"] for item in await site.all("/v1/geofences", 2, bbox=bbox, set="s")] == expected


async def test_a_box_that_is_none_is_refused(site):
    cases = ["1,2,3", "a,b,c,d", "nan,0,1,1", "0,nan,1,1", "-181,0,0,1", "0,5,1,4", "0,0,1,1e999"]
    for bbox in cases:
        answered = await site.get("/v1/geofences", bbox=bbox)
        assert (answered.status, answered.pointers) == (422, ["/bbox"])


async def test_an_index_holds_one_entry_for_a_name(site):
    for radius_m in (100, 200):
        await site.call("PUT", MARKET, site.point(20, 10, radius_m))
    index = site.services.catalog.index(ALPHA)
    held = index.get(FenceId("town/market"))
    assert (len(index), held.geometry.radius_m) == (1, 200)
