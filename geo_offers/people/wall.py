"""The clock on a person's wall: instants to local time and back, right where the clock is put forward or back.

A clock put forward leaves out wall times (a gap); put back it shows some twice (a fold). Both may happen at midnight.
"""

from datetime import date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from geo_offers.instants import from_us, to_us

DAY_MINUTES: Final = 24 * 60
DAY_US: Final = 24 * 3600 * 1_000_000
HOUR_US: Final = 3600 * 1_000_000
MINUTE_US: Final = 60 * 1_000_000


def wall(instant_us: int, zone: ZoneInfo) -> datetime:
    """Tell what the clock shows at an instant; carries the zone and, in a fold, which of the two passes it is."""
    return from_us(instant_us).astimezone(zone)


@lru_cache(maxsize=4096)  # every decision of a second and zone asks for the same
def shown_at(second: int, zone: ZoneInfo) -> tuple[date, int]:
    """Tell the day and the minute of the day that the clock shows in this second of the epoch."""
    shown = wall(second * 1_000_000, zone)
    return shown.date(), minute_of_day(shown)


def first_instant_us(shown: datetime, zone: ZoneInfo) -> int:
    """Find the first instant at which the clock shows `shown` (no zone), or the end of the gap that leaves it out."""
    early = to_us(shown.replace(tzinfo=zone, fold=0))
    if wall(early, zone).replace(tzinfo=None) == shown:
        return early
    # In a gap fold 0 reckons with the offset before it, so the instant lies after the change, and fold 1 before it.
    return offset_change_us(to_us(shown.replace(tzinfo=zone, fold=1)), early, zone)


def offset_change_us(before_us: int, after_us: int, zone: ZoneInfo) -> int:
    """Find the instant at which the zone takes on its offset of `after_us`; it has another at `before_us`."""
    new = wall(after_us, zone).utcoffset()
    while after_us - before_us > 1:
        middle = (before_us + after_us) // 2
        if wall(middle, zone).utcoffset() == new:
            after_us = middle
        else:
            before_us = middle
    return after_us


def minute_of_day(shown: datetime) -> int:
    return shown.hour * 60 + shown.minute
