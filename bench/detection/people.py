"""True paths: what a person does around a site, one point a second.

Scenes follow one another, each from somewhere else and back: past the shop, in, next door, at the bus stop, by car, in
the flat upstairs, in an office streets away. Where a scene leads through the fence the person truly was in it; what
counts as a visit is for the scorer to say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bench.detection.sites import Mall, Site, Spot, Street
from geo_offers.places.earth import BoolArray, FloatArray

WALK_MPS: Final = (0.9, 1.7)
DRIVE_MPS: Final = (6.0, 14.0)
AWAY_M: Final = (200.0, 450.0)
"""How far beyond the fence people come from and go to."""


Seconds: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Path:
    """Where a person truly is at second 0, 1, …, arrays of one length.

    stay: the number of the indoor stay that the second is of, 0 for none.
    """

    x: FloatArray
    y: FloatArray
    indoors: BoolArray
    driving: BoolArray
    stay: Seconds


@dataclass(slots=True)
class Route:
    """A path in the making."""

    random: np.random.Generator
    here: Spot
    seconds: int = 0
    stays: int = 0
    parts: list[tuple[FloatArray, FloatArray, bool, bool, int]] = field(default_factory=list)

    def go(self, *spots: Spot, mps: float, indoors: bool = False, driving: bool = False) -> None:
        """Straight from spot to spot at an even pace."""
        for x, y in spots:
            away_m = float(np.hypot(x - self.here[0], y - self.here[1]))
            share = np.arange(1, max(1, round(away_m / mps)) + 1) / max(1, round(away_m / mps))
            self._add(
                self.here[0] + share * (x - self.here[0]),
                self.here[1] + share * (y - self.here[1]),
                indoors,
                driving,
                0,
            )
            self.here = x, y

    def stay(self, seconds: float, roam_m: float, *, indoors: bool) -> None:
        """Stroll about within `roam_m` of where one is, beginning and ending there."""
        at = np.arange(1.0, max(1, round(seconds)) + 1)
        ends = np.minimum(1.0, np.minimum(at, at[::-1]) / 20.0)
        x, y = (here + ends * self._stroll(at, roam_m) for here in self.here)
        self.stays += indoors
        self._add(x, y, indoors, False, self.stays if indoors else 0)

    def _stroll(self, at: FloatArray, roam_m: float) -> FloatArray:
        """Two slow waves that stay within a square inside of the circle of `roam_m`."""
        slow, slower = self.random.uniform(60.0, 150.0), self.random.uniform(150.0, 600.0)
        first, second = self.random.uniform(0.0, 2 * np.pi, 2)
        waves: FloatArray = (
            0.35 * roam_m * (np.sin(2 * np.pi * at / slow + first) + np.sin(2 * np.pi * at / slower + second))
        )
        return waves

    def _add(self, x: FloatArray, y: FloatArray, indoors: bool, driving: bool, stay: int) -> None:
        self.parts.append((x, y, indoors, driving, stay))
        self.seconds += len(x)

    def path(self, seconds: int) -> Path:
        """Its first seconds."""
        lengths = [len(part[0]) for part in self.parts]
        x, y = (np.concatenate([part[axis] for part in self.parts])[:seconds] for axis in (0, 1))
        indoors, driving, stay = (
            np.repeat([part[what] for part in self.parts], lengths)[:seconds] for what in (2, 3, 4)
        )
        return Path(x, y, indoors, driving, stay)


def draw_path(random: np.random.Generator, site: Site, seconds: int) -> Path:
    """Hours of one person's life around a site."""
    around = site.around
    if isinstance(around, Mall):
        route = Route(random, (-random.uniform(*AWAY_M), 0.0))
        while route.seconds < seconds:
            _shopping(route, around)
        return route.path(seconds)
    route = Route(random, _end(random, around, around.near_y))
    names, weights = list(SCENES), np.array([weight for _, weight in SCENES.values()])
    while route.seconds < seconds:
        scene, _ = SCENES[names[int(random.choice(len(names), p=weights / weights.sum()))]]
        scene(route, around)
        _elsewhere(route)
    return route.path(seconds)


# ------------------------------------------------------------------------------------------------ scenes of a street
def _past(route: Route, street: Street) -> None:
    """On either pavement, from one end to the other."""
    y = street.near_y if route.random.random() < 0.5 else street.far_y
    route.go((route.here[0], y), _other_end(route, street, y), mps=_pace(route))


def _in(route: Route, street: Street) -> None:
    _visit(route, street, street.shop, _minutes(route, 9.0), street.roam_m)


def _in_and_out(route: Route, street: Street) -> None:
    _visit(route, street, street.shop, route.random.uniform(20.0, 110.0), street.roam_m)


def _next_door(route: Route, street: Street) -> None:
    _visit(route, street, street.next_door, _minutes(route, 9.0), 4.0)


