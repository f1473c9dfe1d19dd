"""The border of an area as straight pieces in space, from which distances to it are measured.

An edge is straight in longitude and latitude; on the ground that is a curve. It is cut into pieces so short that the
curve strays from the straight lines between their ends by no more than `STRAY_M`. In space there is no pole and no
antimeridian, and a straight line is never longer than a way along the ground.
"""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from geo_offers.places.earth import MAX_CURVATURE_RADIUS_M, Ecef, FloatArray, IntArray, ecef_array

STRAY_M = 0.01
MAX_PIECES = 20_000
"""Of one border: where that is not enough, which takes edges across continents, they stray farther."""
CURVATURE_M = MAX_CURVATURE_RADIUS_M * 1.001
"""The thousandth is for what the bound of a curve takes from the sphere."""


@dataclass(frozen=True, slots=True)
class Border:
    """The ends of the pieces in space, metres, shape (n, 3), and the ring that each is of, shape (n,).

    Ends that follow one another in a ring have a piece between them. No point of the border is farther than `stray_m`
    from its piece.
    """

    ends: FloatArray
    ring: IntArray
    stray_m: float


def border(shape: Polygon | MultiPolygon) -> Border:
    """The border of a shape, x = lon and y = lat in degrees; longitudes may pass 180."""
    xy, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(shape)), return_index=True)
    lon, lat = xy.T
    turn = math.radians(float(np.abs(np.diff(xy, axis=0)).sum(axis=1).max()))
    if _stray_m(turn) <= STRAY_M:  # a store's
        return Border(np.ascontiguousarray(ecef_array(lat, lon).T), ring.astype(np.int32), STRAY_M)
    strays_m = _strays_m(np.radians(lat), np.radians(lon))
    last = np.append(ring[1:] != ring[:-1], True)  # the end of a ring begins no piece
    strays_m = np.where(last, 0.0, np.append(strays_m, 0.0))
    roots = np.sqrt(strays_m)
    stray_m = max(STRAY_M, (float(roots.sum()) / MAX_PIECES) ** 2)
    count = np.maximum(1, np.ceil(roots / math.sqrt(stray_m))).astype(np.int64)
    if count.max() > 1:
        start = np.repeat(np.cumsum(count) - count, count)
        share = (np.arange(len(start)) - start) / np.repeat(count, count)
        lat, lon = (
            np.repeat(degrees, count) + share * np.repeat(np.append(np.diff(degrees), 0.0), count)
            for degrees in (lat, lon)
        )
        ring = np.repeat(ring, count)
    ends = np.ascontiguousarray(ecef_array(lat, lon).T)
    return Border(ends, ring.astype(np.int32), stray_m)


def chord_to(drawn: Border, point: Ecef) -> float:
    """Metres of the straight way from a point to the nearest of the pieces."""
    away = drawn.ends - np.array(point)
    joined = drawn.ring[1:] == drawn.ring[:-1]
    start, way = away[:-1][joined], np.diff(away, axis=0)[joined]
    along = -np.einsum("ij,ij->i", start, way) / np.maximum(np.einsum("ij,ij->i", way, way), 1e-30)
    near = start + np.clip(along, 0.0, 1.0)[:, None] * way
    return math.sqrt(float(np.min(np.einsum("ij,ij->i", near, near))))


def _stray_m(turn: float) -> float:
    """What no edge exceeds in `_strays_m` whose turns in latitude and longitude come to so much together (radians)."""
    return CURVATURE_M * turn * turn / 8


def _strays_m(phi: FloatArray, lam: FloatArray) -> FloatArray:
    """How far each edge between two following positions (radians) strays from the straight line under it, at most.

    For a curve p(t), 0 <= t <= 1, that is an eighth of the largest |p''|; here R (a^2 + 2 a b |sin| + b^2 cos), where
    the edge turns by a in latitude and by b in longitude.
    """
    a, b = np.abs(np.diff(phi)), np.abs(np.diff(lam))
    start, end = np.abs(phi[:-1]), np.abs(phi[1:])
    widest = np.where(phi[:-1] * phi[1:] > 0, np.cos(np.minimum(start, end)), 1.0)
    steepest = np.sin(np.maximum(start, end))
    strays_m: FloatArray = CURVATURE_M * (a * a + 2 * a * b * steepest + b * b * widest) / 8
    return strays_m
