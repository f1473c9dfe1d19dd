"""Frequency caps of campaign, store and workspace."""

from typing import Any

from geo_offers.offers.caps import over
from geo_offers.offers.gates.rule import Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def cap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    rules = candidate.campaign.caps
    detail: dict[str, Any] = {"rules": len(rules)}
    for number, rule in enumerate(rules):
        full = over(rule, snapshot.uses, candidate.wanted, now_us=snapshot.now_us, zone=snapshot.person.zone)
        if full is not None:
            return False, detail | {"rule": number} | full
    return True, detail
