"""The choice among candidates, and what it may spend: scores, experiments, caps of three levels, budgets."""

from collections import Counter
from datetime import date
from math import isclose
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from geo_offers.offers.budgets import Budget, Charged, Spent, of_campaign, of_store
from geo_offers.offers.campaigns import CampaignState, FenceSelector, faults
from geo_offers.offers.caps import CapRule, Scope
from geo_offers.offers.charging import Purse, asked
from geo_offers.offers.decide import Decision, Reason
from geo_offers.offers.experiment import Arm, Experiment, Variant, assign, changes, place
from geo_offers.offers.rendering import Text
from geo_offers.offers.scoring import Weights, Worth, score, terms, told_terms
from geo_offers.offers.stores import StoreRules
from geo_offers.people.consent import NONE_GIVEN
from geo_offers.places.fences import FenceId
from tests.support.replacing import replace
from tests.unit.test_offers_decide import (
    BAKERY,
    BASE,
    DAY_US,
    FREE,
    HOUR_US,
    NO_GAPS,
    NOW_US,
    PERSON,
    POLICY,
    arrival,
    campaign,
    decided,
    detail,
    fence,
    use,
    visit_of,
)

TOKYO = ZoneInfo("Asia/Tokyo")
PEOPLE = [uuid5(UUID(int=7), str(number)) for number in range(4000)]
A, B = Variant("a", 0.7, {"en": Text("A", "a")}), Variant("b", 0.3)
ONE = UUID(int=1)


# ------------------------------------------------------------------------------------------------ ranking
def test_in_a_mall_with_forty_overlapping_fences_a_person_gets_one_offer() -> None:
    near = [fence(f"shop-{number}", f"s{number}") for number in range(40)]
    arrivals = tuple(arrival(where, distance_m=-1.0 - number) for number, where in enumerate(near))
    found = decided(arrivals=arrivals, campaigns=(campaign(1), campaign(2)))
    assert (found.outcome, found.primary.fence) == ("offer", near[0].id)
    assert detail(found, "ranking")["candidates"] == 80
    others = detail(found, "ranking")["others"]
    assert [other["reason"] for other in others] == [Reason.OUTRANKED] * 29
    then = decided(arrivals=arrivals, campaigns=(campaign(1),), uses=(use(0, visit=visit_of(near[0])),), person=FREE)
    assert (then.outcome, then.reason) == ("suppressed", Reason.PLACE_GAP)


def test_of_more_candidates_than_are_asked_the_one_that_scores_best_is_among_them_and_every_arrival_is_answered() -> (
    None
):
    near = [fence(f"shop-{number}", f"s{number}") for number in range(40)]
    arrivals = tuple(arrival(where, distance_m=-100.0 + number) for number, where in enumerate(near))
    each = [
        campaign(number + 1, fences=FenceSelector(ids=frozenset({where.id})), worth=Worth(value=number + 1.0))
        for number, where in enumerate(near)
    ]
    found = decided(arrivals=arrivals, campaigns=tuple(each))
    assert (found.outcome, found.campaign) == ("offer", each[39].id)
    assert [transition.fence for transition in found.transitions] == [where.id for where in near]
    assert found.passed_over == {one.id: Reason.OUTRANKED for one in each[:39]}


def test_a_campaign_that_is_not_running_takes_no_running_ones_place() -> None:
    off = [campaign(number, state=CampaignState.PAUSED, priority=9) for number in range(1, 31)]
    found = decided(campaigns=(*off, campaign(99)))
    assert (found.outcome, found.campaign) == ("offer", campaign(99).id)


