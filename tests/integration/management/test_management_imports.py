"""Imports: shown row by row, applied in one transaction, undone while nobody has changed them since."""

import asyncio

import pytest

from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage import geofences, imports
from geo_offers.storage.pool import transaction
from tests.support.fences import load_fences
from tests.support.stalls import Stalls

ALPHA = workspace_id("Alpha")


async def send(site, body, who="editor", key=None, **query):
    query = {"set": "town", "format": "geojson"} | query
    return await site.call("POST", "/v1/imports", body, who=who, query=query, key=key)


async def step(site, report, name, who="editor"):
    return await site.call("POST", f"/v1/imports/{report['id']}/{name}", who=who)


def inside(site, lat, lon):
    return [fence.id for fence in site.services.catalog.index(ALPHA).locate_one(lat, lon)]


async def in_memory_after_a_restart(site):
    loaded = (await load_fences(site.pool))[ALPHA]
    held = sorted(site.services.catalog.index(ALPHA), key=lambda fence: fence.id)
    assert sorted(loaded, key=lambda fence: fence.id) == held
    return {fence.id: fence.name for fence in held}


def three(site):
    """Two good features and one whose point lies beyond the pole."""
    return site.collection(
        site.with_id("a", site.point(20, 10, name="A")),
        site.with_id("b", site.square(30, 10, name="B")),
        site.with_id("c", site.point(20, 95, name="C")),
    )


async def test_a_preview_tells_every_row_and_changes_nothing(site):
    answered = await send(site, three(site))
    body = answered.body
    assert (answered.status, body["state"], body["set"]) == (201, "previewed", "town")
    assert body["counts"] == {"new": 2, "changed": 0, "unchanged": 0, "refused": 1}
    assert [(row["row"], row["status"]) for row in body["rows"]] == [(0, "new"), (1, "new"), (2, "refused")]
    assert body["rows"][2]["pointer"].startswith("/geometry/coordinates")
    assert body["rows"][2]["detail"]
    assert await in_memory_after_a_restart(site) == {}
    assert (await site.get(f"/v1/imports/{body['id']}", who="viewer")).body == body


async def test_applying_writes_the_good_rows_and_a_repeat_answers_the_same(site):
    report = (await send(site, three(site))).body
    applied = await step(site, report, "apply")
    assert (applied.status, applied.body["state"]) == (200, "applied")
    assert await in_memory_after_a_restart(site) == {"town/a": "A", "town/b": "B"}
    assert inside(site, 10, 20) == ["town/a"]
    assert applied.body["version"] == max(item["version"] for item in (await site.get("/v1/geofences")).body["items"])
    again = await step(site, report, "apply")
    assert (again.status, again.body) == (200, applied.body)


async def test_an_import_that_is_no_dry_run_is_applied_at_once(site):
    body = (await send(site, three(site), dry_run="false")).body
    assert (body["state"], body["counts"]["refused"]) == ("applied", 1)
    assert set(await in_memory_after_a_restart(site)) == {"town/a", "town/b"}


async def test_the_status_of_a_row_compares_it_with_what_is_live(site):
    await send(site, three(site), dry_run="false")
    moved = site.collection(
        site.with_id("a", site.point(21, 10, name="A")),
        site.with_id("b", site.square(30, 10, name="B")),
        site.with_id("d", site.point(22, 10, name="D")),
    )
    report = (await send(site, moved)).body
    assert [row["status"] for row in report["rows"]] == ["changed", "unchanged", "new"]
    before = {item["fence"]: item["version"] for item in (await site.get("/v1/geofences")).body["items"]}
    await step(site, report, "apply")
    after = {item["fence"]: item["version"] for item in (await site.get("/v1/geofences")).body["items"]}
    assert (after["town/b"], after["town/a"] > before["town/a"]) == (before["town/b"], True)
    assert (inside(site, 10, 20), inside(site, 10, 21)) == ([], ["town/a"])


async def test_what_changed_between_preview_and_apply_is_told_by_apply(site):
    report = (await send(site, three(site))).body
    await site.call("PUT", "/v1/geofences/town/a", site.point(25, 10, name="mine"))
    applied = (await step(site, report, "apply")).body
    assert applied["counts"] == {"new": 1, "changed": 1, "unchanged": 0, "refused": 1}
    undone = (await step(site, report, "undo")).body
    assert undone["state"] == "undone"
    assert await in_memory_after_a_restart(site) == {"town/a": "mine"}


