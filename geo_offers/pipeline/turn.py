"""The decision turn: lock, read, decide, write, in one transaction for up to 128 users.

Everything a decision looks at is read under the users' locks: no user state is cached across turns. A transition that
an earlier attempt has already committed (a batch resent after a crash) is dropped before deciding, so that it
reserves nothing twice.

Most transitions concern no campaign. Of those nothing is read: their visits are written as if nothing was known of
them; and where by what is held no workspace has a campaign, or a system that wants to be told, locks and write
are one statement. Where something
was known, or a catalog is newer, nothing of the turn is kept, and it is taken again with a look at everything.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final, TypeAlias
from uuid import UUID

import msgspec
from msgspec import structs

from geo_offers import clock
from geo_offers.offers.caps import Past
from geo_offers.offers.context import ORDINARY, Asked
from geo_offers.offers.decide import decide
from geo_offers.offers.decisions import Decision
from geo_offers.offers.snapshot import Arrival as DecisionArrival
from geo_offers.offers.snapshot import DeviceView, Person, Snapshot
from geo_offers.offers.stores import NO_RULES
from geo_offers.people.consent import Purpose
from geo_offers.people.counters import SPAN_US, Stays
from geo_offers.people.rhythm import Channel
from geo_offers.people.segments import NOTHING_KNOWN
from geo_offers.pipeline import records
from geo_offers.pipeline.audience import facts, words
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import (
    DeviceRow,
    KnownVisit,
    LockedUser,
    Read,
    TurnStore,
    TurnTransaction,
    Unforeseen,
)
from geo_offers.pipeline.records import Outcome
from geo_offers.pipeline.requests import Arrival, Part
from geo_offers.pipeline.spending import Fund, funds
from geo_offers.places.fences import FenceId, store_key
from geo_offers.presence.states import TransitionType

LONGEST_WINDOW_US: Final = 32 * 24 * 3600 * 1_000_000

Committed: TypeAlias = tuple[Mapping[UUID, str], Sequence[Outcome]]
"""Who was refused, and why; and what came of the others' parts."""


def _nobody() -> None:
    """Nobody is waiting."""


class _Decided(msgspec.Struct, frozen=True):
    """A part's decision, and by what it was made; ms: how long that took."""

    user: LockedUser
    snapshot: Snapshot
    decision: Decision
    ms: float


