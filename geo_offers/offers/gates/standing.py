"""Whether anything may be said at all: kill switches, consent, a live campaign, a fresh arrival."""

from typing import Any, Final

from geo_offers.offers.breakers import NONE_TRIPPED
from geo_offers.offers.gates.rule import NO_DETAIL, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Arrival, Snapshot
from geo_offers.people.consent import Purpose
from geo_offers.presence.states import TransitionType

_ASKED: Final = [(purpose, f"{purpose}_text", f"{purpose}_seq") for purpose in (Purpose.LOCATE, Purpose.OFFERS)]


def kill_switch(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    policy = snapshot.policy
    if policy.killed_all:
        return False, {"workspace": policy.killed, "all": True}
    return not policy.killed, {"workspace": policy.killed}


def consent(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    """Name the ledger's rows that allow it, or do not."""
    said = snapshot.person.consents.said
    detail: dict[str, Any] = {}
    for purpose, text, seq in _ASKED:
        word = said.get(purpose)
        detail[purpose] = word is not None and word.granted
        detail[text] = None if word is None else word.text_version
        detail[seq] = None if word is None else word.seq
    return detail[Purpose.LOCATE] and detail[Purpose.OFFERS], detail


def live(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Live is what is approved, at a store that is not paused, with no breaker of its own, its store or fence open."""
    return candidate.campaign.live and not _paused(snapshot, candidate) and _breaker(
        snapshot, candidate
    ) is None, NO_DETAIL


def live_here(snapshot: Snapshot, _arrival: Arrival) -> bool:
    return bool(snapshot.policy.paused_stores) or snapshot.policy.tripped is not NONE_TRIPPED


def told_live(snapshot: Snapshot, candidate: Candidate, *, passed: bool) -> dict[str, Any]:
    campaign = candidate.campaign
    detail: dict[str, Any] = {"state": campaign.state, "locales": len(campaign.texts)}
    if passed:
        return detail
    if _paused(snapshot, candidate):
        return detail | {"paused": "store"}
    by = _breaker(snapshot, candidate)
    return detail if by is None else detail | {"breaker": by}


def _paused(snapshot: Snapshot, candidate: Candidate) -> bool:
    return candidate.wanted.store in snapshot.policy.paused_stores


def _breaker(snapshot: Snapshot, candidate: Candidate) -> str | None:
    tripped = snapshot.policy.tripped
    if tripped is NONE_TRIPPED:
        return None
    return tripped.by(candidate.campaign.id, candidate.wanted.store, candidate.arrival.fence.id)


def stale(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    if snapshot.device.replay:
        return True, {"replay": True}
    age_s = (snapshot.now_us - candidate.arrival.transition.at_us) / 1_000_000
    return age_s <= snapshot.stale_after_s, {"age_s": round(age_s, 1), "limit_s": snapshot.stale_after_s}


def user_inside(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    transition = candidate.arrival.transition
    inside = transition.fence in snapshot.others_inside
    return not (inside and TransitionType.ENTER in transition.triggers), {"other_device_inside": inside}
