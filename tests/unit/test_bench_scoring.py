"""The scorer of detections on traces made by hand, the stacks of thresholds, and what is reported of both."""

import argparse
import json

import numpy as np
import pytest

from bench.detection import measure
from bench.detection.detectors import DETECTORS, FRONTIER, RAW, STACKS, Edge, Stack, settled
from bench.detection.noise import Trace
from bench.detection.recorded import trace_of
from bench.detection.scoring import Score, score, truth_of
from bench.detection.sites import Fenced, Frame
from geo_offers.places.fences import Detect, Geofence, fence_id
from geo_offers.places.geometry import Circle
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.fixes import Fix

HOUR = 3_600


def path(*spans, seconds=HOUR, away_m=100.0):
    """Metres to the fence each second: `away_m` but for spans of (first, end, metres)."""
    distance_m = np.full(seconds, away_m)
    for first, end, metres in spans:
        distance_m[first:end] = metres
    return distance_m


def heard(at_s, distance_m=0.0, accuracy_m=10.0, *, late_s=0.0, x=None):
    """A trace of one fence."""
    at_s = np.asarray(at_s, dtype=float)
    away_m, accuracy_m = (np.broadcast_to(np.asarray(given, float), at_s.shape) for given in (distance_m, accuracy_m))
    lat, lon = FRAME.degrees(np.zeros_like(at_s) if x is None else np.asarray(x, float), np.zeros_like(at_s))
    return Trace(at_s, lat, lon, accuracy_m, np.full(at_s.shape, np.nan), away_m[:, None], at_s + late_s)


FRAME = Frame(53.0, 8.0)
EVERY_30_S = heard(np.arange(0, HOUR, 30))


def scored(distance_m, told, trace=EVERY_30_S):
    edges = [Edge(kind, 0, float(at_s)) for kind, at_s in told]
    return score(edges, [truth_of(distance_m, trace)], trace)


def visits(distance_m, trace=EVERY_30_S):
    return [(visit.first, visit.last) for visit in truth_of(distance_m, trace).visits]


# ------------------------------------------------------------------------------------------------ enters
def test_an_enter_is_false_where_the_path_was_never_within_15_m_nor_60_s():
    passing_by = path((1_000, 1_010, 15.0))
    for at_s, false in ((939.0, 1), (940.0, 0), (1_005.0, 0), (1_069.9, 0), (1_070.0, 1)):
        assert scored(passing_by, [("enter", at_s)]).false_enters == false
    assert scored(path((1_000, 1_010, 15.1)), [("enter", 1_005)]).false_enters == 1


def test_an_enter_of_somebody_who_walks_through_is_passing_and_not_false():
    through = path((1_000, 1_040, -5.0), (2_000, 2_300, -5.0), (3_000, 3_010, 5.0))
    told = [(kind, at_s) for at_s in (1_030, 2_100, 3_000) for kind, at_s in (("enter", at_s), ("exit", at_s + 60))]
    found = scored(through, told)
    assert (found.enters, found.false_enters, found.passing) == (3, 0, 1)


# ------------------------------------------------------------------------------------------------ exits
def test_an_exit_is_false_where_the_path_was_inside_for_a_minute_around_it():
    stay = path((1_000, 2_000, -2.0))
    for at_s, false in ((1_059.0, 0), (1_060.0, 1), (1_500.0, 1), (1_939.0, 1), (1_940.0, 0), (2_500.0, 0)):
        assert scored(stay, [("enter", 1_000), ("exit", at_s)]).false_exits == false


def test_an_exit_is_missed_where_15_minutes_after_a_visit_the_phone_is_still_held():
    stay = path((600, 1_200, -5.0))
    for told, missed in (
        ([("enter", 630)], 1),
        ([("enter", 630), ("exit", 2_130)], 1),
        ([("enter", 630), ("exit", 2_070)], 0),
        ([("enter", 630), ("exit", 1_230), ("enter", 1_260)], 0),
    ):
        found = scored(stay, told)
        assert (found.departures, found.missed_exits) == (1, missed)


