"""An outline is its geometry, to the last bit, however it was drawn."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, bounds
from geo_offers.places.outline import boxes_of, geometry_of, is_round, outline_of, parts_of
from geo_offers.places.table import BestTable, PlainTable

DEGREES = st.floats(-1, 1)


@st.composite
def rings(draw, lat, lon, size):
    """A star about the place; and the same, smaller, for a hole."""
    corners = draw(st.integers(3, 9))
    away = np.array(draw(st.lists(st.floats(0.4, 1), min_size=corners, max_size=corners))) * size
    angles = 2 * math.pi * np.arange(corners) / corners
    shell = np.column_stack((lon + away * np.cos(angles), lat + away * np.sin(angles)))
    hole = (lon, lat) + 0.1 * (shell - (lon, lat))
    return shell, [hole] if draw(st.booleans()) else []


@st.composite
def areas(draw):
    size = draw(st.sampled_from([0.001, 0.1, 3.0]))
    parts = [
        shapely.Polygon(*draw(rings(draw(st.floats(-60, 60)), draw(st.floats(-170, 170)) / 3 + 60 * at, size)))
        for at in range(draw(st.integers(1, 3)))
    ]
    whole = shapely.MultiPolygon(parts)
    if not whole.is_valid or draw(st.booleans()):
        return Area(parts[0])
    return Area(whole if len(parts) > 1 else parts[0])


@given(areas())
@settings(max_examples=200, deadline=None)
def test_an_area_comes_back_from_its_outline_as_it_was(area):
    outline = outline_of(area)
    again = geometry_of(outline)
    assert again.shape.wkb == area.shape.wkb
    assert outline_of(again) == outline
    assert outline_of(outline) is outline
    assert boxes_of(outline) == bounds(area)
    assert len(parts_of(outline)) == len(shapely.get_parts(area.shape))


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(25, 100_000))
def test_a_circle_comes_back_from_its_outline_as_it_was(lat, lon, radius_m):
    circle = Circle(lat, lon, radius_m)
    outline = outline_of(circle)
    assert is_round(outline)
    again = geometry_of(outline)
    assert (again, again.centre, again.chord2_m2) == (circle, circle.centre, circle.chord2_m2)
    assert boxes_of(outline) == bounds(circle)


def test_an_area_cut_at_the_antimeridian_has_a_box_on_either_side():
    area = Area(shapely.MultiPolygon([shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179.5, -16)]))
    assert boxes_of(outline_of(area)) == bounds(area) == ((-17, -180, -16, -179.5), (-17, 179, -16, 180))


@given(areas())
@settings(max_examples=50, deadline=None)
def test_a_table_takes_an_outline_as_it_takes_the_geometry(area):
    for table in (PlainTable(), BestTable()):
        assert table.cover(area) == table.cover(outline_of(area))
        for number, drawn in enumerate((area, outline_of(area))):
            table.put(number, drawn, table.cover(drawn))
        lon, lat = shapely.get_coordinates(area.shape.representative_point())[0].tolist()
        assert sorted(table.locate_one(lat, lon)) == [0, 1]


@pytest.mark.parametrize("table", [PlainTable, BestTable])
def test_a_fence_of_many_far_parts_is_filed_and_taken_out_under_all_of_its_places(table):
    """Parts on different faces of the icosahedron: no step from the first place reaches the others."""
    area = Area(shapely.MultiPolygon([shapely.box(lon, 40, lon + 0.002, 40.002) for lon in range(-170, 170, 20)]))
    held, covered = table(), table.cover(area)
    held.put(0, area, covered)
    assert sorted(held.places(0)) == sorted(covered.places)
    assert all(held.count(place) == 1 for place in covered.places)
    held.remove(0)
    assert not any(held.count(place) for place in covered.places)


def test_what_fences_have_in_common_is_held_once():
    one, other = (
        Geofence(
            FenceId(f"s/{n}"), 1, "a", Circle(1, 2, 30), None, tuple(iter(["food"])), True, Detect("raw", dwell_s=9.5)
        )
        for n in range(2)
    )
    assert one.tags is other.tags
    assert one.detect is other.detect
    assert one.geometry is other.geometry