def _upstairs(route: Route, street: Street) -> None:
    _visit(route, street, street.flat, _minutes(route, 60.0), 3.0)


def _bus(route: Route, street: Street) -> None:
    """Walk to the stop, wait, and ride away."""
    pace = _pace(route)
    route.go((route.here[0], street.stop[1]), street.stop, mps=pace)
    route.stay(route.random.uniform(120.0, 720.0), 2.0, indoors=False)
    _drive(route, street)


def _drive_by(route: Route, street: Street) -> None:
    route.go((route.here[0], street.road_y), mps=WALK_MPS[1])
    _drive(route, street, lights=route.random.random() < 0.3)


def _terrace(route: Route, street: Street) -> None:
    """Sit or stand about outdoors on the far side."""
    spot = (route.random.uniform(-1.0, 1.0) * (street.half_m + 30.0), street.far_y - route.random.uniform(0.0, 20.0))
    pace = _pace(route)
    route.go((route.here[0], street.far_y), (spot[0], street.far_y), spot, mps=pace)
    route.stay(_minutes(route, 12.0), 4.0, indoors=False)
    route.go((spot[0], street.far_y), _other_end(route, street, street.far_y), mps=pace)


SCENES: Final[Mapping[str, tuple[Callable[[Route, Street], None], float]]] = {
    "past": (_past, 0.22),
    "in": (_in, 0.22),
    "in and out": (_in_and_out, 0.05),
    "next door": (_next_door, 0.16),
    "upstairs": (_upstairs, 0.04),
    "bus stop": (_bus, 0.11),
    "drive by": (_drive_by, 0.12),
    "terrace": (_terrace, 0.08),
}
"""What people do at a street site, and how often."""


def _visit(route: Route, street: Street, spot: Spot, seconds: float, roam_m: float) -> None:
    """Along the pavement, in by the front, a stay, out, and on or back."""
    pace, door = _pace(route), (spot[0], street.near_y)
    route.go((route.here[0], street.near_y), door, spot, mps=pace)
    route.stay(seconds, roam_m, indoors=True)
    end = (
        _other_end(route, street, street.near_y)
        if route.random.random() < 0.5
        else _end(route.random, street, street.near_y)
    )
    route.go(door, end, mps=pace)


def _drive(route: Route, street: Street, *, lights: bool = False) -> None:
    mps = route.random.uniform(*DRIVE_MPS)
    x, y = _other_end(route, street, street.road_y)
    route.go((route.here[0], y), mps=mps, driving=True)
    if lights:
        route.go((route.random.uniform(-1.5, 1.5) * street.half_m, y), mps=mps, driving=True)
        route.stay(route.random.uniform(10.0, 60.0), 0.0, indoors=False)
    route.go((x, y), mps=mps, driving=True)


def _elsewhere(route: Route) -> None:
    """A while in a house at this end of the street."""
    route.go((route.here[0], route.random.uniform(-60.0, 60.0)), mps=_pace(route))
    route.stay(_minutes(route, 6.0), 4.0, indoors=True)


def _end(random: np.random.Generator, street: Street, y: float) -> Spot:
    return float(random.choice((-1.0, 1.0)) * (street.half_m + random.uniform(*AWAY_M))), y


def _other_end(route: Route, street: Street, y: float) -> Spot:
    """Beyond the fence, on the side where one is not."""
    side = -1.0 if route.here[0] > 0 else 1.0
    return side * (street.half_m + route.random.uniform(*AWAY_M)), y


# ------------------------------------------------------------------------------------------------ scenes of a mall
def _shopping(route: Route, mall: Mall) -> None:
    """In by one end, a few stops, out by either end, and a while elsewhere."""
    random, pace = route.random, _pace(route)
    left, right = (-10.0, 0.0), (mall.length_m + 10.0, 0.0)
    route.go(left if route.here[0] < 0 else right, mps=pace)
    for _ in range(int(random.integers(1, 5))):
        among = mall.units if random.random() < 0.65 else mall.elsewhere
        spot = among[int(random.integers(len(among)))]
        route.go((spot[0], 0.0), spot, mps=pace, indoors=True)
        route.stay(_minutes(route, 7.0), mall.roam_m, indoors=True)
        route.go((spot[0], 0.0), mps=pace, indoors=True)
    way_out, away_m = (left, -1.0) if random.random() < 0.5 else (right, 1.0), random.uniform(*AWAY_M)
    route.go(way_out[0], mps=pace, indoors=True)
    route.go((way_out[0][0] + way_out[1] * away_m, 0.0), mps=pace)
    route.stay(_minutes(route, 12.0), 4.0, indoors=True)


def _pace(route: Route) -> float:
    return route.random.uniform(*WALK_MPS)


def _minutes(route: Route, median: float) -> float:
    """Seconds of a stay: most near the median, a few much longer; three hours at most."""
    return float(min(60.0 * median * route.random.lognormal(0.0, 0.8), 3 * 3600.0))
