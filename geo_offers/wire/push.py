"""What the push gateway gets."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from geo_offers.wire.base import Answer


class PushData(Answer, frozen=True, kw_only=True):
    offer: UUID
    user: UUID
    device: UUID
    platform: str
    title: str
    body: str
    replace_key: str
    expires_at: datetime
    ttl_s: int
    push_token: str | None = None
    link: str | None = None
    data: dict[str, str] | None = None


class PushEvent(Answer, rename={"kind": "type"}, omit_defaults=False, frozen=True, kw_only=True):
    """What the push gateway gets, signed as Standard Webhooks."""

    kind: Literal["offer.push"] = "offer.push"
    timestamp: datetime
    data: PushData


class WebPushOffer(Answer, frozen=True, kw_only=True):
    """What a browser's service worker gets, decrypted; `tag` makes a second copy overwrite the first on the screen."""

    offer: UUID
    title: str
    body: str
    tag: str
    expires_at: datetime
    link: str | None = None
    data: dict[str, str] | None = None
