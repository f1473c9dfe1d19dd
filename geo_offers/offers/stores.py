"""What a store adds to every decision about a visit to it."""

from dataclasses import dataclass
from typing import Final

from geo_offers.offers.budgets import Budget
from geo_offers.offers.caps import CapRule


@dataclass(frozen=True, slots=True)
class StoreRules:
    """A store's own caps and budget."""

    caps: tuple[CapRule, ...] = ()
    budget: Budget | None = None


NO_RULES: Final = StoreRules()
