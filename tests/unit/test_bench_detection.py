"""The truth corpus: sites as the product sees them, people who move as people do, phones that err as phones do."""

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace

from bench.detection import measure, noise, people, sites
from bench.detection.corpus import make_phone, make_phones, phones_of
from bench.detection.detectors import Calibrated, Stack
from bench.detection.recorded import inradius_m
from bench.phones import NOBODY
from geo_offers.places.fences import Detect
from geo_offers.places.geometry import Circle, border_distance, contains
from geo_offers.presence.machine import step
from geo_offers.presence.states import NOWHERE, TransitionType

PHONES = range(40)


@pytest.fixture(scope="module")
def phones():
    return list(make_phones(11, PHONES))


def same(one, other):
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name), equal_nan=True)
        for field in dataclasses.fields(one)
    )


# ------------------------------------------------------------------------------------------------ the corpus
def test_a_phone_follows_from_its_seed_and_number_alone(phones):
    again, another = make_phone(11, 7), make_phone(12, 7)
    assert same(again.trace, phones[7].trace)
    assert same(again.path, phones[7].path)
    assert not np.array_equal(another.path.x, again.path.x)


def test_however_many_processes_play_the_scores_are_the_same():
    alone, shared = (
        [phone.scores for phone in measure.play([3], 120, {"raw edges": Stack()}, processes, hostile=False)]
        for processes in (1, 2)
    )
    assert len(alone) == phones_of(120) == 30
    assert repr(alone) == repr(shared)


def test_a_quarter_of_the_phones_are_in_malls_with_many_units(phones):
    kinds = [phone.site.kind for phone in phones]
    assert kinds.count("mall") == len(phones) / 4
    assert {len(phone.site.fenced.fences) for phone in phones if phone.site.kind == "mall"} == {8}
    assert {len(phone.site.fenced.fences) for phone in phones if phone.site.kind == "street"} == {1}


# ------------------------------------------------------------------------------------------------ sites
def test_distances_in_the_plane_are_those_that_the_product_measures(phones):
    for phone in phones:
        few = slice(None, None, 25)
        trace = phone.trace
        for number, fence in enumerate(phone.site.fenced.fences):
            ours, products = (
                trace.distance_m[few, number],
                border_distance(fence.geometry, trace.lat[few], trace.lon[few]),
            )
            near = np.abs(ours) < 1_000
            assert np.abs(ours - products)[near].max() < 0.3


def test_plain_edges_on_the_corpus_are_those_of_the_product(phones):
    for phone in phones[:6]:
        fences = [replace(fence, detect=Detect("raw")) for fence in phone.site.fenced.fences]
        state, told = NOWHERE, []
        for fix in phone.trace.fixes():
            inside = [f for f in fences if contains(f.geometry, np.array([fix.lat]), np.array([fix.lon]))[0]]
            state, edges = step(state, fix, inside, (), workspace=NOBODY, device=NOBODY)
            told += [(edge.type, edge.fence, edge.at_us / 1e6) for edge in edges]
        ours = [
            (TransitionType(edge.kind), fences[edge.fence].id, edge.at_s)
            for edge in Stack()(phone.trace, phone.site.fenced)
        ]
        assert sorted(ours) == sorted(edge for edge in told if edge[0] is not TransitionType.DWELL)


def test_walls_measure_to_corners_and_leave_the_notch_of_an_l_outside():
    walls = sites.Walls(((0, 0), (40, 0), (40, 20), (20, 20), (20, 50), (0, 50)))
    x, y = np.array([-3.0, 43.0, 30.0, 10.0, 10.0]), np.array([-4.0, 24.0, 40.0, 5.0, 45.0])
    assert walls.distance(x, y) == pytest.approx([5.0, 5.0, 10.0, -5.0, -5.0])
    assert walls.inradius_m == pytest.approx(11.7, abs=0.1)


