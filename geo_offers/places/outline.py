"""A geometry as memory holds it: bytes, from which the same geometry is made again to the last bit.

A circle is its latitude, longitude and radius. An area is its border: lon, lat pairs of all rings, each ring closed, a
pair of NaN between two rings; the first NaN's sign is minus where the next ring begins another part, else that ring is
a hole. No part has fewer than four pairs, so that the length tells a circle from an area.

Shapes of a library, pieces of edges and enclosing circles are many times larger and seldom needed: they are made when
somebody asks, and the newest are kept.
"""

import struct
from array import array
from functools import lru_cache
from math import isnan
from typing import Final, NewType, TypeAlias

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from geo_offers.places.earth import FloatArray
from geo_offers.places.geometry import Area, Box, Circle, Geometry, bounds

Outline = NewType("Outline", bytes)
Position: TypeAlias = tuple[float, float]
Drawn: TypeAlias = Geometry | Outline
"""A geometry, or its outline."""

KEPT: Final = 1_024
"""Geometries; with 20 corners each they take some 2 MB."""

_ROUND: Final = struct.Struct("=3d")
_HOLE: Final = np.array([[np.nan, np.nan]])
_PART: Final = np.copysign(_HOLE, -1)


def outline_of(drawn: Drawn) -> Outline:
    """The outline of a geometry; an outline stays what it is."""
    if isinstance(drawn, bytes):
        return Outline(drawn)
    if isinstance(drawn, Circle):
        return Outline(_ROUND.pack(drawn.lat, drawn.lon, drawn.radius_m))
    pieces: list[FloatArray] = []
    for part in [drawn.shape] if isinstance(drawn.shape, Polygon) else drawn.shape.geoms:
        for number, ring in enumerate((part.exterior, *part.interiors)):
            pieces += [_HOLE if number else _PART, shapely.get_coordinates(ring)]
    return Outline(np.concatenate(pieces[1:]).tobytes())


@lru_cache(maxsize=KEPT)
def geometry_of(outline: Outline) -> Geometry:
    """The geometry of an outline."""
    if is_round(outline):
        return Circle(*_ROUND.unpack(outline))
    polygons = [Polygon(shell, holes) for shell, *holes in _split(outline)]
    return Area(polygons[0] if len(polygons) == 1 else MultiPolygon(polygons))


def is_round(outline: Outline) -> bool:
    """Whether it is a circle's."""
    return len(outline) == _ROUND.size


def circle_of(outline: Outline) -> Circle:
    """The circle of a circle's outline."""
    return Circle(*_ROUND.unpack(outline))


def parts_of(outline: Outline) -> list[tuple[Box, Position]]:
    """Of each part of an area's outline a box around it, and its first corner."""
    numbers = array("d", outline)
    lon, lat = numbers[::2], numbers[1::2]
    if not isnan(sum(lon)):  # one ring: most are
        return [((min(lat), min(lon), max(lat), max(lon)), (lat[0], lon[0]))]
    return [(box_around(shell), (shell[0, 1], shell[0, 0])) for shell, *_ in _split(outline)]


def _split(outline: Outline) -> list[list[FloatArray]]:
    """The rings of each part, shape (n, 2), the shell first."""
    border = np.frombuffer(outline, np.float64).reshape(-1, 2)
    gaps = np.flatnonzero(np.isnan(border[:, 0]))
    rings = [ring[number > 0 :] for number, ring in enumerate(np.split(border, gaps))]
    begins = [True, *np.signbit(border[gaps, 0]).tolist()]
    parts: list[list[FloatArray]] = []
    for ring, first in zip(rings, begins, strict=True):
        parts += [[ring]] if first else []
        parts[-1] += [] if first else [ring]
    return parts


def box_around(corners: FloatArray) -> Box:
    """lon, lat pairs, shape (n, 2)."""
    (min_lon, min_lat), (max_lon, max_lat) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return min_lat, min_lon, max_lat, max_lon


def boxes_of(outline: Outline) -> tuple[Box, ...]:
    """`bounds` of the geometry, which is made only where the antimeridian may cut it."""
    if is_round(outline):
        return bounds(circle_of(outline))
    south, west, north, east = zip(*(box for box, _ in parts_of(outline)), strict=True)
    box = min(south), min(west), max(north), max(east)
    return (box,) if box[1] > -180 or box[3] < 180 else bounds(geometry_of(outline))
