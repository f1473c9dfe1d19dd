"""The borders around a point against the distance to each one, by the compiled search and by the plain one."""

import math
from operator import itemgetter

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, border_distance_one, drawn_border
from geo_offers.places.index import AROUND_MOST, BestNearest, GeofenceIndex
from geo_offers.places.nearest import PlainNearest
from geo_offers.places.plain import PlainTable
from geo_offers.places.table import BestTable
from tests.support.shapes import drawn, points_about, ring, split_at_seam, turned, walk

REACHES_M = st.sampled_from([0.0, 10.0, 60.0, 350.0, 20_000.0])
BAND_M = 0.01
KINDS = [(BestTable, BestNearest), (PlainTable, PlainNearest), (PlainTable, BestNearest)]
IDS = ["best", "plain", "plain table"]
compiled = pytest.mark.skipif(BestNearest is PlainNearest, reason="the kernels are not built here")


def fence(name, geometry, *, active=True):
    return Geofence(FenceId(name), 1, "a", geometry, None, (), active=active, detect=Detect())


def index_of(geometries, kind=KINDS[0]):
    table, nearest = kind
    fences = (fence(f"s/{number:03}", geometry) for number, geometry in enumerate(geometries))
    return GeofenceIndex(fences, table(), nearest())


def points_at(geometry, reach_m, seed):
    """Along a border, about as far as the reach from it, on both sides."""
    random = np.random.default_rng(seed)
    for share in (0.0, 0.5, 0.999, 1.0, 1.001, 1.1):
        azimuth = random.uniform(0, 360)
        if isinstance(geometry, Circle):
            side = random.choice([-1, 1])
            yield walk(geometry.lat, geometry.lon, azimuth, max(0.0, geometry.radius_m + side * share * reach_m))
        else:
            boundary = geometry.shape.boundary
            on = shapely.line_interpolate_point(boundary, random.uniform(0, 1), normalized=True)
            on = shapely.get_point(on, 0) if on.geom_type != "Point" else on
            yield walk(on.y, turned(on.x), azimuth, share * reach_m)


def points(geometries, reach_m, seed):
    yield from points_at(geometries[seed % len(geometries)], reach_m, seed)
    yield from points_about(geometries[0], seed)


def nearest_unreturned(distances, found):
    return min((abs(away_m) for name, away_m in distances.items() if name not in found), default=math.inf)


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
@given(shapes=st.lists(drawn(), min_size=1, max_size=12), reach_m=REACHES_M, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_each_border_within_the_reach_is_found_with_its_signed_distance(*, kind, shapes, reach_m, seed):
    geometries = [geometry for geometry, _ in shapes]
    index = index_of(geometries, kind)
    for point in points(geometries, reach_m, seed):
        truth = {f"s/{number:03}": border_distance_one(each, *point) for number, each in enumerate(geometries)}
        found = {near.id: away_m for near, away_m in index.around(*point, reach_m)}
        assert {name for name, away_m in truth.items() if abs(away_m) < reach_m - BAND_M} <= set(found)
        assert all(abs(truth[name]) <= reach_m + BAND_M for name in found)
        assert found == pytest.approx({name: truth[name] for name in found}, rel=1e-7, abs=BAND_M)
        assert list(found) == sorted(found, key=lambda name: (abs(found[name]), name))


@compiled
@given(st.lists(drawn(), min_size=1, max_size=12), REACHES_M, st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 64]))
@settings(max_examples=150, deadline=None)
def test_no_border_that_was_not_told_is_within_the_clear_radius(shapes, reach_m, seed, most):
    geometries = [geometry for geometry, _ in shapes]
    index = index_of(geometries)
    for point in points(geometries, reach_m, seed):
        truth = {number: border_distance_one(each, *point) for number, each in enumerate(geometries)}
        near, clear_m = index.borders.around(index.kernel, *point, reach_m, most)
        found = dict(near)
        assert clear_m <= nearest_unreturned(truth, found)
        assert len(found) == len(near) <= most
        assert len(found) == most or clear_m >= reach_m - 2 * BAND_M
        assert all(abs(away_m) <= nearest_unreturned(truth, found) + BAND_M for away_m in found.values())


