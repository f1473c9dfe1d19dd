"""Whether the service can take requests now."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from geo_offers.errors import GeoOffersError


@dataclass(slots=True)
class Health:
    """`check` asks the database; `stopping` is set when the service begins to drain."""

    check: Callable[[], Awaitable[None]]
    stopping: bool = False

    async def failing(self) -> str | None:
        """The reason not to send requests here, or None."""
        if self.stopping:
            return "stopping"
        try:
            await self.check()
        except GeoOffersError as error:
            return error.detail
        return None
