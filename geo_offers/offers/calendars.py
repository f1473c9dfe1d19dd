"""What comes again: series of days by a rule (RFC 5545), and the public holidays of a region.

A series begins by the clock on its zone's wall. Of the rules those are taken that calendars' pages make: daily,
weekly, monthly or yearly, by weekday and day of the month. That has a reason: a rule which never comes true (the
thirtieth of February, day by day) would be searched for to the year 9999, for half a minute; of these each comes true
within some decades, which is found in milliseconds.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from dateutil.rrule import rrule, rrulestr
from holidays import country_holidays

from geo_offers.errors import Fault
from geo_offers.people.wall import DAY_US, first_instant_us, wall

MAX_RULE: Final = 300  # characters
MAX_COUNT: Final = 1_000
MAX_LENGTH_S: Final = 31 * 86_400
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
SHOWN: Final = 5
_BLOCK_US: Final = 64 * DAY_US  # what is worked out at once
_LOOK_AHEAD: Final = 7  # blocks: more than a year

_WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_INTERVAL: Final[Mapping[str, int]] = {"DAILY": 366, "WEEKLY": 52, "MONTHLY": 11, "YEARLY": 1}
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "DAILY": frozenset({"BYDAY"}),
    "WEEKLY": frozenset({"BYDAY"}),
    "MONTHLY": frozenset({"BYDAY", "BYMONTHDAY", "BYSETPOS"}),
    "YEARLY": frozenset({"BYMONTH", "BYDAY", "BYMONTHDAY", "BYSETPOS"}),
}
_ALWAYS: Final = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"})
_EVERY: Final = {"DAILY": timedelta(days=1), "WEEKLY": timedelta(weeks=1)}
_UNTIL: Final = re.compile(r"UNTIL=([0-9]{8}T[0-9]{6}Z)")
_LONGEST_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

Span = tuple[int, int]
"""From when to when, in microseconds; the end is outside."""


class Series(msgspec.Struct, frozen=True):
    """What begins at `starts` on the zone's wall and lasts `length_s`: once, or again by `rule`, save `without`."""

    starts: datetime
    zone: str
    length_s: int
    rule: str | None = None
    without: tuple[datetime, ...] = ()


class PublicHolidays(msgspec.Struct, frozen=True):
    """The public holidays of a country or a part of it (`DE`, `DE-BY`), each from midnight to midnight."""

    region: str
    zone: str


# ------------------------------------------------------------------------------------------------ what is taken
def rule_fault(text: str) -> str | None:
    """Why a rule is not taken, as a sentence; None where it is."""
    try:
        parts = _parts(text)
    except ValueError as error:
        return str(error)
    frequency, by = parts["FREQ"], parts.keys() - _ALWAYS
    if by - _PARTS[frequency]:
        return f"a {frequency} rule takes no {', '.join(sorted(by - _PARTS[frequency]))}"
    if not 1 <= _whole(parts.get("INTERVAL", "1")) <= _INTERVAL[frequency]:
        return f"the INTERVAL of a {frequency} rule is 1 to {_INTERVAL[frequency]}"
    if not 1 <= _whole(parts.get("COUNT", "1")) <= MAX_COUNT:
        return f"COUNT is 1 to {MAX_COUNT}"
    if "COUNT" in parts and "UNTIL" in parts:
        return "give COUNT or UNTIL, not both"
    return _days_fault(frequency, parts)


def _parts(text: str) -> dict[str, str]:
    if len(text) > MAX_RULE:
        raise ValueError(f"a rule has at most {MAX_RULE} characters")
    parts: dict[str, str] = {}
    for part in text.upper().removeprefix("RRULE:").split(";"):
        name, equals, value = part.partition("=")
        if not (equals and value and part.isascii()) or name in parts:
            raise ValueError("a rule is made of parts such as FREQ=WEEKLY;BYDAY=MO, each once")
        parts[name] = value
    if parts.get("FREQ") not in _PARTS:
        raise ValueError("a rule's FREQ is DAILY, WEEKLY, MONTHLY or YEARLY")
    return parts


