"""What a send comes to, outcome by outcome."""

from uuid import UUID

import pytest

from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    AuthBroken,
    Later,
    NotSent,
    Offered,
    Refused,
    TokenDead,
    TooLate,
    Transient,
    Waiting,
)
from geo_offers.pipeline.settlement import (
    Claim,
    Close,
    DeadToken,
    Move,
    Retry,
    back_off_s,
    hopeless,
    settle,
    unreadable,
)
from tests.support.messages import a_message
from tests.support.replacing import replace

FIRST = Claim(offer=UUID(int=1), workspace=UUID(int=2), token=5, attempts=1, unanswered=0)
REPEAT = replace(FIRST, attempts=2, unanswered=1)
MESSAGE = a_message()
DEAD = DeadToken(MESSAGE.workspace, "fcm", "token-1")


def come_to(claim, outcome, *, repeats=False, message=MESSAGE, jitter=0.5):
    return settle(claim, message, outcome, lane="fcm", repeats=repeats, lease_s=10.0, jitter=jitter)


FIRST_SEND = [
    (Accepted(), Close(FIRST, "accepted", keep=True)),
    (TokenDead(), Move(FIRST, "inapp", DEAD)),
    (Refused("http 400"), Close(FIRST, "failed", keep=False, detail="http 400")),
    (Transient("http 500"), Retry(FIRST, 1.0, attempts=1)),
    (Transient("http 500", from_s=13.5), Retry(FIRST, 13.5, attempts=1)),
    (NotSent("refused"), Retry(FIRST, 1.0, attempts=1)),
    (Ambiguous("timeout"), Retry(FIRST, 1.0, attempts=1, unanswered=True)),
    (Transient("http 503", asked_s=40.0), Retry(FIRST, 45.0, attempts=1)),
    (Later(40.0), Retry(FIRST, 45.0, attempts=0)),
    (AuthBroken("http 403"), Retry(FIRST, 5.0, attempts=0)),
    (TooLate(), Close(FIRST, "expired", keep=False, detail="expired")),
    (Accepted("projects/p/messages/1"), Close(FIRST, "accepted", keep=True, receipt="projects/p/messages/1")),
    (TokenDead(at_us=17), Move(FIRST, "inapp", replace(DEAD, at_us=17))),
]


@pytest.mark.parametrize(("outcome", "settlement"), FIRST_SEND)
def test_the_first_send(outcome, settlement):
    assert come_to(FIRST, outcome) == settlement


THE_REPEAT = [
    (Accepted(), Close(REPEAT, "accepted", keep=True)),
    (TokenDead(), Close(REPEAT, "ambiguous", keep=True, detail="token_dead", dead=DEAD)),
    (Refused("http 400"), Close(REPEAT, "failed", keep=True, detail="http 400")),
    (Transient("http 500"), Close(REPEAT, "ambiguous", keep=True, detail="http 500")),
    (Ambiguous("timeout"), Close(REPEAT, "ambiguous", keep=True, detail="timeout")),
    (NotSent("refused"), Retry(REPEAT, 2.0, attempts=2)),
    (AuthBroken("http 403"), Retry(REPEAT, 5.0, attempts=1)),
    (TooLate(), Close(REPEAT, "expired", keep=True, detail="expired")),
    (Transient("http 503", asked_s=40.0), Retry(REPEAT, 45.0, attempts=2)),
    (Later(40.0), Retry(REPEAT, 45.0, attempts=1)),
]


@pytest.mark.parametrize(("outcome", "settlement"), THE_REPEAT)
def test_the_one_repeat_of_an_unanswered_send(outcome, settlement):
    assert come_to(REPEAT, outcome) == settlement


@pytest.mark.parametrize("claim", [FIRST, REPEAT, replace(REPEAT, unanswered=2)])
def test_a_lane_whose_receiver_shows_an_id_once_repeats_until_it_is_answered(claim):
    assert come_to(claim, Offered(), repeats=True) == Retry(claim, 10.0, attempts=0, unanswered=True)
    assert isinstance(come_to(claim, Transient("full"), repeats=True), Retry)
    assert isinstance(come_to(claim, Ambiguous("raised"), repeats=True), Retry)
    assert hopeless(claim, repeats=True) is None


