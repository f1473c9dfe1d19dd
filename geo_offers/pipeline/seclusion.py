"""Which pings are not looked at: those from private places, and those that their person does not let us look at.

It is asked at the door, before anything else is done with a ping, and again where a ping that waited is stepped. What
is hidden is answered as accepted; it is in no state, no figure and no row, and the phone counts as silent.
"""

from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline.requests import Code, Point
from geo_offers.places.fences import FenceId
from geo_offers.places.geometry import enclosing
from geo_offers.places.index import GeofenceIndex


def secluded(
    point: Point, where: Whereabouts | None, private: GeofenceIndex | None, fences: GeofenceIndex | None
) -> Code | None:
    """PRIVATE or UNSEEN where a point is hidden, else None.

    where: what its person said, None for the default. private: the workspace's private places, None where it has none.
    fences: the workspace's, for what the phone's own monitoring saw: that has no position, so it is hidden where the
    fence comes near a place that is hidden.
    """
    if where is not None and where.is_unseen(foreground=point.foreground):
        return Code.UNSEEN
    if point.region is not None:
        fence = None if fences is None else fences.get(FenceId(point.region))
        if fence is None:
            return None
        around = enclosing(fence.geometry)
        hidden = where is not None and where.touches(around)
        if not hidden and private is not None:
            hidden = bool(
                private.locate_one(around.lat, around.lon) or private.around(around.lat, around.lon, around.radius_m)
            )
        return Code.PRIVATE if hidden else None
    if point.lat is None or point.lon is None:
        return None
    if (where is not None and where.hides(point.lat, point.lon)) or (
        private is not None and private.locate_one(point.lat, point.lon)
    ):
        return Code.PRIVATE
    return None
