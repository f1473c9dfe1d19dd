"""Stores: put, read, listed page by page, deleted."""

import base64

import pytest

from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage import stores
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import transaction
from geo_offers.web import checks

ALPHA = workspace_id("Alpha")


async def test_a_store_is_new_once_and_then_replaced(site):
    first = await site.call("PUT", "/v1/stores/market", {"name": "Market", "street": "Quay 1"})
    again = await site.call("PUT", "/v1/stores/market", {"name": "Market Hall"})
    assert (first.status, again.status) == (201, 200)
    body = (await site.get("/v1/stores/market", who="viewer")).body
    assert body == again.body
    put = {"id": "market", "name": "Market Hall", "street": None, "hours": [], "holidays": None, "time_zone": None}
    assert body == put | {"category": None, "caps": [], "budget": None, "paused": False}


async def test_an_id_may_hold_a_slash_and_a_percent_sign(site):
    path = f"/v1/stores/{site.escaped('north/50%2F')}"
    assert (await site.call("PUT", path, {"name": "Sale"})).body["id"] == "north/50%2F"
    assert (await site.get(path)).body["name"] == "Sale"
    assert (await site.get("/v1/stores")).body["items"][0]["id"] == "north/50%2F"


async def test_a_list_gives_every_store_once_in_order(site):
    names = sorted(f"s{number:02}" for number in range(7))
    for name in reversed(names):
        await site.call("PUT", f"/v1/stores/{name}", {"name": name})
    await site.call("PUT", "/v1/stores/other", {"name": "x"}, who="beta")
    for limit in (1, 3, 7, 1000):
        assert [store["id"] for store in await site.all("/v1/stores", limit)] == names


async def test_an_absurd_limit_is_capped_and_a_word_is_refused(site, monkeypatch):
    monkeypatch.setattr(checks, "MAX_PAGE", 2)
    for name in ("a", "b", "c"):
        await site.call("PUT", f"/v1/stores/{name}", {"name": name})
    capped = (await site.get("/v1/stores", limit="1e9")).body
    assert [store["id"] for store in capped["items"]] == ["a", "b"]
    assert (await site.get("/v1/stores", cursor=capped["next"])).body["items"][0]["id"] == "c"
    for wrong in ("many", "0", "-1", ""):
        answered = await site.get("/v1/stores", limit=wrong)
        assert (answered.status, answered.pointers) == (422, ["/limit"])
    assert (await site.get("/v1/stores", page="2")).status == 422


def forged(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_a_cursor_that_was_made_up_is_refused(site):
    cases = ["x", "####", "é", "", forged(b"[1]"), forged(b'["a","b"]'), forged(b'["a\\u0000"]'), forged(b'[ "a" ]')]
    for cursor in cases:
        answered = await site.get("/v1/stores", cursor=cursor)
        assert (answered.status, answered.body["code"]) == (400, "malformed")


async def test_a_deleted_store_is_gone(site):
    await site.call("PUT", "/v1/stores/a", {"name": "a"})
    assert (await site.call("DELETE", "/v1/stores/a")).status == 204
    assert (await site.get("/v1/stores/a")).status == 404
    assert (await site.call("DELETE", "/v1/stores/a")).status == 404


async def test_another_workspace_does_not_see_or_touch_a_store(site):
    await site.call("PUT", "/v1/stores/a", {"name": "ours"})
    assert (await site.get("/v1/stores/a", who="beta")).status == 404
    assert (await site.call("DELETE", "/v1/stores/a", who="beta")).status == 404
    assert (await site.call("PUT", "/v1/stores/a", {"name": "theirs"}, who="beta")).status == 201
    assert (await site.get("/v1/stores/a")).body["name"] == "ours"


async def test_every_change_of_a_store_is_a_new_catalog(site):
    versions = [await site.catalog_version()]
    await site.call("PUT", "/v1/stores/a", {"name": "a", "time_zone": "Europe/Athens"})
    versions.append(await site.catalog_version())
    async with transaction(site.pool, [ALPHA]) as connection:
        policies = await read_policies(connection, ALPHA)
    assert policies.version == versions[-1]
    assert policies.store_names == {"a": "a"}
    assert policies.store_zones["a"].key == "Europe/Athens"
    await site.call("DELETE", "/v1/stores/a")
    versions.append(await site.catalog_version())
    assert versions == sorted(set(versions))


async def test_a_store_with_a_fault_is_refused_with_its_place(site):
    cases = [
        ({}, ""),
        ({"name": ""}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "a\u0000b"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"name": "zero\u200bwidth"}, "/name"),
        ({"name": "a", "street": "line\nbreak"}, "/street"),
        ({"name": "a", "time_zone": "Mars/X"}, "/time_zone"),
        ({"name": "a", "id": "b"}, "/id"),
        ({"name": "a", "hours": [{"days": ["mon"], "start": "9", "end": "10:00"}]}, "/hours/0/start"),
    ]
    for body, pointer in cases:
        answered = await site.call("PUT", "/v1/stores/a", body)
        assert (answered.status, answered.pointers) == (422, [pointer])
        assert (await site.get("/v1/stores/a")).status == 404


