"""One decision for one person and turn: an offer, or a silence that explains itself.

A fold over the table of gates. Candidates are every campaign that any of the turn's arrivals concerns; each is asked
the gates in order and its first failure is its reason. Of those that pass all, the best-ranked wins and is rendered;
the others are noted as outranked. When none passes, the best-ranked candidate's reason is the decision's. The
candidate that the decision is about is asked all gates, so that the receipt shows each with its inputs; after a
failed consent nothing more is asked. Last of all, of who would get the offer, the experiment is asked: who is held out
leaves the offer's place in their time taken all the same.

`judge` says who speaks, or why nobody does; `decide` puts that into words: the offer's, and the receipt's.

No clock, no randomness: the same snapshot makes the same decision.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers.offers.answers import Answers
from geo_offers.offers.asking import asked
from geo_offers.offers.charging import charged
from geo_offers.offers.decisions import Decision, Gate, OfferDraft, Reason, decision_id, offer_id
from geo_offers.offers.experiment import Arm, Ghost, assign
from geo_offers.offers.fitting import carry
from geo_offers.offers.gates.rhythm import draws_special
from geo_offers.offers.gates.words import facts
from geo_offers.offers.lasting import lasts_until_us
from geo_offers.offers.ranking import Candidate, Placed, found, ranked, shortlisted
from geo_offers.offers.receipts import receipt
from geo_offers.offers.rendering import render
from geo_offers.offers.rounding import rounded
from geo_offers.offers.scoring import told_terms
from geo_offers.offers.snapshot import Arrival, DeviceView, Person, Snapshot, WorkspacePolicy
from geo_offers.offers.texts import Text
from geo_offers.presence.states import Transition

__all__ = [
    "Arrival",
    "Decision",
    "DeviceView",
    "Gate",
    "Judgement",
    "OfferDraft",
    "Person",
    "Reason",
    "Snapshot",
    "WorkspacePolicy",
    "decide",
    "decision_id",
    "judge",
    "offer_id",
    "passed_over",
    "place_of",
    "receipt",
]

OFFER_LIFE_US: Final = 30 * 60 * 1_000_000
_OUTRANKED: Final = Reason.OUTRANKED  # a member of an enum takes as long to be looked up as a small function to run
_REPLAY_LANES: Final = frozenset({"inapp", "log"})


class Judgement(msgspec.Struct, frozen=True):
    """What a turn comes to.

    candidates: all that were concerned. about: the one that speaks, or the first of the silent. reason: why it is
    silent; None: it speaks. placed: those that were asked as they were ranked, `about` at `chosen`, and why each is
    silent of itself: none of a person who has not agreed. arm: what was drawn for who would get the offer.
    """

    candidates: Sequence[Candidate]
    answers: Answers
    about: Candidate
    reason: Reason | None
    placed: Sequence[Placed] = ()
    reasons: Sequence[Reason | None] = ()
    chosen: int = 0
    arm: Arm | None = None


def judge(snapshot: Snapshot) -> Judgement | None:
    """Judge a turn; None when no campaign is concerned."""
    candidates = found(snapshot)
    if not candidates:
        return None
    answers = Answers(snapshot)
    if not answers.agreed(candidates[0]):
        return Judgement(candidates, answers, candidates[0], answers.refusal())
    placed = ranked(snapshot, shortlisted(snapshot, candidates))
    reasons = [answers.first_failure(one.candidate) for one in placed]
    chosen = reasons.index(None) if None in reasons else 0
    about, reason, arm = placed[chosen].candidate, reasons[chosen], None
    if reason is None:
        arm = _arm(snapshot, about)
        if arm.by is not None:
            reason = Reason.HOLDOUT
    return Judgement(candidates, answers, about, reason, placed, reasons, chosen, arm)


def passed_over(judged: Judgement) -> dict[UUID, Reason]:
    """Of every other campaign that was concerned, why it is silent.

    Of one at several geofences the place that came first counts. What was not asked was outranked; where nobody was
    asked, what silenced one silenced all.
    """
    told: dict[UUID, Reason] = {}
    for one, reason in zip(judged.placed, judged.reasons, strict=True):
        told.setdefault(one.candidate.campaign.id, reason or _OUTRANKED)
    if len(judged.candidates) > len(judged.placed):
        rest = _OUTRANKED if judged.placed else judged.reason or _OUTRANKED
        for candidate in judged.candidates:
            told.setdefault(candidate.campaign.id, rest)
    told.pop(judged.about.campaign.id, None)
    return told


def decide(snapshot: Snapshot) -> Decision | None:
    """Decide a turn; None when no campaign is concerned, which leaves no receipt."""
    judged = judge(snapshot)
    if judged is None:
        return None
    about, arm = judged.about, judged.arm
    if not judged.placed:
        return _decision(snapshot, judged, judged.answers.personal())
    gates = judged.answers.gates(about, passing=arm is not None)
    gates.append(_ranking(judged))
    if arm is None:
        return _decision(snapshot, judged, gates)
    gates.append(_experiment(about, arm))
    if arm.by is not None:
        return _decision(snapshot, judged, gates, ghost=place_of(snapshot, about))
    offer, rendered = _offer(snapshot, about, about.campaign.texts if arm.texts is None else arm.texts)
    gates.append(rendered)
    return _decision(snapshot, judged, gates, offer=offer)


def _ranking(judged: Judgement) -> Gate:
    """Note who was in the running, and by what score; a loser without a fault of its own was outranked."""
    about = judged.placed[judged.chosen]
    others: list[dict[str, Any]] = []
    for other, reason in zip(judged.placed, judged.reasons, strict=True):
        if other is not about:
            candidate = other.candidate
            others.append(
                {
                    "campaign": candidate.campaign.id,
                    "fence": candidate.arrival.fence.id,
                    "reason": reason or _OUTRANKED,
                    "score": rounded(other.score, 3),
                }
            )
    detail = {
        "candidates": len(judged.candidates),
        "priority": about.candidate.campaign.priority,
        "score": rounded(about.score, 3),
        "terms": told_terms(about.terms),
        "others": others,
    }
    return Gate("ranking", judged.arm is not None, detail)


def _arm(snapshot: Snapshot, candidate: Candidate) -> Arm:
    policy, campaign = snapshot.policy, candidate.campaign
    return assign(campaign.experiment, campaign.id, snapshot.person.lot, workspace=policy.name, holdout=policy.holdout)


def _experiment(candidate: Candidate, arm: Arm) -> Gate:
    """Note what was drawn, how likely each arm was, and of which test: what effects are reckoned from later."""
    detail: dict[str, Any] = {"arm": arm.name, "by": arm.by, "arms": arm.probabilities}
    return Gate("experiment", arm.by is None, detail | {"test": candidate.campaign.experiment.version})


def place_of(snapshot: Snapshot, candidate: Candidate) -> Ghost:
    """The place in a person's time that an offer of this candidate takes, or its ghost."""
    fence, visit = candidate.arrival.fence, candidate.arrival.transition.visit
    assert visit is not None  # a transition without a visit has no candidates
    return Ghost(
        candidate.campaign.id,
        fence.id,
        candidate.wanted.store,
        visit,
        frozenset(candidate.wanted.tags),
        special=draws_special(snapshot, candidate.campaign),
    )


