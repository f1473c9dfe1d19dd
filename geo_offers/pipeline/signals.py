"""`Sec-GPC: 1`, by which a browser says for its person that they are neither to be profiled nor measured.

Any call of a device may carry it, pings too. It is taken once in a person's life; that it was is remembered here by
device, so that nothing is asked of the database again.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.people import People

HEADER: Final = "Sec-GPC"
REMEMBERED: Final = 100_000


def refuses(headers: Mapping[str, str]) -> bool:
    return headers.get(HEADER) == "1"


class Signals:
    """The devices that were heard."""

    def __init__(self) -> None:
        self._heard: dict[UUID, None] = {}

    async def hear(self, people: People, engine: Engine, caller: Caller) -> None:
        """In force when it returns: no turn in flight puts back what goes with it."""
        if caller.device is None or caller.user is None or caller.device in self._heard:
            return
        async with engine.exclusive(caller.user):
            await people.refuse(caller)
        self._heard[caller.device] = None
        if len(self._heard) > REMEMBERED:
            del self._heard[next(iter(self._heard))]
