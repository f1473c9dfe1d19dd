"""Webhooks: what the company's own systems are told, and where."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, UnsetType

from geo_offers.wire.base import LINK, Answer, ListQuery, Page, Request
from geo_offers.wire.events import Instant

WebhookType = Literal[
    "geofence.entered",
    "geofence.dwelled",
    "geofence.exited",
    "decision.made",
    "offer.sent",
    "offer.shown",
    "offer.opened",
    "offer.redeemed",
    "offer.expired",
    "consent.changed",
    "campaign.paused",
]
WebhookUrl = Annotated[str, Meta(pattern=LINK, max_length=2000)]
WebhookTypes = Annotated[list[WebhookType], Meta(min_length=1, max_length=20)]


class WebhookBody(Request, frozen=True, kw_only=True):
    """`coordinates`: with geofence events, where the geofence lies. Where a person was is told to nobody."""

    url: WebhookUrl
    types: WebhookTypes
    coordinates: bool = False


class WebhookPatch(Request, frozen=True, kw_only=True):
    """What is left out stays. `disabled` false lets one that was disabled be told again."""

    url: WebhookUrl | UnsetType = UNSET
    types: WebhookTypes | UnsetType = UNSET
    coordinates: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class Webhook(Answer, frozen=True, kw_only=True):
    """failing_since: since when no answer was good. former_until: until when the secret before signs too."""

    id: UUID
    url: str
    types: list[str]
    coordinates: bool
    created_at: datetime
    failing_since: datetime | UnsetType = UNSET
    disabled_at: datetime | UnsetType = UNSET
    disabled_why: str | UnsetType = UNSET
    former_until: datetime | UnsetType = UNSET


class WebhookMade(Webhook, frozen=True, kw_only=True):
    """`secret` is told this once."""

    secret: str


class WebhookPage(Page, frozen=True, kw_only=True):
    items: list[Webhook]


class WebhookSecret(Answer, frozen=True, kw_only=True):
    """Told this once. Until `former_until` the secret before signs too."""

    secret: str
    former_until: datetime


class WebhookAttempt(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """status: null where no answer came."""

    at: datetime
    status: int | None
    ms: int
    detail: str | None = None


class WebhookDelivery(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """An event at one endpoint. attempts: of its schedule; log: newest first, at most 20; due: while it is tried."""

    event: UUID
    type: str
    at: datetime
    state: Literal["due", "leased", "delivered", "failed"]
    attempts: int
    due: datetime | None
    log: list[WebhookAttempt]


class WebhookDeliveryPage(Page, frozen=True, kw_only=True):
    items: list[WebhookDelivery]


class WebhookLogQuery(ListQuery, frozen=True, kw_only=True):
    """The newest first."""


class WebhookReplayQuery(Request, frozen=True, kw_only=True):
    since: Instant


class WebhookReplayed(Answer, frozen=True, kw_only=True):
    """How many events are due again; more than that may be left where it is 10,000."""

    replayed: int


class WebhookTested(Answer, frozen=True, kw_only=True):
    """The event that was queued: look for it in the deliveries."""

    event: UUID


class Location(Answer, frozen=True, kw_only=True):
    lat: float
    lon: float


class WebhookEvent(Answer, rename={"kind": "type"}, frozen=True, kw_only=True):
    """What an endpoint gets, signed as Standard Webhooks. location: of the geofence, where that is switched on."""

    kind: str
    timestamp: datetime
    data: Raw
    location: Location | None = None
