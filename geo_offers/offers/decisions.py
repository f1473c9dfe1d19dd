"""What a decision says: an offer, or a silence and its reason; and the names that a resent turn makes again."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import msgspec

from geo_offers.offers.budgets import UNCHARGED, Charged
from geo_offers.offers.experiment import Ghost
from geo_offers.places.fences import FenceId
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.presence.visits import time_first_id


class Reason(StrEnum):
    """Why nothing was said."""

    KILL_SWITCH = "kill_switch"
    NO_CONSENT = "no_consent"
    NOT_LIVE = "not_live"
    SCHEDULE = "schedule"
    AUDIENCE = "audience"
    STALE = "stale"
    USER_INSIDE = "user_inside"
    MUTED = "muted"
    QUIET_HOURS = "quiet_hours"
    RHYTHM_MAX = "rhythm_max"
    RHYTHM_GAP = "rhythm_gap"
    PLACE_GAP = "place_gap"
    STORE_GAP = "store_gap"
    CAP = "cap"
    BUDGET = "budget"
    HOLDOUT = "holdout"
    OUTRANKED = "outranked"


class Gate(msgspec.Struct, frozen=True):
    """One gate's answer. detail holds its inputs as JSON may hold them; never a coordinate.

    A decision makes fifteen of them, and a struct is made several times faster than a frozen dataclass.
    """

    gate: str
    passed: bool
    detail: Mapping[str, Any]


class OfferDraft(msgspec.Struct, frozen=True):
    """An offer as decided. store and tags are what gaps and caps will count it by, categories what it may be muted by.

    special: it goes past the person's ordinary budget, out of the special one.
    """

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
    categories: AbstractSet[str] = frozenset()
    special: bool = False
    charged: Charged = UNCHARGED


class Decision(msgspec.Struct, frozen=True):
    """One decision of one turn.

    primary: the transition it answers; transitions: all of the turn that any campaign concerned.
    campaign: the one that spoke, or that came first among the silent.
    ghost: the place taken by an offer that was not made for the sake of a holdout.
    passed_over: the other campaigns that were concerned, and why each is silent.
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
    ghost: Ghost | None = None
    passed_over: Mapping[UUID, Reason] = {}


def decision_id(visit: UUID, transition: TransitionType, at_us: int) -> UUID:
    """Name the decision on one transition of a visit; time first, as visits are."""
    return time_first_id(at_us, b"decision", visit.bytes, transition.encode(), at_us.to_bytes(8, "big"))


def offer_id(decision: UUID) -> UUID:
    """Name the one offer that a decision can make; as early as the decision."""
    return time_first_id((decision.int >> 80) * 1000, b"offer", decision.bytes)
