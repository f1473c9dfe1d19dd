"""The common load: fences clustered in cities, and devices that walk and drive in and far from them. Seeded.

N fences: 70 % circles of 50-300 m, 30 % simple polygons of 5-40 vertices and 50-400 m, around N / 250 cities, close
enough for downtowns to overlap. Past the table's end the rest are towns 15-30 km from a city of it. Of the devices
70 % live in a city and 30 % far from all; three of five walk, the others drive. About 11.5 % of pings are then inside
at least one fence, and about 3 % cause an enter or an exit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from bench.cities import CITIES
from geo_offers.places.earth import FloatArray, metres_per_degree
from geo_offers.places.fences import Detect, FenceId, Geofence, fence_id, split_fence_id
from geo_offers.places.geometry import Area, Circle, Geometry

FENCES_A_CITY = 250
CIRCLES = 0.7
CITY_SIGMA_M = 3_500.0
"""Spread of fences, and of homes, about a city's middle: it sets how many pings are inside."""
FAR = 0.3
FAR_M = (40_000.0, 80_000.0)
TOWN_M = (15_000.0, 30_000.0)
PING_EVERY_S = 8.0
WALKERS = 0.6
WALKING_MPS = (0.8, 1.8)
DRIVING_MPS = (6.0, 16.0)
ROAM_M = (1_000.0, 3_000.0)
"""How far a walker and a driver go from home before they turn back."""
SET = "bench"
DECIDING = "deciding"
"""A tag of every fifth fence, for campaigns."""


def middles(cities: int, seed: int) -> FloatArray:
    """Middles of that many cities, towns around them once the table is used up: lat and lon, shape (2, cities)."""
    rng = np.random.default_rng([seed, 1])
    table = np.array([(lat, lon) for _, lat, lon in CITIES]).T
    number = np.arange(cities)
    lat, lon = table[:, number % len(CITIES)]
    away_m = np.where(number < len(CITIES), 0.0, rng.uniform(*TOWN_M, cities))
    return np.array(_moved(lat, lon, rng.uniform(0, 2 * math.pi, cities), away_m))


def cities_for(fences: int) -> int:
    return max(1, round(fences / FENCES_A_CITY))


def make_fences(count: int, seed: int) -> list[Geofence]:
    rng = np.random.default_rng([seed, 2])
    lat, lon = _around(middles(cities_for(count), seed), count, rng)
    circle = rng.random(count) < CIRCLES
    size_m = np.where(circle, rng.uniform(50, 300, count), rng.uniform(50, 400, count))
    corners = rng.integers(5, 41, count)
    fences = []
    for number in range(count):
        at = float(lat[number]), float(lon[number])
        extent_m = float(size_m[number])
        geometry = Circle(*at, extent_m) if circle[number] else _area(*at, extent_m, int(corners[number]), rng)
        fences.append(_fence(number, geometry))
    return fences


def _fence(number: int, geometry: Geometry) -> Geofence:
    return Geofence(
        fence_id(SET, f"f{number:07d}"), 1, f"Store {number}", geometry, None, (), active=True, detect=Detect("raw")
    )


def _area(lat: float, lon: float, size_m: float, corners: int, rng: np.random.Generator) -> Area:
    """A star about its middle: corners in the order of their angles never let two edges cross."""
    angle = 2 * math.pi * (np.arange(corners) + 0.8 * rng.random(corners)) / corners
    at = np.full(corners, lat), np.full(corners, lon)
    corner_lat, corner_lon = _moved(*at, angle, size_m * rng.uniform(0.6, 1.0, corners))
    return Area(shapely.Polygon(np.column_stack((corner_lon, corner_lat))))


def collection(fences: Sequence[Geofence], mode: str = "raw") -> dict[str, Any]:
    """The fences as the GeoJSON that the import call takes."""
    return {"type": "FeatureCollection", "features": [_feature(fence, mode) for fence in fences]}


def _feature(fence: Geofence, mode: str) -> dict[str, Any]:
    external_id = split_fence_id(FenceId(fence.id))[1]
    properties: dict[str, Any] = {"name": fence.name, "detect": {"mode": mode}}
    if external_id.endswith(("0", "5")):
        properties["tags"] = [DECIDING]
    if isinstance(fence.geometry, Circle):
        properties["radius_m"] = fence.geometry.radius_m
        geometry: dict[str, Any] = {"type": "Point", "coordinates": [fence.geometry.lon, fence.geometry.lat]}
    else:
        geometry = shapely.geometry.mapping(fence.geometry.shape)
    return {"type": "Feature", "id": external_id, "geometry": geometry, "properties": properties}


@dataclass(slots=True)
class Devices:
    """Devices in random walks about their homes; `advance` moves all of them by one ping's time."""

    lat: FloatArray
    lon: FloatArray
    heading: FloatArray
    home: tuple[FloatArray, FloatArray]
    step_m: FloatArray
    roam_m: FloatArray
    rng: np.random.Generator

    def advance(self) -> None:
        """Turn a little, or homewards when too far out, and go on."""
        self.heading = self.heading + self.rng.normal(0, 0.35, len(self.lat))
        north_m, east_m = metres_per_degree(self.lat)
        y_m = (self.home[0] - self.lat) * north_m
        x_m = (self.home[1] - self.lon) * east_m
        outside = np.hypot(x_m, y_m) > self.roam_m
        self.heading = np.where(outside, np.arctan2(x_m, y_m), self.heading)
        self.lat, self.lon = _moved(self.lat, self.lon, self.heading, self.step_m)

    def walk(self, pings: int) -> tuple[FloatArray, FloatArray]:
        """The next positions of all devices in turn: lat and lon, shape (pings, devices)."""
        lat, lon = [], []
        for _ in range(pings):
            self.advance()
            lat.append(self.lat)
            lon.append(self.lon)
        return np.array(lat), np.array(lon)


def make_devices(count: int, fences: int, seed: int) -> Devices:
    rng = np.random.default_rng([seed, 3])
    cities = middles(cities_for(fences), seed)
    lat, lon = _around(cities, count, rng)
    away_m = np.where(np.arange(count) < FAR * count, rng.uniform(*FAR_M, count), 0.0)
    lat, lon = _moved(lat, lon, rng.uniform(0, 2 * math.pi, count), away_m)
    order = rng.permutation(count)
    lat, lon = lat[order], lon[order]
    walks = rng.random(count) < WALKERS
    speed_mps = np.where(walks, rng.uniform(*WALKING_MPS, count), rng.uniform(*DRIVING_MPS, count))
    heading = rng.uniform(0, 2 * math.pi, count)
    roam_m = np.where(walks, *ROAM_M)
    return Devices(lat, lon, heading, (lat, lon), speed_mps * PING_EVERY_S, roam_m, rng)


def _around(cities: FloatArray, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points about the cities in turn, normally spread."""
    lat, lon = cities[:, np.arange(count) % cities.shape[1]]
    x_m, y_m = rng.normal(0, CITY_SIGMA_M, (2, count))
    return _moved(lat, lon, np.arctan2(x_m, y_m), np.hypot(x_m, y_m))


def _moved(lat: FloatArray, lon: FloatArray, heading: FloatArray, by_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Go that far towards a heading (radians from north, clockwise), on the plane: right to 1 % below 100 km."""
    north_m, east_m = metres_per_degree(lat)
    return lat + np.cos(heading) * by_m / north_m, lon + np.sin(heading) * by_m / east_m
