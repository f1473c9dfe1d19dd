"""Covers: the places under which a fence is filed, and those of them that lie wholly inside it.

Three levels, with one place of each at every point. A fence of store size is covered with H3 cells of resolution 10
(about 130 m across), a larger one with those of 7 (2.4 km); what is larger still, or near a pole, with squares of 5
degrees. A point's resolution-7 cell is taken from its resolution-10 cell by bits alone, and such a parent is logical,
not geometric: its children stick out of its hexagon. So a cell is classified by a hull grown by `GROWTH`, which holds
every point that can be filed under it (planar bound 1.095; sampled in tests/property/test_places_index.py). A grown
hull can only propose too much; exact geometry decides.

The cover is found by flooding outward from the fence itself, so its cost follows the fence and not the fence's box.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial as bound
from typing import TypeAlias

import numpy as np
import shapely
from h3.api import basic_int as h3
from shapely import MultiPolygon, Polygon

from geo_offers.places.earth import EQUATOR_M, Ecef, ecef
from geo_offers.places.geometry import Box, Circle, Geometry, bounds

FINE = 10
COARSE = 7
GROWTH = {FINE: 1.02, COARSE: 1.2}
CELL_M2 = {FINE: 15_047.5, COARSE: 5_161_293.0}
MAX_CELLS = {FINE: 600, COARSE: 8_192}
"""By the box of the fence: about 1.5 km of radius at the fine level, 100 km at the coarse one."""
POLAR_LAT = 85.0
SQUARE_DEG = 5.0
"""Few squares even for half the globe, and few fences of the size of a country in each."""
SIZE_SLACK = 1.1
"""Cells of one fence differ in size by less than this, as size changes slowly over the globe."""

_DIGITS_BELOW_COARSE = (1 << (3 * (15 - COARSE))) - 1
_WITHOUT_RESOLUTION = ~(0xF << 52)
_COLUMNS = round(360 / SQUARE_DEG)
_SQUARES = _COLUMNS * (round(180 / SQUARE_DEG) + 1)  # the last row is the pole alone


WHOLE = 1 << 63
"""Marks a place that lies wholly inside."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Places wholly inside a fence, and places where the exact test decides; cells and squares share no number.

    names: of 8 bytes each in the machine's order, none twice; the top bit is `WHOLE`.
    """

    names: bytes = b""

    @staticmethod
    def of(full: Iterable[int], partial: Iterable[int]) -> "Cover":
        return Cover(array("Q", (*(place | WHOLE for place in full), *partial)).tobytes())

    def __len__(self) -> int:
        return len(self.names) // 8

    @property
    def places(self) -> list[int]:
        """All of them."""
        return [name & ~WHOLE for name in array("Q", self.names)]

    @property
    def full(self) -> list[int]:
        return [name & ~WHOLE for name in array("Q", self.names) if name & WHOLE]

    @property
    def partial(self) -> list[int]:
        return [name for name in array("Q", self.names) if not name & WHOLE]

    @property
    def in_squares(self) -> bool:
        return any(place < _SQUARES for place in self.partial[:1])


Touch: TypeAlias = tuple[bool, bool]
Classify: TypeAlias = Callable[[Sequence[int]], Iterable[Touch]]


def coarse_of(fine_cell: int) -> int:
    """Name the logical parent at the coarse level: resolution bits set to 7, the digits below it to unused."""
    return (fine_cell & _WITHOUT_RESOLUTION) | (COARSE << 52) | _DIGITS_BELOW_COARSE


def square_of(lat: float, lon: float) -> int:
    """Number the square of a point; 180 degrees west and east are one meridian, and in one square."""
    return int((lat + 90) // SQUARE_DEG) * _COLUMNS + int((lon + 180) // SQUARE_DEG) % _COLUMNS


def squares(boxes: Iterable[Box]) -> set[int]:
    """Find the squares that meet the boxes; longitudes may pass 180 degrees."""
    found: set[int] = set()
    for min_lat, min_lon, max_lat, max_lon in boxes:
        rows = range(int((min_lat + 90) // SQUARE_DEG), int((max_lat + 90) // SQUARE_DEG) + 1)
        columns = range(int((min_lon + 180) // SQUARE_DEG), int((max_lon + 180) // SQUARE_DEG) + 1)
        found.update(row * _COLUMNS + column % _COLUMNS for row in rows for column in columns)
    return found


def estimate(boxes: Iterable[Box], resolution: int) -> float:
    """About how many cells the boxes (degrees) hold; costs nothing, so it is asked before any cell is made."""
    area_m2 = 0.0
    for min_lat, min_lon, max_lat, max_lon in boxes:
        height_m = EQUATOR_M * math.radians(max_lat - min_lat)
        width_m = EQUATOR_M * math.radians(max_lon - min_lon) * math.cos(math.radians((min_lat + max_lat) / 2))
        area_m2 += height_m * width_m
    return area_m2 / CELL_M2[resolution]


def level_for(boxes: Sequence[Box]) -> int | None:
    """The level that suits a geometry, by a box around each of its parts; None where squares do."""
    if any(min_lat < -POLAR_LAT or max_lat > POLAR_LAT for min_lat, _, max_lat, _ in boxes):
        return None
    return next((level for level in (FINE, COARSE) if estimate(boxes, level) <= MAX_CELLS[level]), None)


def cover(geometry: Geometry) -> Cover:
    """Find the places of a geometry, at the level that suits its size; slow (0.1 to 100 ms), fit for a worker."""
    boxes = _part_boxes(geometry)
    level = level_for(boxes)
    flooded = None if level is None else _flood(geometry, level)
    return flooded or Cover.of((), squares(boxes))


def _part_boxes(geometry: Geometry) -> Sequence[Box]:
    """Draw a box for each part: one box around far islands would count the sea between them."""
    if isinstance(geometry, Circle):
        return bounds(geometry)
    corners = shapely.bounds(shapely.get_parts(geometry.shape)).tolist()
    return [(min_lat, min_lon, max_lat, max_lon) for min_lon, min_lat, max_lon, max_lat in corners]


def _flood(geometry: Geometry, resolution: int) -> Cover | None:
    """All cells whose grown hull meets the geometry: from a cell of each part on through touching neighbours.

    The cells that truly meet a connected part hang together, and a cell that only its growth brings in is next to one
    of them, so none is missed. None where they are many more than was estimated.
    """
    seeds, classify = (
        _circle_flood(geometry, resolution) if isinstance(geometry, Circle) else _area_flood(geometry.shape, resolution)
    )
    seen, frontier = set(seeds), list(seeds)
    full: list[int] = []
    partial: list[int] = []
    while frontier:
        found: set[int] = set()
        for cell, (touches, whole) in zip(frontier, classify(frontier), strict=True):
            if touches:
                (full if whole else partial).append(cell)
                found.update(h3.grid_disk(cell, 1))
        frontier = list(found - seen)
        seen |= found
        if len(seen) > 4 * MAX_CELLS[resolution]:
            return None
    return Cover.of(full, partial)


def _circle_flood(circle: Circle, resolution: int) -> tuple[set[int], Classify]:
    seed: int = h3.latlng_to_cell(circle.lat, circle.lon, resolution)
    middle = _middle(seed)
    corners = [ecef(lat, lon) for lat, lon in h3.cell_to_boundary(seed)]
    reach_m = max(math.dist(middle, corner) for corner in corners) * SIZE_SLACK * GROWTH[resolution]

    def classify(cells: Sequence[int]) -> list[Touch]:
        away = [math.dist(_middle(cell), circle.centre) for cell in cells]
        return [(d <= circle.radius_m + reach_m, d + reach_m <= circle.radius_m) for d in away]

    return {seed}, classify


def _middle(cell: int) -> Ecef:
    lat, lon = h3.cell_to_latlng(cell)
    return ecef(lat, lon)


def _area_flood(shape: Polygon | MultiPolygon, resolution: int) -> tuple[set[int], Classify]:
    parts = [shape] if isinstance(shape, Polygon) else list(shape.geoms)
    corners = [part.exterior.coords[0] for part in parts]
    seeds = {h3.latlng_to_cell(lat, lon, resolution) for lon, lat in corners}

    def classify(cells: Sequence[int]) -> list[Touch]:
        hulls = _grown_hulls(cells, GROWTH[resolution])
        touches = shapely.intersects(shape, hulls)
        min_lon, _, max_lon, _ = shapely.total_bounds(hulls)
        for beyond, turn in ((min_lon < -180, 360.0), (max_lon > 180, -360.0)):
            if beyond:  # a hull over the antimeridian also meets what lies on the other side
                touches |= shapely.intersects(shape, shapely.transform(hulls, bound(np.add, (turn, 0.0))))
        whole = shapely.contains_properly(shape, hulls)
        return list(zip(touches.tolist(), whole.tolist(), strict=True))

    return seeds, classify


def _grown_hulls(cells: Sequence[int], growth: float) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Each cell's outline grown about its middle, as polygons in lon, lat; lon may pass 180 and never jumps."""
    xy: list[tuple[float, float]] = []
    owner: list[int] = []
    for number, cell in enumerate(cells):
        lat, lon = h3.cell_to_latlng(cell)
        for corner_lat, corner_lon in h3.cell_to_boundary(cell):
            east = (corner_lon - lon + 180) % 360 - 180
            xy.append((lon + growth * east, lat + growth * (corner_lat - lat)))
            owner.append(number)
    rings = shapely.linearrings(np.array(xy), indices=np.array(owner))
    return np.asarray(shapely.polygons(rings))
