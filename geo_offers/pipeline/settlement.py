"""What a send comes to: the rules that turn an outcome into a change of the outbox row, as one pure function.

- The person's slot is given back only where it is known that nothing was shown: once a send has gone unanswered it is
  kept, however the offer ends. So it is in the app, whose phone had the offer in the answer to its ping: there the
  outbox keeps it.
- An unanswered send is repeated exactly once, under the same id. A repeat that the gateway did not take (it answered
  5xx, or nothing again) ends the offer as ambiguous; one of which no byte left, or that was put off until
  a time that the gateway named, was not made.
- A lane that `repeats` has a receiver that shows an id once: there a send is repeated until it is answered.
- Attempts count claims, so that a row which kills its process runs out. Whatever was answered is no such row: its count
  stays where the back-off is longest, and is given back where nothing was tried.
"""

from dataclasses import dataclass
from typing import Final, Literal, assert_never
from uuid import UUID

import msgspec

from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    AuthBroken,
    Later,
    Message,
    NotSent,
    Offered,
    Outcome,
    Refused,
    TokenDead,
    TooLate,
    Transient,
    Waiting,
)

MOST_ATTEMPTS: Final = 10
MOST_DOUBLINGS: Final = 6
LONGEST_BACK_OFF_S: Final = 3600.0
LATER_S: Final = (1.0, 3600.0)
BROKEN_S: Final = 5.0  # credentials are mended by a person; what was under way at their change soon finds the new ones
PARKED_S: Final = 3600.0  # nobody is there: the offer's expiry, or the device's return, comes first
FALLBACK_LANE: Final = "inapp"

_ANSWERED_AT_MOST: Final = 1 + MOST_DOUBLINGS  # there back-off is longest, and three crashes are left
_DETAIL: Final = 64
_RECEIPT: Final = 256


class Claim(msgspec.Struct, frozen=True):
    """A leased outbox row. `unanswered` counts sends before this claim of which no answer is known (0, 1, 2)."""

    offer: UUID
    workspace: UUID
    token: int
    attempts: int
    unanswered: int
    stranded: bool = False  # its last process ended, or froze, while sending it


@dataclass(frozen=True, slots=True)
class DeadToken:
    """A token that a gateway has named dead. at_us: since when; absent = it was dead at this send."""

    workspace: UUID
    lane: str
    token: str
    at_us: int | None = None


class Close(msgspec.Struct, frozen=True):
    """The offer is finished in this state; `keep` its slot, or release it."""

    claim: Claim
    state: Literal["accepted", "failed", "ambiguous", "expired", "cancelled"]
    keep: bool
    detail: str | None = None
    dead: DeadToken | None = None
    receipt: str | None = None  # the gateway's own name for what it took


class Retry(msgspec.Struct, frozen=True):
    """Due again after so many seconds, at the offer's expiry at the latest; `unanswered` marks that it may be shown."""

    claim: Claim
    after_s: float
    attempts: int
    unanswered: bool = False


class Move(msgspec.Struct, frozen=True):
    """To another token of the person's at once, under the same id; where there is none, to this lane."""

    claim: Claim
    lane: str
    dead: DeadToken | None


Settlement = Close | Retry | Move


def back_off_s(attempts: int, jitter: float, from_s: float = 1.0) -> float:
    """Give 1, 2, 4, 8 … 64 times `from_s`, an hour at most, a quarter more or less by `jitter` (0 to 1)."""
    return min(from_s * 2.0 ** min(attempts - 1, MOST_DOUBLINGS), LONGEST_BACK_OFF_S) * (0.75 + jitter / 2)


def settle(
    claim: Claim, message: Message, outcome: Outcome, *, lane: str, repeats: bool, lease_s: float, jitter: float
) -> Settlement:
    """Judge one send by `lane`. `jitter` is a random number from 0 to 1.

    `lease_s` spaces the sends of a lane that repeats.
    """
    repeated = claim.unanswered > 0 and not repeats
    match outcome:
        case Accepted(receipt):
            return Close(claim, "accepted", keep=True, receipt=receipt and printable(receipt, _RECEIPT))
        case TooLate():
            return Close(claim, "expired", keep=claim.unanswered > 0, detail="expired")
        case TokenDead(at_us):
            dead = DeadToken(message.workspace, lane, message.push_token, at_us) if message.push_token else None
            if repeated:
                return Close(claim, "ambiguous", keep=True, detail="token_dead", dead=dead)
            return Move(claim, FALLBACK_LANE, dead)
        case Refused(detail):
            return Close(claim, "failed", keep=claim.unanswered > 0, detail=printable(detail))
        case Ambiguous(detail) | Transient(detail, asked_s=0.0) if repeated:
            return Close(claim, "ambiguous", keep=True, detail=printable(detail))
        case Ambiguous():
            return _again(claim, jitter, unanswered=True)
        case Transient(from_s=from_s, asked_s=asked_s):
            return _again(claim, jitter, from_s=from_s, asked_s=asked_s)
        case NotSent():
            return _again(claim, jitter)
        case Offered():
            return Retry(claim, lease_s, attempts=0, unanswered=True)
        case Later() | AuthBroken() | Waiting():
            return put_back(claim, _rest_s(outcome, jitter))
        case _:
            assert_never(outcome)


def hopeless(claim: Claim, *, repeats: bool) -> Close | None:
    """End a row that has had its chances before anybody looks at it again; None for the others."""
    if claim.unanswered > 1 and not repeats:
        return Close(claim, "ambiguous", keep=True, detail="unanswered")
    if claim.attempts > MOST_ATTEMPTS:
        return Close(claim, "failed", keep=claim.unanswered > 0, detail="poison")
    return None


def unreadable(claim: Claim, jitter: float) -> Settlement:
    """Make a row that cannot be read wait like a failed send, without the mercy for what was answered."""
    if claim.attempts >= MOST_ATTEMPTS:
        return Close(claim, "failed", keep=claim.unanswered > 0, detail="poison")
    return Retry(claim, back_off_s(claim.attempts, jitter), claim.attempts)


def put_back(claim: Claim, after_s: float) -> Retry:
    """Make it due again without counting the attempt: nothing was tried."""
    return Retry(claim, after_s, claim.attempts - 1)


def printable(detail: str, most: int = _DETAIL) -> str | None:
    """Cut a gateway's words to what may be kept: short, printable ASCII."""
    if not (detail.isascii() and detail.isprintable()):
        detail = "".join(letter for letter in detail if " " <= letter <= "~")
    return detail[:most] or None


def _rest_s(outcome: Later | AuthBroken | Waiting, jitter: float) -> float:
    """How long to leave alone what nobody tried to show."""
    match outcome:
        case Later(after_s):
            return _spread(min(max(after_s, LATER_S[0]), LATER_S[1]), jitter)
        case AuthBroken():
            return BROKEN_S * (0.75 + jitter / 2)
        case Waiting():
            return PARKED_S


def _again(
    claim: Claim, jitter: float, *, unanswered: bool = False, from_s: float = 1.0, asked_s: float = 0.0
) -> Retry:
    attempts = min(claim.attempts, _ANSWERED_AT_MOST)
    after_s = max(back_off_s(attempts, jitter, from_s), _spread(asked_s, jitter))
    return Retry(claim, after_s, attempts, unanswered)


def _spread(asked_s: float, jitter: float) -> float:
    """Obey, and a quarter more at most: what was refused together does not come back together."""
    return asked_s * (1.0 + jitter / 4)
