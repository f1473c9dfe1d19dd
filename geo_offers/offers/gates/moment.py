"""Whether this is the campaign's time."""

from typing import Any

from geo_offers.offers.gates.rule import FAILED, PASSED, Verdict, said_at
from geo_offers.offers.hours import weekly_until
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot


def schedule(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Pass between the campaign's first and last instant, and there within its hours, if it has any."""
    campaign = candidate.campaign
    if not campaign.scheduled(snapshot.now_us):
        return FAILED
    return PASSED if not campaign.hours or _hours_until(snapshot, candidate) is not None else FAILED


def told_schedule(snapshot: Snapshot, candidate: Candidate, *, passed: bool) -> dict[str, Any]:
    campaign = candidate.campaign
    detail = {"from": said_at(campaign.from_us), "until": said_at(campaign.until_us)}
    if campaign.hours and (passed or campaign.scheduled(snapshot.now_us)):
        detail["hours_until"] = said_at(_hours_until(snapshot, candidate))
    return detail


def _hours_until(snapshot: Snapshot, candidate: Candidate) -> int | None:
    return weekly_until(candidate.campaign.hours, snapshot.now_us, candidate.arrival.zone)
