"""Advice on the wire."""

from math import floor

from geo_offers import wire
from geo_offers.pipeline.advice import Advice
from geo_offers.places.fences import Geofence
from geo_offers.places.geometry import enclosing


def told(advice: Advice, pause_s: float | None) -> wire.Next:
    refresh = advice.outlook.refresh
    return wire.Next(
        safe_radius_m=advice.outlook.safe_radius_m,
        check_after_s=advice.check_after_s,
        send_after_s=advice.send_after_s,
        regions=[_region(fence) for fence in advice.outlook.nearest],
        refresh=None
        if refresh is None
        else wire.RefreshRegion(lat=refresh.lat, lon=refresh.lon, radius_m=refresh.radius_m),
        pause_s=pause_s,
    )


def _region(fence: Geofence) -> wire.Region:
    """Draw the circle around a fence, to a decimetre. Python's `round` would take as long as all the rest."""
    geometry = fence.geometry
    circle = enclosing(geometry)
    return wire.Region(
        fence=fence.id,
        lat=floor(circle.lat * 1e6 + 0.5) / 1e6,
        lon=floor(circle.lon * 1e6 + 0.5) / 1e6,
        radius_m=floor(circle.radius_m * 10 + 0.5) / 10,
        exact=geometry is circle,
    )
