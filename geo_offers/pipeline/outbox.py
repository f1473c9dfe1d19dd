"""What the dispatcher needs from outside: the due offers, and somebody who counts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import UUID

import msgspec

from geo_offers.pipeline.lanes import Message
from geo_offers.pipeline.settlement import Claim, Close, Settlement

UNDER_WAY_S: Final = 5.0
"""For so long a person's withdrawal waits for what is under way to them, before it is answered."""


class Ready(msgspec.Struct, frozen=True):
    """Re-checked and marked as being sent."""

    claim: Claim
    message: Message


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What a look found; a claim that stands nowhere was erased, or was not ours any more.

    What was read is marked as being sent, that too which is not: its record is what ends it or puts it back.
    """

    ready: Sequence[Ready] = ()
    over: Sequence[Close] = ()  # may not be sent any more
    busy: Sequence[Claim] = ()  # the person's row is locked by somebody else just now
    unreadable: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """What was claimed, and what a look at it found; what is stranded or out of attempts was not looked at.

    Where `looked` is None what was found is not known: they may be marked, and want another look.
    """

    claims: Sequence[Claim]
    looked: Rechecked | None = None


class Outbox(Protocol):
    """The due offers; what a call writes is one transaction.

    Each may raise Unavailable; nothing of it was applied then, save that a commit whose answer was lost may have been,
    and that a re-check may have marked what it could not judge.
    """

    async def take(self, lane: str, limit: int, lease_s: float) -> Taken:
        """Claim and re-check in one round trip. A crash before the sends counts as one in the midst of them."""
        ...

    async def claim(self, lane: str, limit: int, lease_s: float) -> Sequence[Claim]:
        """Only claim, where the look itself fails: each row is then looked at by itself."""
        ...

    async def recheck(self, claims: Sequence[Claim], lease_s: float) -> Rechecked:
        """Lock the persons, read, mark as being sent under a renewed lease; what is found is true of that moment."""
        ...

    async def finish(self, settlements: Sequence[Settlement]) -> Collection[UUID]:
        """Apply what still stands under its token; return the offers of those."""
        ...

    async def adopt(self, served: Collection[str], lane: str) -> bool:
        """Move what is due on lanes that are not served to `lane`; false where some of it is still leased."""
        ...

    async def hasten(self, lane: str, devices: Mapping[UUID, UUID]) -> None:
        """Make what waits for these devices (device to workspace) due now."""
        ...

    async def recall(
        self, workspaces: Collection[UUID], *, campaign: UUID | None = None, store: str | None = None
    ) -> None:
        """Make what waits of these workspaces due now, on all lanes; of a campaign or a store where one is named."""
        ...

    async def shown(self, workspace: UUID, offer: UUID, device: UUID) -> Literal["news", "known", "unknown"]:
        """Record that the device has shown an offer: unknown when it is neither its own nor its person's.

        A device without proof of its person shows its own.
        """
        ...

    async def oldest_due_s(self, lane: str) -> float: ...


class Observer(Protocol):
    """Who counts and who watches. Outcomes are those of `lanes.outcome_name`, and expired, cancelled, failed, shown.

    Each is called for every row and must cost next to nothing where nobody watches.
    """

    def counted(self, lane: str, outcome: str) -> None: ...

    def delivered(self, workspace: UUID, offer: UUID, lane: str, outcome: str, detail: str | None = None) -> None:
        """What a send came to, or how the offer ended; `detail` says why where that is known."""
        ...

    def under_way(self, workspace: UUID, offer: UUID, lane: str, step: str) -> None:
        """What no send came to: sending, held, waiting, unreadable, moved (to this lane).

        And what its person did with an offer that was shown: opened, dismissed, muted, redeemed.
        """
        ...

    def oldest_due(self, lane: str, age_s: float) -> None: ...

    def breakers(self, lane: str, opened: int) -> None:
        """How many of the lane's scopes nothing is sent to just now."""
        ...
