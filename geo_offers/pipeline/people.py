"""Enrolment, tokens, consent, rhythm, export and erasure: the ports, and the order in which they meet the ping path.

Consent, rhythm and erasure hold the user in the engine (`exclusive`), so that no turn in flight installs what was
wiped; a withdrawal answers after what was queued is cancelled and what was under way is known. Whatever may have been
committed is followed by memory, also where the commit's answer was lost.

A device changes consent and rhythm at a bounded rate, since the ledger only grows. A withdrawal is never refused for
it: the person in control comes first, and what may be withdrawn had to be granted before.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import UUID

import structlog
from msgspec import Struct

from geo_offers import clock, wire
from geo_offers.errors import TooManyRequests, Unauthenticated
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.outbox import UNDER_WAY_S
from geo_offers.pipeline.rates import Buckets
from geo_offers.pipeline.streams import DeviceStreams

Surface = Literal["device", "page"]
"""Where somebody says what they agree to, as the ledger has it: in the app, or on the preference page."""

STOPS_SENDS: Final = frozenset[wire.PurposeName]({"locate", "offers"})
CHANGES_BURST: Final = 20.0
CHANGE_EVERY_S: Final = 3.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Issued:
    """A device with the refresh token that was made for it."""

    device: UUID
    user: UUID
    epoch: int
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How enrolments came: as an array; by a call that says `Sec-GPC: 1`, which goes before what they agree to.

    key_id: made from the call's Idempotency-Key.
    """

    key_id: UUID | None
    many: bool
    refuses: bool