@dataclass(slots=True)
class DecisionTurn:
    """The engine's commit. `lanes`: push lanes that this installation can send by; the versions go into receipts.

    wake: what sends offers, once some are committed; notify: what tells of events, once some are.
    """

    store: TurnStore
    catalog: Catalog
    ownership: Ownership
    figures: Figures
    live: LiveFeed
    wake: Callable[[], None]
    lanes: frozenset[str]
    tz_version: str
    holidays_version: str = ""
    notify: Callable[[], None] = field(default=_nobody)
    now_us: Callable[[], int] = field(default=clock.now_us)
    stopwatch: Callable[[], float] = field(default=perf_counter)

    async def __call__(self, parts: Sequence[Part]) -> Mapping[UUID, str]:
        """Commits the parts' transitions and what they decide; answers with the users refused, and why.

        Refused are those who are gone, and those who, as their locked row says, may not be located any more.
        """
        started = self.stopwatch()
        try:
            refused, outcomes = await self._commit_unasked(parts) or await self._commit(parts, look=False)
        except Unforeseen:
            refused, outcomes = await self._commit(parts, look=True)
        self.figures.turn_seconds.observe(self.stopwatch() - started)
        self._tell(outcomes)
        return refused

    async def _commit_unasked(self, parts: Sequence[Part]) -> Committed | None:
        """One statement, where no campaign is known that it could be about; None where nothing came of it."""
        catalogs = self._silent({part.request.workspace for part in parts})
        if not catalogs:
            return None
        outcomes = [Outcome(part, part.arrivals) for part in parts]
        users = [part.user for part in parts]
        done = await self.store.commit(users, records.writes(outcomes), catalogs, self.ownership.owner, _epochs(parts))
        return ({}, outcomes) if done else None

    async def _commit(self, parts: Sequence[Part], *, look: bool) -> Committed:
        """One transaction. look: at what is known of every visit, not of those alone that campaigns are about."""
        workspaces = {part.request.workspace for part in parts}
        started = self.stopwatch()
        async with self.store.open(workspaces, self.ownership.owner, _epochs(parts)) as turn:
            locate = await turn.lock([part.user for part in parts])
            locked = self.stopwatch()
            refused = {part.user: reason for part in parts if (reason := _refusal(locate.get(part.user)))}
            present = [part for part in parts if part.user not in refused] if refused else parts
            policies, asked, users, read = await self._read(turn, workspaces, present, look=look)
            counted = [part for part in asked if _counts(policies[part.request.workspace], part, users)]
            if counted:
                read = replace(read, stays=await turn.stays(*_past(counted, users)))
            numbered = _numbered(asked, policies)
            if numbered:
                read = replace(read, numbers=await turn.numbers(numbered))
            _leave_out(present, read.known)
            read = await self._with_budgets(turn, asked, users, read, policies)
            took = {"lock": locked - started, "read": self.stopwatch() - locked}
            ms = {stage: round(took_s * 1e3, 3) for stage, took_s in took.items()}
            decided = [self._decide(part, users, read, policies[part.request.workspace]) for part in present]
            outcomes = [_outcome(part, found, ms) for part, found in zip(present, decided, strict=True)]
            await turn.write(records.writes(outcomes), looked=look)
            told = [
                event
                for outcome in outcomes
                if (wanted := policies[outcome.part.request.workspace].told)
                for event in records.events(outcome, wanted)
            ]
            if told:
                await turn.tell(told)
        if told:
            self.notify()
        return refused, outcomes

    def _silent(self, workspaces: Collection[UUID]) -> Mapping[UUID, int]:
        """The catalog versions by which none of the workspaces has a campaign, or a system that wants to be told.

        Empty where one has, or is not known.
        """
        held = [(workspace, self.catalog.policies.get(workspace)) for workspace in workspaces]
        found = {workspace: known.version for workspace, known in held if known is not None and known.silent}
        return found if len(found) == len(workspaces) else {}

    async def _read(
        self, turn: TurnTransaction, workspaces: Collection[UUID], present: Sequence[Part], *, look: bool
    ) -> tuple[Mapping[UUID, Policies], Sequence[Part], Mapping[UUID, LockedUser], Read]:
        """What this turn decides by, whom it asks, their rows, and what is read of them.

        Whom it asks follows from the policies in memory. Where these turn out to be older than what its transaction
        sees, it renews them and reads again: it decides by nothing older, whatever other turns hold.
        """
        held = self.catalog.policies
        policies = {workspace: held.get(workspace) or await self._renewed(turn, workspace) for workspace in workspaces}
        while True:
            asked = [part for part in present if _concerns(policies[part.request.workspace], part)]
            users = turn.people([part.user for part in asked]) if asked else {}
            read = await turn.read(workspaces, *_wanted(asked, users, present if look else asked))
            stale = [workspace for workspace, version in read.catalogs.items() if policies[workspace].version < version]
            if not stale:
                return policies, asked, users, read
            policies |= {workspace: await self._renewed(turn, workspace) for workspace in stale}

    async def _renewed(self, turn: TurnTransaction, workspace: UUID) -> Policies:
        return self.catalog.renew(workspace, await turn.policies(workspace))

    async def _with_budgets(
        self,
        turn: TurnTransaction,
        asked: Sequence[Part],
        users: Mapping[UUID, LockedUser],
        read: Read,
        policies: Mapping[UUID, Policies],
    ) -> Read:
        """The budgets that these parts' decisions may take from, locked; nothing is asked where there are none."""
        wanted: set[Fund] = set()
        for part in asked:
            workspace = part.request.workspace
            if policies[workspace].budgeted and part.user in users:
                snapshot = self._snapshot(part.arrivals, users[part.user], read, policies[workspace])
                wanted |= set() if snapshot is None else funds(workspace, snapshot)
        return replace(read, spending=await turn.budgets(wanted)) if wanted else read

    # ------------------------------------------------------------------------------------------ deciding
    def _decide(self, part: Part, users: Mapping[UUID, LockedUser], read: Read, policies: Policies) -> _Decided | None:
        """Decides one part; None where no campaign is a candidate. The decisions of a turn follow one another."""
        user = users.get(part.user) if users else None
        if user is None:
            return None
        started = self.stopwatch()
        snapshot = self._snapshot(part.arrivals, user, read, policies)
        if snapshot and policies.budgeted:
            snapshot = structs.replace(snapshot, spent=read.spending.spent(funds(user.workspace, snapshot)))
        decision = decide(snapshot) if snapshot else None
        if snapshot is None or decision is None:
            return None
        if decision.offer is not None:
            read.spending.take(user.workspace, decision.offer)
        return _Decided(user, snapshot, decision, (self.stopwatch() - started) * 1e3)

    def _snapshot(
        self, arrivals: Sequence[Arrival], user: LockedUser, read: Read, policies: Policies
    ) -> Snapshot | None:
        """What the decision may look at; None where no transition is at a fence that is still there."""
        last = next((arrival for arrival in reversed(arrivals) if arrival.fence is not None), None)
        if last is None:
            return None
        device, needs = read.devices[last.device], policies.needs
        now_us = last.transition.at_us if device.replay else user.now_us
        return Snapshot(
            now_us=now_us,
            person=Person(
                id=user.id,
                consents=user.consents,
                rhythm=user.rhythm,
                zone=user.zone or policies.policy.zone,
                locale=user.locale,
                words=words(needs, user.account),
                interactions=user.interactions,
                facts=facts(needs, policies.journey, user.account, device.platform, self._stays(user, read))
                if needs.people
                else NOTHING_KNOWN,
                drawn_as=user.drawn_as,
            ),
            policy=policies.policy,
            device=DeviceView(
                id=device.id, replay=device.replay, lanes=self._able(device, user.rhythm.channels, policies)
            ),
            arrivals=tuple(
                [_arrived(arrival, now_us, user, read, policies) for arrival in arrivals if arrival.fence is not None]
            ),
            campaigns=policies.campaigns,
            uses=Past(read.uses.get(user.id, ())),
            others_inside=frozenset(read.inside.get(user.id, ())),
            catalog_version=policies.version,
            tz_version=self.tz_version,
            holidays_version=self.holidays_version,
        )

    def _stays(self, user: LockedUser, read: Read) -> Iterable[Stays]:
        """The person's visits by store; a fence that is gone counts as its own."""
        if user.id not in read.stays:
            return ()
        index = self.catalog.index(user.workspace)
        found = ((stays, index.get(FenceId(stays.store))) for stays in read.stays[user.id])
        return [stays if fence is None else structs.replace(stays, store=store_key(fence)) for stays, fence in found]

    def _able(self, device: DeviceRow, channels: Sequence[Channel], policies: Policies) -> tuple[str, ...]:
        """The lanes that can reach this device now, in the order of the person's channels.

        A replayed device is reached by the app and the log only; any other by a lane of this installation, for which
        the workspace has credentials where it has to bring its own.
        """
        push = device.push_lane
        good = push in self.lanes and (push == "log" if device.replay else policies.signs_in(push))
        by_push = push if good else None
        lanes = [by_push if channel == "push" else "inapp" for channel in channels]
        return tuple([lane for lane in lanes if lane is not None])

    # ------------------------------------------------------------------------------------------ telling
    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            workspace, part = outcome.part.request.workspace, outcome.part
            heard = self.live.heard(workspace)
            if heard:
                for arrival in _told(outcome.arrivals):
                    self.live.publish(workspace, "transition", records.live_transition(part, arrival))
            row, decision = outcome.row, outcome.decision
            if row is None or decision is None:
                continue
            ms = (self.now_us() - part.request.received_us) / 1e3
            self.figures.decided(workspace, row.reason or row.outcome, ms)
            if heard:
                self.live.publish(workspace, "decision", records.live_decision(outcome, row, decision, ms))
            if row.offer is not None:
                part.request.offers.append(records.made(row.offer))
        if any(outcome.row and outcome.row.offer for outcome in outcomes):
            self.wake()


