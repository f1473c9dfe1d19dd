"""A commit whose answer was lost: memory ends where the database does, whether or not anybody sends it again."""

import asyncio

import asyncpg
import pytest
from msgspec.structs import replace

from geo_offers.errors import Unavailable
from geo_offers.storage.geofences import lock_set, write
from geo_offers.storage.pool import open_pool, transaction
from tests.integration.management.conftest import ALPHA, collection, point, with_id
from tests.support.fences import load_fences

PUT = ("PUT", "/v1/geofences/town/a", point(5, 5))
DELETE = ("DELETE", "/v1/geofences/town/a", None)


@pytest.fixture
async def mending(site):
    run = asyncio.create_task(site.services.fence_memory.run())
    yield
    run.cancel()


def lose_the_answer(monkeypatch, port, call):
    """The next such call commits and fails all the same."""
    real = getattr(port, call)

    async def commits_and_fails(*given):
        monkeypatch.setattr(port, call, real)
        await real(*given)
        raise Unavailable("the database is away")

    monkeypatch.setattr(port, call, commits_and_fails)


def held(site):
    return {fence.id: fence for fence in site.services.catalog.index(ALPHA)}


async def stored(site):
    return {fence.id: fence for fence in (await load_fences(site.pool))[ALPHA]}


async def follows(site):
    """Memory comes to hold what the database holds."""
    async with asyncio.timeout(10):
        while held(site) != await stored(site):
            await asyncio.sleep(0.01)


async def previewed(site, *features):
    return (await site.call("POST", "/v1/imports?set=town", collection(*features))).body["id"]


async def applied(site):
    """An import over fence `a` that adds `b`."""
    await site.call(*PUT)
    ident = await previewed(site, with_id("a", point(1, 1)), with_id("b", point(2, 2)))
    assert (await site.call("POST", f"/v1/imports/{ident}/apply")).status == 200
    return ident


@pytest.mark.parametrize("call", [PUT, DELETE])
async def test_memory_follows_a_single_change_behind_a_lost_answer_unasked(site, mending, monkeypatch, call):
    await site.call("PUT", "/v1/geofences/town/a", point(1, 1))
    lose_the_answer(monkeypatch, site.services.geofences, call[0].lower())
    before = held(site)
    assert (await site.call(*call)).status == 503
    assert await stored(site) != before
    await follows(site)


@pytest.mark.parametrize("step", ["apply", "undo"])
async def test_memory_follows_an_import_behind_a_lost_answer_unasked(site, mending, monkeypatch, step):
    ident = await applied(site)
    if step == "apply":
        ident = await previewed(site, with_id("a", point(3, 3)), with_id("c", point(4, 4)))
    lose_the_answer(monkeypatch, site.services.imports, step)
    before = held(site)
    assert (await site.call("POST", f"/v1/imports/{ident}/{step}")).status == 503
    assert await stored(site) != before
    await follows(site)


async def test_a_repeat_finds_memory_mended_and_is_answered_as_the_first_would_have_been(site, monkeypatch):
    ident = await applied(site)
    geofences, imports = site.services.geofences, site.services.imports
    cases = [
        (imports, "undo", ("POST", f"/v1/imports/{ident}/undo"), 200),
        (geofences, "put", ("PUT", "/v1/geofences/town/a", point(6, 6)), 200),
        (geofences, "delete", ("DELETE", "/v1/geofences/town/a"), 404),
        (imports, "apply", ("POST", f"/v1/imports/{await previewed(site, with_id('d', point(1, 1)))}/apply"), 200),
    ]
    for port, name, call, status in cases:
        lose_the_answer(monkeypatch, port, name)
        assert (await site.call(*call)).status == 503
        again = await site.call(*call)
        assert again.status == status
        assert held(site) == await stored(site)


async def test_a_repeat_of_an_undo_tells_what_the_first_would_have_told(site, monkeypatch):
    ident = await applied(site)
    await site.call("PUT", "/v1/geofences/town/b", point(9, 9))
    lose_the_answer(monkeypatch, site.services.imports, "undo")
    assert (await site.call("POST", f"/v1/imports/{ident}/undo")).status == 503
    told = (await site.call("POST", f"/v1/imports/{ident}/undo")).body
    assert [row.get("code") for row in told["rows"]] == [None, "changed_since"]
    assert told["state"] == "undone"


async def test_memory_is_not_compared_before_a_commit_that_is_still_under_way(site, mending, database, monkeypatch):
    """The connection broke, and the server has not yet come to the commit that was sent over it."""
    await site.call(*PUT)
    (fence,) = held(site).values()
    async with open_pool(database.app_dsn, size=1) as broken:
        async with transaction(broken, [ALPHA]) as connection:
            await lock_set(connection, ALPHA, "town")
            row = await connection.fetchrow("SELECT feature, min_lat, min_lon, max_lat, max_lon FROM geofence")
            (written,) = await write(connection, ALPHA, "town", [("a", row["feature"], tuple(row)[1:], None)], "")
            monkeypatch.setattr(site.services.geofences, "put", away)
            assert (await site.call(*PUT)).status == 503
            await waits_for_the_set(site.pool)
            assert held(site) == {fence.id: fence}
        await follows(site)
    assert held(site) == {fence.id: replace(fence, version=written["version"])}


async def away(*_):
    raise Unavailable("the database is away")


async def waits_for_the_set(pool: asyncpg.Pool):
    async with asyncio.timeout(10):
        while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            await asyncio.sleep(0.01)
