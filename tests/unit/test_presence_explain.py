"""What is said of a fix is what the machine decided by, and no position comes out."""

import math

import msgspec
import pytest

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence import evidence
from geo_offers.presence.explain import PRESENCE, Explained, RegionEvent, Standing, Step
from geo_offers.presence.fixes import Fix
from geo_offers.presence.states import TransitionType
from geo_offers.presence.trail import Worth

LAT, LON = 46.2, -30.5
START_US = 1_767_607_200_000_000
SHOP, CAFE = FenceId("shop"), FenceId("cafe")


def _fence(name: FenceId, east_m: float, *, mode: str = "calibrated", radius_m: float = 40.0) -> Geofence:
    lat, lon = _place(east_m)
    detect = Detect(mode=mode, dwell_s=60.0)
    return Geofence(name, 1, name, Circle(lat, lon, radius_m), None, (), active=True, detect=detect)


def _place(east_m: float) -> tuple[float, float]:
    return LAT, LON + east_m / (111_320.0 * math.cos(math.radians(LAT)))


def _fix(at_s: float, east_m: float, accuracy_m: float = 8.0, speed_mps: float | None = 1.4, **more: bool) -> Fix:
    return Fix(START_US + round(at_s * 1e6), *_place(east_m), accuracy_m, speed_mps, **more)


def _walked(*fences: Geofence, every_s: float = 5.0) -> list[Step]:
    """From 150 m west of the shop's middle to it, two minutes there, and 150 m on."""
    device = Explained(GeofenceIndex(fences))
    ways = [-150 + 1.4 * every_s * n for n in range(round(107 / every_s))]
    ways += [0.0] * round(120 / every_s) + [-east_m for east_m in reversed(ways)]
    return [device.take(_fix(every_s * n, east_m)) for n, east_m in enumerate(ways)]


def _standing(step: Step, fence: FenceId) -> Standing:
    return next(standing for standing in step.standings if standing.fence == fence)


@pytest.mark.parametrize("every_s", [2.0, 5.0, 20.0])
def test_the_probability_of_a_fix_is_the_one_that_its_edge_was_told_with(every_s: float) -> None:
    steps = _walked(_fence(SHOP, 0.0), every_s=every_s)
    told = [(step, edge) for step in steps for edge in step.edges]
    assert [edge.type.value for _, edge in told if edge.type is not TransitionType.CONFIRM] == [
        "enter",
        "dwell",
        "exit",
    ]
    for step, edge in told:
        standing = _standing(step, SHOP)
        assert standing.away_m == pytest.approx(edge.distance_m)
        if edge.type is TransitionType.EXIT:
            # an exit asks how sure it is that the phone is outside, whatever the fence's breadth
            assert standing.probability is not None
            assert standing.probability < PRESENCE
        elif abs(math.log(edge.confidence / (1 - edge.confidence))) < evidence.HIGHEST / 2:
            assert standing.probability == pytest.approx(edge.confidence, abs=1e-9)


def test_no_visit_begins_below_the_line_that_is_drawn_for_presence() -> None:
    for step in _walked(_fence(SHOP, 0.0), every_s=2.0):
        standing = next(iter(step.standings), None)
        if standing is None or standing.away_m is None or standing.away_m > 0:
            continue
        assert standing.inside == (standing.probability is not None and standing.probability >= PRESENCE)


def test_a_visit_is_shown_open_from_its_enter_to_the_fix_before_its_exit_and_confirmed_in_between() -> None:
    steps = _walked(_fence(SHOP, 0.0))
    seen = [(step, _standing(step, SHOP)) for step in steps if step.standings]
    kinds = {edge.type: place for place, (step, _) in enumerate(seen) for edge in step.edges}
    for place, (_, standing) in enumerate(seen):
        assert standing.inside == (kinds[TransitionType.ENTER] <= place < kinds[TransitionType.EXIT])
        assert standing.confirmed == (kinds[TransitionType.CONFIRM] <= place < kinds[TransitionType.EXIT])


