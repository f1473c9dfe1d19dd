"""The public contract as types: what decodes a request is what the OpenAPI document is made of.

Our own bodies refuse unknown fields. Instants are RFC 3339 text; lengths are metres, speeds metres per second,
angles degrees. Answers omit fields that have nothing to say. (`kw_only` is not inherited: msgspec wants it on each.)
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

# Digits are named: \d takes those of every script. `$` alone would let a line break through.
_LOCALE: Final = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$(?!\n)"
_TIME_OF_DAY: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)"
_END_OF_INTERVAL: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$(?!\n)"
_LINK: Final = r"^https://"
_EVENT_NAMES: Final = r"^[a-z_]{1,32}(,[a-z_]{1,32}){0,19}$(?!\n)"

FORMS: Final[Mapping[str, str]] = {
    _LOCALE: "a locale, such as en or pt-BR",
    _TIME_OF_DAY: "a time of day as HH:MM, 00:00 to 23:59",
    _END_OF_INTERVAL: "a time of day as HH:MM, 00:00 to 24:00",
    _LINK: "an address that begins with https://",
    _EVENT_NAMES: "names of events with commas between, such as decision,delivery",
}
"""What a text that has to match a pattern is, in words."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Locale = Annotated[str, Meta(pattern=_LOCALE, max_length=35)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
TimeOfDay = Annotated[str, Meta(pattern=_TIME_OF_DAY, max_length=5)]
EndOfInterval = Annotated[str, Meta(pattern=_END_OF_INTERVAL, max_length=5)]
PurposeName = Literal["locate", "offers", "profile", "measure"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TransitionName = Literal["enter", "dwell", "exit", "cross"]
TextVersion = Annotated[str, Meta(min_length=1, max_length=64)]


class Request(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A body of ours: unknown fields are refused."""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we answer with."""


class Page(Struct, frozen=True, kw_only=True):
    """One page of a list; `next` is the cursor of the page after, null at the end."""

    next: str | None = None


# ------------------------------------------------------------------------------------------------ errors
class ProblemFault(Answer, frozen=True, kw_only=True):
    pointer: str
    code: str
    detail: str


class ListQuery(Request, frozen=True, kw_only=True):
    """Where a page begins, and how long it is at most (more than 1,000 is taken as 1,000)."""

    cursor: Annotated[str, Meta(max_length=2048)] | None = None
    limit: Annotated[int, Meta(ge=1)] = 100


class Problem(Answer, rename={"kind": "type"}, frozen=True, kw_only=True):
    """RFC 9457; `code` is stable, `detail` is for people."""

    kind: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemFault] = []


# ------------------------------------------------------------------------------------------------ devices and people
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


class Rhythm(Request, frozen=True, kw_only=True):
    """How often this person wants to hear from us. This is the default, in force until they change it."""

    max: Annotated[int, Meta(ge=0, le=1000)] = 2
    per: Literal["day", "week", "month"] | RollingHours = "week"
    min_gap_h: Annotated[float, Meta(ge=0, le=744)] = 24
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] = msgspec.field(default_factory=default_quiet)


# ------------------------------------------------------------------------------------------------ pings
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


class Visit(Answer, frozen=True, kw_only=True):
    id: UUID
    device: UUID
    fence: str
    entered_at: datetime
    confirmed_at: datetime | None = None
    dwelt_at: datetime | None = None
    left_at: datetime | None = None
    closed_by: str | None = None
    label: Literal["stopped", "walked_through", "drove_past"] | None = None
    confidence: float | None = None
    fixes: int | None = None
    accuracy_m: float | None = None


class ExportedDevice(Answer, frozen=True, kw_only=True):
    id: UUID
    platform: str
    created_at: datetime
    push_lane: str | None = None
    push_token: str | None = None


class ExportedEvent(Answer, frozen=True, kw_only=True):
    """What the phone told of an offer."""

    type: str
    at: datetime
    reason: str | None = None


class ExportedOffer(Answer, frozen=True, kw_only=True):
    offer: Offer
    state: str
    events: list[ExportedEvent] = []


class Export(Answer, frozen=True, kw_only=True):
    """Everything we hold about the caller."""

    user: UUID
    created_at: datetime
    external_id: str | None = None
    locale: str
    time_zone: str | None = None
    consents: list[ConsentState]
    rhythm: Rhythm
    muted_campaigns: list[UUID]
    age: str
    devices: list[ExportedDevice]
    visits: list[Visit]
    offers: list[ExportedOffer]
    decisions: list["Decision"]


# ------------------------------------------------------------------------------------------------ workspace and places
class Workspace(Request, frozen=True, kw_only=True):
    """The workspace's own rules; a person's rhythm can only be stricter."""

    time_zone: Zone = "UTC"
    place_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] = 1_800
    store_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] = 86_400
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] = []
    holdout: Annotated[float, Meta(ge=0, le=0)] = 0.0
    age: Literal["vouched", "unknown"] = "vouched"
    user_proof: Literal["off", "required"] = "off"
    paused: bool = False


class WorkspacePatch(Request, frozen=True, kw_only=True):
    time_zone: Zone | UnsetType = UNSET
    place_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] | UnsetType = UNSET
    store_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] | UnsetType = UNSET
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] | UnsetType = UNSET
    holdout: Annotated[float, Meta(ge=0, le=0)] | UnsetType = UNSET
    age: Literal["vouched", "unknown"] | UnsetType = UNSET
    user_proof: Literal["off", "required"] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class WorkspaceState(Workspace, frozen=True, kw_only=True):
    id: UUID
    name: str


