"""Geofences as they are stored: one normalised GeoJSON Feature each, as JSON (`places/importing/rows.py` writes it).

What is read back was checked when it was written: only what would break memory is looked at again, and nothing that
needs a library's shape.
"""

import msgspec

from geo_offers.places.fences import Detect, Geofence, fence_id
from geo_offers.places.geometry import Box
from geo_offers.places.outline import Drawn, Outline, border_outline, boxes_of, outline_of, round_outline
from geo_offers.places.private import Category, private_place


class _Properties(msgspec.Struct):
    name: str
    store: str | None = None
    radius_m: float = 0.0
    tags: tuple[str, ...] = ()
    active: bool = True
    detect: Detect = msgspec.field(default_factory=Detect)


_Position = tuple[float, float]
_Rings = list[list[_Position]]


class _Point(msgspec.Struct, tag="Point"):
    coordinates: _Position


class _Polygon(msgspec.Struct, tag="Polygon"):
    coordinates: _Rings


class _MultiPolygon(msgspec.Struct, tag="MultiPolygon"):
    coordinates: list[_Rings]


class _Feature(msgspec.Struct):
    geometry: _Point | _Polygon | _MultiPolygon
    properties: _Properties


_decoder = msgspec.json.Decoder(_Feature)


def fence_of(set_id: str, external_id: str, version: int, feature: bytes, *, off: bool = False) -> Geofence:
    """The fence that a stored Feature stands for; ValueError where it cannot be one. off: it waits for approval."""
    read = _decoder.decode(feature)
    said = read.properties
    return Geofence(
        id=fence_id(set_id, external_id),
        version=version,
        name=said.name,
        outline=_outline(read.geometry, said.radius_m),
        store=said.store,
        tags=said.tags,
        active=said.active and not off,
        detect=said.detect,
    )


def place_of(ident: str, category: Category, version: int, feature: bytes) -> Geofence:
    """The private place that a stored Feature stands for, as `private_place`; ValueError where it cannot be one."""
    read = _decoder.decode(feature)
    return private_place(ident, version, category, _outline(read.geometry, read.properties.radius_m))


def _outline(geometry: _Point | _Polygon | _MultiPolygon, radius_m: float) -> Outline:
    if isinstance(geometry, _Point):
        lon, lat = geometry.coordinates
        if not (-90 <= lat <= 90 and -180 <= lon <= 180 and radius_m > 0):
            raise ValueError("no circle on the globe")
        return round_outline(lat, lon, radius_m)
    return border_outline([geometry.coordinates] if isinstance(geometry, _Polygon) else geometry.coordinates)


def box_outline(box: Box) -> Outline:
    """The area of a box as `box_of` draws it."""
    south, west, north, east = box
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    return border_outline([[[(a, south), (b, south), (b, north), (a, north), (a, south)]] for a, b in spans])


def box_of(geometry: Drawn) -> Box:
    """One box around the geometry; over the antimeridian its west edge is greater than its east (RFC 7946, 5.2)."""
    boxes = boxes_of(outline_of(geometry))
    min_lat, max_lat = min(box[0] for box in boxes), max(box[2] for box in boxes)
    if len(boxes) == 1:
        return min_lat, boxes[0][1], max_lat, boxes[0][3]
    return min_lat, max(box[1] for box in boxes), max_lat, min(box[3] for box in boxes)
