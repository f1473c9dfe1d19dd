"""What bounds one scope of a lane: its rate, its gateway's wish, its breaker."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    AuthBroken,
    Later,
    NotSent,
    Refused,
    TokenDead,
    TooLate,
    Transient,
)
from geo_offers.pipeline.throttle import (
    LONGEST_TURN_S,
    MOST_DEATHS,
    OPEN_S,
    SPREAD_S,
    TRIAL_S,
    TRIPS_AFTER,
    Throttle,
)

FAILED = (Transient("http 500"), Ambiguous("timeout"), NotSent("refused"))
UNASKED = (TooLate(), Refused("too large", by_us=True), TokenDead(detail="no token", by_us=True))


@pytest.fixture
def throttle():
    return Throttle(inf)


def fail(throttle, times, now_s=0.0, outcome=FAILED[0]):
    for _ in range(times):
        throttle.hold_s(now_s, 0.0)
        throttle.heard(outcome, now_s, 0.5)


def test_nothing_holds_a_scope_that_is_well(throttle):
    assert [throttle.hold_s(0.0, 0.0) for _ in range(1000)] == [0.0] * 1000
    assert throttle.idle


def test_a_rate_lets_a_fifth_of_a_second_pass_at_once_and_then_its_share():
    throttle = Throttle(100.0)
    assert [throttle.hold_s(10.0, 0.0) for _ in range(20)] == [0.0] * 20
    assert throttle.hold_s(10.0, 0.0) == pytest.approx(0.01)
    assert throttle.hold_s(10.011, 0.0) == 0.0


def test_what_is_over_the_rate_comes_back_a_turn_each():
    throttle = Throttle(10.0)
    assert [throttle.hold_s(0.0, 0.0) for _ in range(2)] == [0.0, 0.0]
    turns = [throttle.hold_s(0.0, 1.0) for _ in range(30)]
    assert turns == pytest.approx([number / 10 for number in range(1, 31)])
    assert [throttle.hold_s(turn, 0.0) for turn in turns] == [0.0] * 30


def test_a_turn_is_never_farther_off_than_a_minute():
    throttle = Throttle(1.0)
    held = [throttle.hold_s(0.0, 0.0) for _ in range(1000)]
    assert max(held) == LONGEST_TURN_S
    assert throttle.hold_s(2000.0, 0.0) == 0.0
    assert throttle.hold_s(2000.0, 0.0) == pytest.approx(1.0)


def test_the_end_of_a_pause_is_spread_over_five_seconds_at_most(throttle):
    throttle.heard(Later(30.0, whole_lane=True), 0.0, 0.5)
    assert [throttle.hold_s(0.0, jitter) for jitter in (0.0, 0.5, 1.0)] == [30.0, 32.5, 30.0 + SPREAD_S]
    assert throttle.hold_s(29.0, 1.0) == 2.0


def test_a_gateways_wish_for_all_holds_all_and_for_one_holds_nobody(throttle):
    throttle.heard(Later(30.0), 0.0, 0.5)
    assert throttle.hold_s(1.0, 0.0) == 0.0
    throttle.heard(Later(30.0, whole_lane=True), 0.0, 0.5)
    assert throttle.hold_s(1.0, 0.0) == 29.0
    assert throttle.hold_s(30.0, 0.0) == 0.0


def test_an_answer_that_was_under_way_does_not_end_a_gateways_wish(throttle):
    throttle.heard(Later(30.0, whole_lane=True), 0.0, 0.5)
    throttle.heard(Accepted(), 1.0, 0.5)
    assert throttle.hold_s(2.0, 0.0) == 28.0


@pytest.mark.parametrize("outcome", FAILED)
def test_ten_failures_in_a_row_open_the_breaker(throttle, outcome):
    fail(throttle, TRIPS_AFTER - 1, outcome=outcome)
    assert not throttle.open
    assert throttle.hold_s(0.0, 0.0) == 0.0
    fail(throttle, 1, outcome=outcome)
    assert throttle.open
    assert throttle.hold_s(0.0, 0.0) == OPEN_S[0]


@pytest.mark.parametrize("answer", [Accepted(), TokenDead(), Refused("http 400")])
def test_an_answer_in_between_starts_the_count_anew(throttle, answer):
    fail(throttle, TRIPS_AFTER - 1)
    throttle.heard(answer, 0.0, 0.5)
    fail(throttle, TRIPS_AFTER - 1)
    assert not throttle.open


@pytest.mark.parametrize("outcome", UNASKED)
def test_a_send_that_was_never_made_says_nothing_of_the_gateway(throttle, outcome):
    fail(throttle, TRIPS_AFTER - 1)
    throttle.heard(outcome, 0.0, 0.5)
    fail(throttle, 1)
    assert throttle.open
    assert throttle.hold_s(2.0, 0.0) == 0.0
    throttle.heard(outcome, 2.0, 0.5)
    assert throttle.open
    assert throttle.hold_s(2.0, 0.0) == 0.0  # the next one tries, and alone
    assert throttle.hold_s(2.0, 0.0) == TRIAL_S


def test_after_its_time_one_send_tries_alone_and_closes_it(throttle):
    fail(throttle, TRIPS_AFTER)
    assert throttle.hold_s(2.0, 0.0) == 0.0
    assert throttle.hold_s(2.0, 0.0) == TRIAL_S
    throttle.heard(Accepted(), 2.1, 0.5)
    assert not throttle.open
    assert throttle.hold_s(2.1, 0.0) == 0.0


def test_a_failed_trial_opens_it_for_twice_as_long_up_to_a_minute(throttle):
    fail(throttle, TRIPS_AFTER)
    now_s, lasted = 0.0, []
    for _ in range(7):
        hold_s = throttle.hold_s(now_s, 0.0)
        lasted.append(hold_s)
        now_s += hold_s
        assert throttle.hold_s(now_s, 0.0) == 0.0
        throttle.heard(FAILED[0], now_s, 0.5)
    assert lasted == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_refused_credentials_open_it_at_once(throttle):
    throttle.heard(AuthBroken("http 403"), 5.0, 0.5)
    assert throttle.open
    assert throttle.hold_s(5.0, 0.0) == OPEN_S[0]


def test_many_sends_that_fail_together_open_it_once(throttle):
    fail(throttle, TRIPS_AFTER * 5)
    assert throttle.hold_s(0.0, 0.0) == OPEN_S[0]


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from([*FAILED, Accepted(), AuthBroken(""), Later(3.0, True)]))))
def test_whatever_comes_a_scope_is_asked_again_within_a_minute_and_a_quarter(steps):
    throttle, now_s = Throttle(50.0), 0.0
    for waited_s, outcome in steps:
        now_s += waited_s
        held_s = throttle.hold_s(now_s, 0.0)
        assert 0.0 <= held_s <= OPEN_S[1] * 1.25
        if held_s == 0.0:
            throttle.heard(outcome, now_s, 1.0)


# ---------------------------------------------------------------------------------------------- deaths
def doubts(throttle, outcomes, now_s=0.0):
    """Which of the sends was not believed."""
    return [isinstance(throttle.believed(outcome, now_s), AuthBroken) for outcome in outcomes]


def test_some_dead_tokens_are_no_reason_to_doubt_a_gateway(throttle):
    assert not any(doubts(throttle, [TokenDead()] * MOST_DEATHS))
    throttle = Throttle(inf)
    assert not any(doubts(throttle, ([Accepted()] * 4 + [TokenDead()]) * 200))  # a fifth, and no more


def test_a_gateway_that_says_dead_of_all_tokens_is_not_believed_from_one_too_many_on(throttle):
    assert doubts(throttle, [TokenDead()] * 30) == [False] * MOST_DEATHS + [True] * 10
    assert doubts(throttle, [Accepted(), Transient("http 500")]) == [False, False]
    assert doubts(throttle, [Accepted()] * 400 + [TokenDead()])[-1] is False  # by then they are few among many


def test_a_death_that_the_gateway_has_not_said_is_no_reason_to_doubt_it(throttle):
    assert not any(doubts(throttle, [TokenDead(detail="no token", by_us=True)] * 100))
    assert doubts(throttle, [TokenDead()] * (MOST_DEATHS + 1)) == [False] * MOST_DEATHS + [True]


@pytest.mark.parametrize("outcome", UNASKED)
def test_what_was_not_sent_is_no_send_of_which_a_share_may_die(throttle, outcome):
    doubts(throttle, [outcome] * 1000)
    assert sum(doubts(throttle, [TokenDead()] * 30)) == 30 - MOST_DEATHS


def test_of_many_sends_a_share_is_too_many(throttle):
    assert sum(doubts(throttle, [Accepted()] * 1000 + [TokenDead()] * 300)) == 50  # more than a fifth of 1,250


def test_a_minute_later_they_are_forgotten(throttle):
    doubts(throttle, [TokenDead()] * 30)
    assert not throttle.idle
    assert doubts(throttle, [TokenDead()], 59.0) == [True]
    assert doubts(throttle, [TokenDead(), Accepted()], 120.0) == [False, False]
    doubts(throttle, [Accepted()], 240.0)
    assert throttle.idle


def test_what_is_not_believed_opens_the_breaker(throttle):
    doubts(throttle, [TokenDead()] * MOST_DEATHS)
    throttle.heard(throttle.believed(TokenDead(), 0.0), 0.0, 0.5)
    assert throttle.open
    assert throttle.hold_s(0.5, 0.0) == pytest.approx(1.5)


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200))
def test_the_deaths_believed_in_any_minute_are_few_or_a_fifth(sends):
    throttle, now_s, told = Throttle(inf), 0.0, []
    for rest_s, dead in sends:
        now_s += rest_s
        outcome = throttle.believed(TokenDead() if dead else Accepted(), now_s)
        told.append((now_s, isinstance(outcome, TokenDead)))
        believed = sum(believed for at_s, believed in told if at_s > now_s - 59.0)  # to the second
        sent = sum(at_s > now_s - 61.0 for at_s, _ in told)
        assert not told[-1][1] or believed <= max(MOST_DEATHS, 0.2 * sent)
