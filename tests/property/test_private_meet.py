"""Whether two geometries meet: against points of one that the other holds, and against their distance."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, Polygon

from geo_offers.places.earth import ecef
from geo_offers.places.geometry import Area, Circle, border_distance_one, contains_one
from geo_offers.places.private import meet

DEG = 1 / 111_300


def shape(rng, lat, lon):
    if rng.random() < 0.5:
        return Circle(lat, lon, rng.choice([25.0, 80.0, 400.0]))
    half = rng.choice([30.0, 90.0, 500.0]) * DEG
    return Area(Polygon([(lon - half, lat - half), (lon + half, lat - half), (lon + half, lat + half), (lon, lat)]))


def points(rng, drawn):
    """Some of a geometry's points."""
    for _ in range(40):
        reach = 800.0 * DEG
        lat, lon = (rng.uniform(-reach, reach) for _ in range(2))
        middle = (drawn.lat, drawn.lon) if isinstance(drawn, Circle) else (drawn.circle.lat, drawn.circle.lon)
        where = middle[0] + lat, middle[1] + lon
        if contains_one(drawn, *where, ecef(*where)):
            yield where


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_geometries_that_share_a_point_meet_whichever_is_asked(seed):
    rng = random.Random(seed)
    lat, lon = rng.choice([0.0, 53.0, -67.0]), rng.choice([0.0, 8.8, 120.0])
    one = shape(rng, lat, lon)
    other = shape(rng, lat + rng.uniform(-1_000, 1_000) * DEG, lon + rng.uniform(-1_000, 1_000) * DEG)
    shared = [where for where in points(rng, one) if contains_one(other, *where, ecef(*where))]
    if shared:
        assert meet(one, other)
    assert meet(one, other) == meet(other, one)


@given(
    away_m=st.sampled_from([-40.0, -1.0, 1.0, 40.0]),
    area=st.booleans(),
    radius_m=st.sampled_from([25.0, 300.0]),
    lat=st.sampled_from([0.0, 53.0, -67.0]),
)
def test_a_circle_meets_what_is_nearer_than_its_radius(away_m, area, radius_m, lat):
    half = 100.0 * DEG
    square = Area(Polygon([(-half, lat - half), (half, lat - half), (half, lat + half), (-half, lat + half)]))
    other = square if area else Circle(lat, 0.0, 100.0)
    north = lat + half + radius_m * DEG
    for _ in range(8):  # so that the border is just so far away
        north -= (border_distance_one(other, north, 0.0) - radius_m - away_m) * DEG
    assert meet(Circle(north, 0.0, radius_m), other) == (away_m < 0)
    assert meet(other, Circle(north, 0.0, radius_m)) == (away_m < 0)


def test_a_geometry_within_another_meets_it():
    around = Area(Point(8.8, 53.0).buffer(0.1))
    assert meet(around, Area(Point(8.8, 53.0).buffer(0.001)))
    assert meet(around, Circle(53.0, 8.8, 30.0))
    assert meet(Circle(53.0, 8.8, 9_000.0), Circle(53.01, 8.8, 30.0))
