"""Outlines of areas: rings of positions to a shape that bounds one area, or to the place where they contradict.

First the Earth's edges (antimeridian, poles, half the globe), then what the outline does (crossings, holes, thinness).
Winding is mended and noted. Nothing else is: a shape that contradicts itself is its author's to decide on, and the
library's make_valid takes minutes on a hostile one.
"""

import itertools
import math
import re
from typing import TypeAlias

import shapely
from shapely import MultiPolygon, Polygon

from geo_offers.places.importing.findings import Findings

MIN_WIDTH_M = 1.0
"""Mean width, twice the area by the outline's length. No phone can tell that it is inside of less."""
FULL_BOX_M2 = 1e9
MIN_BOX_SHARE = 1e-3
"""A shape in a box of over 1,000 km2 must fill this share of it; less is a thread drawn by mistake."""

METRES_PER_DEGREE = 111_195.0
HEMISPHERE_SR = 2 * math.pi
HEMISPHERE_DEG2 = math.degrees(math.degrees(HEMISPHERE_SR))
"""No shape of fewer square degrees covers half the Earth, as a square degree is largest at the equator."""

Position: TypeAlias = tuple[float, float]
Ring: TypeAlias = list[Position]
Rings: TypeAlias = list[Ring]

REASON = re.compile(r"^(?P<what>[^\[]+)\[(?P<x>\S+) (?P<y>\S+)\]$")


def build_shape(polygons: list[Rings], *, single: bool, findings: Findings) -> Polygon | MultiPolygon | None:
    """Check and join rings (x = lon, y = lat; closed, no repeated points); winds them in place. None: faults added."""
    for number, rings in enumerate(polygons):
        for each, ring in enumerate(rings):
            _check_earth(ring, f"{pointer_of(number, single=single)}/{each}", findings)
    parts: list[Polygon] = []
    for number, rings in enumerate(polygons):
        if findings.faults:
            return None
        parts += _part(rings, pointer_of(number, single=single), findings)
    if findings.faults:
        return None
    shape = parts[0] if single else MultiPolygon(parts)
    if not single and not _holds(shape, pointer_of(0, single=True), "part", findings):
        return None
    if shape.area > HEMISPHERE_DEG2 and sum(abs(_area_sr(rings[0])) for rings in polygons) > HEMISPHERE_SR:
        findings.fault("/geometry", "hemisphere", "the shape is larger than half the Earth; draw a smaller one")
        return None
    return shape


def pointer_of(number: int, *, single: bool) -> str:
    """Point to a polygon's array of rings."""
    return "/geometry/coordinates" if single else f"/geometry/coordinates/{number}"


def _check_earth(ring: Ring, pointer: str, findings: Findings) -> None:
    """Refuse a ring that steps over the antimeridian (it may touch it), or goes around or touches a pole."""
    if any(abs(lat) == 90 for _, lat in ring):
        findings.fault(pointer, "pole", "the outline touches a pole, where it has no inside; end it before the pole")
        return
    around = 0.0
    wide: int | None = None
    for number, ((lon0, _), (lon1, _)) in enumerate(itertools.pairwise(ring)):
        step = lon1 - lon0
        if abs(step) > 180:
            wide = number if wide is None else wide
            step -= math.copysign(360, step)
        around += step
    if abs(around) > 180:
        findings.fault(pointer, "pole", "the outline goes around a pole; draw the shape without the pole")
    elif wide is not None:
        lon0, lon1 = ring[wide][0], ring[wide + 1][0]
        detail = (
            f"the edge from lon {lon0} to {lon1} spans more than 180 degrees; "
            "split the shape at the antimeridian into a MultiPolygon (RFC 7946, 3.1.9)"
        )
        findings.fault(f"{pointer}/{wide + 1}", "antimeridian", detail)


def _area_sr(ring: Ring) -> float:
    """Signed area on the unit sphere of a ring with edges straight in lon and lat; counter-clockwise is positive."""
    total = 0.0
    for (lon0, lat0), (lon1, lat1) in itertools.pairwise(ring):
        phi0, phi1 = math.radians(lat0), math.radians(lat1)
        flat = abs(phi1 - phi0) < 1e-9
        mean = math.sin((phi0 + phi1) / 2) if flat else (math.cos(phi0) - math.cos(phi1)) / (phi1 - phi0)
        total -= math.radians(lon1 - lon0) * mean
    return total


