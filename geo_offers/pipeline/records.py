"""What a turn leaves behind: rows of visits, decisions and offers, and what the live feed tells of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import instants, wire
from geo_offers.offers.decide import Decision, OfferDraft, offer_id, receipt
from geo_offers.offers.keeping import kept
from geo_offers.offers.packing import packed
from geo_offers.offers.snapshot import Snapshot
from geo_offers.pipeline.notifying import Told
from geo_offers.pipeline.ports import DecisionRow, LockedUser, OfferRow, SeenRow, VisitRow, Writes
from geo_offers.pipeline.requests import Arrival, MadeOffer, Part
from geo_offers.presence.states import Course, Transition, TransitionType

# Members by name: before Python 3.12 an enum's attributes are found several times slower, and each row asks for some.
_ENTER: Final = TransitionType.ENTER
_CONFIRM: Final = TransitionType.CONFIRM
_DWELL: Final = TransitionType.DWELL
_EXIT: Final = TransitionType.EXIT


class Outcome(msgspec.Struct, frozen=True):
    """What one part comes to: the arrivals that are news, and what was decided of them."""

    part: Part
    arrivals: Sequence[Arrival]
    decision: Decision | None = None
    row: DecisionRow | None = None


# ------------------------------------------------------------------------------------------------ rows
def _visit_rows(outcome: Outcome) -> Iterable[VisitRow]:
    """One row a visit, however many of its transitions the turn holds; each names the decision it belongs to."""
    part, decided = outcome.part, () if outcome.decision is None else outcome.decision.transitions
    rows: dict[UUID, VisitRow] = {}
    for arrival in outcome.arrivals:
        edge = arrival.transition
        if edge.visit is None or edge.entered_us is None:
            continue
        row = rows.get(edge.visit) if rows else None
        if row is None:
            row = rows[edge.visit] = VisitRow(
                edge.visit,
                part.request.workspace,
                part.user,
                arrival.device,
                edge.fence,
                edge.fence_version,
                edge.entered_us,
            )
        by = outcome.row.id if outcome.row is not None and edge in decided else None
        if edge.course is not None:
            _tell_course(row, edge, edge.course)
        if edge.type is _ENTER:
            row.opened, row.enter_decision = True, by
        elif edge.type is _EXIT:
            row.left_us, row.exit_decision = edge.at_us, by
        elif edge.type is _DWELL:
            row.dwelt_us, row.dwell_decision = edge.at_us, by
        elif edge.type is _CONFIRM:
            row.confirmed_us, row.enter_decision = edge.at_us, by
            if _DWELL in edge.triggers:
                row.dwell_decision = by
    return rows.values()


def _tell_course(row: VisitRow, edge: Transition, course: Course) -> None:
    row.label, row.confidence, row.fixes, row.accuracy_m = (
        edge.label,
        course.confidence,
        course.fixes,
        course.accuracy_m,
    )
    if edge.type is _ENTER and course.confirmed:
        row.confirmed_us = edge.at_us


def decision_row(
    decision: Decision, snapshot: Snapshot, part: Part, user: LockedUser, took: Mapping[str, float]
) -> DecisionRow:
    """took: milliseconds by the stage of the turn."""
    draft = decision.offer
    return DecisionRow(
        id=decision.id,
        workspace=user.workspace,
        user=user.id,
        campaign=decision.campaign,
        at_us=decision.at_us,
        outcome=decision.outcome,
        reason=decision.reason,
        receipt=packed(receipt(decision, took)),
        snapshot=kept(snapshot),
        offer=None if draft is None else _offer_row(decision.id, draft, snapshot, part, user),
        ghost=decision.ghost,
        passed_over=decision.passed_over,
    )


def _offer_row(decision: UUID, draft: OfferDraft, snapshot: Snapshot, part: Part, user: LockedUser) -> OfferRow:
    """The offer's life runs on the server's time, its reservation on the decision's clock."""
    message: dict[str, Any] = {"title": draft.title, "body": draft.body}
    if draft.link:
        message["link"] = draft.link
    if draft.data:
        message["data"] = draft.data
    return OfferRow(
        id=offer_id(decision),
        at_us=snapshot.now_us,
        device=snapshot.device.id,
        partition=part.partition,
        campaign=draft.campaign,
        fence=draft.fence,
        store=draft.store,
        tags=tuple(sorted(draft.tags)),
        visit=draft.visit,
        trigger=draft.trigger.value,
        lane=draft.lane,
        message=msgspec.json.encode(message),
        created_us=user.now_us,
        expires_us=user.now_us + draft.expires_us - snapshot.now_us,
        categories=tuple(sorted(draft.categories)),
        special=draft.special,
        charged=draft.charged,
    )


