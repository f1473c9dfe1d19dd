"""Calibrated presence over any sequence of fixes, and the properties of the evidence that it stands on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.presence import evidence
from geo_offers.presence.states import NOWHERE, TransitionType, load
from tests.walks import Phone, box, circle

FENCES = (
    circle("shop", 0.0, 0.0, 60.0, dwell_s=60.0),
    circle("square", 40.0, 0.0, 150.0, confirm_s=30.0),
    box("unit", 60.0, -15.0, 90.0, 15.0, min_confidence=0.9),
    box("plain", -40.0, -40.0, 40.0, 40.0, mode="raw"),
)
# Seconds since the last fix, east and north in metres, accuracy, speed, whether it is mocked.
fixes = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 5.0, 20.0, 60.0, 400.0, 100_000.0]),
        st.sampled_from([-2_000.0, -300.0, -100.0, -58.0, -20.0, 0.0, 30.0, 75.0, 130.0, 250.0, 400_000.0]),
        st.sampled_from([0.0, 10.0, -70.0]),
        st.sampled_from([2.0, 8.0, 30.0, 65.0, 180.0, 500.0, 5_000.0]),
        st.sampled_from([None, 0.0, 1.2, 15.0]),
        st.sampled_from([False] * 7 + [True]),
    ),
    max_size=30,
)
seconds = st.floats(1e-3, 1e6)
away = st.floats(-1e5, 1e5)
breadths = st.floats(1.0, 2e5)
accuracies = st.floats(0.1, 200.0)


def played(track, phone=None, at_s=0.0):
    """phone: at calibrated fences alone where none is given."""
    phone = phone or Phone(FENCES[:3])
    for wait_s, east_m, north_m, accuracy_m, speed_mps, mock in track:
        at_s += wait_s
        phone.fix(at_s, east_m, north_m, accuracy_m, speed_mps, mock=mock)
    return phone


@given(fixes)
def test_every_visit_has_one_enter_then_at_most_one_confirm_and_dwell_then_at_most_one_exit(track):
    visits = {}
    inside = set()
    for edge in played(track).told:
        if edge.type is TransitionType.CROSS:
            continue
        assert edge.visit is not None
        said = visits.setdefault(edge.visit, [])
        assert edge.type not in said
        said.append(edge.type)
        assert said[0] is TransitionType.ENTER
        if edge.type is TransitionType.ENTER:
            assert edge.fence not in inside
            inside.add(edge.fence)
        if edge.type is TransitionType.EXIT:
            inside.remove(edge.fence)
    assert all(TransitionType.EXIT not in said[:-1] for said in visits.values())


@given(fixes)
def test_time_never_goes_backwards_within_a_visit_nor_at_a_fence(track):
    newest = {}
    for edge in played(track).told:
        assert edge.at_us >= newest.get(edge.fence, 0)
        assert edge.entered_us is None or edge.at_us >= edge.entered_us
        newest[edge.fence] = edge.at_us


@given(fixes, st.data())
def test_fixes_that_are_sent_again_or_late_change_neither_edges_nor_state(track, data):
    clean, noisy, at_s, sent = Phone(FENCES), Phone(FENCES), 0.0, []
    for wait_s, *rest in track:
        at_s += wait_s
        sent.append((at_s, *rest))
        for phone in (clean, noisy):
            *where, mock = rest
            phone.fix(at_s, *where, mock=mock)
        again_s, *where, mock = data.draw(st.sampled_from(sent))
        noisy.fix(again_s, *where, mock=mock)
        noisy.fix(data.draw(st.floats(0, max(at_s - 1e-3, 0))), 0.0) if at_s > 1e-3 else None
    assert noisy.told == clean.told
    assert noisy.state == clean.state


@given(fixes, st.integers(0, 30))
def test_a_restart_loses_no_visit_and_doubles_none(track, cut):
    before = played(track[:cut])
    kept = load(before.state.kept())
    assert kept.inside == before.state.inside
    after = Phone(FENCES[:3], state=kept)
    played(track[cut:], after, sum(wait_s for wait_s, *_ in track[:cut]))
    enters = [edge.visit for edge in before.told + after.told if edge.type is TransitionType.ENTER]
    exits = [edge.visit for edge in before.told + after.told if edge.type is TransitionType.EXIT]
    assert len(set(enters)) == len(enters)
    assert len(set(exits)) == len(exits)
    assert set(exits) <= set(enters)


@given(fixes)
def test_what_is_kept_of_a_device_names_no_place(track):
    kept = played(track).state.kept()
    assert b"lat" not in kept
    assert b"lon" not in kept


@given(fixes)
def test_offers_are_owed_only_by_what_is_certain_and_each_trigger_once_a_visit(track):
    owed = set()
    phone = played(track)
    for edge in phone.told:
        fence = phone.index.get(edge.fence)
        if edge.course is None:
            continue
        for trigger in edge.triggers:
            assert (edge.visit, trigger) not in owed
            owed.add((edge.visit, trigger))
        if edge.type is TransitionType.CONFIRM or (edge.type is TransitionType.ENTER and edge.triggers):
            assert edge.confidence >= fence.detect.min_confidence
            assert edge.at_us >= edge.entered_us + fence.detect.confirm_s * 1e6


@given(fixes)
def test_raw_fences_are_told_as_if_there_were_no_others(track):
    alone = played(track, Phone(FENCES[3:])).told
    among = [edge for edge in played(track, Phone(FENCES)).told if edge.fence == "town/plain"]
    assert among == alone


# ------------------------------------------------------------------------------------------------ evidence
@given(seconds, accuracies, breadths, st.floats(1.0, 1e4))
def test_from_the_lowest_a_fix_beyond_reach_leads_back_to_the_lowest(waited_s, accuracy_m, breadth_m, farther):
    scale = evidence.scale_m(accuracy_m)
    away_m = evidence.reach_m(scale) * farther
    news = evidence.likelihood(away_m, breadth_m, scale, evidence.DOUBT)
    after = evidence.predict(evidence.LOWEST, waited_s) + evidence.weight(waited_s) * news
    assert evidence.bounded(after) == evidence.LOWEST


@given(away, away, breadths, accuracies, st.sampled_from([evidence.DOUBT, evidence.DOUBT_STRAY]))
def test_of_two_places_outside_the_nearer_speaks_no_less_for_a_fence(one_m, other_m, breadth_m, accuracy_m, doubt):
    near, far = sorted((abs(one_m), abs(other_m)))
    scale = evidence.scale_m(accuracy_m)
    first, second = (evidence.likelihood(away_m, breadth_m, scale, doubt) for away_m in (near, far))
    assert first >= second - 1e-9
    assert second >= evidence.far(doubt) - 1e-9


@given(away, breadths, accuracies)
def test_no_fix_says_more_than_the_doubt_allows(away_m, breadth_m, accuracy_m):
    most = 1.0 + (1.0 - evidence.DOUBT) / evidence.NARROW_M * evidence.DOUBT_M / evidence.DOUBT
    said = evidence.likelihood(away_m, breadth_m, evidence.scale_m(accuracy_m), evidence.DOUBT)
    least = (
        evidence.DOUBT
        / evidence.DOUBT_M
        / ((1.0 - evidence.DOUBT) / evidence.OUTSIDE_M + evidence.DOUBT / evidence.DOUBT_M)
    )
    assert least * (1 - 1e-9) <= 2.718281828459045**said <= most * (1 + 1e-9)


@given(st.floats(evidence.LOWEST, evidence.HIGHEST), st.floats(0, 1e5), st.floats(0, 1e5))
def test_waiting_twice_is_waiting_as_long_as_both(log_odds, one_s, other_s):
    at_once = evidence.predict(log_odds, one_s + other_s)
    assert abs(evidence.predict(evidence.predict(log_odds, one_s), other_s) - at_once) < 1e-6


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-400, 400), st.floats(-400, 400)), min_size=1, max_size=40))
def test_a_device_keeps_evidence_only_of_fences_that_it_may_be_in(places):
    phone = Phone([circle(str(k), 200.0 * (k % 9 - 4), 200.0 * (k // 9 - 4), 60.0) for k in range(81)])
    for k, (east_m, north_m) in enumerate(places):
        phone.fix(30.0 * k, east_m, north_m)
    assert len(phone.state.arriving) <= 12
    assert phone.state.elsewhere >= evidence.LOWEST


def test_nothing_is_known_of_a_device_that_was_never_heard():
    assert (NOWHERE.trail, NOWHERE.elsewhere, NOWHERE.arriving) == (None, evidence.PRIOR, {})
