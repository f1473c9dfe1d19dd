"""How broad fences are, against plane figures and pyproj's geodesic areas and perimeters."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings

from geo_offers.places.breadth import breadth_m
from geo_offers.places.geometry import Area, Circle
from geo_offers.places.outline import outline_of
from tests.support.shapes import GEOD, drawn, ring, split_at_seam, walk


def box(lat, lon, wide_m, high_m):
    """A rectangle with its south-west corner there; longitudes may pass 180."""
    north, east = walk(lat, lon, 0, high_m)[0], (walk(lat, lon, 90, wide_m)[1] - lon) % 360 + lon
    return shapely.box(lon, lat, east, north)


@given(drawn())
@settings(max_examples=150, deadline=None)
def test_the_breadth_is_four_times_the_area_by_the_length_of_the_border(shape):
    geometry, border = shape
    if border is None:
        assert breadth_m(geometry) == 2 * geometry.radius_m
        return
    cut = shapely.segmentize(border, border.length / 500)
    area_m2 = length_m = 0.0
    for part in shapely.get_parts(cut):
        for number, each in enumerate(shapely.get_rings(part)):
            ring_m2, ring_m = GEOD.polygon_area_perimeter(*shapely.get_coordinates(each).T)
            area_m2, length_m = area_m2 + (-abs(ring_m2) if number else abs(ring_m2)), length_m + ring_m
    assert breadth_m(geometry) == pytest.approx(4 * area_m2 / length_m, rel=0.01)
    assert breadth_m(outline_of(geometry)) == breadth_m(geometry)


@pytest.mark.parametrize("lat", [0.0, 52.0, -77.0])
def test_a_square_is_as_broad_as_its_side_and_a_strip_twice_as_broad_as_it_is_wide(lat):
    assert breadth_m(Area(box(lat, 8.0, 100, 100))) == pytest.approx(100, rel=0.01)
    assert breadth_m(Area(box(lat, 8.0, 5_000, 20))) == pytest.approx(2 * 5_000 * 20 / 5_020, rel=0.01)


def test_a_circle_is_as_broad_as_its_diameter_and_so_is_a_ring_of_many_corners():
    assert breadth_m(Circle(52.0, 8.0, 75.0)) == 150.0
    assert breadth_m(Area(shapely.Polygon(ring(52.0, 8.0, 75.0, [1.0] * 200)))) == pytest.approx(150, rel=0.01)


def test_a_hole_makes_a_fence_less_broad():
    hole = box(*walk(*walk(52.0, 8.0, 0, 30), 90, 30), 40, 40)
    assert breadth_m(Area(box(52.0, 8.0, 100, 100).difference(hole))) == pytest.approx(
        4 * (100 * 100 - 40 * 40) / (4 * 100 + 4 * 40), rel=0.01
    )


def test_parts_count_together():
    far = box(*walk(52.0, 8.0, 90, 500), 300, 50)
    assert breadth_m(Area(shapely.MultiPolygon([box(52.0, 8.0, 100, 100), far]))) == pytest.approx(
        4 * (100 * 100 + 300 * 50) / (4 * 100 + 2 * 350), rel=0.01
    )


def test_the_cut_at_the_antimeridian_is_no_border():
    whole = box(-17.0, 179.999, 300, 300)
    assert breadth_m(Area(split_at_seam(whole))) == pytest.approx(300, rel=0.01)


def test_a_fence_that_ends_at_the_antimeridian_has_a_border_there():
    west = box(*walk(-17.0, 180.0, 270, 100), 100, 100)
    corners = shapely.get_coordinates(west)
    corners[:, 0] = np.where(corners[:, 0] > 179.9999, 180.0, corners[:, 0])
    parts = [shapely.Polygon(corners), box(-17.1, 170.0, 100, 100)]
    assert breadth_m(Area(shapely.MultiPolygon(parts))) == pytest.approx(100, rel=0.01)
    assert not math.isnan(breadth_m(Area(parts[0])))