def test_why_each_campaign_was_silent_is_told_of_all_that_were_concerned() -> None:
    paused = campaign(1, state=CampaignState.PAUSED, priority=5)
    found = decided(campaigns=(paused, campaign(2), campaign(3, priority=-1)))
    assert found.passed_over == {paused.id: Reason.NOT_LIVE, campaign(3).id: Reason.OUTRANKED}
    refused = decided(campaigns=(campaign(1), campaign(2)), person=replace(PERSON, consents=NONE_GIVEN))
    assert (refused.reason, refused.passed_over) == (Reason.NO_CONSENT, {campaign(2).id: Reason.NO_CONSENT})


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({"worth": Worth(value=5)}, {"worth": Worth(value=6)}, 2),
        ({"worth": Worth(margin=0.2)}, {"worth": Worth(margin=0.4)}, 2),
        ({"until_us": NOW_US + 9 * DAY_US}, {"until_us": NOW_US + HOUR_US}, 2),
        ({}, {"until_us": NOW_US + HOUR_US}, 2),
        ({"worth": Worth(value=5), "priority": 1}, {"worth": Worth(value=1000, margin=1)}, 1),
        ({}, {}, 1),
    ],
)
def test_of_one_priority_the_higher_score_wins(first: dict[str, Any], second: dict[str, Any], winner: int) -> None:
    both = campaign(1, **first), campaign(2, **second)
    for campaigns in (both, both[::-1]):
        found = decided(campaigns=campaigns)
        assert found.campaign == UUID(int=winner)
        (other,) = detail(found, "ranking")["others"]
        assert (other["score"] <= detail(found, "ranking")["score"]) or winner == 1


def test_a_campaign_that_was_heard_lately_gives_way() -> None:
    uses = (use(30 * DAY_US, campaign_number=1), use(31 * DAY_US, store="baker-1", campaign_number=9))
    found = decided(campaigns=(campaign(1), campaign(2)), uses=uses)
    assert found.campaign == UUID(int=2)
    assert detail(found, "ranking")["terms"]["fatigue"] == 0.2  # the half of an offer of the same store
    assert decided(campaigns=(campaign(1), campaign(2)), uses=uses[1:]).campaign == UUID(int=1)


def test_the_workspaces_weights_decide_what_counts() -> None:
    campaigns = (campaign(1, worth=Worth(value=90)), campaign(2, worth=Worth(margin=0.5)))
    assert decided(campaigns=campaigns).campaign == UUID(int=1)
    greedy = replace(POLICY, weights=Weights(value=0.1, margin=3))
    assert decided(campaigns=campaigns, policy=greedy).campaign == UUID(int=2)


def test_a_score_is_the_documented_sum() -> None:
    of = terms(Worth(30, 0.25), confidence=0.8, distance_m=-50.0, left_us=DAY_US, told=2)
    assert told_terms(of) == {"value": 0.75, "margin": 0.25, "fit": 0.4, "expiry": 0.5, "fatigue": 0.5}
    assert score(Weights(1, 2, 3, 4, 5), of) == 1.95  # 0.75 + 2 * 0.25 + 3 * 0.4 + 4 * 0.5 - 5 * 0.5
    assert told_terms(terms(Worth(), confidence=1, distance_m=None, left_us=None, told=0))["fit"] == 0


def test_more_than_thirty_silent_campaigns_do_not_hide_one_that_speaks() -> None:
    paused = tuple(campaign(number, priority=9, state=CampaignState.PAUSED) for number in range(2, 60))
    found = decided(campaigns=(*paused, campaign(1)))
    assert (found.campaign, found.outcome) == (UUID(int=1), "offer")
    assert detail(found, "ranking")["candidates"] == 59


# ------------------------------------------------------------------------------------------------ experiment
def drawn(experiment: Experiment, holdout: float = 0.0, campaign_id: UUID = ONE) -> list[Arm]:
    return [assign(experiment, campaign_id, person, workspace="w", holdout=holdout) for person in PEOPLE]


def test_shares_of_arms_are_what_was_asked_for_and_what_is_told() -> None:
    arms = drawn(Experiment(0.1, (A, B)), holdout=0.03)
    told = arms[0].probabilities
    assert isclose(sum(told.values()), 1)
    assert told == pytest.approx({"holdout": 0.127, "a": 0.6111, "b": 0.2619})
    counted = Counter(arm.name for arm in arms)
    for name, share in told.items():
        assert abs(counted[name] / len(PEOPLE) - share) < 0.03
    assert {arm.by for arm in arms if arm.name == "holdout"} == {"workspace", "campaign"}


def test_an_arm_stays_with_its_person_and_is_another_draw_for_another_campaign_or_test() -> None:
    test = Experiment(0.0, (Variant("a", 0.5), Variant("b", 0.5)))
    names = [arm.name for arm in drawn(test)]
    assert names == [arm.name for arm in drawn(test)]
    others = (drawn(test, campaign_id=UUID(int=2)), drawn(Experiment(0.0, (Variant("a", 0.5), Variant("c", 0.5)))))
    for other in others:
        same = sum(one == two.name.replace("c", "b") for one, two in zip(names, other, strict=True))
        assert 0.45 < same / len(PEOPLE) < 0.55


