"""What a phone is told to do next: how far it may go unheard, when to look anyway, and what to watch itself.

Within the safe radius no fence border can be reached, so no transition can happen there. The check is due when the
phone could have left that radius, or earlier for a deadline of a fence it is in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geo_offers.places.earth import Ecef, ecef
from geo_offers.places.fences import FenceId
from geo_offers.places.geometry import enclosing
from geo_offers.places.index import GeofenceIndex

REGIONS = 20
"""Apple's limit of regions that an app may watch."""
MAX_SAFE_RADIUS_M = 10_000.0
MAX_CHECK_AFTER_S = 600.0
MIN_CHECK_AFTER_S = 1.0
WALKING_MPS = 1.5
"""A phone that stands still, or does not say, may start to walk."""
CAUTION = 0.999
"""Distances to borders of areas are known to a thousandth."""


@dataclass(frozen=True, slots=True)
class Region:
    """A circle around a fence, for the phone's own monitoring."""

    fence: FenceId
    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Next:
    """The hint in a ping's answer; regions nearest first."""

    safe_radius_m: float
    check_after_s: float
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What was found around a place: how far the nearest border is, and the nearest fences. It stays good nearby."""

    point: Ecef
    changes: int
    border_m: float
    regions: tuple[Region, ...]

    def moved_m(self, lat: float, lon: float) -> float:
        """How far this position is from the one looked at, over the ground and rounded up."""
        return math.dist(self.point, ecef(lat, lon)) / CAUTION

    def holds(self, index: GeofenceIndex, lat: float, lon: float) -> bool:
        """Whether it need not be made again: no fence has changed, and most of the way to the border is left."""
        return self.changes == index.changes and self.moved_m(lat, lon) <= self.border_m / 4


def look(index: GeofenceIndex, lat: float, lon: float) -> Outlook:
    """Look around a position. The dear part of an advice: some hundred microseconds among many fences."""
    nearest = index.nearest(lat, lon, REGIONS)
    border_m = abs(nearest[0][1]) * CAUTION if nearest else MAX_SAFE_RADIUS_M
    circles = [(fence.id, enclosing(fence.geometry)) for fence, _ in nearest]
    return Outlook(
        point=ecef(lat, lon),
        changes=index.changes,
        border_m=min(MAX_SAFE_RADIUS_M, border_m),
        regions=tuple(Region(fence, circle.lat, circle.lon, circle.radius_m) for fence, circle in circles),
    )


def advise(outlook: Outlook, lat: float, lon: float, speed_mps: float | None, deadlines_s: Sequence[float]) -> Next:
    """Advise a phone at this position, for which the outlook holds.

    deadlines_s: seconds from now to each dwell or exit deadline it waits for. The safe radius is what is left of the
    outlook's, so that it is never too large.
    """
    safe_radius_m = max(0.0, outlook.border_m - outlook.moved_m(lat, lon))
    soonest_s = min(MAX_CHECK_AFTER_S, safe_radius_m / max(speed_mps or 0.0, WALKING_MPS), *deadlines_s)
    return Next(
        safe_radius_m=safe_radius_m,
        check_after_s=max(MIN_CHECK_AFTER_S, soonest_s),
        regions=outlook.regions,
    )
