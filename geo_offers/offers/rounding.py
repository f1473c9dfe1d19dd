"""Rounding to decimals as `round` does it, to the last bit, but not through text, which takes several times as long."""

from math import floor
from typing import Final

_SURE: Final = 0.4999  # so far from a tie, at most, the multiplication's own error changes nothing
_MOST: Final = 1e9
_SCALES: Final = tuple(10.0**digits for digits in range(7))


def rounded(value: float, digits: int) -> float:
    """`round(value, digits)` of a float; digits: 1 to 6.

    A whole number divided by a power of ten is the double nearest to that decimal, as is what `round` reads from it.
    """
    scale = _SCALES[digits]
    scaled = value * scale
    if -_MOST < scaled < _MOST:
        near = floor(scaled + 0.5)
        if near and -_SURE < scaled - near < _SURE:
            return near / scale
    return round(value, digits) if value else value
