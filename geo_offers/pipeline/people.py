"""Enrolment, tokens, consent, rhythm, export and erasure: the ports, and the order in which they meet the ping path.

Consent, rhythm and erasure hold the user in the engine (`exclusive`), so that no turn in flight installs what was
wiped; a withdrawal answers after what was queued is cancelled and what was under way is known.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog

from geo_offers import wire
from geo_offers.errors import Unauthenticated
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.streams import DeviceStreams

UNDER_WAY_S: Final = 5.0
STOPS_SENDS: Final = frozenset[wire.PurposeName]({"locate", "offers"})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Issued:
    """A device with the refresh token that was made for it; `user_known` where the person was here before."""

    device: UUID
    user: UUID
    epoch: int
    refresh_token: str
    user_known: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """A refresh token came back after its successor was used: somebody holds a copy; the device's tokens are dead."""

    user: UUID


class People(Protocol):
    async def enrol(
        self, caller: Caller, enrolments: Sequence[wire.Enrolment], key_id: UUID | None
    ) -> Sequence[Issued]:
        """All in one transaction, in the order given; Invalid or Forbidden for the first that cannot be."""
        ...

    async def rotate(self, refresh_token: str) -> tuple[UUID, Issued] | Revoked:
        """Workspace and tokens; Unauthenticated for a token that is not good."""
        ...

    async def consents(self, caller: Caller) -> Sequence[wire.ConsentState]: ...

    async def set_consent(
        self, caller: Caller, purpose: wire.PurposeName, change: wire.ConsentChange
    ) -> wire.ConsentState:
        """Ledger, user row, cancelled sends and wiped state in one transaction."""
        ...

    async def rhythm(self, caller: Caller) -> wire.Rhythm: ...

    async def set_rhythm(self, caller: Caller, rhythm: wire.Rhythm) -> wire.Rhythm: ...

    async def export(self, caller: Caller) -> wire.Export: ...

    async def withdraw_all(self, caller: Caller) -> None:
        """The first step of an erasure: nothing new is sent from here on."""
        ...

    async def erase(self, caller: Caller) -> None: ...

    async def under_way(self, caller: Caller, device: UUID | None) -> int:
        """Sends to the device (None: to any of the person's) whose bytes have left without an answer yet."""
        ...

    async def end_sends(self, caller: Caller, device: UUID | None) -> None:
        """Cancels what came back to be sent again; what is still under way becomes ambiguous. Neither is repeated."""
        ...


class Offers(Protocol):
    async def inbox(self, caller: Caller, cursor: str | None, limit: int) -> wire.OfferPage: ...

    async def event(self, caller: Caller, offer: UUID, event: wire.OfferEvent) -> None:
        """NotFound where the offer is not this person's."""
        ...


async def rotate(people: People, engine: Engine, streams: DeviceStreams, refresh_token: str) -> tuple[UUID, Issued]:
    """New tokens. A reused token revokes its family at once, and ends the streams that were opened under it."""
    rotated = await people.rotate(refresh_token)
    if isinstance(rotated, Revoked):
        async with engine.exclusive(rotated.user):
            streams.end(rotated.user)
            raise Unauthenticated(
                "this refresh token was used before; all tokens of the device are revoked, enrol again"
            )
    return rotated


async def change_consent(
    people: People,
    engine: Engine,
    streams: DeviceStreams,
    *,
    caller: Caller,
    purpose: wire.PurposeName,
    change: wire.ConsentChange,
) -> wire.ConsentState:
    """In force before it returns: queued sends are cancelled, one under way is waited for (at most 5 s)."""
    assert caller.user is not None
    stops_sends = not change.granted and purpose in STOPS_SENDS
    async with engine.exclusive(caller.user):
        state = await people.set_consent(caller, purpose, change)
        if stops_sends:
            streams.clear(caller.user)
    if stops_sends:
        await _wait_for_sends(people, caller, None)
        streams.clear(caller.user)  # of what was being sent, what no phone has taken yet
    return state


async def change_rhythm(people: People, engine: Engine, caller: Caller, rhythm: wire.Rhythm) -> wire.Rhythm:
    assert caller.user is not None
    async with engine.exclusive(caller.user):
        return await people.set_rhythm(caller, rhythm)


async def erase(people: People, engine: Engine, streams: DeviceStreams, caller: Caller) -> None:
    """Withdraws first, so that nothing new leaves while a send under way is waited for; then deletes."""
    assert caller.user is not None
    async with engine.exclusive(caller.user):
        await people.withdraw_all(caller)
        streams.clear(caller.user)
    await _wait_for_sends(people, caller, caller.confined_to)
    streams.clear(caller.user)
    async with engine.exclusive(caller.user):
        await people.erase(caller)
    streams.end(caller.user, caller.confined_to)


async def _wait_for_sends(people: People, caller: Caller, device: UUID | None) -> None:
    """Whatever becomes of them, they are not repeated: what would be sent again after its answer is cancelled too."""
    try:
        async with asyncio.timeout(UNDER_WAY_S):
            while await people.under_way(caller, device):  # noqa: ASYNC110 - the sends end in the database, maybe by another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        _log.warning("a send under way was not waited for any longer")
    await people.end_sends(caller, device)
