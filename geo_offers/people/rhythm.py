"""The person's own contract: how many offers, how far apart, and when none.

`per` names a calendar window of the person's zone (a day from midnight to midnight, a week from Monday, a month from
the first) or a rolling one of some hours. Counting is two-sided for rolling windows and gaps: an offer noted at a later
instant than now counts as well. Devices of one person may report out of order (a recorded track played beside a live
phone), and no order of decisions may break what the person allowed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, assert_never
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.people.mutes import NOTHING_MUTED, Mutes
from geo_offers.people.quiet import QuietRule
from geo_offers.people.wall import HOUR_US, first_instant_us, shown_at

CalendarUnit = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Rolling:
    """A window of the last `hours` hours, wherever the calendar stands."""

    hours: float


Per = CalendarUnit | Rolling

Channel = Literal["push", "inapp"]

EVERY_NIGHT: Final = QuietRule(frozenset(range(7)), 21 * 60, 8 * 60)


@dataclass(frozen=True, slots=True)
class Special:
    """A budget beside the ordinary one: where `allow`, at most `max` special offers per window go past it."""

    allow: bool = True
    max: int = 1
    per: Per = "month"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """At most `max` offers per window, at least `min_gap_h` hours apart, none in quiet hours, none of what is muted.

    channels: the first of them that a device can take alerts; a person without any hears nothing.
    The default holds until the person changes it.
    """

    max: int = 2
    per: Per = "week"
    min_gap_h: float = 24.0
    quiet: tuple[QuietRule, ...] = (EVERY_NIGHT,)
    special: Special = Special()
    channels: tuple[Channel, ...] = ("push", "inapp")
    mute: Mutes = NOTHING_MUTED

    @property
    def min_gap_us(self) -> int:
        return round(self.min_gap_h * HOUR_US)


class Window(msgspec.Struct, frozen=True):
    """Instants that count together: start_us <= at < end_us."""

    start_us: int
    end_us: int

    def __contains__(self, at_us: int) -> bool:
        return self.start_us <= at_us < self.end_us

    def held(self, instants_us: Iterable[int]) -> list[int]:
        """Take the instants that count, ascending."""
        start_us, end_us = self.start_us, self.end_us
        return sorted([at_us for at_us in instants_us if start_us <= at_us < end_us])


def window(per: Per, now_us: int, zone: ZoneInfo) -> Window:
    """Find the window that an offer made now would count in."""
    if isinstance(per, Rolling):
        return rolling_window(round(per.hours * HOUR_US), now_us)
    return calendar_window(per, 1, now_us, zone)


def rolling_window(length_us: int, now_us: int) -> Window:
    """Take what lies closer to now than `length_us`; an offer exactly that long ago counts no more."""
    return Window(now_us - length_us + 1, now_us + length_us)


def calendar_window(unit: CalendarUnit, n: int, now_us: int, zone: ZoneInfo) -> Window:
    """Take the running calendar unit of the zone and its n - 1 neighbours on either side (n = 1: it alone)."""
    return _window_of_day(unit, n, shown_at(now_us // 1_000_000, zone)[0], zone)


@lru_cache(maxsize=4096)  # every decision of a day and zone asks for the same few
def _window_of_day(unit: CalendarUnit, n: int, today: date, zone: ZoneInfo) -> Window:
    match unit:
        case "day":
            first, after = today - timedelta(days=n - 1), today + timedelta(days=n)
        case "week":
            monday = today - timedelta(days=today.weekday())
            first, after = monday - timedelta(weeks=n - 1), monday + timedelta(weeks=n)
        case "month":
            first, after = _month(today, 1 - n), _month(today, n)
        case _:
            assert_never(unit)
    return Window(first_instant_us(_midnight(first), zone), first_instant_us(_midnight(after), zone))


def _month(today: date, away: int) -> date:
    years, month = divmod(today.year * 12 + today.month - 1 + away, 12)
    return date(years, month + 1, 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - wall time on purpose
