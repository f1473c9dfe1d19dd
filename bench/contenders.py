"""The indexes that are compared: each finds for every point the fences that hold it, by the same exact test.

Ours answers with fences, sorted, a tuple a point. The others are given every advantage: their batches answer with bare
arrays of pairs (point, fence), and circles are told by arrays made beforehand.
"""

from collections.abc import Sequence, Sized
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import rtree
import shapely

from geo_offers.places.earth import FloatArray, ecef, ecef_array
from geo_offers.places.fences import Geofence
from geo_offers.places.geometry import Circle, bounds, contains_one
from geo_offers.places.index import GeofenceIndex

Numbers: TypeAlias = npt.NDArray[np.int64]
Pairs: TypeAlias = set[tuple[int, int]]


class Contender(Protocol):
    """An index over fences that are numbered by their place in the list."""

    name: str

    def one(self, lat: float, lon: float) -> Sized:
        """The fences that hold one point."""
        ...

    def many(self, lat: FloatArray, lon: FloatArray) -> object:
        """The fences that hold each of n points; shapes (n,)."""
        ...

    def pairs(self, lat: FloatArray, lon: FloatArray) -> Pairs:
        """What `many` says, as (point, fence) numbers."""
        ...


class Ours:
    """The product's own."""

    name = "GeofenceIndex"

    def __init__(self, index: GeofenceIndex, fences: Sequence[Geofence]) -> None:
        self.one = index.locate_one
        self.many = index.locate
        self._number = {fence.id: number for number, fence in enumerate(fences)}

    def pairs(self, lat: FloatArray, lon: FloatArray) -> Pairs:
        found = self.many(lat, lon)
        return {(point, self._number[fence.id]) for point, fences in enumerate(found) for fence in fences}


class _ByBox:
    """What both trees do with the fences whose boxes hold a point."""

    def __init__(self, fences: Sequence[Geofence]) -> None:
        self._geometries = [fence.geometry for fence in fences]
        circles = [g if isinstance(g, Circle) else None for g in self._geometries]
        self._is_circle = np.array([circle is not None for circle in circles])
        self._centre = np.array([circle.centre if circle else (0.0, 0.0, 0.0) for circle in circles]).T
        self._chord2_m2 = np.array([circle.chord2_m2 if circle else 0.0 for circle in circles])
        self._shapes = np.array([None if isinstance(g, Circle) else g.shape for g in self._geometries])

    def _exact_one(self, numbers: Sequence[int], lat: float, lon: float) -> list[int]:
        if not len(numbers):
            return []
        point = ecef(lat, lon)
        return [number for number in numbers if contains_one(self._geometries[number], lat, lon, point)]

    def _exact(self, points: Numbers, fences: Numbers, lat: FloatArray, lon: FloatArray) -> tuple[Numbers, Numbers]:
        """Keep the pairs that pass: all circles in one go, all areas in another."""
        inside = np.empty(len(points), dtype=np.bool_)
        circle = self._is_circle[fences]
        at, on = points[circle], fences[circle]
        away = ecef_array(lat[at], lon[at]) - self._centre[:, on]
        inside[circle] = np.einsum("ij,ij->j", away, away) <= self._chord2_m2[on]
        at, on = points[~circle], fences[~circle]
        inside[~circle] = shapely.intersects_xy(self._shapes[on], lon[at], lat[at])
        return points[inside], fences[inside]


class Strtree(_ByBox):
    """Shapely's packed R-tree over the fences' boxes; it cannot be changed once built."""

    name = "shapely STRtree"

    def __init__(self, fences: Sequence[Geofence]) -> None:
        super().__init__(fences)
        boxes = _boxes(fences)
        self._tree = shapely.STRtree(shapely.box(*boxes))

    def one(self, lat: float, lon: float) -> list[int]:
        return self._exact_one(self._tree.query(shapely.Point(lon, lat)).tolist(), lat, lon)

    def many(self, lat: FloatArray, lon: FloatArray) -> tuple[Numbers, Numbers]:
        points, fences = self._tree.query(shapely.points(lon, lat))
        return self._exact(points, fences, lat, lon)

    def pairs(self, lat: FloatArray, lon: FloatArray) -> Pairs:
        return _as_pairs(*self.many(lat, lon))


class Rtree(_ByBox):
    """The `rtree` package over the fences' boxes; a batch is its own vectorised call."""

    name = "rtree"

    def __init__(self, fences: Sequence[Geofence]) -> None:
        super().__init__(fences)
        corners = np.array(_boxes(fences)).T
        self._tree = rtree.index.Index((number, box, None) for number, box in enumerate(corners.tolist()))

    def one(self, lat: float, lon: float) -> list[int]:
        return self._exact_one(list(self._tree.intersection((lon, lat, lon, lat))), lat, lon)

    def many(self, lat: FloatArray, lon: FloatArray) -> tuple[Numbers, Numbers]:
        corners = np.column_stack((lon, lat))
        fences, counts = self._tree.intersection_v(corners, corners)
        points = np.repeat(np.arange(len(lat)), counts.astype(np.int64))
        return self._exact(points, fences.astype(np.int64), lat, lon)

    def pairs(self, lat: FloatArray, lon: FloatArray) -> Pairs:
        return _as_pairs(*self.many(lat, lon))


def _boxes(fences: Sequence[Geofence]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Columns min_lon, min_lat, max_lon, max_lat; no fence of the load has two boxes."""
    min_lat, min_lon, max_lat, max_lon = np.array([bounds(fence.geometry)[0] for fence in fences]).T
    return min_lon, min_lat, max_lon, max_lat


def _as_pairs(points: Numbers, fences: Numbers) -> Pairs:
    return set(zip(points.tolist(), fences.tolist(), strict=True))
