"""One decision for one person and turn: an offer, or a silence that explains itself.

A fold over the table of gates. Candidates are every campaign that any of the turn's arrivals concerns; each is asked
the gates in order and its first failure is its reason. Of those that pass all, the best-ranked wins and is rendered;
the others are noted as outranked. When none passes, the best-ranked candidate's reason is the decision's. The
candidate that the decision is about is asked all gates, so that the receipt shows each with its inputs; after a
failed consent nothing more is asked.

No clock, no randomness: the same snapshot makes the same decision.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from geo_offers.offers.asking import asked
from geo_offers.offers.decisions import Decision, Gate, OfferDraft, Reason, decision_id, offer_id
from geo_offers.offers.gates import GATES
from geo_offers.offers.ranking import Candidate, ranked
from geo_offers.offers.receipts import receipt
from geo_offers.offers.rendering import pick, render
from geo_offers.offers.snapshot import Arrival, DeviceView, Person, Snapshot, WorkspacePolicy

__all__ = [
    "Arrival",
    "Decision",
    "DeviceView",
    "Gate",
    "OfferDraft",
    "Person",
    "Reason",
    "Snapshot",
    "WorkspacePolicy",
    "decide",
    "decision_id",
    "offer_id",
    "receipt",
]

OFFER_LIFE_US: Final = 30 * 60 * 1_000_000
OTHERS_NOTED: Final = 30  # of a mall's hundreds of campaigns a receipt names the best; it counts all
_REPLAY_LANES: Final = frozenset({"inapp", "log"})


def decide(snapshot: Snapshot) -> Decision | None:
    """Decide a turn; None when no campaign is concerned, which leaves no receipt."""
    candidates = ranked(snapshot)
    if not candidates:
        return None
    best = candidates[0]
    personal: dict[str, Gate] = {}
    if not _ask_personal(snapshot, best, personal):
        return _decision(snapshot, candidates, best, tuple(personal.values()), None)
    gates = _ask_all(snapshot, best, personal)
    reasons = [_reason(gates), *(_first_failure(snapshot, other, personal) for other in candidates[1:])]
    chosen = reasons.index(None) if None in reasons else 0
    winner = candidates[chosen]
    if chosen != 0:
        gates = _ask_all(snapshot, winner, personal)
    gates.append(_ranking(candidates, reasons, chosen))
    if reasons[chosen] is not None:
        return _decision(snapshot, candidates, winner, tuple(gates), None)
    offer, rendered = _offer(snapshot, winner)
    return _decision(snapshot, candidates, winner, (*gates, rendered), offer)


def _ask_personal(snapshot: Snapshot, candidate: Candidate, personal: dict[str, Gate]) -> bool:
    """Ask the personal gates, once; False when a final one failed, and then nothing after it was read."""
    for rule in GATES:
        if rule.personal:
            answer = personal[rule.gate] = rule.ask(snapshot, candidate)
            if rule.final and not answer.passed:
                return False
    return True


def _ask_all(snapshot: Snapshot, candidate: Candidate, personal: Mapping[str, Gate]) -> list[Gate]:
    return [personal.get(rule.gate) or rule.ask(snapshot, candidate) for rule in GATES]


def _first_failure(snapshot: Snapshot, candidate: Candidate, personal: Mapping[str, Gate]) -> Reason | None:
    for rule in GATES:
        answer = personal.get(rule.gate)
        if not (answer.passed if answer is not None else rule.judge(snapshot, candidate)[0]):
            return rule.reason
    return None


def _ranking(candidates: Sequence[Candidate], reasons: Sequence[Reason | None], chosen: int) -> Gate:
    """Note who was in the running; a loser without a fault of its own was outranked."""
    others = [
        {"campaign": other.campaign.id, "fence": other.arrival.fence.id, "reason": reason or Reason.OUTRANKED}
        for place, (other, reason) in enumerate(zip(candidates, reasons, strict=True))
        if place != chosen
    ]
    campaign = candidates[chosen].campaign
    detail: dict[str, Any] = {"candidates": len(candidates), "priority": campaign.priority}
    return Gate("ranking", reasons[chosen] is None, detail | {"others": others[:OTHERS_NOTED]})


def _offer(snapshot: Snapshot, candidate: Candidate) -> tuple[OfferDraft, Gate]:
    campaign, arrival, now_us = candidate.campaign, candidate.arrival, snapshot.now_us
    fence, transition = arrival.fence, arrival.transition
    locale = pick(campaign.texts, snapshot.person.locale)
    store = arrival.store_name or fence.store or fence.name
    said = render(campaign.texts[locale], {"store": store, "fence": fence.name, "workspace": snapshot.policy.name})
    assert transition.visit is not None  # a transition without a visit has no candidates
    expires_us = now_us + OFFER_LIFE_US
    ask = asked(campaign.ask, snapshot.person.facts)
    draft = OfferDraft(
        campaign=campaign.id,
        fence=fence.id,
        store=candidate.wanted.store,
        visit=transition.visit,
        trigger=campaign.trigger_on,
        title=said.title,
        body=said.body,
        link=said.link,
        data={**campaign.data, **ask},
        lane=lane(snapshot.device),
        expires_us=expires_us if campaign.until_us is None else min(expires_us, campaign.until_us),
        tags=candidate.wanted.tags,
    )
    return draft, Gate("render", passed=True, detail={"locale": locale, "wanted": snapshot.person.locale, **ask})


def lane(device: DeviceView) -> str:
    """Choose the one alerting lane: the first that reaches the device, else the app, where an offer waits for it."""
    for able in device.lanes:
        if not device.replay or able in _REPLAY_LANES:
            return able
    return "inapp"


def _decision(
    snapshot: Snapshot,
    candidates: Sequence[Candidate],
    about: Candidate,
    gates: tuple[Gate, ...],
    offer: OfferDraft | None,
) -> Decision:
    primary = about.arrival.transition
    assert primary.visit is not None  # a transition without a visit has no candidates
    concerned = {id(candidate.arrival) for candidate in candidates}
    return Decision(
        id=decision_id(primary.visit, primary.type, primary.at_us),
        at_us=snapshot.now_us,
        outcome="suppressed" if offer is None else "offer",
        reason=_reason(gates),
        campaign=about.campaign.id,
        primary=primary,
        transitions=tuple(arrival.transition for arrival in snapshot.arrivals if id(arrival) in concerned),
        gates=gates,
        offer=offer,
        versions={
            "catalog": snapshot.catalog_version,
            "campaign": about.campaign.version,
            "fence": about.arrival.fence.version,
            "tzdata": snapshot.tz_version,
        },
    )


_REASONS: Final = {rule.gate: rule.reason for rule in GATES}


def _reason(gates: Sequence[Gate]) -> Reason | None:
    return next((_REASONS[gate.gate] for gate in gates if not gate.passed), None)
