"""What a person may have here now, because they asked."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from geo_offers.wire.base import Answer, Request


class NearbyAsked(Request, frozen=True, kw_only=True):
    """Where the person is who asks. It is used for the answer and kept nowhere."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    accuracy_m: Annotated[
        float, Meta(ge=0, le=10_000, description="how far off the position may be; looks farther, by 200 m at most")
    ] = 0.0


class NearbyOffer(Answer, frozen=True, kw_only=True):
    """What a campaign has to say to this person now. Nothing is reserved by it: the last one of a budget may go."""

    campaign: UUID
    fence: str
    place: Annotated[str, Meta(description="what people call the store, or the geofence where there is no store")]
    title: str
    body: str
    distance_m: Annotated[int, Meta(description="to the geofence, rounded up to 50 m; 0 inside")]
    until: Annotated[datetime, Meta(description="so long it holds, as far as is known now; ask again then")]
    store: str | None = None
    link: str | None = None
    image: str | None = None
    data: dict[str, str] | None = None


class Nearby(Answer, frozen=True, kw_only=True):
    """At most 20, the nearest first."""

    items: list[NearbyOffer]
