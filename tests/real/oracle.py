"""What the transitions of recorded trips must be, worked out by looking at every fence for every fix.

Written from the definition of raw detection and sharing nothing with the product: circles are WGS 84 geodesics of PROJ,
polygons are planar in longitude and latitude with their border inside, a device starts outside of everything, its
fixes count in order of their time, and of one fix's edges exits come first, then crosses, enters, dwells, each by
fence. A cross is a straight way (in longitude and latitude) through a fence with neither end inside. A dwell is the
first fix still inside at or after five minutes, once a visit.
"""

import csv
import gzip
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry import shape

WGS84 = Geod(ellps="WGS84")
DWELL = timedelta(seconds=300)
RANK = {"exit": 0, "cross": 1, "enter": 2, "dwell": 3}
SAMPLE_M = 5.0
BAND_M = 0.01  # nearer than this to a circle's rim a sampled way does not tell whether it touches

Floats = NDArray[np.float64]


class Event(NamedTuple):
    device: str
    at: datetime
    type: str
    fence: str


class Fix(NamedTuple):
    at: datetime
    lat: float
    lon: float


class TooCloseError(AssertionError):
    """The recorded data has a case that this oracle cannot decide."""


# ---------------------------------------------------------------------------------------------- reading
def open_text(file: Path) -> Iterator[str]:
    packed = file.suffix == ".gz"
    with gzip.open(file, "rt", encoding="utf-8") if packed else file.open(encoding="utf-8") as source:
        yield from source


def trips(file: Path, device: str, time: str, lat: str = "lat", lon: str = "lon") -> dict[str, list[Fix]]:
    """The fixes of each device by time; column names as the file has them, times without a zone are UTC."""
    found: dict[str, list[Fix]] = {}
    for row in csv.DictReader(open_text(file)):
        at = datetime.fromisoformat(row[time])
        fix = Fix(at if at.tzinfo else at.replace(tzinfo=UTC), float(row[lat]), float(row[lon]))
        found.setdefault(row[device], []).append(fix)
    for fixes in found.values():
        fixes.sort(key=lambda fix: fix.at)
    return found