def _days_fault(frequency: str, parts: Mapping[str, str]) -> str | None:
    """Which days: only in ways that some day meets."""
    days = [entry for entry in parts.get("BYDAY", "").split(",") if entry]
    counted = [entry[:-2] for entry in days if entry[:-2]]
    monthdays, months = _numbers(parts, "BYMONTHDAY", 31), _numbers(parts, "BYMONTH", 12)
    places = _numbers(parts, "BYSETPOS", 4)
    if any(entry[-2:] not in _WEEKDAYS for entry in days) or not all(1 <= abs(_whole(n)) <= 5 for n in counted):
        return "BYDAY is a list of MO, TU, WE, TH, FR, SA, SU, each with a count of -5 to 5 before it at most"
    if None in (monthdays, months, places) or any(month < 1 for month in months or ()):
        return "BYMONTHDAY is 1 to 31, BYMONTH 1 to 12, BYSETPOS 1 to 4; days and places may count from the end by a -"
    if parts.get("WKST", "MO") not in _WEEKDAYS:
        return "WKST is one of MO, TU, WE, TH, FR, SA, SU"
    if frequency == "DAILY" and days and parts.get("INTERVAL", "1") != "1":
        return "a DAILY rule has BYDAY or an INTERVAL, not both"
    if counted and (frequency in {"DAILY", "WEEKLY"} or monthdays or places or (frequency == "YEARLY" and not months)):
        return (
            "a weekday is counted in a MONTHLY rule, or in a YEARLY one with BYMONTH, without BYMONTHDAY and BYSETPOS"
        )
    if places and (monthdays or not days or (frequency == "YEARLY" and not months)):
        return "BYSETPOS goes with BYDAY alone, and in a YEARLY rule with BYMONTH"
    if months and not (days or monthdays):
        return "say which day of the month: BYDAY or BYMONTHDAY"
    if monthdays and months and min(map(abs, monthdays)) > max(_LONGEST_MONTH[month - 1] for month in months):
        return "there is no such day in that month"
    return None


def _numbers(parts: Mapping[str, str], name: str, most: int) -> list[int] | None:
    """The numbers of a list; None where one is none or out of range."""
    numbers = [_whole(entry) for entry in parts[name].split(",")] if name in parts else []
    return numbers if all(1 <= abs(number) <= most for number in numbers) else None


def _whole(text: str) -> int:
    """A whole number of few digits, 0 where it is none."""
    digits = text.removeprefix("-").removeprefix("+")
    return int(text) if digits.isdigit() and len(digits) <= 4 else 0


def series_faults(series: Series, pointer: str) -> list[Fault]:
    """What is wrong with a series; the zone was checked."""
    found: list[Fault] = []
    if not FIRST_YEAR <= series.starts.year < LAST_YEAR:
        found.append(Fault(f"{pointer}/start", "range", f"a series begins from {FIRST_YEAR} to {LAST_YEAR - 1}"))
    if series.rule is None:
        return found
    reason = rule_fault(series.rule)
    if reason is None and not found:
        try:
            _rule(series, series.starts)
        except (ValueError, TypeError, OverflowError):
            reason = "this is no recurrence rule; write it as FREQ=WEEKLY;BYDAY=MO"
    return found if reason is None else [*found, Fault(f"{pointer}/rrule", "rrule", reason)]


def knows_region(region: str) -> bool:
    """Whether public holidays of this region are known. The first asking of a country may take half a second."""
    try:
        _holidays_of(region, FIRST_YEAR)
    except LookupError:
        return False
    return True


