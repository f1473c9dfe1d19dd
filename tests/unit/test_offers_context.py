"""What goes on around an offer: calendars' files, holidays, states of events, what is kept of what people did."""

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from dateutil.rrule import rrulestr
from shapely import box

from geo_offers.instants import from_us, to_us
from geo_offers.offers.calendars import Calendar, PublicHolidays, Series, rule_fault
from geo_offers.offers.context import (
    INTERACTIONS_KEPT,
    Asked,
    Corporate,
    Embargo,
    Event,
    Interacted,
    Interaction,
    Local,
    News,
    Number,
    Predictive,
    Recurring,
    State,
    Surroundings,
    purchase_until_us,
    with_interaction,
    without_profile,
)
from geo_offers.offers.hours import Opening, Told, opening, weekly_text
from geo_offers.offers.ics import read_ics
from geo_offers.people.quiet import quiet_rule
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle
from geo_offers.places.meeting import meet

BERLIN = ZoneInfo("Europe/Berlin")
S = 1_000_000
NOW_US = to_us(datetime(2026, 6, 3, 12, 0, tzinfo=BERLIN))
FENCE = Geofence(FenceId("town/a"), 1, "A", Circle(53.0, 8.0, 100.0), "main", (), True, Detect("raw"))


def at(text: str) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=BERLIN))


def asked(**changes):
    return Asked(**{"now_us": NOW_US, "fence": FENCE, "zone": BERLIN, "numbers": {}} | changes)


def state(event, **changes):
    return Surroundings({"e": event}, named=["e"]).moment(asked(**changes)).events["e"]


def calendar_file(*events):
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *events, "END:VCALENDAR", ""])


def vevent(*lines, uid="1"):
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT"])


# ------------------------------------------------------------------------------------------------ states
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Corporate(NOW_US, NOW_US + S), State(on=True, until_us=NOW_US + S)),
        (Corporate(NOW_US + 1, NOW_US + S), State(on=False, why="not_yet", until_us=NOW_US + 1)),
        (Corporate(NOW_US - S, NOW_US), State(on=False, why="over")),
        (News(NOW_US, NOW_US + S, 1), State(on=False, why="not_approved")),
        (News(NOW_US, NOW_US + S, 2), State(on=True, until_us=NOW_US + S)),
        (Recurring(holidays=PublicHolidays("DE-NW", "Europe/Berlin")), State(False, "not_now", at("2026-06-04"))),
        (Predictive(1.0, False, 0.0, 60), State(on=None, why="no_number")),
        (Interacted("basket_left", 60), State(on=False, why="no_interaction")),
    ],
)
def test_an_event_is_on_within_its_time_alone(event, expected):
    assert state(event) == expected


def test_of_an_event_that_is_not_there_it_is_not_known_whether_it_is_on():
    assert Surroundings(named=["gone"]).moment(asked()).events == {"gone": State(on=None, why="unknown")}


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(60, State(True, None, NOW_US)), (61, State(None, "number_too_old"))],
)
def test_a_number_counts_up_to_its_age(age_s, expected):
    number = Number(5.0, NOW_US - age_s * S, on=True)
    assert state(Predictive(1.0, False, 0.0, 60), numbers={"e": number}) == expected


def test_an_interaction_counts_for_the_shorter_of_the_senders_time_and_the_events():
    did = Interaction("a", "basket_left", NOW_US - 30 * S, NOW_US + 100 * S)
    assert state(Interacted("basket_left", 60), interactions=[did]).until_us == NOW_US + 30 * S
    assert state(Interacted("basket_left", 3600), interactions=[did]).until_us == NOW_US + 100 * S
    assert state(Interacted("review", 3600), interactions=[did]).on is False
    future = msgspec.structs.replace(did, at_us=NOW_US + 1)
    assert state(Interacted("basket_left", 3600), interactions=[future]).on is False


