"""Which fences a point is in: H3 cells propose, exact geometry decides.

Every active fence is filed in a table (`table.py`) under the places of its cover (`cells.py`), either as "wholly
inside" (no test needed) or as "to be tested". One lookup is one H3 cell, two or three probes of the table, and a test
for each fence whose border is near: it costs no more than what is filed under the fullest place, which `count` tells.
What has no place is answered by the borders in space (`nearest.py`): the nearest fences, and what a long way crosses.

Changes apply at once, one fence at a time. The slow part of a change is its cover: `prepare` computes that anywhere,
`put` takes it. Latitudes and longitudes must be in range: H3 gives a cell for any number, silently.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from geo_offers.places.cells import Cover
from geo_offers.places.earth import EQUATOR_M, Ecef, FloatArray, ecef
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import (
    Circle,
    border_distance_one,
    contains_one,
    crosses,
    enclosing,
    short_way,
)
from geo_offers.places.nearest import Around, Nearest
from geo_offers.places.outline import is_round, outline_of
from geo_offers.places.table import BestTable, Table

try:
    from geo_offers.places.balls import CompiledNearest as BestNearest
except ImportError:  # no compiler where it was installed
    from geo_offers.places.nearest import PlainNearest as BestNearest  # type: ignore[assignment]

SHORT_WAY_M = 100.0
"""A way whose half is shorter than the shortest edge of a fine cell (over 50 m anywhere) stays within one ring of
cells around its middle."""
FEW = 16
"""Where more borders than these are near a piece of a long way, its halves are looked at."""
MAX_LEGS = 256
AROUND_MOST = 64
"""So many fences are told of that have a border near a point."""

WITHIN_M = 0.1
"""Farther than two searches differ on a distance."""

NOWHERE = Cover()
_ID = attrgetter("id")

_GONE = Geofence(FenceId(""), 0, "", Circle(0, 0, 0), None, (), active=False, detect=Detect("raw"))
"""Stands at a spare number."""


def prepare(fence: Geofence) -> Cover:
    """Compute the cover that `GeofenceIndex.put` needs; 0.1 to 100 ms of pure computing, fit for a worker."""
    return BestTable.cover(fence.outline) if fence.active else NOWHERE


class GeofenceIndex:
    """A mutable set of fences by id. Not safe for use by several threads at once."""

    def __init__(
        self, fences: Iterable[Geofence] = (), table: Table | None = None, borders: Nearest | None = None
    ) -> None:
        self.numbers: dict[FenceId, int] = {}
        """In the table, among the borders and in `by_number`; read only."""
        self._table: Table = BestTable() if table is None else table
        self._borders: Nearest = BestNearest() if borders is None else borders
        self.count: Callable[[int], int] = self._table.count
        """How many fences are filed under a place: a lookup there looks at each."""
        self.by_number: list[Geofence] = []
        """By the numbers that the table gives; read only."""
        self._spare: list[int] = []
        self.filed = 0
        """Under how many places all fences together are filed: most of the memory goes by it."""
        self.calibrated = 0
        """So many of the active fences weigh the evidence."""
        self.changes = 0
        """Counts every put and remove: what was found at one count stands until the next."""
        for fence in fences:
            self.put(fence)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Geofence]:
        """All fences, inactive ones too, in no order that means anything."""
        return (self.by_number[number] for number in self.numbers.values())

    def get(self, fence: FenceId) -> Geofence | None:
        number = self.numbers.get(fence)
        return None if number is None else self.by_number[number]

    def ids(self) -> tuple[FenceId, ...]:
        return tuple(self.numbers)

    def put(self, fence: Geofence, prepared: Cover | None = None) -> None:
        """Insert a fence, or replace the one of that id. `prepared` must be `prepare(fence)`, or is computed here."""
        self.remove(fence.id)
        self.changes += 1
        number = self.numbers[fence.id] = self._number(fence)
        if fence.active:
            covered = prepared or self._table.cover(fence.outline)
            self._table.put(number, fence.outline, covered)
            self._borders.put(number, fence.outline)
            self.filed += len(covered)
            if fence.detect.mode == "calibrated":
                self.calibrated += 1
                if self.kernel is not None:
                    self.kernel.calibrate(number)

    def _number(self, fence: Geofence) -> int:
        if self._spare:
            number = self._spare.pop()
            self.by_number[number] = fence
        else:
            number = len(self.by_number)
            self.by_number.append(fence)
        return number

    def remove(self, fence: FenceId) -> bool:
        """Take a fence out; False when there was none of that id."""
        number = self.numbers.pop(fence, None)
        if number is None:
            return False
        self.changes += 1
        held = self.by_number[number]
        if held.active:
            self.filed -= len(self._table.places(number))
            self._table.remove(number)
            self._borders.remove(number)
            self.calibrated -= held.detect.mode == "calibrated"
        self.by_number[number] = _GONE
        self._spare.append(number)
        return True

    def places_of(self, fence: FenceId) -> Sequence[int]:
        """Tell where a fence is filed; nowhere when there is none of that id."""
        number = self.numbers.get(fence)
        return () if number is None or not self.by_number[number].active else self._table.places(number)

    @property
    def kernel(self) -> Any:
        """The compiled table, for other compiled code; None where the plain one serves."""
        return self._table.kernel

    @property
    def borders(self) -> Any:
        """The compiled borders, for other compiled code, under the table's numbers; None where plain ones serve."""
        return self._borders.kernel

    def serial(self, fence: FenceId) -> int:
        """Number the filing of a fence, by another number each time that it is put.

        0 where none of that id is filed, or the plain table serves.
        """
        number, kernel = self.numbers.get(fence), self.kernel
        active = number is not None and kernel is not None and self.by_number[number].active
        return int(kernel.serial(number)) if active else 0

    def locate_one(self, lat: float, lon: float) -> tuple[Geofence, ...]:
        """Find the active fences that hold the point, sorted by id."""
        numbers = self._table.locate_one(lat, lon)
        return self._fences(numbers, lat, lon) if numbers else ()

    def locate(self, lat: FloatArray, lon: FloatArray) -> list[tuple[Geofence, ...]]:
        """For each of n points what `locate_one` says. lat, lon: degrees, shape (n,)."""
        counts, hits = self._table.locate(lat, lon)
        found: list[tuple[Geofence, ...]] = [()] * len(counts)
        numbers, start, held = hits.tolist(), 0, np.flatnonzero(counts)
        columns = (column.tolist() for column in (held, counts[held], lat[held], lon[held]))
        for point, count, a, b in zip(*columns, strict=True):
            found[point] = self._fences(numbers[start : start + count], a, b)
            start += count
        return found

    def _fences(self, numbers: Sequence[int], lat: float, lon: float) -> tuple[Geofence, ...]:
        """The fences of these hits at a point; where doubles could not tell, exact arithmetic does."""
        found = [self.by_number[number] for number in numbers if number >= 0]
        for number in numbers:
            if number < 0:
                fence = self.by_number[~number]
                if contains_one(fence.geometry, lat, lon, ecef(lat, lon)):
                    found.append(fence)
        return _by_id(found)

    def crossed(self, lat0: float, lon0: float, lat1: float, lon1: float) -> tuple[Geofence, ...]:
        """Active fences that the straight way between two fixes runs through with neither fix inside, sorted by id."""
        kernel = self.kernel
        proposed = None if kernel is None else kernel.crossing(lat0, lon0, lat1, lon1)
        certain: list[Geofence] = []
        near: Collection[Geofence]
        if proposed is None:
            near = tuple(self._near_way(lat0, lon0, lat1, short_way(lon0, lon1)))
        else:
            certain = [self.by_number[number] for number in proposed if number >= 0]
            near = [self.by_number[~number] for number in proposed if number < 0]
        if not near:
            return _by_id(certain)
        start, end = ecef(lat0, lon0), ecef(lat1, lon1)
        return _by_id(
            certain
            + [
                fence
                for fence in near
                if not contains_one(fence.geometry, lat0, lon0, start)
                and not contains_one(fence.geometry, lat1, lon1, end)
                and crosses(fence.geometry, lat0, lon0, lat1, lon1)
            ]
        )

    def border_distance(self, fence: Geofence, lat: float, lon: float) -> float:
        """Signed metres from a point to a fence's border, negative inside; to 2 cm up to some kilometres."""
        number, kernel = self.numbers.get(fence.id), self.kernel
        if kernel is not None and number is not None and fence.active and self.by_number[number] is fence:
            away_m: float | None = kernel.distance(number, lat, lon)
            if away_m is not None:
                return away_m
        return border_distance_one(fence.geometry, lat, lon)

    def nearest(self, lat: float, lon: float, limit: int) -> list[tuple[Geofence, float]]:
        """Rank the `limit` active fences whose borders are nearest, with unsigned distances in metres, ascending."""
        by_number = self.by_number
        return [(by_number[number], away_m) for number, away_m in self._borders.nearest(lat, lon, limit)]

    def around(self, lat: float, lon: float, reach_m: float) -> list[tuple[Geofence, float]]:
        """Find the active fences whose borders are no farther than `reach_m`, with signed metres, negative inside.

        They come by unsigned distance, then by id. Where there are more than `AROUND_MOST`, these are the first ones.
        """
        kernel, borders = self.kernel, self.borders
        if kernel is None or borders is None:
            measured = [
                (self.by_number[number], border_distance_one(self.by_number[number].geometry, lat, lon))
                for number, _ in self._within(lat, lon, reach_m + WITHIN_M, None) or ()
            ]
            near = [(fence, away_m) for fence, away_m in measured if abs(away_m) <= reach_m]
        else:
            near = self._around(kernel, borders, lat, lon, reach_m)
        near.sort(key=_by_distance)
        return near[:AROUND_MOST]

    def _around(
        self, kernel: Any, borders: Any, lat: float, lon: float, reach_m: float
    ) -> list[tuple[Geofence, float]]:
        """As many as `around` needs, and all that are as near as the last of them."""
        most = AROUND_MOST + 1
        while True:
            found, _ = borders.around(kernel, lat, lon, reach_m, most)
            if len(found) < most or abs(found[-1][1]) > abs(found[AROUND_MOST - 1][1]):
                return [(self.by_number[number], away_m) for number, away_m in found]
            most *= 4

    def regions(self, lat: float, lon: float, limit: int) -> list[tuple[FenceId, float, Around]]:
        """As `nearest`: of each fence its id, the distance in metres, and a circle around it."""
        by_number = self.by_number
        return [
            (by_number[number].id, away_m, around or _around(by_number[number]))
            for number, away_m, around in self._borders.regions(lat, lon, limit)
        ]

    def _near_way(self, lat0: float, lon0: float, lat1: float, lon1: float) -> Iterable[Geofence]:
        """Propose all fences that the way may touch and that hold neither end: by places when it is short."""
        if 2 * _half_m(lat0, lon0, lat1, lon1) <= SHORT_WAY_M:
            start = ecef(lat0, lon0)
            near = (self.by_number[number] for number in self._table.near(lat0, lon0, lat1, lon1))
            return [fence for fence in near if _reaches(enclosing(fence.geometry), start, SHORT_WAY_M)]
        return [self.by_number[number] for number in self._along(lat0, lon0, lat1, lon1)]

    def _along(self, lat0: float, lon0: float, lat1: float, lon1: float) -> set[int]:
        """Numbers of the fences whose borders a long way may touch.

        A border that it touches is no farther from its middle than half its length. Where few are as near they are
        looked at, else the way's halves are.
        """
        along: set[int] = set()
        todo = [(lat0, lon0, lat1, lon1)]
        least_m = max(SHORT_WAY_M / 2, _half_m(*todo[0]) / MAX_LEGS)
        while todo:
            leg = todo.pop()
            lat0, lon0, lat1, lon1 = leg
            lat, lon, half_m = (lat0 + lat1) / 2, (lon0 + lon1) / 2, _half_m(*leg)
            near = self._within(lat, lon, half_m * 1.01 + 1.0, None if half_m <= least_m else FEW)
            if near is None:
                todo += (lat0, lon0, lat, lon), (lat, lon, lat1, lon1)
                continue
            for number, (around_lat, around_lon, around_m, _) in near:
                if number not in along and crosses(Circle(around_lat, around_lon, around_m + 1.0), *leg):
                    along.add(number)
        return along

    def _within(self, lat: float, lon: float, reach_m: float, most: int | None) -> list[tuple[int, Around]] | None:
        """Numbers of the fences whose borders are so near, and circles around them; None of more than `most`."""
        lon, limit = short_way(0.0, lon), most or 4 * FEW
        while True:
            found = self._borders.regions(lat, lon, limit + 1)
            if len(found) <= limit or found[-1][1] > reach_m:
                return [
                    (number, around or _around(self.by_number[number]))
                    for number, away_m, around in found
                    if away_m <= reach_m
                ]
            if most is not None:
                return None
            limit *= 4


def _around(fence: Geofence) -> Around:
    circle = enclosing(fence.geometry)
    return circle.lat, circle.lon, circle.radius_m, is_round(outline_of(fence.outline))


def _by_distance(near: tuple[Geofence, float]) -> tuple[float, FenceId]:
    fence, away_m = near
    return abs(away_m), fence.id


def _by_id(fences: list[Geofence]) -> tuple[Geofence, ...]:
    if len(fences) > 1:
        fences.sort(key=_ID)
    return tuple(fences)


def _reaches(circle: Circle, point: Ecef, away_m: float) -> bool:
    """Whether any of the circle can be so near, by straight lines through the Earth."""
    return math.dist(point, circle.centre) <= math.sqrt(circle.chord2_m2) + away_m


def _half_m(lat0: float, lon0: float, lat1: float, lon1: float) -> float:
    """Half the length of a way along the ground or somewhat more, near the poles too."""
    widest = math.cos(math.radians(min(abs(lat0), abs(lat1)))) if lat0 * lat1 > 0 else 1.0
    turn = math.radians(math.hypot(lat1 - lat0, (lon1 - lon0) * widest))
    return turn * EQUATOR_M * 1.01 / 2
