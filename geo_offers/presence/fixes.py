"""From a readable ping to a fix: which points are refused for good, and why.

Only what cannot be read as a place and a time is refused. Accuracy, speed and mock flags never refuse a point here:
plain edges take every readable fix, and what a doubtful one is worth is for the detection to say.
"""

from enum import StrEnum
from math import isfinite
from typing import Final

import msgspec

DEFAULT_ACCURACY_M: Final = 50.0
FUTURE_US: Final = 5 * 60 * 1_000_000
TOO_OLD_US: Final = 30 * 24 * 3600 * 1_000_000
# 1970 to the year 9000: calendar windows and time-first ids stay representable on both sides of any accepted instant.
LATEST_US: Final = 221_845_392_000 * 1_000_000


class PointRefusal(StrEnum):
    """Why a point is refused for good; sending it again does not help."""

    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    FUTURE = "future"
    TOO_OLD = "too_old"


class Fix(msgspec.Struct, frozen=True):
    """A validated position. `at_us` is the device's clock; speed is None when the phone did not measure it.

    mock: the phone says that somebody made it up.
    """

    at_us: int
    lat: float
    lon: float
    accuracy_m: float = DEFAULT_ACCURACY_M
    speed_mps: float | None = None
    mock: bool = False


def check(at_us: int | None, lat: float, lon: float, *, now_us: int, replay: bool) -> PointRefusal | None:
    """Find the reason to refuse a point, or None when it may become a fix.

    at_us: None when the ping's time could not be read. now_us: the server's time of receipt.
    replay: recorded tracks have no age and no future bound, since their clock is the recording's.
    """
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):  # NaN and infinities fail the comparison
        return PointRefusal.OUT_OF_RANGE
    if at_us is None or not 0 <= at_us <= LATEST_US:
        return PointRefusal.BAD_TIME
    if replay:
        return None
    if at_us > now_us + FUTURE_US:
        return PointRefusal.FUTURE
    if at_us < now_us - TOO_OLD_US:
        return PointRefusal.TOO_OLD
    return None


def usable_accuracy_m(given_m: float | None) -> float:
    """Reckon with this accuracy: phones send 0, a negative number or nothing when they do not know it."""
    if given_m is None or not isfinite(given_m) or given_m <= 0.0:
        return DEFAULT_ACCURACY_M
    return given_m


def usable_speed_mps(given_mps: float | None) -> float | None:
    """Reckon with this speed, None when unknown: a negative speed is the phones' word for that."""
    if given_mps is None or not isfinite(given_mps) or given_mps < 0.0:
        return None
    return given_mps
