"""Of all campaigns that a turn's arrivals concern, which comes first.

Highest priority: a tier that no score crosses, for what a manager wants said before all else. A number has no circles:
of any two campaigns one comes first, or neither. Within a tier the highest score (`scoring`); then the nearest border,
since somebody at a shop's door inside a mall came to the shop; then the campaign's id and the fence's, so that the
order never depends on how the candidates were found.

At most `SCORED` candidates are scored and asked: of more, those that are running now, by priority and nearest border.
"""

from collections.abc import Sequence
from math import inf
from operator import itemgetter
from typing import Final

import msgspec

from geo_offers.offers.campaigns import Campaign, candidates
from geo_offers.offers.caps import Wanted, past_of
from geo_offers.offers.scoring import Terms, score, terms
from geo_offers.offers.snapshot import Arrival, Snapshot
from geo_offers.places.fences import store_key

SCORED: Final = 30


class Candidate(msgspec.Struct, frozen=True):
    """One campaign for one arrival."""

    campaign: Campaign
    arrival: Arrival
    wanted: Wanted


class Placed(msgspec.Struct, frozen=True):
    """A candidate, and what put it in its place."""

    candidate: Candidate
    terms: Terms
    score: float


def found(snapshot: Snapshot) -> tuple[list[Candidate], int]:
    """Find the candidates of all arrivals, by priority and nearest border; at most `SCORED`, and how many there are.

    Nothing that the person did is looked at: whether they agreed to that is asked of these first.
    """
    drawn = [
        (_order(campaign, arrival), campaign, arrival)
        for arrival in snapshot.arrivals
        for campaign in candidates(snapshot.campaigns, arrival.transition, arrival.fence)
    ]
    counted = len(drawn)
    if counted > SCORED:
        drawn.sort(key=lambda one: (not one[1].running(snapshot.now_us), one[0]))
        del drawn[SCORED:]
    if counted > 1:
        drawn.sort(key=itemgetter(0))
    return [Candidate(campaign, arrival, wanted(campaign, arrival)) for _, campaign, arrival in drawn], counted


def wanted(campaign: Campaign, arrival: Arrival) -> Wanted:
    """Name what caps, gaps and mutes count an offer of this campaign here as."""
    tags = frozenset(arrival.fence.tags)
    categories = tags
    if campaign.category is not None or arrival.category is not None:
        categories = tags | {category for category in (campaign.category, arrival.category) if category is not None}
    return Wanted(campaign.id, store_key(arrival.fence), tags, categories)


def ranked(snapshot: Snapshot, candidates: Sequence[Candidate]) -> list[Placed]:
    """Put candidates that are in the order of `found` into that of their scores, best first."""
    told = _Told(snapshot)
    placed = [told.placed(candidate) for candidate in candidates]
    if len(placed) > 1:
        placed.sort(key=lambda one: (-one.candidate.campaign.priority, -one.score))  # stable: ties stay as they are
    return placed


def _order(campaign: Campaign, arrival: Arrival) -> tuple[int, float, int, str, int]:
    transition = arrival.transition
    distance_m = inf if transition.distance_m is None else abs(transition.distance_m)
    return -campaign.priority, distance_m, campaign.id.int, transition.fence, transition.at_us


class _Told:
    """How often the person was told of late, by campaign and by store, counted once for all candidates."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._now_us, self._weights = snapshot.now_us, snapshot.policy.weights
        self._past = past_of(snapshot.uses)

    def offers(self, campaign: int, store: str) -> float:
        """Each of the campaign's as one, each other of the store as a half. campaign: its number."""
        past = self._past
        if not past:
            return 0.0
        own, stores = len(past.of_campaigns.get(campaign, ())), len(past.of_stores.get(store, ()))
        both = past.of_both.get((campaign, store), 0) if own and stores else 0
        return own + (stores - both) / 2

    def placed(self, candidate: Candidate) -> Placed:
        campaign, transition = candidate.campaign, candidate.arrival.transition
        of = terms(
            campaign.worth,
            confidence=transition.confidence,
            distance_m=transition.distance_m,
            left_us=None if campaign.until_us is None else campaign.until_us - self._now_us,
            told=self.offers(campaign.id.int, candidate.wanted.store),
        )
        return Placed(candidate, of, score(self._weights, of))
