"""Dead letters: offers that a lane gave up, as who runs the workspace sees them, and what may be sent again.

Sent again is only what is known not to have been shown, is still good, and whose place nobody has taken since, in the
person's time or in a budget: a letter that comes back to life must not break a cap that was counted without it.
"""

from typing import Protocol
from uuid import UUID

from geo_offers import wire
from geo_offers.pipeline.callers import Caller


class Letters(Protocol):
    async def page(self, caller: Caller, query: wire.OutboxQuery) -> wire.LetterPage:
        """Newest first."""
        ...

    async def summary(self, workspace: UUID) -> wire.OutboxSummary: ...

    async def replay(self, caller: Caller, offer: UUID) -> str:
        """Make a failed offer due again and name its lane; written to the audit.

        NotFound where there is no such offer. Conflict where it has not failed, may have been shown, has expired, or
        where the person was promised something else since, or the budget was given to others.
        """
        ...
