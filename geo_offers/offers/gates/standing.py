"""Whether anything may be said at all: kill switches, consent, a live campaign, a fresh arrival."""

from typing import Any, Final

from geo_offers.offers.breakers import NONE_TRIPPED
from geo_offers.offers.gates.rule import FAILED, PASSED, Judge, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.rounding import rounded
from geo_offers.offers.snapshot import Snapshot
from geo_offers.people.consent import Purpose
from geo_offers.presence.states import TransitionType

_LOCATE: Final = Purpose.LOCATE
_OFFERS: Final = Purpose.OFFERS


def kill_switch(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    policy = snapshot.policy
    if policy.killed_all:
        return False, {"workspace": policy.killed, "all": True}
    return not policy.killed, {"workspace": policy.killed}


def consent(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    """Name the ledger's rows that allow it, or do not."""
    said = snapshot.person.consents.said
    locate, offers = said.get(_LOCATE), said.get(_OFFERS)
    located, offered = locate is not None and locate.granted, offers is not None and offers.granted
    return located and offered, {
        "locate": located,
        "locate_text": None if locate is None else locate.text_version,
        "locate_seq": None if locate is None else locate.seq,
        "offers": offered,
        "offers_text": None if offers is None else offers.text_version,
        "offers_seq": None if offers is None else offers.seq,
    }


def live(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Live is what is approved, at a store that is not paused, with no breaker of its own, its store or fence open."""
    if not candidate.campaign.live or _paused(snapshot, candidate) or _breaker(snapshot, candidate) is not None:
        return FAILED
    return PASSED


def live_alike(snapshot: Snapshot, candidate: Candidate) -> bool | Judge:
    if _paused(snapshot, candidate):
        return False
    return live if "live" in candidate.kind.asks or snapshot.policy.tripped is not NONE_TRIPPED else True


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
    return age_s <= snapshot.stale_after_s, {"age_s": rounded(age_s, 1), "limit_s": snapshot.stale_after_s}


def user_inside(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    transition = candidate.arrival.transition
    inside = transition.fence in snapshot.others_inside
    return not (inside and TransitionType.ENTER in transition.triggers), {"other_device_inside": inside}
