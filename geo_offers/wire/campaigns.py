"""Campaigns as managers write them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geo_offers.wire.audience import AttributeName, Audience
from geo_offers.wire.base import LINK, Answer, Identifier, Locale, Name, Page, Request
from geo_offers.wire.breakers import Breaker
from geo_offers.wire.choice import Budget, CapRules, Share
from geo_offers.wire.events import When
from geo_offers.wire.people import QuietHours
from geo_offers.wire.words import BodyText, Plural, TextFields, TitleText


class Text(Request, frozen=True, kw_only=True):
    title: TitleText
    body: BodyText
    link: Annotated[str, Meta(max_length=2000, pattern=LINK)] | None = None
    image: Annotated[str, Meta(max_length=2000, pattern=LINK)] | None = None
    plural: Plural | None = None


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
    hours: Annotated[list[QuietHours], Meta(max_length=50)] = []


class Variant(Request, frozen=True, kw_only=True):
    """One arm of a test: its share of those who are not held out; texts where they are not the campaign's."""

    id: Identifier
    share: Share
    texts: Annotated[dict[Locale, Text], Meta(min_length=1, max_length=50)] | None = None


class Stakes(Request, frozen=True, kw_only=True):
    """What the company promises by it: the discount, and the most that all of it may cost."""

    discount_percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    liability: Annotated[float, Meta(ge=0)] | None = None


class CampaignBody(Request, frozen=True, kw_only=True):
    name: Name
    objective: Literal["visit", "first_purchase", "return", "lead", "redemption"]
    trigger: Trigger
    texts: Annotated[dict[Locale, Text], Meta(min_length=1, max_length=50)]
    fields: TextFields = {}
    schedule: Schedule = Schedule()
    when: When = When()
    caps: CapRules = []
    budget: Budget | None = None
    stakes: Stakes = Stakes()
    value: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    margin: Share = 0.0
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    category: Identifier | None = None
    special: bool = False
    holdout: Share = 0.1
    variants: Annotated[list[Variant], Meta(max_length=8)] = []
    data: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=500)]], Meta(max_length=16)
    ] = {}
    audience: Audience | None = None
    ask: AttributeName | None = None


class Assessment(Answer, frozen=True, kw_only=True):
    """What was found when the campaign was handed in; `approvers` other than its author have to agree."""

    risk: int
    reasons: list[str]
    approvers: int


class Campaign(CampaignBody, frozen=True, kw_only=True):
    id: UUID
    state: Literal["draft", "submitted", "approved", "paused", "ended"]
    running: bool
    version: int
    assessment: Assessment | None = None
    approvals: int = 0
    breaker: Annotated[Breaker | UnsetType, Meta(description="why it paused itself")] = UNSET


class CampaignPage(Page, frozen=True, kw_only=True):
    items: list[Campaign]


class Submitted(Assessment, frozen=True, kw_only=True):
    state: Literal["submitted", "approved"]