def test_an_embargo_is_by_the_day_on_the_fences_wall_and_by_events_that_are_on_or_not_known():
    day = Surroundings(embargo=Embargo(days=frozenset({datetime.fromisoformat("2026-06-03").date()})))
    assert day.moment(asked()).embargo == State(True, "2026-06-03", at("2026-06-04"))
    assert day.moment(asked(zone=ZoneInfo("Pacific/Auckland"), now_us=at("2026-06-03T23:00"))).embargo.on is False
    fair = {"fair": Corporate(NOW_US, NOW_US + S)}
    assert Surroundings(fair, embargo=Embargo(events=("fair",))).moment(asked()).embargo.why == "fair"
    assert Surroundings({}, embargo=Embargo(events=("gone",))).moment(asked()).embargo.on is True


def test_a_rule_survives_its_column():
    rules = [
        Corporate(1, 2),
        Recurring(
            (
                Series(
                    datetime.fromisoformat("2026-01-01T09:00"),
                    "UTC",
                    60,
                    "FREQ=DAILY",
                    (datetime.fromisoformat("2026-01-02T09:00"),),
                ),
            )
        ),
        Local(1, 2, msgspec.Raw(b'{"a":1}')),
        Predictive(1.0, True, 0.5, 60),
        Interacted("a", 1),
        News(1, 2),
    ]
    for rule in rules:
        read = msgspec.json.decode(msgspec.json.encode(rule), type=Event)
        assert msgspec.json.encode(read) == msgspec.json.encode(rule)


# ------------------------------------------------------------------------------------------------ hours
def test_a_store_is_closed_on_the_holidays_of_its_country_and_open_on_those_of_others():
    feast = to_us(datetime(2026, 7, 14, 12, tzinfo=ZoneInfo("Europe/Paris")))
    hours = "Mo-Sa 10:00-19:00; PH off"
    paris = ZoneInfo("Europe/Paris")
    assert opening(Told(hours, paris, "FR"), feast).open is False
    assert opening(Told(hours, paris, "DE"), feast).open is True
    assert opening(Told(hours, paris), feast).open is True


def test_as_many_intervals_as_a_store_may_have_are_read():
    every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    intervals = [quiet_rule(every_day, f"12:{minute:02}", f"12:{minute + 1:02}") for minute in range(50)]
    assert opening(Told(weekly_text(intervals), BERLIN), NOW_US) == Opening(open=True, until_us=NOW_US + 50 * 60 * S)


@pytest.mark.parametrize("hours", ["Mo-Su 10:00-14:00 unknown", "hours of long ago", "off"])
def test_a_store_that_is_not_surely_open_is_closed(hours):
    assert opening(Told(hours, BERLIN), NOW_US).open is False


# ------------------------------------------------------------------------------------------------ calendars
def test_a_file_is_read_with_its_rules_moved_days_and_what_it_leaves_out():
    text = calendar_file(
        vevent(
            "DTSTART;TZID=Europe/Berlin:20260601T100000",
            "DTEND;TZID=Europe/Berlin:20260601T120000",
            "RRULE:FREQ=DAILY;UNTIL=20260610T080000Z",
            "EXDATE;TZID=Europe/Berlin:20260602T100000",
        ),
        vevent("RECURRENCE-ID;TZID=Europe/Berlin:20260603T100000", "DTSTART:20260603T160000Z", "DURATION:PT1H"),
        vevent("DTSTART;VALUE=DATE:20260620", uid="2"),
        vevent("DTSTART:20260605T000000Z", "DURATION:PT1H", "STATUS:CANCELLED", uid="3"),
    )
    series = read_ics(text, "Europe/Berlin", "/ics")
    assert isinstance(series, tuple)
    calendar = Calendar(series)
    on = {
        "2026-06-01T11:00": True,
        "2026-06-02T11:00": False,
        "2026-06-03T11:00": False,
        "2026-06-03T18:30": True,
        "2026-06-10T11:00": True,
        "2026-06-11T11:00": False,
        "2026-06-05T02:30": False,
        "2026-06-20T00:00": True,
        "2026-06-20T23:59": True,
        "2026-06-21T00:00": False,
    }
    assert {shown: calendar.at(at(shown))[0] for shown in on} == on


def test_holidays_are_of_the_region_and_last_the_whole_day():
    corpus_christi = at("2026-06-04")
    assert Calendar([PublicHolidays("DE-BY", "Europe/Berlin")]).at(corpus_christi) == (True, at("2026-06-05"))
    assert Calendar([PublicHolidays("DE-BE", "Europe/Berlin")]).at(corpus_christi)[0] is False


