"""Private places: where nobody is to be located, and which fences lie over them.

A workspace names them, by category: what goes on there is nobody's business (`docs/decisions/0023-private-places.md`).
In memory they are a `GeofenceIndex` of their own, as fences that take every fix at its word.
"""

from typing import Final, Literal

import shapely

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, Geometry, border_distance_one
from geo_offers.places.outline import Drawn

Category = Literal["health", "worship", "shelter", "union", "politics", "lgbtq", "school", "correctional", "other"]

APPROVERS: Final = 2
"""So many people, none of them its author, let a fence be that lies over a private place."""

_PLAIN: Final = Detect("raw")


def private_place(ident: str, version: int, category: Category, outline: Drawn) -> Geofence:
    """A private place as the index holds it."""
    return Geofence(FenceId(f"private/{ident}"), version, "", outline, None, (category,), active=True, detect=_PLAIN)


def meet(one: Geometry, other: Geometry) -> bool:
    """Whether two geometries have a point in common.

    Of a circle and another one the answer may err by centimetres where they all but touch; areas that only touch on the
    antimeridian do not meet.
    """
    if isinstance(one, Circle):
        if isinstance(other, Circle):
            return one.meets(other)
        return border_distance_one(other, one.lat, one.lon) <= one.radius_m
    return bool(shapely.intersects(one.shape, other.shape)) if isinstance(other, Area) else meet(other, one)
