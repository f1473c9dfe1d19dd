"""Quiet hours and calendar windows against the clock on the wall, minute by minute around every kind of change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.people.quiet import HORIZON_US, QuietRule, quiet_until
from geo_offers.people.rhythm import Rolling, window

MINUTE_US = 60_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The change of the clock that each zone's instants are drawn around: Berlin forward and back, Santiago at midnight
# forward and back, Havana back to midnight, Lord Howe by half an hour, Kathmandu none.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 5, 3, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 1, 1, tzinfo=UTC)),
]

minutes = st.integers(0, 1439) | st.sampled_from([0, 1, 60, 119, 120, 150, 180, 1380, 1439])
HOLIDAYS = {name: holidays.country_holidays(name, years=(2025, 2026, 2027)) for name in ("CL", "DE")}
regions = st.none() | st.sampled_from(sorted(HOLIDAYS))
rules = st.builds(QuietRule, st.frozensets(st.integers(0, 6)), minutes, minutes | st.just(1440), regions)


@st.composite
def moments(draw: st.DrawFn) -> tuple[ZoneInfo, int]:
    name, change = draw(st.sampled_from(CHANGES))
    off = timedelta(minutes=draw(st.integers(-3 * 1440, 3 * 1440) | st.integers(-90, 90)))
    return ZoneInfo(name), (change + off - EPOCH) // timedelta(microseconds=1)


def shown(at_us: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone).replace(tzinfo=None)


def quiet_by_the_wall(rule: QuietRule, wall: datetime) -> bool:
    """The definition: some day's interval, drawn on the wall's own calendar, holds what the wall shows."""
    for back in (0, 1):
        day = datetime(wall.year, wall.month, wall.day) - timedelta(days=back)  # noqa: DTZ001 - wall time
        length = (rule.end_minute - rule.start_minute) % 1440 or 1440
        start = day + timedelta(minutes=rule.start_minute)
        counts = day.weekday() in rule.days or (rule.holidays is not None and day.date() in HOLIDAYS[rule.holidays])
        if counts and start <= wall < start + timedelta(minutes=length):
            return True
    return False


@given(st.lists(rules, min_size=1, max_size=3), moments())
@settings(max_examples=150)
def test_it_is_quiet_exactly_when_the_wall_says_so(drawn: list[QuietRule], moment: tuple[ZoneInfo, int]) -> None:
    zone, now_us = moment
    wall = shown(now_us, zone)
    assert (quiet_until(drawn, now_us, zone) is not None) == any(quiet_by_the_wall(rule, wall) for rule in drawn)


@given(st.lists(rules, min_size=1, max_size=3), moments())
@settings(max_examples=60)
def test_quiet_lasts_to_its_end_and_not_a_minute_longer(drawn: list[QuietRule], moment: tuple[ZoneInfo, int]) -> None:
    zone, now_us = moment
    end_us = quiet_until(drawn, now_us, zone)
    if end_us is None:
        return
    assert now_us < end_us <= now_us + HORIZON_US
    for at_us in range(now_us, end_us, 7 * MINUTE_US):
        assert any(quiet_by_the_wall(rule, shown(at_us, zone)) for rule in drawn)
    assert any(quiet_by_the_wall(rule, shown(end_us - 1, zone)) for rule in drawn)
    if end_us < now_us + HORIZON_US:
        assert not any(quiet_by_the_wall(rule, shown(end_us, zone)) for rule in drawn)


@given(moments(), st.sampled_from(["day", "week", "month"]))
@settings(max_examples=150)
def test_a_calendar_window_holds_now_and_every_instant_of_its_unit(moment: tuple[ZoneInfo, int], per: str) -> None:
    zone, now_us = moment
    unit = {
        "day": lambda wall: wall.date(),
        "week": lambda wall: wall.isocalendar()[:2],
        "month": lambda wall: (wall.year, wall.month),
    }[per]
    found = window(per, now_us, zone)  # type: ignore[arg-type]  # drawn from the words it takes
    running = unit(shown(now_us, zone))
    assert now_us in found
    assert unit(shown(found.start_us, zone)) == unit(shown(found.end_us - 1, zone)) == running
    assert unit(shown(found.start_us - 1, zone)) < running < unit(shown(found.end_us, zone))


@given(moments(), st.integers(1, 744), st.integers(-800 * 60, 800 * 60))
def test_a_rolling_window_is_mutual(moment: tuple[ZoneInfo, int], hours: int, off_minutes: int) -> None:
    zone, now_us = moment
    other_us = now_us + off_minutes * MINUTE_US
    assert (other_us in window(Rolling(hours), now_us, zone)) == (now_us in window(Rolling(hours), other_us, zone))
