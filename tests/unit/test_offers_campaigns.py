from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from geo_offers.offers.campaigns import Campaign, Campaigns, CampaignState, FenceSelector, candidates, faults
from geo_offers.offers.caps import CapRule
from geo_offers.offers.rendering import Text
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType

BAKERY = Geofence(
    FenceId("town/bakery/door"),
    1,
    "Bakery",
    Circle(53.0, 8.0, 100.0),
    "bakery",
    ("food",),
    active=True,
    detect=Detect("raw"),
)
SPRING = Campaign(
    UUID(int=1),
    "Spring",
    1,
    CampaignState.APPROVED,
    TransitionType.ENTER,
    FenceSelector(set="town"),
    {"en": Text("Hello", "Come in")},
    from_us=100,
    until_us=200,
)


def edge(kind: TransitionType) -> Transition:
    visit = None if kind is TransitionType.CROSS else UUID(int=9)
    return Transition(kind, BAKERY.id, 1, 150, visit, 150, accuracy_m=5.0, distance_m=-3.0)


@pytest.mark.parametrize(
    "selector",
    [
        FenceSelector(set="town"),
        FenceSelector(ids=frozenset({FenceId("town/cafe"), FenceId("town/bakery/door")})),
        FenceSelector(tags=frozenset({"food", "books"})),
    ],
)
def test_a_fence_is_selected_by_set_id_or_tag(selector: FenceSelector) -> None:
    assert selector.matches(BAKERY)


@pytest.mark.parametrize(
    "selector",
    [
        FenceSelector(set="tow"),
        FenceSelector(set="town/bakery"),
        FenceSelector(ids=frozenset({FenceId("town/bakery")})),
        FenceSelector(tags=frozenset({"books"})),
        FenceSelector(),
    ],
)
def test_another_fence_is_not_selected(selector: FenceSelector) -> None:
    assert not selector.matches(BAKERY)


@pytest.mark.parametrize("kind", list(TransitionType))
@pytest.mark.parametrize("trigger", [TransitionType.ENTER, TransitionType.DWELL, TransitionType.EXIT])
def test_a_campaign_answers_its_own_trigger_only(kind: TransitionType, trigger: TransitionType) -> None:
    found = candidates([replace(SPRING, trigger_on=trigger)], edge(kind), BAKERY)
    assert bool(found) == (kind is trigger)


@pytest.mark.parametrize("state", list(CampaignState))
def test_a_candidate_is_one_in_any_state_and_runs_only_when_approved(state: CampaignState) -> None:
    campaign = replace(SPRING, state=state)
    assert candidates([campaign], edge(TransitionType.ENTER), BAKERY) == [campaign]
    assert campaign.running(150) == (state is CampaignState.APPROVED)


@pytest.mark.parametrize(("now_us", "running"), [(99, False), (100, True), (199, True), (200, False)])
def test_a_campaign_runs_from_its_start_to_just_before_its_end(now_us: int, running: bool) -> None:
    assert SPRING.running(now_us) == running


def test_a_campaign_without_a_schedule_always_runs_and_one_without_a_text_never() -> None:
    assert replace(SPRING, from_us=None, until_us=None).running(0)
    assert not replace(SPRING, texts={}).running(150)


def test_a_sound_campaign_has_no_faults() -> None:
    assert faults(SPRING) == ()


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"trigger_on": TransitionType.CROSS}, "/trigger/on"),
        ({"fences": FenceSelector()}, "/trigger/fences"),
        ({"fences": FenceSelector(set="town", tags=frozenset({"food"}))}, "/trigger/fences"),
        ({"texts": {}}, "/texts"),
        ({"texts": {"de": Text("{nope}", "b")}}, "/texts/de/title"),
        ({"until_us": 100}, "/schedule/until"),
        ({"caps": (CapRule(1),) * 11}, "/caps"),
        ({"caps": (CapRule(1), CapRule(0))}, "/caps/1/limit"),
    ],
)
def test_each_fault_of_a_campaign_is_told_at_its_place(changed: dict[str, Any], pointer: str) -> None:
    assert [fault.pointer for fault in faults(replace(SPRING, **changed))] == [pointer]


def test_a_fence_that_changes_its_tags_has_the_campaigns_of_its_new_ones() -> None:
    books = replace(SPRING, fences=FenceSelector(tags=frozenset({"books"})))
    food = replace(SPRING, fences=FenceSelector(tags=frozenset({"food"})))
    held = Campaigns([books, food])
    for tags, found in (("food",), [food]), (("books",), [books]), ((), []), (("food", "books"), [books, food]):
        assert candidates(held, edge(TransitionType.ENTER), structs.replace(BAKERY, tags=tags)) == found
    assert candidates(held, edge(TransitionType.EXIT), structs.replace(BAKERY, tags=("food",))) == []
