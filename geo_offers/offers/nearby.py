"""What a person may have here now, because they asked.

They asked, so nothing that spaces out what nobody asked for is looked at: no quiet hours, no rhythm, no gaps, no caps,
no holdout. All else is, by the gates of `decide` themselves: switches, consent, what is live and running, opening
hours, events, embargo, audience, words, mutes and budgets. Nothing is reserved and nothing is sent.

A campaign that answers an exit is left out: it speaks to people who are going. The nearest come first, and of two that
are as near the one that `decide` would choose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from geo_offers.offers.asking import asked
from geo_offers.offers.campaigns import Campaign, Standing, indexed
from geo_offers.offers.decide import OFFER_LIFE_US
from geo_offers.offers.experiment import assign
from geo_offers.offers.gates import GATES
from geo_offers.offers.gates.words import facts
from geo_offers.offers.lasting import lasts_until_us
from geo_offers.offers.ranking import Candidate, ranked
from geo_offers.offers.rendering import Said, render
from geo_offers.offers.snapshot import Arrival, Snapshot
from geo_offers.presence.states import TransitionType

SHOWN: Final = 20
LOOKED: Final = 100  # candidates; of more, the nearest
STEP_M: Final = 50
TRIGGERS: Final = (TransitionType.ENTER, TransitionType.DWELL)

_OF_WHAT_NOBODY_ASKED_FOR: Final = frozenset(
    {"stale", "user_inside", "quiet_hours", "rhythm_max", "rhythm_gap", "place_gap", "store_gap", "cap"}
)
_ASKED: Final = tuple(rule for rule in GATES if rule.gate not in _OF_WHAT_NOBODY_ASKED_FOR)
_OF_PERSON: Final = tuple(rule.judge for rule in _ASKED if rule.of == "person")
_OF_OTHERS: Final = tuple(rule.judge for rule in _ASKED if rule.of != "person")


@dataclass(frozen=True, slots=True)
class Found:
    """One campaign's words for this person at one place. distance_m: rounded up to `STEP_M`, 0 inside."""

    candidate: Candidate
    said: Said
    data: Mapping[str, str]
    distance_m: int
    until_us: int


def candidates(campaigns: Sequence[Campaign], arrivals: Iterable[Arrival], now_us: int) -> list[Candidate]:
    """Find the running campaigns at these places; at most `LOOKED`, in the places' order."""
    held, found = indexed(campaigns), list[Candidate]()
    for arrival in arrivals:
        if len(found) >= LOOKED:
            break
        running = [campaign for campaign in held.at(arrival.fence, TRIGGERS) if campaign.running(now_us)]
        standings = [Standing.at(arrival.fence, campaign, arrival.category) for campaign in running]
        found += [Candidate(one.campaign, arrival, one.wanted, one.kind) for one in standings]
    return found[:LOOKED]


def nearby(snapshot: Snapshot, found: Iterable[Candidate]) -> list[Found]:
    """Choose among these candidates: each campaign once a store, at most `SHOWN`."""
    placed = [one.candidate for one in ranked(snapshot, list(found))]
    if not placed or not all(judge(snapshot, placed[0])[0] for judge in _OF_PERSON):
        return []
    placed.sort(key=_distance_m)  # stable: what is as near stays as it is
    shown: dict[object, Found] = {}
    for candidate in placed:
        key = candidate.campaign.id, candidate.wanted.store
        if key not in shown and all(judge(snapshot, candidate)[0] for judge in _OF_OTHERS):
            shown[key] = _found(snapshot, candidate)
            if len(shown) == SHOWN:
                break
    return list(shown.values())


def _found(snapshot: Snapshot, candidate: Candidate) -> Found:
    campaign, now_us = candidate.campaign, snapshot.now_us
    until_us = lasts_until_us(campaign, candidate.arrival, now_us, now_us + OFFER_LIFE_US)
    told = replace(campaign.experiment, holdout=0.0)
    texts = assign(told, campaign.id, snapshot.person.lot, workspace=snapshot.policy.name, holdout=0.0).texts
    return Found(
        candidate,
        said=render(campaign.texts if texts is None else texts, campaign.fields, facts(snapshot, candidate, until_us)),
        data={**campaign.data, **asked(campaign.ask, snapshot.person.facts)},
        distance_m=_distance_m(candidate),
        until_us=until_us,
    )


def _distance_m(candidate: Candidate) -> int:
    away_m = max(0.0, candidate.arrival.transition.distance_m or 0.0)
    return ceil(away_m / STEP_M) * STEP_M
