"""A commit whose answer was lost: the manager sends the request again, and memory ends where the database does."""

from geo_offers.errors import Unavailable
from tests.integration.management.conftest import ALPHA, collection, point, with_id


def lose_the_answer(monkeypatch, port, call):
    """The next such call commits and fails all the same."""
    real = getattr(port, call)

    async def commits_and_fails(*given):
        monkeypatch.setattr(port, call, real)
        await real(*given)
        raise Unavailable("the database is away")

    monkeypatch.setattr(port, call, commits_and_fails)


def names(site):
    return sorted(fence.id for fence in site.services.catalog.index(ALPHA))


async def test_a_geofence_deleted_behind_a_lost_answer_is_gone_from_memory_with_the_next_try(site, monkeypatch):
    await site.call("PUT", "/v1/geofences/town/a", point(1, 1))
    lose_the_answer(monkeypatch, site.services.geofences, "delete")
    assert (await site.call("DELETE", "/v1/geofences/town/a")).status == 503
    assert names(site) == ["town/a"]
    assert (await site.call("DELETE", "/v1/geofences/town/a")).status == 404
    assert names(site) == []


async def test_an_import_applied_behind_a_lost_answer_is_in_memory_with_the_next_try(site, monkeypatch):
    body = collection(with_id("a", point(1, 1)), with_id("b", point(2, 2)), with_id("c", point(3, 3)))
    report = (await site.call("POST", "/v1/imports?set=town", body)).body
    lose_the_answer(monkeypatch, site.services.imports, "apply")
    assert (await site.call("POST", f"/v1/imports/{report['id']}/apply")).status == 503
    assert names(site) == []
    await site.call("DELETE", "/v1/geofences/town/b")
    assert (await site.call("PUT", "/v1/geofences/town/c", point(3, 4))).status == 200
    assert (await site.call("POST", f"/v1/imports/{report['id']}/apply")).body["state"] == "applied"
    assert names(site) == ["town/a", "town/c"]  # what somebody deleted since does not come back
    assert site.services.catalog.index(ALPHA).get("town/c").geometry.lat == 4
