"""Distances to borders against pyproj's geodesics along densified borders, and the compiled search against them all."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, border_distance_one, enclosing
from geo_offers.places.index import BestNearest, GeofenceIndex
from geo_offers.places.nearest import PlainNearest
from geo_offers.places.outline import geometry_of
from geo_offers.places.plain import PlainTable
from geo_offers.places.regions import MAX_SAFE_RADIUS_M, Wish, look
from tests.support.shapes import GEOD, drawn, points_about, ring, turned, walk


def geodesic_m(circle_or_shape, lat, lon):
    """By brute force: from the point to the border, densified until no more than 0.1 % or 1 cm is missed."""
    geometry, shape = circle_or_shape
    if shape is None:
        return abs(GEOD.inv(lon, lat, geometry.lon, geometry.lat)[2] - geometry.radius_m)
    xy = [np.asarray(each.coords) for part in shapely.get_parts(shape) for each in shapely.get_rings(part)]
    starts, ends = np.concatenate([each[:-1] for each in xy]), np.concatenate([each[1:] for each in xy])
    low, high = np.zeros(len(starts)), np.ones(len(starts))
    best = math.inf
    for _ in range(6):  # each time the shares about the nearest one of each edge
        shares = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 41)
        points = starts[:, None, :] + shares[:, :, None] * (ends - starts)[:, None, :]
        count = points.shape[0] * points.shape[1]
        x, y = points[..., 0].ravel(), points[..., 1].ravel()
        away_m = GEOD.inv(np.full(count, lon), np.full(count, lat), x, y)[2].reshape(shares.shape)
        best = min(best, float(away_m.min()))
        at = away_m.argmin(axis=1)
        step = (high - low) / 40
        middle = shares[np.arange(len(at)), at]
        low, high = np.maximum(low, middle - step), np.minimum(high, middle + step)
    return best


@given(drawn(), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_the_distance_to_a_border_is_no_more_than_the_truth_and_next_to_no_less(shape, seed):
    for point in points_about(shape[0], seed):
        truth_m = geodesic_m(shape, *point)
        found_m = abs(border_distance_one(shape[0], *point))
        assert truth_m * 0.999 - 0.04 <= found_m <= truth_m * 1.0001 + 0.02
        if truth_m < 50_000:
            assert truth_m - 0.05 <= found_m


@given(st.lists(drawn(), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_the_safe_radius_reaches_no_border_and_is_not_needlessly_small(shapes, seed):
    index = GeofenceIndex(
        Geofence(FenceId(f"s/{number}"), 1, "a", geometry, None, (), active=True, detect=Detect("raw"))
        for number, (geometry, _) in enumerate(shapes)
    )
    for point in points_about(shapes[0][0], seed):
        truth_m = min(geodesic_m(shape, *point) for shape in shapes)
        safe_m = look(index, *point, Wish(20)).safe_radius_m
        assert safe_m <= truth_m
        to_pole_m = GEOD.inv(point[1], point[0], 0, math.copysign(90, point[0]))[2]
        assert safe_m >= 0.99 * min(MAX_SAFE_RADIUS_M, truth_m, to_pole_m / 2) - 0.15


@given(st.lists(drawn(), min_size=1, max_size=30), st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 20, 100]))
@settings(max_examples=100, deadline=None)
def test_the_compiled_search_finds_what_the_plain_one_finds_after_any_changes(shapes, seed, limit):
    random = np.random.default_rng(seed)
    searches = BestNearest(), PlainNearest()
    there = {}
    for number in [*range(len(shapes)), *random.integers(0, len(shapes), 20).tolist()]:
        for search in searches:
            if number in there:
                search.remove(number)
            else:
                search.put(number, shapes[number][0])
        if there.pop(number, None) is None:
            there[number] = shapes[number][0]
    for point in points_about(shapes[0][0], seed):
        best, plain = (search.nearest(*point, limit) for search in searches)
        assert [away_m for _, away_m in best] == pytest.approx([away_m for _, away_m in plain], rel=1e-7, abs=0.01)
        assert len(best) == min(limit, len(there)) == len(dict(best))
        for number, away_m in best:
            assert away_m == pytest.approx(abs(border_distance_one(there[number], *point)), rel=1e-7, abs=0.01)


@given(drawn(), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_the_region_of_a_fence_holds_all_of_it_and_is_not_needlessly_large(shape, seed):
    geometry, border = shape
    fence = Geofence(FenceId("s/a"), 1, "a", geometry, None, (), active=True, detect=Detect("raw"))
    around = enclosing(geometry)
    for point in points_about(geometry, seed):
        [(fence_id, _, (lat, lon, radius_m, exact))] = GeofenceIndex([fence]).regions(*point, 1)
        assert (fence_id, exact) == ("s/a", border is None)
    if border is None:
        assert (lat, radius_m) == pytest.approx((geometry.lat, geometry.radius_m), abs=1e-9)
        assert turned(lon - geometry.lon) % 360 == pytest.approx(0, abs=1e-9)
        return
    xy = shapely.get_coordinates(shapely.segmentize(border.boundary, border.length / 200))
    away_m = GEOD.inv(np.full(len(xy), lon), np.full(len(xy), lat), *xy.T)[2]
    # Both are about the middle of a box, one of degrees and one in space, so at most sqrt(3) of the smallest circle.
    assert away_m.max() <= radius_m <= math.sqrt(3) * around.radius_m
    assert radius_m <= 1.01 * away_m.max() + 1


def test_the_region_of_an_area_of_many_corners_follows_its_changes():
    index = GeofenceIndex()
    for middle in (52.0, 53.0):
        area = Area(shapely.Polygon(ring(middle, 8.0, 300, [1.0, 0.9] * 100)))
        index.put(Geofence(FenceId("s/a"), 1, "a", area, None, (), active=True, detect=Detect("raw")))
        for _ in range(2):
            [(_, _, (lat, lon, radius_m, _))] = index.regions(52.0, 8.0, 1)
            assert (lat, lon) == pytest.approx((middle, 8.0), abs=1e-8)
            # Opposite corners are 600 m apart, so it is 300 m at the least; the kernel adds a thousandth and a little.
            assert 300 * 1.001 <= radius_m <= 300 * 1.001 + 0.03


@pytest.mark.skipif(BestNearest is PlainNearest, reason="the kernels are not built here")
def test_neither_filing_a_store_nor_telling_its_region_makes_a_shape_of_it():
    area = Area(shapely.Polygon(ring(52.0, 8.0, 150, [1.0, 0.7, 0.9, 0.8, 1.0])))
    geometry_of.cache_clear()
    index = GeofenceIndex()
    for number, geometry in enumerate([area, Circle(52.0, 8.001, 50.0)]):
        index.put(Geofence(FenceId(f"s/{number}"), 1, "a", geometry, None, (), active=True, detect=Detect("raw")))
    assert len(look(index, 52.001, 8.0, Wish(20)).regions) == 2
    assert geometry_of.cache_info().misses == 0


@pytest.mark.parametrize("edge_deg", [20.0, 60.0, 150.0])
def test_an_area_as_wide_as_a_continent_has_a_region_that_holds_it_and_borders_that_are_found(edge_deg):
    shape = shapely.box(-edge_deg / 2, -edge_deg / 4, edge_deg / 2, edge_deg / 4)
    index = GeofenceIndex(
        [Geofence(FenceId("s/a"), 1, "a", Area(shape), None, (), active=True, detect=Detect("raw"))], PlainTable()
    )
    for point in [(0.0, 0.0), (edge_deg / 4 + 1, 3.0), (1.0, -edge_deg / 2)]:
        [(_, away_m, (lat, lon, radius_m, exact))] = index.regions(*point, 1)
        assert away_m == pytest.approx(abs(border_distance_one(Area(shape), *point)), rel=1e-6, abs=0.2)
        corners = shapely.get_coordinates(shape)
        assert GEOD.inv(np.full(5, lon), np.full(5, lat), *corners.T)[2].max() <= radius_m * 1.005
        assert not exact


def test_many_areas_at_one_spot_and_one_of_two_thousand_corners_are_measured_alike():
    random = np.random.default_rng(7)
    shapes = [
        Area(shapely.Polygon(ring(52.0, 8.0, 300, random.uniform(0.6, 1, corners))))
        for corners in [*random.integers(5, 40, 499).tolist(), 1_999]
    ]
    search = BestNearest()
    for number, shape in enumerate(shapes):
        search.put(number, shape)
    for point in [(52.0, 8.0), (52.002, 8.001), (52.01, 8.0)]:
        expected = sorted(abs(border_distance_one(shape, *point)) for shape in shapes)[:20]
        assert [away_m for _, away_m in search.nearest(*point, 20)] == pytest.approx(expected, abs=0.001)


def test_a_corner_that_is_named_twice_changes_no_distance():
    once = ring(52.0, 8.0, 150, [1.0, 0.7, 0.9, 0.8])
    searches = BestNearest(), BestNearest()
    for search, corners in zip(searches, (once, [corner for corner in once for _ in range(2)]), strict=True):
        search.put(0, Area(shapely.Polygon(corners)))
    for point in [(52.0, 8.0), (52.001, 8.001), (52.0, 8.1), (once[0][1], once[0][0])]:
        [(_, away_m)], [(_, away_twice_m)] = (search.nearest(*point, 1) for search in searches)
        assert away_twice_m == away_m


@given(st.floats(25, 9e6), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_of_circles_that_all_hold_a_point_those_of_the_nearest_borders_are_found(size_m, seed):
    random = np.random.default_rng(seed)
    away_m = size_m * random.uniform(0, 0.2, 40)
    middles = [
        walk(52.0, 8.0, azimuth, metres) for azimuth, metres in zip(random.uniform(0, 360, 40), away_m, strict=True)
    ]
    circles = [
        Circle(*middle, size_m * share) for middle, share in zip(middles, random.uniform(1, 1.2, 40), strict=True)
    ]
    search = BestNearest()
    for number, circle in enumerate(circles):
        search.put(number, circle)
    expected = sorted(abs(border_distance_one(circle, 52.0, 8.0)) for circle in circles)[:5]
    assert [away_m for _, away_m in search.nearest(52.0, 8.0, 5)] == pytest.approx(expected, rel=1e-9, abs=1e-6)
