"""The port to a gateway: a lane takes one message and says, as a value, what became of it.

The line that matters is whether what left may be shown: over HTTP/1.1 from the body's first byte on, over HTTP/2 from
the frame that ends the stream. A lane that is not sure answers Ambiguous: the dispatcher then keeps the person's slot
and sends once more under the same id. What a lane raises counts as Ambiguous.

Before that line a send may wait for credentials, a connection, a thread: for so long only as what was found out about
the person holds. So a lane that waits looks at the clock where the line is crossed, not where the send begins.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Protocol
from uuid import UUID

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One offer as a gateway needs it. `replace_key` makes a second copy overwrite the first on the person's screen."""

    offer: UUID
    workspace: UUID
    user: UUID
    device: UUID
    platform: str
    push_token: str | None
    campaign: UUID
    fence: str
    title: str
    body: str
    link: str | None
    data: Mapping[str, str] | None
    replace_key: str
    created_us: int
    expires_us: int
    push_keys: str | None = None  # what Web Push encrypts by, as the browser gave it: JSON of p256dh and auth


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gateway has it; it may be shown. `receipt` is the gateway's own name for it, where it gives one."""

    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class TokenDead:
    """This token will never work again. Nothing was shown. at_us: since when; absent = it was not said.

    A registration from after `at_us` is another one, though its letters are the same, and stays. `by_us`: no call was
    made to know it.
    """

    at_us: int | None = None
    detail: str = ""
    by_us: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The gateway asks to come back after so many seconds, of this phone or, `whole_lane`, of all calls of this scope.

    It says nothing of how the gateway is.
    """

    after_s: float
    whole_lane: bool = False


@dataclass(frozen=True, slots=True)
class Transient:
    """The gateway is not well: it answered that it could not take it now.

    Seconds between tries begin at `from_s`, and double. `asked_s`: for how long it wants to be left alone at least.
    """

    detail: str = ""
    from_s: float = 1.0
    asked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AuthBroken:
    """The gateway does not take our credentials: nothing of this scope will pass until they are mended.

    of_one: or it was said of this address alone, which belongs to other credentials; which of both, the next ones show.
    """

    detail: str
    of_one: bool = False


@dataclass(frozen=True, slots=True)
class TooLate:
    """What was left of its life was too short to be said to the gateway; no call was made."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway will never take this message; `by_us`: it was not asked."""

    detail: str
    by_us: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Bytes left and no answer came: it may be shown."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing left that could be shown: not one byte, or not the end without which the gateway looks at nothing."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Offered:
    """On the device's open stream: to be sent again until the device says that it was shown."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nobody is there to take it: to be tried when the device comes back, not before."""


Outcome = (
    Accepted | TokenDead | Later | Transient | AuthBroken | TooLate | Refused | Ambiguous | NotSent | Offered | Waiting
)


_NAMES: Final[Mapping[type, str]] = MappingProxyType(
    {
        Accepted: "accepted",
        TokenDead: "token_dead",
        Later: "later",
        Transient: "transient",
        AuthBroken: "auth_broken",
        TooLate: "expired",
        Refused: "refused",
        Ambiguous: "ambiguous",
        NotSent: "not_sent",
        Offered: "offered",
        Waiting: "waiting",
    }
)


def outcome_name(outcome: Outcome) -> str:
    """Name it as counters and the live feed do."""
    return _NAMES[type(outcome)]


def unasked(outcome: Outcome) -> bool:
    """Whether the outcome was found without the gateway, of which it says nothing then."""
    match outcome:
        case TooLate() | Refused(by_us=True) | TokenDead(by_us=True):
            return True
        case _:
            return False


class Lane(Protocol):
    """One kind of gateway."""

    @property
    def name(self) -> str: ...

    @property
    def concurrency(self) -> int:
        """How many sends may be under way at once."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the receiver itself shows an id only once, so that a send may be repeated until it is answered."""
        ...

    @property
    def rate_per_s(self) -> float:
        """How many sends a second one scope may be given; infinite where nobody counts."""
        ...

    def scope(self, message: Message) -> str | None:
        """Name what this send shares a quota, credentials and a breaker with: a project, a team, an origin, if any.

        The lane's own name where all sends share them: then no part of its slots is kept for others.
        """
        ...

    async def send(self, message: Message, start_by: float) -> Outcome:
        """Begin nothing that may be shown after `start_by`, a time of the loop: it is NotSent then."""
        ...

    async def close(self) -> None:
        """Let go of what it keeps open between sends; nothing is sent after it."""
        ...


def replace_key(decision: UUID) -> str:
    """Name the screen slot of a decision's message: 32 base64url characters, the most that every push service takes."""
    return urlsafe_b64encode(sha256(decision.bytes).digest()).decode()[:32]
