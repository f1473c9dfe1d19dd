"""Frequency caps of workspace, store and campaign: all of them hold at once."""

from typing import Any

from geo_offers.offers.caps import over
from geo_offers.offers.gates.rule import Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def cap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask every rule in force; the detail names the level and the number of the first that is full."""
    levels = (
        ("workspace", snapshot.policy.caps),
        ("store", candidate.arrival.rules.caps),
        ("campaign", candidate.campaign.caps),
    )
    detail: dict[str, Any] = {"rules": sum(len(rules) for _, rules in levels)}
    for level, rules in levels:
        for number, rule in enumerate(rules):
            full = over(rule, snapshot.uses, candidate.wanted, now_us=snapshot.now_us, zone=snapshot.person.zone)
            if full is not None:
                return False, detail | {"level": level, "rule": number} | full
    return True, detail
