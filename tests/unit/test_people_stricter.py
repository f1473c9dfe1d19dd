"""Which changes of a rhythm allow more, by their places."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from geo_offers.people.mutes import Mutes
from geo_offers.people.quiet import QuietRule, quiet_rule
from geo_offers.people.rhythm import EVERY_NIGHT, Rhythm, Rolling, Special
from geo_offers.people.stricter import locates_more, looser

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def found(before: Rhythm, **change: Any) -> list[str]:
    return list(looser(before, replace(before, **change)))


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"max": 3}, ["/max"]),
        ({"max": 1}, []),
        ({"per": "day"}, ["/per"]),
        ({"per": "month"}, ["/per"]),  # a week may lie in two months
        ({"per": Rolling(500)}, ["/per"]),
        ({"per": "day", "max": 0}, []),
        ({"min_gap_h": 23.5}, ["/min_gap_h"]),
        ({"min_gap_h": 25.0}, []),
        ({"special": Special(max=2)}, ["/special/max"]),
        ({"special": Special(per="day")}, ["/special/per"]),
        ({"special": Special(allow=False, max=9, per="day")}, []),
        ({"channels": ("push",)}, []),
        ({"channels": ("inapp", "push")}, []),
        ({"channels": ()}, []),
        ({"mute": Mutes(stores=frozenset({"a"}))}, []),
    ],
)
def test_a_change_of_the_default_is_looser_there(change: dict[str, Any], pointers: list[str]) -> None:
    assert found(Rhythm(), **change) == pointers


def test_what_was_closed_is_opened_by_nothing_else() -> None:
    closed = Rhythm(max=0, special=Special(allow=False), channels=("inapp",), per="day")
    assert found(closed, special=Special()) == ["/special/allow"]
    assert found(closed, channels=("push",)) == ["/channels"]
    assert found(closed, channels=("inapp", "push")) == []  # in the app as before
    assert found(closed, channels=("push", "inapp")) == ["/channels"]
    assert found(closed, per="month", max=1) == ["/max"]


def test_what_was_muted_stays_so() -> None:
    muted = Rhythm(mute=Mutes(frozenset({"a"}), frozenset({"food"}), frozenset({UUID(int=1)})))
    assert found(muted, mute=Mutes()) == ["/mute/stores", "/mute/categories", "/mute/campaigns"]
    assert found(muted, mute=replace(muted.mute, stores=frozenset({"a", "b"}))) == []


def test_windows_of_hours_grow() -> None:
    assert found(Rhythm(per=Rolling(24)), per=Rolling(25)) == []
    assert found(Rhythm(per=Rolling(24)), per=Rolling(23)) == ["/per"]
    assert found(Rhythm(per="day"), per="week") == found(Rhythm(per="day"), per="month") == []


@pytest.mark.parametrize(
    ("rules", "covered"),
    [
        ([quiet_rule(WEEK, "21:00", "00:00"), quiet_rule(WEEK, "00:00", "08:00")], True),  # the same night in two
        ([quiet_rule(WEEK, "20:00", "09:00")], True),
        ([quiet_rule(WEEK, "00:00", "24:00")], True),
        ([quiet_rule(WEEK, "21:00", "07:59")], False),
        ([quiet_rule(WEEK[:6], "21:00", "08:00")], False),  # the night to Monday
        ([], False),
    ],
)
def test_every_quiet_minute_of_the_week_stays_quiet(rules: list[QuietRule], covered: bool) -> None:
    assert Rhythm().quiet == (EVERY_NIGHT,)
    assert found(Rhythm(), quiet=tuple(rules)) == ([] if covered else ["/quiet"])


def test_being_located_more_is_looser() -> None:
    order = ("off", "coarse", "foreground", "always")
    for one, before in enumerate(order):
        for other, after in enumerate(order):
            assert locates_more(before, after) is (other > one)  # type: ignore[arg-type]
