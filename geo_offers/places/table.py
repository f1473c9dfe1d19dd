"""The table that the index files fences in: compiled where the kernel is built, else plain; both answer the same."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from geo_offers.places.cells import Cover
from geo_offers.places.earth import FloatArray, IntArray
from geo_offers.places.outline import Drawn
from geo_offers.places.plain import PlainTable

try:
    from geo_offers.places.compiled import CompiledTable as BestTable
except ImportError:  # no compiler where it was installed
    from geo_offers.places.plain import PlainTable as BestTable  # type: ignore[assignment]

__all__ = ["BestTable", "PlainTable", "Table"]


class Table(Protocol):
    """Fences by number, filed under places. Not safe for use by several threads at once.

    Names of places are a table's own: a cover is for the kind of table that made it.
    """

    @staticmethod
    def cover(drawn: Drawn) -> Cover:
        """The places of a geometry: pure computing, fit for a worker."""
        ...

    def put(self, number: int, drawn: Drawn, covered: Cover) -> None:
        """File a fence that is not there. An outline is kept as it is, not copied."""
        ...

    def remove(self, number: int) -> None:
        """Take out a fence that is there."""
        ...

    def places(self, number: int) -> Sequence[int]:
        """Under which places a fence that is there is filed."""
        ...

    def count(self, place: int) -> int:
        """How many fences are filed under a place: a lookup there looks at each."""
        ...

    @property
    def kernel(self) -> Any:
        """What other compiled code may ask directly; None where nothing is compiled."""
        ...

    def locate_one(self, lat: float, lon: float) -> Sequence[int]:
        """Numbers of the fences that hold a point; ~number of one for which exact arithmetic is to decide."""
        ...

    def locate(self, lat: FloatArray, lon: FloatArray) -> tuple[IntArray, IntArray]:
        """As `locate_one` for n points, degrees, shape (n,): how many each has, and all numbers one after another."""
        ...

    def near(self, lat0: float, lon0: float, lat1: float, lon1: float) -> Collection[int]:
        """Numbers that may meet a way of at most 100 m; longitudes may pass 180 degrees."""
        ...
