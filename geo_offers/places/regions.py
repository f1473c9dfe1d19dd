"""What a phone is told to do next: how far it may go unheard, when to look anyway, and what to watch itself.

Within the safe radius no fence border can be reached, so no transition can happen there. The check is due when the
phone could have left that radius, or earlier for a deadline of a fence it is in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


def advise(index: GeofenceIndex, lat: float, lon: float, speed_mps: float | None, deadlines_s: Sequence[float]) -> Next:
    """Advise a phone at this position. `deadlines_s`: seconds from now to each dwell or exit deadline it waits for."""
    nearest = index.nearest(lat, lon, REGIONS)
    border_m = abs(nearest[0][1]) * CAUTION if nearest else MAX_SAFE_RADIUS_M
    safe_radius_m = min(MAX_SAFE_RADIUS_M, border_m)
    soonest_s = min(MAX_CHECK_AFTER_S, safe_radius_m / max(speed_mps or 0.0, WALKING_MPS), *deadlines_s)
    circles = [(fence.id, enclosing(fence.geometry)) for fence, _ in nearest]
    return Next(
        safe_radius_m=safe_radius_m,
        check_after_s=max(MIN_CHECK_AFTER_S, soonest_s),
        regions=tuple(Region(fence, circle.lat, circle.lon, circle.radius_m) for fence, circle in circles),
    )
