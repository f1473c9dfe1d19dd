"""The decision turn: lock, read, decide, write, in one transaction for up to 128 users.

Everything a decision looks at is read under the users' locks: no user state is cached across turns. A transition that
an earlier attempt has already committed (a batch resent after a crash) is dropped before deciding, so that it
reserves nothing twice.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import clock, instants
from geo_offers.offers.decide import Decision, OfferDraft, decide, offer_id, receipt
from geo_offers.offers.snapshot import Arrival as DecisionArrival
from geo_offers.offers.snapshot import DeviceView, Person, Snapshot
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import (
    DecisionRow,
    DeviceRow,
    KnownVisit,
    LockedUser,
    OfferRow,
    Read,
    SeenRow,
    TurnStore,
    TurnTransaction,
    VisitRow,
    Writes,
)
from geo_offers.pipeline.requests import Arrival, MadeOffer, Part
from geo_offers.presence.machine import TransitionType

LONGEST_WINDOW_US: Final = 32 * 24 * 3600 * 1_000_000


@dataclass(slots=True)
class _Outcome:
    """What one part comes to: the arrivals that are news, its decision, and the rows of both."""

    part: Part
    arrivals: Sequence[Arrival]
    decision: Decision | None = None
    row: DecisionRow | None = None
    visits: Sequence[VisitRow] = ()


@dataclass(slots=True)
class DecisionTurn:
    """The engine's commit. `lanes`: push lanes that this installation can send by; `tz_version` goes into receipts."""

    store: TurnStore
    catalog: Catalog
    ownership: Ownership
    figures: Figures
    live: LiveFeed
    wake: Callable[[], None]
    lanes: frozenset[str]
    tz_version: str
    now_us: Callable[[], int] = field(default=clock.now_us)
    stopwatch: Callable[[], float] = field(default=perf_counter)

    async def __call__(self, parts: Sequence[Part]) -> Collection[UUID]:
        """Commits the parts' transitions and what they decide; answers with the users that are gone."""
        workspaces = {part.request.workspace for part in parts}
        epochs = {part.partition: self.ownership.epochs.get(part.partition, -1) for part in parts}
        started = self.stopwatch()
        async with self.store.open(workspaces, self.ownership.owner, epochs) as turn:
            users = await turn.lock(sorted(part.user for part in parts))
            policies = await self._policies(turn, workspaces)
            present = [part for part in parts if part.user in users]
            locked = self.stopwatch()
            read = await turn.read(*self._wanted(present, users))
            known = self.stopwatch()
            ms = {"lock": (locked - started) * 1e3, "read": (known - locked) * 1e3}
            outcomes = [
                self._decide(part, users[part.user], read, policies[part.request.workspace], ms) for part in present
            ]
            await turn.write(_writes(outcomes))
        self.figures.turn_seconds.observe(self.stopwatch() - started)
        for outcome in outcomes:
            self._tell(outcome)
        if any(outcome.row and outcome.row.offer for outcome in outcomes):
            self.wake()
        return {part.user for part in parts} - users.keys()

    async def _policies(self, turn: TurnTransaction, workspaces: Collection[UUID]) -> Mapping[UUID, Policies]:
        """What this turn decides by: at least as new as what its transaction saw, whatever other turns hold."""
        found: dict[UUID, Policies] = {}
        for workspace, version in (await turn.catalog_versions(workspaces)).items():
            held = self.catalog.policies.get(workspace)
            if held is None or held.version < version:
                held = self.catalog.renew(workspace, await turn.policies(workspace))
            found[workspace] = held
        return found

    def _wanted(
        self, parts: Sequence[Part], users: Mapping[UUID, LockedUser]
    ) -> tuple[dict[UUID, int], list[UUID], list[UUID]]:
        since = {
            part.user: min(users[part.user].now_us, part.arrivals[-1].transition.at_us) - LONGEST_WINDOW_US
            for part in parts
        }
        visits = {a.transition.visit for part in parts for a in part.arrivals if a.transition.visit is not None}
        devices = {arrival.device for part in parts for arrival in part.arrivals}
        return since, sorted(visits), sorted(devices)

    # ------------------------------------------------------------------------------------------ deciding
    def _decide(
        self, part: Part, user: LockedUser, read: Read, policies: Policies, ms: Mapping[str, float]
    ) -> _Outcome:
        arrivals = [arrival for arrival in part.arrivals if not _committed(arrival, read.known)]
        outcome = _Outcome(part, arrivals)
        part.arrivals = arrivals
        started = self.stopwatch()
        snapshot = self._snapshot(arrivals, user, read, policies)
        outcome.decision = decide(snapshot) if snapshot else None
        if snapshot and outcome.decision:
            took = {
                "wait": (part.taken_us - part.request.received_us) / 1e3,
                **ms,
                "decide": (self.stopwatch() - started) * 1e3,
            }
            outcome.row = _decision_row(outcome.decision, snapshot, part, user, took)
        outcome.visits = _visit_rows(part, arrivals, outcome)
        return outcome

    def _snapshot(
        self, arrivals: Sequence[Arrival], user: LockedUser, read: Read, policies: Policies
    ) -> Snapshot | None:
        """What the decision may look at; None where no transition is at a fence that is still there."""
        seen = [arrival for arrival in arrivals if arrival.fence is not None]
        if not seen:
            return None
        device = read.devices[seen[-1].device]
        others = {fence for holder, fence in read.open_visits.get(user.id, ()) if holder != device.id}
        return Snapshot(
            now_us=seen[-1].transition.at_us if device.replay else user.now_us,
            person=Person(
                id=user.id,
                consents=user.consents,
                rhythm=user.rhythm,
                zone=user.zone or policies.policy.zone,
                locale=user.locale,
                muted_campaigns=user.muted,
            ),
            policy=policies.policy,
            device=DeviceView(id=device.id, replay=device.replay, lanes=self._able(device)),
            arrivals=tuple(
                DecisionArrival(
                    arrival.transition,
                    arrival.fence,
                    policies.zone_of(arrival.fence),
                    policies.store_names.get(arrival.fence.store or ""),
                )
                for arrival in seen
                if arrival.fence is not None
            ),
            campaigns=tuple(policies.campaigns),
            uses=tuple(read.uses.get(user.id, ())),
            others_inside=frozenset(others),
            catalog_version=policies.version,
            tz_version=self.tz_version,
        )

    def _able(self, device: DeviceRow) -> tuple[str, ...]:
        """The lanes that can reach this device now, best first; a replayed one: the app and the log only."""
        allowed = self.lanes & {"log"} if device.replay else self.lanes
        push = (device.push_lane,) if device.push_lane in allowed else ()
        return (*push, "inapp")

    # ------------------------------------------------------------------------------------------ telling
    def _tell(self, outcome: _Outcome) -> None:
        workspace, part = outcome.part.request.workspace, outcome.part
        for arrival in outcome.arrivals:
            self.live.publish(workspace, "transition", _live_transition(part, arrival))
        row, decision = outcome.row, outcome.decision
        if row is None or decision is None:
            return
        ms = (self.now_us() - part.request.received_us) / 1e3
        self.figures.decided(workspace, row.reason or row.outcome, ms)
        self.live.publish(workspace, "decision", _live_decision(outcome, row, decision, ms))
        if row.offer is not None:
            part.request.offers.append(_made(row.offer))


