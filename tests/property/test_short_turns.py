"""What a turn asks cheaply of everybody is what it would find out in full."""

from typing import Any
from uuid import UUID

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geo_offers.offers.campaigns import Campaign, CampaignState, Concerned, FenceSelector, candidates
from geo_offers.offers.rendering import Text
from geo_offers.people.consent import Purpose
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.storage import rows

SETS, IDS, TAGS = ["a", "b", "a/1"], ["a/1", "a/2", "b/1", "b/1/2"], ["hot", "cold", "a"]
kinds = st.sampled_from(TransitionType)
selectors = (
    st.builds(FenceSelector, set=st.sampled_from(SETS))
    | st.builds(FenceSelector, ids=st.frozensets(st.sampled_from(IDS)))
    | st.builds(FenceSelector, tags=st.frozensets(st.sampled_from(TAGS)))
    | st.builds(FenceSelector, st.none() | st.sampled_from(SETS), st.just(frozenset({"a/1"})), st.just(frozenset(TAGS)))
)


@st.composite
def campaigns(draw: st.DrawFn) -> list[Campaign]:
    drawn = draw(st.lists(st.tuples(kinds, selectors, st.sampled_from(CampaignState)), max_size=4))
    return [
        Campaign(UUID(int=number), "c", 1, state, on, fences, {"en": Text("t", "b")})
        for number, (on, fences, state) in enumerate(drawn)
    ]


def _of_tag(tag: str) -> Campaign:
    chosen = FenceSelector(tags=frozenset({tag}))
    return Campaign(UUID(int=1), tag, 1, CampaignState.APPROVED, TransitionType.ENTER, chosen, {"en": Text("t", "b")})


@settings(deadline=None)
@given(campaigns(), kinds, st.sampled_from(IDS), st.sets(st.sampled_from(TAGS)))
@example([*map(_of_tag, TAGS)], TransitionType.ENTER, "a/1", {*TAGS})
def test_the_candidates_of_a_transition_are_all_campaigns_that_answer_it_and_select_its_fence_in_their_order(
    known: list[Campaign], kind: TransitionType, fence: str, tags: set[str]
) -> None:
    where = Geofence(
        FenceId(fence), 1, "f", Circle(1.0, 1.0, 9.0), None, tuple(sorted(tags)), active=True, detect=Detect("raw")
    )
    edge = Transition(kind, where.id, 1, 5, UUID(int=9), 5, accuracy_m=1.0, distance_m=None)
    expected = [one for one in known if one.trigger_on in edge.triggers and one.fences.matches(where)]
    assert list(candidates(known, edge, where)) == expected


@settings(deadline=None)
@given(campaigns(), kinds, st.sampled_from(IDS), st.sets(st.sampled_from(TAGS)), st.booleans())
def test_a_transition_is_said_to_concern_campaigns_just_where_one_is_a_candidate(
    known: list[Campaign], kind: TransitionType, fence: str, tags: set[str], cross: bool
) -> None:
    where = Geofence(
        FenceId(fence), 1, "f", Circle(1.0, 1.0, 9.0), None, tuple(sorted(tags)), active=True, detect=Detect("raw")
    )
    edge = Transition(kind, where.id, 1, 5, None if cross else UUID(int=9), 5, accuracy_m=1.0, distance_m=None)
    assert Concerned.by(known).any(edge, where) == bool(candidates(known, edge, where))


states = st.fixed_dictionaries(
    {
        "purpose": st.sampled_from(["locate", "offers", "profile", "measure", "other"]),
        "granted": st.sampled_from([True, True, False, 1, None]),
        "text_version": st.sampled_from(["v1", "v1", 1]),
        "at": st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05", "then"]),
    },
    optional={"more": st.just(1), "seq": st.sampled_from([1, 2**62, None, "1", 1.5])},
)
purposes = st.sampled_from([purpose.value for purpose in Purpose])
consents = st.dictionaries(purposes | st.just("other"), states | st.none(), max_size=4)


@settings(deadline=None)
@given(consents)
@example({})
def test_whether_somebody_may_be_located_is_read_as_their_consents_are(said: dict[str, Any]) -> None:
    column = msgspec.json.encode(said)
    assert rows.may_locate(column, UUID(int=1)) == rows.consents(column).granted(Purpose.LOCATE)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_what_is_no_consent_locates_nobody(column: bytes) -> None:
    assert rows.may_locate(column, UUID(int=1)) == rows.consents(column).granted(Purpose.LOCATE)
