"""How broad a fence is."""

import math

import numpy as np
import shapely

from geo_offers.places.geometry import Circle, Geometry


def breadth_m(geometry: Geometry) -> float:
    """Breadth."""
    if isinstance(geometry, Circle):
        return 2 * geometry.radius_m
    lat = geometry.shape.centroid.y
    flat = shapely.transform(geometry.shape, lambda c: c * np.array([111195 * math.cos(math.radians(lat)), 111195]))
    return float(4 * flat.area / flat.length)