@pytest.mark.parametrize(
    ("distance_m", "trace", "told"),
    [
        (path((600, 1_200, -5.0), seconds=2_000), EVERY_30_S, [("enter", 630)]),  # the recording ends too soon
        (path((600, 1_200, -5.0), (2_000, 2_030, -5.0)), EVERY_30_S, [("enter", 630)]),  # the person is back too soon
        (path((600, 1_200, -5.0)), heard([630, 660, 1_260]), [("enter", 630)]),  # one fix cannot tell
        (path((600, 1_200, -5.0)), EVERY_30_S, [("enter", 630), ("exit", 1_170)]),  # let go before
        (path((600, 1_200, -5.0)), EVERY_30_S, []),
    ],
)
def test_a_departure_that_cannot_be_judged_is_not_counted(distance_m, trace, told):
    assert scored(distance_m, told, trace).departures == 0


# ------------------------------------------------------------------------------------------------ visits
def test_a_visit_lasts_two_minutes_and_bridges_outings_of_one():
    assert visits(path((100, 219, -1.0))) == []
    assert visits(path((100, 220, -1.0))) == [(100, 219)]
    assert visits(path((100, 200, -1.0), (260, 300, 0.0))) == [(100, 299)]
    assert visits(path((100, 200, -1.0), (261, 300, -1.0))) == []
    assert visits(path((0, HOUR, -1.0))) == [(0, HOUR - 1)]
    assert visits(path()) == []


def test_a_visit_is_observable_with_two_usable_fixes():
    stay = path((100, 400, -1.0))
    for accuracy_m, observable in (([10, 10], 1), ([200, 200], 1), ([10, 201], 0)):
        assert scored(stay, [], heard([150, 300], -1.0, accuracy_m)).visits == observable
    assert scored(stay, [], heard([99, 150, 400.5], -1.0)).visits == 0


def test_a_visit_is_found_when_the_phone_is_held_inside_and_kept_when_for_half_of_it():
    stay = path((1_000, 2_000, -5.0))
    for told, found, kept in (
        ([], 0, 0),
        ([("enter", 990), ("exit", 999)], 0, 0),
        ([("enter", 2_010)], 0, 0),
        ([("enter", 1_020), ("exit", 1_050)], 1, 0),
        ([("enter", 1_000), ("exit", 1_250), ("enter", 1_400), ("exit", 1_650)], 1, 1),
        ([("enter", 1_000), ("exit", 1_499)], 1, 0),
        ([("enter", 900)], 1, 1),
    ):
        result = scored(stay, told)
        assert (result.visits, result.found, result.kept) == (1, found, kept)


def test_delay_runs_from_the_true_arrival_by_the_phones_clock_the_servers_and_in_fixes():
    stay, trace = path((1_000, 2_000, -5.0)), heard(np.arange(5, HOUR, 30), late_s=7.0)
    assert scored(stay, [("enter", 1_085)], trace).arrived == [(85.0, 92.0, 2)]
    assert scored(stay, [("enter", 935)], trace).arrived == [(0.0, 0.0, 0)]
    assert np.array_equal(scored(stay, [], trace).arrived, [(np.nan, np.nan, -1)], equal_nan=True)


# ------------------------------------------------------------------------------------------------ held falsely
def test_phantom_time_is_what_the_phone_is_held_inside_away_from_the_fence():
    stay = path((1_000, 2_000, -5.0))
    assert scored(stay, [("enter", 1_030), ("exit", 2_030)]).phantom_s == 0
    assert scored(stay, [("enter", 1_030), ("exit", 2_160)]).phantom_s == 100
    assert scored(path(), [("enter", 600), ("exit", 660), ("enter", 3_000)]).phantom_s == 660


