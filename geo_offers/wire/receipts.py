"""Receipts: what the company's gateway tells of an offer."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from geo_offers.wire.base import WORD, Answer, Request
from geo_offers.wire.events import Instant

ReceiptStatus = Literal["kept", "known", "unknown"]


class Receipt(Request, frozen=True, kw_only=True):
    """delivered, failed: on the way to the screen; shown, opened, dismissed: there.

    `failed` gives the person's slot back where its reason is `not_shown`, and nothing says otherwise.
    """

    offer: UUID
    type: Literal["delivered", "shown", "opened", "dismissed", "failed"]
    at: Instant
    reason: Annotated[str, Meta(pattern=WORD, max_length=32)] | None = None


class ReceiptsTold(Request, frozen=True, kw_only=True):
    receipts: Annotated[list[Receipt], Meta(min_length=1, max_length=1_000)]


class ReceiptKept(Answer, frozen=True, kw_only=True):
    """known: it was told before. unknown: the workspace has no such offer, or no more."""

    status: ReceiptStatus


class ReceiptsKept(Answer, frozen=True, kw_only=True):
    """One a receipt, in their order."""

    items: list[ReceiptKept]
