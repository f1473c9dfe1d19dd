"""`Sec-GPC: 1`, by which a browser says for its person that they are neither to be profiled nor measured.

Any call of a device may carry it, pings too. It is taken once in a person's life; that it was is remembered here by
device, so that nothing is asked of the database again.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from geo_offers.errors import Forbidden
from geo_offers.people.consent import BY_SIGNAL
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.people import People

HEADER: Final = "Sec-GPC"
CODE: Final = "gpc"
REMEMBERED: Final = 100_000


def refuses(headers: Mapping[str, str]) -> bool:
    return headers.get(HEADER) == "1"


def refuse_grant(headers: Mapping[str, str], purposes: Iterable[str]) -> None:
    """Forbidden where what the call would grant is refused by the call itself."""
    refused = [purpose for purpose in purposes if purpose in BY_SIGNAL]
    if refused and refuses(headers):
        told = " and ".join(refused)
        raise Forbidden(f"this call says {HEADER}: 1, which refuses {told}; grant it by a call without", CODE)


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
