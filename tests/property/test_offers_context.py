"""Hours, series and numbers against plain oracles that look at every minute, every day, every number."""

import calendar as months
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from geo_offers.instants import to_us
from geo_offers.offers.calendars import Calendar, Series, rule_fault, series_faults
from geo_offers.offers.context import Number, Predictive, fed
from geo_offers.offers.hours import StoreHours, Told, opening, weekly_text, weekly_until
from geo_offers.offers.ics import read_ics
from geo_offers.people.quiet import QuietRule
from geo_offers.people.wall import MINUTE_US, first_instant_us, wall

# Clocks are changed at 1:00 UTC, at midnight, by half an hour, on a Friday, and never.
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Beirut", "UTC")]
CHANGES = [
    datetime.fromisoformat("2026-03-29"),
    datetime.fromisoformat("2026-10-25"),
    datetime.fromisoformat("2026-04-05"),
    datetime.fromisoformat("2026-09-06"),
    datetime.fromisoformat("2026-10-04"),
    datetime.fromisoformat("2026-06-03"),
]
LATER_US = 2**62
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

zones = st.sampled_from(ZONES)
rules = st.builds(
    QuietRule,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1440),
)


@st.composite
def moments(draw):
    """A whole minute near a change of some zone's clock."""
    zone = draw(zones)
    shown = draw(st.sampled_from(CHANGES)) + timedelta(minutes=draw(st.integers(-2 * 1440, 2 * 1440)))
    return zone, to_us(shown.replace(tzinfo=zone))


def open_by_the_wall(weekly, at_us, zone):
    shown = wall(at_us, zone)
    return any(rule.covers(shown.date(), shown.hour * 60 + shown.minute) for rule in weekly)


# ------------------------------------------------------------------------------------------------ hours
@given(st.lists(rules, min_size=1, max_size=3), moments())
def test_a_store_is_open_when_the_wall_says_so_and_until_the_very_minute(weekly, moment):
    zone, now_us = moment
    found = opening(Told(weekly_text(weekly), zone), now_us)
    assert found.open == open_by_the_wall(weekly, now_us, zone)
    for at_us in range(now_us, min(found.until_us or LATER_US, now_us + 1440 * MINUTE_US), MINUTE_US):
        assert open_by_the_wall(weekly, at_us, zone) == found.open
    if found.until_us is not None:
        assert open_by_the_wall(weekly, found.until_us, zone) != found.open


@given(st.lists(rules, min_size=1, max_size=3), moments(), st.lists(st.integers(-4000, 4000), min_size=1, max_size=8))
def test_what_is_kept_of_an_opening_is_what_a_fresh_look_would_say(weekly, moment, steps):
    zone, now_us = moment
    told = Told(weekly_text(weekly), zone)
    for step in steps:
        at_us = now_us + step * MINUTE_US
        assert opening(told, at_us) == StoreHours(*told).at(at_us)


@given(st.lists(rules, min_size=1, max_size=3), moments(), st.integers(0, MINUTE_US - 1))
def test_a_campaigns_hours_are_those_of_the_wall(weekly, moment, into_us):
    zone, now_us = moment
    assert (weekly_until(weekly, now_us + into_us, zone) is not None) == open_by_the_wall(weekly, now_us, zone)


# ------------------------------------------------------------------------------------------------ series
@st.composite
def repeated(draw):
    """A rule and, as its plain meaning, whether a day is one of its days (INTERVAL counts from the start)."""
    starts = datetime.fromisoformat("2026-01-01") + timedelta(
        days=draw(st.integers(0, 40)), minutes=draw(st.integers(0, 1439))
    )
    every = draw(st.integers(1, 4))
    days = sorted(draw(st.sets(st.integers(0, 6), min_size=1, max_size=4)))
    names = ",".join(WEEKDAYS[day] for day in days)
    monday = starts.date() - timedelta(days=starts.weekday())
    kind = draw(st.sampled_from(["daily", "weekly", "monthday", "nth", "yearly"]))
    monthday, nth = draw(st.integers(1, 31)), draw(st.integers(1, 4))
    month = draw(st.integers(1, 12))
    assume(kind != "yearly" or monthday <= months.monthrange(2024, month)[1])

    def months_on(day):
        return (day.year - starts.year) * 12 + day.month - starts.month

    if kind == "daily":
        return starts, f"FREQ=DAILY;INTERVAL={every}", lambda day: (day - starts.date()).days % every == 0
    if kind == "weekly":
        text = f"FREQ=WEEKLY;INTERVAL={every};BYDAY={names}"
        return starts, text, lambda day: day.weekday() in days and (day - monday).days // 7 % every == 0
    if kind == "monthday":
        text = f"FREQ=MONTHLY;INTERVAL={every};BYMONTHDAY={monthday}"
        return starts, text, lambda day: day.day == monthday and months_on(day) % every == 0
    if kind == "nth":
        text = f"FREQ=MONTHLY;BYDAY={nth}{WEEKDAYS[days[0]]}"
        return starts, text, lambda day: day.weekday() == days[0] and (day.day - 1) // 7 == nth - 1
    text = f"FREQ=YEARLY;BYMONTH={month};BYMONTHDAY={monthday}"
    return starts, text, lambda day: (day.month, day.day) == (month, monthday)