def _committed(arrival: Arrival, known: Mapping[UUID, KnownVisit]) -> bool:
    visit = arrival.transition.visit
    seen = known.get(visit) if visit is not None else None
    if seen is None:
        return False
    match arrival.transition.type:
        case TransitionType.ENTER:
            return True
        case TransitionType.DWELL:
            return seen.dwelt or seen.closed
        case TransitionType.EXIT:
            return seen.closed
        case TransitionType.CROSS:
            return False


# ------------------------------------------------------------------------------------------------ rows
def _visit_rows(part: Part, arrivals: Sequence[Arrival], outcome: _Outcome) -> list[VisitRow]:
    """One row a visit, however many of its transitions the turn holds; each names the decision it belongs to."""
    decided = _decided_transitions(outcome)
    rows: dict[UUID, VisitRow] = {}
    for arrival in arrivals:
        edge = arrival.transition
        if edge.visit is None or edge.entered_us is None:
            continue
        row = rows.get(edge.visit) or VisitRow(
            id=edge.visit,
            workspace=part.request.workspace,
            user=part.user,
            device=arrival.device,
            fence=edge.fence,
            fence_version=edge.fence_version,
            entered_us=edge.entered_us,
            opened=False,
        )
        by = outcome.row.id if outcome.row is not None and (edge.visit, edge.type) in decided else None
        match edge.type:
            case TransitionType.ENTER:
                row = replace(row, opened=True, enter_decision=by)
            case TransitionType.DWELL:
                row = replace(row, dwelt_us=edge.at_us, dwell_decision=by)
            case TransitionType.EXIT:
                row = replace(row, left_us=edge.at_us, exit_decision=by)
            case TransitionType.CROSS:
                continue
        rows[edge.visit] = row
    return list(rows.values())


def _decided_transitions(outcome: _Outcome) -> set[tuple[UUID | None, TransitionType]]:
    return {(edge.visit, edge.type) for edge in outcome.decision.transitions} if outcome.decision else set()


def _decision_row(
    decision: Decision, snapshot: Snapshot, part: Part, user: LockedUser, took: Mapping[str, float]
) -> DecisionRow:
    draft = decision.offer
    return DecisionRow(
        id=decision.id,
        workspace=user.workspace,
        user=user.id,
        campaign=decision.campaign,
        at_us=decision.at_us,
        outcome=decision.outcome,
        reason=decision.reason,
        receipt=receipt(decision, {stage: round(ms, 3) for stage, ms in took.items()}),
        offer=None if draft is None else _offer_row(decision.id, draft, snapshot, part, user),
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
    )


def _writes(outcomes: Sequence[_Outcome]) -> Writes:
    return Writes(
        visits=[row for outcome in outcomes for row in outcome.visits],
        decisions=[outcome.row for outcome in outcomes if outcome.row is not None],
        seen=[
            SeenRow(device, state, outcome.part.request.received_us)
            for outcome in outcomes
            for device, state in outcome.part.states.items()
        ],
    )


# ------------------------------------------------------------------------------------------------ the live feed
def _live_transition(part: Part, arrival: Arrival) -> dict[str, Any]:
    return {
        "device": arrival.device,
        "user": part.user,
        "fence": arrival.transition.fence,
        "type": arrival.transition.type.value,
        "at": instants.text(arrival.transition.at_us),
    }


def _live_decision(outcome: _Outcome, row: DecisionRow, decision: Decision, ms: float) -> dict[str, Any]:
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
        told["offer"] = {"id": row.offer.id} | msgspec.json.decode(row.offer.message)
    return told


def _made(offer: OfferRow) -> MadeOffer:
    return MadeOffer(
        offer.id, offer.campaign, offer.fence, offer.message, offer.lane, offer.created_us, offer.expires_us
    )
