"""Budgets: how many offers a campaign, or a store, gives at all and in one day.

What was given is counted outside, under a lock that everybody who decides on the same budget takes; here is what is
asked of the count. A day is that of the workspace for a campaign, that of the store for a store. Who is held out takes
nothing: nothing was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from geo_offers.errors import Fault


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so many offers; None: as many as it takes."""

    total: int | None = None
    per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """How many offers of a budget are given: at all, and on the day of the decision."""

    total: int
    today: int


@dataclass(frozen=True, slots=True)
class Charged:
    """The days on which an offer counts against its campaign's and its store's budget; None where it has none."""

    campaign: date | None = None
    store: date | None = None


UNCHARGED: Final = Charged()


def of_campaign(campaign: UUID) -> str:
    """Name what a campaign's budget is counted under."""
    return f"campaign/{campaign}"


def of_store(store: str) -> str:
    return f"store/{store}"


def left(budget: Budget, owner: str, spent: Mapping[str, Spent]) -> tuple[bool, dict[str, Any]]:
    """Judge one more offer: whether the budget has it, and what it has given. What is not known is not given."""
    detail: dict[str, Any] = {"total": budget.total, "per_day": budget.per_day}
    given = spent.get(owner)
    if given is None:
        return False, detail
    spare = budget.total is None or given.total < budget.total
    spare_today = budget.per_day is None or given.today < budget.per_day
    return spare and spare_today, detail | {"used": given.total, "today": given.today}


def faults(budget: Budget | None, pointer: str) -> tuple[Fault, ...]:
    """Find what is wrong with a budget; pointers begin with `pointer`."""
    if budget is None:
        return ()
    found = [
        Fault(f"{pointer}/{name}", "range", "A budget is at least 1; pause the campaign to give nothing.")
        for name, most in (("total", budget.total), ("per_day", budget.per_day))
        if most is not None and most < 1
    ]
    if budget.total is None and budget.per_day is None:
        found.append(Fault(pointer, "empty", "A budget names total, per_day or both; leave it out for none."))
    return tuple(found)
