"""What a start reads of geofences: all of them, page by page, and not the one that cannot be read."""

import numpy as np
import pytest
from structlog.testing import capture_logs

from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.storage import catalogs, geofences
from geo_offers.storage.geofences import PostgresGeofences
from geo_offers.storage.pool import transaction
from tests.integration.management.conftest import ALPHA


async def started(site):
    """Memory as a server has it that starts now."""
    catalog = Catalog()
    memory = FenceMemory(catalog, PostgresGeofences(site.pool))
    async for workspace, pages in catalogs.load_fences(site.pool):
        await memory.load(workspace, pages)
    return catalog


async def spoil(site, ident, feature):
    async with transaction(site.pool, [ALPHA]) as connection:
        await connection.execute("UPDATE geofence SET feature = $1 WHERE external_id = $2", feature, ident)


async def put(site, ident, lon, *, square=False):
    shape = site.square(lon, 10, name=ident) if square else site.point(lon, 10, name=ident)
    answered = await site.call("PUT", f"/v1/geofences/town/{ident}", shape)
    assert answered.status in {200, 201}


@pytest.fixture
async def town(site, monkeypatch):
    """Seven fences, in pages of two."""
    monkeypatch.setattr(geofences, "_START_PAGE", 2)
    for number in range(7):
        await put(site, f"f{number}", 20 + number / 100, square=number % 2 == 0)
    return site


async def test_a_start_holds_what_memory_held(town):
    held = town.services.catalog.index(ALPHA)
    index = (await started(town)).index(ALPHA)
    assert {fence.id: fence for fence in index} == {fence.id: fence for fence in held}
    assert len(index) == 7
    lon = np.linspace(19.99, 20.08, 400)
    lat = np.full(400, 10.0003)
    assert index.locate(lat, lon) == held.locate(lat, lon)
    assert index.crossed(10.0003, 19.9, 10.0003, 20.2) == held.crossed(10.0003, 19.9, 10.0003, 20.2) != ()
    assert [fence.id for fence, _ in index.nearest(10, 20, 3)] == [fence.id for fence, _ in held.nearest(10, 20, 3)]


async def test_what_a_start_has_loaded_can_be_changed(town):
    index = (await started(town)).index(ALPHA)
    gone, *rest = sorted(index.ids())
    moved = index.get(rest[0])
    assert index.remove(gone)
    index.put(moved)
    assert {fence.id for fence in index.crossed(10.0003, 19.9, 10.0003, 20.2)} <= set(rest)
    assert sorted(index.ids()) == rest


@pytest.mark.parametrize(
    "feature",
    [
        b"no JSON",
        b"{}",
        b'{"type":"Feature","geometry":{"type":"Point","coordinates":[20,95]},"properties":{"name":"a","radius_m":9}}',
        b'{"type":"Feature","geometry":{"type":"Point","coordinates":[20,10]},"properties":{"name":"a"}}',
        b'{"type":"Feature","geometry":{"type":"Polygon","coordinates":[]},"properties":{"name":"a"}}',
        (
            b'{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]},'
            b'"properties":{"name":"a"}}'
        ),
        (
            b'{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1e300,0],[1,1],[0,0]]]},'
            b'"properties":{"name":"a"}}'
        ),
        b'{"type":"Feature","geometry":{"type":"Line","coordinates":[]},"properties":{"name":"a"}}',
        b"\xff\xfe",
    ],
)
async def test_a_geofence_that_cannot_be_read_is_left_out_and_named(town, feature):
    await spoil(town, "f3", feature)
    with capture_logs() as logs:
        index = (await started(town)).index(ALPHA)
    assert sorted(index.ids()) == [f"town/f{number}" for number in range(7) if number != 3]
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert line["fence"] == "town/f3"
    assert str(feature)[2:20] not in str(line)


async def test_putting_it_anew_mends_it(town):
    await spoil(town, "f3", b"{}")
    await put(town, "f3", 21)
    assert len((await started(town)).index(ALPHA)) == 7
