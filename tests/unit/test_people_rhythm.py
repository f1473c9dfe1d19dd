from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from geo_offers.instants import to_us
from geo_offers.people.rhythm import EVERY_NIGHT, Per, Rhythm, Rolling, Window, calendar_window, window
from geo_offers.people.wall import HOUR_US, first_instant_us

BERLIN = ZoneInfo("Europe/Berlin")
SANTIAGO = ZoneInfo("America/Santiago")
HAVANA = ZoneInfo("America/Havana")
UTC = ZoneInfo("UTC")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold))


def test_a_stranger_gets_two_a_week_a_day_apart_and_none_at_night() -> None:
    assert Rhythm() == Rhythm(max=2, per="week", min_gap_h=24, quiet=(EVERY_NIGHT,))
    assert Rhythm().min_gap_us == 24 * HOUR_US


@pytest.mark.parametrize(
    ("per", "now", "start", "end"),
    [
        ("day", "2026-06-03T00:00", "2026-06-03T00:00", "2026-06-04T00:00"),
        ("day", "2026-06-03T23:59:59.999999", "2026-06-03T00:00", "2026-06-04T00:00"),
        ("week", "2026-06-03T12:00", "2026-06-01T00:00", "2026-06-08T00:00"),  # a Wednesday; weeks start on Monday
        ("week", "2026-06-01T00:00", "2026-06-01T00:00", "2026-06-08T00:00"),
        ("week", "2026-06-07T23:59", "2026-06-01T00:00", "2026-06-08T00:00"),
        ("week", "2027-01-01T12:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("month", "2026-02-28T23:59", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("month", "2026-12-31T12:00", "2026-12-01T00:00", "2027-01-01T00:00"),
    ],
)
def test_a_calendar_window_is_the_persons_own(per: Per, now: str, start: str, end: str) -> None:
    assert window(per, at(now), BERLIN) == Window(at(start), at(end))


def test_the_zone_decides_which_day_it_is() -> None:
    now = at("2026-06-03T23:30", UTC)
    assert window("day", now, UTC).start_us == at("2026-06-03T00:00", UTC)
    assert window("day", now, BERLIN).start_us == at("2026-06-04T00:00", BERLIN)


def test_days_and_weeks_of_a_change_of_the_clock_have_another_length() -> None:
    spring, autumn = window("day", at("2026-03-29T12:00"), BERLIN), window("day", at("2026-10-25T12:00"), BERLIN)
    assert spring.end_us - spring.start_us == 23 * HOUR_US
    assert autumn.end_us - autumn.start_us == 25 * HOUR_US
    week = window("week", at("2026-03-29T12:00"), BERLIN)
    assert week == Window(at("2026-03-23T00:00"), at("2026-03-30T00:00"))
    assert week.end_us - week.start_us == (7 * 24 - 1) * HOUR_US


def test_a_day_without_a_midnight_starts_at_one() -> None:
    sunday = window("day", at("2026-09-06T12:00", SANTIAGO), SANTIAGO)
    assert sunday.start_us == at("2026-09-06T01:00", SANTIAGO)
    assert sunday.end_us - sunday.start_us == 23 * HOUR_US
    saturday = window("day", at("2026-09-05T12:00", SANTIAGO), SANTIAGO)
    assert saturday.end_us == sunday.start_us


def test_a_day_whose_last_hour_comes_twice_is_an_hour_longer() -> None:
    saturday = window("day", at("2026-04-04T23:30", SANTIAGO, fold=1), SANTIAGO)
    assert saturday == window("day", at("2026-04-04T12:00", SANTIAGO), SANTIAGO)
    assert saturday.end_us - saturday.start_us == 25 * HOUR_US


def test_a_midnight_shown_twice_starts_the_day_the_first_time() -> None:
    sunday = window("day", at("2026-11-01T00:30", HAVANA, fold=1), HAVANA)
    assert sunday.start_us == at("2026-11-01T00:00", HAVANA, fold=0)
    assert sunday.end_us - sunday.start_us == 25 * HOUR_US


def test_a_gap_that_does_not_start_on_the_hour_ends_where_the_clock_says() -> None:
    toronto = ZoneInfo("America/Toronto")  # 1919-03-30 23:30 became 1919-03-31 00:30
    shown = datetime(1919, 3, 31)  # noqa: DTZ001 - wall time
    assert first_instant_us(shown, toronto) == at("1919-03-31T00:30", toronto)


def test_a_rolling_window_holds_what_is_closer_than_its_length_on_either_side() -> None:
    now = at("2026-06-03T12:00")
    rolling = window(Rolling(24), now, BERLIN)
    inside = [now - 24 * HOUR_US + 1, now, now + 24 * HOUR_US - 1]
    outside = [now - 24 * HOUR_US, now + 24 * HOUR_US]
    assert all(instant in rolling for instant in inside)
    assert not any(instant in rolling for instant in outside)


def test_a_window_of_several_calendar_units_takes_the_neighbours() -> None:
    now = at("2026-06-03T12:00")
    assert calendar_window("day", 3, now, BERLIN) == Window(at("2026-06-01T00:00"), at("2026-06-06T00:00"))
    assert calendar_window("week", 2, now, BERLIN) == Window(at("2026-05-25T00:00"), at("2026-06-15T00:00"))
    assert calendar_window("month", 2, at("2026-01-15T12:00"), BERLIN) == Window(
        at("2025-12-01T00:00"), at("2026-03-01T00:00")
    )
