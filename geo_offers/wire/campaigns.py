"""Campaigns as managers write them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from geo_offers.wire.audience import AttributeName, Audience
from geo_offers.wire.base import LINK, Answer, Count, Identifier, Locale, Name, Page, Request


class Text(Request, frozen=True, kw_only=True):
    title: Annotated[str, Meta(min_length=1, max_length=100)]
    body: Annotated[str, Meta(min_length=1, max_length=400)]
    link: Annotated[str, Meta(max_length=2000, pattern=LINK)] | None = None


class FenceSelector(Request, frozen=True, kw_only=True):
    """Exactly one of the three."""

    set: Identifier | None = None
    ids: Annotated[list[str], Meta(min_length=1, max_length=1000)] | None = None
    tags: Annotated[list[str], Meta(min_length=1, max_length=16)] | None = None


class Trigger(Request, frozen=True, kw_only=True):
    on: Literal["enter", "dwell", "exit"]
    fences: FenceSelector


class Schedule(Request, frozen=True, kw_only=True):
    from_: datetime | None = msgspec.field(name="from", default=None)
    until: datetime | None = None


class Window(Request, frozen=True, kw_only=True):
    n: Annotated[int, Meta(ge=1, le=744)]
    unit: Literal["hour", "day", "week", "month"]


class CapRule(Request, frozen=True, kw_only=True):
    limit: Count
    window: Window
    mode: Literal["rolling", "calendar"] = "rolling"
    scope: Literal["user", "user_store", "user_campaign", "user_tag"] = "user_campaign"
    tag: Identifier | None = None


class CampaignBody(Request, frozen=True, kw_only=True):
    name: Name
    objective: Literal["visit", "first_purchase", "return", "lead", "redemption"]
    trigger: Trigger
    texts: Annotated[dict[Locale, Text], Meta(min_length=1, max_length=50)]
    schedule: Schedule = Schedule()
    caps: Annotated[list[CapRule], Meta(max_length=10)] = []
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    holdout: Annotated[float, Meta(ge=0, le=0)] = 0.0
    data: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=500)]], Meta(max_length=16)
    ] = {}
    audience: Audience | None = None
    ask: AttributeName | None = None


class Campaign(CampaignBody, frozen=True, kw_only=True):
    id: UUID
    state: Literal["draft", "submitted", "approved", "paused", "ended"]
    running: bool
    version: int


class CampaignPage(Page, frozen=True, kw_only=True):
    items: list[Campaign]


class Submitted(Answer, frozen=True, kw_only=True):
    state: Literal["submitted", "approved"]
    risk: int
    reasons: list[str]
