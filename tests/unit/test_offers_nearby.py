"""What a person finds nearby because they asked: the gates of decisions without those of the rhythm, nearest first."""

from typing import Any
from uuid import UUID

import pytest

from geo_offers.offers.decide import Reason
from geo_offers.offers.experiment import Experiment, Variant
from geo_offers.offers.nearby import LOOKED, SHOWN, Found, candidates, nearby
from geo_offers.offers.rendering import Text
from geo_offers.offers.scoring import Worth
from geo_offers.presence.states import TransitionType
from tests.support.replacing import replace
from tests.unit.test_offers_decide import BAKERY, BASE, NOW_US, SILENCES, arrival, campaign, decided, fence

NOT_ASKED_FOR = {
    Reason.STALE,
    Reason.USER_INSIDE,
    Reason.QUIET_HOURS,
    Reason.RHYTHM_MAX,
    Reason.RHYTHM_GAP,
    Reason.PLACE_GAP,
    Reason.STORE_GAP,
    Reason.CAP,
    Reason.HOLDOUT,
}


def found(**changed: Any) -> list[Found]:
    snapshot = replace(BASE, **changed)
    return nearby(snapshot, candidates(snapshot.campaigns, snapshot.arrivals, snapshot.now_us))


@pytest.mark.parametrize(("reason", "changed"), SILENCES)
def test_what_silences_an_offer_silences_here_unless_it_spaces_out_what_nobody_asked_for(
    reason: Reason, changed: dict[str, Any]
) -> None:
    assert decided(**changed).reason == reason
    assert bool(found(**changed)) == (reason in NOT_ASKED_FOR)


def test_the_words_are_those_of_an_offer() -> None:
    (one,), offer = found(), decided().offer
    assert offer is not None
    assert (one.said.title, one.said.body, one.said.link) == (offer.title, offer.body, offer.link)
    assert (one.until_us, dict(one.data)) == (offer.expires_us, dict(offer.data))


def test_who_is_held_out_is_answered_and_a_test_keeps_each_persons_words() -> None:
    test = Experiment(1.0, (Variant("a", 1.0, {"en": Text("Mine", "b")}),))
    (one,) = found(campaigns=(campaign(experiment=test),), policy=replace(BASE.policy, holdout=1.0))
    assert one.said.title == "Mine"


def test_a_person_reads_the_words_of_who_they_were_before_their_name_was_known() -> None:
    test = campaign(experiment=Experiment(0.0, tuple(Variant(v, 0.5, {"en": Text(v, "b")}) for v in ("a", "b"))))
    titles = set()
    for before in (UUID(int=number) for number in range(1, 20)):
        (then,) = found(campaigns=(test,), person=replace(BASE.person, id=before))
        (now,) = found(campaigns=(test,), person=replace(BASE.person, id=UUID(int=99), drawn_as=before))
        assert now.said.title == then.said.title
        titles.add(now.said.title)
    assert titles == {"a", "b"}


def test_the_nearest_come_first_then_what_a_decision_would_choose() -> None:
    shops = [fence(f"shop-{number}", f"s{number}") for number in range(4)]
    away_m = (260.0, 0.0, 12.0, 49.0)
    arrivals = tuple(arrival(shop, distance_m=metres) for shop, metres in zip(shops, away_m, strict=True))
    seen = found(arrivals=arrivals, campaigns=(campaign(1), campaign(2, worth=Worth(value=50))))
    assert [one.distance_m for one in seen] == [0, 0, 50, 50, 50, 50, 300, 300]
    assert [one.candidate.campaign.id.int for one in seen[:2]] == [2, 1]
    assert seen[0].candidate.arrival.fence is shops[1]


def test_a_campaign_stands_there_once_a_store() -> None:
    doors = [fence(f"door-{number}", "baker-1") for number in range(3)]
    (one,) = found(arrivals=tuple(arrival(door, distance_m=10.0 + 60 * n) for n, door in enumerate(doors)))
    assert one.distance_m == 50


def test_a_person_sees_twenty_at_most_and_so_many_are_looked_at() -> None:
    shops = tuple(arrival(fence(f"shop-{number}", f"s{number}")) for number in range(LOOKED + 50))
    assert len(found(arrivals=shops)) == SHOWN
    assert len(candidates(BASE.campaigns, shops, NOW_US)) == LOOKED


@pytest.mark.parametrize(
    ("kind", "told"), [(TransitionType.ENTER, 1), (TransitionType.DWELL, 1), (TransitionType.EXIT, 0)]
)
def test_what_is_said_to_people_who_leave_is_not_told(kind: TransitionType, told: int) -> None:
    assert len(found(campaigns=(campaign(trigger_on=kind),), arrivals=(arrival(BAKERY),))) == told
