from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import EDGES, NO_FENCES, is_late, receive, step, step_region
from geo_offers.presence.states import NOWHERE, PresenceState, Transition, TransitionType, load
from geo_offers.presence.visits import time_first_id, visit_id

WORKSPACE = UUID(int=1)
DEVICE = UUID(int=2)
T0_US = 1_760_000_000_000_000
SECOND_US = 1_000_000


def fence(name: str, version: int = 1, dwell_s: float = 300.0) -> Geofence:
    return Geofence(
        FenceId(f"town/{name}"),
        version,
        name,
        Circle(53.0, 8.0, 100.0),
        None,
        (),
        active=True,
        detect=Detect("raw", dwell_s=dwell_s),
    )


BAKERY, CAFE, MALL = fence("bakery"), fence("cafe"), fence("mall")


def fix(second: float, lat: float = 53.0, lon: float = 8.0) -> Fix:
    return Fix(T0_US + round(second * SECOND_US), lat, lon, accuracy_m=7.5)


def walk(
    steps: Sequence[tuple[float, Sequence[Geofence], Sequence[Geofence]]], state: PresenceState = NOWHERE
) -> tuple[PresenceState, list[list[str]]]:
    told = []
    for second, inside, crossed in steps:
        state, edges = step(state, fix(second), inside, crossed, workspace=WORKSPACE, device=DEVICE)
        told.append([f"{edge.type} {edge.fence.removeprefix('town/')}" for edge in edges])
    return state, told


def test_a_device_starts_outside_everywhere() -> None:
    state, told = walk([(0, [], [])])
    assert told == [[]]
    assert state.inside == {}


def test_a_first_fix_inside_is_an_enter() -> None:
    assert walk([(0, [BAKERY], [])])[1] == [["enter bakery"]]


def test_staying_inside_tells_nothing_and_leaving_is_an_exit_of_the_same_visit() -> None:
    state, (enter,) = step(NOWHERE, fix(0), [BAKERY], [], workspace=WORKSPACE, device=DEVICE)
    state, none = step(state, fix(10), [BAKERY], [], workspace=WORKSPACE, device=DEVICE)
    state, (exit_,) = step(state, fix(20), [], [], workspace=WORKSPACE, device=DEVICE)
    assert none == ()
    assert (enter.type, exit_.type) == (TransitionType.ENTER, TransitionType.EXIT)
    assert enter.visit == exit_.visit == visit_id(WORKSPACE, DEVICE, BAKERY.id, T0_US)
    assert enter.entered_us == exit_.entered_us == T0_US
    assert (enter.at_us, exit_.at_us) == (T0_US, T0_US + 20 * SECOND_US)
    assert state.inside == {}


def test_coming_back_is_another_visit() -> None:
    state, (first,) = step(NOWHERE, fix(0), [BAKERY], [], workspace=WORKSPACE, device=DEVICE)
    state, _ = step(state, fix(1), [], [], workspace=WORKSPACE, device=DEVICE)
    state, (second,) = step(state, fix(2), [BAKERY], [], workspace=WORKSPACE, device=DEVICE)
    assert first.visit != second.visit


def test_of_one_fix_exits_come_first_then_crosses_enters_and_dwells_each_by_fence_id() -> None:
    quick = [fence("a", dwell_s=60.0), fence("b", dwell_s=60.0)]
    leaving = [fence("x"), fence("y")]
    through = [fence("m"), fence("n")]
    arriving = [fence("d"), fence("c")]
    _, told = walk([(0, [*leaving, *quick], []), (60, [*arriving, *reversed(quick)], through)])
    assert told[1] == ["exit x", "exit y", "cross m", "cross n", "enter c", "enter d", "dwell a", "dwell b"]


def test_running_through_a_fence_is_a_cross_and_never_an_enter() -> None:
    state, told = walk([(0, [], []), (5, [], [BAKERY])])
    assert told == [[], ["cross bakery"]]
    assert state.inside == {}


def test_a_cross_has_no_visit() -> None:
    _, (cross,) = step(NOWHERE, fix(0), [], [BAKERY], workspace=WORKSPACE, device=DEVICE)
    assert (cross.visit, cross.entered_us) == (None, None)


