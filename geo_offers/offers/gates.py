"""The gates between an arrival and an offer, in the order in which they are asked.

A gate is a pure function of the snapshot and one candidate: whether the candidate passes, and the inputs it looked
at. Gates marked personal look at no candidate and are asked once a decision. A gate that is `final` ends the asking
when it fails: who has not agreed is not looked at further. Ranking and rendering come after these and are `decide`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from geo_offers.instants import text
from geo_offers.offers.caps import Use, free_at_us, over
from geo_offers.offers.decisions import Gate, Reason
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot
from geo_offers.people.consent import Purpose
from geo_offers.people.quiet import quiet_until
from geo_offers.people.rhythm import Rolling, window
from geo_offers.presence.states import TransitionType

Verdict = tuple[bool, dict[str, Any]]


def _kill_switch(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    return not snapshot.policy.killed, {"workspace": snapshot.policy.killed}


def _consent(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    consents = snapshot.person.consents
    detail: dict[str, Any] = {}
    for purpose in (Purpose.LOCATE, Purpose.OFFERS):
        said = consents.said.get(purpose)
        detail[purpose] = consents.granted(purpose)
        detail[f"{purpose}_text"] = None if said is None else said.text_version
    return detail[Purpose.LOCATE] and detail[Purpose.OFFERS], detail


def _live(_snapshot: Snapshot, candidate: Candidate) -> Verdict:
    campaign = candidate.campaign
    return campaign.live, {"state": campaign.state, "locales": len(campaign.texts)}


def _schedule(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    campaign = candidate.campaign
    return campaign.scheduled(snapshot.now_us), {"from": _text(campaign.from_us), "until": _text(campaign.until_us)}


def _stale(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    if snapshot.device.replay:
        return True, {"replay": True}
    age_s = (snapshot.now_us - candidate.arrival.transition.at_us) / 1_000_000
    return age_s <= snapshot.stale_after_s, {"age_s": round(age_s, 1), "limit_s": snapshot.stale_after_s}


def _user_inside(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    transition = candidate.arrival.transition
    inside = transition.fence in snapshot.others_inside
    return not (inside and TransitionType.ENTER in transition.triggers), {"other_device_inside": inside}


def _muted(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    muted = candidate.campaign.id in snapshot.person.muted_campaigns
    return not muted, {"campaign": muted}


def _quiet_hours(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    zone = snapshot.person.zone
    rules = snapshot.person.rhythm.quiet + snapshot.policy.quiet
    until_us = quiet_until(rules, snapshot.now_us, zone)
    return until_us is None, {"zone": zone.key, "until": _text(until_us)}


def _rhythm_max(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    rhythm, now_us = snapshot.person.rhythm, snapshot.now_us
    counting = window(rhythm.per, now_us, snapshot.person.zone)
    counted = counting.held(use.at_us for use in snapshot.uses)
    rolling = isinstance(rhythm.per, Rolling)
    per = {"hours": rhythm.per.hours} if isinstance(rhythm.per, Rolling) else rhythm.per
    until_us = None
    if 0 < rhythm.max <= len(counted):
        until_us = free_at_us(counted, rhythm.max, counting, now_us, rolling=rolling)
    detail = {"max": rhythm.max, "per": per, "used": len(counted), "until": _text(until_us)}
    return len(counted) < rhythm.max, detail


def _rhythm_gap(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    until_us = _gap_until_us(snapshot.uses, snapshot.now_us, snapshot.person.rhythm.min_gap_us)
    return until_us is None, {"min_gap_h": snapshot.person.rhythm.min_gap_h, "until": _text(until_us)}


def _place_gap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Keep offers apart wherever they are, and to one a visit, however short the workspace's gap."""
    gap_s = snapshot.policy.place_gap_s
    until_us = _gap_until_us(snapshot.uses, snapshot.now_us, round(gap_s * 1_000_000))
    visit = candidate.arrival.transition.visit
    answered = visit in [use.visit for use in snapshot.uses]
    return until_us is None and not answered, {"gap_s": gap_s, "until": _text(until_us), "visit_answered": answered}


def _store_gap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    gap_s, store = snapshot.policy.store_gap_s, candidate.wanted.store
    uses = [use for use in snapshot.uses if use.store == store]
    until_us = _gap_until_us(uses, snapshot.now_us, round(gap_s * 1_000_000))
    return until_us is None, {"gap_s": gap_s, "store": store, "until": _text(until_us)}


def _cap(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    rules = candidate.campaign.caps
    detail: dict[str, Any] = {"rules": len(rules)}
    for number, rule in enumerate(rules):
        full = over(rule, snapshot.uses, candidate.wanted, now_us=snapshot.now_us, zone=snapshot.person.zone)
        if full is not None:
            return False, detail | {"rule": number} | full
    return True, detail


def _gap_until_us(uses: Sequence[Use], now_us: int, gap_us: int) -> int | None:
    """When the gap around the uses near now is over, None when none is near. Two-sided, see `people/rhythm.py`."""
    near = [use.at_us for use in uses if abs(now_us - use.at_us) < gap_us]
    return max(near) + gap_us if near else None


def _text(instant_us: int | None) -> str | None:
    return None if instant_us is None else text(instant_us)


@dataclass(frozen=True, slots=True)
class GateRule:
    """One row of the table: the gate's name, the silence that its failure means, and how it judges."""

    gate: str
    reason: Reason
    judge: Callable[[Snapshot, Candidate], Verdict]
    personal: bool = False
    final: bool = False

    def ask(self, snapshot: Snapshot, candidate: Candidate) -> Gate:
        passed, detail = self.judge(snapshot, candidate)
        return Gate(self.gate, passed, detail)


GATES: Final = (
    GateRule("kill_switch", Reason.KILL_SWITCH, _kill_switch, personal=True),
    GateRule("consent", Reason.NO_CONSENT, _consent, personal=True, final=True),
    GateRule("live", Reason.NOT_LIVE, _live),
    GateRule("schedule", Reason.SCHEDULE, _schedule),
    GateRule("stale", Reason.STALE, _stale),
    GateRule("user_inside", Reason.USER_INSIDE, _user_inside),
    GateRule("muted", Reason.MUTED, _muted),
    GateRule("quiet_hours", Reason.QUIET_HOURS, _quiet_hours, personal=True),
    GateRule("rhythm_max", Reason.RHYTHM_MAX, _rhythm_max, personal=True),
    GateRule("rhythm_gap", Reason.RHYTHM_GAP, _rhythm_gap, personal=True),
    GateRule("place_gap", Reason.PLACE_GAP, _place_gap),
    GateRule("store_gap", Reason.STORE_GAP, _store_gap),
    GateRule("cap", Reason.CAP, _cap),
)
