"""Private places, and the approval of geofences that lie over them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from geo_offers.wire.base import Answer, Page, Request, feature_schema

PlaceCategory = Literal["health", "worship", "shelter", "union", "politics", "lgbtq", "school", "correctional", "other"]


class PrivatePlaceState(Answer, frozen=True, kw_only=True):
    """A place where nobody is located."""

    id: str
    category: PlaceCategory
    version: int
    updated_at: datetime
    feature: msgspec.Raw
    waiting: Annotated[
        list[str], Meta(description="geofences that lie over it and are off until they are approved; at most 100")
    ] = []


class PrivatePlacePage(Page, frozen=True, kw_only=True):
    items: list[PrivatePlaceState]


class ApprovalQuery(Request, frozen=True, kw_only=True):
    """The version that the approver has seen: of any other, 409."""

    version: Annotated[int, Meta(ge=1)]


class FenceApproval(Answer, frozen=True, kw_only=True):
    """Of a geofence that lies over private places: it is off while its state is pending."""

    state: Literal["pending", "approved"]
    places: Annotated[list[str], Meta(description="ids of the private places; at most 64")]
    approvals: Annotated[int, Meta(description="of two that it needs, each by another key than its author's")]


PrivateBody = Annotated[
    msgspec.Raw,
    Meta(
        description=(
            "A GeoJSON Feature (RFC 7946): geometry Point, Polygon or MultiPolygon, and the properties "
            "name?, category, radius_m (Point)"
        ),
        extra_json_schema=feature_schema(
            {
                "type": "object",
                "required": ["category"],
                "properties": {
                    "name": {"type": "string"},
                    "radius_m": {"type": "number"},
                    "category": {"type": "string"},
                },
            }
        ),
    ),
]
