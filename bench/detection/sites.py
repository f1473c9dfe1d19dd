"""Sites: the fences of one place, and where around them people walk, wait and live.

Each has a plane of its own in metres, x to the east and y to the north, whose origin lies somewhere on Earth. Within a
kilometre of it the plane is off by decimetres at most (asserted in tests/unit/test_bench_detection.py), so that a
distance in it and one that the product measures in degrees are of the same fence.

Street sites have one fence: a circle of 50 to 300 m around a shop, or the shop's own walls, 20 to 80 m. Mall sites have
two rows of adjacent units of 24 to 36 m that face one corridor.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np
import shapely

from bench.cities import CITIES
from geo_offers.places.earth import BoolArray, FloatArray, metres_per_degree
from geo_offers.places.fences import Detect, Geofence, fence_id
from geo_offers.places.geometry import Area, Circle, Geometry

Kind = Literal["street", "mall"]
Spot: TypeAlias = tuple[float, float]
"""x, y in metres."""

CIRCLES: Final = 0.5
"""Share of the street sites."""
UNITS_A_ROW: Final = 4
STRAY_DEG: Final = 0.05
"""How far from its city's middle a site is, at most."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where on Earth a plane lies."""

    lat: float
    lon: float

    def degrees(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """lat, lon of points."""
        north_m, east_m = metres_per_degree(np.array(self.lat))
        return self.lat + y / north_m, self.lon + x / east_m

    def metres(self, lat: FloatArray, lon: FloatArray) -> tuple[FloatArray, FloatArray]:
        """x, y of points."""
        north_m, east_m = metres_per_degree(np.array(self.lat))
        return (lon - self.lon) * east_m, (lat - self.lat) * north_m


@dataclass(frozen=True)
class Disc:
    """A circle about the origin."""

    inradius_m: float

    def distance(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Signed metres to the border, negative inside."""
        return np.hypot(x, y) - self.inradius_m

    def geometry(self, frame: Frame) -> Geometry:
        return Circle(frame.lat, frame.lon, self.inradius_m)


@dataclass(frozen=True)
class Walls:
    """A polygon without holes; its corners in order, the first not repeated."""

    corners: tuple[Spot, ...]

    @cached_property
    def inradius_m(self) -> float:
        """Of the largest circle that fits in."""
        return float(shapely.maximum_inscribed_circle(shapely.Polygon(self.corners), tolerance=0.1).length)

    def distance(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Signed metres to the border, corners included, negative inside."""
        away2 = np.full(x.shape, np.inf)
        inside: BoolArray = np.zeros(x.shape, dtype=np.bool_)
        for (x0, y0), (x1, y1) in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            dx, dy = x1 - x0, y1 - y0
            along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
            away2 = np.minimum(away2, (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2)
            if dy:
                inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * dx / dy)
        away_m: FloatArray = np.sqrt(away2)
        return np.where(inside, -away_m, away_m)

    def geometry(self, frame: Frame) -> Geometry:
        x, y = np.array(self.corners).T
        lat, lon = frame.degrees(x, y)
        return Area(shapely.Polygon(np.column_stack((lon, lat))))


Shape: TypeAlias = Disc | Walls


@dataclass(frozen=True, slots=True)
class Street:
    """Where people are at a street site. The street runs along x."""

    half_m: float
    """How far along the street the fence reaches to either side."""
    near_y: float
    """The pavement at the shop: before a shop's walls, through a circle."""
    far_y: float
    """Another way: across the street, or outside of the circle."""
    road_y: float
    shop: Spot
    roam_m: float
    """How far from `shop` a customer strolls."""
    flat: Spot
    """Upstairs: over the shop, or somewhere in the circle."""
    next_door: Spot
    """The middle of a shop that is outside of the fence."""
    stop: Spot
    """Where the bus stops."""


@dataclass(frozen=True, slots=True)
class Mall:
    """Where people are in a mall. Its corridor runs along x from 0 to `length_m`, and along y = 0."""

    units: tuple[Spot, ...]
    """Their middles, in the order of the fences."""
    elsewhere: tuple[Spot, ...]
    """Middles of units without a fence, the food court, a bench in the corridor."""
    roam_m: float
    length_m: float


@dataclass(frozen=True, slots=True)
class Fenced:
    """What a detector may know of a place beside a trace: its fences as the product has them, and their inradii."""

    frame: Frame
    fences: tuple[Geofence, ...]
    inradii_m: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Site:
    kind: Kind
    fenced: Fenced
    shapes: tuple[Shape, ...]
    """Of the fences, in their order."""
    around: Street | Mall
    open_m: float
    """Outdoor error of a good phone on one axis, standard deviation: 3 in the open, 9 between tall houses."""

    def distances(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Signed metres to each fence, shape (points, fences)."""
        return np.column_stack([shape.distance(x, y) for shape in self.shapes])


def draw_site(random: np.random.Generator, kind: Kind) -> Site:
    """Invent a site somewhere near a city."""
    _, lat, lon = CITIES[int(random.integers(len(CITIES)))]
    frame = Frame(lat + random.uniform(-STRAY_DEG, STRAY_DEG), lon + random.uniform(-STRAY_DEG, STRAY_DEG))
    shapes, around = _mall(random) if kind == "mall" else _street(random)
    fences = tuple(_fence(number, shape.geometry(frame)) for number, shape in enumerate(shapes))
    fenced = Fenced(frame, fences, tuple(shape.inradius_m for shape in shapes))
    return Site(kind, fenced, shapes, around, float(random.uniform(3.0, 9.0)))


def _fence(number: int, geometry: Geometry) -> Geofence:
    return Geofence(fence_id("site", str(number)), 1, "", geometry, None, (), active=True, detect=Detect())


def _street(random: np.random.Generator) -> tuple[tuple[Shape, ...], Street]:
    return _about_a_circle(random) if random.random() < CIRCLES else _about_walls(random)


def _about_a_circle(random: np.random.Generator) -> tuple[tuple[Shape, ...], Street]:
    radius_m = float(np.exp(random.uniform(np.log(50.0), np.log(300.0))))
    beside = radius_m + random.uniform(5.0, 60.0)
    near_y = -random.uniform(10.0, 20.0)
    side, angle = random.choice((-1.0, 1.0)), random.uniform(0.0, 2 * np.pi)
    home_m = radius_m * np.sqrt(random.uniform(0.0, 0.8))
    around = Street(
        half_m=radius_m,
        near_y=near_y,
        far_y=-beside,
        road_y=near_y - 8.0 if random.random() < 0.5 else -beside - 8.0,
        shop=(0.0, 0.0),
        roam_m=8.0,
        flat=(home_m * np.cos(angle), home_m * np.sin(angle)),
        next_door=(side * (radius_m + random.uniform(8.0, 40.0)), 0.0),
        stop=(side * (radius_m + random.uniform(5.0, 40.0)), near_y),
    )
    return (Disc(radius_m),), around


def _about_walls(random: np.random.Generator) -> tuple[tuple[Shape, ...], Street]:
    """Its front is y = 0, the street before it has negative y."""
    wide, deep = random.uniform(20.0, 80.0, 2).tolist()
    half = wide / 2
    if random.random() < 0.35:  # an L: one corner at the back is missing
        cut_x, cut_y = half - wide * random.uniform(0.3, 0.5), deep * random.uniform(0.4, 0.6)
        corners: tuple[Spot, ...] = (
            (-half, 0.0),
            (half, 0.0),
            (half, cut_y),
            (cut_x, cut_y),
            (cut_x, deep),
            (-half, deep),
        )
        shop = ((cut_x - half) / 2, cut_y / 2)
    else:
        corners = ((-half, 0.0), (half, 0.0), (half, deep), (-half, deep))
        shop = (0.0, deep / 2)
    pavement, across = random.uniform(2.0, 8.0), random.uniform(16.0, 30.0)
    side = random.choice((-1.0, 1.0))
    around = Street(
        half_m=half,
        near_y=-pavement,
        far_y=-across,
        road_y=-(pavement + across) / 2,
        shop=shop,
        roam_m=0.6 * min(half + min(shop[0], 0.0), shop[1]),
        flat=shop,
        next_door=(side * (half + random.uniform(8.0, 40.0)), deep / 2),
        stop=(random.uniform(-half - 15.0, half + 15.0), -pavement - 1.0 if random.random() < 0.5 else -across),
    )
    return (Walls(corners),), around


def _mall(random: np.random.Generator) -> tuple[tuple[Shape, ...], Mall]:
    wide, deep = random.uniform(24.0, 36.0, 2).tolist()
    aisle = random.uniform(4.0, 7.0)  # half of the corridor
    length_m = (UNITS_A_ROW + 2) * wide  # one unit at each end of a row has no fence
    shapes, middles, ends = [], [], []
    for number in range(UNITS_A_ROW + 2):
        x0, x1 = number * wide, (number + 1) * wide
        for y0, y1 in ((aisle, aisle + deep), (-aisle - deep, -aisle)):
            middle = ((x0 + x1) / 2, (y0 + y1) / 2)
            if number in {0, UNITS_A_ROW + 1}:
                ends.append(middle)
            else:
                shapes.append(Walls(((x0, y0), (x1, y0), (x1, y1), (x0, y1))))
                middles.append(middle)
    court, bench = (length_m + random.uniform(10.0, 40.0), 0.0), (random.uniform(0.2, 0.8) * length_m, 0.0)
    return tuple(shapes), Mall(tuple(middles), (*ends, court, bench), 0.3 * min(wide, deep), length_m)
