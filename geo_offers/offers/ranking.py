"""Of all campaigns that a turn's arrivals concern, which comes first.

Highest priority: a tier that no score crosses, for what a manager wants said before all else. A number has no circles:
of any two campaigns one comes first, or neither. Within a tier the highest score (`scoring`); then the nearest border,
since somebody at a shop's door inside a mall came to the shop; then the campaign's id and the fence's, so that the
order never depends on how the candidates were found.

At most `SCORED` candidates are scored and asked: of more, those that are running now, by priority and nearest border.
"""

from collections.abc import Sequence
from math import inf
from operator import attrgetter
from typing import Final

import msgspec

from geo_offers.offers.campaigns import Campaign, Kind, standings
from geo_offers.offers.caps import Wanted, past_of
from geo_offers.offers.scoring import Terms, score, terms
from geo_offers.offers.snapshot import Arrival, Snapshot

SCORED: Final = 30


class Candidate(msgspec.Struct, frozen=True):
    """One campaign for one arrival. wanted, kind: as of a `Standing`."""

    campaign: Campaign
    arrival: Arrival
    wanted: Wanted
    kind: Kind


class Placed(msgspec.Struct, frozen=True):
    """A candidate, and what put it in its place."""

    candidate: Candidate
    priority: int
    score: float
    terms: Terms


def found(snapshot: Snapshot) -> tuple[list[Candidate], int]:
    """Find the candidates of all arrivals, by priority and nearest border; at most `SCORED`, and how many there are.

    Nothing that the person did is looked at: whether they agreed to that is asked of these first.
    """
    drawn = [
        Candidate(one.campaign, arrival, one.wanted, one.kind)
        for arrival in snapshot.arrivals
        for one in standings(snapshot.campaigns, arrival.transition, arrival.fence, arrival.category)
    ]
    if len(snapshot.arrivals) > 1:
        drawn.sort(key=_order)
    counted = len(drawn)
    if counted > SCORED:
        running = [candidate for candidate in drawn if candidate.campaign.running(snapshot.now_us)]
        others = [candidate for candidate in drawn if not candidate.campaign.running(snapshot.now_us)]
        drawn = sorted([*running, *others][:SCORED], key=_order)
    return drawn, counted


def ranked(snapshot: Snapshot, candidates: Sequence[Candidate]) -> list[Placed]:
    """Put candidates that are in the order of `found` into that of their scores, best first."""
    now_us, weights, past = snapshot.now_us, snapshot.policy.weights, past_of(snapshot.uses)
    placed: list[Placed] = []
    for candidate in candidates:
        campaign, transition, until_us = candidate.campaign, candidate.arrival.transition, candidate.campaign.until_us
        of = terms(
            campaign.worth,
            transition.confidence,
            transition.distance_m,
            None if until_us is None else until_us - now_us,
            past.heard(campaign.id.int, candidate.wanted.store) if past else 0.0,
        )
        placed.append(Placed(candidate, campaign.priority, score(weights, of), of))
    if len(placed) > 1:  # both sorts are stable: ties stay as they are
        placed.sort(key=_score, reverse=True)
        placed.sort(key=_priority, reverse=True)
    return placed


_score: Final = attrgetter("score")
_priority: Final = attrgetter("priority")


def _order(candidate: Candidate) -> tuple[int, float, int, str, int]:
    campaign, transition = candidate.campaign, candidate.arrival.transition
    distance_m = inf if transition.distance_m is None else abs(transition.distance_m)
    return -campaign.priority, distance_m, campaign.id.int, transition.fence, transition.at_us