class OpeningHours(Request, frozen=True, kw_only=True):
    days: Annotated[list[Day], Meta(min_length=1, max_length=7)]
    start: TimeOfDay
    end: EndOfInterval


class StoreBody(Request, frozen=True, kw_only=True):
    name: Name
    street: Annotated[str, Meta(max_length=200)] | None = None
    hours: Annotated[list[OpeningHours], Meta(max_length=50)] = []
    time_zone: Zone | None = None


class Store(StoreBody, frozen=True, kw_only=True):
    id: str


class StorePage(Page, frozen=True, kw_only=True):
    items: list[Store]


class Feature(Answer, rename={"kind": "type"}, frozen=True, kw_only=True):
    """A geofence as GeoJSON (RFC 7946); coordinates are lon, lat."""

    kind: Literal["Feature"] = "Feature"
    id: str
    geometry: dict[str, Any]
    properties: dict[str, Any]


class GeofenceState(Answer, frozen=True, kw_only=True):
    fence: str
    version: int
    updated_at: datetime
    feature: msgspec.Raw


class GeofencePage(Page, frozen=True, kw_only=True):
    items: list[GeofenceState]


class GeofenceQuery(ListQuery, frozen=True, kw_only=True):
    set: Identifier | None = None
    bbox: Annotated[str, Meta(max_length=200, description="min_lon,min_lat,max_lon,max_lat")] | None = None


FeatureBody = Annotated[
    msgspec.Raw,
    Meta(
        description=(
            "A GeoJSON Feature (RFC 7946): geometry Point, Polygon or MultiPolygon, and the properties "
            "name, store?, radius_m (Point), tags?, active?, detect?: {mode: calibrated or raw, dwell_s, "
            "exit_margin_m, min_confidence, confirm_s, max_speed_mps}"
        ),
        extra_json_schema={
            "type": "object",
            "required": ["type", "geometry", "properties"],
            "properties": {
                "type": {"const": "Feature"},
                "id": {"type": "string"},
                "geometry": {"type": "object"},
                "properties": {"type": "object"},
            },
        },
    ),
]
FeaturesBody = Annotated[
    msgspec.Raw,
    Meta(
        description="A GeoJSON FeatureCollection (RFC 7946) of at most 10,000 features, or one Feature",
        extra_json_schema={
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"enum": ["FeatureCollection", "Feature"]},
                "features": {"type": "array", "items": {"type": "object"}},
            },
        },
    ),
]


class ImportQuery(Request, frozen=True, kw_only=True):
    """How a file is read; `radius_m` is for points that have none of their own."""

    format: Annotated[str, Meta(max_length=32, description="geojson")] = "geojson"
    set: Identifier
    id_property: Identifier | None = None
    name_property: Identifier | None = None
    radius_m: Annotated[float, Meta(ge=25, le=10_000)] | None = None
    mode: Annotated[str, Meta(max_length=32, description="calibrated or raw")] | None = None
    dry_run: bool = True


class ImportRow(Answer, frozen=True, kw_only=True):
    row: int
    status: Literal["new", "changed", "unchanged", "refused"]
    external_id: str | None = None
    pointer: str | None = None
    code: str | None = None
    detail: str | None = None
    notes: list[ProblemFault] = []


class ImportCounts(Struct, frozen=True, kw_only=True):
    new: int
    changed: int
    unchanged: int
    refused: int


class Import(Answer, frozen=True, kw_only=True):
    id: UUID
    set: str
    state: Literal["previewed", "applied", "undone"]
    counts: ImportCounts
    rows: list[ImportRow]
    version: int | None = None


# ------------------------------------------------------------------------------------------------ campaigns
class Text(Request, frozen=True, kw_only=True):
    title: Annotated[str, Meta(min_length=1, max_length=100)]
    body: Annotated[str, Meta(min_length=1, max_length=400)]
    link: Annotated[str, Meta(max_length=2000, pattern=_LINK)] | None = None


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


# ------------------------------------------------------------------------------------------------ decisions
class Gate(Answer, frozen=True, kw_only=True):
    gate: str
    passed: bool
    detail: dict[str, Any]


class DecidedTransition(Answer, frozen=True, kw_only=True):
    type: TransitionName
    fence: str
    at: datetime
    visit: UUID | None = None


class Decision(Answer, frozen=True, kw_only=True):
    """An offer or a silence, with every gate that was asked, in order."""

    id: UUID
    user: str
    at: datetime
    outcome: Literal["offer", "suppressed"]
    reason: str | None = None
    campaign: UUID | None = None
    transitions: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    offer: UUID | None = None
    versions: dict[str, Any]
    ms: dict[str, float]


class DecisionPage(Page, frozen=True, kw_only=True):
    items: list[Decision]


class DecisionQuery(ListQuery, frozen=True, kw_only=True):
    """`user` is our id of the person or the app's own name for them; searching by it is audited."""

    campaign: UUID | None = None
    reason: Identifier | None = None
    user: Identifier | None = None
    since: datetime | None = None
    until: datetime | None = None


class LiveQuery(Request, frozen=True, kw_only=True):
    types: Annotated[str, Meta(pattern=_EVENT_NAMES, max_length=700)] | None = None


# ------------------------------------------------------------------------------------------------ push gateway
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
