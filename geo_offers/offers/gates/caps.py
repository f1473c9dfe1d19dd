"""Frequency caps of workspace, store and campaign: all of them hold at once."""

from collections.abc import Iterator
from typing import Any

from geo_offers.offers.caps import Full, Room, Rules, past_of, rules_of
from geo_offers.offers.gates.rule import FAILED, PASSED, Judge, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def cap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask every rule in force."""
    return PASSED if not snapshot.uses or _full(snapshot, candidate) is None else FAILED


def cap_alike(snapshot: Snapshot, candidate: Candidate) -> bool | Judge:
    """Ask the rules that hold alike; of each campaign then only those by campaign."""
    if not snapshot.uses:
        return True
    room, own = _room(snapshot), False
    for _, rules in _in_force(snapshot, candidate):
        if room.full_for_all(rules, candidate.wanted) is not None:
            return False
        own = own or rules.own_least <= len(snapshot.uses)
    return _own if own else True


def _own(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    if candidate.campaign.id.int not in past_of(snapshot.uses).of_campaigns:
        return PASSED
    room = _room(snapshot)
    for _, rules in _in_force(snapshot, candidate):
        if room.own_full(rules, candidate.wanted) is not None:
            return FAILED
    return PASSED


def told_cap(snapshot: Snapshot, candidate: Candidate, *, passed: bool) -> dict[str, Any]:
    """Count the rules, and name the level and the number of the first that is full."""
    counted = len(snapshot.policy.caps) + len(candidate.arrival.rules.caps) + len(candidate.campaign.caps)
    full = None if passed else _full(snapshot, candidate)
    if full is None:
        return {"rules": counted}
    level, (number, detail) = full
    return {"rules": counted, "level": level, "rule": number} | detail


def _full(snapshot: Snapshot, candidate: Candidate) -> tuple[str, Full] | None:
    """The first level with a rule that is full, and that rule."""
    room = _room(snapshot)
    for level, rules in _in_force(snapshot, candidate):
        full = room.first_full(rules, candidate.wanted)
        if full is not None:
            return level, full
    return None


def _room(snapshot: Snapshot) -> Room:
    return past_of(snapshot.uses).room(snapshot.now_us, snapshot.person.zone)


def _in_force(snapshot: Snapshot, candidate: Candidate) -> Iterator[tuple[str, Rules]]:
    if of_workspace := snapshot.policy.caps:
        yield "workspace", rules_of(of_workspace)
    if of_store := candidate.arrival.rules.caps:
        yield "store", rules_of(of_store)
    yield "campaign", candidate.kind.rules
