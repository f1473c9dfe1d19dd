"""What came of each campaign's arrivals since the demo began, as the service counts them.

The service is asked only while a page wants to know, and once something was decided since: a decision counts for every
campaign that it concerned, of which the live feed names one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from geo_offers import wire
from geo_offers.client import Manager


class Outcomes:
    """names: the campaigns that there are, in the order in which they are told. since: the beginning of the count."""

    def __init__(self, manager: Manager, names: Mapping[UUID, str], since: datetime) -> None:
        self._manager = manager
        self._names = names
        self._since = since
        self._changed = set(names)
        self._counted: dict[UUID, wire.Outcomes] = {}
        self._asking = asyncio.Lock()

    def decided(self) -> None:
        """One more decision, whichever campaigns it concerned."""
        self._changed.update(self._names)

    async def tell(self) -> Sequence[Mapping[str, Any]]:
        """Each campaign's name and counts. Raises ApiError, ConnectionFailed; who asks again gets what is missing."""
        async with self._asking:
            for campaign in sorted(self._changed):
                self._changed.discard(campaign)
                try:
                    self._counted[campaign] = await self._manager.outcomes(campaign, since=self._since)
                except BaseException:
                    self._changed.add(campaign)
                    raise
        return [{"name": name, **_told(self._counted[campaign])} for campaign, name in self._names.items()]


def _told(counted: wire.Outcomes) -> Mapping[str, Any]:
    return {
        "id": counted.campaign,
        "decisions": counted.decisions,
        "offers": counted.offers,
        "silences": counted.silences,
    }