def test_who_is_held_out_stays_so_whatever_words_are_tested_and_when_the_share_grows() -> None:
    held = {n for n, arm in enumerate(drawn(Experiment(0.1))) if arm.by}
    assert held == {n for n, arm in enumerate(drawn(Experiment(0.1, (A, B)))) if arm.by}
    assert held < {n for n, arm in enumerate(drawn(Experiment(0.2))) if arm.by}


def test_a_test_is_named_by_its_variants_alone() -> None:
    test = Experiment(0.1, (A, B))
    assert test.version == Experiment(0.5, (A, B)).version
    assert test.version != Experiment(0.1, (A, replace(B, texts={"en": Text("B", "b")}))).version
    assert test.version != Experiment(0.1, (replace(A, share=0.6), replace(B, share=0.4))).version
    assert Experiment(0.1).version == ""


def test_draws_do_not_depend_on_each_other() -> None:
    both = sum(place(person, b"x", b"1") < 0.5 and place(person, b"y", b"1") < 0.5 for person in PEOPLE)
    assert 0.22 < both / len(PEOPLE) < 0.28


def held_out(number: int = 0) -> Decision:
    person = replace(PERSON, id=PEOPLE[number])
    return decided(person=person, campaigns=(campaign(experiment=Experiment(1.0)), campaign(2)))


def test_a_holdout_is_asked_last_and_takes_the_place_in_the_persons_time_and_no_budget() -> None:
    found = held_out()
    assert [gate.gate for gate in found.gates][-2:] == ["ranking", "experiment"]
    assert detail(found, "experiment") == {
        "arm": "holdout",
        "by": "campaign",
        "arms": {"holdout": 1, "main": 0},
        "test": "",
    }
    assert (found.reason, found.offer) == (Reason.HOLDOUT, None)
    ghost = found.ghost
    assert ghost is not None
    assert (ghost.campaign, ghost.store, ghost.fence, ghost.visit) == (ONE, "baker-1", BAKERY.id, visit_of(BAKERY))
    later = use(HOUR_US, ghost.store, 1, ghost.visit)
    assert decided(uses=(structs.replace(later, ghost=True),)).reason is Reason.RHYTHM_GAP


def test_a_person_is_drawn_as_who_they_were_before_their_name_was_known() -> None:
    test = campaign(experiment=Experiment(0.3, (A, B)))
    for before, after in zip(PEOPLE[:100], PEOPLE[100:200], strict=True):
        then, now = (
            detail(decided(person=person, campaigns=(test,)), "experiment")
            for person in (replace(PERSON, id=before), replace(PERSON, id=after, drawn_as=before))
        )
        assert now == then


def test_who_would_get_nothing_anyway_is_not_held_out() -> None:
    found = decided(campaigns=(campaign(experiment=Experiment(1.0), until_us=NOW_US),))
    assert (found.reason, found.ghost) == (Reason.SCHEDULE, None)
    assert "experiment" not in [gate.gate for gate in found.gates]


def test_a_variant_speaks_its_own_words_or_the_campaigns() -> None:
    test = campaign(experiment=Experiment(0.0, (A, B)))
    titles = Counter()
    for person in PEOPLE[:200]:
        found = decided(person=replace(PERSON, id=person), campaigns=(test,))
        assert found.offer is not None
        titles[detail(found, "experiment")["arm"], found.offer.title] += 1
        assert detail(found, "experiment")["test"] == test.experiment.version
    assert titles.keys() == {("a", "A"), ("b", "Old Bakery")}


@pytest.mark.parametrize(
    ("variants", "pointers"),
    [
        ((replace(A, share=0.8), B), ["/variants"]),
        ((A, replace(B, id="a")), ["/variants/1/id"]),
        ((A, replace(B, id="holdout")), ["/variants/1/id"]),
        ((replace(A, share=1.0), replace(B, share=0.0)), ["/variants/1/share"]),
        (tuple(Variant(str(number), 1 / 9) for number in range(9)), ["/variants"]),
        ((replace(A, texts={"en": Text("{price}", "b")}), B), ["/variants/0/texts/en/title"]),
    ],
)
def test_a_test_that_does_not_add_up_is_refused_at_its_place(
    variants: tuple[Variant, ...], pointers: list[str]
) -> None:
    assert [fault.pointer for fault in faults(campaign(experiment=Experiment(0.1, variants)))] == pointers
    assert faults(campaign(experiment=Experiment(0.1, (A, B)))) == ()