def features(file: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads("".join(open_text(file)))["features"]
    return read


# ---------------------------------------------------------------------------------------------- fences
@dataclass(frozen=True)
class Circles:
    """Circles of one radius, by id."""

    ids: list[str]
    lat: Floats
    lon: Floats
    radius_m: float

    @classmethod
    def of(cls, set_id: str, given: Iterable[dict[str, Any]], radius_m: float) -> "Circles":
        points = [(f"{set_id}/{one['id']}", *one["geometry"]["coordinates"]) for one in given]
        ids, lon, lat = zip(*points, strict=True)
        return cls(list(ids), np.array(lat), np.array(lon), radius_m)

    def near(self, fixes: Sequence[Fix]) -> "Circles":
        """Those in the box around the fixes and 0.2 degrees more: no other can be reached on a way between them."""
        places = np.array([(fix.lat, fix.lon) for fix in fixes])
        (south, west), (north, east) = places.min(axis=0) - 0.2, places.max(axis=0) + 0.2
        kept = (self.lat > south) & (self.lat < north) & (self.lon > west) & (self.lon < east)
        ids = [name for name, keep in zip(self.ids, kept, strict=True) if keep]
        return Circles(ids, self.lat[kept], self.lon[kept], self.radius_m)

    def inside(self, fixes: Sequence[Fix]) -> list[set[str]]:
        lat, lon = np.array([fix.lat for fix in fixes]), np.array([fix.lon for fix in fixes])
        held: list[set[str]] = [set() for _ in fixes]
        for name, centre_lat, centre_lon in zip(self.ids, self.lat, self.lon, strict=True):
            for place in np.flatnonzero(_away_m(lat, lon, centre_lat, centre_lon) <= self.radius_m):
                held[place].add(name)
        return held

    def through(self, start: Fix, end: Fix) -> set[str]:
        if (start.lat, start.lon) == (end.lat, end.lon):
            return set()
        _, _, length_m = WGS84.inv(start.lon, start.lat, end.lon, end.lat)
        ends_m = np.minimum(*(_away_m(self.lat, self.lon, one.lat, one.lon) for one in (start, end)))
        touched = set()
        for place in np.flatnonzero(ends_m - length_m <= self.radius_m):
            away_m = _way_to_point_m(start, end, length_m, float(self.lat[place]), float(self.lon[place]))
            if abs(away_m - self.radius_m) < BAND_M:
                raise TooCloseError(f"the way to {end} passes {self.ids[place]} at {away_m} m")
            if away_m < self.radius_m:
                touched.add(self.ids[place])
        return touched


@dataclass(frozen=True)
class Polygons:
    """Polygons and multipolygons by id; x = lon, y = lat."""

    shapes: dict[str, Any]

    @classmethod
    def of(cls, set_id: str, given: Iterable[dict[str, Any]]) -> "Polygons":
        return cls({f"{set_id}/{one['properties']['name']}": shape(one["geometry"]) for one in given})

    def near(self, _fixes: Sequence[Fix]) -> "Polygons":
        return self

    def inside(self, fixes: Sequence[Fix]) -> list[set[str]]:
        points = [shapely.Point(fix.lon, fix.lat) for fix in fixes]
        return [{name for name, area in self.shapes.items() if area.covers(point)} for point in points]

    def through(self, start: Fix, end: Fix) -> set[str]:
        way = shapely.LineString([(start.lon, start.lat), (end.lon, end.lat)])
        return {name for name, area in self.shapes.items() if area.intersects(way)}


def _away_m(lat: Floats, lon: Floats, to_lat: float, to_lon: float) -> Floats:
    _, _, away_m = WGS84.inv(lon, lat, np.full(lon.shape, to_lon), np.full(lat.shape, to_lat))
    return np.asarray(away_m)


def _way_to_point_m(start: Fix, end: Fix, length_m: float, lat: float, lon: float) -> float:
    """Least distance from a point to the way: samples along it, then finer ones around the nearest, twice."""
    low, high, least_m = 0.0, 1.0, math.inf
    for samples in (max(3, int(length_m / SAMPLE_M) + 2), 101, 101):
        shares = np.linspace(low, high, samples)
        away_m = _away_m(
            start.lat + shares * (end.lat - start.lat), start.lon + shares * (end.lon - start.lon), lat, lon
        )
        best = int(np.argmin(away_m))
        least_m = float(away_m[best])
        low, high = shares[max(best - 1, 0)], shares[min(best + 1, samples - 1)]
    return least_m


# ---------------------------------------------------------------------------------------------- the machine
@dataclass
class _Device:
    name: str
    entered: dict[str, datetime] = field(default_factory=dict)
    dwelt: set[str] = field(default_factory=set)

    def moved(self, at: datetime, inside: set[str], through: set[str]) -> Iterator[Event]:
        found = [("exit", fence) for fence in self.entered.keys() - inside]
        found += [("cross", fence) for fence in through - inside - self.entered.keys()]
        found += [("enter", fence) for fence in inside - self.entered.keys()]
        found += [
            ("dwell", fence) for fence in inside & self.entered.keys() - self.dwelt if at >= self.entered[fence] + DWELL
        ]
        for kind, fence in sorted(found, key=lambda edge: (RANK[edge[0]], edge[1])):
            if kind == "exit":
                del self.entered[fence]
                self.dwelt.discard(fence)
            elif kind == "enter":
                self.entered[fence] = at
            elif kind == "dwell":
                self.dwelt.add(fence)
            yield Event(self.name, at, kind, fence)


def events(recorded: dict[str, list[Fix]], fences: Circles | Polygons) -> dict[str, list[Event]]:
    """Each device's transitions, in their order."""
    return {name: list(_device_events(name, fixes, fences.near(fixes))) for name, fixes in recorded.items()}


def _device_events(name: str, fixes: Sequence[Fix], fences: Circles | Polygons) -> Iterator[Event]:
    inside = fences.inside(fixes)
    ways = [set(), *(fences.through(start, end) for start, end in pairwise(fixes))]
    device = _Device(name)
    for fix, held, touched in zip(fixes, inside, ways, strict=True):
        yield from device.moved(fix.at, held, touched)


def rim_m(fixes: Sequence[Fix], circles: Circles) -> float:
    """How near any fix is to the rim of any circle."""
    lat, lon = np.array([fix.lat for fix in fixes]), np.array([fix.lon for fix in fixes])
    near = circles.near(fixes)
    away = [_away_m(lat, lon, a, b) for a, b in zip(near.lat, near.lon, strict=True)]
    return float(np.abs(np.array(away) - circles.radius_m).min())