def test_a_flap_is_a_return_within_5_minutes_that_nobody_made():
    stay, back = path((1_000, 3_000, -5.0)), path((1_000, 2_000, -5.0), (2_100, 3_000, -5.0))
    for distance_m, told, flaps in (
        (stay, [("enter", 1_030), ("exit", 1_500), ("enter", 1_800)], 1),
        (stay, [("enter", 1_030), ("exit", 1_500), ("enter", 1_801)], 0),
        (back, [("enter", 1_030), ("exit", 2_010), ("enter", 2_130)], 0),
        (path(), [("enter", 100), ("exit", 130), ("enter", 160), ("exit", 190), ("enter", 220)], 2),
    ):
        assert scored(distance_m, told).flaps == flaps


def test_each_fence_is_scored_by_its_own_truth():
    truths = [truth_of(path((1_000, 2_000, -5.0)), EVERY_30_S), truth_of(path(), EVERY_30_S)]
    found = score([Edge("enter", 0, 1_020.0), Edge("enter", 1, 1_020.0)], truths, EVERY_30_S)
    assert (found.hours, found.enters, found.false_enters, found.visits, found.found) == (1.0, 2, 1, 1, 1)


# ------------------------------------------------------------------------------------------------ stacks
ONE = Fenced(
    FRAME,
    (Geofence(fence_id("a", "b"), 1, "", Circle(53.0, 8.0, 60.0), None, (), active=True, detect=Detect()),),
    (60.0,),
)


def told(stack, trace):
    return [(edge.kind[:2], edge.at_s) for edge in stack(trace, ONE)]


def test_plain_edges_take_every_fix_at_its_word_and_begin_outside():
    trace = heard([0, 10, 20, 30, 40], [-1, 5, 0, -3, 1])
    assert told(Stack(), trace) == [("en", 0), ("ex", 10), ("en", 20), ("ex", 40)]
    assert told(Stack(), heard([0, 10], [5, 6])) == []
    assert told(Stack(), heard([])) == []


def test_fixes_and_seconds_in_a_row_must_agree():
    trace = heard([0, 10, 20, 30, 40, 50, 60], [-1, 5, -1, -1, -1, 5, 5])
    assert told(Stack(fixes=2), trace) == [("en", 30), ("ex", 60)]
    assert told(Stack(fixes=3), trace) == [("en", 40)]
    assert told(Stack(for_s=20.0), trace) == [("en", 40)]
    assert told(Stack(for_s=15.0), trace) == [("en", 40)]
    assert told(Stack(fixes=2, for_s=5.0), trace) == [("en", 30), ("ex", 60)]


def test_the_gate_passes_coarse_fixes_by_and_so_they_interrupt_no_row():
    trace = heard([0, 10, 20, 30], [-1, 50, -1, 50], [100, 101, 20, 101])
    assert told(Stack(gate_m=100.0), trace) == [("en", 0)]
    assert told(Stack(fixes=2, gate_m=100.0), trace) == [("en", 20)]


def test_a_margin_lets_a_fix_near_the_border_say_neither():
    trace = heard([0, 10, 20, 30], [-1, 34, 36, 36], [10, 10, 10, 12])
    assert told(Stack(margin_m=25.0), trace) == [("en", 0), ("ex", 20)]
    assert settled(np.arange(4.0), np.array([1, 0, 1, 0], bool), np.array([0, 0, 0, 1], bool), 2, 0.0) == []


def test_a_margin_is_a_tenth_of_large_fences():
    wide = Fenced(ONE.frame, ONE.fences, (300.0,))
    trace = heard([0, 10, 20], [-1, 36, 41])
    assert [edge.at_s for edge in Stack(margin_m=25.0)(trace, wide)] == [0, 20]


def test_a_fix_out_of_reach_is_passed_by_until_one_is_within_reach():
    trace = heard([0, 10, 20, 30, 40], [-1, 500, 500, -1, -1], x=[0, 500, 500, 0, 0])
    assert told(Stack(), trace) == [("en", 0), ("ex", 10), ("en", 30)]
    assert told(Stack(most_mps=33.0), trace) == [("en", 0), ("ex", 20), ("en", 40)]
    assert told(Stack(most_mps=10.0), trace) == [("en", 0)]


