"""Layouts of fences, and the points at which an index of them is likeliest to be wrong. Seeded."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import shapely
from h3.api import basic_int as h3
from pyproj import Geod
from shapely import MultiPolygon, Polygon

from geo_offers.places.earth import FloatArray
from geo_offers.places.fences import Detect, Geofence, fence_id
from geo_offers.places.geometry import Area, Circle, Geometry

Random: TypeAlias = np.random.Generator
Points: TypeAlias = tuple[FloatArray, FloatArray]
"""Latitudes and longitudes in degrees, shape (n,) each."""
Place: TypeAlias = tuple[float, float]

GEOD: Final = Geod(ellps="WGS84")
OFF_M: Final = np.array([0.015, 0.1, 1.0, 10.0])
LEVELS: Final = (10, 7)
NORTH_M: Final = 111_132.0
EAST_M: Final = 111_320.0
LAST_LAT: Final = 89.9
"""Areas end here: an outline that goes around a pole is refused."""
LEAST_M, MOST_M = 25.0, 100_000.0


# ------------------------------------------------------------------------------------------------ fences
@dataclass(frozen=True, slots=True)
class Layout:
    """Fences about some places; sizes in metres, drawn evenly by their logarithm; `spread` in sizes of the largest.

    at_cells: each is moved so that its border goes just around the corner of a cell: the least that a cell can hold.
    """

    name: str
    places: Sequence[Place]
    sizes_m: tuple[float, float]
    fences: int
    spread: float = 1.0
    at_cells: bool = False

    def make(self, seed: int) -> list[Geofence]:
        """The fences; a fence's version is its number."""
        random = np.random.default_rng([seed, *self.name.encode()])
        made: list[Geofence] = []
        while len(made) < self.fences:
            geometry = self._geometry(random)
            if geometry is not None:
                number = len(made)
                made.append(
                    Geofence(
                        fence_id("exact", f"{number:06d}"),
                        number,
                        "",
                        geometry,
                        None,
                        (),
                        active=True,
                        detect=Detect("raw"),
                    )
                )
        return made

    def _geometry(self, random: Random) -> Geometry | None:
        lat, lon = self.places[random.integers(len(self.places))]
        size_m = float(np.exp(random.uniform(*np.log(self.sizes_m))))
        away_m = self.spread * self.sizes_m[1] * random.random() ** 2 * random.choice([0.0, 0.1, 1.0])
        lon, lat, _ = GEOD.fwd(lon, lat, random.uniform(0, 360), away_m)
        if self.at_cells:
            return _around_a_corner(lat, lon, size_m, random)
        if random.random() < 0.4:
            return Circle(lat, lon, min(MOST_M, max(LEAST_M, size_m)))
        draw = DRAWN[random.integers(len(DRAWN))]
        wide = EAST_M * math.cos(math.radians(min(LAST_LAT, abs(lat))))
        shape = shapely.transform(draw(size_m, random), lambda xy: xy / (wide, NORTH_M) + (lon, lat))
        shape = split_at_seam(shapely.intersection(shape, shapely.box(-540, -LAST_LAT, 540, LAST_LAT)))
        sound = isinstance(shape, Polygon | MultiPolygon) and not shape.is_empty and shapely.is_valid(shape)
        if sound and random.random() < 0.2:  # one side of what was cut at the antimeridian: it ends there
            shape = shapely.get_parts(shape)[0]
        narrow = sound and all(part.bounds[2] - part.bounds[0] < 180 for part in shapely.get_parts(shape))
        return Area(shape) if narrow else None


def _around_a_corner(lat: float, lon: float, size_m: float, random: Random) -> Circle:
    """A circle that holds a corner of a cell by some centimetres up to two metres."""
    corners = h3.cell_to_boundary(h3.latlng_to_cell(lat, lon, LEVELS[random.integers(2)]))
    corner_lat, corner_lon = corners[random.integers(len(corners))]
    by_m = float(np.exp(random.uniform(math.log(0.02), math.log(2.0))))
    centre_lon, centre_lat, _ = GEOD.fwd(corner_lon, corner_lat, random.uniform(0, 360), size_m - by_m)
    return Circle(centre_lat, centre_lon, size_m)