@given(repeated(), zones, st.integers(1, 40 * 60), st.integers(0, 900 * 1440), st.sets(st.integers(0, 5), max_size=2))
def test_a_series_is_on_exactly_on_its_days(drawn, zone, minutes, later, left_out):
    starts, rule, on_day = drawn
    assert rule_fault(rule) is None
    shown = starts + timedelta(minutes=later - 1440)
    days = [starts + timedelta(days=n) for n in range(1000) if on_day((starts + timedelta(days=n)).date())]
    without = tuple(days[n] for n in left_out if n < len(days))
    now_us = first_instant_us(shown, zone)
    series = Series(starts, zone.key, minutes * 60, rule, without)
    length = timedelta(minutes=minutes)
    spans = [(first_instant_us(day, zone), first_instant_us(day + length, zone)) for day in days if day not in without]
    on, until_us = Calendar([series]).at(now_us)
    assert on == any(start_us <= now_us < end_us for start_us, end_us in spans)
    if until_us is not None and on:
        assert all(any(s <= t < e for s, e in spans) for t in (until_us - 1, (now_us + until_us) // 2))
    elif until_us is not None:
        assert until_us == min(start_us for start_us, end_us in spans if start_us > now_us and end_us > start_us)


parts = st.sampled_from(
    [
        "FREQ=DAILY",
        "FREQ=WEEKLY",
        "FREQ=MONTHLY",
        "FREQ=YEARLY",
        "FREQ=HOURLY",
        "INTERVAL=2",
        "INTERVAL=11",
        "COUNT=9",
        "BYDAY=MO",
        "BYDAY=5MO",
        "BYDAY=-5SU,FR",
        "BYMONTHDAY=31",
        "BYMONTHDAY=-31",
        "BYMONTHDAY=29,30",
        "BYMONTH=2",
        "BYMONTH=2,4",
        "BYSETPOS=-1",
        "BYSETPOS=4",
        "WKST=SU",
        "UNTIL=20991231T000000Z",
        "UNTIL=20200101",
        "BYHOUR=1",
    ]
)


@given(st.lists(parts, min_size=1, max_size=6, unique=True), st.integers(0, 400), zones)
def test_a_rule_that_is_taken_costs_no_more_than_a_moment(chosen, late, zone):
    series = Series(datetime.fromisoformat("2024-02-29") + timedelta(days=late), zone.key, 3600, ";".join(chosen))
    if series_faults(series, ""):
        return
    started = time.process_time()
    calendar = Calendar([series])
    calendar.at(to_us(datetime(2026, 5, 1, tzinfo=zone)))
    calendar.coming(to_us(datetime(2026, 5, 1, tzinfo=zone)))
    assert time.process_time() - started < 1.0


@given(st.text(max_size=320) | st.lists(st.text(max_size=12), max_size=6).map(";".join))
def test_no_text_breaks_the_reading_of_a_rule_or_a_file(text):
    series = Series(datetime.fromisoformat("2026-01-01"), "UTC", 60, text)
    assert all(fault.pointer == "/rrule" for fault in series_faults(series, ""))
    read_ics(text, "UTC", "/ics")
    event = ["BEGIN:VEVENT", "DTSTART:20260101T000000Z", "DURATION:PT1H", f"RRULE:{text}", "END:VEVENT"]
    read_ics("\r\n".join(["BEGIN:VCALENDAR", *event, "END:VCALENDAR", ""]), "UTC", "/ics")


# ------------------------------------------------------------------------------------------------ numbers
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(-4, 4)), max_size=12),
    st.booleans(),
    st.integers(0, 3),
    st.integers(1, 20),
)
def test_a_fed_number_has_an_event_on_as_its_history_says(numbers, below, hysteresis, max_age_s):
    rule = Predictive(0.0, below, float(hysteresis), max_age_s)
    held: Number | None = None
    newest, on = -1, False
    for at_s, value in numbers:
        held = fed(rule, held, float(value), at_s * 1_000_000)
        if at_s > newest:
            beyond = -value if below else value
            remembered = on and at_s - newest <= max_age_s
            on, newest = beyond >= 0 or (remembered and beyond >= -hysteresis), at_s
        assert (held.at_us, held.on) == (newest * 1_000_000, on)
