"""Which fences a point is in: H3 cells propose, exact geometry decides.

Every active fence is filed under the places of its cover (`cells.py`), either as "wholly inside" (no test needed) or as
"to be tested". One lookup is one H3 cell, two or three dictionary probes, and a test for each fence whose border is
near: it costs no more than what is filed under the fullest place, which `count` and `growth` tell before a change. An
R-tree over all active fences answers what has no place: the nearest fences, and a long way's crossings.

Changes apply at once, one fence at a time. The slow part of a change is its cover: `prepare` computes that anywhere,
`put` takes it. Latitudes and longitudes must be in range: H3 gives a cell for any number, silently.
"""

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import rtree
import shapely
from h3.api import basic_int as h3

from geo_offers.places.cells import FINE, Cover, coarse_of, cover, square_of, squares
from geo_offers.places.earth import EQUATOR_M, Ecef, FloatArray, arc_m, ecef, ecef_array
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import (
    Box,
    Circle,
    Geometry,
    border_distance_one,
    bounds,
    contains_one,
    crosses,
    enclosing,
    short_way,
)

BATCH_FROM = 16
"""Below this many points a loop over `locate_one` is faster than setting up arrays."""
SHORT_WAY_M = 100.0
"""A way whose half is shorter than the shortest edge of a fine cell (over 50 m anywhere) stays within one ring of
cells around its middle."""
LEG_DEG = 0.02
"""A long way is looked up box by box of about this size, or its one box would propose half a country."""
MAX_LEGS = 256
NEAR_M = 1_000_000.0
"""Up to here an arc is at most 0.2 % longer than its chord."""

Hit: TypeAlias = tuple[Geofence, bool]
"""A fence filed under a place, and whether the place lies wholly inside it."""

NOWHERE = Cover()


@dataclass(slots=True)
class _Filed:
    """Where a fence was filed, to take it out again. `number` is its key in the R-tree."""

    fence: Geofence
    number: int
    cover: Cover
    boxes: tuple[Box, ...]


def prepare(fence: Geofence) -> Cover:
    """Compute the cover that `GeofenceIndex.put` needs; 0.1 to 100 ms of pure computing, fit for a worker."""
    return cover(fence.geometry) if fence.active else NOWHERE