def _told(arrivals: Sequence[Arrival]) -> list[Arrival]:
    return [arrival for arrival in arrivals if arrival.transition.type is not TransitionType.CONFIRM]


def _epochs(parts: Sequence[Part]) -> Mapping[int, int]:
    """The ownership that each partition's states are from; where two differ, the older: it is refused."""
    epochs: dict[int, int] = {}
    for part in parts:
        epochs[part.partition] = min(part.epoch, epochs.get(part.partition, part.epoch))
    return epochs


def _refusal(locate: bool | None) -> str | None:
    """Why nothing of this user's may be written, in the points' words; None where it may."""
    if locate is None:
        return "unknown_device"
    return None if locate else "consent_required"


def _concerns(policies: Policies, part: Part) -> bool:
    """Whether any campaign is a candidate for any of the part's transitions."""
    for arrival in part.arrivals:
        if arrival.fence is not None and policies.concerned.any(arrival.transition, arrival.fence):
            return True
    return False


def _numbered(asked: Sequence[Part], policies: Mapping[UUID, Policies]) -> dict[UUID, Sequence[str]]:
    """The events whose numbers the asked parts' campaigns look at; nearly always none."""
    wanted = {part.request.workspace: policies[part.request.workspace].surroundings.numbered for part in asked}
    return {workspace: names for workspace, names in wanted.items() if names}


