"""Back-off: what silence, dismissal, mute and redemption do to a person's step, and what the step does to the gap."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from geo_offers.offers.caps import Use
from geo_offers.offers.decide import Reason
from geo_offers.people.backoff import BackOff, Became, became, step
from tests.unit.test_offers_special import DAY_US, HOUR_US, ORDINARY, RHYTHM, SPECIAL, decided, use

SHOWN, OPENED, MUTED, REDEEMED = Became.SHOWN, Became.OPENED, Became.MUTED, Became.REDEEMED
RULE = BackOff()
histories = st.lists(st.sampled_from(Became), max_size=30)
rules = st.builds(BackOff, st.integers(1, 5), st.integers(1, 300))


@pytest.mark.parametrize(
    ("told", "reached"),
    [
        ([], 0),
        ([SHOWN, SHOWN], 0),
        ([SHOWN] * 3, 1),
        ([SHOWN] * 5, 1),
        ([SHOWN] * 6, 2),
        ([SHOWN] * 60, 3),  # eight times the gap and no more
        ([SHOWN, SHOWN, OPENED, SHOWN, SHOWN], 0),
        ([SHOWN, Became.NOTHING, SHOWN, Became.NOTHING, SHOWN], 1),
        ([SHOWN, SHOWN, Became.WRONG_PLACE, SHOWN], 0),
        ([Became.WRONG_PLACE] * 9, 0),
        ([Became.PUT_OFF], 2),
        ([Became.UNWANTED], 2),
        ([MUTED], 2),
        ([MUTED, MUTED], 3),
        ([MUTED, REDEEMED], 0),
        ([REDEEMED, MUTED], 2),
        ([*[SHOWN] * 9, REDEEMED], 1),
    ],
)
def test_a_step_is_what_became_of_the_offers_in_their_order(told: list[Became], reached: int) -> None:
    assert step(told, RULE) == reached


def test_how_many_silent_ones_are_a_step_and_where_it_ends_is_set() -> None:
    assert step([SHOWN] * 4, BackOff(after=2, most=8)) == 2
    assert step([SHOWN] * 9, BackOff(after=1, most=8)) == 3
    assert step([SHOWN] * 9, BackOff(after=1, most=15)) == 3
    assert step([SHOWN] * 9, BackOff(after=1, most=16)) == 4
    assert step([MUTED], BackOff(after=1, most=1)) == 0


@given(histories, rules)
def test_a_step_never_leaves_its_bounds(told: list[Became], rule: BackOff) -> None:
    assert step(told, rule) >= 0
    assert 2 ** step(told, rule) <= rule.most


@given(histories, rules, st.integers(0, 30))
def test_forgetting_the_oldest_never_takes_anybody_up(told: list[Became], rule: BackOff, old: int) -> None:
    assert step(told[old:], rule) <= step(told, rule)


@given(histories, rules)
def test_one_more_silence_or_dislike_never_takes_anybody_down_nor_a_redemption_up(
    told: list[Became], rule: BackOff
) -> None:
    now = step(told, rule)
    for worse in (Became.NOTHING, SHOWN, OPENED, Became.WRONG_PLACE, Became.PUT_OFF, Became.UNWANTED, MUTED):
        assert step([*told, worse], rule) >= now
    assert step([*told, REDEEMED], rule) <= now


@pytest.mark.parametrize(
    ("event", "reason", "what"),
    [
        ("shown", None, Became.SHOWN),
        ("opened", None, Became.OPENED),
        ("muted", None, Became.MUTED),
        ("dismissed", None, Became.PUT_OFF),
        ("dismissed", "not_now", Became.PUT_OFF),
        ("dismissed", "too_many", Became.UNWANTED),
        ("dismissed", "not_for_me", Became.UNWANTED),
        ("dismissed", "wrong_place", Became.WRONG_PLACE),
    ],
)
def test_what_an_event_tells(event: str, reason: str | None, what: Became) -> None:
    assert became(event, reason) is what


# ------------------------------------------------------------------------------------------------ in a decision
LOOSE = replace(RHYTHM, max=100)


def silent(*ago_us: int) -> Sequence[Use]:
    return [structs.replace(use(ago), became=SHOWN) for ago in ago_us]


def test_three_silent_offers_double_the_gap_and_the_receipt_says_the_step() -> None:
    uses = silent(40 * HOUR_US, 70 * HOUR_US, 100 * HOUR_US)
    found = decided(*uses, rhythm=LOOSE, campaigns=(ORDINARY,))
    assert found.reason is Reason.RHYTHM_GAP
    (gap,) = [gate.detail for gate in found.gates if gate.gate == "rhythm_gap"]
    assert gap == {"min_gap_h": 24, "step": 1, "until": "2026-06-03T18:00:00Z"}
    assert decided(*silent(48 * HOUR_US, 70 * HOUR_US, 100 * HOUR_US), rhythm=LOOSE).offer is not None
    assert decided(*uses[:2], rhythm=LOOSE).offer is not None


def test_the_order_in_which_offers_were_read_does_not_matter() -> None:
    uses = [structs.replace(use(30 * HOUR_US), became=REDEEMED), structs.replace(use(60 * HOUR_US), became=MUTED)]
    assert decided(*uses, rhythm=LOOSE, campaigns=(ORDINARY,)).offer is not None
    assert decided(*reversed(uses), rhythm=LOOSE, campaigns=(ORDINARY,)).offer is not None


def test_no_gap_grows_beyond_what_is_remembered() -> None:
    rhythm = replace(LOOSE, min_gap_h=700)
    for ago_us, offered in ((31 * DAY_US, True), (31 * DAY_US - 1, False)):
        uses = structs.replace(use(ago_us), became=MUTED)
        assert (decided(uses, rhythm=rhythm, campaigns=(ORDINARY,)).offer is not None) is offered


def test_a_dismissal_makes_the_gap_four_times_as_long() -> None:
    for ago_us, offered in ((4 * DAY_US, True), (4 * DAY_US - 1, False)):
        uses = structs.replace(use(ago_us), became=Became.PUT_OFF)
        assert (decided(uses, rhythm=LOOSE, campaigns=(ORDINARY,)).offer is not None) is offered


def test_a_special_offer_too_waits_for_a_gap_that_has_grown() -> None:
    for newest_us, offered in ((48 * HOUR_US, True), (40 * HOUR_US, False)):
        uses = silent(newest_us, 70 * HOUR_US, 100 * HOUR_US)
        assert (decided(*uses, rhythm=LOOSE, campaigns=(SPECIAL,)).offer is not None) is offered
