"""Fences as regions on the wire: made once, since thousands of phones are told of the same stores."""

from typing import Final

from geo_offers import wire
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import Geometry, enclosing

KEPT: Final = 20_000  # a region takes about 400 bytes

_made: dict[FenceId, tuple[Geometry, wire.Region]] = {}  # of all workspaces: the geometry tells whose


def region(fence: Geofence) -> wire.Region:
    """The circle around a fence."""
    found = _made.get(fence.id)
    if found is None or found[0] is not fence.geometry:
        if len(_made) >= KEPT:
            _made.clear()
        found = _made[fence.id] = (fence.geometry, _region(fence))
    return found[1]


def _region(fence: Geofence) -> wire.Region:
    circle = enclosing(fence.geometry)
    return wire.Region(
        fence=fence.id, lat=round(circle.lat, 6), lon=round(circle.lon, 6), radius_m=round(circle.radius_m, 1)
    )
