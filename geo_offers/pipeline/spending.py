"""What a turn may spend: budgets as they were read under their locks, less what the turn itself has given since."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from geo_offers.offers.budgets import Spent
from geo_offers.offers.charging import Purse, asked, charges
from geo_offers.offers.decisions import OfferDraft
from geo_offers.offers.snapshot import Snapshot


class Fund(NamedTuple):
    """A workspace's budget on one day."""

    workspace: UUID
    purse: Purse


def funds(workspace: UUID, snapshot: Snapshot) -> set[Fund]:
    """Find all that deciding this snapshot may take from."""
    return {Fund(workspace, purse) for purse in asked(snapshot)}


@dataclass(slots=True)
class Spending:
    """How many offers each budget has given, at all and by day; a turn's decisions are made one after the other."""

    totals: dict[tuple[UUID, str], int] = field(default_factory=dict)
    days: dict[Fund, int] = field(default_factory=dict)

    def spent(self, wanted: Collection[Fund]) -> Mapping[str, Spent]:
        """What a snapshot that asks for these may know; what was not read is left out."""
        return {
            fund.purse.owner: Spent(self.totals[fund.workspace, fund.purse.owner], self.days[fund])
            for fund in wanted
            if fund in self.days
        }

    def take(self, workspace: UUID, offer: OfferDraft) -> None:
        for purse in charges(offer.charged, offer.campaign, offer.store):
            self.totals[workspace, purse.owner] += 1
            self.days[Fund(workspace, purse)] += 1
