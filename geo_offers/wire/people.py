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


_EVERY_DAY: list[Day] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def default_quiet() -> list[QuietHours]:
    return [QuietHours(days=list(_EVERY_DAY), start="21:00", end="08:00")]


class Rhythm(Request, frozen=True, kw_only=True):
    """How often this person wants to hear from us. This is the default, in force until they change it."""

    max: Annotated[int, Meta(ge=0, le=1000)] = 2
    per: Literal["day", "week", "month"] | RollingHours = "week"
    min_gap_h: Annotated[float, Meta(ge=0, le=744)] = 24
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] = msgspec.field(default_factory=default_quiet)
