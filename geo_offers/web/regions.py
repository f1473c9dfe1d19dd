"""Advice on the wire. A fence's region is made once, since thousands of phones are told of the same stores."""

from typing import Final

from geo_offers import wire
from geo_offers.pipeline.advice import Advice
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import Circle, Geometry, enclosing
from geo_offers.places.regions import Refresh

KEPT: Final = 20_000  # a region takes about 400 bytes

_made: dict[FenceId, tuple[Geometry, wire.Region]] = {}  # of all workspaces: the geometry tells whose


def told(advice: Advice, pause_s: float | None) -> wire.Next:
    around = None if (circle := advice.outlook.refresh) is None else _around(circle)
    return wire.Next(
        safe_radius_m=advice.outlook.safe_radius_m,
        check_after_s=advice.check_after_s,
        send_after_s=advice.send_after_s,
        regions=[region(fence) for fence in advice.outlook.nearest],
        refresh=around,
        pause_s=pause_s,
    )


def forget() -> None:
    """As after a start."""
    _made.clear()


def region(fence: Geofence) -> wire.Region:
    """The circle around a fence."""
    found = _made.get(fence.id)
    if found is None or found[0] is not fence.geometry:
        if len(_made) >= KEPT:
            _made.clear()
        found = _made[fence.id] = (fence.geometry, _region(fence))
    return found[1]


def _around(circle: Refresh) -> wire.RefreshRegion:
    return wire.RefreshRegion(lat=circle.lat, lon=circle.lon, radius_m=circle.radius_m)


def _region(fence: Geofence) -> wire.Region:
    circle = enclosing(fence.geometry)
    return wire.Region(
        fence=fence.id,
        lat=round(circle.lat, 6),
        lon=round(circle.lon, 6),
        radius_m=round(circle.radius_m, 1),
        exact=isinstance(fence.geometry, Circle),
    )