async def test_undo_puts_back_what_was_there(site):
    await send(site, three(site), dry_run="false")
    before = {fence.id: fence.geometry for fence in site.services.catalog.index(ALPHA)}
    moved = site.collection(
        site.with_id("a", site.point(21, 11, name="moved")),
        site.with_id("b", site.square(30, 10, name="B")),
        site.with_id("d", site.point(22, 10, name="D")),
    )
    report = (await send(site, moved, dry_run="false")).body
    undone = await step(site, report, "undo")
    assert (undone.status, undone.body["state"]) == (200, "undone")
    assert await in_memory_after_a_restart(site) == {"town/a": "A", "town/b": "B"}
    assert {fence.id: fence.geometry for fence in site.services.catalog.index(ALPHA)} == before


async def test_undo_leaves_what_somebody_changed_since_and_says_so(site):
    report = (await send(site, three(site), dry_run="false")).body
    await site.call("PUT", "/v1/geofences/town/a", site.point(20, 10, name="mine"))
    undone = (await step(site, report, "undo")).body
    assert await in_memory_after_a_restart(site) == {"town/a": "mine"}
    assert [row.get("code") for row in undone["rows"][:2]] == ["changed_since", None]


async def test_undo_does_not_bring_back_what_somebody_deleted_since(site):
    await send(site, three(site), dry_run="false")
    moved = site.collection(site.with_id("a", site.point(21, 11, name="moved")))
    report = (await send(site, moved, dry_run="false")).body
    await site.call("DELETE", "/v1/geofences/town/a")
    undone = (await step(site, report, "undo")).body
    assert undone["rows"][0]["code"] == "changed_since"
    assert await in_memory_after_a_restart(site) == {"town/b": "B"}


async def test_only_an_applied_import_is_undone_a_repeat_answers_the_same_and_it_is_over(site):
    report = (await send(site, three(site))).body
    assert (await step(site, report, "undo")).status == 409
    await step(site, report, "apply")
    undone = await step(site, report, "undo")
    assert (undone.status, undone.body["state"]) == (200, "undone")
    again = await step(site, report, "undo")
    assert (again.status, again.body) == (200, undone.body)
    assert (await step(site, report, "apply")).status == 409


async def test_the_ids_of_features_come_from_where_the_query_says(site):
    shops = site.collection(
        site.point(20, 10, ref=17, title="Baker"), site.point(21, 10, ref=17, title="Twin"), site.point(22, 10)
    )
    body = (await send(site, shops, id_property="ref", name_property="title")).body
    assert [row.get("external_id") for row in body["rows"]] == ["17", None, None]
    assert [row.get("code") for row in body["rows"]] == [None, "duplicate_id", "missing"]


async def test_what_was_dropped_from_a_row_is_noted(site):
    body = (await send(site, site.collection(site.point(20, 10, shop="bakery", opening_hours="24/7")))).body
    notes = body["rows"][0]["notes"]
    assert [note["code"] for note in notes if note["pointer"] == "/properties"] == ["dropped_properties"]


async def test_a_radius_in_the_query_is_for_points_without_one(site):
    bare = site.with_id("bare", site.point(20, 10))
    del bare["properties"]["radius_m"]
    await send(site, bare, radius_m="250", dry_run="false")
    assert (await site.get("/v1/geofences/town/bare")).body["feature"]["properties"]["radius_m"] == 250


async def test_a_query_with_a_fault_is_refused(site):
    cases = [
        ({"format": "kml"}, "/format", "unsupported_format"),
        ({"set": "to/wn"}, "/set", "slash"),
        ({"set": ""}, "/set", "invalid"),
        ({"set": "a\u0000"}, "/set", "unsafe_text"),
        ({"radius_m": "1e9"}, "/radius_m", "invalid"),
        ({"radius_m": "nan"}, "/radius_m", "invalid"),
        ({"mode": "guessed"}, "", "mode"),
        ({"dry_run": "perhaps"}, "/dry_run", "invalid"),
        ({"apply": "true"}, "/apply", "unknown_field"),
    ]
    for query, pointer, code in cases:
        answered = await send(site, three(site), **query)
        assert (answered.status, answered.pointers, answered.codes) == (422, [pointer], [code])


async def test_a_file_that_is_not_json_is_refused(site):
    cases = [b"", b"\xff\xfe", b'{"type": NaN}', b'{"type": 1e999}', b"[" * 3000 + b"]" * 3000]
    for raw in cases:
        assert (await send(site, raw)).status == 400


async def test_a_file_of_too_many_features_is_refused_whole(site):
    features = [site.with_id(str(number), site.point(20, 10)) for number in range(10_001)]
    answered = await send(site, site.collection(*features))
    assert (answered.status, answered.codes) == (422, ["too_many_features"])