def _offer(snapshot: Snapshot, candidate: Candidate, texts: Mapping[str, Text]) -> tuple[OfferDraft, Gate]:
    campaign, arrival, now_us = candidate.campaign, candidate.arrival, snapshot.now_us
    fence, transition = arrival.fence, arrival.transition
    assert transition.visit is not None  # a transition without a visit has no candidates
    expires_us = lasts_until_us(campaign, arrival, now_us, now_us + OFFER_LIFE_US)
    said = render(texts, campaign.fields, facts(snapshot, candidate, expires_us))
    alerting = lane(snapshot.device)
    ask = asked(campaign.ask, snapshot.person.facts)
    carried = carry(said, {**campaign.data, **ask}, alerting)
    draft = OfferDraft(
        campaign=campaign.id,
        fence=fence.id,
        store=candidate.wanted.store,
        visit=transition.visit,
        trigger=campaign.trigger_on,
        title=carried.title,
        body=carried.body,
        link=said.link,
        data=carried.data,
        lane=alerting,
        expires_us=expires_us,
        tags=candidate.wanted.tags,
        categories=candidate.wanted.categories,
        special=draws_special(snapshot, campaign),
        charged=charged(snapshot, campaign, arrival),
    )
    detail: dict[str, Any] = {"locale": said.locale, "wanted": snapshot.person.locale, **ask}
    return draft, Gate("render", passed=True, detail=detail | {"cut": carried.cut} if carried.cut else detail)


def lane(device: DeviceView) -> str:
    """Choose the one alerting lane: the first that reaches the device, else the app, where an offer waits for it."""
    for able in device.lanes:
        if not device.replay or able in _REPLAY_LANES:
            return able
    return "inapp"


def _concerned(snapshot: Snapshot, candidates: Sequence[Candidate]) -> tuple[Transition, ...]:
    """The transitions of which any campaign is a candidate."""
    if len(snapshot.arrivals) == 1:
        return (snapshot.arrivals[0].transition,)
    concerned = {id(candidate.arrival) for candidate in candidates}
    return tuple(arrival.transition for arrival in snapshot.arrivals if id(arrival) in concerned)


def _decision(
    snapshot: Snapshot,
    judged: Judgement,
    gates: Sequence[Gate],
    *,
    offer: OfferDraft | None = None,
    ghost: Ghost | None = None,
) -> Decision:
    about = judged.about
    primary = about.arrival.transition
    assert primary.visit is not None  # a transition without a visit has no candidates
    return Decision(
        id=decision_id(primary.visit, primary.type, primary.at_us),
        at_us=snapshot.now_us,
        outcome="suppressed" if offer is None else "offer",
        reason=judged.reason,
        campaign=about.campaign.id,
        primary=primary,
        transitions=_concerned(snapshot, judged.candidates),
        gates=tuple(gates),
        offer=offer,
        ghost=ghost,
        passed_over=passed_over(judged) if len(judged.candidates) > 1 else {},
        versions={
            "catalog": snapshot.catalog_version,
            "campaign": about.campaign.version,
            "fence": about.arrival.fence.version,
            "tzdata": snapshot.tz_version,
            "holidays": snapshot.holidays_version,
        },
    )
