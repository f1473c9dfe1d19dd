"""Frequency caps of workspace, store and campaign: all of them hold at once."""

from typing import Any

from geo_offers.offers.caps import past_of
from geo_offers.offers.gates.rule import Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def cap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask every rule in force."""
    return not snapshot.uses or _full(snapshot, candidate) is None, {}


def told_cap(snapshot: Snapshot, candidate: Candidate) -> dict[str, Any]:
    """Count the rules, and name the level and the number of the first that is full."""
    counted = len(snapshot.policy.caps) + len(candidate.arrival.rules.caps) + len(candidate.campaign.caps)
    return {"rules": counted} | (_full(snapshot, candidate) or {})


def _full(snapshot: Snapshot, candidate: Candidate) -> dict[str, Any] | None:
    room = past_of(snapshot.uses).room(snapshot.now_us, snapshot.person.zone)
    for level, rules in (
        ("workspace", snapshot.policy.caps),
        ("store", candidate.arrival.rules.caps),
        ("campaign", candidate.campaign.caps),
    ):
        if rules and (full := room.first_full(rules, candidate.wanted)):
            return {"level": level, "rule": full[0]} | full[1]
    return None
