"""Whether this is the campaign's time."""

from geo_offers.offers.gates.rule import Verdict, said_at
from geo_offers.offers.hours import weekly_until
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def schedule(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Pass between the campaign's first and last instant, and there within its hours, if it has any."""
    campaign = candidate.campaign
    detail = {"from": said_at(campaign.from_us), "until": said_at(campaign.until_us)}
    if not campaign.scheduled(snapshot.now_us):
        return False, detail
    if campaign.hours:
        until_us = weekly_until(campaign.hours, snapshot.now_us, candidate.arrival.zone)
        return until_us is not None, detail | {"hours_until": said_at(until_us)}
    return True, detail
