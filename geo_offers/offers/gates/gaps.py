"""How far apart offers stay in place: anywhere, and at one store."""

from geo_offers.offers.caps import past_of
from geo_offers.offers.gates.rule import Verdict, gap_until_us, said_at
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def place_gap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Keep offers apart wherever they are, and to one a visit, however short the workspace's gap."""
    gap_s = snapshot.policy.place_gap_s
    past = past_of(snapshot.uses)
    until_us = gap_until_us(past.instants, snapshot.now_us, round(gap_s * 1_000_000))
    visit = candidate.arrival.transition.visit
    answered = visit is not None and visit.int in past.visits
    return until_us is None and not answered, {"gap_s": gap_s, "until": said_at(until_us), "visit_answered": answered}


def store_gap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    gap_s, store = snapshot.policy.store_gap_s, candidate.wanted.store
    instants_us = past_of(snapshot.uses).of_stores.get(store, ())
    until_us = gap_until_us(instants_us, snapshot.now_us, round(gap_s * 1_000_000))
    return until_us is None, {"gap_s": gap_s, "store": store, "until": said_at(until_us)}
