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
    Request,
    TimeOfDay,
    Zone,
)
from geo_offers.wire.people import QuietHours


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
    audience: AudienceSettings = AudienceSettings()


class WorkspacePatch(Request, frozen=True, kw_only=True):
    time_zone: Zone | UnsetType = UNSET
    place_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] | UnsetType = UNSET
    store_gap_s: Annotated[int, Meta(ge=0, le=2_678_400)] | UnsetType = UNSET
    quiet: Annotated[list[QuietHours], Meta(max_length=20)] | UnsetType = UNSET
    holdout: Annotated[float, Meta(ge=0, le=0)] | UnsetType = UNSET
    age: Literal["vouched", "unknown"] | UnsetType = UNSET
    user_proof: Literal["off", "required"] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    audience: AudienceSettings | UnsetType = UNSET


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
