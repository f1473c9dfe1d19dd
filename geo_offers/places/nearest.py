"""The nearest borders of fences, by a plain search: what the compiled one (`balls.py`) is compared with."""

import bisect
import math
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

import rtree

from geo_offers.places.earth import Ecef, arc_m, ecef
from geo_offers.places.geometry import Circle, Geometry, border_distance_one, bounds, enclosing
from geo_offers.places.outline import Drawn, geometry_of

NEAR_M = 1_000_000.0
"""Up to here an arc is at most 0.2 % longer than its chord."""


Around: TypeAlias = tuple[float, float, float, bool]
"""A circle around a fence: lat, lon, radius in metres along the ground, and whether it is the fence itself."""


class Nearest(Protocol):
    """Borders of fences, by number. Not safe for use by several threads at once."""

    def put(self, number: int, drawn: Drawn) -> None:
        """File a fence that is not there."""
        ...

    def remove(self, number: int) -> None:
        """Take out a fence that is there."""
        ...

    @property
    def kernel(self) -> Any:
        """What other compiled code may ask directly; None where nothing is compiled."""
        ...

    def nearest(self, lat: float, lon: float, limit: int) -> list[tuple[int, float]]:
        """Numbers of the `limit` fences whose borders are nearest, with unsigned metres, ascending by these."""
        ...

    def regions(self, lat: float, lon: float, limit: int) -> list[tuple[int, float, Around | None]]:
        """As `nearest`, and a circle around each fence; None where the fence's geometry is to be asked for it."""
        ...


class PlainNearest:
    """See `Nearest`. An R-tree's order is by degrees and only seeds the search.

    The distance found there bounds a circle, and whatever lies in that is measured, one by one.
    """

    def __init__(self) -> None:
        self._geometries: dict[int, Geometry] = {}
        self._tree = rtree.index.Index(properties=rtree.index.Property(leaf_capacity=32, index_capacity=32))

    def put(self, number: int, drawn: Drawn) -> None:
        geometry = geometry_of(drawn) if isinstance(drawn, bytes) else drawn
        self._geometries[number] = geometry
        for min_lat, min_lon, max_lat, max_lon in bounds(geometry):
            self._tree.insert(number, (min_lon, min_lat, max_lon, max_lat))

    def remove(self, number: int) -> None:
        for min_lat, min_lon, max_lat, max_lon in bounds(self._geometries.pop(number)):
            self._tree.delete(number, (min_lon, min_lat, max_lon, max_lat))

    @property
    def kernel(self) -> None:
        return None

    def nearest(self, lat: float, lon: float, limit: int) -> list[tuple[int, float]]:
        if limit < 1:
            return []
        point = ecef(lat, lon)
        numbers = set(self._tree.nearest((lon, lat, lon, lat), 2 * limit))  # a fence may have two boxes
        ceilings = sorted(_at_most_m(self._geometries[number], point) for number in numbers)
        if len(ceilings) >= limit:  # far away, distances are 1 % off
            for min_lat, min_lon, max_lat, max_lon in bounds(Circle(lat, lon, ceilings[limit - 1] * 1.02 + 1.0)):
                numbers.update(self._tree.intersection((min_lon, min_lat, max_lon, max_lat)))
        return self._measured(numbers, lat, lon, limit)

    def regions(self, lat: float, lon: float, limit: int) -> list[tuple[int, float, Around | None]]:
        return [(number, away_m, None) for number, away_m in self.nearest(lat, lon, limit)]

    def _measured(self, numbers: Iterable[int], lat: float, lon: float, limit: int) -> list[tuple[int, float]]:
        """Only what can be near enough, by the circle around it, is measured."""
        point = ecef(lat, lon)
        ranked: list[tuple[float, int]] = []
        for least_m, number in sorted((_at_least_m(self._geometries[number], point), number) for number in numbers):
            if len(ranked) >= limit and least_m > ranked[limit - 1][0]:
                break
            bisect.insort(ranked, (abs(border_distance_one(self._geometries[number], lat, lon)), number))
        return [(number, away_m) for away_m, number in ranked[:limit]]


def _at_least_m(geometry: Geometry, point: Ecef) -> float:
    """No border is nearer: the straight line through the Earth to the circle around it, shorter than any way there."""
    circle = enclosing(geometry)
    return max(0.0, math.dist(point, circle.centre) - circle.radius_m) * 0.98


def _at_most_m(geometry: Geometry, point: Ecef) -> float:
    """Some border is as near: exact to 0.2 % for a circle, by the circle around it for an area."""
    circle = enclosing(geometry)
    chord = math.dist(point, circle.centre)
    arc = chord * 1.002 if chord < NEAR_M else arc_m(chord, circle.earth_m)
    if isinstance(geometry, Circle):
        return max(arc - circle.radius_m, circle.radius_m - chord)
    return arc * 1.02 + circle.radius_m
