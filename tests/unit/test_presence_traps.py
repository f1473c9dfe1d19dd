"""What real, noisy phones do, and what a calibrated fence makes of it. Each trap was met by others in the field."""

import pytest

from geo_offers.pipeline.advice import WISHES, advise
from geo_offers.presence.calibrated import settling_s
from geo_offers.presence.evidence import PRIOR, probability
from geo_offers.presence.fixes import FUTURE_US, Fix, check, usable_accuracy_m
from geo_offers.presence.states import load
from tests.walks import T0_US, Phone, box, circle, fence, place

SHOP = circle("shop", 0.0, 0.0, 60.0)
DAY_S = 86_400


def arrived(*fences, accuracy_m=8.0):
    """A phone that has walked into the shop and stood there for two minutes."""
    phone = Phone(fences or [SHOP])
    for second in range(0, 200, 20):
        phone.fix(second, -260.0 + 1.4 * second, accuracy_m=accuracy_m)
    phone.stand(range(200, 320, 20), 0.0, accuracy_m=accuracy_m)
    assert [edge.type for edge in phone.told if edge.fence == "town/shop"][:1] == ["enter"]
    phone.told.clear()
    return phone


# ------------------------------------------------------------------------------------------------ doubtful fixes
def test_a_jump_of_200_m_that_claims_1_7_m_neither_enters_nor_exits():
    outside = Phone([SHOP])
    outside.stand(range(0, 200, 20), -200.0)
    assert outside.fix(200, 0.0, accuracy_m=1.7) == []
    assert outside.stand(range(220, 300, 20), -200.0) == []
    inside = arrived()
    assert inside.fix(320, 200.0, accuracy_m=1.7) == []
    assert inside.stand(range(340, 420, 20), 0.0) == []


def test_jump_after_jump_of_one_fix_each_makes_no_edge():
    phone = arrived()
    for second in range(320, 720, 40):
        phone.fix(second, 180.0, 90.0 * (second % 80 - 20), accuracy_m=3.0)
        phone.fix(second + 20, 0.0)
    assert [edge.type for edge in phone.told] == ["dwell"]


def test_a_fix_of_17_km_accuracy_does_not_end_a_visit_nor_wear_it_away():
    phone = arrived()
    likely = phone.likely("shop")
    for second in range(320, 3_920, 60):
        assert phone.fix(second, 9_000.0, accuracy_m=17_000.0) == []
    assert phone.likely("shop") == likely
    assert phone.fix(3_940, 0.0) == ["dwell shop"]


def test_a_phone_that_shares_its_approximate_location_only_makes_no_transition():
    phone = Phone([SHOP, circle("district", 0.0, 0.0, 5_000.0)])
    assert [word for k in range(50) for word in phone.fix(60 * k, 700.0 * (k % 3), accuracy_m=2_000.0)] == []
    assert phone.state.trail is None


@pytest.mark.parametrize("given", [None, 0.0, -1.0, float("nan")])
def test_a_fix_without_a_usable_accuracy_is_taken_for_one_of_50_m(given):
    phone = Phone([circle("mall", 0.0, 0.0, 200.0)])
    told = [phone.fix(20 * k, 0.0, accuracy_m=usable_accuracy_m(given)) for k in range(3)]
    assert told == [["enter mall"], [], []]
    assert phone.told[0].accuracy_m == 50.0


def test_a_first_fix_already_inside_is_an_enter():
    assert Phone([SHOP]).fix(0, 0.0) == ["enter shop"]


def test_a_single_stray_fix_inside_does_not_enter_and_one_outside_does_not_exit():
    phone = Phone([SHOP])
    phone.stand(range(0, 300, 30), -300.0)
    assert phone.fix(300, 0.0) == []
    assert phone.stand(range(330, 600, 30), -300.0) == []
    assert phone.likely("shop") < 0.06
    here = arrived()
    assert here.fix(350, 300.0) == []
    assert here.fix(380, 0.0) == []


def test_a_phone_that_flutters_at_the_border_is_where_it_was():
    inside, outside = arrived(), Phone([SHOP])
    outside.stand(range(0, 100, 20), -120.0)
    for k in range(60):
        inside.fix(320 + 15 * k, 60.0 + (4.0 if k % 2 else -4.0))
        outside.fix(100 + 15 * k, -60.0 - (4.0 if k % 2 else -4.0))
    assert [edge.type for edge in inside.told] == ["dwell"]
    assert len(outside.told) <= 2  # one visit, and no more, may be seen


