"""Advice on the wire."""

from math import floor
from typing import Final

from geo_offers import wire
from geo_offers.pipeline.advice import NOTHING_LIVE_S, Advice
from geo_offers.places.fences import FenceId
from geo_offers.places.nearest import Around

UNSEEN: Final = wire.Next(
    safe_radius_m=0.0, check_after_s=NOTHING_LIVE_S, send_after_s=NOTHING_LIVE_S, regions=[], pause_s=NOTHING_LIVE_S
)
"""For a phone that may not be located so: nothing follows from where it is, and it may as well be silent."""


def told(advice: Advice, pause_s: float | None) -> wire.Next:
    refresh = advice.outlook.refresh
    return wire.Next(
        safe_radius_m=advice.outlook.safe_radius_m,
        check_after_s=advice.check_after_s,
        send_after_s=advice.send_after_s,
        regions=[_region(fence, around) for fence, around in advice.outlook.regions],
        refresh=None
        if refresh is None
        else wire.RefreshRegion(lat=refresh.lat, lon=refresh.lon, radius_m=refresh.radius_m),
        pause_s=pause_s,
    )


def _region(fence: FenceId, around: Around) -> wire.Region:
    """Write a region, to a decimetre. Python's `round` would take as long as all the rest."""
    lat, lon, radius_m, exact = around
    return wire.Region(
        fence=fence,
        lat=floor(lat * 1e6 + 0.5) / 1e6,
        lon=floor(lon * 1e6 + 0.5) / 1e6,
        radius_m=floor(radius_m * 10 + 0.5) / 10,
        exact=exact,
    )
