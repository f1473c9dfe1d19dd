"""Recorded trips as traces: nobody knows the truth of them, so what detectors make of them is only counted."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import shapely

from bench.detection.noise import Trace
from bench.detection.sites import Fenced, Frame
from bench.savings import recorded_here
from geo_offers.places.earth import FloatArray, ecef, ecef_array
from geo_offers.places.fences import Geofence
from geo_offers.places.geometry import Circle, border_distance, enclosing
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.fixes import Fix

AROUND_M: Final = 1_000.0
"""Fences within so much of a fix are looked at."""


def recorded_traces(bench: str) -> Iterator[tuple[str, list[tuple[Trace, Fenced]]]]:
    """Each recorded data set with its trips; none, and a word about it, where the folder is missing."""
    for name, (index, trips) in recorded_here(bench):
        yield name, [trace_of(trip, index) for trip in trips]


def trace_of(trip: Sequence[Fix], index: GeofenceIndex) -> tuple[Trace, Fenced]:
    """A trip and the fences that it comes near. A fix of the same instant as the one before is left out."""
    fixes = [
        fix for fix, before in zip(trip, (None, *trip), strict=False) if before is None or fix.at_us > before.at_us
    ]
    at_us, lat, lon, accuracy_m, speed_mps = np.array(
        [
            (fix.at_us, fix.lat, fix.lon, fix.accuracy_m, np.nan if fix.speed_mps is None else fix.speed_mps)
            for fix in fixes
        ]
    ).T
    places = ecef_array(lat, lon)
    fences = [fence for fence in index if _near(fence, places)]
    distance_m = [border_distance(fence.geometry, lat, lon) for fence in fences]
    at_s = (at_us - at_us[0]) / 1e6
    frame = Frame(float(lat[0]), float(lon[0]))
    trace = Trace(
        at_s=at_s,
        lat=lat,
        lon=lon,
        accuracy_m=accuracy_m,
        speed_mps=speed_mps,
        distance_m=np.column_stack(distance_m) if distance_m else np.empty((len(at_s), 0)),
        received_s=at_s,
    )
    return trace, Fenced(frame, tuple(fences), tuple(map(inradius_m, fences)))


def _near(fence: Geofence, places: FloatArray) -> bool:
    circle = enclosing(fence.geometry)
    away_m = np.linalg.norm(places - np.array(ecef(circle.lat, circle.lon))[:, None], axis=0)
    return bool(away_m.min() <= circle.radius_m + AROUND_M)


def inradius_m(fence: Geofence) -> float:
    """Of the largest circle that fits in."""
    geometry = fence.geometry
    if isinstance(geometry, Circle):
        return geometry.radius_m
    middle = geometry.shape.centroid
    frame = Frame(middle.y, middle.x)
    flat = shapely.transform(geometry.shape, lambda lonlat: np.column_stack(frame.metres(lonlat[:, 1], lonlat[:, 0])))
    parts = [part for part in shapely.get_parts(flat) if part.area > 0]
    return max(float(shapely.maximum_inscribed_circle(part, tolerance=1.0).length) for part in parts)