def writes(outcomes: Sequence[Outcome]) -> Writes:
    return Writes(
        visits=[row for outcome in outcomes for row in _visit_rows(outcome)],
        decisions=[outcome.row for outcome in outcomes if outcome.row is not None],
        seen=[
            SeenRow(part.device, part.state.newest_us, part.state.kept(), part.request.received_us)
            for part in (outcome.part for outcome in outcomes)
            if part.state is not None
        ],
    )


# ------------------------------------------------------------------------------------------------ other systems
_EVENTS: Final[Mapping[TransitionType, wire.WebhookType]] = {
    TransitionType.ENTER: "geofence.entered",
    TransitionType.DWELL: "geofence.dwelled",
    TransitionType.EXIT: "geofence.exited",
}


def events(outcome: Outcome, wanted: Collection[str]) -> Iterable[Told]:
    """What the company's own systems are told of a part: which geofence, and never where in it."""
    part = outcome.part
    for arrival in outcome.arrivals:
        edge = arrival.transition
        kind = _EVENTS.get(edge.type)
        if kind in wanted and kind is not None:
            data = {
                "user": part.user,
                "device": arrival.device,
                "fence": edge.fence,
                "fence_version": edge.fence_version,
                "visit": edge.visit,
            }
            yield Told(kind, part.request.workspace, part.user, edge.at_us, msgspec.json.encode(data))
    row, decision = outcome.row, outcome.decision
    if row is not None and decision is not None and "decision.made" in wanted:
        data = {
            "decision": row.id,
            "user": row.user,
            "device": outcome.arrivals[-1].device,
            "fence": decision.primary.fence,
            "outcome": row.outcome,
            "reason": row.reason,
            "campaign": row.campaign,
            "offer": None if row.offer is None else row.offer.id,
        }
        yield Told("decision.made", row.workspace, row.user, row.at_us, msgspec.json.encode(data))


# ------------------------------------------------------------------------------------------------ the live feed
def live_transition(part: Part, arrival: Arrival) -> dict[str, Any]:
    return {
        "device": arrival.device,
        "user": part.user,
        "fence": arrival.transition.fence,
        "type": arrival.transition.type.value,
        "at": instants.text(arrival.transition.at_us),
    }


def live_decision(outcome: Outcome, row: DecisionRow, decision: Decision, ms: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": row.id,
        "user": row.user,
        "device": outcome.arrivals[-1].device,
        "outcome": row.outcome,
        "reason": row.reason,
        "campaign": row.campaign,
        "fence": decision.primary.fence,
        "ms": round(ms, 2),
    }
    if row.offer is not None:
        told["store"] = row.offer.store
        made_of = {"id": row.offer.id, "lane": row.offer.lane, "created_at": instants.text(row.offer.created_us)}
        told["offer"] = made_of | msgspec.json.decode(row.offer.message)
    return told


def made(offer: OfferRow) -> MadeOffer:
    return MadeOffer(
        offer.id, offer.campaign, offer.fence, offer.message, offer.lane, offer.created_us, offer.expires_us
    )
