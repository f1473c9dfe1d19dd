"""GeoJSON geometries: from untrusted JSON to an exact geometry, or to the place and kind of each fault.

Stages, each only after the one before is clean: shape of the JSON and its counts (nothing is computed on a geometry
that is too large), numbers and ranges, rings, and last the outline as a whole (`outline.py`). Mended without asking,
and noted: repeated points, winding, in imports an altitude.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from geo_offers.places.geometry import Area, Circle, Geometry
from geo_offers.places.importing.findings import Findings, echo, token
from geo_offers.places.importing.outline import Position, Ring, Rings, build_shape, pointer_of

MAX_VERTICES = 2_000
"""Of all rings together; the position that closes a ring is not one."""
MANY_VERTICES = 500
MAX_RINGS = 100
MIN_RADIUS_M = 25.0
SMALL_RADIUS_M = 100.0
MAX_RADIUS_M = 10_000.0

KINDS = {"Point": "circle", "Polygon": "area", "MultiPolygon": "area"}
OTHER_KINDS = frozenset({"LineString", "MultiPoint", "MultiLineString", "GeometryCollection"})
MEMBERS = frozenset({"type", "coordinates", "bbox"})
MEMBERS_OF_OTHERS = frozenset({"geometry", "geometries", "properties", "features"})


class Checked(msgspec.Struct, frozen=True):
    """A geometry that holds, and its normal form in GeoJSON, which is what is stored."""

    geometry: Geometry
    geojson: dict[str, Any]


def check_geometry(
    value: object, radius_m: object, radius_pointer: str, *, strict: bool, findings: Findings
) -> Checked | None:
    """Check a geometry object; None when faults were added. `radius_m` is only looked at for a Point.

    `findings` must be fresh: a stage that finds faults ends the check.
    """
    if not isinstance(value, dict):
        if value is None:
            findings.fault("/geometry", "missing", "the feature has no geometry; give a Point, Polygon or MultiPolygon")
        else:
            findings.fault("/geometry", "type", f"{echo(value)} is not a geometry; write an object with a type")
        return None
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        known = isinstance(kind, str) and kind in OTHER_KINDS
        wrong = f"{kind} cannot be a fence" if known else f"{echo(kind)} is not a geometry type"
        code = "unsupported" if known else "type"
        findings.fault("/geometry/type", code, f"{wrong}; use Point, Polygon or MultiPolygon")
        return None
    _check_members(value, strict=strict, findings=findings)
    if "coordinates" not in value:
        findings.fault("/geometry/coordinates", "missing", "the geometry has no coordinates; add them as lon, lat")
    if findings.faults:
        return None
    if kind == "Point":
        return _check_point(value["coordinates"], radius_m, radius_pointer, strict=strict, findings=findings)
    return _check_area(kind, value["coordinates"], strict=strict, findings=findings)


def _check_members(value: dict[str, Any], *, strict: bool, findings: Findings) -> None:
    for name in value:
        if name in MEMBERS_OF_OTHERS:
            pointer = f"/geometry/{token(name)}"
            findings.fault(pointer, "unknown", "a geometry cannot have this member (RFC 7946, 7.1); remove it")
        elif name not in MEMBERS and strict:
            findings.fault(f"/geometry/{token(name)}", "unknown", "a geometry has no such member; remove it")


def _check_point(
    value: object, radius_m: object, radius_pointer: str, *, strict: bool, findings: Findings
) -> Checked | None:
    altitudes: list[str] = []
    centre = _position(value, "/geometry/coordinates", altitudes, strict=strict, findings=findings)
    radius = check_radius(radius_m, radius_pointer, findings)
    if centre is None or radius is None:
        return None
    _note_altitudes(altitudes, findings)
    lon, lat = centre
    return Checked(Circle(lat, lon, radius), {"type": "Point", "coordinates": [lon, lat]})


def check_radius(value: object, pointer: str, findings: Findings) -> float | None:
    """Check the radius of a circle in metres; None when a fault was added."""
    if value is None:
        findings.fault(pointer, "missing", "a Point needs a radius; give properties.radius_m in metres")
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        findings.fault(pointer, "type", f"{echo(value)} is not a number; give the radius in metres")
        return None
    if not MIN_RADIUS_M <= value <= MAX_RADIUS_M:
        findings.fault(
            pointer,
            "radius",
            f"a radius of {echo(value)} m cannot be used; choose one from {MIN_RADIUS_M:.0f} to {MAX_RADIUS_M:.0f} m",
        )
        return None
    if value < SMALL_RADIUS_M:
        findings.note(pointer, "small_radius", "under 100 m phones miss arrivals; prefer a radius of 150 m or more")
    return float(value)


def _check_area(kind: str, value: object, *, strict: bool, findings: Findings) -> Checked | None:
    single = kind == "Polygon"
    raw = [value] if single else value
    if not _counted(raw, single=single, findings=findings):
        return None
    assert isinstance(raw, list)
    altitudes: list[str] = []
    polygons: list[Rings] = []
    for number, rings in enumerate(raw):
        at = pointer_of(number, single=single)
        read = [
            _ring(ring, f"{at}/{each}", altitudes, strict=strict, findings=findings) for each, ring in enumerate(rings)
        ]
        polygons.append([ring for ring in read if ring is not None])
    if findings.faults:
        return None
    _note_altitudes(altitudes, findings)
    shape = build_shape(polygons, single=single, findings=findings)
    if shape is None:
        return None
    coordinates = [[[list(position) for position in ring] for ring in rings] for rings in polygons]
    return Checked(Area(shape), {"type": kind, "coordinates": coordinates[0] if single else coordinates})


def _counted(raw: object, *, single: bool, findings: Findings) -> bool:
    """Check that the arrays nest as they should and are not too many, without looking at any number."""
    if not isinstance(raw, list) or not raw:
        findings.fault("/geometry/coordinates", "type", "a MultiPolygon is an array of polygons; give at least one")
        return False
    vertices = rings_in_all = 0
    for number, rings in enumerate(raw):
        at = pointer_of(number, single=single)
        if not isinstance(rings, list) or not rings:
            findings.fault(at, "type", "a polygon is an array of rings; give at least the outer one")
            return False
        rings_in_all += len(rings)
        if rings_in_all > MAX_RINGS:
            detail = f"the shape has more than {MAX_RINGS} rings; simplify it or split it into several fences"
            findings.fault("/geometry/coordinates", "too_many_rings", detail)
            return False
        for each, ring in enumerate(rings):
            if not isinstance(ring, list) or (ring and not isinstance(ring[0], list)):
                findings.fault(f"{at}/{each}", "type", "a ring is an array of positions; nest the arrays one deeper")
                return False
            vertices += max(0, len(ring) - 1)
    if vertices > MAX_VERTICES:
        detail = f"the shape has {vertices} vertices; simplify it to {MAX_VERTICES} or fewer"
        findings.fault("/geometry/coordinates", "too_many_vertices", detail)
        return False
    if vertices > MANY_VERTICES:
        detail = f"the shape has {vertices} vertices; {MANY_VERTICES} are enough for a fence"
        findings.note("/geometry/coordinates", "many_vertices", detail)
    return True


def _position(
    value: object, pointer: str, altitudes: list[str], *, strict: bool, findings: Findings
) -> Position | None:
    if not isinstance(value, list) or len(value) < 2:
        findings.fault(pointer, "type", f"{echo(value)} is not a position; write [lon, lat]")
        return None
    for number, part in enumerate(value[:3]):
        if not isinstance(part, (int, float)) or isinstance(part, bool):
            findings.fault(f"{pointer}/{number}", "type", f"{echo(part)} is not a number; write degrees as a number")
            return None
    if len(value) > 3 or (strict and len(value) > 2):
        detail = f"a position has {len(value)} numbers; send lon and lat only"
        findings.fault(pointer, "dimensions", detail)
        return None
    lon, lat = value[:2]
    if not -90 <= lat <= 90:
        hint = "lat and lon look swapped, write lon first" if -90 <= lon <= 90 else "write [lon, lat] in degrees"
        findings.fault(f"{pointer}/1", "out_of_range", f"lat {echo(lat)} is outside -90..90; {hint}")
        return None
    if not -180 <= lon <= 180:
        hint = "past the antimeridian go on from -180 and split the shape there (RFC 7946, 3.1.9)"
        findings.fault(f"{pointer}/0", "out_of_range", f"lon {echo(lon)} is outside -180..180; {hint}")
        return None
    if len(value) == 3:
        altitudes.append(pointer)
    return float(lon), float(lat)


def _note_altitudes(altitudes: Sequence[str], findings: Findings) -> None:
    if altitudes:
        detail = f"{len(altitudes)} positions had an altitude, which was left out; fences are flat"
        findings.note(altitudes[0], "altitude_dropped", detail)


def _plain(value: list[Any]) -> Ring | None:
    """As `_position` of each where nothing is to be said of any, all at once; else None."""
    try:
        ring = msgspec.convert(value, Ring)
        lon, lat = zip(*ring, strict=True)
    except ValueError:  # also of an empty ring
        return None
    return ring if min(lon) >= -180 and max(lon) <= 180 and min(lat) >= -90 and max(lat) <= 90 else None


def _ring(value: list[Any], pointer: str, altitudes: list[str], *, strict: bool, findings: Findings) -> Ring | None:
    """Read a ring: closed, at least four positions, repeated points taken out."""
    ring = _plain(value)
    if ring is None:
        ring = []
        for number, raw in enumerate(value):
            position = _position(raw, f"{pointer}/{number}", altitudes, strict=strict, findings=findings)
            if position is None:
                return None
            ring.append(position)
    if len(ring) < 4:
        findings.fault(
            pointer, "too_few_points", f"a ring has {len(ring)} positions; it needs 4, the last like the first"
        )
        return None
    if ring[0] != ring[-1]:
        findings.fault(
            f"{pointer}/{len(ring) - 1}", "not_closed", "the ring is open; repeat its first position at the end"
        )
        return None
    distinct = [position for position, _ in itertools.groupby(ring)]
    if len(distinct) < 4:
        findings.fault(pointer, "zero_area", "the ring has fewer than three different points; draw an area")
        return None
    if len(distinct) < len(ring):
        detail = f"{len(ring) - len(distinct)} repeated points were taken out; nothing is left to do"
        findings.note(pointer, "repeated_points", detail)
    return distinct