def test_leaving_on_the_far_side_is_an_exit_and_not_a_cross() -> None:
    assert walk([(0, [BAKERY], []), (5, [], [BAKERY])])[1][1] == ["exit bakery"]


@pytest.mark.parametrize(("second", "told"), [(299.999_999, []), (300.0, ["dwell bakery"]), (4000.0, ["dwell bakery"])])
def test_a_dwell_is_the_first_fix_at_or_after_its_deadline(second: float, told: list[str]) -> None:
    assert walk([(0, [BAKERY], []), (second, [BAKERY], [])])[1][1] == told


def test_a_dwell_is_told_once_a_visit() -> None:
    steps = [
        (0, [BAKERY], []),
        (300, [BAKERY], []),
        (600, [BAKERY], []),
        (700, [], []),
        (800, [BAKERY], []),
        (1100, [BAKERY], []),
    ]
    told = walk(steps)[1]
    assert told == [["enter bakery"], ["dwell bakery"], [], ["exit bakery"], ["enter bakery"], ["dwell bakery"]]


def test_a_fix_outside_after_the_dwell_deadline_is_an_exit_and_no_dwell() -> None:
    assert walk([(0, [BAKERY], []), (900, [], [])])[1][1] == ["exit bakery"]


def test_a_fence_that_vanished_is_left_with_the_next_fix() -> None:
    state, _ = walk([(0, [BAKERY], [])])
    _, (exit_,) = step(state, fix(1), [], [], workspace=WORKSPACE, device=DEVICE, view=NO_FENCES)
    assert (exit_.type, exit_.fence, exit_.fence_version, exit_.distance_m) == ("exit", BAKERY.id, 1, None)


def test_an_edge_knows_accuracy_and_the_signed_distance_to_the_border() -> None:
    state, (enter,) = step(NOWHERE, fix(0), [BAKERY], [], workspace=WORKSPACE, device=DEVICE)
    far = fix(1, lat=53.01)
    _, (exit_,) = step(
        state, far, [], [], workspace=WORKSPACE, device=DEVICE, view=NO_FENCES._replace(get={BAKERY.id: BAKERY}.get)
    )
    assert enter.accuracy_m == 7.5
    assert enter.distance_m == pytest.approx(-100.0, abs=0.5)
    assert exit_.distance_m == pytest.approx(1012.9, abs=1.0)


def test_a_visit_keeps_the_version_of_the_fence_that_was_entered() -> None:
    state, _ = walk([(0, [BAKERY], [])])
    redrawn = replace(BAKERY, version=9)
    state, (dwell,) = step(state, fix(300), [redrawn], [], workspace=WORKSPACE, device=DEVICE)
    assert dwell.fence_version == 1


def test_a_step_leaves_its_argument_as_it_was() -> None:
    before, _ = walk([(0, [BAKERY], [])])
    kept = (before.newest_us, dict(before.inside), before.recent)
    step(before, fix(900), [CAFE], [MALL], workspace=WORKSPACE, device=DEVICE)
    assert (before.newest_us, dict(before.inside), before.recent) == kept


def test_every_pair_of_before_and_now_stands_in_the_table() -> None:
    assert len(EDGES) == len({was for was, _ in EDGES}) * len({seen for _, seen in EDGES}) == 9


def test_a_resent_fix_is_a_duplicate_until_64_newer_ones_pushed_it_out() -> None:
    state = NOWHERE
    for second in range(64):
        state, _ = step(state, fix(second), [], [], workspace=WORKSPACE, device=DEVICE)
    assert [receive(state, fix(second)) for second in (0, 31, 63)] == ["duplicate"] * 3
    state, _ = step(state, fix(64), [], [], workspace=WORKSPACE, device=DEVICE)
    assert receive(state, fix(0)) == "late"
    assert receive(state, fix(1)) == "duplicate"
    assert len(state.recent) == 64 * 3