def test_shops_are_inside_and_what_is_next_door_is_outside():
    random = np.random.default_rng(5)
    for _ in range(200):
        site = sites.draw_site(random, "street")
        street, shape = site.around, site.shapes[0]
        spots = np.array([street.shop, street.flat, street.next_door, street.stop])
        shop, flat, next_door, stop = shape.distance(*spots.T)
        assert shop < -street.roam_m
        assert flat < 0 < min(next_door, stop)
        assert next_door >= 7.9


def test_units_of_a_mall_are_adjacent_24_to_36_m_and_their_middles_inside():
    site = sites.draw_site(np.random.default_rng(6), "mall")
    for number, (unit, middle) in enumerate(zip(site.shapes, site.around.units, strict=True)):
        distances = site.distances(*np.array([middle]).T)[0]
        assert np.flatnonzero(distances < 0).tolist() == [number]
        assert 12 <= unit.inradius_m <= 18.1


# ------------------------------------------------------------------------------------------------ people
def test_nobody_is_faster_than_a_car_and_walkers_walk(phones):
    for phone in phones:
        path = phone.path
        mps = np.hypot(np.diff(path.x), np.diff(path.y))
        assert mps.max() <= 15.0
        assert mps[~path.driving[1:]].max() <= 2.6


def test_people_are_inside_and_outside_and_stay_where_their_stays_are(phones):
    for phone in phones:
        assert len(phone.path.x) == 4 * 3600
        numbers = np.unique(phone.path.stay)
        for number in numbers[numbers > 0]:
            within = phone.path.stay == number
            assert phone.path.indoors[within].all()
            assert np.ptp(phone.path.x[within]) < 40
    inside = [phone.site.distances(phone.path.x, phone.path.y).min(axis=1) < 0 for phone in phones]
    assert 0.15 < np.concatenate(inside).mean() < 0.6


def test_each_scene_of_a_street_begins_and_ends_outside_of_its_fence():
    for name, (scene, _) in people.SCENES.items():
        for seed in range(20):
            random = np.random.default_rng([seed, 1])
            site = sites.draw_site(random, "street")
            route = people.Route(random, (site.around.half_m + 300.0, site.around.near_y))
            scene(route, site.around)
            path = route.path(route.seconds)
            away_m = site.shapes[0].distance(path.x, path.y)
            assert min(away_m[0], away_m[-1]) > 100, name
            if name in {"in", "in and out", "upstairs"}:
                assert away_m.min() < 0


# ------------------------------------------------------------------------------------------------ phones
def handset(**changed):
    plain = noise.Handset(
        interval_s=5.0,
        still_s=5.0,
        batch_s=0.0,
        drift_s=30.0,
        quality=1.0,
        stated=1.0,
        indoor_m=14.0,
        jumps=0.0,
        false_share=0.4,
        coarse=0.0,
        states_accuracy=True,
        states_speed=True,
        approximate=False,
    )
    return dataclasses.replace(plain, **changed)


def standing(hours=8, *, indoors):
    seconds = int(hours * 3600)
    path = people.Path(
        np.zeros(seconds),
        np.zeros(seconds),
        np.full(seconds, indoors),
        np.zeros(seconds, dtype=bool),
        np.zeros(seconds, dtype=np.int64),
    )
    site = dataclasses.replace(sites.draw_site(np.random.default_rng(1), "street"), open_m=5.0)
    return site, path


def observed(phone, *, indoors=False, hours=8):
    """The trace of somebody who stands at the origin, and the errors in metres."""
    site, path = standing(hours, indoors=indoors)
    trace = noise.observe(np.random.default_rng(2), phone, site, path)
    return trace, np.array(site.fenced.frame.metres(trace.lat, trace.lon))


def correlation(series, lag):
    return np.corrcoef(series[:-lag], series[lag:])[0, 1]