def test_a_phone_on_the_border_of_two_districts_does_not_change_sides_with_every_fix():
    west, east = box("west", -500.0, -500.0, 0.0, 500.0), box("east", 0.0, -500.0, 500.0, 500.0)
    phone = Phone([west, east])
    phone.stand(range(0, 60, 20), -100.0)
    told = [word for k in range(60) for word in phone.fix(60 + 20 * k, 3.0 if k % 2 else -3.0)]
    assert [word for word in told if word.startswith(("exit", "enter"))] in ([], ["enter east"])


# ------------------------------------------------------------------------------------------------ time
def test_a_gap_of_minutes_leaves_a_visit_open_and_the_next_fix_tells_how_it_went_on():
    stayed, left = arrived(), arrived()
    assert stayed.fix(1_500, 0.0) == ["dwell shop"]
    assert left.fix(1_500, 900.0) == ["exit shop"]


def test_after_a_day_of_silence_a_visit_is_over_as_of_the_fix_before_it():
    phone = arrived()
    assert phone.fix(300 + 3 * DAY_S, 0.0) == ["exit shop", "enter shop"]
    exit_, enter, *_ = phone.told
    assert (exit_.at_us, enter.at_us) == (T0_US + 300 * 1_000_000, T0_US + (300 + 3 * DAY_S) * 1_000_000)
    assert exit_.visit != enter.visit


def test_late_and_out_of_order_batches_make_no_edge_and_leave_the_evidence_as_it_is():
    phone = arrived()
    before = phone.state
    assert [phone.fix(second, 5_000.0) for second in (290, 10, 150)] == [["late"]] * 3
    assert phone.state == before


def test_duplicates_are_no_new_evidence():
    phone = Phone([SHOP])
    phone.stand(range(0, 100, 20), -200.0)
    assert phone.fix(110, -50.0, accuracy_m=30.0) == []
    before = phone.state
    assert [phone.fix(110, -50.0, accuracy_m=30.0) for _ in range(20)] == [["duplicate"]] * 20
    assert phone.state == before


def test_two_fixes_of_one_instant_are_one_piece_of_evidence():
    phone = Phone([SHOP])
    phone.stand(range(0, 100, 20), -200.0)
    phone.fix(110, -70.0)
    likely = phone.likely("shop")
    assert phone.fix(110, -55.0) == []
    assert phone.likely("shop") == likely


def test_a_clock_that_is_off_by_a_year_is_refused_and_moves_nothing():
    year_us = 366 * DAY_S * 1_000_000
    assert check(T0_US + year_us, 53.0, 8.0, now_us=T0_US, replay=False) == "future"
    assert check(T0_US - year_us, 53.0, 8.0, now_us=T0_US, replay=False) == "too_old"
    assert check(T0_US + FUTURE_US, 53.0, 8.0, now_us=T0_US, replay=False) is None


def test_how_a_track_is_cut_into_requests_and_restarts_of_nothing_change_no_edge():
    whole, cut = Phone([SHOP]), Phone([SHOP])
    for k in range(60):
        whole.fix(15 * k, -300.0 + 8.0 * k)
        cut.fix(15 * k, -300.0 + 8.0 * k)
        cut.fix(15 * max(0, k - 3), -300.0 + 8.0 * max(0, k - 3))  # sent again
    assert whole.told == cut.told != []


def test_a_restart_in_the_middle_of_a_visit_ends_it_once():
    phone = arrived()
    phone.state = load(phone.state.kept())
    told = phone.stand(range(340, 400, 20), 0.0) + phone.stand(range(400, 520, 20), 400.0)
    assert told == ["exit shop"]


# ------------------------------------------------------------------------------------------------ impossible, invented
def test_a_teleport_of_500_km_in_10_s_is_left_out_and_the_phone_is_where_it_was():
    phone = Phone([SHOP, circle("far", 500_000.0, 0.0, 80.0)])
    phone.stand(range(0, 100, 20), 0.0)
    assert phone.stand(range(110, 600, 10), 500_000.0) == []
    assert phone.fix(610, 0.0) == ["dwell shop"]


def test_a_phone_whose_first_place_was_wrong_is_believed_after_ten_minutes():
    phone = Phone([SHOP])
    phone.fix(0, 400_000.0)
    assert phone.stand(range(20, 600, 20), 0.0) == []
    assert phone.stand(range(600, 700, 20), 0.0)[0] == "enter shop"


def test_mocked_fixes_say_nothing():
    phone = Phone([SHOP])
    assert [phone.fix(20 * k, 0.0, mock=True) for k in range(10)] == [[]] * 10
    assert phone.likely("shop") == pytest.approx(probability(PRIOR))


