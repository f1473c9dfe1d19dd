"""Breakers: what was silenced because too many people opted out of it."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from geo_offers.wire.base import Answer, Page, Request


class BreakerRule(Request, frozen=True, kw_only=True):
    """More than `per_1000` opt-outs in 1,000 offers of a week, of `least` at least, and it pauses; 1000 is never."""

    per_1000: Annotated[int, Meta(ge=1, le=1000)] = 100
    least: Annotated[int, Meta(ge=20, le=1_000_000)] = 200


class Breaker(Answer, frozen=True, kw_only=True):
    """Why it is silent: so many opted out of so many offers, more than the bound of `per_1000`."""

    tripped_at: datetime
    offers: int
    opt_outs: int
    per_1000: int


class OpenBreaker(Breaker, frozen=True, kw_only=True):
    kind: Literal["campaign", "store", "fence"]
    id: str


class BreakerPage(Page, frozen=True, kw_only=True):
    items: list[OpenBreaker]
