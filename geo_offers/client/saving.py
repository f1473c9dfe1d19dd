"""When a phone that was told how far and how long it may be silent has something to send.

A phone that sends what `due` says loses no transition and gets each at the same fix as one that sends everything:

- within the safe radius of the last fix that was sent no border can be reached: what is kept back there says nothing;
- within the refresh circle only borders of the regions named can be reached: a way that comes near none of these says
  nothing either, as long as the straight way that is left of it comes near none. Of a region that is a fence itself
  (`exact`) a phone knows as well that it is still inside; around another one it stays by the safe radius;
- a dwell is told at the first fix at or after its deadline, which is never after `send_after_s`;
- the way between two fixes that follow one another may be a cross, so the last fix that was kept back goes out before
  the first one that was not. Where only the safe radius is known it mostly has gone already: a fix from which another
  step could lead out is sent, and with it a new radius begins.

What a phone does not look at is lost with or without this: a fence entered and left between two of its fixes is a cross
at best. A fence that is made or changed meanwhile is told of within ten minutes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from geo_offers import wire
from geo_offers.places.earth import EQUATOR_M, Ecef, ecef

STRIDE: Final = 1.25
"""How much longer than the last step the next one is taken to be."""
MARGIN_M: Final = 1.0
"""For the rounding of regions."""
INNER: Final = 1 - 2e-5
"""A radius is along the ground; the straight line under 100 km of it is shorter by a metre."""

Due = Literal["nothing", "this", "both"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a phone was, and when by its own clock."""

    at_us: int
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Circle:
    """A region by its middle in space; `exact` where it is the fence itself, not only around it."""

    middle: Ecef
    radius_m: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The newest fix that was sent, and what the answer to it said.

    clear_m: out to here no border is but those of the circles, and the phone was in none of them that is not exact; 0
    where that is not known.
    """

    place: Place
    safe_radius_m: float
    send_after_s: float
    circles: tuple["Circle", ...] = ()
    clear_m: float = 0.0

    @classmethod
    def of(cls, place: Place, said: wire.Next) -> "Told":
        """Make it of an answer's `next`. The refresh circle is asked for with `next=ios` or `android`."""
        if said.refresh is None:
            return cls(place, said.safe_radius_m, said.send_after_s)
        circles = tuple(Circle(ecef(one.lat, one.lon), one.radius_m, one.exact) for one in said.regions)
        here = ecef(place.lat, place.lon)
        told = all(one.exact or math.dist(here, one.middle) > one.radius_m + MARGIN_M for one in circles)
        return cls(place, said.safe_radius_m, said.send_after_s, circles, said.refresh.radius_m if told else 0.0)


def due(told: Told | None, before: Place | None, fix: Place) -> Due:
    """Whether to send this fix, or the one before it as well, in one request.

    told: None where nothing was sent yet, or the answer had no `next`. before: the fix before this one where that was
    not sent; None where it was, or where there is none.
    """
    if told is None:
        return "this"
    last = before or told.place
    within_m = max(between_m(told.place, last), between_m(told.place, fix))
    clear = within_m <= told.clear_m and all(_says_nothing(told.circles, start, fix) for start in (last, told.place))
    silent_s = (fix.at_us - told.place.at_us) / 1e6
    if within_m <= told.safe_radius_m:  # the straight way from what was sent to here says as little as the true one
        could_leave = within_m + STRIDE * between_m(last, fix) > told.safe_radius_m
        if 0 <= silent_s < told.send_after_s and (clear or not could_leave):
            return "nothing"
        return "this"
    if clear and 0 <= silent_s < told.send_after_s:
        return "nothing"
    return "this" if before is None else "both"


def between_m(one: Place, other: Place) -> float:
    """The straight line through the Earth: shorter than the way along the ground by 1 cm at 20 km."""
    return math.dist(ecef(one.lat, one.lon), ecef(other.lat, other.lon))


def _says_nothing(circles: Sequence[Circle], start: Place, end: Place) -> bool:
    """Whether a way, straight in longitude and latitude, is well outside or well inside of each circle."""
    if not circles:
        return True
    a, b = ecef(start.lat, start.lon), ecef(end.lat, end.lon)
    way = (b[0] - a[0], b[1] - a[1], b[2] - a[2])
    length2 = way[0] * way[0] + way[1] * way[1] + way[2] * way[2]
    steepest = math.tan(math.radians(min(89.9, max(abs(start.lat), abs(end.lat)))))
    margin_m = MARGIN_M + length2 * (1 + 2 * steepest) / EQUATOR_M
    return all(
        _away_m(one.middle, a, way, length2) > one.radius_m + margin_m
        or (one.exact and max(math.dist(a, one.middle), math.dist(b, one.middle)) < INNER * one.radius_m - margin_m)
        for one in circles
    )


def _away_m(point: Ecef, start: Ecef, way: Ecef, length2: float) -> float:
    """From a point to the straight line from `start` along `way`."""
    x, y, z = point[0] - start[0], point[1] - start[1], point[2] - start[2]
    along = (x * way[0] + y * way[1] + z * way[2]) / length2 if length2 else 0.0
    share = min(1.0, max(0.0, along))
    return math.hypot(x - share * way[0], y - share * way[1], z - share * way[2])
