"""What a device's fixes are worth, one after the other: which say where the phone is, and which do not.

- A mocked fix, one at the instant of the last, and one that is coarser than `COARSE_M` say nothing; beyond
  `UNKNOWN_M` (a phone that shares its approximate location only) where the phone is is unknown.
- A leap is a fix where nobody can have travelled to since the last one. It is left out, until `LEAP_S` without any
  other: then the older place was wrong.
- A stray fix is where the phone probably did not go, by its speed so far. It is doubted; when the next one is near it,
  the phone has gone there.

What is left out leaves the time of the evidence as it is: a fix that says nothing must not let anything fade.
"""

from ctypes import c_float
from enum import StrEnum
from math import cos, radians, sqrt
from typing import Final

import msgspec
from msgspec.structs import replace

from geo_offers.places.geometry import short_way
from geo_offers.presence.fixes import Fix

COARSE_M: Final = 200.0
UNKNOWN_M: Final = 1_000.0
SILENCE_S: Final = 24 * 3_600.0
"""After so long without a fix nothing is left of what was known: as long as a device's state is kept."""
LEAP_MPS: Final = 100.0
"""Faster than trains go; an aeroplane's phone is silent for longer than `LEAP_S`."""
LEAP_M: Final = 1_000.0
LEAP_S: Final = 600.0
STRAY_MPS: Final = 3.0
STRAY_FACTOR: Final = 1.5
STRAY_M: Final = 30.0
STILL_M: Final = 70.0
STILL_S: Final = 140.0
"""A stop: so long within so many metres."""
DEGREE_M: Final = 111_195.0


class Worth(StrEnum):
    """What a fix is taken for; of the last two there is evidence."""

    MOCKED = "mocked"
    UNKNOWN = "unknown"
    COARSE = "coarse"
    SAME = "same"
    LEAP = "leap"
    STRAY = "stray"
    SOUND = "sound"


class Trail(msgspec.Struct, frozen=True):
    """What is remembered of a device's usable fixes.

    at_us: of the newest one. placed_us, lat, lon, accuracy_m: of the newest sound one; no place after a restart.
    speed_mps: as the phone measured it, else smoothed from its way. stray_lat, stray_lon: of the newest one, where it
    is doubted. still_*: where and since when the phone has kept still. Accuracy and speed are of single precision.
    """

    at_us: int
    placed_us: int = 0
    lat: float | None = None
    lon: float | None = None
    accuracy_m: float = 0.0
    speed_mps: float = 0.0
    stray_lat: float | None = None
    stray_lon: float | None = None
    still_lat: float = 0.0
    still_lon: float = 0.0
    still_us: int = 0

    def usual_mps(self, measured_mps: float | None) -> float:
        """Faster the phone is not expected to go. measured_mps: its speed as it says now."""
        return max(STRAY_MPS, STRAY_FACTOR * (measured_mps or self.speed_mps))


def distance_m(lat0: float, lon0: float, lat1: float, lon1: float) -> float:
    """How far apart two places are, metres: to 1 % over the ways of a phone between two fixes."""
    north_m = (lat1 - lat0) * DEGREE_M
    east_m = (short_way(lon0, lon1) - lon0) * DEGREE_M * cos(radians((lat0 + lat1) / 2))
    return sqrt(north_m * north_m + east_m * east_m)


def judge(trail: Trail | None, fix: Fix) -> Worth:
    """Tell what a fix is worth after these."""
    if fix.mock:
        return Worth.MOCKED
    if fix.accuracy_m > COARSE_M:
        return Worth.UNKNOWN if fix.accuracy_m > UNKNOWN_M else Worth.COARSE
    if trail is None:
        return Worth.SOUND
    waited_s = (fix.at_us - trail.at_us) / 1e6
    if waited_s <= 0:
        return Worth.SAME
    if trail.lat is None or trail.lon is None or waited_s > SILENCE_S:
        return Worth.SOUND
    gone_s = (fix.at_us - trail.placed_us) / 1e6
    way_m = distance_m(trail.lat, trail.lon, fix.lat, fix.lon)
    slack_m = fix.accuracy_m + trail.accuracy_m
    if gone_s <= LEAP_S and way_m > LEAP_MPS * gone_s + LEAP_M + slack_m:
        return Worth.LEAP
    usual_mps = trail.usual_mps(fix.speed_mps)
    if way_m <= usual_mps * gone_s + STRAY_M + slack_m:
        return Worth.SOUND
    if trail.stray_lat is None or trail.stray_lon is None:
        return Worth.STRAY
    from_stray_m = distance_m(trail.stray_lat, trail.stray_lon, fix.lat, fix.lon)
    return Worth.SOUND if from_stray_m <= usual_mps * waited_s + STRAY_M + slack_m else Worth.STRAY


def follow(trail: Trail | None, fix: Fix, worth: Worth) -> Trail:
    """Take a usable fix: what is remembered after it."""
    if trail is None or trail.lat is None or (fix.at_us - trail.at_us) / 1e6 > SILENCE_S:
        return _begun(fix)
    if worth is Worth.STRAY:
        return replace(trail, at_us=fix.at_us, stray_lat=fix.lat, stray_lon=fix.lon)
    moving = distance_m(trail.still_lat, trail.still_lon, fix.lat, fix.lon) > STILL_M + fix.accuracy_m
    return Trail(
        fix.at_us,
        fix.at_us,
        fix.lat,
        fix.lon,
        _single(fix.accuracy_m),
        _single(_speed_mps(trail, fix) if fix.speed_mps is None else fix.speed_mps),
        still_lat=fix.lat if moving else trail.still_lat,
        still_lon=fix.lon if moving else trail.still_lon,
        still_us=fix.at_us if moving else trail.still_us,
    )


def _single(number: float) -> float:
    """The nearest number of single precision; infinite where it is too large for one."""
    return c_float(number).value


def _begun(fix: Fix) -> Trail:
    return Trail(
        fix.at_us,
        fix.at_us,
        fix.lat,
        fix.lon,
        _single(fix.accuracy_m),
        _single(fix.speed_mps or 0.0),
        still_lat=fix.lat,
        still_lon=fix.lon,
        still_us=fix.at_us,
    )


def _speed_mps(trail: Trail, fix: Fix) -> float:
    """Half of what the way since the newest place says, and half of what it was."""
    assert trail.lat is not None
    assert trail.lon is not None
    way_m = distance_m(trail.lat, trail.lon, fix.lat, fix.lon)
    return (trail.speed_mps + way_m / ((fix.at_us - trail.placed_us) / 1e6)) / 2
