"""What a decision says: an offer, or a silence and its reason; and the names that a resent turn makes again."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import msgspec

from geo_offers.places.fences import FenceId
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.presence.visits import time_first_id


class Reason(StrEnum):
    """Why nothing was said."""

    KILL_SWITCH = "kill_switch"
    NO_CONSENT = "no_consent"
    NOT_LIVE = "not_live"
    SCHEDULE = "schedule"
    STALE = "stale"
    USER_INSIDE = "user_inside"
    AUDIENCE = "audience"
    MUTED = "muted"
    QUIET_HOURS = "quiet_hours"
    RHYTHM_MAX = "rhythm_max"
    RHYTHM_GAP = "rhythm_gap"
    PLACE_GAP = "place_gap"
    STORE_GAP = "store_gap"
    CAP = "cap"
    OUTRANKED = "outranked"


class Gate(msgspec.Struct, frozen=True):
    """One gate's answer. detail holds its inputs as JSON may hold them; never a coordinate.

    A decision makes fifteen of them, and a struct is made several times faster than a frozen dataclass.
    """

    gate: str
    passed: bool
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OfferDraft:
    """An offer as decided. store and tags are what gaps and caps will count it by."""

    campaign: UUID
    fence: FenceId
    store: str
    visit: UUID
    trigger: TransitionType
    title: str
    body: str
    link: str | None
    data: Mapping[str, str]
    lane: str
    expires_us: int
    tags: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of one turn.

    primary: the transition it answers; transitions: all of the turn that any campaign concerned.
    campaign: the one that spoke, or that came first among the silent.
    """

    id: UUID
    at_us: int
    outcome: Literal["offer", "suppressed"]
    reason: Reason | None
    campaign: UUID
    primary: Transition
    transitions: tuple[Transition, ...]
    gates: tuple[Gate, ...]
    offer: OfferDraft | None
    versions: Mapping[str, int | str]


def decision_id(visit: UUID, transition: TransitionType, at_us: int) -> UUID:
    """Name the decision on one transition of a visit; time first, as visits are."""
    return time_first_id(at_us, b"decision", visit.bytes, transition.encode(), at_us.to_bytes(8, "big"))


def offer_id(decision: UUID) -> UUID:
    """Name the one offer that a decision can make; as early as the decision."""
    return time_first_id((decision.int >> 80) * 1000, b"offer", decision.bytes)
