"""Positions in, transitions and offers out, and what the phone does until its next ping."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from geo_offers.wire.base import Answer, Page, Request, TransitionName


class Ping(Request, frozen=True, kw_only=True):
    """One position (`lat`, `lon`), or what the phone's own region monitoring saw (`region`, `event`)."""

    at: Annotated[str, Meta(max_length=64)]
    lat: float | None = None
    lon: float | None = None
    accuracy_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    mock: bool | None = None
    foreground: bool | None = None
    id: Annotated[str, Meta(max_length=128)] | None = None
    device: UUID | None = None
    region: Annotated[str, Meta(max_length=257)] | None = None
    event: Literal["enter", "leave"] | None = None


class Pings(Request, frozen=True, kw_only=True):
    pings: Annotated[list[Ping], Meta(min_length=1, max_length=1000)]


NextWish = Literal["regions", "radius", "ios", "android", "none"]


class PingsQuery(Request, frozen=True, kw_only=True):
    """What a phone wants in `next`."""

    next: Annotated[
        NextWish,
        Meta(
            description=(
                "regions: the 20 nearest fences; ios: the 18 nearest and a refresh circle; android: the 99 nearest "
                "and a refresh circle; radius: no regions; none: no `next`"
            )
        ),
    ] = "regions"


PointStatus = Literal["accepted", "late", "duplicate", "refused"]
PointRefusal = Literal[
    "out_of_range",
    "bad_time",
    "future",
    "too_old",
    "unknown_device",
    "consent_required",
    "rate",
    "unknown_region",
    "age",
]


class PointResult(Answer, frozen=True, kw_only=True):
    status: PointStatus
    reason: PointRefusal | None = None


class TransitionSeen(Answer, frozen=True, kw_only=True):
    type: TransitionName
    fence: str
    at: datetime
    confidence: Annotated[float, Meta(ge=0, le=1)]
    device: UUID | None = None


class Region(Answer, frozen=True, kw_only=True, gc=False):
    """A circle that encloses a fence, for the phone's own monitoring."""

    fence: str
    lat: float
    lon: float
    radius_m: float
    exact: Annotated[bool, Meta(description="whether the circle is the fence itself")] = False


class RefreshRegion(Answer, frozen=True, kw_only=True):
    """A circle around the phone, to be watched beside the regions: no other fence's border can be reached within it."""

    lat: float
    lon: float
    radius_m: float


class Next(Answer, frozen=True, kw_only=True):
    """Until when and how far the phone may sleep, and what to watch meanwhile; `pause_s` when nothing is live."""

    safe_radius_m: Annotated[float, Meta(description="no fence border can be reached within it")]
    check_after_s: Annotated[float, Meta(description="from the newest fix on; then look where the phone is")]
    send_after_s: Annotated[float, Meta(description="from the newest fix on; then send a fix wherever it is")]
    regions: Annotated[list[Region], Meta(description="nearest border first")]
    refresh: RefreshRegion | None = None
    pause_s: float | None = None


class Offer(Answer, frozen=True, kw_only=True):
    id: UUID
    campaign: UUID
    fence: str
    title: str
    body: str
    lane: str
    alert: Annotated[bool, Meta(description="true only where the phone should show it now")]
    created_at: datetime
    expires_at: datetime
    link: str | None = None
    data: dict[str, str] | None = None


class PingsAnswer(Answer, frozen=True, kw_only=True):
    results: list[PointResult]
    transitions: list[TransitionSeen]
    offers: list[Offer]
    next: Next | None = None
    seq: int | None = None


class StreamAuth(Request, tag_field="type", tag="auth", frozen=True, kw_only=True):
    token: Annotated[str, Meta(max_length=512)]


class StreamShown(Request, tag_field="type", tag="shown", frozen=True, kw_only=True):
    offer: UUID


class OfferPage(Page, frozen=True, kw_only=True):
    items: list[Offer]


class OfferEvent(Request, frozen=True, kw_only=True):
    type: Literal["shown", "opened", "dismissed", "muted"]
    reason: Literal["not_now", "too_many", "not_for_me", "wrong_place"] | None = None