async def test_all_rows_are_told_in_their_order_however_many_pages_they_are_kept_in(site, monkeypatch):
    monkeypatch.setattr(imports, "PAGE", 2)
    names = [f"f{number}" for number in range(7)]
    features = [site.with_id(name, site.point(20 + number, 10)) for number, name in enumerate(names)]
    features.insert(3, site.point(20, 95))
    report = (await send(site, site.collection(*features))).body
    applied = (await step(site, report, "apply")).body
    for told in (report, applied):
        assert [row["row"] for row in told["rows"]] == list(range(8))
        assert [row["status"] for row in told["rows"]] == ["new"] * 3 + ["refused"] + ["new"] * 4
    assert applied["version"] == max(item["version"] for item in (await site.get("/v1/geofences")).body["items"])


async def test_another_workspace_knows_nothing_of_an_import(site):
    report = (await send(site, three(site))).body
    assert (await site.get(f"/v1/imports/{report['id']}", who="beta")).status == 404
    for name in ("apply", "undo"):
        assert (await step(site, report, name, who="beta")).status == 404
    assert (await site.get("/v1/imports/none")).status == 404
    assert await in_memory_after_a_restart(site) == {}


@pytest.mark.parametrize("who", ["viewer", "server"])
async def test_imports_are_made_by_editors_only(site, who):
    report = (await send(site, three(site))).body
    assert (await send(site, three(site), who=who)).status == 403
    assert (await step(site, report, "apply", who=who)).status == 403


async def test_a_repeat_under_the_same_key_finds_the_import_that_it_made(site):
    first = await send(site, three(site), key="k", dry_run="false")
    again = await send(site, three(site), key="k", dry_run="false")
    assert again.body == first.body
    async with transaction(site.pool, [ALPHA]) as connection:  # as after a crash before the answer was kept
        await connection.execute("DELETE FROM idempotency")
        await connection.execute("UPDATE import SET state = 'previewed'")
    resumed = await send(site, three(site), key="k", dry_run="false")
    assert (resumed.body["id"], resumed.body["state"]) == (first.body["id"], "applied")
    async with transaction(site.pool, [ALPHA]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM import") == 1


async def test_a_set_has_room_for_so_many(site, monkeypatch):
    for module in (geofences, imports):
        monkeypatch.setattr(module, "SET_FENCES", 2)
    await site.call("PUT", "/v1/geofences/town/x", site.point(20, 10, name="X"))
    assert (await send(site, three(site), dry_run="false")).status == 409
    assert await in_memory_after_a_restart(site) == {"town/x": "X"}


async def test_old_previews_make_room_and_applied_imports_stay(site, monkeypatch):
    monkeypatch.setattr(imports, "KEPT_PREVIEWS", 2)
    applied = (await send(site, three(site), dry_run="false")).body
    previews = [(await send(site, three(site))).body for _ in range(4)]
    found = [(await site.get(f"/v1/imports/{report['id']}")).status for report in [applied, *previews]]
    assert found == [200, 404, 404, 200, 200]


async def test_thousands_of_geofences_are_applied_and_undone_while_the_loop_goes_on(site):
    """In a grid, so that each one is where it should be."""
    features = [
        site.with_id(str(number), site.point(number % 100 * 0.01, number // 100 * 0.01, 50, name=f"F{number}"))
        for number in range(5_000)
    ]
    gaps = asyncio.create_task(longest_gap_s())
    report = (await send(site, site.collection(*features), dry_run="false")).body
    assert report["counts"] == {"new": 5_000, "changed": 0, "unchanged": 0, "refused": 0}
    assert len(report["rows"]) == 5_000
    assert inside(site, 0.42, 0.17) == ["town/4217"]
    assert len(site.services.catalog.index(ALPHA)) == 5_000
    undone = (await step(site, report, "undo")).body
    assert undone["state"] == "undone"
    assert len(site.services.catalog.index(ALPHA)) == 0
    gaps.cancel()
    assert await gaps < 1.0  # installed in one go it would be a second and more, on any machine


async def longest_gap_s():
    """How long the event loop was kept from others, at worst, until this is cancelled; the machine's stalls apart."""
    worst, loop = 0.0, asyncio.get_running_loop()
    with Stalls() as stalls:
        before = loop.time() - stalls.seconds
        try:
            while True:
                await asyncio.sleep(0.001)
                now = loop.time() - stalls.seconds
                worst, before = max(worst, now - before), now
        except asyncio.CancelledError:
            return worst
