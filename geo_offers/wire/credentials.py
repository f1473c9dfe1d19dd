"""What a workspace signs in to push services with: given in whole, and never told again."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from geo_offers.wire.base import (
    APPLE_ID,
    BUNDLE,
    GOOGLE_KEY,
    GOOGLE_MAIL,
    GOOGLE_PROJECT,
    PUSH_SUBJECT,
    Answer,
    Request,
)

LaneName = Literal["fcm", "apns", "webpush"]
Pem = Annotated[str, Meta(min_length=1, max_length=4096)]
AppleId = Annotated[str, Meta(pattern=APPLE_ID)]


class ServiceAccount(Struct, rename={"kind": "type"}, frozen=True, kw_only=True):
    """Google's JSON file of a service account, as it is; fields that nobody needs here are not kept."""

    kind: Literal["service_account"]
    project_id: Annotated[str, Meta(pattern=GOOGLE_PROJECT)]
    private_key_id: Annotated[str, Meta(pattern=GOOGLE_KEY)]
    private_key: Pem
    client_email: Annotated[str, Meta(pattern=GOOGLE_MAIL)]
    token_uri: Annotated[str, Meta(max_length=200)]


class FcmCredentials(Request, frozen=True, kw_only=True):
    service_account: ServiceAccount


class ApnsCredentials(Request, frozen=True, kw_only=True):
    """An authentication key of Apple's (.p8); `topic` is the app's bundle id."""

    team: AppleId
    key_id: AppleId
    private_key: Pem
    topic: Annotated[str, Meta(pattern=BUNDLE)]
    environment: Literal["production", "sandbox"]


class WebPushCredentials(Request, frozen=True, kw_only=True):
    """`subject` is whom a push service may write to. Without a key the one that is there stays, else one is made."""

    subject: Annotated[str, Meta(pattern=PUSH_SUBJECT)]
    private_key: Pem | None = None


class PushCredential(Answer, frozen=True, kw_only=True):
    """What may be told of credentials. `fingerprint` is the SHA-256 of the public key, in hex.

    `application_server_key` is what a web page subscribes by.
    """

    lane: LaneName
    version: int
    created_at: datetime
    created_by: str
    fingerprint: str
    project: str | None = None
    client_email: str | None = None
    key_id: str | None = None
    team: str | None = None
    topic: str | None = None
    environment: Literal["production", "sandbox"] | None = None
    subject: str | None = None
    application_server_key: str | None = None


class PushCredentials(Answer, frozen=True, kw_only=True, omit_defaults=False):
    """Of each lane that has credentials."""

    items: list[PushCredential]
