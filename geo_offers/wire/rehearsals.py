"""What a campaign would do: a preview before anybody gets anything."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from geo_offers.wire.base import Answer, Request


class PreviewAsked(Request, frozen=True, kw_only=True):
    days: Annotated[int, Meta(ge=1, le=90, description="of visits, back from now")] = 28


class OffersAWeek(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """Of people with an entry: the middle one, the one at nine tenths, and who gets most."""

    p50: float
    p90: float
    max: float


class Pressure(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """Offers of all campaigns, without the previewed one and with it."""

    before: OffersAWeek
    after: OffersAWeek


class Overlapping(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """Another campaign: people whom both concern, and how many of its offers the previewed one takes."""

    campaign: UUID
    shared_people: int
    offers_taken: int


class CostRange(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """For these days, in the currency of the campaign's `value` and `stakes`."""

    low: float
    high: float


class CampaignPreview(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """What of these days' arrivals would have come. An entry is a moment at which the campaign was a candidate.

    What fewer than ten people had is not told: `offers` is null then, a reason is left out, and `untold` counts them.
    """

    campaign: UUID
    version: int
    source: Annotated[
        Literal["visits", "synthetic"], Meta(description="synthetic: invented people, as fewer than ten had an entry")
    ]
    days: int
    sampled: Annotated[bool, Meta(description="there were more people than were looked at; counts are of these")]
    people: int
    entries: int
    offers: int | None
    silences: dict[str, int]
    untold: int
    per_person: OffersAWeek | None
    pressure: Pressure | None
    overlap: list[Overlapping]
    cost: CostRange | None
