"""Fences to draw: circles, and areas with holes and islands; also over the antimeridian and near a pole."""

import numpy as np
import shapely
from hypothesis import strategies as st
from pyproj import Geod

from geo_offers.places.geometry import Area, Circle, enclosing

GEOD = Geod(ellps="WGS84")
PLACES = [(52.0, 8.0), (0.0, 0.0), (-17.0, 180.0), (66.0, -179.99), (84.9, 20.0), (-89.0, 100.0)]
SIZES_M = [25.0, 100.0, 1_000.0, 20_000.0, 100_000.0]


def turned(lon):
    return (lon + 180) % 360 - 180 if not -180 <= lon <= 180 else lon


def walk(lat, lon, azimuth, metres):
    lon1, lat1, _ = GEOD.fwd(lon, lat, azimuth, metres)
    return lat1, turned(lon1)


def split_at_seam(shape):
    """The RFC 7946 form of a shape drawn with longitudes beyond 180."""
    parts = []
    for turn in (0, 360, -360):
        cut = shapely.intersection(shape, shapely.box(-180 + turn, -90, 180 + turn, 90))
        parts += [shapely.transform(p, lambda xy, t=turn: xy - (t, 0)) for p in shapely.get_parts(cut) if p.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def ring(lat, lon, size_m, shares):
    """Corners about a place, each at its share of the size; longitudes do not jump at the antimeridian."""
    corners = []
    for number, share in enumerate(shares):
        y, x = walk(lat, lon, 360 * number / len(shares), size_m * share)
        corners.append((lon + (x - lon + 180) % 360 - 180, y))
    return corners


@st.composite
def drawn(draw):
    """A geometry and the unsplit shape of its border: None for a circle."""
    lat, lon = draw(st.sampled_from(PLACES))
    size_m = draw(st.sampled_from(SIZES_M)) * draw(st.floats(0.5, 1))
    if draw(st.booleans()):
        return Circle(lat, lon, max(25.0, size_m)), None
    size_m = min(size_m, 0.5 * 111_000 * (90 - abs(lat)))  # no area holds a pole
    shares = draw(st.lists(st.floats(0.5, 1), min_size=3, max_size=12))
    shape = shapely.Polygon(ring(lat, lon, size_m, shares))
    if draw(st.booleans()):  # with a hole, and an island in that
        hole, island = (ring(lat, lon, size_m * share, [1] * 6) for share in (0.2, 0.1))
        shape = shapely.MultiPolygon([shape.difference(shapely.Polygon(hole)).buffer(0), shapely.Polygon(island)])
    shape = shapely.make_valid(shape)
    return Area(split_at_seam(shape)), shape


def points_about(geometry, seed):
    random = np.random.default_rng(seed)
    circle = enclosing(geometry)
    for share in (0.0, 0.3, 0.9, 0.999, 1.001, 1.1, 2.0):
        yield walk(circle.lat, circle.lon, random.uniform(0, 360), circle.radius_m * share)