def _part(rings: Rings, pointer: str, findings: Findings) -> list[Polygon]:
    """Check that the rings of one polygon bound one area: it, or nothing when faults were added."""
    lines = [shapely.linearrings(ring) for ring in rings]
    for number, hull in enumerate(shapely.convex_hull(lines)):
        if hull.area == 0:
            findings.fault(f"{pointer}/{number}", "zero_area", "the ring's points lie on one line; draw an area")
            return []
    backwards = [number for number, ccw in enumerate(shapely.is_ccw(lines).tolist()) if ccw is not (number == 0)]
    for number in backwards:  # RFC 7946, 3.1.6: the outer ring runs counter-clockwise, holes clockwise
        rings[number].reverse()
        lines[number] = shapely.linearrings(rings[number])
    part = shapely.polygons(lines[0], lines[1:] or None)
    if not _holds(part, pointer, "hole", findings) or not _wide_enough(part, pointer, findings):
        return []
    if backwards:
        detail = f"{len(backwards)} rings ran the wrong way and were turned; nothing is left to do"
        findings.note(pointer, "rewound", detail)
    return [part]


def _holds(shape: Polygon | MultiPolygon, pointer: str, inner: str, findings: Findings) -> bool:
    """Check validity in the OGC sense; a fault names the place of the first contradiction."""
    reason = shapely.is_valid_reason(shape)
    if reason == "Valid Geometry":
        return True
    found = REASON.match(reason)
    what, place = (found["what"], f"lon {found['x']}, lat {found['y']}") if found else (reason, "some point")
    code, sentence = _contradictions(inner).get(
        what, ("invalid_shape", f"the shape contradicts itself ({what.lower()}) at {{}}; redraw it there")
    )
    findings.fault(pointer, code, sentence.format(place))
    return False


def _contradictions(inner: str) -> dict[str, tuple[str, str]]:
    """By the library's words. The rings of one polygon are clean before several polygons are looked at."""
    crossing = (
        ("self_intersection", "the outline crosses or touches itself at {}; redraw it without the crossing")
        if inner == "hole"
        else ("parts_overlap", "two polygons overlap or share an edge at {}; merge them into one")
    )
    return {
        "Self-intersection": crossing,
        "Ring Self-intersection": crossing,
        "Hole lies outside shell": ("hole_outside", "a hole lies outside of its polygon at {}; remove it"),
        "Holes are nested": ("holes_overlap", "a hole lies within another hole at {}; keep one of them"),
        "Nested shells": ("parts_overlap", "a polygon lies within another at {}; keep one of them"),
        "Interior is disconnected": ("holes_overlap", "holes cut the area apart at {}; split it into polygons"),
        "Duplicate Rings": ("holes_overlap", "two rings are the same at {}; keep one of them"),
    }


def _wide_enough(part: Polygon, pointer: str, findings: Findings) -> bool:
    """Refuse threads: too thin to be in, or a box of a country around next to nothing."""
    min_lon, min_lat, max_lon, max_lat = part.bounds
    shrink = math.cos(math.radians((min_lat + max_lat) / 2))
    area_m2 = part.area * METRES_PER_DEGREE**2 * shrink
    box_m2 = (max_lon - min_lon) * (max_lat - min_lat) * METRES_PER_DEGREE**2 * shrink
    full = box_m2 < FULL_BOX_M2 or area_m2 >= MIN_BOX_SHARE * box_m2
    if full and 2 * area_m2 >= MIN_WIDTH_M * METRES_PER_DEGREE * part.length:  # it is shorter where longitudes shrink
        return True
    length_m = METRES_PER_DEGREE * shapely.transform(part, lambda xy: xy * (shrink, 1.0)).length
    if full and 2 * area_m2 >= MIN_WIDTH_M * length_m:
        return True
    width_m = 2 * area_m2 / length_m
    findings.fault(
        pointer, "sliver", f"the shape is a thread {width_m:.2g} m wide; draw an area that a phone can be in"
    )
    return False