def test_nobody_there_costs_no_attempt_and_does_not_mark_the_row_as_sent():
    settlement = come_to(replace(FIRST, attempts=4), Waiting(), repeats=True)
    assert settlement == Retry(replace(FIRST, attempts=4), 3600.0, attempts=3, unanswered=False)


@pytest.mark.parametrize(("asked", "given"), [(0.0, 1.0), (0.5, 1.0), (7.0, 7.0), (1e9, 3600.0)])
def test_later_is_between_a_second_and_an_hour(asked, given):
    assert come_to(FIRST, Later(asked), jitter=0.0).after_s == given


def test_without_a_token_there_is_none_to_clear():
    assert come_to(FIRST, TokenDead(), message=replace(MESSAGE, push_token=None)) == Move(FIRST, "inapp", None)


def test_the_back_off_doubles_to_64_s_and_is_spread_by_a_quarter():
    assert [back_off_s(attempts, 0.5) for attempts in range(1, 9)] == [1, 2, 4, 8, 16, 32, 64, 64]
    assert (back_off_s(4, 0.0), back_off_s(4, 1.0)) == (6.0, 10.0)


def waits(outcome, times):
    """Seconds between tries that all came to this outcome."""
    claim, given = FIRST, []
    for _ in range(times):
        settlement = come_to(claim, outcome)
        given.append(settlement.after_s)
        claim = replace(claim, attempts=settlement.attempts + 1)
    return given


def test_a_back_off_grows_from_where_the_gateway_wants_it_to_begin_to_an_hour_at_most():
    assert waits(Transient("503", from_s=13.5), 8) == [13.5, 27, 54, 108, 216, 432, 864, 864]
    assert waits(Transient("503", from_s=900), 4) == [900, 1800, 3600, 3600]


def test_a_back_off_is_never_shorter_than_what_was_asked_for():
    assert waits(Transient("503", asked_s=7.2), 5) == pytest.approx([8.1, 8.1, 8.1, 8.1, 16])


@pytest.mark.parametrize("outcome", [Later(20.0), Transient("503", asked_s=20.0)])
def test_what_was_put_off_together_comes_back_over_a_quarter_of_its_wait(outcome):
    assert [come_to(FIRST, outcome, jitter=jitter).after_s for jitter in (0.0, 0.4, 1.0)] == [20.0, 22.0, 25.0]


def test_an_answered_row_never_runs_out_of_attempts():
    claim, waits = FIRST, []
    for _ in range(40):
        settlement = come_to(claim, Transient("http 500"))
        waits.append(settlement.after_s)
        claim = replace(claim, attempts=settlement.attempts + 1)
        assert hopeless(claim, repeats=False) is None
    assert waits == sorted(waits)
    assert waits[-1] == 64


def test_a_row_that_kills_its_process_runs_out_after_ten_attempts():
    assert hopeless(replace(FIRST, attempts=10), repeats=False) is None
    worn = replace(FIRST, attempts=11)
    assert hopeless(worn, repeats=True) == Close(worn, "failed", keep=False, detail="poison")


def test_a_row_left_unanswered_twice_is_ambiguous():
    twice = replace(FIRST, unanswered=2)
    assert hopeless(twice, repeats=False) == Close(twice, "ambiguous", keep=True, detail="unanswered")


def test_an_unreadable_row_backs_off_and_fails_at_the_tenth_attempt():
    ninth, tenth = replace(FIRST, attempts=9), replace(FIRST, attempts=10)
    assert unreadable(ninth, 0.5) == Retry(ninth, 64.0, attempts=9)
    assert unreadable(tenth, 0.5) == Close(tenth, "failed", keep=False, detail="poison")
    assert unreadable(replace(tenth, unanswered=1), 0.5).keep


def test_a_gateways_words_are_kept_short_and_printable():
    assert come_to(FIRST, Refused("bad\x00\n\u202ewords" + "x" * 500)).detail == "badwords" + "x" * 56
    assert come_to(FIRST, Refused("\x00")).detail is None
