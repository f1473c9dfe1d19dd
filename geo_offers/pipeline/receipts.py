"""Receipts: what the company's gateway heard of an offer after it took it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from geo_offers import wire


@dataclass(frozen=True, slots=True)
class Told:
    """What became of each receipt, in their order. news: the offers of which it is news that they were seen."""

    statuses: Sequence[wire.ReceiptStatus]
    news: Collection[UUID]


class Receipts(Protocol):
    async def keep(self, workspace: UUID, receipts: Sequence[wire.Receipt]) -> Told: ...
