"""How a lane's slots are shared among its scopes."""

import pytest

from geo_offers.pipeline.shares import BRIEFLY_S, HANGING_S, Shares


@pytest.fixture
def shares():
    return Shares(8, alone="all")


def take(shares, scope, times, now_s=0.0):
    return [shares.take(scope, now_s) for _ in range(times)]


def test_a_scope_holds_half_of_the_slots_and_leaves_the_others_to_others(shares):
    assert take(shares, "one", 5) == [0.0] * 4 + [BRIEFLY_S]
    assert take(shares, "two", 5) == [0.0] * 4 + [BRIEFLY_S]


def test_a_scope_that_has_no_other_beside_it_holds_all_slots(shares):
    assert take(shares, "all", 9) == [0.0] * 8 + [BRIEFLY_S]
    shares.give_back("all", 0.1)
    assert shares.worth_claiming(1, 0.1) == 1


def test_a_slot_given_back_is_taken_again(shares):
    take(shares, "one", 5)
    shares.give_back("one", 0.1)
    assert take(shares, "one", 2, 0.1) == [0.0, BRIEFLY_S]


def test_a_lane_of_one_slot_serves_every_scope():
    shares = Shares(1, alone="all")
    assert shares.take("one", 0.0) == 0.0
    shares.give_back("one", 0.1)
    assert shares.take("two", 0.1) == 0.0


def test_while_nobody_was_turned_away_all_free_slots_are_worth_a_claim(shares):
    take(shares, "one", 4)
    assert shares.worth_claiming(4, 0.0) == 4


def test_what_a_scope_with_a_backlog_has_no_room_for_is_not_claimed(shares):
    take(shares, "one", 5)
    assert shares.worth_claiming(4, 0.1) == 0
    shares.give_back("one", 0.2)
    assert shares.worth_claiming(5, 0.2) == 1
    for _ in range(3):
        shares.give_back("one", 0.3)
    assert shares.worth_claiming(8, 9.0) == 4


def test_past_a_scope_that_hangs_claims_go_on_and_its_own_come_back_late(shares):
    take(shares, "one", 5)
    assert shares.worth_claiming(4, 0.3) == 4
    assert shares.take("one", 0.3) == HANGING_S


def test_a_scope_that_has_just_begun_is_not_taken_for_hanging(shares):
    take(shares, "one", 4)
    for _ in range(4):
        shares.give_back("one", 0.1)
    assert take(shares, "one", 5, 60.0) == [0.0] * 4 + [BRIEFLY_S]
    assert shares.worth_claiming(4, 60.1) == 0
