"""Of all campaigns that a turn's arrivals concern, which comes first.

Highest priority; then the nearest border, since somebody at a shop's door inside a mall came to the shop; then the
campaign's id and the fence's, so that the order never depends on how the candidates were found.
"""

from dataclasses import dataclass
from math import inf

from geo_offers.offers.campaigns import Campaign, candidates
from geo_offers.offers.caps import Wanted
from geo_offers.offers.snapshot import Arrival, Snapshot
from geo_offers.places.fences import store_key


@dataclass(frozen=True, slots=True)
class Candidate:
    """One campaign for one arrival."""

    campaign: Campaign
    arrival: Arrival
    wanted: Wanted


def ranked(snapshot: Snapshot) -> list[Candidate]:
    """Find the candidates of all arrivals, best first."""
    found = [
        Candidate(campaign, arrival, _wanted(campaign, arrival))
        for arrival in snapshot.arrivals
        for campaign in candidates(snapshot.campaigns, arrival.transition, arrival.fence)
    ]
    if len(found) > 1:
        found.sort(key=_order)
    return found


def _wanted(campaign: Campaign, arrival: Arrival) -> Wanted:
    tags = frozenset(arrival.fence.tags)
    own = {category for category in (campaign.category, arrival.category) if category is not None}
    return Wanted(campaign.id, store_key(arrival.fence), tags, tags | own if own else tags)


def _order(candidate: Candidate) -> tuple[int, float, int, str, int]:
    transition = candidate.arrival.transition
    distance_m = inf if transition.distance_m is None else abs(transition.distance_m)
    return -candidate.campaign.priority, distance_m, candidate.campaign.id.int, transition.fence, transition.at_us
