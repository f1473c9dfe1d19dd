"""Budgets of campaign and store."""

from typing import Any

from geo_offers.offers import budgets
from geo_offers.offers.gates.rule import Judge, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def budget_alike(_snapshot: Snapshot, candidate: Candidate) -> bool | Judge:
    return budget if "budget" in candidate.kind.asks or candidate.arrival.rules.budget is not None else True


def budget(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask the campaign's budget, then the store's; the detail names the one that failed."""
    detail: dict[str, Any] = {}
    if (limit := candidate.campaign.budget) is not None:
        spare, detail["campaign"] = budgets.left(limit, budgets.of_campaign(candidate.campaign.id), snapshot.spent)
        if not spare:
            return False, {"level": "campaign"} | detail
    if (limit := candidate.arrival.rules.budget) is not None:
        spare, detail["store"] = budgets.left(limit, budgets.of_store(candidate.wanted.store), snapshot.spent)
        if not spare:
            return False, {"level": "store"} | detail
    return True, detail
