"""Whether this is the campaign's time."""

from geo_offers.offers.gates.rule import Verdict, said_at
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def schedule(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    campaign = candidate.campaign
    return campaign.scheduled(snapshot.now_us), {"from": said_at(campaign.from_us), "until": said_at(campaign.until_us)}
