"""Quiet hours on the days that matter.

2026-03-29 and 2026-10-25 are the Sundays on which Berlin changes its clock. Santiago puts its clock forward at the
midnight that begins 2026-09-06 (a Sunday) and back at the one that would begin 2026-04-05.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from geo_offers.instants import to_us
from geo_offers.people.quiet import DAYS, HORIZON_US, QuietRule, parse_minute, quiet_rule, quiet_until
from geo_offers.people.rhythm import EVERY_NIGHT

BERLIN = ZoneInfo("Europe/Berlin")
SANTIAGO = ZoneInfo("America/Santiago")
UTC = ZoneInfo("UTC")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold))


def until(rules: list[QuietRule], now: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int | None:
    return quiet_until(rules, at(now, zone, fold), zone)


def test_no_rule_is_never_quiet() -> None:
    assert until([], "2026-06-01T03:00") is None


@pytest.mark.parametrize(
    "now", ["2026-06-01T21:00", "2026-06-01T23:59:59", "2026-06-02T00:00", "2026-06-02T07:59:59.999999"]
)
def test_a_night_is_quiet_from_its_start_over_midnight_to_its_end(now: str) -> None:
    assert until([EVERY_NIGHT], now) == at("2026-06-02T08:00")


@pytest.mark.parametrize("now", ["2026-06-01T20:59:59.999999", "2026-06-02T08:00", "2026-06-02T12:00"])
def test_start_is_quiet_and_end_is_not(now: str) -> None:
    assert until([EVERY_NIGHT], now) is None


def test_an_interval_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    friday_night = [quiet_rule(["fri"], "21:00", "08:00")]  # 2026-06-05 is a Friday
    assert until(friday_night, "2026-06-05T21:00") == at("2026-06-06T08:00")
    assert until(friday_night, "2026-06-06T07:00") == at("2026-06-06T08:00")
    assert until(friday_night, "2026-06-05T07:00") is None
    assert until(friday_night, "2026-06-06T21:00") is None


def test_a_sunday_night_runs_into_monday() -> None:
    assert until([quiet_rule(["sun"], "22:00", "06:00")], "2026-06-08T05:00") == at("2026-06-08T06:00")


@pytest.mark.parametrize("end", ["00:00", "24:00"])
def test_a_whole_day_can_be_quiet(end: str) -> None:
    sunday = [quiet_rule(["sun"], "00:00", end)]
    assert until(sunday, "2026-06-07T00:00") == at("2026-06-08T00:00")
    assert until(sunday, "2026-06-06T23:59:59") is None
    assert until(sunday, "2026-06-08T00:00") is None


def test_rules_add_up_and_the_quiet_ends_with_the_last_of_them() -> None:
    rules = [EVERY_NIGHT, quiet_rule(["sun"], "00:00", "24:00"), quiet_rule(["mon"], "08:00", "09:30")]
    assert until(rules, "2026-06-06T22:00") == at("2026-06-08T09:30")


def test_always_quiet_is_told_to_the_horizon() -> None:
    always = [quiet_rule(DAYS, "00:00", "24:00")]
    assert until(always, "2026-06-06T22:00") == at("2026-06-06T22:00") + HORIZON_US


def test_a_night_is_an_hour_shorter_when_the_clock_is_put_forward() -> None:
    start, end = at("2026-03-28T21:00"), until([EVERY_NIGHT], "2026-03-28T21:00")
    assert end == at("2026-03-29T08:00") == start + 10 * 3600 * 1_000_000


def test_a_night_is_an_hour_longer_when_the_clock_is_put_back() -> None:
    start, end = at("2026-10-24T21:00"), until([EVERY_NIGHT], "2026-10-24T21:00")
    assert end == at("2026-10-25T08:00") == start + 12 * 3600 * 1_000_000


def test_an_end_that_the_clock_leaves_out_is_the_moment_of_the_change() -> None:
    assert until([quiet_rule(["sat"], "21:00", "02:30")], "2026-03-28T21:00") == at("2026-03-29T03:00")


def test_a_start_that_the_clock_leaves_out_is_quiet_from_the_change_on() -> None:
    rules = [quiet_rule(["sun"], "02:30", "05:00")]
    assert until(rules, "2026-03-29T01:59:59") is None
    assert until(rules, "2026-03-29T03:00") == at("2026-03-29T05:00")


def test_an_hour_shown_twice_is_quiet_both_times() -> None:
    rules = [quiet_rule(["sun"], "02:00", "03:00")]
    assert until(rules, "2026-10-25T02:30", fold=0) == at("2026-10-25T03:00")
    assert until(rules, "2026-10-25T02:30", fold=1) == at("2026-10-25T03:00")


def test_quiet_inside_an_hour_shown_twice_comes_twice() -> None:
    rules = [quiet_rule(["sun"], "02:15", "02:45")]
    assert until(rules, "2026-10-25T02:30", fold=0) == at("2026-10-25T02:45", fold=0)
    assert until(rules, "2026-10-25T02:50", fold=0) is None
    assert until(rules, "2026-10-25T02:30", fold=1) == at("2026-10-25T02:45", fold=1)


def test_quiet_that_starts_in_the_first_pass_stops_for_the_start_of_the_second() -> None:
    rules = [quiet_rule(["sun"], "02:30", "05:00")]
    assert until(rules, "2026-10-25T02:45", fold=0) == at("2026-10-25T02:00", fold=1)
    assert until(rules, "2026-10-25T02:15", fold=1) is None
    assert until(rules, "2026-10-25T02:45", fold=1) == at("2026-10-25T05:00")


def test_a_midnight_that_the_clock_leaves_out_ends_a_day_at_one() -> None:
    saturday = [quiet_rule(["sat"], "20:00", "24:00")]
    assert until(saturday, "2026-09-05T21:00", SANTIAGO) == at("2026-09-06T01:00", SANTIAGO)
    sunday = [quiet_rule(["sun"], "00:00", "08:00")]
    assert until(sunday, "2026-09-06T01:00", SANTIAGO) == at("2026-09-06T08:00", SANTIAGO)
    assert until(sunday, "2026-09-05T23:59:59", SANTIAGO) is None


def test_the_hour_before_midnight_shown_twice_is_saturday_both_times() -> None:
    saturday = [quiet_rule(["sat"], "20:00", "24:00")]
    end = at("2026-04-05T00:00", SANTIAGO)
    assert until(saturday, "2026-04-04T23:30", SANTIAGO, fold=0) == end
    assert until(saturday, "2026-04-04T23:30", SANTIAGO, fold=1) == end
    assert end - at("2026-04-04T20:00", SANTIAGO) == 5 * 3600 * 1_000_000


def test_the_same_instant_is_quiet_in_one_zone_and_not_in_another() -> None:
    now = at("2026-06-01T22:00")
    assert quiet_until([EVERY_NIGHT], now, BERLIN) is not None
    assert quiet_until([EVERY_NIGHT], now, UTC) is None


@pytest.mark.parametrize(("text", "minute"), [("00:00", 0), ("08:30", 510), ("23:59", 1439), ("24:00", 1440)])
def test_a_time_of_day_is_read(text: str, minute: int) -> None:
    assert parse_minute(text) == minute


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8:00",
        "08:60",
        "24:01",
        "25:00",
        "0800",
        "08:00:00",
        "-1:00",
        "+8:00",
        "\u0660\u0668:\u0660\u0660",
        "a" * 99,
    ],
)
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_minute(text)


def test_a_rule_that_starts_at_24_or_names_no_day_is_refused() -> None:
    with pytest.raises(ValueError, match="23:59"):
        quiet_rule(["mon"], "24:00", "08:00")
    with pytest.raises(ValueError):
        quiet_rule(["someday"], "21:00", "08:00")


def test_public_holidays_of_a_region_are_quiet_where_the_person_is() -> None:
    rule = [quiet_rule([], "00:00", "24:00", "FR")]  # 2026-07-14 is a Tuesday
    assert until(rule, "2026-07-14T00:00") == at("2026-07-15T00:00")
    assert until(rule, "2026-07-13T23:59:59") is None
    assert until(rule, "2026-07-15T00:00") is None
    assert until(rule, "2026-07-14T20:00", ZoneInfo("America/New_York")) is not None
    assert until(rule, "2026-07-14T00:00", ZoneInfo("Europe/Paris")) == at("2026-07-15T00:00", ZoneInfo("Europe/Paris"))


def test_a_subdivision_rests_on_days_of_its_own() -> None:
    corpus_christi = "2026-06-04T12:00"
    assert until([quiet_rule([], "00:00", "24:00", "DE-BY")], corpus_christi) is not None
    assert until([quiet_rule([], "00:00", "24:00", "DE-HB")], corpus_christi) is None


def test_a_holidays_night_runs_into_the_day_after_and_adds_up_with_days_of_the_week() -> None:
    rule = [quiet_rule(["wed"], "20:00", "08:00", "FR")]
    assert until(rule, "2026-07-15T07:59") == at("2026-07-15T08:00")
    assert until(rule, "2026-07-15T20:00") == at("2026-07-16T08:00")


@pytest.mark.parametrize("region", ["", "XX", "fr", "FRA", "France", "FR-", "DE-FR", "-BY"])
def test_a_region_that_is_none_is_refused(region: str) -> None:
    with pytest.raises(ValueError, match="no region"):
        quiet_rule([], "00:00", "24:00", region)