def test_what_says_nothing_is_named_and_leaves_every_probability_as_it_was() -> None:
    device = Explained(GeofenceIndex([_fence(SHOP, 0.0)]))
    for n in range(10):
        before = device.take(_fix(5.0 * n, -60.0 + 7 * n))
    useless = [
        (_fix(46, 0.0, 350.0), Worth.COARSE),
        (_fix(47, 0.0, 2_000.0), Worth.UNKNOWN),
        (_fix(48, 0.0, mock=True), Worth.MOCKED),
        (_fix(49, 90_000.0), Worth.LEAP),
    ]
    kept = None
    for fix, worth in useless:
        step = device.take(fix)
        assert (step.taken, step.worth) == ("accepted", worth)
        probability = _standing(step, SHOP).probability
        assert kept is None or probability == kept
        kept = probability
    assert kept is not None
    assert before.standings[0].inside


def test_a_late_fix_and_one_sent_again_are_told_from_one_another_and_change_nothing() -> None:
    device = Explained(GeofenceIndex([_fence(SHOP, 0.0)]))
    first, second = _fix(0, -20.0), _fix(10, -10.0)
    device.take(first)
    device.take(second)
    assert [device.take(fix).taken for fix in (second, first, _fix(5, -15.0))] == ["duplicate", "duplicate", "late"]
    assert device.take(_fix(20, 0.0)).taken == "accepted"


def test_the_fences_near_are_told_of_nearest_first_and_the_far_ones_not_at_all() -> None:
    fences = [_fence(CAFE, 100.0), _fence(SHOP, 0.0), _fence(FenceId("far"), 400.0)]
    step = Explained(GeofenceIndex(fences)).take(_fix(0, 10.0))
    assert [standing.fence for standing in step.standings] == [SHOP, CAFE]
    assert [round(standing.away_m or 0.0) for standing in step.standings] == [-30, 50]


def test_a_fence_that_takes_fixes_at_their_word_has_no_probability_and_its_visit_counts_at_once() -> None:
    step = Explained(GeofenceIndex([_fence(SHOP, 0.0, mode="raw")])).take(_fix(0, 39.0, accuracy_m=150.0))
    assert [edge.type for edge in step.edges] == [TransitionType.ENTER]
    assert step.standings == (Standing(SHOP, step.standings[0].away_m, None, inside=True, confirmed=True),)


def test_a_way_through_a_fence_between_two_fixes_is_a_cross() -> None:
    device = Explained(GeofenceIndex([_fence(SHOP, 0.0)]))
    device.take(_fix(0, -150.0, speed_mps=20.0))
    step = device.take(_fix(15, 150.0, speed_mps=20.0))
    assert [(edge.type, edge.fence) for edge in step.edges] == [(TransitionType.CROSS, SHOP)]


def test_what_the_phones_own_monitoring_saw_is_taken_and_an_unknown_region_is_said_to_be_one() -> None:
    device = Explained(GeofenceIndex([_fence(SHOP, 0.0)]))
    step = device.take(RegionEvent(START_US, SHOP, entered=True))
    assert [edge.type for edge in step.edges] == [TransitionType.ENTER]
    assert (step.standings[0].away_m, step.standings[0].inside) == (None, True)
    assert device.take(RegionEvent(START_US, FenceId("gone"), entered=True)).taken == "unknown_region"
    assert device.take(RegionEvent(START_US - 1, SHOP, entered=False)).taken == "late"


def test_where_the_phone_does_not_say_how_fast_it_is_it_is_reckoned_from_the_way() -> None:
    device = Explained(GeofenceIndex([_fence(SHOP, 0.0)]))
    steps = [device.take(_fix(10.0 * n, 14.0 * n, speed_mps=None)) for n in range(8)]
    assert steps[-1].speed_mps == pytest.approx(1.4, abs=0.1)


def test_nothing_that_is_said_beside_the_sighting_holds_a_position() -> None:
    for step in _walked(_fence(SHOP, 0.0)):
        said = msgspec.json.encode([step.standings, step.edges]).decode()
        assert "46.2" not in said
        assert "-30.5" not in said
