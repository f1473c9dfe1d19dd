"""The compiled nearest borders: what `_nearest` needs to be told.

Importing this fails where the kernel is not built; the index takes the plain search (`nearest.py`) then.
"""

from geo_offers.places._nearest import Borders
from geo_offers.places.earth import ECCENTRICITY2, EQUATOR_M
from geo_offers.places.geometry import Circle, drawn_border
from geo_offers.places.outline import Drawn, geometry_of, outline_of


class CompiledNearest:
    """See `nearest.Nearest`."""

    def __init__(self) -> None:
        self._borders = Borders(EQUATOR_M, ECCENTRICITY2)

    def put(self, number: int, drawn: Drawn) -> None:
        geometry = geometry_of(outline_of(drawn))
        if isinstance(geometry, Circle):
            self._borders.put_circle(number, *geometry.centre, geometry.radius_m)
        else:
            border = drawn_border(geometry)
            self._borders.put_area(number, border.ends, border.ring, border.stray_m)

    def remove(self, number: int) -> None:
        self._borders.remove(number)

    def nearest(self, lat: float, lon: float, limit: int) -> list[tuple[int, float]]:
        return self._borders.nearest(lat, lon, limit)