# ------------------------------------------------------------------------------------------------ when it is
class Calendar:
    """Several series and holidays as one: when it is on. Worked out some weeks at once, and kept."""

    __slots__ = ("_block", "_parts", "_spans")

    def __init__(self, parts: Sequence[Series | PublicHolidays]) -> None:
        self._parts = parts
        self._block: int | None = None
        self._spans: Sequence[Span] = ()

    def at(self, now_us: int) -> tuple[bool, int | None]:
        """Whether it is on, and the next change, None where that is some weeks away."""
        spans = self._of(now_us // _BLOCK_US)
        after = bisect_right(spans, now_us, key=_start)
        if after > 0 and now_us < spans[after - 1][1]:
            return True, spans[after - 1][1]
        return False, spans[after][0] if after < len(spans) else None

    def coming(self, now_us: int, most: int = SHOWN) -> list[Span]:
        """The next spans that begin after now, within a year or so."""
        found: list[Span] = []
        block = now_us // _BLOCK_US
        for number in range(block, block + _LOOK_AHEAD):
            found += [span for span in self._worked_out(number) if span[0] > now_us and span not in found[-1:]]
            if len(found) >= most:
                break
        return found[:most]

    def _of(self, block: int) -> Sequence[Span]:
        if self._block != block:
            self._spans, self._block = self._worked_out(block), block
        return self._spans

    def _worked_out(self, block: int) -> list[Span]:
        """The spans that meet a block, ascending, what overlaps or touches made one."""
        begin_us, end_us = block * _BLOCK_US, (block + 1) * _BLOCK_US
        found = sorted(span for part in self._parts for span in spans(part, begin_us, end_us))
        joined: list[Span] = []
        for start_us, stop_us in found:
            if joined and start_us <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop_us))
            else:
                joined.append((start_us, stop_us))
        return joined


def _start(span: Span) -> int:
    return span[0]


def spans(part: Series | PublicHolidays, begin_us: int, end_us: int) -> Iterator[Span]:
    """The spans of one part that meet begin_us <= t < end_us. What falls whole into a gap of the clock is none."""
    zone = ZoneInfo(part.zone)
    first, last = wall(begin_us, zone).replace(tzinfo=None), wall(end_us, zone).replace(tzinfo=None)
    shown = _days_off(part, first, last) if isinstance(part, PublicHolidays) else _occurrences(part, first, last)
    for starts, ends in shown:
        start_us, stop_us = first_instant_us(starts, zone), first_instant_us(ends, zone)
        if start_us < end_us and begin_us < stop_us and start_us < stop_us:
            yield start_us, stop_us


def _days_off(part: PublicHolidays, first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    for year in range(first.year, last.year + 1):
        for day in sorted(_holidays_of(part.region, year)):
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - wall time on purpose
            yield midnight, midnight + timedelta(days=1)


@lru_cache(maxsize=512)
def _holidays_of(region: str, year: int) -> frozenset[date]:
    """Raises LookupError where the region is not known."""
    country, _, part = region.partition("-")
    try:
        return frozenset(country_holidays(country, subdiv=part or None, years=year))
    except NotImplementedError as error:
        raise LookupError("no public holidays are known of this region") from error


def _occurrences(series: Series, first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Those that may meet first..last; a day more on either side, as clocks change."""
    length, day = timedelta(seconds=series.length_s), timedelta(days=1)
    since = first - length - day
    begins = [series.starts] if series.rule is None else _rule(series, since).between(since, last + day, inc=True)
    for starts in begins:
        if starts not in series.without:
            yield starts, starts + length


def _rule(series: Series, since: datetime) -> rrule:
    """The rule, for what begins since then: what lies long before is left out where that is plain arithmetic.

    Raises ValueError where the text cannot be read.
    """
    assert series.rule is not None
    parts, starts = _parts(series.rule), series.starts
    if parts["FREQ"] in _EVERY and "COUNT" not in parts:
        every = _EVERY[parts["FREQ"]] * _whole(parts.get("INTERVAL", "1"))
        starts += max(0, (since - starts) // every - 1) * every
    read = rrulestr(_local(series.rule, series.zone), dtstart=starts)
    assert isinstance(read, rrule)  # a text without line breaks holds one rule
    return read


def _local(rule: str, zone: str) -> str:
    """The rule with an UNTIL on the wall: in files it stands in UTC, beside a start on the wall."""
    found = _UNTIL.search(rule.upper())
    if found is None:
        return rule
    until = datetime.strptime(found.group(1), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    return rule.upper().replace(found.group(0), f"UNTIL={until:%Y%m%dT%H%M%S}")
