"""The compiled table of fences: what `_kernel` needs to be told, and what it must ask back.

Importing this fails where the kernel is not built; `table.py` takes the plain table then.
"""

from array import array
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Final

import numpy as np

from geo_offers.places import _kernel
from geo_offers.places.cells import CELL_M2, COARSE, FINE, MAX_CELLS, Cover, level_for, squares
from geo_offers.places.earth import ECCENTRICITY2, EQUATOR_M, FloatArray, IntArray
from geo_offers.places.geometry import bounds
from geo_offers.places.lattice import lattices
from geo_offers.places.outline import Drawn, Outline, circle_of, is_round, outline_of, parts_of

LEVELS: Final = (FINE, COARSE)
WIDEST_DEG: Final = 90.0
"""On a wider part the short way round from a cell's middle may be the wrong one."""
_SQUARE: Final = (len(LEVELS) + 1) << 56
"""In the kernel's names a level stands above all else, and the squares' is the last."""

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
        self.count = self._table.count

    @staticmethod
    def cover(drawn: Drawn) -> Cover:
        outline = outline_of(drawn)
        names = _kernel.plain_cells_of(outline, CELL_M2[FINE], CELL_M2[COARSE], MAX_CELLS[FINE], MAX_CELLS[COARSE])
        return Cover(names) if names else _odd_cover(outline)

    def put(self, number: int, drawn: Drawn, covered: Cover) -> None:
        self._table.put(number, outline_of(drawn), covered.names)

    def remove(self, number: int) -> None:
        self._table.remove(number)

    def places(self, number: int) -> Sequence[int]:
        return self._table.places(number)

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


def _odd_cover(outline: Outline) -> Cover:
    """Of what has several rings, or is huge, or near a pole."""
    circle = circle_of(outline) if is_round(outline) else None
    parts = parts_of(outline) if circle is None else [(box, (circle.lat, circle.lon)) for box in bounds(circle)]
    boxes = [box for box, _ in parts]
    level = level_for(boxes)
    wide = circle is None and any(box[3] - box[1] > WIDEST_DEG for box in boxes)
    if level is not None and not wide:
        seeds = array("d", chain.from_iterable(seed for _, seed in parts))
        names = _kernel.cells_of(outline, LEVELS.index(level), seeds, 2 * MAX_CELLS[level])
        if names:
            return Cover(names)
    return Cover.of((), (_SQUARE | square for square in squares(boxes)))
