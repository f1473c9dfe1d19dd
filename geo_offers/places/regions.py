"""What a phone is told to do next: how far it may go unheard, when to look anyway, and what to watch itself.

Within the safe radius no fence border can be reached, so no transition can happen there. A phone that sleeps looks
where it is when it could have left that radius; one that is in a fence sends a fix at the next deadline there. All
values are rounded down.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from geo_offers.places.fences import FenceId
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.nearest import Around

MAX_SAFE_RADIUS_M = 10_000.0
MAX_SEND_AFTER_S = 600.0
"""So late a phone may learn that fences have changed."""
MIN_CHECK_AFTER_S = 1.0
WALKING_MPS = 1.5
"""A phone that stands still, or does not say, may start to walk."""
CAUTION = 0.999
"""For what distances leave out beyond 50 km, and for the arithmetic of phones."""
DEGREE_M = 111_000.0
"""Of latitude near a pole, at the least."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which regions an app wants: so many of the nearest fences, and a circle to leave for the next ones."""

    fences: int
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Refresh:
    """A circle around the phone: within it no border of a fence that is not among the regions can be reached."""

    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is around a place.

    regions: fences with circles around them, for the phone's own monitoring; those whose borders are nearest come
    first.
    """

    safe_radius_m: float
    regions: list[tuple[FenceId, Around]]
    refresh: Refresh | None = None


def look(index: GeofenceIndex, lat: float, lon: float, wish: Wish) -> Outlook:
    """Look around a position: some microseconds for the radius alone, some ten for twenty fences."""
    found = index.regions(lat, lon, wish.fences + 1 if wish.refresh else max(1, wish.fences))
    safe_m = [_safe_m(away_m, lat) for _, away_m, _ in found[:1] + found[wish.fences :]]
    refresh_m = safe_m[-1] if len(found) > wish.fences else MAX_SAFE_RADIUS_M
    return Outlook(
        safe_radius_m=safe_m[0] if found else MAX_SAFE_RADIUS_M,
        regions=[(fence, around) for fence, _, around in found[: wish.fences]],
        refresh=Refresh(lat, lon, refresh_m) if wish.refresh else None,
    )


def send_after_s(deadlines_s: Iterable[float]) -> float:
    """When a phone is to send a fix wherever it is, in seconds: at the next deadline, and now and then anyway.

    deadlines_s: seconds from the fix to each dwell or exit deadline that it waits for.
    """
    return _floor(max(0.0, min((MAX_SEND_AFTER_S, *deadlines_s))))


def check_after_s(safe_radius_m: float, speed_mps: float | None, accuracy_m: float, send_s: float) -> float:
    """When a phone that sleeps is to look where it is, in seconds.

    That is when it could have left the safe radius at its speed, from as far off as its fix may be; never later than
    it is to send (`send_s`).
    """
    way_s = (safe_radius_m - accuracy_m) / max(speed_mps or 0.0, WALKING_MPS)
    return _floor(min(send_s, max(MIN_CHECK_AFTER_S, way_s)))


def _safe_m(away_m: float, lat: float) -> float:
    """The radius around a phone out of which no way between two of its fixes leads, where a border is so far away.

    Such a way is straight in longitude and latitude: it bends like a parallel, less than the circle itself does, unless
    the circle comes near a pole.
    """
    to_pole_m = (90.0 - abs(lat)) * DEGREE_M
    return _floor(max(0.0, min(MAX_SAFE_RADIUS_M, away_m * CAUTION, to_pole_m / 2)))


def _floor(value: float) -> float:
    """To a tenth."""
    return math.floor(value * 10) / 10
