"""What managers set of the choice among offers: caps, budgets, how candidates are weighed."""

from typing import Annotated, Literal

from msgspec import Meta

from geo_offers.wire.base import Count, Identifier, Request

Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=100)]


class Window(Request, frozen=True, kw_only=True):
    n: Annotated[int, Meta(ge=1, le=744)]
    unit: Literal["hour", "day", "week", "month"]


class CapRule(Request, frozen=True, kw_only=True):
    limit: Count
    window: Window
    mode: Literal["rolling", "calendar"] = "rolling"
    scope: Literal["user", "user_store", "user_campaign", "user_tag"] = "user_campaign"
    tag: Identifier | None = None


CapRules = Annotated[list[CapRule], Meta(max_length=10)]


class Budget(Request, frozen=True, kw_only=True):
    """At most so many offers, at all and in a day of the store's zone, a campaign's in one of the workspace's."""

    total: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    per_day: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None


class Ranking(Request, frozen=True, kw_only=True):
    """How much each term of a candidate's score counts."""

    value: Weight = 1.0
    margin: Weight = 1.0
    fit: Weight = 1.0
    expiry: Weight = 0.5
    fatigue: Weight = 1.0