async def test_an_id_that_cannot_be_shown_is_refused(site):
    cases = ["x" * 129, "a\u0000", "a\nb", " a", "\u200b", "a\u202e"]
    for ident in cases:
        answered = await site.call("PUT", f"/v1/stores/{site.escaped(ident)}", {"name": "a"})
        assert (answered.status, answered.pointers) == (422, ["/id"])


async def test_a_body_that_is_no_store_changes_nothing(site):
    cases = [
        (b"", 400),
        (b"nope", 400),
        (b'{"name": "a", "name": "b"}', 400),
        (b'{"name": "\xff"}', 400),
        (b'{"name": "\\ud800"}', 400),
        ("{}".encode("utf-16"), 400),
        (b'"text"', 400),
        (b'{"name": 1}', 422),
        (b'{"name": "' + b"x" * 70_000 + b'"}', 413),
    ]
    for raw, status in cases:
        assert (await site.call("PUT", "/v1/stores/a", raw)).status == status
        assert (await site.get("/v1/stores/a")).status == 404


@pytest.mark.parametrize("who", ["viewer", "server", "app"])
async def test_a_store_is_written_by_editors_only(site, who):
    assert (await site.call("PUT", "/v1/stores/a", {"name": "a"}, who=who)).status == 403
    assert (await site.call("PUT", "/v1/stores/a", {"name": "a"}, who="editor")).status == 201
    assert (await site.call("DELETE", "/v1/stores/a", who=who)).status == 403


async def test_a_workspace_has_room_for_so_many_stores(site, monkeypatch):
    monkeypatch.setattr(stores, "STORES", 1)
    assert (await site.call("PUT", "/v1/stores/a", {"name": "a"})).status == 201
    assert (await site.call("PUT", "/v1/stores/b", {"name": "b"})).status == 409
    assert (await site.call("PUT", "/v1/stores/a", {"name": "still"})).status == 200
    assert [store["id"] for store in await site.all("/v1/stores", 10)] == ["a"]


async def test_a_repeat_under_the_same_key_gets_the_same_answer(site):
    first = await site.call("PUT", "/v1/stores/a", {"name": "a"}, key="one")
    again = await site.call("PUT", "/v1/stores/a", {"name": "a"}, key="one")
    assert (first.status, again.status) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_stores_and_campaigns_are_of_categories_that_the_workspace_has_named(site):
    store, bread = {"name": "Bakery", "category": "bread"}, site.campaign(category="bread")
    for method, path, body in (("PUT", "/v1/stores/a", store), ("POST", "/v1/campaigns", bread)):
        answered = await site.call(method, path, body)
        assert (answered.status, answered.pointers, answered.codes) == (422, ["/category"], ["category"])
    await site.call("PATCH", "/v1/workspace", {"categories": ["bread"]})
    assert (await site.call("PUT", "/v1/stores/a", store)).body["category"] == "bread"
    made = await site.call("POST", "/v1/campaigns", bread)
    assert (made.status, made.body["category"]) == (201, "bread")
    changed = await site.call("PUT", f"/v1/campaigns/{made.body['id']}", site.campaign(category="shoes"))
    assert (changed.status, changed.pointers) == (422, ["/category"])
    async with transaction(site.pool, [ALPHA]) as connection:
        assert (await read_policies(connection, ALPHA)).store_categories == {"a": "bread"}
