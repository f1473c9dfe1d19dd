"""Whether two places meet: share a point, be it of their borders."""

import shapely

from geo_offers.places.geometry import Circle, Geometry, border_distance_one


def meet(one: Geometry, other: Geometry) -> bool:
    """Exact for areas in longitude and latitude; with a circle as exact as the border distance of the other."""
    if isinstance(one, Circle):
        return border_distance_one(other, one.lat, one.lon) <= one.radius_m
    if isinstance(other, Circle):
        return border_distance_one(one, other.lat, other.lon) <= other.radius_m
    return bool(shapely.intersects(one.shape, other.shape))
