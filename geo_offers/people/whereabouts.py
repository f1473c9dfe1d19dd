"""Where a person may be located at all: how far they let us, and the places where they are not to be seen.

Both are part of the rhythm that the person owns. What they hide is not looked at: no fence is asked, nothing is kept.
"""

from typing import Final, Literal

from msgspec import Struct

from geo_offers.places.earth import ecef
from geo_offers.places.geometry import Circle, contains_one

Locate = Literal["off", "foreground", "always", "coarse"]


class Whereabouts(Struct, frozen=True):
    """`locate`: off, only while the app is in the foreground, always, or coarsely. `not_at`: circles to be left out.

    A coarse position is good to a kilometre at best, and no fence is told by one, so it is not looked at either.
    """

    locate: Locate = "always"
    not_at: tuple[Circle, ...] = ()

    def is_unseen(self, *, foreground: bool) -> bool:
        """Whether a ping is not to be looked at, wherever it is. foreground: the phone said that the app was open."""
        return self.locate != "always" and not (self.locate == "foreground" and foreground)

    def hides(self, lat: float, lon: float) -> bool:
        """Whether the person is not to be seen at a place."""
        point = ecef(lat, lon)
        return any(contains_one(circle, lat, lon, point) for circle in self.not_at)

    def touches(self, circle: Circle) -> bool:
        """Whether the person may be at such a place anywhere in a circle."""
        return any(hidden.meets(circle) for hidden in self.not_at)


ANYWHERE: Final = Whereabouts()
UNKNOWN: Final = Whereabouts("off")
"""Of a person whose rhythm cannot be read."""
