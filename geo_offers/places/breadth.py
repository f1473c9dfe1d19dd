"""How broad a fence is: the hydraulic diameter, four times the area over the border's length.

A circle's is its diameter, a square's its side; holes and dents make it less.
"""

from math import isnan

import numpy as np

from geo_offers.places.earth import FloatArray, local_radius_m
from geo_offers.places.outline import Drawn, circle_of, is_round, outline_of, rings_of

SEAM_DEG = 180.0


def breadth_m(drawn: Drawn) -> float:
    """Metres, to 1 % for what is not as wide as a continent. A cut at the antimeridian is no border.

    On the sphere that fits best at the border's first corner.
    """
    outline = outline_of(drawn)
    if is_round(outline):
        return 2 * circle_of(outline).radius_m
    border = np.frombuffer(outline, np.float64).reshape(-1, 2)
    area, length = _ring(border, cut=False)
    if isnan(area):  # several rings
        cut = bool(np.nanmin(border[:, 0]) == -SEAM_DEG and np.nanmax(border[:, 0]) == SEAM_DEG)
        area = length = 0.0
        for shell, *holes in rings_of(outline):
            for sign, ring in ((1, shell), *((-1, hole) for hole in holes)):
                ring_area, ring_length = _ring(ring, cut=cut)
                area, length = area + sign * ring_area, length + ring_length
    return 4 * area / length * local_radius_m(float(border[0, 1]))


def _ring(corners: FloatArray, *, cut: bool) -> tuple[float, float]:
    """Area and length of a ring on a sphere of radius 1; NaN where it is several.

    cut: edges along 180 degrees are no border.
    The area between an edge and the equator is what it turns by times the mean sine of its latitudes, here by a series.
    """
    angles = np.radians(corners)
    turn, rise = (angles[1:] - angles[:-1]).T
    middle = angles[1:, 1] - rise / 2
    lengths = np.hypot(turn * np.cos(middle), rise)
    if cut:
        seam = np.abs(corners[:, 0]) == SEAM_DEG
        lengths[seam[1:] & seam[:-1]] = 0.0
    area = turn @ (np.sin(middle) * (1 - rise * rise / 24))
    return abs(float(area)), float(lengths.sum())
