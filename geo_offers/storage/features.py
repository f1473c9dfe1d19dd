"""Geofences as they are stored: one normalised GeoJSON Feature each, as JSON (`places/importing/rows.py` writes it).

What is read back was checked when it was written and is not checked again.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from shapely import MultiPolygon, Polygon
from shapely.geometry import shape

from geo_offers.places.fences import Detect, Geofence, fence_id
from geo_offers.places.geometry import Area, Box, Circle, Geometry, bounds

_DEFAULT = Detect()


class _Detect(msgspec.Struct):
    mode: Literal["raw"] = _DEFAULT.mode
    dwell_s: float = _DEFAULT.dwell_s


class _Properties(msgspec.Struct):
    name: str
    store: str | None = None
    radius_m: float = 0.0
    tags: tuple[str, ...] = ()
    active: bool = True
    detect: _Detect = msgspec.field(default_factory=_Detect)


class _Feature(msgspec.Struct):
    geometry: dict[str, Any]
    properties: _Properties


_decoder = msgspec.json.Decoder(_Feature)


def fence_of(set_id: str, external_id: str, version: int, feature: bytes) -> Geofence:
    """The fence that a stored Feature stands for."""
    read = _decoder.decode(feature)
    said = read.properties
    return Geofence(
        id=fence_id(set_id, external_id),
        version=version,
        name=said.name,
        geometry=_geometry(read),
        store=said.store,
        tags=said.tags,
        active=said.active,
        detect=Detect(said.detect.mode, said.detect.dwell_s),
    )


def _geometry(feature: _Feature) -> Geometry:
    if feature.geometry["type"] == "Point":
        lon, lat = feature.geometry["coordinates"]
        return Circle(lat, lon, feature.properties.radius_m)
    outline = shape(feature.geometry)
    assert isinstance(outline, Polygon | MultiPolygon)
    return Area(outline)


def box_of(geometry: Geometry) -> Box:
    """One box around the geometry; over the antimeridian its west edge is greater than its east (RFC 7946, 5.2)."""
    boxes: Sequence[Box] = bounds(geometry)
    min_lat, max_lat = min(box[0] for box in boxes), max(box[2] for box in boxes)
    if len(boxes) == 1:
        return min_lat, boxes[0][1], max_lat, boxes[0][3]
    return min_lat, max(box[1] for box in boxes), max_lat, min(box[3] for box in boxes)
