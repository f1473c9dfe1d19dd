"""What a person does not want to hear of: single stores, whole categories, single campaigns."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Mutes:
    """Stores as gaps and caps count them: a fence without a store is muted by its own id."""

    stores: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    campaigns: frozenset[UUID] = frozenset()

    def by(
        self, campaign: UUID, store: str, categories: AbstractSet[str]
    ) -> Literal["campaign", "store", "category"] | None:
        """Which of the three silences an offer of this campaign, at this store, of these categories; None if none."""
        if self.campaigns and campaign in self.campaigns:
            return "campaign"
        if store in self.stores:
            return "store"
        if self.categories and not self.categories.isdisjoint(categories):
            return "category"
        return None


NOTHING_MUTED: Final = Mutes()