@compiled
@given(st.lists(drawn(), min_size=1, max_size=12), st.integers(0, 2**32 - 1), st.sampled_from([50.0, 2_000.0]))
@settings(max_examples=150, deadline=None)
def test_the_clear_radius_reaches_no_border_and_is_hardly_less_than_the_nearest(shapes, seed, most_m):
    geometries = [geometry for geometry, _ in shapes]
    index = index_of(geometries)
    for point in points(geometries, most_m, seed):
        truth_m = min(abs(border_distance_one(each, *point)) for each in geometries)
        assert min(truth_m, most_m) - 3 * BAND_M <= index.borders.clear_m(*point, most_m) <= truth_m


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_of_many_borders_the_nearest_are_told_and_of_equals_those_of_the_first_ids(kind):
    random = np.random.default_rng(7)
    radii_m = random.permutation(np.repeat(100.0 + np.arange(20), 15))
    index = index_of([Circle(52.0, 8.0, radius_m) for radius_m in radii_m.tolist()], kind)
    by_distance = sorted((radius_m, f"s/{number:03}") for number, radius_m in enumerate(radii_m.tolist()))
    found = index.around(52.0, 8.0, 300.0)
    assert [near.id for near, _ in found] == [name for _, name in by_distance[:AROUND_MOST]]
    assert [away_m for _, away_m in found] == pytest.approx([-radius_m for radius_m, _ in by_distance[:AROUND_MOST]])


@compiled
def test_the_clear_radius_of_a_full_answer_ends_at_the_next_border():
    index = index_of([Circle(52.0, 8.0, 100.0 + number) for number in range(10)])
    near, clear_m = index.borders.around(index.kernel, 52.0, 8.0, 300.0, 4)
    assert [number for number, _ in near] == [0, 1, 2, 3]
    assert clear_m == pytest.approx(104, abs=2 * BAND_M)


@compiled
def test_where_there_is_no_border_all_is_clear():
    index = GeofenceIndex()
    assert index.borders.clear_m(52.0, 8.0, 2_000.0) == math.inf
    assert index.borders.around(index.kernel, 52.0, 8.0, 50.0, 64) == ([], math.inf)


@compiled
def test_a_phone_far_from_every_border_is_told_so_beyond_the_radius_it_asked_for():
    index = index_of([Circle(52.0, 8.0, 100.0)])
    assert index.borders.clear_m(55.0, 8.0, 2_000.0) > 20_000


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
@pytest.mark.parametrize("lon", [180.0, -180.0])
def test_on_the_antimeridian_an_area_across_it_holds_the_point(kind, lon):
    area = Area(split_at_seam(shapely.Polygon(ring(-17.0, 180.0, 300, [1.0] * 8))))
    [(_, away_m)] = index_of([area], kind).around(-17.0, lon, 350.0)
    assert away_m == pytest.approx(border_distance_one(area, -17.0, lon), abs=BAND_M)
    assert away_m < -200


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_what_is_inactive_or_gone_has_no_border_around(kind):
    index = index_of([Circle(52.0, 8.0, 100.0)], kind)
    index.put(fence("s/off", Circle(52.0, 8.0, 110.0), active=False))
    assert [near.id for near, _ in index.around(52.0, 8.0, 150.0)] == ["s/000"]
    index.remove(FenceId("s/000"))
    assert index.around(52.0, 8.0, 150.0) == []


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_at_a_spot_of_areas_of_many_corners_the_bound_holds_and_signs_are_right(kind):
    random = np.random.default_rng(3)
    areas = [Area(shapely.Polygon(ring(52.0, 8.0, 300, random.uniform(0.6, 1, 200)))) for _ in range(100)]
    assert max(len(drawn_border(area).ends) for area in areas) > 100
    index = index_of(areas, kind)
    for lat in (52.0, 52.0022, 52.003):
        truth = [border_distance_one(area, lat, 8.0) for area in areas]
        expected = sorted((away_m for away_m in truth if abs(away_m) <= 300.0), key=abs)[:AROUND_MOST]
        assert [away_m for _, away_m in index.around(lat, 8.0, 300.0)] == pytest.approx(expected, abs=0.001)


@compiled
@settings(deadline=None)
@given(
    st.lists(drawn().map(itemgetter(0)), min_size=1, max_size=8),
    drawn().map(itemgetter(0)),
    REACHES_M,
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 3e-4]),
)
def test_who_asks_again_nearby_is_told_what_an_index_says_that_is_asked_once(geometries, late, reach_m, seed, step):
    index = index_of(geometries)
    changes = [
        lambda: index.put(fence("s/late", late)),
        lambda: index.put(fence("s/000", late)),
        lambda: index.remove(FenceId("s/late")),
    ]
    lat, lon = next(points(geometries, reach_m, seed))
    places = [(max(-90.0, min(90.0, lat + move)), turned(lon - move)) for move in (0.0, step, 0.0, -step, 0.0)]
    for change in [None, *changes]:
        if change is not None:
            change()
        for place in places:
            anew = GeofenceIndex(index)
            assert index.around(*place, reach_m) == anew.around(*place, reach_m)
            nearest_m = min((abs(away_m) for _, away_m in anew.around(*place, 30_000.0)), default=math.inf)
            assert index.borders.clear_m(*place, reach_m) <= nearest_m + BAND_M
