"""Geometry against independent answers: pyproj's geodesics for circles, a hand-written ray cast for areas."""

import itertools
import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Geod

from geo_offers.places.earth import arc_m, ecef, local_radius_m
from geo_offers.places.geometry import Area, Circle, border_distance, bounds, contains, crosses, enclosing

GEOD = Geod(ellps="WGS84")
BAND_M = 0.01

lats = st.one_of(
    st.floats(-85, 85), st.floats(85, 90), st.floats(-90, -85), st.sampled_from([0.0, 52.0, 89.9999, -90.0])
)
lons = st.one_of(st.floats(-180, 180), st.floats(179.9, 180), st.floats(-180, -179.9), st.sampled_from([180.0, -180.0]))
radii_m = st.one_of(st.floats(25, 1_000), st.floats(1_000, 10_000), st.sampled_from([25.0, 100.0, 10_000.0]))
huge_radii_m = st.floats(50_000, 100_000)
azimuths = st.floats(0, 360)


def geodesic_m(lat0, lon0, lat1, lon1):
    return GEOD.inv(lon0, lat0, lon1, lat1)[2]


def walk(lat, lon, azimuth, metres):
    lon1, lat1, _ = GEOD.fwd(lon, lat, azimuth, metres)
    return lat1, (lon1 + 180) % 360 - 180


def one(function, geometry, lat, lon):
    return function(geometry, np.array([lat]), np.array([lon]))[0]


@given(lats, lons, radii_m | huge_radii_m, azimuths, st.floats(-0.5, 0.5) | st.floats(-500, 500))
@settings(max_examples=400, deadline=None)
def test_a_circle_holds_what_is_within_its_geodesic_radius(lat, lon, radius_m, azimuth, off_border_m):
    point = walk(lat, lon, azimuth, max(0.0, radius_m + off_border_m))
    away_m = geodesic_m(lat, lon, *point)
    band_m = BAND_M if radius_m <= 10_000 else 2 * BAND_M
    assume(abs(away_m - radius_m) > band_m)
    circle = Circle(lat, lon, radius_m)
    assert one(contains, circle, *point) == (away_m <= radius_m)
    assert one(border_distance, circle, *point) == pytest.approx(away_m - radius_m, abs=band_m)


@given(lats, lons, azimuths, st.floats(1, 100_000))
@settings(max_examples=300, deadline=None)
def test_the_chord_is_as_exact_as_the_module_says(lat, lon, azimuth, away_m):
    point = walk(lat, lon, azimuth, away_m)
    by_chord_m = arc_m(math.dist(ecef(lat, lon), ecef(*point)), local_radius_m(lat))
    tolerance_m = 1e-5 if away_m <= 10_000 else 0.01
    assert by_chord_m == pytest.approx(geodesic_m(lat, lon, *point), abs=tolerance_m)


@given(lats, lons, radii_m | st.floats(10_000, 2_000_000), azimuths)
@settings(max_examples=300, deadline=None)
def test_the_boxes_of_a_circle_hold_all_of_it(lat, lon, radius_m, azimuth):
    point_lat, point_lon = walk(lat, lon, azimuth, radius_m)
    boxes = bounds(Circle(lat, lon, radius_m))
    assert any(a <= point_lat <= c and b <= point_lon <= d for a, b, c, d in boxes)
    assert all(-90 <= a <= c <= 90 and -180 <= b <= d <= 180 for a, b, c, d in boxes)


def test_a_small_circle_has_a_small_box():
    ((south, west, north, east),) = bounds(Circle(60, 10, 1_000))
    assert north - south == pytest.approx(2_000 / 111_412, rel=0.02)
    assert east - west == pytest.approx(2_000 / 55_800, rel=0.03)


# -- areas ------------------------------------------------------------------------------------------------------------


def star(lat, lon, size_deg, radii):
    """A simple polygon, often concave: corners at even angles, at these shares of its size from the middle."""
    angles = np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    return [
        (lon + size_deg * r * math.cos(a), lat + size_deg * r * math.sin(a)) for r, a in zip(radii, angles, strict=True)
    ]


def ray_cast(rings, x, y):
    """Even-odd rule with a ray to the east; says nothing about points on an edge."""
    inside = False
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                inside = not inside
    return inside


def planar_distance_m(rings, x, y):
    """To the nearest edge, by brute force over 400 points an edge in geodesic metres."""
    best = math.inf
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            share = np.linspace(0, 1, 400)
            px, py = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            best = min(best, GEOD.inv(px, py, np.full(400, x), np.full(400, y))[2].min())
    return best