def test_errors_drift_over_the_phones_own_time_and_are_no_white_noise():
    at_s = np.arange(40_000) * 5.0
    for drift_s in noise.DRIFT_S:
        x, y = noise._wander(np.random.default_rng(3), at_s, drift_s)
        assert x.std() == pytest.approx(1, abs=0.05)
        for lag in (1, 4, 12):
            assert correlation(x, lag) == pytest.approx(0.8 * np.exp(-5 * lag / drift_s), abs=0.05)
        assert abs(np.corrcoef(x, y)[0, 1]) < 0.05


def test_fixes_far_apart_have_errors_of_their_own():
    x, _ = noise._wander(np.random.default_rng(3), np.arange(5_000) * 300.0, 30.0)
    assert abs(correlation(x, 1)) < 0.05


def test_indoors_68_percent_of_the_fixes_are_within_the_phones_indoor_scatter():
    for radius_m in noise.INDOOR_M:
        _, error_m = observed(handset(indoor_m=radius_m / noise.RADIAL_68), indoors=True, hours=48)
        assert np.quantile(np.hypot(*error_m), 0.68) == pytest.approx(radius_m, rel=0.06)


def test_a_phone_states_its_accuracy_wrongly_by_its_own_factor():
    honest, wrong = (observed(handset(stated=stated))[0].accuracy_m for stated in (2.0, 4.0))
    assert np.median(honest) == pytest.approx(2 * noise.RADIAL_68 * 5.0, rel=0.05)
    assert wrong == pytest.approx(2 * honest)


def test_jumps_last_one_to_five_fixes_and_some_state_a_falsely_good_accuracy():
    trace, error_m = observed(handset(jumps=0.002, false_share=0.5), hours=96)
    far = np.hypot(*error_m) > 40.0
    turns = np.flatnonzero(np.diff(np.concatenate(([False], far, [False])).astype(int)))
    lengths = turns[1::2] - turns[::2]
    assert set(lengths.tolist()) >= {1, 2, 3, 4, 5}
    assert np.quantile(lengths, 0.98) <= 5  # two may follow one another
    assert 0.5 < (lengths == 1).mean() < 0.75
    assert 0.3 < (trace.accuracy_m[far] <= 12.0).mean() < 0.7
    assert np.abs(error_m).max() < 450


def test_hostile_phones_jump_five_times_as_often_nine_of_ten_falsely_good():
    usual, hostile = (
        [noise.draw_handset(np.random.default_rng([4, number]), hostile=how) for number in range(200)]
        for how in (False, True)
    )
    assert [bad.jumps / good.jumps for good, bad in zip(usual, hostile, strict=True)] == pytest.approx([5.0] * 200)
    assert {phone.false_share for phone in hostile} == {0.9}


def test_hostile_phones_are_far_off_and_sure_of_themselves_more_often():
    usual, hostile = (
        sum(
            np.count_nonzero((off_m(phone) > 60.0) & (phone.trace.accuracy_m <= 12.0))
            for phone in make_phones(11, range(1, 16), hostile=how)
        )
        for how in (False, True)
    )
    assert hostile > 4 * usual > 0


def off_m(phone):
    """How far each fix is from the truth."""
    x, y = phone.site.fenced.frame.metres(phone.trace.lat, phone.trace.lon)
    at = np.arange(len(phone.path.x))
    return np.hypot(
        *(seen - np.interp(phone.trace.at_s, at, true) for seen, true in ((x, phone.path.x), (y, phone.path.y)))
    )


def test_phones_are_of_all_kinds():
    phones = [noise.draw_handset(np.random.default_rng([4, number]), hostile=False) for number in range(1_000)]
    intervals = np.array([phone.interval_s for phone in phones])
    assert 5 <= intervals.min() < 6
    assert 140 < intervals.max() <= 150
    assert 0.02 < np.mean([phone.approximate for phone in phones]) < 0.06
    assert 0.3 < np.mean([phone.still_s > phone.interval_s for phone in phones]) < 0.5
    assert 0.2 < np.mean([phone.batch_s > 0 for phone in phones]) < 0.3
    assert 0.6 < np.mean([phone.states_speed for phone in phones]) < 0.8


