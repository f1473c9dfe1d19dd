"""Devices, tokens, consent, and the rhythm that a person chooses."""

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


class PushAddress(Request, frozen=True, kw_only=True):
    lane: Literal["webhook", "log"]
    token: Annotated[str, Meta(min_length=1, max_length=4096)]


class Enrolment(Request, frozen=True, kw_only=True):
    """A phone introduces itself; `user` is the app's own name for the person."""

    user: Identifier | None = None
    user_proof: Annotated[str, Meta(max_length=128)] | None = None
    platform: Literal["ios", "android", "web", "other"]
    push: PushAddress | None = None
    locale: Locale | None = None
    time_zone: Zone | None = None
    age: Literal["adult", "minor", "unknown"] | None = None
    consents: dict[PurposeName, TextVersion] = {}


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


class ConsentChange(Request, frozen=True, kw_only=True):
    granted: bool
    text_version: TextVersion


class ConsentState(Answer, frozen=True, kw_only=True):
    purpose: PurposeName
    granted: bool
    text_version: str
    at: datetime


class ConsentPage(Page, frozen=True, kw_only=True):
    items: list[ConsentState]


class RollingHours(Request, frozen=True, kw_only=True):
    hours: Annotated[int, Meta(ge=1, le=744)]


class QuietHours(Request, frozen=True, kw_only=True):
    days: Annotated[list[Day], Meta(min_length=1, max_length=7)]
    start: TimeOfDay
    end: EndOfInterval


_EVERY_DAY: list[Day] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def default_quiet() -> list[QuietHours]:
    return [QuietHours(days=list(_EVERY_DAY), start="21:00", end="08:00")]


class SpecialBudget(Request, frozen=True, kw_only=True):
    allow: bool = True
    max: Annotated[int, Meta(ge=0, le=1000)] = 1
    per: Literal["day", "week", "month"] | RollingHours = "month"


class Mutes(Request, frozen=True, kw_only=True):
    stores: Annotated[list[Annotated[str, Meta(min_length=1, max_length=257)]], Meta(max_length=200)] = []
    categories: Annotated[list[Identifier], Meta(max_length=100)] = []
    campaigns: Annotated[list[UUID], Meta(max_length=500)] = []


class NotAt(Request, frozen=True, kw_only=True):
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    radius_m: Annotated[float, Meta(ge=50, le=50000)]


class Rhythm(Request, frozen=True, kw_only=True):
    """How often this person wants to hear from us. This is the default, in force until they change it."""

    max: Annotated[int, Meta(ge=0, le=1000)] = 2
    per: Literal["day", "week", "month"] | RollingHours = "week"
    min_gap_h: Annotated[float, Meta(ge=0, le=744)] = 24
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] = msgspec.field(default_factory=default_quiet)
    special: SpecialBudget = SpecialBudget()
    channels: Annotated[list[Literal["push", "inapp"]], Meta(max_length=2)] = msgspec.field(
        default_factory=lambda: ["push", "inapp"]
    )
    mute: Mutes = Mutes()
    locate: Literal["off", "foreground", "always", "coarse"] = "always"
    not_at: Annotated[list[NotAt], Meta(max_length=20)] = []
