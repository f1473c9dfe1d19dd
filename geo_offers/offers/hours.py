"""When a store is open, and when a campaign has its hours: by the clock on the wall of the place.

A store's hours are written as OpenStreetMap writes them (`Mo-Sa 10:00-19:00; PH off`), or as weekly intervals, which
are turned into the same. Closed is what is not surely open: a state that the text leaves unknown counts as closed. As
with quiet hours an instant is judged by what the wall shows then: where a clock is put back, what it shows twice is
open twice.

Days start with Monday, and an interval over midnight belongs to the day it starts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from opening_hours import OpeningHours, ParserError, State, UnknownCountryError  # type: ignore[attr-defined]

from geo_offers.people.quiet import HORIZON_US, QuietRule, quiet_until
from geo_offers.people.wall import DAY_MINUTES, DAY_US, MINUTE_US, offset_change_us, wall

_HORIZON: Final = timedelta(microseconds=HORIZON_US)
_WEEK_US: Final = 7 * DAY_US
_DAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a store is open, and until when that stays so; None for longer than a week."""

    open: bool
    until_us: int | None


class Told(NamedTuple):
    """A store's hours as it told them. `country`: whose national holidays `PH` means (ISO 3166); none without it."""

    text: str
    zone: ZoneInfo
    country: str | None = None


def opening(told: Told, now_us: int) -> Opening:
    """Whether a store with these hours is open. Hours that cannot be read any more are closed."""
    hours = _store_hours(told)
    return Opening(open=False, until_us=None) if hours is None else hours.at(now_us)


@lru_cache(maxsize=16_384)  # a chain's stores share theirs
def _store_hours(told: Told) -> "StoreHours | None":
    try:
        return StoreHours(*told)
    except (ValueError, LookupError):
        return None


class StoreHours:
    """Hours, read once."""

    __slots__ = ("_change_us", "_good_us", "_hours", "_looked_us", "_open", "_zone")

    def __init__(self, text: str, zone: ZoneInfo, country: str | None = None) -> None:
        """Raises ValueError where the text is none of OpenStreetMap's, LookupError where the country is not known."""
        self._hours = _read(text, country)
        self._zone = zone
        self._looked_us = self._good_us = self._change_us = 0
        self._open = False

    def at(self, now_us: int) -> Opening:
        """The same whenever it is asked: what one look found is kept for as long as it tells all of the week after."""
        if not self._looked_us <= now_us < self._good_us:
            self._look(now_us)
        return Opening(self._open, self._change_us if self._change_us <= now_us + _WEEK_US else None)

    def _look(self, now_us: int) -> None:
        is_open, at_us = self._next(now_us)
        while at_us < now_us + HORIZON_US:
            still, next_us = self._next(at_us)
            if still is not is_open:
                break
            at_us = next_us
        self._looked_us, self._open, self._change_us = now_us, is_open, at_us
        self._good_us = min(at_us, now_us + HORIZON_US - _WEEK_US)

    def _next(self, at_us: int) -> tuple[bool, int]:
        """The state at an instant, and the next instant at which it may differ: a border, or the clock is changed."""
        shown = wall(at_us, self._zone)
        naive = shown.replace(tzinfo=None)
        # Always with an end: without one some texts are searched to the year 9999, which takes seconds.
        _, end, state, _ = next(iter(self._hours.intervals(naive, naive + _HORIZON)))
        next_us = at_us + (end - naive) // timedelta(microseconds=1)
        if wall(next_us, self._zone).utcoffset() != shown.utcoffset():
            next_us = offset_change_us(at_us, next_us, self._zone)
        return state == State.OPEN, next_us


def _read(text: str, country: str | None) -> OpeningHours:
    try:
        return OpeningHours(text, country=country, auto_country=False, auto_timezone=False)
    except ParserError as error:
        raise ValueError(
            "these are not opening hours as OpenStreetMap writes them, such as Mo-Sa 10:00-19:00"
        ) from error
    except UnknownCountryError as error:
        raise LookupError("no holidays are known of this country; give its ISO code of two letters, as FR") from error


def weekly_text(intervals: Iterable[QuietRule]) -> str:
    """Write weekly intervals as OpenStreetMap does; an interval that ends as it starts lasts a day."""
    return ", ".join(
        f"{','.join(_DAYS[day] for day in sorted(rule.days))} {_minute(rule.start_minute)}-{_minute(_end(rule))}"
        for rule in intervals
    )


def _end(rule: QuietRule) -> int:
    return rule.end_minute if rule.start_minute < rule.end_minute else rule.end_minute + DAY_MINUTES


def _minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def weekly_until(hours: Sequence[QuietRule], now_us: int, zone: ZoneInfo) -> int | None:
    """When a campaign's hours that run now end, or None outside of them. At most 8 days ahead."""
    return _weekly_until(tuple(hours), now_us // MINUTE_US, zone)


@lru_cache(maxsize=4096)  # rules and clocks change on whole minutes, and all candidates of a minute ask the same
def _weekly_until(hours: tuple[QuietRule, ...], minute: int, zone: ZoneInfo) -> int | None:
    return quiet_until(hours, minute * MINUTE_US, zone)
