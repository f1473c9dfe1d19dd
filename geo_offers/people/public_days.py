"""Public holidays by region: a country as FR, or one with its subdivision as DE-BY.

The library computes them without asking anybody. Its version belongs to what a decision was made by.
"""

from datetime import date
from functools import lru_cache
from typing import Final

import holidays
from holidays.version import __version__

VERSION: Final = __version__


def is_region(region: str) -> bool:
    country, hyphen, subdivision = region.partition("-")
    known = _regions()
    return len(country) == 2 and country in known and (not hyphen or subdivision in known[country])


def is_public_holiday(region: str, day: date) -> bool:
    """Whether the whole region rests on this day. region: one that `is_region` knows."""
    return day in _of_year(region, day.year)


@lru_cache(maxsize=1)
def _regions() -> dict[str, list[str]]:
    return holidays.list_supported_countries()


@lru_cache(maxsize=1024)  # every decision of a workspace asks for the same few
def _of_year(region: str, year: int) -> frozenset[date]:
    country, _, subdivision = region.partition("-")
    return frozenset(holidays.country_holidays(country, subdiv=subdivision or None, years=year))
