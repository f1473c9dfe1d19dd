"""Counters of a person's visits to the workspace's own stores, of the last 13 months.

They are counted when a campaign that concerns the person asks for them, from visits that are there anyway; nothing is
kept of them. Visits in which somebody drove past are none.
"""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import msgspec

EVERYWHERE: Final = ""  # no store is named so
MONTHS_US: Final = 396 * 24 * 3600 * 1_000_000
NEWEST: Final = 200  # visits looked at


class Visits(msgspec.Struct, frozen=True):
    """Visits to one store, or to all. median_dwell_s: of those that have ended."""

    count: int = 0
    last_us: int | None = None
    median_dwell_s: float | None = None


class PastVisit(msgspec.Struct, frozen=True):
    """dwell_s is None of a visit that has not ended."""

    store: str
    entered_us: int
    dwell_s: float | None


NEVER: Final = Visits()


def counted(visits: Iterable[PastVisit]) -> Mapping[str, Visits]:
    """Count by store, and EVERYWHERE for all."""
    grouped: dict[str, list[PastVisit]] = {}
    for visit in visits:
        for key in (visit.store, EVERYWHERE):
            grouped.setdefault(key, []).append(visit)
    return {key: _counted(found) for key, found in grouped.items()}


def _counted(visits: list[PastVisit]) -> Visits:
    dwelt = [visit.dwell_s for visit in visits if visit.dwell_s is not None]
    return Visits(len(visits), max(visit.entered_us for visit in visits), median(dwelt) if dwelt else None)