def test_a_fix_older_than_the_newest_is_late() -> None:
    state, _ = walk([(10, [], [])])
    assert receive(state, fix(9)) == "late"
    assert is_late(state, T0_US + 9 * SECOND_US)
    assert not is_late(state, T0_US + 10 * SECOND_US)
    assert not is_late(NOWHERE, T0_US)


def test_another_place_at_the_same_instant_is_accepted() -> None:
    state, _ = walk([(10, [], [])])
    assert receive(state, fix(10, lat=53.5)) == "accepted"
    assert receive(state, fix(10, lon=-8.0)) == "accepted"


def test_fingerprints_are_matched_whole_and_not_across_their_borders() -> None:
    state, _ = walk([(1, [], []), (2, [], [])])
    shifted = replace(state, recent=bytes(4) + state.recent[:8] + bytes(4))
    assert receive(shifted, fix(1)) == "late"


def region(
    state: PresenceState, second: float, where: Geofence, entered: bool
) -> tuple[PresenceState, tuple[Transition, ...]]:
    at_us = T0_US + round(second * SECOND_US)
    return step_region(state, at_us, where, entered=entered, workspace=WORKSPACE, device=DEVICE)


def test_a_region_seen_by_the_phone_moves_just_that_fence_and_forgets_the_position() -> None:
    state, _ = walk([(0, [MALL], [])])
    state, (enter,) = region(state, 10, BAKERY, entered=True)
    assert set(state.inside) == {MALL.id, BAKERY.id}
    assert (state.lat, state.lon, state.newest_us) == (None, None, T0_US + 10 * SECOND_US)
    assert (enter.type, enter.accuracy_m, enter.distance_m) == ("enter", 50.0, None)
    assert enter.visit == visit_id(WORKSPACE, DEVICE, BAKERY.id, T0_US + 10 * SECOND_US)
    state, (exit_,) = region(state, 20, BAKERY, entered=False)
    assert (exit_.type, exit_.visit, set(state.inside)) == ("exit", enter.visit, {MALL.id})


@pytest.mark.parametrize("entered", [True, False])
def test_a_region_event_that_says_what_is_known_makes_no_edge(entered: bool) -> None:
    state, _ = walk([(0, [BAKERY] if entered else [], [])])
    after, edges = region(state, 400, BAKERY, entered=entered)
    assert edges == ()
    assert after.inside == state.inside


def test_what_is_kept_of_a_state_holds_no_coordinate_and_goes_on_where_it_was() -> None:
    state, _ = walk([(0, [BAKERY, CAFE], []), (300, [BAKERY], [])])
    kept = state.kept()
    found = msgspec.json.decode(kept)
    assert set(found) == {"newest_us", "inside"}
    assert [set(stay) for stay in found["inside"]] == [{"fence", "fence_version", "visit", "entered_us", "dwelt"}]
    again = load(kept)
    assert (again.newest_us, again.inside) == (state.newest_us, state.inside)
    assert (again.lat, again.lon, again.recent) == (None, None, b"")
    assert walk([(400, [], [])], again)[1] == [["exit bakery"]]


def test_a_kept_state_of_another_making_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        load(b'{"newest_us": 1, "inside": [{"fence": 3}]}')


def test_visit_ids_sort_by_time_and_differ_in_every_part() -> None:
    ids = [visit_id(WORKSPACE, DEVICE, BAKERY.id, T0_US + second * SECOND_US) for second in range(5)]
    assert ids == sorted(ids)
    other = {
        visit_id(DEVICE, WORKSPACE, BAKERY.id, T0_US),
        visit_id(WORKSPACE, WORKSPACE, BAKERY.id, T0_US),
        visit_id(WORKSPACE, DEVICE, CAFE.id, T0_US),
        visit_id(WORKSPACE, DEVICE, BAKERY.id, T0_US + 1),
        ids[0],
    }
    assert len(other) == 5
    assert ids[0].int >> 80 == T0_US // 1000


def test_moving_a_byte_from_one_part_to_the_next_gives_another_id() -> None:
    assert time_first_id(T0_US, b"ab", b"c") != time_first_id(T0_US, b"a", b"bc")
