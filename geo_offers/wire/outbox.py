"""What waits to be sent, and what could not be."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from geo_offers.wire.base import Answer, ListQuery, Page

Undelivered = Literal["queued", "failed", "ambiguous"]
AnyLane = Literal["inapp", "webhook", "log", "fcm", "apns", "webpush"]


class Letter(Answer, frozen=True, kw_only=True):
    """An offer that is on its way, or did not arrive. attempts, due: while it is on its way.

    queued: due, or under way. failed: refused for good, or given up; it was not shown where `kept` is false. ambiguous:
    sent, and never answered; it may have been shown.
    """

    offer: UUID
    user: str
    campaign: UUID
    lane: str
    state: Undelivered
    kept: bool
    created_at: datetime
    expires_at: datetime
    attempts: int | None = None
    due: datetime | None = None
    detail: str | None = None
    finished_at: datetime | None = None


class LetterPage(Page, frozen=True, kw_only=True):
    items: list[Letter]


class OutboxQuery(ListQuery, frozen=True, kw_only=True):
    state: Undelivered = "failed"
    lane: AnyLane | None = None


class LaneCount(Answer, frozen=True, kw_only=True):
    """How many offers of the last 24 h are in this state on this lane; oldest_at: when the first of them was made."""

    lane: str
    state: str
    count: int
    oldest_at: datetime


class OutboxSummary(Answer, frozen=True, kw_only=True):
    items: list[LaneCount]
