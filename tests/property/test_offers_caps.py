"""A rule's count from its definition: the uses that it is about whose instants stand in its window."""

from collections.abc import Sequence
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from geo_offers.offers.caps import CapRule, Past, Scope, Use, Wanted, cap_window, over, rules_of
from geo_offers.offers.gates.rule import gap_until_us
from geo_offers.places.fences import FenceId

NOW_US = 1_780_480_800_000_000
HOUR_US = 3_600_000_000
ZONE = ZoneInfo("Europe/Berlin")
NAMES = st.sampled_from("abc")
TAGS = st.frozensets(NAMES)
INSTANTS = st.integers(-40 * 24, 40 * 24).map(lambda hours: NOW_US + hours * HOUR_US) | st.just(NOW_US)
USES = st.lists(
    st.builds(
        Use, INSTANTS, st.integers(1, 3).map(lambda number: UUID(int=number)), NAMES, st.just(FenceId("a/b")), TAGS
    ),
    max_size=12,
)
WANTED = st.builds(Wanted, st.integers(1, 3).map(lambda number: UUID(int=number)), NAMES, TAGS)


@st.composite
def rules(draw: st.DrawFn) -> CapRule:
    scope = draw(st.sampled_from(Scope))
    return CapRule(
        draw(st.integers(1, 4)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from(["hour", "day", "week"])),
        draw(st.sampled_from(["rolling", "calendar"])),
        scope,
        draw(NAMES) if scope is Scope.USER_TAG else None,
    )


def about(rule: CapRule, use: Use, wanted: Wanted) -> bool:
    return {
        Scope.USER: True,
        Scope.USER_STORE: use.store == wanted.store,
        Scope.USER_CAMPAIGN: use.campaign == wanted.campaign,
        Scope.USER_TAG: rule.tag in use.tags and rule.tag in wanted.tags,
    }[rule.scope]


@given(USES, st.lists(rules(), min_size=1, max_size=5), WANTED, st.booleans())
def test_a_rule_is_full_where_as_many_uses_of_its_kind_stand_in_its_window(
    uses: Sequence[Use], several: list[CapRule], wanted: Wanted, looked_at_once: bool
) -> None:
    given_uses = Past(uses) if looked_at_once else uses
    for rule in several:
        window = cap_window(rule, NOW_US, ZONE)
        counted = sum(about(rule, use, wanted) and use.at_us in window for use in uses)
        full = over(rule, given_uses, wanted, now_us=NOW_US, zone=ZONE)
        assert (full is not None) == (counted >= rule.limit)
        assert full is None or full["used"] == counted


@given(USES, st.integers(0, 50 * 24).map(lambda hours: hours * HOUR_US))
def test_a_gap_holds_from_the_newest_use_that_is_nearer_than_it(uses: Sequence[Use], gap_us: int) -> None:
    near = [use.at_us for use in uses if abs(NOW_US - use.at_us) < gap_us]
    assert gap_until_us(Past(uses).instants, NOW_US, gap_us) == (max(near) + gap_us if near else None)


@given(USES, st.lists(rules(), max_size=6), st.lists(WANTED, min_size=1, max_size=5))
def test_of_several_rules_the_first_full_one_is_found_whoever_was_asked_before(
    uses: Sequence[Use], several: list[CapRule], candidates: list[Wanted]
) -> None:
    room = Past(uses).room(NOW_US, ZONE)
    for wanted in candidates:
        each = [over(rule, uses, wanted, now_us=NOW_US, zone=ZONE) for rule in several]
        first = next(((number, full) for number, full in enumerate(each) if full is not None), None)
        assert room.first_full(rules_of(tuple(several)), wanted) == first


@given(USES, rules(), WANTED, st.integers(-48, 48))
def test_room_is_looked_at_anew_at_another_instant(
    uses: Sequence[Use], rule: CapRule, wanted: Wanted, away: int
) -> None:
    past, later_us = Past(uses), NOW_US + away * HOUR_US
    past.room(NOW_US, ZONE).first_full(rules_of((rule,)), wanted)
    found = past.room(later_us, ZONE).first_full(rules_of((rule,)), wanted)
    assert (None if found is None else found[1]) == over(rule, uses, wanted, now_us=later_us, zone=ZONE)