class GeofenceIndex:
    """A mutable set of fences by id. Not safe for use by several threads at once."""

    def __init__(self, fences: Iterable[Geofence] = ()) -> None:
        self._filed: dict[FenceId, _Filed] = {}
        self._by_number: dict[int, Geofence] = {}
        self._next_number = 0
        self.changes = 0
        """Counts every put and remove: what was found at one count stands until the next."""
        self._places: dict[int, tuple[Hit, ...]] = {}
        self._in_squares = 0  # fences: mostly there is none, and no lookup asks
        # Small nodes: at the library's default of 100 a delete costs five times as much.
        self._tree = rtree.index.Index(properties=rtree.index.Property(leaf_capacity=32, index_capacity=32))
        for fence in fences:
            self.put(fence)

    def __len__(self) -> int:
        return len(self._filed)

    def __iter__(self) -> Iterator[Geofence]:
        """All fences, inactive ones too, in no order that means anything."""
        return (filed.fence for filed in self._filed.values())

    def get(self, fence: FenceId) -> Geofence | None:
        filed = self._filed.get(fence)
        return filed.fence if filed else None

    def ids(self) -> tuple[FenceId, ...]:
        return tuple(self._filed)

    def put(self, fence: Geofence, prepared: Cover | None = None) -> None:
        """Insert a fence, or replace the one of that id. `prepared` must be `prepare(fence)`, or is computed here."""
        covered = prepare(fence) if prepared is None else prepared
        self.remove(fence.id)
        self.changes += 1
        self._next_number += 1
        filed = _Filed(fence, self._next_number, covered, bounds(fence.geometry) if fence.active else ())
        self._filed[fence.id] = filed
        self._by_number[filed.number] = fence
        for places, hit in ((covered.full, ((fence, True),)), (covered.partial, ((fence, False),))):
            for place in places:
                self._places[place] = self._places.get(place, ()) + hit
        self._in_squares += covered.in_squares
        for box in filed.boxes:
            self._tree.insert(filed.number, _xy(box))

    def remove(self, fence: FenceId) -> bool:
        """Take a fence out; False when there was none of that id."""
        filed = self._filed.pop(fence, None)
        if filed is None:
            return False
        self.changes += 1
        del self._by_number[filed.number]
        for place in filed.cover.places:
            rest = tuple([hit for hit in self._places[place] if hit[0] is not filed.fence])
            if rest:
                self._places[place] = rest
            else:
                del self._places[place]
        self._in_squares -= filed.cover.in_squares
        for box in filed.boxes:
            self._tree.delete(filed.number, _xy(box))
        return True

    def cover_of(self, fence: FenceId) -> Cover:
        """Tell where a fence is filed; nowhere when there is none of that id."""
        filed = self._filed.get(fence)
        return filed.cover if filed else NOWHERE

    def count(self, place: int) -> int:
        """How many fences are filed under a place: a lookup there looks at each."""
        return len(self._places.get(place, ()))

    def growth(self, coming: Mapping[FenceId, Cover], going: Iterable[FenceId] = ()) -> Mapping[int, int]:
        """Tell by how many fences places would grow if these were put and those removed; the rest would not grow.

        Like `count` it reads single entries only: a worker may ask while the index goes on changing.
        """
        more: Counter[int] = Counter()
        for covered in coming.values():
            more.update(covered.places)
        for fence in itertools.chain(coming, going):
            more.subtract(self.cover_of(fence).places)
        return {place: count for place, count in more.items() if count > 0}

    def locate_one(self, lat: float, lon: float) -> tuple[Geofence, ...]:
        """Find the active fences that hold the point, sorted by id."""
        hits = self._hits(h3.latlng_to_cell(lat, lon, FINE), lat, lon)
        if not hits:
            return ()
        point = ecef(lat, lon)
        inside = [fence for fence, whole in hits if whole or contains_one(fence.geometry, lat, lon, point)]
        return _by_id(inside)

    def locate(self, lat: FloatArray, lon: FloatArray) -> list[tuple[Geofence, ...]]:
        """For each of n points what `locate_one` says. lat, lon: degrees, shape (n,)."""
        lats, lons = lat.tolist(), lon.tolist()
        if len(lats) < BATCH_FROM:
            return [self.locate_one(a, b) for a, b in zip(lats, lons, strict=True)]
        found: list[list[Geofence]] = [[] for _ in lats]
        open_points: list[int] = []
        open_fences: list[Geofence] = []
        for number, (a, b) in enumerate(zip(lats, lons, strict=True)):
            for fence, whole in self._hits(h3.latlng_to_cell(a, b, FINE), a, b):
                if whole:
                    found[number].append(fence)
                else:
                    open_points.append(number)
                    open_fences.append(fence)
        for number, fence in _truly_inside(lat, lon, open_points, open_fences):
            found[number].append(fence)
        return [_by_id(fences) for fences in found]

    def crossed(self, lat0: float, lon0: float, lat1: float, lon1: float) -> tuple[Geofence, ...]:
        """Active fences that the straight way between two fixes runs through with neither fix inside, sorted by id."""
        near = self._near_way(lat0, lon0, lat1, short_way(lon0, lon1))
        if not near:
            return ()
        start, end = ecef(lat0, lon0), ecef(lat1, lon1)
        return _by_id(
            [
                fence
                for fence in near
                if not contains_one(fence.geometry, lat0, lon0, start)
                and not contains_one(fence.geometry, lat1, lon1, end)
                and crosses(fence.geometry, lat0, lon0, lat1, lon1)
            ]
        )

    def nearest(self, lat: float, lon: float, limit: int) -> list[tuple[Geofence, float]]:
        """Rank the `limit` active fences whose borders are nearest, with signed distances in metres (negative inside).

        Ascending by absolute distance, then by id. The R-tree's own order is by degrees and only seeds the search:
        the distance found there bounds a circle, and whatever lies in that is measured.
        """
        if limit < 1:
            return []
        point = ecef(lat, lon)
        seeds = set(self._tree.nearest((lon, lat, lon, lat), 2 * limit))  # a fence may have two boxes
        ceilings = sorted(_at_most_m(self._by_number[number].geometry, point) for number in seeds)
        if len(ceilings) >= limit:
            around = bounds(Circle(lat, lon, ceilings[limit - 1] * 1.02 + 1.0))  # far away, distances are 1 % off
            seeds.update(*(self._tree.intersection(_xy(box)) for box in around))
        return self._measure(seeds, lat, lon, limit)

    def _measure(self, numbers: Iterable[int], lat: float, lon: float, limit: int) -> list[tuple[Geofence, float]]:
        """Rank the nearest of these fences; only what can be near enough, by the circle around it, is measured."""
        point = ecef(lat, lon)
        fences = [self._by_number[number] for number in numbers]
        floors = sorted((_at_least_m(fence.geometry, point), fence.id, fence) for fence in fences)
        ranked: list[tuple[float, FenceId, Geofence, float]] = []
        for least_m, fence_id, fence in floors:
            if len(ranked) >= limit and least_m > ranked[limit - 1][0]:
                break
            away_m = border_distance_one(fence.geometry, lat, lon)
            bisect.insort(ranked, (abs(away_m), fence_id, fence, away_m))
        return [(fence, away_m) for _, _, fence, away_m in ranked[:limit]]

    def _hits(self, cell: int, lat: float, lon: float) -> tuple[Hit, ...]:
        """Everything filed where the point is."""
        hits = self._places.get(cell, ()) + self._places.get(coarse_of(cell), ())
        return hits + self._places.get(square_of(lat, lon), ()) if self._in_squares else hits

    def _near_way(self, lat0: float, lon0: float, lat1: float, lon1: float) -> Iterable[Geofence]:
        """Propose all fences that the way may touch: by places when it is short, else by boxes along it."""
        near: dict[FenceId, Geofence] = {}
        if _length_at_most(lat0, lon0, lat1, lon1, SHORT_WAY_M):
            start, places = ecef(lat0, lon0), _cells_along(lat0, lon0, lat1, lon1)
            if self._in_squares:
                places |= squares([(min(lat0, lat1), min(lon0, lon1), max(lat0, lat1), max(lon0, lon1))])
            for place in places:
                for fence, _ in self._places.get(place, ()):
                    if _reaches(enclosing(fence.geometry), start, SHORT_WAY_M):
                        near[fence.id] = fence
            return near.values()
        for leg in _legs(lat0, lon0, lat1, lon1):
            for box in _boxes_around(*leg):
                for number in self._tree.intersection(box):
                    fence = self._by_number[number]
                    if fence.id not in near and crosses(enclosing(fence.geometry), *leg):
                        near[fence.id] = fence
        return near.values()