@st.composite
def areas_with_points(draw):
    lat, lon = draw(st.floats(-75, 75)), draw(st.floats(-178, 178))
    size = draw(st.sampled_from([0.0005, 0.005, 0.05]))
    shares = st.floats(0.5, 1)
    shell = star(lat, lon, size, draw(st.lists(shares, min_size=3, max_size=12)))
    hole = star(lat, lon, size * 0.1, draw(st.lists(shares, min_size=3, max_size=6))) if draw(st.booleans()) else None
    rings = [shell, hole] if hole else [shell]
    assume(shapely.is_valid(shapely.Polygon(shell, [hole] if hole else None)))
    ring = draw(st.sampled_from(rings))
    corner = draw(st.integers(0, len(ring) - 1))
    (x0, y0), (x1, y1) = ring[corner], ring[corner - 1]
    share = draw(st.floats(0, 1) | st.sampled_from([0.0, 1.0]))
    off = draw(st.floats(-1, 1)) * draw(st.sampled_from([1e-6, 1e-4, 2 * size]))
    angle = draw(st.floats(0, 2 * math.pi))
    x, y = x0 + share * (x1 - x0) + off * math.cos(angle), y0 + share * (y1 - y0) + off * math.sin(angle)
    return rings, x, y


@given(areas_with_points())
@settings(max_examples=300, deadline=None)
def test_an_area_holds_what_a_ray_cast_says_and_its_border_is_as_far_as_points_along_it(drawn):
    rings, x, y = drawn
    away_m = planar_distance_m(rings, x, y)
    assume(min(shapely.LinearRing(ring).distance(shapely.Point(x, y)) for ring in rings) > 4e-7)  # 1 cm at 75 degrees
    area = Area(shapely.Polygon(rings[0], rings[1:]))
    inside = ray_cast(rings, x, y)
    assert one(contains, area, y, x) == inside
    signed_m = one(border_distance, area, y, x)
    assert (signed_m < 0) == inside
    edge_m = max(geodesic_m(a[1], a[0], b[1], b[0]) for ring in rings for a, b in itertools.pairwise(ring))
    assert abs(signed_m) == pytest.approx(away_m, rel=2e-3, abs=edge_m / 399)


@given(areas_with_points())
@settings(max_examples=100, deadline=None)
def test_corners_of_an_area_are_inside(drawn):
    rings, _, _ = drawn
    area = Area(shapely.Polygon(rings[0], rings[1:]))
    corners = np.array([corner for ring in rings for corner in ring])
    assert contains(area, corners[:, 1].copy(), corners[:, 0].copy()).all()
    assert np.abs(border_distance(area, corners[:, 1].copy(), corners[:, 0].copy())).max() < BAND_M


@given(st.floats(-75, 75), st.floats(0.001, 0.5), st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=200, deadline=None)
def test_an_area_split_at_the_antimeridian_is_as_its_twin_at_the_zero_meridian(lat, size, dx, dy):
    def shell(lon0, west, east):
        return shapely.box(lon0 + west, lat - size, lon0 + east, lat + size)

    split = Area(shapely.MultiPolygon([shell(180, -size, 0), shell(-180, 0, size)]))
    twin = Area(shell(0, -size, size))
    y, x = lat + 2 * size * dy, 2 * size * dx
    turned = x - 180 if x > 0 else x + 180
    assert one(border_distance, split, y, turned) == pytest.approx(
        one(border_distance, twin, y, x), abs=BAND_M, rel=1e-6
    )
    if min(abs(abs(x) - size), abs(abs(y - lat) - size)) > 1e-7:
        assert one(contains, split, y, turned) == one(contains, twin, y, x)
    assert enclosing(split).radius_m == pytest.approx(enclosing(twin).radius_m, rel=1e-9)
    assert len(bounds(split)) == 2


def test_the_cut_at_the_antimeridian_is_inside_under_both_its_names():
    east = Area(shapely.box(179, 0, 180, 1))
    assert contains(east, np.array([0.5, 0.5]), np.array([180.0, -180.0])).tolist() == [True, True]


