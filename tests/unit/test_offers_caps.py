from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from geo_offers.instants import to_us
from geo_offers.offers.caps import CapRule, Scope, Use, Wanted, faults, over
from geo_offers.places.fences import FenceId

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
THIS, OTHER = UUID(int=1), UUID(int=2)
WANTED = Wanted(THIS, "bakery", frozenset({"food"}))


def at(text: str, fold: int = 0) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold))


NOW_US = at("2026-06-03T12:20")  # a Wednesday


def use(at_us: int, campaign: UUID = THIS, store: str = "bakery", tags: tuple[str, ...] = ("food",)) -> Use:
    return Use(at_us, campaign, store, FenceId(f"town/{store}"), frozenset(tags))


def full(rule: CapRule, uses: list[Use], now_us: int = NOW_US) -> dict[str, Any] | None:
    return over(rule, uses, WANTED, now_us=now_us, zone=BERLIN)


def test_a_rule_is_full_at_its_limit_and_not_before() -> None:
    rule = CapRule(limit=2, unit="day", scope=Scope.USER)
    assert full(rule, []) is None
    assert full(rule, [use(NOW_US)]) is None
    assert full(rule, [use(NOW_US), use(NOW_US)]) is not None


@pytest.mark.parametrize(
    ("rule", "length_us"),
    [
        (CapRule(1, 1, "hour"), HOUR_US),
        (CapRule(1, 5, "hour"), 5 * HOUR_US),
        (CapRule(1, 1, "day"), DAY_US),
        (CapRule(1, 2, "week"), 14 * DAY_US),
        (CapRule(1, 1, "month"), 31 * DAY_US),
    ],
)
def test_a_rolling_window_reaches_back_its_whole_length(rule: CapRule, length_us: int) -> None:
    assert full(rule, [use(NOW_US - length_us + 1)]) is not None
    assert full(rule, [use(NOW_US - length_us)]) is None


@pytest.mark.parametrize(
    ("rule", "start", "end"),
    [
        (CapRule(1, 1, "hour", "calendar"), "2026-06-03T12:00", "2026-06-03T13:00"),
        (CapRule(1, 2, "hour", "calendar"), "2026-06-03T11:00", "2026-06-03T14:00"),
        (CapRule(1, 1, "day", "calendar"), "2026-06-03T00:00", "2026-06-04T00:00"),
        (CapRule(1, 2, "day", "calendar"), "2026-06-02T00:00", "2026-06-05T00:00"),
        (CapRule(1, 1, "week", "calendar"), "2026-06-01T00:00", "2026-06-08T00:00"),
        (CapRule(1, 1, "month", "calendar"), "2026-06-01T00:00", "2026-07-01T00:00"),
    ],
)
def test_a_calendar_window_follows_the_persons_clock(rule: CapRule, start: str, end: str) -> None:
    for inside in (at(start), at(end) - 1):
        assert full(rule, [use(inside)]) is not None
    for outside in (at(start) - 1, at(end)):
        assert full(rule, [use(outside)]) is None


def test_the_hour_that_comes_twice_counts_as_two() -> None:
    rule = CapRule(1, 1, "hour", "calendar")
    first, second = at("2026-10-25T02:30", fold=0), at("2026-10-25T02:30", fold=1)
    assert full(rule, [use(first)], now_us=second) is None
    assert full(rule, [use(second)], now_us=at("2026-10-25T02:59", fold=1)) is not None


@pytest.mark.parametrize(
    ("scope", "counted"),
    [
        (Scope.USER, [use(NOW_US, OTHER, "cafe", ())]),
        (Scope.USER_STORE, [use(NOW_US, OTHER, "bakery", ())]),
        (Scope.USER_CAMPAIGN, [use(NOW_US, THIS, "cafe", ())]),
        (Scope.USER_TAG, [use(NOW_US, OTHER, "cafe", ("food", "hot"))]),
    ],
)
def test_a_scope_counts_what_it_names(scope: Scope, counted: list[Use]) -> None:
    assert full(CapRule(1, scope=scope, tag="food" if scope is Scope.USER_TAG else None), counted) is not None


@pytest.mark.parametrize(
    ("scope", "passed_by"),
    [
        (Scope.USER_STORE, [use(NOW_US, THIS, "cafe", ("food",))]),
        (Scope.USER_CAMPAIGN, [use(NOW_US, OTHER, "bakery", ("food",))]),
        (Scope.USER_TAG, [use(NOW_US, THIS, "bakery", ("books",))]),
    ],
)
def test_a_scope_passes_by_what_it_does_not_name(scope: Scope, passed_by: list[Use]) -> None:
    assert full(CapRule(1, scope=scope, tag="food" if scope is Scope.USER_TAG else None), passed_by) is None


def test_a_tag_rule_is_nothing_to_an_offer_without_the_tag() -> None:
    assert full(CapRule(1, scope=Scope.USER_TAG, tag="books"), [use(NOW_US, tags=("books",))]) is None


def test_what_a_full_rule_says_has_its_inputs_and_when_there_is_room_again() -> None:
    uses = [use(NOW_US - 3 * HOUR_US), use(NOW_US - 20 * HOUR_US), use(NOW_US - 2 * HOUR_US)]
    assert full(CapRule(2, 1, "day", scope=Scope.USER), uses) == {
        "scope": "user",
        "limit": 2,
        "used": 3,
        "n": 1,
        "unit": "day",
        "mode": "rolling",
        "until": "2026-06-04T07:20:00Z",  # when the second newest is a day old
    }
    calendar = full(CapRule(1, 1, "week", "calendar"), uses)
    assert calendar is not None
    assert calendar["until"] == "2026-06-07T22:00:00Z"


def test_there_is_room_at_the_told_instant_and_not_a_moment_sooner() -> None:
    uses = [use(NOW_US - 3 * HOUR_US), use(NOW_US - 2 * HOUR_US)]
    rule = CapRule(2, 1, "day", scope=Scope.USER)
    free_us = at("2026-06-04T09:20")
    assert full(rule, uses, now_us=free_us) is None
    assert full(rule, uses, now_us=free_us - 1) is not None


@pytest.mark.parametrize(
    ("rule", "pointers"),
    [
        (CapRule(1), []),
        (CapRule(1, 31, "day"), []),
        (CapRule(1, 744, "hour"), []),
        (CapRule(1, 1, "month", "calendar"), []),
        (CapRule(1, scope=Scope.USER_TAG, tag="food"), []),
        (CapRule(0), ["/caps/3/limit"]),
        (CapRule(1, 0), ["/caps/3/window/n"]),
        (CapRule(1, 745, "hour"), ["/caps/3/window/n"]),
        (CapRule(1, 5, "week"), ["/caps/3/window/n"]),
        (CapRule(1, 2, "month"), ["/caps/3/window/n"]),
        (CapRule(1, scope=Scope.USER_TAG), ["/caps/3/tag"]),
        (CapRule(-1, -1, tag="food"), ["/caps/3/limit", "/caps/3/window/n", "/caps/3/tag"]),
    ],
)
def test_a_rule_that_cannot_hold_is_refused_at_its_place(rule: CapRule, pointers: list[str]) -> None:
    assert [fault.pointer for fault in faults(rule, "/caps/3")] == pointers
