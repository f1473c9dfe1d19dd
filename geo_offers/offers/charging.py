"""Which budgets a decision may take from, and which an offer does."""

from datetime import date
from typing import NamedTuple
from uuid import UUID

from geo_offers.offers.budgets import UNCHARGED, Charged, of_campaign, of_store
from geo_offers.offers.campaigns import Campaign, candidates
from geo_offers.offers.snapshot import Arrival, Snapshot
from geo_offers.people.wall import wall
from geo_offers.places.fences import store_key


class Purse(NamedTuple):
    """One budget on one day."""

    owner: str
    day: date


def charged(snapshot: Snapshot, campaign: Campaign, arrival: Arrival) -> Charged:
    """Find the days on which an offer made now counts."""
    if campaign.budget is None and arrival.rules.budget is None:
        return UNCHARGED
    now_us = snapshot.now_us
    return Charged(
        campaign=None if campaign.budget is None else wall(now_us, snapshot.policy.zone).date(),
        store=None if arrival.rules.budget is None else wall(now_us, arrival.zone).date(),
    )


def charges(charge: Charged, campaign: UUID, store: str) -> list[Purse]:
    """Name what an offer is charged to."""
    found: list[Purse] = []
    if charge.campaign is not None:
        found.append(Purse(of_campaign(campaign), charge.campaign))
    if charge.store is not None:
        found.append(Purse(of_store(store), charge.store))
    return found


def asked(snapshot: Snapshot) -> set[Purse]:
    """Find every budget that the snapshot's candidates have: what has to be known before deciding."""
    return {
        purse
        for arrival in snapshot.arrivals
        for campaign in candidates(snapshot.campaigns, arrival.transition, arrival.fence)
        for purse in charges(charged(snapshot, campaign, arrival), campaign.id, store_key(arrival.fence))
    }