def split_at_seam(shape: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    """The RFC 7946 form of a shape drawn with longitudes beyond 180."""
    parts = []
    for turn in (0, 360, -360):
        cut = shapely.intersection(shape, shapely.box(-180 + turn, -90, 180 + turn, 90))
        turned = [shapely.transform(part, lambda xy, t=turn: xy - (t, 0)) for part in shapely.get_parts(cut)]
        parts += [part for part in turned if part.area > 0]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _star(size_m: float, random: Random, corners: int = 0) -> Polygon:
    """Corners in the order of their angles: no two edges cross."""
    corners = corners or int(random.integers(3, 40))
    angles = 2 * math.pi * (np.arange(corners) + 0.9 * random.random(corners)) / corners
    away = size_m * random.uniform(0.3, 1.0, corners)
    return Polygon(np.column_stack((away * np.cos(angles), away * np.sin(angles))))


def _ring(size_m: float, random: Random) -> Polygon | MultiPolygon:
    """A star with a star-shaped hole, in which every other time there is an island."""
    outer = _star(size_m, random, 24)
    hole, island = (shapely.affinity.scale(outer, share, share, origin=(0, 0)) for share in (0.6, 0.2))
    ring = Polygon(outer.exterior, [hole.exterior])
    return MultiPolygon([ring, island]) if random.random() < 0.5 else ring


def _islands(size_m: float, random: Random) -> MultiPolygon:
    parts = int(random.integers(2, 6))
    return MultiPolygon(
        [
            shapely.affinity.translate(_star(size_m / 4, random), size_m * math.cos(turn), size_m * math.sin(turn))
            for turn in 2 * math.pi * np.arange(parts) / parts
        ]
    )


def _box(size_m: float, random: Random) -> Polygon:
    """Edges along meridians and parallels."""
    wide, high = size_m * random.uniform(0.05, 1, 2)
    return shapely.box(-wide, -high, wide, high)


def _sliver(size_m: float, random: Random) -> Polygon:
    """Some metres wide, at any angle."""
    sliver = shapely.box(-size_m, -2.0, size_m, 2.0)
    return shapely.affinity.rotate(sliver, random.uniform(0, 180), origin=(0, 0))


def _comb(size_m: float, random: Random) -> Polygon:
    """Many teeth: most cells it meets it neither holds nor leaves."""
    teeth = int(random.integers(3, 30))
    x = np.repeat(np.linspace(-size_m, size_m, 2 * teeth + 2), 2)
    y = np.tile([0.0, size_m, size_m, 0.0], teeth + 1)[: len(x)]
    return shapely.affinity.rotate(
        Polygon([*zip(x, y, strict=True), (size_m, -size_m / 2), (-size_m, -size_m / 2)]), random.uniform(0, 90)
    )


DRAWN: Final[Sequence[Callable[[float, Random], Polygon | MultiPolygon]]] = (
    _star,
    _star,
    _ring,
    _islands,
    _box,
    _sliver,
    _comb,
)


# ------------------------------------------------------------------------------------------------ the icosahedron
def direction(lat: FloatArray, lon: FloatArray) -> FloatArray:
    """Unit vectors, shape (n, 3)."""
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack((np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)), axis=-1)