def test_coarse_fixes_say_that_they_are():
    trace, error_m = observed(handset(coarse=0.08), hours=48)
    wifi, cell = trace.accuracy_m == 65.0, trace.accuracy_m >= 1_000.0
    assert wifi.mean() == pytest.approx(0.08, abs=0.01)
    assert cell.mean() == pytest.approx(0.008, abs=0.004)
    assert error_m[:, wifi].std() == pytest.approx(30.0, rel=0.1)
    assert error_m[:, cell].std() > 1_000


def test_two_of_a_hundred_indoor_stays_are_misplaced_as_a_whole():
    stay, off_m = np.repeat(np.arange(3_001), 2), np.zeros((2, 6_002))
    noise._misplace(np.random.default_rng(5), stay, off_m, np.full(6_002, 90.0))
    away_m = np.hypot(*off_m)
    assert np.array_equal(away_m[::2], away_m[1::2])
    assert (away_m > 0).mean() == pytest.approx(0.02, abs=0.008)
    assert away_m[away_m > 0].min() >= 40
    assert not away_m[:2].any()  # not on a stay


def test_a_throttled_phone_is_seldom_heard_while_it_is_still():
    often, seldom = (len(observed(handset(still_s=still_s))[0].at_s) for still_s in (5.0, 100.0))
    assert seldom == pytest.approx(often / 20, rel=0.15)


def test_fixes_are_in_order_within_the_path_and_leave_gaps(phones):
    gaps = 0
    for phone in phones:
        steps_s = np.diff(phone.trace.at_s)
        assert steps_s.min() >= 0.79 * phone.handset.interval_s
        assert 0 <= phone.trace.at_s[0] < phone.trace.at_s[-1] < 4 * 3600
        gaps += np.count_nonzero(steps_s > 1.26 * phone.handset.still_s)
    assert gaps > len(phones) / 4


def test_batches_come_later_and_in_the_same_order():
    trace, _ = observed(handset(batch_s=120.0))
    late_s = trace.received_s - trace.at_s
    assert 0 <= late_s.min() < late_s.max() <= 120
    assert (np.diff(trace.received_s) >= 0).all()
    assert len(np.unique(trace.received_s)) < len(trace.at_s) / 15


def test_an_approximate_phone_is_on_a_grid_and_says_kilometres():
    trace, _ = observed(handset(approximate=True, states_accuracy=False))
    assert trace.accuracy_m.min() >= 2_000
    assert np.allclose(trace.lat / 0.01, np.round(trace.lat / 0.01))
    assert len(np.unique(trace.lon)) <= 2


def test_a_phone_without_accuracy_or_speed_is_read_as_the_product_reads_it():
    trace, _ = observed(handset(states_accuracy=False, states_speed=False))
    assert set(trace.accuracy_m) == {50.0}
    assert {fix.speed_mps for fix in trace.fixes()} == {None}


def test_recorded_circles_and_areas_have_their_inradius():
    for phone in (make_phone(11, 1), make_phone(11, 2), make_phone(11, 4)):
        for shape, fence in zip(phone.site.shapes, phone.site.fenced.fences, strict=True):
            loose = 0.0 if isinstance(fence.geometry, Circle) else 1.0
            assert inradius_m(fence) == pytest.approx(shape.inradius_m, abs=loose + 1e-6)


def test_calibrated_visits_on_the_corpus_are_those_of_the_product_and_offers_come_no_earlier(phones):
    for phone in phones[:6]:
        visits, offers = (one(phone.trace, phone.site.fenced) for one in (Calibrated(), Calibrated(0.9)))
        began = {(edge.fence, edge.at_s) for edge in visits if edge.kind == "enter"}
        for edge in offers:
            if edge.kind == "enter":
                assert any(fence == edge.fence and at_s <= edge.at_s for fence, at_s in began)
        assert len(offers) <= len(visits)