# ------------------------------------------------------------------------------------------------ shapes
def test_a_fence_inside_a_fence_is_entered_by_itself():
    phone = Phone([SHOP, circle("district", 0.0, 0.0, 2_000.0)])
    phone.stand(range(0, 100, 20), -1_000.0)
    assert {edge.fence for edge in phone.told} == {"town/district"}
    phone.stand(range(700, 800, 20), 0.0)
    assert [(edge.type, edge.fence) for edge in phone.told if edge.type == "enter"] == [
        ("enter", "town/district"),
        ("enter", "town/shop"),
    ]


def test_a_fence_smaller_than_the_accuracy_is_not_entered_by_one_fix_in_it():
    phone = Phone([box("kiosk", -5.0, -5.0, 5.0, 5.0)])
    phone.stand(range(0, 100, 20), -100.0, accuracy_m=30.0)
    assert phone.fix(160, 0.0, accuracy_m=30.0) == []


def test_a_way_through_a_fence_without_a_fix_inside_is_a_cross_and_no_visit():
    phone = Phone([SHOP])
    phone.fix(0, -200.0, speed_mps=14.0)
    assert phone.fix(28, 200.0, speed_mps=14.0) == ["cross shop"]
    assert phone.state.inside == {}


def test_a_way_that_only_grazes_the_error_of_its_ends_is_no_cross():
    phone = Phone([SHOP])
    phone.fix(0, -62.0, accuracy_m=20.0)
    assert phone.fix(100, 0.0, 62.0, accuracy_m=20.0) == []


# ------------------------------------------------------------------------------------------------ regions
def test_a_phone_that_sends_region_events_only_has_visits():
    phone = Phone([SHOP])
    told = [phone.region(3_600 * k, SHOP, entered=k % 2 == 0) for k in range(6)]
    assert told == [["enter shop"], ["exit shop"]] * 3


def test_a_region_event_that_a_fresh_fix_contradicts_makes_no_edge():
    phone = Phone([SHOP])
    phone.fix(0, -2_000.0)
    assert phone.region(10, SHOP, entered=True) == []
    assert phone.region(1_000, SHOP, entered=True) == ["enter shop"]
    deep = Phone([circle("district", 0.0, 0.0, 3_000.0)])
    deep.fix(0, 0.0)
    district = deep.index.get("town/district")
    assert deep.region(10, district, entered=False) == []


def test_a_visit_that_the_phones_own_monitoring_began_outlives_a_day_without_fixes_before_it():
    phone = Phone([SHOP])
    phone.fix(0, -500.0)
    assert phone.region(DAY_S + 3_600, SHOP, entered=True) == ["enter shop"]
    assert phone.fix(DAY_S + 4_200, 0.0) == ["dwell shop"]


# ------------------------------------------------------------------------------------------------ what changes
def test_a_new_fence_around_a_phone_is_entered_with_its_next_fixes():
    phone = Phone([circle("other", 5_000.0, 0.0, 50.0)])
    phone.stand(range(0, 100, 20), 0.0)
    phone.index.put(SHOP)
    assert phone.stand(range(100, 200, 20), 0.0)[:1] == ["enter shop"]


def test_a_fence_that_is_removed_or_switched_off_is_left_with_the_next_fix_even_a_coarse_one():
    for change in ("removed", "switched off"):
        phone = arrived()
        if change == "removed":
            phone.index.remove(SHOP.id)
        else:
            phone.index.put(type(SHOP)(SHOP.id, 2, "", SHOP.outline, None, (), active=False, detect=SHOP.detect))
        assert phone.fix(320, 0.0, accuracy_m=5_000.0) == ["exit shop"]


def test_a_fence_that_shrinks_away_from_a_phone_is_left():
    phone = arrived()
    phone.index.put(circle("shop", -400.0, 0.0, 60.0))
    assert phone.stand(range(320, 480, 20), 0.0) == ["exit shop"]


def test_a_visit_goes_on_when_its_fence_changes_its_mode():
    phone = arrived()
    phone.index.put(circle("shop", 0.0, 0.0, 60.0, mode="raw"))
    assert phone.fix(320, 0.0) == []
    assert phone.fix(340, 100.0) == ["exit shop"]
    phone.fix(360, 0.0)
    phone.index.put(SHOP)
    assert phone.stand(range(380, 480, 20), 0.0) == []
    assert phone.stand(range(480, 600, 20), 300.0) == ["exit shop"]


# ------------------------------------------------------------------------------------------------ offers
def test_an_offer_waits_until_the_visit_is_certain_and_then_is_owed_once():
    phone = Phone([circle("shop", 0.0, 0.0, 60.0, min_confidence=0.95)])
    phone.stand(range(0, 100, 20), -150.0)
    told = phone.stand(range(160, 260, 20), -30.0)
    assert told == ["enter shop", "confirm shop"]
    enter, confirm = phone.told
    assert (enter.triggers, confirm.triggers) == ((), ("enter",))
    assert enter.confidence < 0.95 <= confirm.confidence


