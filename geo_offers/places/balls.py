"""The compiled nearest borders: what `_nearest` needs to be told.

Importing this fails where the kernel is not built; the index takes the plain search (`nearest.py`) then.
"""

import numpy as np

from geo_offers.places._nearest import Borders
from geo_offers.places.borders import CURVATURE_M, MAX_PIECES, STRAY_M
from geo_offers.places.earth import ECCENTRICITY2, EQUATOR_M
from geo_offers.places.geometry import Area, drawn_border
from geo_offers.places.nearest import Around
from geo_offers.places.outline import Drawn, geometry_of, outline_of


class CompiledNearest:
    """See `nearest.Nearest`."""

    def __init__(self) -> None:
        self._borders = Borders(EQUATOR_M, ECCENTRICITY2, CURVATURE_M, STRAY_M, MAX_PIECES)

    def put(self, number: int, drawn: Drawn) -> None:
        outline = outline_of(drawn)
        if self._borders.put(number, outline):
            return
        geometry = geometry_of(outline)
        assert isinstance(geometry, Area)  # a circle is always filed
        border = drawn_border(geometry)
        for ring in np.split(border.ends, np.flatnonzero(np.diff(border.ring)) + 1):
            self._borders.put_ring(number, ring, border.stray_m)

    def remove(self, number: int) -> None:
        self._borders.remove(number)

    @property
    def kernel(self) -> Borders:
        return self._borders

    def nearest(self, lat: float, lon: float, limit: int) -> list[tuple[int, float]]:
        return self._borders.nearest(lat, lon, limit)

    def regions(self, lat: float, lon: float, limit: int) -> list[tuple[int, float, Around | None]]:
        return self._borders.regions(lat, lon, limit)
