"""Breakers: a campaign, store or fence that too many people opt out of is silent until somebody has looked at it.

Opt-outs are mutes and dismissals for `too_many`, `not_for_me` or `wrong_place`; a fence is judged by the last alone.
"""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from geo_offers.places.fences import FenceId


@dataclass(frozen=True, slots=True)
class Tripped:
    """What is silent by its breaker in one workspace. stores: as gaps and caps count them."""

    campaigns: frozenset[UUID] = frozenset()
    stores: frozenset[str] = frozenset()
    fences: frozenset[FenceId] = frozenset()

    def by(self, campaign: UUID, store: str, fence: FenceId) -> Literal["campaign", "store", "fence"] | None:
        """Whose breaker keeps an offer of this campaign at this place from being made; None if none does."""
        if self.campaigns and campaign in self.campaigns:
            return "campaign"
        if store in self.stores:
            return "store"
        return "fence" if fence in self.fences else None


NONE_TRIPPED: Final = Tripped()
