"""The workspace and its rules, stores, geofences, imports."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from geo_offers.wire.audience import AudienceSettings
from geo_offers.wire.base import (
    Answer,
    Day,
    EndOfInterval,
    Identifier,
    ListQuery,
    Name,
    Page,
    ProblemFault,
    PurposeName,
    Request,
    TimeOfDay,
    Zone,
    feature_schema,
)
from geo_offers.wire.breakers import Breaker, BreakerRule
from geo_offers.wire.choice import Budget, CapRules, Ranking, Share
from geo_offers.wire.consents import ConsentTexts
from geo_offers.wire.events import Country, Embargo
from geo_offers.wire.private import FenceApproval

Categories = Annotated[list[Identifier], Meta(max_length=100, description="what stores and campaigns may be of")]


class LegalQuiet(Request, frozen=True, kw_only=True):
    """When nobody may be alerted, on their own clock: days of the week, public holidays of a region (`FR`, `DE-BY`)."""

    days: Annotated[list[Day], Meta(min_length=1, max_length=7)] | UnsetType = UNSET
    holidays: Annotated[str, Meta(min_length=2, max_length=64)] | UnsetType = UNSET
    start: TimeOfDay = "00:00"
    end: EndOfInterval = "24:00"


class BackOff(Request, frozen=True, kw_only=True):
    """`after` offers in a row without an answer double a person's gap, up to `most` times what they asked for."""

    after: Annotated[int, Meta(ge=1, le=100)] = 3
    most: Annotated[int, Meta(ge=1, le=256)] = 8


class Workspace(Request, frozen=True, kw_only=True):
    """The workspace's own rules; a person's rhythm can only be stricter."""

    time_zone: Zone = "UTC"
    place_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] = 1_800
    store_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] = 86_400
    quiet: Annotated[list[LegalQuiet], Meta(max_length=20)] = []
    holdout: Share = 0.03
    caps: CapRules = []
    ranking: Ranking = Ranking()
    age: Literal["vouched", "unknown"] = "vouched"
    user_proof: Literal["off", "required"] = "off"
    paused: bool = False
    categories: Categories = []
    consent_texts: dict[PurposeName, ConsentTexts] = {}
    back_off: BackOff = BackOff()
    breaker: BreakerRule = BreakerRule()
    embargo: Embargo = Embargo()
    audience: AudienceSettings = AudienceSettings()


class WorkspacePatch(Request, frozen=True, kw_only=True):
    time_zone: Zone | UnsetType = UNSET
    place_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] | UnsetType = UNSET
    store_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] | UnsetType = UNSET
    quiet: Annotated[list[LegalQuiet], Meta(max_length=20)] | UnsetType = UNSET
    holdout: Share | UnsetType = UNSET
    caps: CapRules | UnsetType = UNSET
    ranking: Ranking | UnsetType = UNSET
    age: Literal["vouched", "unknown"] | UnsetType = UNSET
    user_proof: Literal["off", "required"] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    categories: Categories | UnsetType = UNSET
    consent_texts: dict[PurposeName, ConsentTexts] | UnsetType = UNSET
    back_off: BackOff | UnsetType = UNSET
    breaker: BreakerRule | UnsetType = UNSET
    embargo: Embargo | UnsetType = UNSET
    audience: AudienceSettings | UnsetType = UNSET


class WorkspaceState(Workspace, frozen=True, kw_only=True):
    id: UUID
    name: str


class OpeningHours(Request, frozen=True, kw_only=True):
    days: Annotated[list[Day], Meta(min_length=1, max_length=7)]
    start: TimeOfDay
    end: EndOfInterval


OsmHours = Annotated[
    str, Meta(min_length=1, max_length=1_000, description="as OpenStreetMap writes them: Mo-Sa 10:00-19:00; PH off")
]


class StoreBody(Request, frozen=True, kw_only=True):
    """`hours`: none are always. `holidays`: the country whose public holidays `PH` means."""

    name: Name
    street: Annotated[str, Meta(max_length=200)] | None = None
    hours: Annotated[list[OpeningHours], Meta(max_length=50)] | OsmHours = []
    holidays: Country | None = None
    time_zone: Zone | None = None
    category: Identifier | None = None
    caps: CapRules = []
    budget: Budget | None = None


class Store(StoreBody, frozen=True, kw_only=True):
    """While it is `paused`, or too many opted out (`breaker`), nothing is offered here."""

    id: str
    paused: bool = False
    breaker: Breaker | UnsetType = UNSET


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
    approval: FenceApproval | None = None


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
        extra_json_schema=feature_schema({"type": "object"}),
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
