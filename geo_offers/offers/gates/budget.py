"""Budgets of campaign and store."""

from typing import Any

from geo_offers.offers import budgets
from geo_offers.offers.gates.rule import Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def budget(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask the campaign's budget, then the store's; the detail names the one that failed."""
    detail: dict[str, Any] = {}
    for level, owner, limit in (
        ("campaign", budgets.of_campaign(candidate.campaign.id), candidate.campaign.budget),
        ("store", budgets.of_store(candidate.wanted.store), candidate.arrival.rules.budget),
    ):
        if limit is not None:
            spare, detail[level] = budgets.left(limit, owner, snapshot.spent)
            if not spare:
                return False, {"level": level} | detail
    return True, detail
