"""The plain table of fences: dictionaries of H3 cells, tested by the library's geometry.

It needs nothing but Python. It is what the compiled one is compared with, and shares neither cells nor tests with it.
"""

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np
import shapely
from h3.api import basic_int as h3

from geo_offers.places.cells import FINE, Cover, coarse_of, cover, square_of, squares
from geo_offers.places.earth import BoolArray, FloatArray, IntArray, ecef, ecef_array
from geo_offers.places.geometry import Area, Circle, Geometry, contains_one
from geo_offers.places.outline import Drawn, geometry_of

Entry: TypeAlias = tuple[int, Geometry | None]
"""A fence's number, and what to test a point with; nothing where the place lies wholly inside the fence."""


class PlainTable:
    """See `table.Table`."""

    def __init__(self) -> None:
        self._covers: dict[int, Cover] = {}
        self._places: dict[int, tuple[Entry, ...]] = {}
        self._in_squares = 0  # fences: mostly there is none, and no lookup asks

    @staticmethod
    def cover(drawn: Drawn) -> Cover:
        return cover(_geometry(drawn))

    def put(self, number: int, drawn: Drawn, covered: Cover) -> None:
        geometry = _geometry(drawn)
        self._covers[number] = covered
        for places, entry in ((covered.full, (number, None)), (covered.partial, (number, geometry))):
            for place in places:
                self._places[place] = (*self._places.get(place, ()), entry)
        self._in_squares += covered.in_squares

    def remove(self, number: int) -> None:
        covered = self._covers.pop(number)
        for place in covered.places:
            rest = tuple([entry for entry in self._places[place] if entry[0] != number])
            if rest:
                self._places[place] = rest
            else:
                del self._places[place]
        self._in_squares -= covered.in_squares

    def places(self, number: int) -> Sequence[int]:
        return self._covers[number].places

    def count(self, place: int) -> int:
        return len(self._places.get(place, ()))

    @property
    def kernel(self) -> None:
        return None

    def locate_one(self, lat: float, lon: float) -> Sequence[int]:
        entries = self._entries(lat, lon)
        if not entries:
            return ()
        point = ecef(lat, lon)
        return [number for number, test in entries if test is None or contains_one(test, lat, lon, point)]

    def locate(self, lat: FloatArray, lon: FloatArray) -> tuple[IntArray, IntArray]:
        points: list[int] = []
        numbers: list[int] = []
        tests: list[Geometry | None] = []
        for point, (a, b) in enumerate(zip(lat.tolist(), lon.tolist(), strict=True)):
            for number, test in self._entries(a, b):
                points.append(point)
                numbers.append(number)
                tests.append(test)
        at = np.array(points, np.int32)
        inside = _inside(lat[at], lon[at], tests)
        return np.bincount(at[inside], minlength=len(lat)).astype(np.int32), np.array(numbers, np.int32)[inside]

    def near(self, lat0: float, lon0: float, lat1: float, lon1: float) -> Collection[int]:
        places = _cells_along(lat0, lon0, lat1, lon1)
        if self._in_squares:
            places |= squares([(min(lat0, lat1), min(lon0, lon1), max(lat0, lat1), max(lon0, lon1))])
        return {number for place in places for number, _ in self._places.get(place, ())}

    def _entries(self, lat: float, lon: float) -> tuple[Entry, ...]:
        """Everything filed where the point is."""
        cell = h3.latlng_to_cell(lat, lon, FINE)
        entries = self._places.get(cell, ()) + self._places.get(coarse_of(cell), ())
        return entries + self._places.get(square_of(lat, lon), ()) if self._in_squares else entries


def _geometry(drawn: Drawn) -> Geometry:
    return geometry_of(drawn) if isinstance(drawn, bytes) else drawn


def _inside(lat: FloatArray, lon: FloatArray, tests: Sequence[Geometry | None]) -> BoolArray:
    """Which points are inside what each is to be tested with: all circles in one go, all areas in another."""
    inside = np.array([test is None for test in tests], np.bool_)
    circles = {number: test for number, test in enumerate(tests) if isinstance(test, Circle)}
    if circles:
        at = np.array(list(circles))
        away = ecef_array(lat[at], lon[at]) - np.array([circle.centre for circle in circles.values()]).T
        inside[at] = np.sum(away * away, axis=0) <= np.array([circle.chord2_m2 for circle in circles.values()])
    areas = {number: test for number, test in enumerate(tests) if isinstance(test, Area)}
    if areas:
        at = np.array(list(areas))
        shapes = np.array([area.shape for area in areas.values()])
        held = shapely.intersects_xy(shapes, lon[at], lat[at])
        seam = np.abs(lon[at]) == 180  # one meridian, two names
        if seam.any():
            held |= seam & shapely.intersects_xy(shapes, -lon[at], lat[at])
        inside[at] = held
    return inside


def _cells_along(lat0: float, lon0: float, lat1: float, lon1: float) -> set[int]:
    """Cells of both levels that a short way can pass through."""
    start, end = h3.latlng_to_cell(lat0, lon0, FINE), h3.latlng_to_cell(lat1, lon1, FINE)
    if start == end:  # cells are convex
        return {start, coarse_of(start)}
    middle = h3.latlng_to_cell((lat0 + lat1) / 2, (lon0 + lon1) / 2, FINE)
    fine = h3.grid_disk(middle, 1)
    return {*fine, *map(coarse_of, fine)}
