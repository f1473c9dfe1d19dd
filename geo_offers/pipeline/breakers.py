"""The port to what was silenced because too many people opted out of it."""

from typing import Final, Protocol
from uuid import UUID

from geo_offers import wire
from geo_offers.pipeline.callers import Caller

RESUMED_BY_THEMSELVES: Final = ("store", "fence")  # a campaign's breaker ends with the campaign's own move


class Breakers(Protocol):
    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.BreakerPage:
        """Those that are open, by kind and subject."""
        ...

    async def resume(self, caller: Caller, kind: str, subject: str) -> None:
        """Offers made until now count no more. NotFound where it is not open."""
        ...

    async def sweep(self) -> None:
        """Count what was opted out of lately, and silence what passes its workspace's bound."""
        ...