def test_the_first_detector_is_plain_edges_and_names_of_points_are_apart():
    assert next(iter(DETECTORS)) == RAW
    assert DETECTORS[RAW] == Stack()
    assert len(measure._swept()) == sum(map(len, FRONTIER.values()))
    assert len(set(measure.STACKED)) == len(STACKS) == 72


# ------------------------------------------------------------------------------------------------ figures
def figures(ours, raw):
    return measure.Figures.of(ours, raw)


def test_figures_are_of_a_thousand_device_hours_and_compared_with_plain_edges():
    ours = [Score(hours=4, false_enters=1, visits=4, found=3), Score(hours=4)]
    found = figures(ours, [Score(hours=4, false_enters=8), Score(hours=4, false_enters=2)])
    assert found.per_1000_h("false_enters") == 125
    assert found.share("found", "visits") == 75
    assert found.fewer("false_enters") == 10


def test_none_counts_as_one():
    assert figures([Score(hours=4)], [Score(hours=4, flaps=30)]).fewer("flaps") == 30


def test_intervals_are_of_phones_drawn_anew():
    even = figures([Score(false_enters=1)] * 50, [Score(false_enters=10)] * 50)
    assert even.fewer_within("false_enters") == (10, 10)
    uneven = figures([Score(false_enters=1)] * 50, [Score(false_enters=0)] * 40 + [Score(false_enters=50)] * 10)
    low, high = uneven.fewer_within("false_enters")
    assert 4 < low < 7
    assert 13 < high < 17


def test_added_delay_is_of_visits_that_both_found():
    missed = (np.nan, np.nan, -1)
    ours = [Score(arrived=[(50.0, 60.0, 3), missed]), Score(arrived=[(10.0, 10.0, 1)])]
    raw = [Score(arrived=[(20.0, 20.0, 1), (0.0, 0.0, 0)]), Score(arrived=[missed])]
    assert figures(ours, raw).added().tolist() == [[30.0, 40.0, 2.0]]


def asked(*arguments):
    parser = argparse.ArgumentParser()
    measure.options(parser)
    return parser.parse_args(arguments)


def test_a_report_has_a_row_a_detector_and_kind_of_site_and_draws_the_frontier(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GEO_OFFERS_REAL_DATA", str(tmp_path / "missing"))
    given = asked("--hours", "48", "--seeds", "1", "--processes", "1", "--frontier", str(tmp_path))
    overall, frontier = measure.reports(given)
    assert [row.name for row in overall.rows] == [f"{group}: {name}" for group in measure.GROUPS for name in DETECTORS]
    assert overall.rows[0].rate > 0
    assert overall.rows[0].more["x_fewer"] == 1
    assert overall.found["observable"] <= overall.found["visits"]
    assert frontier.found["all_better_than_gate, 2 fixes, margin"] < 72
    json.loads(overall.json_line({}, ""), parse_constant=pytest.fail)
    assert sorted(file.name for file in tmp_path.glob("*.svg")) == ["detection-mall.svg", "detection-street.svg"]
    assert "recorded trips are left out" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ recorded trips
def test_a_recorded_trip_meets_the_fences_near_it_and_no_instant_twice():
    circles = {"near": Circle(53.0, 8.0, 50.0), "far": Circle(54.0, 8.0, 50.0)}
    index = GeofenceIndex(
        Geofence(fence_id("real", name), 1, "", circle, None, (), active=True, detect=Detect())
        for name, circle in circles.items()
    )
    trip = [Fix(5_000_000, 53.0, 8.0), Fix(5_000_000, 53.001, 8.0), Fix(15_000_000, 53.001, 8.0, 8.0, 3.0)]
    trace, fenced = trace_of(trip, index)
    assert [fence.id for fence in fenced.fences] == ["real/near"]
    assert fenced.inradii_m == (50.0,)
    assert trace.at_s.tolist() == [0, 10]
    assert trace.distance_m[:, 0] == pytest.approx([-50.0, 61.3], abs=0.1)
    assert [(edge.kind, edge.at_s) for edge in Stack()(trace, fenced)] == [("enter", 0), ("exit", 10)]