def _xy(box: Box) -> tuple[float, float, float, float]:
    min_lat, min_lon, max_lat, max_lon = box
    return min_lon, min_lat, max_lon, max_lat


def _by_id(fences: list[Geofence]) -> tuple[Geofence, ...]:
    if len(fences) > 1:
        fences.sort(key=lambda fence: fence.id)
    return tuple(fences)


def _truly_inside(
    lat: FloatArray, lon: FloatArray, points: Sequence[int], fences: Sequence[Geofence]
) -> Iterator[tuple[int, Geofence]]:
    """Those pairs of point number and fence that pass the exact test, all circles in one go, all areas in another."""
    circles = [
        (number, fence, fence.geometry)
        for number, fence in zip(points, fences, strict=True)
        if isinstance(fence.geometry, Circle)
    ]
    if circles:
        at = np.array([number for number, _, _ in circles])
        away = ecef_array(lat[at], lon[at]) - np.array([circle.centre for _, _, circle in circles]).T
        limits = np.array([circle.chord2_m2 for _, _, circle in circles])
        for (number, fence, _), inside in zip(circles, (np.sum(away * away, axis=0) <= limits).tolist(), strict=True):
            if inside:
                yield number, fence
    areas = [
        (number, fence, fence.geometry.shape)
        for number, fence in zip(points, fences, strict=True)
        if not isinstance(fence.geometry, Circle)
    ]
    if areas:
        at = np.array([number for number, _, _ in areas])
        shapes = np.array([shape for _, _, shape in areas])
        inside_all = shapely.intersects_xy(shapes, lon[at], lat[at])
        seam = np.abs(lon[at]) == 180
        if seam.any():
            inside_all |= seam & shapely.intersects_xy(shapes, -lon[at], lat[at])
        for (number, fence, _), inside in zip(areas, inside_all.tolist(), strict=True):
            if inside:
                yield number, fence


def _reaches(circle: Circle, point: Ecef, away_m: float) -> bool:
    """Whether any of the circle can be so near, by straight lines through the Earth."""
    return math.dist(point, circle.centre) <= math.sqrt(circle.chord2_m2) + away_m


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


def _length_at_most(lat0: float, lon0: float, lat1: float, lon1: float, limit_m: float) -> bool:
    """By an upper bound of the way's length that holds near the poles too."""
    widest = math.cos(math.radians(min(abs(lat0), abs(lat1)))) if lat0 * lat1 > 0 else 1.0
    turn = math.radians(math.hypot(lat1 - lat0, (lon1 - lon0) * widest))
    return turn * EQUATOR_M * 1.01 <= limit_m


def _cells_along(lat0: float, lon0: float, lat1: float, lon1: float) -> set[int]:
    """Cells of both levels that a way of at most `SHORT_WAY_M` can pass through."""
    start, end = h3.latlng_to_cell(lat0, lon0, FINE), h3.latlng_to_cell(lat1, lon1, FINE)
    if start == end:  # cells are convex
        return {start, coarse_of(start)}
    middle = h3.latlng_to_cell((lat0 + lat1) / 2, (lon0 + lon1) / 2, FINE)
    fine = h3.grid_disk(middle, 1)
    return {*fine, *map(coarse_of, fine)}


def _legs(lat0: float, lon0: float, lat1: float, lon1: float) -> Iterator[tuple[float, float, float, float]]:
    """Cut the way into pieces (lat0, lon0, lat1, lon1) short enough for their boxes to be close around them."""
    longest = max(abs(lat1 - lat0), abs(lon1 - lon0))
    legs = max(1, min(MAX_LEGS, math.ceil(longest / LEG_DEG)))
    stops = [(lat0 + (lat1 - lat0) * leg / legs, lon0 + (lon1 - lon0) * leg / legs) for leg in range(legs + 1)]
    return ((*start, *end) for start, end in itertools.pairwise(stops))


def _boxes_around(lat0: float, lon0: float, lat1: float, lon1: float) -> Iterator[tuple[float, float, float, float]]:
    """Boxes (min_lon, min_lat, max_lon, max_lat) that hold a leg; a leg beyond +-180 is also looked up turned back."""
    turns = (0.0,) if max(abs(lon0), abs(lon1)) < 180 else (0.0, 360.0, -360.0)
    for turn in turns:
        yield min(lon0, lon1) + turn, min(lat0, lat1), max(lon0, lon1) + turn, max(lat0, lat1)
