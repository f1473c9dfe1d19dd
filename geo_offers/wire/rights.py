"""Access: everything that is held about a person, as they get it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from geo_offers.wire.audience import Profile
from geo_offers.wire.base import Answer
from geo_offers.wire.consents import LedgerWord
from geo_offers.wire.decisions import Decision
from geo_offers.wire.events import ExportedInteraction
from geo_offers.wire.people import ConsentState, Rhythm
from geo_offers.wire.pings import Offer


class Visit(Answer, frozen=True, kw_only=True):
    id: UUID
    device: UUID
    fence: str
    entered_at: datetime
    confirmed_at: datetime | None = None
    dwelt_at: datetime | None = None
    left_at: datetime | None = None
    closed_by: str | None = None
    label: Literal["stopped", "walked_through", "drove_past"] | None = None
    confidence: float | None = None
    fixes: int | None = None
    accuracy_m: float | None = None


class ExportedDevice(Answer, frozen=True, kw_only=True):
    id: UUID
    platform: str
    created_at: datetime
    push_lane: str | None = None
    push_token: str | None = None
    push_keys: str | None = None
    push_at: datetime | None = None
    push_ok_at: datetime | None = None


class ExportedEvent(Answer, frozen=True, kw_only=True):
    """What the phone told of an offer."""

    type: str
    at: datetime
    reason: str | None = None


class ExportedOffer(Answer, frozen=True, kw_only=True):
    offer: Offer
    state: str
    events: list[ExportedEvent] = []


class ExportedReservation(Answer, frozen=True, kw_only=True):
    """What an offer counts for in caps and gaps; it stays there for longer than the offer is kept."""

    offer: UUID
    at: datetime
    campaign: UUID
    store: str
    fence: str
    state: Literal["held", "kept", "released"]


class Export(Answer, frozen=True, kw_only=True):
    """Everything we hold about the caller. `drawn_as`: who they were when experiments first drew them, if another."""

    user: UUID
    created_at: datetime
    external_id: str | None = None
    drawn_as: UUID | None = None
    locale: str
    time_zone: str | None = None
    consents: list[ConsentState]
    rhythm: Rhythm
    age: str
    interactions: list[ExportedInteraction]
    profile: Profile | None = None
    devices: list[ExportedDevice]
    visits: list[Visit]
    offers: list[ExportedOffer]
    decisions: list[Decision]
    reservations: list[ExportedReservation]
    ledger: list[LedgerWord]