def test_an_offer_waits_for_the_time_that_a_fence_asks_for():
    phone = Phone([circle("shop", 0.0, 0.0, 60.0, confirm_s=90.0)])
    assert phone.fix(0, 0.0) == ["enter shop"]
    assert [phone.fix(second, 0.0) for second in (30, 60, 90)] == [[], [], ["confirm shop"]]


def test_nobody_arrives_at_speed():
    phone = Phone([circle("shop", 0.0, 0.0, 300.0)])
    for k in range(30):
        phone.fix(5 * k, -600.0 + 60.0 * k, speed_mps=12.0)
    assert [edge.type for edge in phone.told] == ["enter", "exit"]
    assert [edge.triggers for edge in phone.told] == [(), ()]
    assert phone.told[-1].label == "drove_past"


def test_a_dwell_that_comes_before_the_visit_is_certain_is_owed_with_the_confirm():
    phone = Phone([circle("shop", 0.0, 0.0, 60.0, confirm_s=400.0)])
    told = phone.stand(range(0, 460, 30), 0.0)
    assert told == ["enter shop", "dwell shop", "confirm shop"]
    assert [edge.triggers for edge in phone.told] == [(), (), ("enter", "dwell")]


def test_a_visit_is_labelled_by_how_it_went():
    walked = Phone([SHOP])
    for k in range(40):
        walked.fix(10 * k, -260.0 + 14.0 * k)
    stopped = arrived()
    stopped.stand(range(320, 500, 20), 0.0)
    stopped.stand(range(500, 620, 20), 400.0)
    assert [(edge.type, edge.label) for edge in walked.told if edge.type == "exit"] == [("exit", "walked_through")]
    assert stopped.told[-1].label == "stopped"
    assert stopped.told[-1].course.fixes > 10
    assert stopped.told[-1].course.accuracy_m == pytest.approx(8.0)


def test_the_default_settings_are_those_that_are_documented():
    detect = fence("a", SHOP.geometry).detect
    assert (detect.mode, detect.dwell_s, detect.exit_margin_m) == ("calibrated", 300.0, 10.0)
    assert (detect.min_confidence, detect.confirm_s, detect.max_speed_mps) == (0.73, 0.0, 7.0)


# ------------------------------------------------------------------------------------------------ the next fix
def test_another_fix_is_wanted_soon_of_a_phone_that_comes_or_goes_and_not_of_one_that_keeps_still():
    phone = Phone([SHOP])
    wanted = {}
    for second, east_m in (
        *((20 * k, -130.0) for k in range(3)),
        (80, -50.0),
        *((100 + 20 * k, 0.0) for k in range(9)),
    ):
        phone.fix(second, east_m)
        wanted[second] = settling_s(phone.state)
    assert {second: soon for second, soon in wanted.items() if soon} == {80: 25.0, 100: 25.0, 120: 25.0}
    phone.fix(320, 300.0)
    assert settling_s(phone.state) == 25.0
    phone.stand(range(340, 600, 20), 300.0)
    assert settling_s(phone.state) is None


def test_a_phone_that_has_coarse_fixes_only_is_not_asked_at_once_again_and_again():
    phone = Phone([SHOP])
    phone.fix(0, 0.0)
    for second in range(600, 1_200, 60):
        phone.fix(second, 0.0, accuracy_m=500.0)
        fix = Fix(T0_US + second * 1_000_000, *place(0.0, 0.0), 500.0)
        assert advise(phone.index, phone.state, fix, WISHES["radius"]).send_after_s > 60.0


def test_a_phone_that_lives_at_the_border_is_not_kept_awake():
    phone = Phone([SHOP])
    soon = []
    for k in range(60):
        phone.fix(60 * k, 66.0 + (5.0 if k % 2 else -5.0), accuracy_m=15.0)
        soon.append(settling_s(phone.state))
    assert any(soon[:3])
    assert {wait_s for wait_s in soon[4:] if wait_s is not None} <= {140.0}


def test_a_phone_that_sits_down_before_the_door_is_asked_again_until_it_has_left():
    phone = arrived()
    phone.stand(range(320, 700, 20), 0.0)
    second, told = 720.0, []
    while not told:
        told = phone.fix(second, 66.0, 30.0, accuracy_m=6.0)
        wait_s = settling_s(phone.state)
        assert told or wait_s is not None
        second += wait_s or 0.0
    assert told == ["exit shop"]
    assert second < 1_500
