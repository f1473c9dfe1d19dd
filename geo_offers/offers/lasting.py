"""How long an offer holds at most: to the end of its campaign and of all that let it through."""

from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.hours import weekly_until
from geo_offers.offers.snapshot import Arrival


def lasts_until_us(campaign: Campaign, arrival: Arrival, now_us: int, most_us: int) -> int:
    """The first end: `most_us`, the campaign's, its hours', the store's, its events', the begin of a silence.

    For a candidate that passes the gates now.
    """
    moment, when = arrival.moment, campaign.when
    ends = [
        campaign.until_us,
        moment.embargo.until_us,
        None if moment.opening is None else moment.opening.until_us,
        weekly_until(campaign.hours, now_us, arrival.zone) if campaign.hours else None,
        *(moment.events[name].until_us for name in (*when.events, *when.unless) if name in moment.events),
    ]
    return min([most_us, *(end for end in ends if end is not None)])
