"""Whether anything may be said at all: kill switches, consent, a live campaign, a fresh arrival."""

from typing import Any

from geo_offers.offers.gates.rule import Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot
from geo_offers.people.consent import Purpose
from geo_offers.presence.states import TransitionType


def kill_switch(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    policy = snapshot.policy
    if policy.killed_all:
        return False, {"workspace": policy.killed, "all": True}
    return not policy.killed, {"workspace": policy.killed}


def consent(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    """Name the ledger's rows that allow it, or do not."""
    consents = snapshot.person.consents
    detail: dict[str, Any] = {}
    for purpose in (Purpose.LOCATE, Purpose.OFFERS):
        said = consents.said.get(purpose)
        detail[purpose] = consents.granted(purpose)
        detail[f"{purpose}_text"] = None if said is None else said.text_version
        detail[f"{purpose}_seq"] = None if said is None else said.seq
    return detail[Purpose.LOCATE] and detail[Purpose.OFFERS], detail


def live(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Live is what is approved, at a store that is not paused, with no breaker of its own, its store or fence open."""
    campaign = candidate.campaign
    detail: dict[str, Any] = {"state": campaign.state, "locales": len(campaign.texts)}
    if candidate.wanted.store in snapshot.policy.paused_stores:
        return False, detail | {"paused": "store"}
    by = snapshot.policy.tripped.by(campaign.id, candidate.wanted.store, candidate.arrival.fence.id)
    return (campaign.live, detail) if by is None else (False, detail | {"breaker": by})


def stale(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    if snapshot.device.replay:
        return True, {"replay": True}
    age_s = (snapshot.now_us - candidate.arrival.transition.at_us) / 1_000_000
    return age_s <= snapshot.stale_after_s, {"age_s": round(age_s, 1), "limit_s": snapshot.stale_after_s}


def user_inside(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    transition = candidate.arrival.transition
    inside = transition.fence in snapshot.others_inside
    return not (inside and TransitionType.ENTER in transition.triggers), {"other_device_inside": inside}
