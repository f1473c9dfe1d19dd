"""Frequency caps of workspace, store and campaign: all of them hold at once."""

from typing import Any

from geo_offers.offers.caps import past_of, rules_of
from geo_offers.offers.gates.rule import NO_DETAIL, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Arrival, Snapshot


def cap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask every rule in force."""
    return not snapshot.uses or _full(snapshot, candidate) is None, NO_DETAIL


def cap_here(snapshot: Snapshot, arrival: Arrival) -> bool:
    return bool(snapshot.policy.caps or arrival.rules.caps)


def told_cap(snapshot: Snapshot, candidate: Candidate, *, passed: bool) -> dict[str, Any]:
    """Count the rules, and name the level and the number of the first that is full."""
    counted = len(snapshot.policy.caps) + len(candidate.arrival.rules.caps) + len(candidate.campaign.caps)
    return {"rules": counted} if passed else {"rules": counted} | (_full(snapshot, candidate) or {})


def _full(snapshot: Snapshot, candidate: Candidate) -> dict[str, Any] | None:
    room = past_of(snapshot.uses).room(snapshot.now_us, snapshot.person.zone)
    wanted, of_workspace, of_store = candidate.wanted, snapshot.policy.caps, candidate.arrival.rules.caps
    if of_workspace and (full := room.first_full(rules_of(of_workspace), wanted)):
        return {"level": "workspace", "rule": full[0]} | full[1]
    if of_store and (full := room.first_full(rules_of(of_store), wanted)):
        return {"level": "store", "rule": full[0]} | full[1]
    full = room.first_full(candidate.rules, wanted)
    return None if full is None else {"level": "campaign", "rule": full[0]} | full[1]