def test_what_comes_next_is_found_a_year_ahead_and_each_once():
    yearly = Series(
        datetime.fromisoformat("2020-12-24T18:00"), "Europe/Berlin", 3600, "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24"
    )
    assert [span[0] for span in Calendar([yearly]).coming(NOW_US)] == [at("2026-12-24T18:00")]
    long = Series(datetime.fromisoformat("2026-01-01"), "UTC", 31 * 86_400, "FREQ=MONTHLY;BYMONTHDAY=1;INTERVAL=2")
    starts = [span[0] for span in Calendar([long]).coming(NOW_US, 4)]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("rule", ["FREQ=WEEKLY;INTERVAL=4;BYDAY=MO,FR", "FREQ=DAILY;INTERVAL=29"])
def test_what_began_long_ago_keeps_its_pace(rule):
    series = Series(datetime.fromisoformat("2000-01-07T12:00"), "UTC", 60, rule)  # a Friday
    plain = rrulestr(rule, dtstart=series.starts)
    begin_us, end_us = at("2026-01-01"), at("2027-01-01")
    expected = [
        to_us(found.replace(tzinfo=UTC))
        for found in plain.between(from_us(begin_us).replace(tzinfo=None), from_us(end_us).replace(tzinfo=None))
    ]
    found = [Calendar([series]).coming(us - 1, 1)[0][0] for us in expected]
    assert expected
    assert found == expected


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY",
        "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=MONTHLY;BYDAY=-1FR",
        "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
        "freq=daily;count=3",
    ],
)
def test_the_rules_that_calendars_make_are_taken(rule):
    assert rule_fault(rule) is None
    assert Calendar([Series(datetime.fromisoformat("2026-06-01"), "UTC", 60, rule)]).coming(at("2026-05-31"))


# ------------------------------------------------------------------------------------------------ what people did
def test_of_what_people_did_each_is_kept_once_while_it_is_valid_and_few_at_a_time():
    first = Interaction("a", "review", NOW_US, NOW_US + 10)
    kept = with_interaction([], first, NOW_US)
    assert with_interaction(kept, msgspec.structs.replace(first, until_us=NOW_US + 99), NOW_US) == [first]
    assert with_interaction(kept, Interaction("b", "review", NOW_US, NOW_US + 20), NOW_US + 10)[0].id == "b"
    many: list[Interaction] = []
    for n in range(40):
        many = with_interaction(many, Interaction(str(n), "review", NOW_US, NOW_US + 1 + n), NOW_US)
    assert [one.id for one in many] == [str(n) for n in range(40 - INTERACTIONS_KEPT, 40)]


def test_a_purchase_silences_its_own_campaign_to_its_end_and_outlives_the_consent_to_profiling():
    bought = Interaction("a", "purchase", NOW_US, NOW_US + 10, UUID(int=1))
    seen = Interaction("b", "review", NOW_US, NOW_US + 10)
    assert without_profile([bought, seen], NOW_US) == [bought]
    assert purchase_until_us([bought, seen], UUID(int=1), NOW_US) == NOW_US + 10
    assert purchase_until_us([bought], UUID(int=1), NOW_US + 10) is None
    assert purchase_until_us([bought], UUID(int=2), NOW_US) is None


# ------------------------------------------------------------------------------------------------ places
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Area(box(8, 53, 9, 54)), Area(box(9, 54, 10, 55)), True),
        (Area(box(8, 53, 9, 54)), Area(box(9.01, 54, 10, 55)), False),
        (Circle(53.5, 7.99, 1000), Area(box(8, 53, 9, 54)), True),
        (Circle(53.5, 7.99, 500), Area(box(8, 53, 9, 54)), False),
        (Circle(53.0, 8.0, 100), Circle(53.0, 8.003, 102), True),
        (Circle(53.0, 8.0, 100), Circle(53.0, 8.003, 100), False),
    ],
)
def test_places_meet_where_they_share_a_point(one, other, expected):
    assert (meet(one, other), meet(other, one)) == (expected, expected)