def _wanted(
    asked: Sequence[Part], users: Mapping[UUID, LockedUser], looked: Sequence[Part]
) -> tuple[dict[UUID, int], list[UUID], list[UUID]]:
    since = {
        part.user: min(users[part.user].now_us, part.arrivals[-1].transition.at_us) - LONGEST_WINDOW_US
        for part in asked
    }
    visits = [a.transition.visit for part in looked for a in part.arrivals if a.transition.visit is not None]
    return since, [part.device for part in asked], visits


def _counts(policies: Policies, part: Part, users: Mapping[UUID, LockedUser]) -> bool:
    """Whether a campaign that concerns the part asks for counters of visits, and the person lets them be known."""
    return users[part.user].account.attributes is not None and any(
        arrival.fence is not None and policies.needs.counting.any(arrival.transition, arrival.fence)
        for arrival in part.arrivals
    )


def _past(counted: Sequence[Part], users: Mapping[UUID, LockedUser]) -> tuple[dict[UUID, int], list[UUID]]:
    since = {part.user: min(users[part.user].now_us, part.arrivals[-1].transition.at_us) - SPAN_US for part in counted}
    return since, [a.transition.visit for part in counted for a in part.arrivals if a.transition.visit is not None]


def _leave_out(parts: Iterable[Part], known: Mapping[UUID, KnownVisit]) -> None:
    """Make the parts forget transitions that are committed already."""
    for part in parts if known else ():
        part.arrivals = [arrival for arrival in part.arrivals if not _committed(arrival, known)]


def _arrived(arrival: Arrival, now_us: int, user: LockedUser, read: Read, policies: Policies) -> DecisionArrival:
    fence = arrival.fence
    assert fence is not None  # nothing is decided at a fence that is gone
    store, zone, moment = fence.store or "", policies.zone_of(fence), ORDINARY
    if not policies.surroundings.plain:
        known = user.interactions if user.consents.granted(Purpose.PROFILE) else ()
        asked = Asked(now_us, fence, zone, read.numbers.get(user.workspace, {}), known)
        moment = policies.surroundings.moment(asked)
    return DecisionArrival(
        arrival.transition,
        fence,
        zone,
        policies.store_names.get(store),
        policies.store_categories.get(store),
        policies.store_rules.get(store, NO_RULES),
        moment,
    )


def _outcome(part: Part, decided: _Decided | None, ms: Mapping[str, float]) -> Outcome:
    """What is written down of a part. ms: what the stages of the whole turn took."""
    if decided is None:
        return Outcome(part, part.arrivals)
    wait_ms = (part.taken_us - part.request.received_us) / 1e3
    took = {"wait": wait_ms, **ms, "decide": round(decided.ms, 3)}
    row = records.decision_row(decided.decision, decided.snapshot, part, decided.user, took)
    return Outcome(part, part.arrivals, decided.decision, row)


def _committed(arrival: Arrival, known: Mapping[UUID, KnownVisit]) -> bool:
    visit = arrival.transition.visit
    seen = known.get(visit) if visit is not None else None
    if seen is None:
        return False
    match arrival.transition.type:
        case TransitionType.ENTER:
            return True
        case TransitionType.CONFIRM:
            return seen.confirmed or seen.closed
        case TransitionType.DWELL:
            return seen.dwelt or seen.closed
        case TransitionType.EXIT:
            return seen.closed
        case TransitionType.CROSS:
            return False
