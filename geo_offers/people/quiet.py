"""Quiet hours: when the clock on the person's wall says that nothing may alert them.

- A rule names days and an interval `start` to `end` of wall time; `start` is quiet, `end` is not any more.
- An interval whose end is not after its start runs over midnight and belongs to the day on which it starts:
  `fri 21:00-08:00` is quiet on Saturday at 07:00. Start equal to end is a whole day from that time on.
- A rule may name the public holidays of a region as well as days of the week.
- Wall time alone counts. An hour that the clock shows twice is quiet both times; one that it leaves out is not there
  to be quiet.
- Several rules add up; the quiet ends when none holds any more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from geo_offers.people.public_days import is_public_holiday, is_region
from geo_offers.people.wall import DAY_MINUTES, DAY_US, MINUTE_US, minute_of_day, offset_change_us, shown_at, wall

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Days of the week repeat weekly: what they keep quiet for longer than this is quiet for ever, and the search for its
# end stops here. Where holidays make it longer, it is quiet again by then.
HORIZON_US: Final = 8 * DAY_US
_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class QuietRule:
    """days: 0 is Monday. start_minute 0..1439, end_minute 0..1440, both minutes of the wall's day.

    holidays: the region whose public holidays count as days of the rule, as `public_days` names it.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int
    holidays: str | None = None

    def covers(self, day: date, minute: int) -> bool:
        """Whether the interval of that day, or the one that began the day before, holds this minute."""
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute and self._counts(day)
        began_today = minute >= self.start_minute and self._counts(day)
        return began_today or (minute < self.end_minute and self._counts(day - _ONE_DAY))

    def _counts(self, day: date) -> bool:
        return day.weekday() in self.days or (self.holidays is not None and is_public_holiday(self.holidays, day))


def quiet_rule(days: Iterable[str], start: str, end: str, holidays: str | None = None) -> QuietRule:
    """Make a rule from its public form: days of `DAYS`, times `HH:MM` (the end may be `24:00`), a region.

    Raises ValueError where a day, a time or a region is none.
    """
    if holidays is not None and not is_region(holidays):
        raise ValueError(f"{holidays!r} is no region whose public holidays are known")
    start_minute, end_minute = parse_minute(start), parse_minute(end)
    if start_minute == DAY_MINUTES:
        raise ValueError("an interval starts at 23:59 at the latest")
    return QuietRule(frozenset(DAYS.index(day) for day in days), start_minute, end_minute, holidays)


def parse_minute(text: str) -> int:
    """Minutes since midnight of `HH:MM`, 00:00 to 24:00. Raises ValueError where it is none."""
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == len(minutes) == 2 and text.isascii() and (hours + minutes).isdigit()):
        raise ValueError(f"{text[:64]!r} is not a time of the form HH:MM")
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY_MINUTES:
        raise ValueError(f"{text!r} is not a time between 00:00 and 24:00")
    return minute


def quiet_until(rules: Sequence[QuietRule], now_us: int, zone: ZoneInfo) -> int | None:
    """When the quiet that holds now ends, or None when it is not quiet. At most 8 days ahead."""
    if not rules:
        return None
    day, minute = shown_at(now_us // 1_000_000, zone)
    if not _quiet(rules, day, minute):
        return None
    at_us, shown = now_us, wall(now_us, zone)
    while at_us < now_us + HORIZON_US:
        at_us = _next_change_us(rules, at_us, shown, zone)
        shown = wall(at_us, zone)
        if not _quiet(rules, shown.date(), minute_of_day(shown)):
            return at_us
    return now_us + HORIZON_US


def _quiet(rules: Sequence[QuietRule], day: date, minute: int) -> bool:
    for rule in rules:  # noqa: SIM110 - asked at every decision: a generator costs as much as the answer
        if rule.covers(day, minute):
            return True
    return False


def _next_change_us(rules: Sequence[QuietRule], at_us: int, shown: datetime, zone: ZoneInfo) -> int:
    """Find the next instant at which the answer may differ: a rule's border or a change of the clock."""
    minute = minute_of_day(shown)
    into_minute_us = shown.second * 1_000_000 + shown.microsecond
    borders = {border % DAY_MINUTES for rule in rules for border in (rule.start_minute, rule.end_minute)}
    ahead = min((border - minute - 1) % DAY_MINUTES + 1 for border in borders)
    next_us = at_us + ahead * MINUTE_US - into_minute_us
    if wall(next_us, zone).utcoffset() == shown.utcoffset():
        return next_us
    return offset_change_us(at_us, next_us, zone)
