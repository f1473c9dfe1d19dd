"""Counters of a person's visits to the workspace's own stores, of the last 13 months and the newest 100 visits.

They are counted when a campaign that concerns the person asks for them, from visits that are there anyway; nothing is
kept of them. Visits in which somebody drove past are none.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

EVERYWHERE: Final = ""  # no store is named so
SPAN_US: Final = 396 * 24 * 3600 * 1_000_000  # 13 months


class Visits(msgspec.Struct, frozen=True):
    """Visits to one store, or to all. median_dwell_s: of those that have ended."""

    count: int = 0
    last_us: int | None = None
    median_dwell_s: float | None = None


class Stays(msgspec.Struct, frozen=True):
    """Visits to one fence, whose store it is. dwelt_s: how long each took that has ended."""

    store: str
    count: int
    last_us: int
    dwelt_s: Sequence[float]


NEVER: Final = Visits()


def counted(stays: Iterable[Stays]) -> Mapping[str, Visits]:
    """Count by store, and EVERYWHERE for all."""
    grouped: dict[str, list[Stays]] = {}
    for one in stays:
        for key in (one.store, EVERYWHERE):
            grouped.setdefault(key, []).append(one)
    return {key: _counted(found) for key, found in grouped.items()}


def _counted(stays: list[Stays]) -> Visits:
    dwelt = [dwell_s for one in stays for dwell_s in one.dwelt_s]
    return Visits(sum(one.count for one in stays), max(one.last_us for one in stays), median(dwelt) if dwelt else None)
