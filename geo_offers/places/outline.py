"""A geometry as memory holds it: bytes, from which the same geometry is made again to the last bit.

A circle is its latitude, longitude and radius. An area is its border: lon, lat pairs of all rings, each ring closed, a
pair of NaN between two rings; the first NaN's sign is minus where the next ring begins another part, else that ring is
a hole. No part has fewer than four pairs, so that the length tells a circle from an area.

Shapes of a library, pieces of edges and enclosing circles are many times larger and seldom needed: they are made when
somebody asks, and the newest are kept.
"""

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from math import isnan, nan
from typing import Final, NewType, TypeAlias

import numpy as np
from shapely import MultiPolygon, Polygon

from geo_offers.places.earth import FloatArray
from geo_offers.places.geometry import Area, Box, Circle, Geometry, bounds, round_bounds

Outline = NewType("Outline", bytes)
Position: TypeAlias = tuple[float, float]
Drawn: TypeAlias = Geometry | Outline
"""A geometry, or its outline."""

KEPT: Final = 1_024
"""Geometries; with 20 corners each they take some 2 MB."""

MIN_CORNERS: Final = 4
"""Of a ring, its first again as its last among them."""

_ROUND: Final = struct.Struct("=3d")
_HOLE: Final = (nan, nan)
_PART: Final = (-nan, nan)


def outline_of(drawn: Drawn) -> Outline:
    """The outline of a geometry; an outline stays what it is."""
    if isinstance(drawn, bytes):
        return Outline(drawn)
    if isinstance(drawn, Circle):
        return round_outline(drawn.lat, drawn.lon, drawn.radius_m)
    parts = [drawn.shape] if isinstance(drawn.shape, Polygon) else drawn.shape.geoms
    return border_outline([[ring.coords for ring in (part.exterior, *part.interiors)] for part in parts])


def round_outline(lat: float, lon: float, radius_m: float) -> Outline:
    """The outline of a circle."""
    return Outline(_ROUND.pack(lat, lon, radius_m))


def border_outline(parts: Sequence[Sequence[Sequence[Position]]]) -> Outline:
    """The outline of an area: of each part the rings, the shell first, as GeoJSON has them: lon, lat, and closed.

    ValueError where a ring is not closed or has no area to it, or leaves the globe. Whether rings cross is not asked.
    """
    numbers = array("d")
    for part in parts:
        for place, ring in enumerate(part):
            if len(ring) < MIN_CORNERS or ring[0] != ring[-1]:
                raise ValueError("a ring that is not closed")
            if numbers:
                numbers.extend(_HOLE if place else _PART)
            numbers.extend(chain.from_iterable(ring))
    if len(numbers) < 2 * MIN_CORNERS or not (_within(numbers[::2], 180) and _within(numbers[1::2], 90)):
        raise ValueError("no area on the globe")
    return Outline(numbers.tobytes())


def _within(degrees: "array[float]", most: float) -> bool:
    """No comparison with NaN holds."""
    return not (max(degrees) > most or min(degrees) < -most)


@lru_cache(maxsize=KEPT)
def geometry_of(outline: Outline) -> Geometry:
    """The geometry of an outline."""
    if is_round(outline):
        return Circle(*_ROUND.unpack(outline))
    polygons = [Polygon(shell, holes) for shell, *holes in rings_of(outline)]
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
    return [(box_around(shell), (shell[0, 1], shell[0, 0])) for shell, *_ in rings_of(outline)]


def rings_of(outline: Outline) -> list[list[FloatArray]]:
    """The rings of each part of an area, lon, lat pairs, shape (n, 2), closed, the shell first."""
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
        return round_bounds(*_ROUND.unpack(outline))
    south, west, north, east = zip(*(box for box, _ in parts_of(outline)), strict=True)
    box = min(south), min(west), max(north), max(east)
    return (box,) if box[1] > -180 or box[3] < 180 else bounds(geometry_of(outline))
