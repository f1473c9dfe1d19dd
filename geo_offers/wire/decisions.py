"""Decisions as they are read, and the live feed."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from geo_offers.wire.base import EVENT_NAMES, Answer, Identifier, ListQuery, Page, Request, TransitionName


class Gate(Answer, frozen=True, kw_only=True):
    gate: str
    passed: bool
    detail: dict[str, Any]


class DecidedTransition(Answer, frozen=True, kw_only=True):
    type: TransitionName
    fence: str
    at: datetime
    visit: UUID | None = None


StepName = Literal[
    "decided",
    "accepted",
    "shown",
    "opened",
    "dismissed",
    "muted",
    "redeemed",
    "ambiguous",
    "expired",
    "cancelled",
    "failed",
]


class Step(Answer, frozen=True, kw_only=True):
    """One step of an offer's life. detail: why it ended so, or the reason that the person gave."""

    step: StepName
    at: datetime
    detail: str | None = None


class Delivery(Answer, frozen=True, kw_only=True):
    """The life of an offer: how it stands, and its steps in order of time.

    attempts, due: while it is on its way. detail: why it ended so, in the words of `GET /v1/outbox`.
    """

    lane: str
    state: Literal["queued", "accepted", "shown", "ambiguous", "expired", "cancelled", "failed"]
    expires_at: datetime
    steps: list[Step]
    detail: str | None = None
    attempts: int | None = None
    due: datetime | None = None


class Decision(Answer, frozen=True, kw_only=True):
    """An offer or a silence, with every gate that was asked, in order.

    snapshot: what of the person it was made of, in their own export alone.
    delivery: what became of its offer, where one decision is asked for.
    """

    id: UUID
    user: str
    at: datetime
    outcome: Literal["offer", "suppressed"]
    reason: str | None = None
    campaign: UUID | None = None
    transitions: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    offer: UUID | None = None
    versions: dict[str, Any]
    ms: dict[str, float]
    snapshot: dict[str, Any] | None = None
    delivery: Delivery | None = None


class Outcome(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """What a decision came to, with every gate that was asked, in order; of an offer where and how, not its words."""

    outcome: Literal["offer", "suppressed"]
    reason: str | None
    campaign: UUID | None
    gates: list[Gate]
    offer: dict[str, Any] | None


class Replayed(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """A decision made again, by today's code, of what it was made of then.

    same: it comes to the same. differs: the first gate that is answered otherwise; None where none is.
    """

    id: UUID
    same: bool
    differs: str | None
    then: Outcome
    now: Outcome


class DecisionPage(Page, frozen=True, kw_only=True):
    items: list[Decision]


class DecisionQuery(ListQuery, frozen=True, kw_only=True):
    """`user` is our id of the person or the app's own name for them; searching by it is audited."""

    campaign: UUID | None = None
    reason: Identifier | None = None
    user: Identifier | None = None
    since: datetime | None = None
    until: datetime | None = None


class OutcomesQuery(Request, frozen=True, kw_only=True):
    """Of which time: the last 30 days where it does not say."""

    since: datetime | None = None
    until: datetime | None = None


class Outcomes(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """What came of the arrivals that concerned a campaign: so many offers of it, and so many silences by reason.

    `outranked`: it could have spoken, and another did.
    """

    campaign: UUID
    since: datetime
    until: datetime
    decisions: int
    offers: int
    silences: dict[str, int]


class LiveQuery(Request, frozen=True, kw_only=True):
    types: Annotated[str, Meta(pattern=EVENT_NAMES, max_length=700)] | None = None
