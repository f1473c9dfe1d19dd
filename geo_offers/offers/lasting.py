"""How long an offer holds: to the end of its campaign and of all that let it through, and whether it holds still."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.context import UNKNOWN, Interaction, Moment, purchase_until_us
from geo_offers.offers.hours import weekly_until
from geo_offers.offers.snapshot import Arrival


def lasts_until_us(campaign: Campaign, arrival: Arrival, now_us: int, most_us: int) -> int:
    """The first end: `most_us`, the campaign's, its hours', the store's, its events', the begin of a silence.

    For a candidate that passes the gates now.
    """
    moment, when = arrival.moment, campaign.when
    ends = [most_us, campaign.until_us, moment.embargo.until_us]
    if moment.opening is not None:
        ends.append(moment.opening.until_us)
    if campaign.hours:
        ends.append(weekly_until(campaign.hours, now_us, arrival.zone))
    if when.events or when.unless:
        ends += [moment.events[name].until_us for name in (*when.events, *when.unless) if name in moment.events]
    return min([end for end in ends if end is not None])


def holds(campaign: Campaign, moment: Moment, interactions: Iterable[Interaction], zone: ZoneInfo, now_us: int) -> bool:
    """Whether the gates of schedule, hours, context and embargo would let the campaign through now."""
    events, when = moment.events, campaign.when
    return (
        campaign.scheduled(now_us)
        and (not campaign.hours or weekly_until(campaign.hours, now_us, zone) is not None)
        and (moment.opening is None or moment.opening.open)
        and all(events.get(name, UNKNOWN).on for name in when.events)
        and all(events.get(name, UNKNOWN).on is False for name in when.unless)
        and not moment.embargo.on
        and purchase_until_us(interactions, campaign.id, now_us) is None
    )