def test_what_a_running_test_consists_of_does_not_change() -> None:
    test, texts, others = Experiment(0.1, (A, B)), {"en": Text("t", "b")}, {"en": Text("t", "c")}
    told = [fault.pointer for fault in changes(test, Experiment(0.2, (B, A)), texts, others)]
    assert told == ["/holdout", "/variants", "/texts"]
    assert changes(test, test, texts, texts) == ()
    assert changes(Experiment(0.1), Experiment(0.1), texts, others) == ()  # one arm, in other words


# ------------------------------------------------------------------------------------------------ caps
def test_caps_of_workspace_store_and_campaign_hold_at_once_and_the_first_full_one_is_named() -> None:
    roomy, full = CapRule(9, scope=Scope.USER), CapRule(1, scope=Scope.USER)
    for level in ("workspace", "store", "campaign"):
        rules = {name: (roomy, full if name == level else roomy) for name in ("workspace", "store", "campaign")}
        found = decided(
            person=FREE,
            uses=(use(2 * HOUR_US),),
            policy=replace(POLICY, caps=rules["workspace"]),
            arrivals=(replace(arrival(), rules=StoreRules(caps=rules["store"])),),
            campaigns=(campaign(caps=rules["campaign"]),),
        )
        told = detail(found, "cap")
        assert (found.reason, told["level"], told["rule"], told["rules"]) == (Reason.CAP, level, 1, 6)


# ------------------------------------------------------------------------------------------------ budgets
MINE, SHOPS = of_campaign(ONE), of_store("baker-1")


@pytest.mark.parametrize(
    ("budget", "spent", "passes"),
    [
        (Budget(total=3), Spent(2, 2), True),
        (Budget(total=3), Spent(3, 0), False),
        (Budget(per_day=3), Spent(900, 2), True),
        (Budget(per_day=3), Spent(3, 3), False),
        (Budget(total=9, per_day=3), Spent(9, 1), False),
    ],
)
@pytest.mark.parametrize("level", ["campaign", "store"])
def test_a_budget_that_is_spent_is_silence(level: str, budget: Budget, spent: Spent, passes: bool) -> None:
    mine = budget if level == "campaign" else None
    shops = budget if level == "store" else None
    found = decided(
        campaigns=(campaign(budget=mine),),
        arrivals=(replace(arrival(), rules=StoreRules(budget=shops)),),
        spent={MINE if level == "campaign" else SHOPS: spent},
    )
    assert found.reason is (None if passes else Reason.BUDGET)
    assert detail(found, "budget").get("level") == (None if passes else level)
    assert detail(found, "budget")[level]["used"] == spent.total


def test_an_offer_is_charged_to_the_days_of_the_workspace_and_of_the_store() -> None:
    late = NOW_US + 11 * HOUR_US  # 23:00 in Berlin, the next day in Tokyo
    at = replace(arrival(at_us=late), zone=TOKYO, rules=StoreRules(budget=Budget(total=1)))
    snapshot = replace(
        BASE,
        now_us=late,
        person=FREE,
        arrivals=(at,),
        campaigns=(campaign(budget=Budget(per_day=1)),),
        spent={MINE: Spent(0, 0), SHOPS: Spent(0, 0)},
    )
    found = decided(
        **{name: getattr(snapshot, name) for name in ("now_us", "person", "arrivals", "campaigns", "spent")}
    )
    assert found.offer is not None
    assert found.offer.charged == Charged(date(2026, 6, 3), date(2026, 6, 4))
    assert asked(snapshot) == {Purse(MINE, date(2026, 6, 3)), Purse(SHOPS, date(2026, 6, 4))}


def test_who_has_no_budget_is_charged_to_none() -> None:
    assert decided().offer is not None
    assert decided().offer.charged == Charged()  # type: ignore[union-attr]
    assert asked(BASE) == set()


def test_a_person_is_one_candidate_a_campaign_and_fence_for_a_budget_of_one() -> None:
    near = (arrival(BAKERY), arrival(fence("mall")))
    found = decided(
        person=FREE,
        policy=NO_GAPS,
        arrivals=near,
        campaigns=(campaign(budget=Budget(total=1)),),
        spent={MINE: Spent(0, 0)},
    )
    assert found.offer is not None
    assert found.offer.fence == FenceId("town/bakery")
