from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from geo_offers.places.earth import Ecef, FloatArray, IntArray

Names: TypeAlias = npt.NDArray[np.uint64]
Round: TypeAlias = tuple[Ecef, float] | None

def set_up(
    middles: FloatArray,
    q: FloatArray,
    r: FloatArray,
    step_q: FloatArray,
    step_r: FloatArray,
    sure: float,
    equator_m: float,
    eccentricity2: float,
) -> None: ...
def cells_of(circle: Round, border: FloatArray | None, level: int, seeds: FloatArray, most: int) -> Names | None: ...

class Table:
    def put(self, number: int, circle: Round, border: FloatArray | None, places: Names) -> None: ...
    def remove(self, number: int) -> None: ...
    def places(self, number: int) -> list[int]: ...
    def count(self, place: int) -> int: ...
    def locate_one(self, lat: float, lon: float) -> Sequence[int]: ...
    def locate(self, lat: FloatArray, lon: FloatArray) -> tuple[IntArray, IntArray]: ...
    def near(self, lat: float, lon: float, squares: Iterable[int]) -> set[int]: ...
