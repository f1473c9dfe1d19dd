"""A trace without its place, day and names: for showing it to others who must not learn where somebody was.

Everything is turned about the first fence and put down in the open ocean. What decides, distances, accuracies and
seconds, stays: within 3 km of that fence to 5 cm.
"""

from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, radians, sin
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from geo_offers import instants
from geo_offers.places.earth import ECCENTRICITY2, FloatArray, ecef
from geo_offers.traces.trace import Trace

OCEAN: Final = (46.2, -30.5)
"""Over water 3 km deep: no fence there meets a real one."""
DAY_US: Final = 1_767_607_200_000_000
"""2026-01-05, a Monday, at ten: every moved trace begins then."""


@dataclass(frozen=True, slots=True)
class _Move:
    """From around one place to around `OCEAN`, turned by so much."""

    lat: float
    lon: float
    turn_deg: float

    def place(self, lat: float, lon: float) -> tuple[float, float]:
        """To 1 cm."""
        here = np.subtract(ecef(lat, lon), ecef(self.lat, self.lon))
        c, s = cos(radians(self.turn_deg)), sin(radians(self.turn_deg))
        turned = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ _axes(self.lat, self.lon) @ here
        x, y, z = _axes(*OCEAN).T @ turned + ecef(*OCEAN)
        return round(degrees(atan2(z, hypot(x, y) * (1.0 - ECCENTRICITY2))), 7), round(degrees(atan2(y, x)), 7)

    def coordinates(self, given: Any) -> Any:
        """Of any GeoJSON geometry."""
        if isinstance(given[0], list):
            return [self.coordinates(part) for part in given]
        lat, lon = self.place(given[1], given[0])
        return [lon, lat]


def moved(trace: Trace, turn_deg: float) -> Trace:
    """The trace elsewhere, on another day and without names, turned by so much; without its expectations."""
    features = trace.fences["features"]
    lon, lat = _first(features[0]["geometry"]["coordinates"])
    move = _Move(lat, lon, turn_deg)
    names = {feature["id"]: f"fence-{number}" for number, feature in enumerate(features, start=1)}
    later_us = DAY_US - min(at_us for ping in trace.pings if (at_us := instants.parse(ping.at)) is not None)
    pings = []
    for ping in trace.pings:
        at_us = instants.parse(ping.at)
        assert at_us is not None  # of a trace that was read
        lat_lon = (None, None) if ping.lat is None or ping.lon is None else move.place(ping.lat, ping.lon)
        region = None if ping.region is None else names.get(ping.region, "another")
        pings.append(
            replace(
                ping,
                at=instants.text(at_us + later_us),
                lat=lat_lon[0],
                lon=lat_lon[1],
                region=region,
                course_deg=None,
                id=None,
                device=None,
            )
        )
    fences = {"type": "FeatureCollection", "features": [_feature(one, move, names[one["id"]]) for one in features]}
    return replace(trace, fences=fences, pings=pings, expected=None)


def _feature(feature: dict[str, Any], move: _Move, name: str) -> dict[str, Any]:
    geometry = feature["geometry"]
    kept = {key: value for key, value in feature["properties"].items() if key in {"radius_m", "active", "detect"}}
    return {
        "type": "Feature",
        "id": name,
        "geometry": {"type": geometry["type"], "coordinates": move.coordinates(geometry["coordinates"])},
        "properties": kept,
    }


def _first(coordinates: Any) -> list[float]:
    """[lon, lat] of the first position of any GeoJSON geometry."""
    while isinstance(coordinates[0], list):
        coordinates = coordinates[0]
    return [float(coordinates[0]), float(coordinates[1])]


def _axes(lat: float, lon: float) -> FloatArray:
    """East, north and up at a place, a row each."""
    (cos_lat, sin_lat), (cos_lon, sin_lon) = ((cos(radians(one)), sin(radians(one))) for one in (lat, lon))
    return np.array(
        [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )
