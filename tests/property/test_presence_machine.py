"""The machine against an oracle that looks at one fence at a time, over any sequence of fixes."""

from collections.abc import Sequence
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import receive, step
from geo_offers.presence.states import NOWHERE, PresenceState, Transition, load

WORKSPACE, DEVICE = UUID(int=1), UUID(int=2)
SECOND_US = 1_000_000
DWELL_S = 60
FENCES = [
    Geofence(
        FenceId(f"s/{name}"),
        1,
        name,
        Circle(10.0, 10.0, 50.0),
        None,
        (),
        active=True,
        detect=Detect("raw", dwell_s=DWELL_S),
    )
    for name in "abc"
]
ORDER = ["exit", "cross", "enter", "dwell"]

# One fix: seconds since the last one, and for each fence whether it is away, ran through or within.
fixes = st.lists(
    st.tuples(st.integers(1, 90), st.tuples(*[st.sampled_from(["away", "through", "within"])] * len(FENCES))),
    max_size=25,
)
Track = list[tuple[int, tuple[str, ...]]]


def played(track: Track, state: PresenceState = NOWHERE, at_s: int = 0) -> tuple[PresenceState, list[Transition]]:
    told: list[Transition] = []
    for wait_s, seen in track:
        at_s += wait_s
        within = [fence for fence, how in zip(FENCES, seen, strict=True) if how == "within"]
        through = [fence for fence, how in zip(FENCES, seen, strict=True) if how == "through"]
        fix = Fix(at_s * SECOND_US, 1.0, 2.0)
        state, edges = step(state, fix, within[::-1], through[::-1], workspace=WORKSPACE, device=DEVICE)
        told += edges
    return state, told


def oracle(track: Track, number: int) -> list[tuple[int, str]]:
    """One fence's edges, from the definition."""
    told: list[tuple[int, str]] = []
    at_s, entered_s, dwelt = 0, None, False
    for wait_s, seen in track:
        at_s += wait_s
        if entered_s is None:
            if seen[number] == "within":
                told.append((at_s, "enter"))
                entered_s, dwelt = at_s, False
            elif seen[number] == "through":
                told.append((at_s, "cross"))
        elif seen[number] != "within":
            told.append((at_s, "exit"))
            entered_s = None
        elif at_s >= entered_s + DWELL_S and not dwelt:
            told.append((at_s, "dwell"))
            dwelt = True
    return told


def of(fence: Geofence, told: Sequence[Transition]) -> list[tuple[int, str]]:
    return [(edge.at_us // SECOND_US, str(edge.type)) for edge in told if edge.fence == fence.id]


@given(fixes)
def test_every_fence_sees_what_it_would_see_alone(track: Track) -> None:
    told = played(track)[1]
    assert [of(fence, told) for fence in FENCES] == [oracle(track, number) for number in range(len(FENCES))]


@given(fixes)
def test_edges_of_one_fix_are_told_by_kind_then_fence(track: Track) -> None:
    told = played(track)[1]
    keys = [(edge.at_us, ORDER.index(edge.type), edge.fence) for edge in told]
    assert keys == sorted(keys)


@given(fixes)
def test_all_edges_of_a_stay_carry_one_visit_and_no_visit_comes_twice(track: Track) -> None:
    begun: dict[str, UUID | None] = {}
    visits: list[UUID | None] = []
    for edge in played(track)[1]:
        if edge.type == "enter":
            begun[edge.fence] = edge.visit
            visits.append(edge.visit)
        elif edge.type != "cross":
            assert edge.visit == begun[edge.fence]
    assert None not in visits
    assert len(set(visits)) == len(visits)


@given(fixes, st.integers(0, 25))
def test_a_restart_between_two_fixes_changes_no_edge(track: Track, cut: int) -> None:
    before, told = played(track[:cut])
    rest = played(track[cut:], load(before.kept()), sum(wait_s for wait_s, _ in track[:cut]))[1]
    assert told + rest == played(track)[1]


@given(st.lists(st.integers(0, 200), max_size=120))
def test_a_fix_is_accepted_once_whatever_order_it_is_sent_in(seconds: list[int]) -> None:
    state, accepted = NOWHERE, []
    for second in seconds:
        fix = Fix(second * SECOND_US, 1.0, 2.0)
        answer = receive(state, fix)
        if answer == "accepted":
            accepted.append(second)
            state, _ = step(state, fix, [], [], workspace=WORKSPACE, device=DEVICE)
        elif answer == "duplicate":
            assert second in accepted[-64:]
        else:
            assert second < accepted[-1]
    assert accepted == sorted(set(accepted))
