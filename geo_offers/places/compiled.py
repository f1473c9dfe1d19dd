"""The compiled table of fences: what `_kernel` needs to be told, and what it must ask back.

Importing this fails where the kernel is not built; `table.py` takes the plain table then.
"""

from collections.abc import Collection, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geo_offers.places import _kernel
from geo_offers.places.cells import COARSE, FINE, MAX_CELLS, Cover, cover, squares
from geo_offers.places.earth import ECCENTRICITY2, EQUATOR_M, Ecef, FloatArray, IntArray
from geo_offers.places.geometry import Circle, Geometry
from geo_offers.places.lattice import lattices

LEVELS: Final = (FINE, COARSE)
WIDEST_DEG: Final = 90.0
"""On a wider part the short way round from a cell's middle may be the wrong one."""
_SQUARE: Final = (len(LEVELS) + 1) << 56
"""In the kernel's names a level stands above all else, and the squares' is the last."""
_WHOLE: Final = np.uint64(1 << 63)
_GAP: Final = np.full((1, 2), np.nan)

Round: TypeAlias = tuple[Ecef, float] | None
Border: TypeAlias = FloatArray | None

_lattices = lattices(*LEVELS)
_kernel.set_up(
    _lattices.middle,
    _lattices.q,
    _lattices.r,
    _lattices.step_q,
    _lattices.step_r,
    _lattices.sure,
    EQUATOR_M,
    ECCENTRICITY2,
)


class CompiledTable:
    """See `table.Table`."""

    def __init__(self) -> None:
        self._table = _kernel.Table()

    @staticmethod
    def cover(geometry: Geometry) -> Cover:
        found = cover(geometry, _flood)
        return Cover(partial=tuple(_SQUARE | square for square in found.partial)) if found.in_squares else found

    def put(self, number: int, geometry: Geometry, covered: Cover) -> None:
        names = np.array(covered.places, np.uint64)
        names[: len(covered.full)] |= _WHOLE
        self._table.put(number, *_drawn(geometry), names)

    def remove(self, number: int) -> None:
        self._table.remove(number)

    def places(self, number: int) -> Sequence[int]:
        return self._table.places(number)

    def count(self, place: int) -> int:
        return self._table.count(place)

    @property
    def kernel(self) -> _kernel.Table:
        return self._table

    def locate_one(self, lat: float, lon: float) -> Sequence[int]:
        return self._table.locate_one(lat, lon)

    def locate(self, lat: FloatArray, lon: FloatArray) -> tuple[IntArray, IntArray]:
        return self._table.locate(np.ascontiguousarray(lat), np.ascontiguousarray(lon))

    def near(self, lat0: float, lon0: float, lat1: float, lon1: float) -> Collection[int]:
        around = squares([(min(lat0, lat1), min(lon0, lon1), max(lat0, lat1), max(lon0, lon1))])
        return self._table.near((lat0 + lat1) / 2, (lon0 + lon1) / 2, [_SQUARE | square for square in around])


def _drawn(geometry: Geometry) -> tuple[Round, Border]:
    """A circle, or the border of an area: lon, lat pairs of all rings, one after another with a gap between."""
    if isinstance(geometry, Circle):
        return (geometry.centre, geometry.chord2_m2), None
    rings = shapely.get_rings(shapely.get_parts(geometry.shape))
    pieces = [piece for ring in rings for piece in (shapely.get_coordinates(ring), _GAP)]
    return None, np.ascontiguousarray(np.concatenate(pieces[:-1]))


def _flood(geometry: Geometry, resolution: int) -> Cover | None:
    """As `cells.flood`, over the lattice of the resolution."""
    seeds: npt.NDArray[np.float64]
    if isinstance(geometry, Circle):
        seeds = np.array([(geometry.lat, geometry.lon)], np.float64)
    else:
        parts: Sequence[Polygon] = shapely.get_parts(geometry.shape).tolist()
        if any(part.bounds[2] - part.bounds[0] > WIDEST_DEG for part in parts):
            return None
        seeds = np.array([part.exterior.coords[0][::-1] for part in parts], np.float64)
    names = _kernel.cells_of(*_drawn(geometry), LEVELS.index(resolution), seeds, 2 * MAX_CELLS[resolution])
    if names is None:
        return None
    whole = names >= _WHOLE
    return Cover(tuple((names[whole] & ~_WHOLE).tolist()), tuple(names[~whole].tolist()))