@given(areas_with_points(), azimuths, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_the_enclosing_circle_holds_every_edge(drawn, azimuth, share):
    rings, _, _ = drawn
    circle = enclosing(Area(shapely.Polygon(rings[0], rings[1:])))
    ends = np.array(rings[0])
    points = ends + share * (np.roll(ends, 1, axis=0) - ends)
    assert contains(circle, points[:, 1].copy(), points[:, 0].copy()).all()


# -- ways -------------------------------------------------------------------------------------------------------------


def nearest_approach_m(circle, lat0, lon0, lat1, lon1):
    """Smallest distance of the way to the centre: dense sampling, then finer about the best."""
    low, high = 0.0, 1.0
    for _ in range(6):
        share = np.linspace(low, high, 101)
        y, x = lat0 + share * (lat1 - lat0), lon0 + share * (lon1 - lon0)
        away_m = GEOD.inv(x, y, np.full(101, circle.lon), np.full(101, circle.lat))[2]
        best = int(np.argmin(away_m))
        low, high = share[max(0, best - 2)], share[min(100, best + 2)]
    return float(away_m.min())


@st.composite
def ways_by_a_circle(draw):
    """A circle, and a way that is perpendicular to a radius at some share of it: near 1 it all but misses."""
    circle = Circle(draw(st.floats(-80, 80)), draw(st.floats(-180, 180)), draw(radii_m))
    azimuth = draw(azimuths)
    miss = draw(st.floats(-1, 1) | st.floats(-0.001, 0.001))
    foot = walk(circle.lat, circle.lon, azimuth, circle.radius_m * (1 + miss))
    lengths_m = st.floats(10, 50_000)
    return circle, walk(*foot, azimuth + 90, draw(lengths_m)), walk(*foot, azimuth - 90, draw(lengths_m))


@given(ways_by_a_circle())
@settings(max_examples=300, deadline=None)
def test_a_way_touches_a_circle_when_its_nearest_approach_is_within_the_radius(drawn):
    circle, (lat0, lon0), (lat1, lon1) = drawn
    turned = lon1 - 360 if lon1 - lon0 > 180 else lon1 + 360 if lon1 - lon0 < -180 else lon1
    approach_m = nearest_approach_m(circle, lat0, lon0, lat1, turned)
    assume(abs(approach_m - circle.radius_m) > BAND_M)
    assert crosses(circle, lat0, lon0, lat1, lon1) == (approach_m < circle.radius_m)
    assert crosses(circle, lat1, lon1, lat0, lon0) == (approach_m < circle.radius_m)


@given(areas_with_points(), st.floats(0, 2 * math.pi), st.floats(0.00001, 0.2), st.floats(0.00001, 0.2))
@settings(max_examples=200, deadline=None)
def test_a_way_touches_an_area_when_one_of_many_points_on_it_is_inside(drawn, angle, before_deg, after_deg):
    rings, x, y = drawn
    x0, y0 = x - before_deg * math.cos(angle), y - before_deg * math.sin(angle)
    x1, y1 = x + after_deg * math.cos(angle), y + after_deg * math.sin(angle)
    area = Area(shapely.Polygon(rings[0], rings[1:]))
    share = np.linspace(0, 1, 2_000)
    touched = contains(area, y0 + share * (y1 - y0), x0 + share * (x1 - x0)).any()
    if touched:
        assert crosses(area, y0, x0, y1, x1)
    elif crosses(area, y0, x0, y1, x1):  # between two samples: the way must then pass a border within a step
        way = shapely.LineString([(x0, y0), (x1, y1)])
        assert way.distance(area.shape) == 0
        assert way.intersection(area.shape).length <= 2 * (before_deg + after_deg) / 2_000


def test_the_short_way_goes_over_the_antimeridian_and_not_round_the_earth():
    near_zero, at_seam = Circle(0, 0, 1_000), Circle(0, 180, 1_000)
    assert crosses(at_seam, 0, 179.9, 0, -179.9)
    assert not crosses(near_zero, 0, 179.9, 0, -179.9)
    split = Area(shapely.MultiPolygon([shapely.box(179.95, -1, 180, 1), shapely.box(-180, -1, -179.95, 1)]))
    assert crosses(split, 0, 179.9, 0, -179.9)
    assert crosses(split, 0, -179.9, 0, 179.9)
    assert not crosses(split, 0, 179.8, 0, 179.94)


def test_a_long_way_is_straight_in_longitude_and_latitude():
    assert crosses(Circle(10, 10, 10_000), 0, 0, 20, 20)  # the great circle passes 17 km off
    assert not crosses(Circle(10.3, 10, 10_000), 0, 0, 20, 20)
