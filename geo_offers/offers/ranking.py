"""Of all campaigns that a turn's arrivals concern, which comes first.

Highest priority: a tier that no score crosses, for what a manager wants said before all else. A number has no circles:
of any two campaigns one comes first, or neither. Within a tier the highest score (`scoring`); then the nearest border,
since somebody at a shop's door inside a mall came to the shop; then the campaign's id and the fence's, so that the
order never depends on how the candidates were found.

At most `SCORED` candidates are asked: of more, those that come first by all of this but the person's own past, which
takes longest to look at; those that are not running come after all that are.
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


def found(snapshot: Snapshot) -> list[Candidate]:
    """Find the candidates of all arrivals, by priority and nearest border.

    Nothing that the person did is looked at: whether they agreed to that is asked of these first.
    """
    drawn = [
        Candidate(one.campaign, arrival, one.wanted, one.kind)
        for arrival in snapshot.arrivals
        for one in standings(snapshot.campaigns, arrival.transition, arrival.fence, arrival.category)
    ]
    if len(snapshot.arrivals) > 1:
        drawn.sort(key=_order)
    return drawn


def shortlisted(snapshot: Snapshot, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Take the `SCORED` of many that come first whatever the person heard before, in the order of `found`."""
    if len(candidates) <= SCORED:
        return candidates
    placed = _in_order([_placed(snapshot, candidate, 0.0) for candidate in candidates])
    placed.sort(key=lambda one: not one.candidate.campaign.running(snapshot.now_us))
    taken = {id(one.candidate) for one in placed[:SCORED]}
    return [candidate for candidate in candidates if id(candidate) in taken]


def ranked(snapshot: Snapshot, candidates: Sequence[Candidate]) -> list[Placed]:
    """Put candidates that are in the order of `found` into that of their scores, best first."""
    past = past_of(snapshot.uses)
    if not past:
        return _in_order([_placed(snapshot, candidate, 0.0) for candidate in candidates])
    return _in_order(
        [
            _placed(snapshot, candidate, past.heard(candidate.campaign.id.int, candidate.wanted.store))
            for candidate in candidates
        ]
    )


def _placed(snapshot: Snapshot, candidate: Candidate, heard: float) -> Placed:
    campaign, transition, until_us = candidate.campaign, candidate.arrival.transition, candidate.campaign.until_us
    of = terms(
        campaign.worth,
        transition.confidence,
        transition.distance_m,
        None if until_us is None else until_us - snapshot.now_us,
        heard,
    )
    return Placed(candidate, campaign.priority, score(snapshot.policy.weights, of), of)


def _in_order(placed: list[Placed]) -> list[Placed]:
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