@dataclass(frozen=True, slots=True)
class Exported:
    """All that is held of a person; the long lists of `whole` stand in `lists`, in pages that are read as asked for."""

    whole: wire.Export
    lists: Mapping[str, AsyncIterator[Sequence[Struct]]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person has said, and what was decided of them lately, newest first."""

    rhythm: wire.Rhythm
    consents: Sequence[wire.ConsentState]
    locale: str
    time_zone: str | None
    recent: Sequence[wire.Decision]


@dataclass(frozen=True, slots=True)
class Ended:
    """An offer that a person's own word has ended, and why: a withdrawal, an erasure, a log-in."""

    offer: UUID
    lane: str
    state: str
    detail: str


Endings = Callable[[UUID, Sequence[Ended]], None]
"""Told, after the commit, which offers of a workspace are sent no more."""

Concerns = Callable[[Collection[UUID]], None]
"""Told, before a commit, whom of those who were here before it concerns: its answer may be lost."""


class People(Protocol):
    async def enrol(
        self,
        caller: Caller,
        enrolments: Sequence[wire.Enrolment],
        manner: Manner,
        concerns: Concerns,
    ) -> Sequence[Issued]:
        """All in one transaction, in the order given; Invalid or Forbidden for the first that cannot be."""
        ...

    async def rotate(self, refresh_token: str, concerns: Concerns) -> tuple[UUID, Issued] | None:
        """Workspace and tokens; Unauthenticated for a token that is not good.

        None for one that came back after its successor was used: somebody holds a copy, and the device's tokens, whose
        person `concerns` is told, are dead.
        """
        ...

    async def consents(self, caller: Caller) -> Sequence[wire.ConsentState]: ...

    async def set_consent(
        self, caller: Caller, purpose: wire.PurposeName, change: wire.ConsentChange, surface: Surface
    ) -> wire.ConsentState:
        """Ledger, user row, cancelled sends and wiped state in one transaction.

        Invalid for a grant of a text that the workspace does not name, Forbidden for one that the person's age forbids.
        """
        ...

    async def refuse(self, caller: Caller) -> None:
        """Takes `Sec-GPC: 1` as a refusal of `profile` and `measure`, once in the person's life."""
        ...

    async def rhythm(self, caller: Caller) -> wire.Rhythm: ...

    async def standing(self, caller: Caller, decisions: int) -> Standing:
        """With at most so many decisions; for a device without proof, those to which its own visits led."""
        ...

    async def set_rhythm(self, caller: Caller, rhythm: wire.Rhythm) -> wire.Rhythm: ...

    async def set_push(self, caller: Caller, push: wire.PushAddress | None) -> None:
        """Where the caller's device takes push from now on; None: nowhere. A token has one device: its last one."""
        ...

    async def export(self, caller: Caller) -> Exported: ...

    async def withdraw_all(self, caller: Caller) -> None:
        """The first step of an erasure: what is queued is cancelled, and all that the person agreed to is taken back.

        A device without proof speaks for itself alone: its own sends are cancelled.
        """
        ...

    async def erase(self, caller: Caller) -> None:
        """Delete what the device may erase; the person's last device takes the person along."""
        ...

    async def under_way(self, caller: Caller, device: UUID | None) -> int:
        """Sends to the device (None: to any of the person's) whose bytes have left without an answer yet."""
        ...

    async def end_sends(self, caller: Caller, device: UUID | None) -> None:
        """Cancels what came back to be sent again; what is still under way becomes ambiguous. Neither is repeated."""
        ...


@dataclass(frozen=True, slots=True)
class News:
    """What of an offer's event is news: that the person has seen it, and the event itself."""

    seen: bool
    event: bool


class Offers(Protocol):
    async def inbox(self, caller: Caller, cursor: str | None, limit: int) -> wire.OfferPage: ...

    async def event(self, caller: Caller, offer: UUID, event: wire.OfferEvent) -> News:
        """Note what became of an offer; whatever it was, the person has seen it, and it is not sent any more.

        NotFound where the offer is not this person's.
        """
        ...


async def enrol(
    people: People,
    engine: Engine,
    caller: Caller,
    enrolments: Sequence[wire.Enrolment],
    manner: Manner,
) -> Sequence[Issued]:
    """As `People.enrol`. What people who were here before agreed to, or their age, is read anew with the next ping."""
    known: set[UUID] = set()
    try:
        return await people.enrol(caller, enrolments, manner, known.update)
    finally:
        for user in known:
            async with engine.exclusive(user):
                pass


async def rotate(people: People, engine: Engine, streams: DeviceStreams, refresh_token: str) -> tuple[UUID, Issued]:
    """New tokens. A reused token revokes its family at once, and ends the streams that were opened under it."""
    revoked: set[UUID] = set()
    try:
        rotated = await people.rotate(refresh_token, revoked.update)
    finally:
        for user in revoked:
            async with engine.exclusive(user):
                streams.end(user)
    if rotated is None:
        raise Unauthenticated("this refresh token was used before; all tokens of the device are revoked, enrol again")
    return rotated


def change_rates() -> Buckets:
    """What bounds how often a device changes what its person said."""
    return Buckets(1.0 / CHANGE_EVERY_S, CHANGES_BURST)


def _within_rate(changes: Buckets, caller: Caller) -> bool:
    assert caller.device is not None
    return changes.take(caller.device, clock.now_us())


def _too_often() -> TooManyRequests:
    return TooManyRequests(
        f"one change of consent, rhythm or profile in {CHANGE_EVERY_S:.0f} s is enough; a withdrawal is always taken",
        CHANGE_EVERY_S,
    )


def take_change(changes: Buckets, caller: Caller) -> None:
    """Count a change; TooManyRequests for a device over its rate."""
    if not _within_rate(changes, caller):
        raise _too_often()


async def _withdraws(people: People, caller: Caller, purpose: wire.PurposeName, change: wire.ConsentChange) -> bool:
    """Whether it says no where no was not said yet."""
    if change.granted:
        return False
    granted = {state.purpose: state.granted for state in await people.consents(caller)}
    return granted.get(purpose, True)


async def change_consent(
    people: People,
    engine: Engine,
    streams: DeviceStreams,
    changes: Buckets,
    *,
    caller: Caller,
    purpose: wire.PurposeName,
    change: wire.ConsentChange,
    surface: Surface = "device",
) -> wire.ConsentState:
    """In force before it returns: queued sends are cancelled, one under way is waited for (at most 5 s).

    Raises TooManyRequests for a device over its rate, save for a withdrawal.
    """
    assert caller.user is not None
    if not _within_rate(changes, caller) and not await _withdraws(people, caller, purpose, change):
        raise _too_often()
    stops_sends = not change.granted and purpose in STOPS_SENDS
    async with engine.exclusive(caller.user):
        try:
            state = await people.set_consent(caller, purpose, change, surface)
        finally:
            if stops_sends:
                streams.clear(caller.user)
    if stops_sends:
        await wait_for_sends(people, caller, None)
        streams.clear(caller.user)  # of what was being sent, what no phone has taken yet
    return state


async def change_rhythm(
    people: People, engine: Engine, changes: Buckets, caller: Caller, rhythm: wire.Rhythm
) -> wire.Rhythm:
    """Raises TooManyRequests for a device over its rate."""
    assert caller.user is not None
    take_change(changes, caller)
    async with engine.exclusive(caller.user):
        return await people.set_rhythm(caller, rhythm)


async def erase(people: People, engine: Engine, streams: DeviceStreams, caller: Caller) -> None:
    """Withdraws first, so that nothing new leaves while a send under way is waited for; then deletes.

    The user is held all the while: a device without proof withdraws nothing for its person, and what it pinged in
    between would be decided, and might be on its way when its rows are deleted.
    """
    assert caller.user is not None
    try:
        async with engine.exclusive(caller.user):
            await people.withdraw_all(caller)
            streams.clear(caller.user)
            await wait_for_sends(people, caller, caller.confined_to)
            streams.clear(caller.user)
            await people.erase(caller)
    finally:
        streams.end(caller.user, caller.confined_to)


async def wait_for_sends(people: People, caller: Caller, device: UUID | None) -> None:
    """Whatever becomes of them, they are not repeated: what would be sent again after its answer is cancelled too."""
    try:
        async with asyncio.timeout(UNDER_WAY_S):
            while await people.under_way(caller, device):  # noqa: ASYNC110 - the sends end in the database, maybe by another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        _log.warning("a send under way was not waited for any longer")
    await people.end_sends(caller, device)
