"""Whether the campaign has words for this person: a field of theirs may be without a value, and without a fallback."""

from geo_offers.offers.gates.rule import NO_DETAIL, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.rendering import Facts, lacking
from geo_offers.offers.snapshot import Snapshot


def words(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Of a test all variants are looked at, whichever is drawn later: who is in it does not depend on the draw."""
    campaign = candidate.campaign
    if not campaign.fields:
        return True, NO_DETAIL
    known = facts(snapshot, candidate)
    said = [campaign.texts, *(one.texts for one in campaign.experiment.variants if one.texts is not None)]
    missing = {name for texts in said for name in lacking(texts, campaign.fields, known)}
    return not missing, {"lacking": sorted(missing)} if missing else {}


def facts(snapshot: Snapshot, candidate: Candidate, offer_end_us: int | None = None) -> Facts:
    """What an offer of this campaign can be told with."""
    arrival, person = candidate.arrival, snapshot.person
    fence, distance_m = arrival.fence, arrival.transition.distance_m
    return Facts(
        store=arrival.store_name or fence.store or fence.name,
        fence=fence.name,
        workspace=snapshot.policy.name,
        zone=arrival.zone,
        locale=person.locale,
        offer_end_us=offer_end_us,
        campaign_end_us=candidate.campaign.until_us,
        distance_m=None if distance_m is None else max(distance_m, 0.0),
        profile=person.words,
    )
