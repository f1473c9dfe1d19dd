"""A campaign put through people's visits: what counts, what is taken, and what is not told."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from geo_offers.instants import to_us
from geo_offers.offers.budgets import Budget
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import Use
from geo_offers.offers.experiment import Experiment
from geo_offers.offers.rehearsal import FEW, Findings, Overlap, Rehearsal, Spread, Walker
from geo_offers.offers.snapshot import Arrival, DeviceView, Person, WorkspacePolicy
from geo_offers.offers.texts import Text
from geo_offers.people.consent import NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.people.rhythm import Rhythm
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType
from tests.support.replacing import replace

BERLIN = ZoneInfo("Europe/Berlin")
NOON_US = to_us(datetime(2026, 6, 1, 12, tzinfo=BERLIN))  # a Monday
HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
AGREED = Consents({purpose: Consent(granted=True, text_version="v1", at_us=1) for purpose in Purpose})
FENCE = Geofence(FenceId("town/a"), 4, "A", Circle(53.0, 8.0, 99.0), "a", (), active=True, detect=Detect("raw"))
POLICY = WorkspacePolicy("Seaview", BERLIN)


def campaign(number: int = 1, **changed: Any) -> Campaign:
    base = Campaign(
        UUID(int=number),
        f"campaign {number}",
        1,
        CampaignState.APPROVED,
        TransitionType.ENTER,
        FenceSelector(set="town"),
        {"en": Text("Hello", "There")},
    )
    return replace(base, **changed)


def walker(number: int, days: Iterable[int] = (0,), *, hour: int = 0, **changed: Any) -> Walker:
    person = Person(UUID(int=100 + number), AGREED, Rhythm(), BERLIN, "en")
    arrivals = [_arrival(number, NOON_US + day * DAY_US + hour * HOUR_US) for day in days]
    return Walker(replace(person, **changed), DeviceView(UUID(int=number), lanes=("inapp",)), arrivals)


def _arrival(number: int, at_us: int) -> Arrival:
    visit = UUID(int=at_us * 1000 + number)
    return Arrival(Transition(TransitionType.ENTER, FENCE.id, 4, at_us, visit, at_us, 8.0, 0.0), FENCE, BERLIN)


def rehearsed(
    walkers: Iterable[Walker], own: Campaign | None = None, *others: Campaign, policy: WorkspacePolicy = POLICY
) -> Findings:
    found = Rehearsal(own or campaign(), others, policy, 7)
    for one in walkers:
        for _ in found.play(one):
            pass
    return found.findings()


def test_offers_made_in_the_rehearsal_count_for_what_comes_after():
    found = rehearsed(walker(number, range(5)) for number in range(10))
    assert (found.people, found.entries, found.offers) == (10, 50, 20)  # two a week
    assert (found.silences, found.untold) == ({"rhythm_max": 30}, 0)
    assert found.own == found.after == Spread(2, 2, 2)
    assert found.before == Spread(0, 0, 0)


def test_the_held_out_take_their_place_too():
    own = campaign(experiment=Experiment(holdout=1.0))
    found = rehearsed((walker(number, range(3)) for number in range(10)), own)
    assert (found.offers, found.silences) == (0, {"holdout": 20, "rhythm_max": 10})


def test_what_was_offered_before_the_first_visit_counts():
    earlier = (Use(NOON_US - HOUR_US, UUID(int=9), "b", FenceId("town/b")),)
    found = rehearsed(replace(walker(number), uses=earlier) for number in range(10))
    assert (found.offers, found.silences) == (0, {"rhythm_gap": 10})
    budgeted = campaign(2, budget=Budget(total=99))  # with one, both lives are decided from the first visit on
    found = rehearsed((replace(walker(number), uses=earlier) for number in range(10)), campaign(), budgeted)
    assert found.before == Spread(0, 0, 0)


def test_another_campaign_s_offers_are_taken_and_the_people_shared():
    other = campaign(2)
    found = rehearsed((walker(number) for number in range(12)), campaign(1, priority=5), other)
    assert found.offers == 12
    assert found.overlaps == [Overlap(other.id, 12, 12)]
    assert found.before == found.after == Spread(1, 1, 1)
    outranked = rehearsed((walker(number) for number in range(12)), campaign(1, priority=-5), other)
    assert (outranked.offers, outranked.silences) == (0, {"outranked": 12})
    assert outranked.overlaps == [Overlap(other.id, 12, 0)]


def test_who_has_not_agreed_is_an_entry_whichever_campaign_the_decision_names():
    people = [walker(number, consents=NONE_GIVEN) for number in range(10)]
    found = rehearsed(people, campaign(3), campaign(2))
    assert (found.entries, found.silences) == (10, {"no_consent": 10})


def test_a_budget_allows_so_many_and_starts_unspent():
    own = campaign(budget=Budget(total=12))
    found = rehearsed((walker(number) for number in range(30)), own)
    assert (found.offers, found.silences) == (12, {"budget": 18})


def test_who_has_no_entry_of_the_campaign_is_not_counted():
    own = campaign(fences=FenceSelector(set="elsewhere"))
    found = rehearsed((walker(number) for number in range(12)), own, campaign(2))
    assert (found.people, found.entries, found.offers, found.before) == (0, 0, 0, None)


def test_what_fewer_than_ten_people_had_is_not_told_and_cannot_be_reckoned():
    loud = [walker(number) for number in range(FEW * 2)]
    night = [walker(50 + number, hour=10) for number in range(FEW + 1)]
    quiet_one = [walker(99, consents=NONE_GIVEN)]
    found = rehearsed([*loud, *night, *quiet_one])
    assert (found.offers, found.silences, found.untold) == (20, {}, 12)  # alone, the one would stand there by itself
    few_offers = rehearsed([*loud[:3], *night])
    assert (few_offers.entries, few_offers.offers, few_offers.silences, few_offers.untold) == (14, None, {}, 14)
    assert few_offers.own is None


def test_nothing_of_fewer_than_ten_people_is_told():
    found = rehearsed((walker(number) for number in range(FEW - 1)), campaign(), campaign(2))
    assert (found.offers, found.silences, found.own, found.before, found.after) == (None, {}, None, None, None)
    assert found.overlaps == []
