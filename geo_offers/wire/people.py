"""Devices, tokens, consent, and the rhythm that a person chooses."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from geo_offers.wire.base import (
    Answer,
    Day,
    EndOfInterval,
    Identifier,
    Locale,
    Page,
    PurposeName,
    Request,
    TextVersion,
    TimeOfDay,
    Zone,
)
from geo_offers.wire.consents import Agreed


class PushKeys(Request, frozen=True, kw_only=True):
    """A browser's subscription's `keys`, base64url."""

    p256dh: Annotated[str, Meta(min_length=1, max_length=128)]
    auth: Annotated[str, Meta(min_length=1, max_length=64)]


class PushAddress(Request, frozen=True, kw_only=True):
    """Where a phone takes push. Of `webpush` the token is the subscription's endpoint, and `keys` belong to it.

    `at`: when the system gave the phone its token; now, where it is not said.
    """

    lane: Literal["webhook", "log", "fcm", "apns", "webpush"]
    token: Annotated[str, Meta(min_length=1, max_length=4096)]
    keys: PushKeys | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None


class Enrolment(Request, frozen=True, kw_only=True):
    """A phone introduces itself; `user` is the app's own name for the person."""

    user: Identifier | None = None
    user_proof: Annotated[str, Meta(max_length=128)] | None = None
    platform: Literal["ios", "android", "web", "other"]
    push: PushAddress | None = None
    locale: Locale | None = None
    time_zone: Zone | None = None
    age: Literal["adult", "minor", "unknown"] | None = None
    consents: Mapping[PurposeName, TextVersion | Agreed] = {}


class Enrolled(Answer, frozen=True, kw_only=True):
    device: UUID
    user: UUID
    access_token: str
    expires_in: int
    refresh_token: str


class TokenRequest(Request, frozen=True, kw_only=True):
    refresh_token: Annotated[str, Meta(max_length=256)]


class Tokens(Answer, frozen=True, kw_only=True):
    access_token: str
    expires_in: int
    refresh_token: str


class PreferenceLink(Answer, frozen=True, kw_only=True):
    """Where the person sees and changes what they allow. The address is a secret of theirs, good for `expires_in` s."""

    url: str
    expires_in: int


class ConsentState(Answer, frozen=True, kw_only=True):
    """The newest word on a purpose. `seq` numbers its row in the workspace's ledger."""

    purpose: PurposeName
    granted: bool
    text_version: str
    at: datetime
    seq: int | None = None


class ConsentPage(Page, frozen=True, kw_only=True):
    items: list[ConsentState]


class RollingHours(Request, frozen=True, kw_only=True):
    hours: Annotated[int, Meta(ge=1, le=744)]


class QuietHours(Request, frozen=True, kw_only=True):
    days: Annotated[list[Day], Meta(min_length=1, max_length=7)]
    start: TimeOfDay
    end: EndOfInterval


class NotAt(Request, frozen=True, kw_only=True):
    """A place where the person is not to be located."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    radius_m: Annotated[float, Meta(ge=50, le=50_000)]


_EVERY_DAY: list[Day] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def default_quiet() -> list[QuietHours]:
    return [QuietHours(days=list(_EVERY_DAY), start="21:00", end="08:00")]


def default_channels() -> list[Literal["push", "inapp"]]:
    return ["push", "inapp"]


Per = Literal["day", "week", "month"] | RollingHours
Channel = Literal["push", "inapp"]


class SpecialBudget(Request, frozen=True, kw_only=True):
    """How many special offers may go past `max`, in a window of their own."""

    allow: bool = True
    max: Annotated[int, Meta(ge=0, le=1000)] = 1
    per: Per = "month"


class Mutes(Request, frozen=True, kw_only=True):
    """What the person wants to hear nothing of. A fence without a store is a store of its own, `set/id`."""

    stores: Annotated[list[Annotated[str, Meta(min_length=1, max_length=257)]], Meta(max_length=200)] = []
    categories: Annotated[list[Identifier], Meta(max_length=100)] = []
    campaigns: Annotated[list[UUID], Meta(max_length=500)] = []


class Rhythm(Request, frozen=True, kw_only=True):
    """How often this person wants to hear from us. This is the default, in force until they change it."""

    max: Annotated[int, Meta(ge=0, le=1000)] = 2
    per: Per = "week"
    min_gap_h: Annotated[float, Meta(ge=0, le=744)] = 24
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] = msgspec.field(default_factory=default_quiet)
    special: SpecialBudget = SpecialBudget()
    channels: Annotated[
        list[Channel], Meta(max_length=2, description="the first that the device can take alerts; none: no offers")
    ] = msgspec.field(default_factory=default_channels)
    mute: Mutes = Mutes()
    locate: Annotated[
        Literal["off", "foreground", "always", "coarse"],
        Meta(description="when pings are looked at: never, with `foreground` true, always; coarse: for no fence"),
    ] = "always"
    not_at: (
        Annotated[
            list[NotAt],
            Meta(max_length=20, description="pings from there are not looked at; told to who may speak for the person"),
        ]
        | msgspec.UnsetType
    ) = []
