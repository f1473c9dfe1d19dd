"""The lane `log`: one structured line per offer, for development and for replayed phones."""

from math import inf
from typing import Final

import structlog

from geo_offers import instants
from geo_offers.pipeline.lanes import Accepted, Message, Outcome


class LogLane:
    """Writes a line and has thereby delivered. Neither a coordinate nor a push token is in it."""

    name: Final = "log"
    concurrency: Final = 200
    repeats: Final = False
    rate_per_s: Final = inf

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger("geo_offers.offers")

    def scope(self, message: Message) -> None:
        """A line is written, always."""

    async def send(self, message: Message, start_by: float) -> Outcome:  # noqa: ARG002  it is written at once
        self._log.info(
            "offer",
            offer=str(message.offer),
            workspace=str(message.workspace),
            user=str(message.user),
            device=str(message.device),
            campaign=str(message.campaign),
            fence=message.fence,
            title=message.title,
            expires_at=instants.text(message.expires_us),
        )
        return Accepted()

    async def close(self) -> None:
        """A line needs no leave."""