def place_of(vector: FloatArray) -> Points:
    x, y, z = np.moveaxis(vector, -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


CORNERS: Final[Sequence[Place]] = [h3.cell_to_latlng(cell) for cell in sorted(h3.get_pentagons(0))]
"""Where five faces meet, and a pentagon of every resolution lies."""
_CORNERS: Final = direction(*np.array(CORNERS).T)
_EDGES: Final = np.array([pair for pair in itertools.combinations(_CORNERS, 2) if pair[0] @ pair[1] > 0])
_MIDDLES: Final = _EDGES.sum(axis=1) / np.linalg.norm(_EDGES.sum(axis=1), axis=-1, keepdims=True)
_NORMALS: Final = np.cross(_EDGES[:, 0], _EDGES[:, 1])
EDGE_PLACES: Final[Sequence[Place]] = [
    (float(lat), float(lon))
    for share in (0.1, 0.3, 0.5)
    for lat, lon in zip(*place_of(_EDGES[:, 0] * (1 - share) + _EDGES[:, 1] * share), strict=True)
    if abs(lat) < 84
]

ARCTIC: Final = [(78.2, 15.6), (84.9, 20.0), (87.0, -100.0), (89.9, 50.0), (90.0, 0.0), (-90.0, 0.0)]
LAYOUTS: Final[Sequence[Layout]] = (
    Layout("city", [(52.52, 13.40), (52.49, 13.31), (52.46, 13.52), (52.57, 13.36)], (25, 2_000), 400, 5),
    Layout("huge", [(47.0, 8.0)], (10_000, 100_000), 60, 2),
    Layout("countries", [(47.0, 8.0), (5.0, 5.0)], (100_000, 1_500_000), 12, 0.2),
    Layout("arctic", ARCTIC, (25, 100_000), 200),
    Layout("fiji", [(-17.0, 180.0), (-17.0, -179.99), (-19.0, 179.5), (66.0, 180.0)], (25, 100_000), 200),
    Layout("zero", [(0.0, 0.0), (0.0, 180.0), (5.0, 10.0), (-5.0, 0.0)], (25, 100_000), 200),
    Layout("pentagons", [place for place in CORNERS if abs(place[0]) < 84], (25, 100_000), 240, 0.5),
    Layout("faces", EDGE_PLACES, (25, 100_000), 400, 0.5),
    Layout("corners", [(52.52, 13.40), (-33.9, 18.4), (64.1, -21.9), (1.3, 103.8)], (25, 5_000), 400, 4, at_cells=True),
    Layout("anywhere", [(-75.0 + 15 * row, -175.0 + 25 * row) for row in range(11)], (25, 100_000), 200, 3),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ points
def telling_points(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    """About so many points in and around the fences; `Layout` says of which kinds."""
    shares = {
        _at_borders: 0.42,
        _at_corners: 0.12,
        _at_cells: 0.12,
        _at_faces: 0.06,
        _at_squares: 0.04,
        _at_seam: 0.05,
        _at_poles: 0.02,
        _around: 0.17,
    }
    points = [make(fences, max(1, round(share * count)), random) for make, share in shares.items()]
    lat, lon = (np.concatenate(part) for part in zip(*points, strict=True))
    return np.clip(lat, -90.0, 90.0), _turned(lon)


def _turned(lon: FloatArray) -> FloatArray:
    """Within +-180; what is there stays as it is, to the last bit."""
    return np.where(np.abs(lon) <= 180, lon, np.clip((lon + 180) % 360 - 180, -180, 180))


def _at_borders(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    circles = [fence.geometry for fence in fences if isinstance(fence.geometry, Circle)]
    areas = [fence.geometry for fence in fences if isinstance(fence.geometry, Area)]
    round_ = round(count * len(circles) / len(fences))
    off_m = random.choice([-1.0, 1.0], count) * random.choice(OFF_M, count)
    lat, lon = _off_circles(circles, off_m[:round_], random)
    area_lat, area_lon = _off_edges(areas, off_m[round_:], random)
    return np.concatenate((lat, area_lat)), np.concatenate((lon, area_lon))


def _off_circles(circles: Sequence[Circle], off_m: FloatArray, random: Random) -> Points:
    if not len(off_m):
        return off_m, off_m
    chosen = [circles[number] for number in random.integers(0, len(circles), len(off_m))]
    lat, lon, radius_m = np.array([(each.lat, each.lon, each.radius_m) for each in chosen]).T
    azimuth = np.where(
        random.random(len(off_m)) < 0.1, 90.0 * random.integers(0, 4, len(off_m)), random.uniform(0, 360, len(off_m))
    )
    there_lon, there_lat, _ = GEOD.fwd(lon, lat, azimuth, radius_m + off_m)
    return there_lat, there_lon


def _off_edges(areas: Sequence[Area], off_m: FloatArray, random: Random) -> Points:
    """Beside an edge of a random area, a quarter of them on it as far as doubles go."""
    if not len(off_m):
        return off_m, off_m
    start, end, owner = _edges(areas)
    weight = 1 / np.bincount(owner, minlength=len(areas))[owner]
    chosen = random.choice(len(owner), len(off_m), p=weight / weight.sum())
    start, end = start[chosen], end[chosen]
    share = random.choice([0.0, 1.0, np.nan], len(off_m), p=[0.05, 0.05, 0.9])
    share = np.where(np.isnan(share), random.random(len(off_m)), share)[:, None]
    at = start + share * (end - start)
    scale = np.column_stack((EAST_M * np.cos(np.radians(at[:, 1])), np.full(len(at), NORTH_M)))
    way_m = (end - start) * scale
    across = np.column_stack((-way_m[:, 1], way_m[:, 0])) / np.maximum(1e-9, np.linalg.norm(way_m, axis=1))[:, None]
    off_m = np.where(random.random(len(off_m)) < 0.25, 0.0, off_m)
    at = at + across * off_m[:, None] / scale
    return at[:, 1], at[:, 0]


def _edges(areas: Sequence[Area]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Starts and ends as lon, lat, shape (n, 2), and the number of the area."""
    parts, part_owner = shapely.get_parts([area.shape for area in areas], return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    return xy[:-1][same], xy[1:][same], part_owner[ring_part[ring[:-1][same]]]


def _at_corners(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    """At corners of areas, a bit or two of a double off, or level with one: there a count of edges goes wrong."""
    areas = [fence.geometry for fence in fences if isinstance(fence.geometry, Area)]
    if not areas:
        return _at_borders(fences, count, random)
    start, _, _ = _edges(areas)
    lon, lat = start[random.integers(0, len(start), count)].T
    lat = np.where(random.random(count) < 0.3, np.nextafter(lat, random.choice([-99.0, 99.0], count)), lat)
    lon = np.where(random.random(count) < 0.3, np.nextafter(lon, random.choice([-999.0, 999.0], count)), lon)
    near = random.choice([0.0, 1e-6, 1e-3, 0.1], count) * random.normal(0, 1, count)
    return lat, np.where(random.random(count) < 0.5, lon + near, lon)


def _at_cells(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    """On the outlines of cells near borders, at their corners too."""
    lat, lon = _at_borders(fences, 1 + count // 4, random)
    telling = np.clip(lat, -90, 90), _turned(lon)
    found: list[Place] = []
    for number, (a, b) in enumerate(zip(*(part.tolist() for part in telling), strict=True)):
        corners = h3.cell_to_boundary(h3.latlng_to_cell(a, b, LEVELS[number % 2]))
        first = int(random.integers(len(corners) - 2))
        for (lat0, lon0), (lat1, lon1) in itertools.pairwise(corners[first : first + 3]):
            share = random.random()
            found += [(lat0, lon0), (lat0 + share * (lat1 - lat0), lon0 + share * ((lon1 - lon0 + 180) % 360 - 180))]
    lat, lon = np.array(found[:count]).T
    jitter = random.choice([0.0, 1e-12, 1e-8, 1e-5], (2, len(lat))) * random.normal(0, 1, (2, len(lat)))
    return lat + jitter[0], lon + jitter[1]


def _at_faces(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    """Points near borders, brought to the nearest edge of a face; some to its corner."""
    v = direction(*_at_borders(fences, count, random))
    away = np.where(v @ _MIDDLES.T > math.cos(math.radians(36)), np.abs(v @ _NORMALS.T), 9.0)
    normal = _NORMALS[away.argmin(axis=1)] / np.linalg.norm(_NORMALS[0])
    on_edge = v - np.sum(v * normal, axis=1, keepdims=True) * normal
    corner = _CORNERS[(v @ _CORNERS.T).argmax(axis=1)]
    at = np.where(random.random((count, 1)) < 0.1, corner, on_edge)
    lat, lon = place_of(at + random.choice([0.0, 1e-16, 1e-12, 1e-8], (count, 1)) * random.normal(0, 1, (count, 3)))
    return lat, lon


def _at_squares(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    """On the nearest edge of a square of 5 degrees, or a bit beside it."""
    lat, lon = _at_borders(fences, count, random)
    whole_lat, whole_lon = (
        np.nextafter(5 * np.round(x / 5), random.choice([-999.0, 0.0, 999.0], count)) for x in (lat, lon)
    )
    which = random.integers(1, 4, count)
    return np.where(which & 1, whole_lat, lat), np.where(which & 2, whole_lon, lon)


def _at_seam(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    lat, _ = _at_borders(fences, count, random)
    back = np.abs(random.choice([0.0, 3e-14, 1e-9, 1e-6, 1e-4], count) * random.normal(0, 1, count))
    return lat, random.choice([-1.0, 1.0], count) * (180.0 - back)


def _at_poles(_fences: Sequence[Geofence], count: int, random: Random) -> Points:
    back = np.abs(random.choice([0.0, 1.5e-14, 1e-9, 1e-4, 0.5], count) * random.normal(0, 1, count))
    return random.choice([-1.0, 1.0], count) * (90.0 - back), random.uniform(-180, 180, count)


def _around(fences: Sequence[Geofence], count: int, random: Random) -> Points:
    """Anywhere on Earth, and anywhere in and near the fences."""
    far = count // 4
    lat = np.degrees(np.arcsin(random.uniform(-1, 1, far)))
    lon = random.uniform(-180, 180, far)
    near_lat, near_lon = _at_borders(fences, count - far, random)
    reach = random.choice([1e-4, 1e-2, 1.0], (2, count - far)) * random.normal(0, 1, (2, count - far))
    return np.concatenate((lat, near_lat + reach[0])), np.concatenate((lon, near_lon + reach[1]))
