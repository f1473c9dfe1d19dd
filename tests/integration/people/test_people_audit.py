"""Whoever changes what a workspace has set up stands in its audit, with what they changed."""

from datetime import timedelta

import pytest

from geo_offers.storage.keys import revoke_key
from tests.integration.people.conftest import SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEATURE = {
    "type": "Feature",
    "id": "main",
    "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
    "properties": {"name": "Main", "radius_m": 100},
}
PLACE = FEATURE | {"properties": {"radius_m": 50, "category": "health"}}
NEWS = {"kind": "news", "name": "Storm", "end": (before() + timedelta(hours=2)).isoformat()}
SEGMENT = {"name": "Near", "rule": {"op": "answered", "is": "ge", "value": 1}}


async def deeds(api):
    return (await api.good("GET", "/v1/audit", "owner"))["items"]


@pytest.mark.parametrize(
    ("calls", "action", "subject"),
    [
        ([("PATCH", "/v1/workspace", {"paused": True, "holdout": 0})], "workspace.change", "holdout,paused"),
        ([("PUT", "/v1/stores/a", {"name": "A"})], "store.put", "a"),
        ([("PUT", "/v1/stores/a", {"name": "A"}), ("DELETE", "/v1/stores/a", None)], "store.delete", "a"),
        ([("PUT", "/v1/geofences/town/main", FEATURE)], "geofence.put", "town/main"),
        (
            [("PUT", "/v1/geofences/town/main", FEATURE), ("DELETE", "/v1/geofences/town/main", None)],
            "geofence.delete",
            "town/main",
        ),
        ([("PUT", "/v1/events/storm", NEWS)], "event.put", "storm"),
        ([("PUT", "/v1/events/storm", NEWS), ("DELETE", "/v1/events/storm", None)], "event.delete", "storm"),
        ([("PUT", "/v1/segments/near", SEGMENT)], "segment.put", "near"),
        ([("PUT", "/v1/segments/near", SEGMENT), ("DELETE", "/v1/segments/near", None)], "segment.delete", "near"),
        ([("PUT", "/v1/private-places/clinic", PLACE)], "private_place.put", "clinic"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_change_stands_in_the_audit(api, calls, action, subject):
    key = await api.key("owner")
    for method, path, body in calls:
        await api.good(method, path, "owner", body)
    newest = (await deeds(api))[0]
    assert (newest["action"], newest["subject"], newest["caller"]) == (action, subject, key.split("_")[2])


async def test_an_import_stands_there_when_it_is_applied_and_when_it_is_undone_each_once(api):
    collection = {"type": "FeatureCollection", "features": [FEATURE]}
    made = await api.good("POST", "/v1/imports?set=town&dry_run=true", "editor", collection)
    assert "import" not in str(await deeds(api))
    for step in ("apply", "apply", "undo", "undo"):
        await api.good("POST", f"/v1/imports/{made['id']}/{step}", "editor")
    found = [(deed["action"], deed["subject"]) for deed in await deeds(api) if deed["action"].startswith("import.")]
    assert found == [("import.undo", made["id"]), ("import.apply", made["id"])]


async def test_a_key_stands_there_when_it_is_made_and_when_it_ends_by_its_id_alone(api):
    key = await api.key("viewer")
    ident, secret = key.split("_")[2:4]
    assert await revoke_key(api.pool, api.name, ident)
    found = await deeds(api)
    told = [(deed["caller"], deed["action"]) for deed in found if deed["subject"] == ident]
    assert told == [("cli", "key.revoke"), ("cli", "key.create")]
    assert secret not in str(found)


async def test_what_is_refused_leaves_nothing_there(api):
    await api.key("editor")
    held = await deeds(api)
    assert (await api.call("DELETE", "/v1/stores/none", "owner")).status == 404
    assert (await api.call("DELETE", "/v1/geofences/town/none", "owner")).status == 404
    assert (await api.call("PATCH", "/v1/workspace", "editor", {"paused": True})).status == 403
    assert (await api.call("PATCH", "/v1/workspace", "owner", {"audience": {"stages": [{}]}})).status == 422
    assert await deeds(api) == held
