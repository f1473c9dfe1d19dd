"""The turn against a model of its store, through any life: pings, retries, crashes, withdrawals, changes, clocks set.

The engine's own turn decides; the model keeps what PostgreSQL would keep, in plain lists, and loses what a crash loses.
Each time an offer, or a ghost, is committed, every promise is checked from its definition over all that is kept.
"""

from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from geo_offers.offers.budgets import Budget
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import Use
from geo_offers.offers.charging import Purse, charges
from geo_offers.offers.experiment import Experiment
from geo_offers.offers.rendering import Text
from geo_offers.offers.snapshot import WorkspacePolicy
from geo_offers.offers.stores import StoreRules
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.rhythm import Rhythm
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import DeviceRow, KnownVisit, LockedUser, Read, Unforeseen, VisitRow, Writes
from geo_offers.pipeline.requests import Arrival, Part, Request
from geo_offers.pipeline.spending import Fund, Spending
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.places.fences import store_key
from geo_offers.presence import states
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import is_late, step
from geo_offers.presence.states import NOWHERE, PresenceState, TransitionType
from tests.property.test_offers_decide import (
    FENCES,
    HOUR_US,
    MINUTE_US,
    WORKSPACE,
    ZONES,
    cap_rules,
    key_of,
    policies,
    quiet_by_the_wall,
    rhythms,
    shown,
    starts,
    unit_of,
)
from tests.support.replacing import replace

PEOPLE = [UUID(int=100 + number) for number in range(3)]
DEVICES = [UUID(int=200 + number) for number in range(5)]
OWNER = {device: PEOPLE[number % 3] for number, device in enumerate(DEVICES)}  # two of them have two phones
STORES = ("s0", "s1", "s2")
LOCATE_AND_OFFERS = Consents(
    {purpose: Consent(granted=True, text_version="v", at_us=0) for purpose in (Purpose.LOCATE, Purpose.OFFERS)}
)


class Lost(Exception):
    """The process died: nobody was answered."""


@dataclass
class Kept:
    """A reservation."""

    user: UUID
    use: Use
    state: int
    charged: list[Purse]


@dataclass
class Model:
    """What PostgreSQL would hold, and `pipeline.ports.TurnStore` over it."""

    now_us: int
    held: Policies
    consents: dict[UUID, Consents] = field(default_factory=lambda: dict.fromkeys(PEOPLE, LOCATE_AND_OFFERS))
    rhythms: dict[UUID, Rhythm] = field(default_factory=lambda: dict.fromkeys(PEOPLE, Rhythm(quiet=())))
    zones: dict[UUID, ZoneInfo] = field(default_factory=dict)
    presence: dict[UUID, bytes] = field(default_factory=dict)
    visits: dict[UUID, VisitRow] = field(default_factory=dict)
    reservations: list[Kept] = field(default_factory=list)
    decided: set[UUID] = field(default_factory=set)
    dies: str = "never"
    staged: Writes | None = None

    async def commit(self, *_given: Any) -> bool:
        return False  # there are always campaigns

    @asynccontextmanager
    async def open(self, *_given: Any) -> Any:
        self.staged = None
        yield self
        if self.dies == "before the commit":
            raise Lost
        if self.staged is not None:
            self.apply(self.staged)
        if self.dies == "after the commit":
            raise Lost

    async def lock(self, users: Sequence[UUID]) -> Mapping[UUID, bool]:
        return {user: self.consents[user].granted(Purpose.LOCATE) for user in users}

    def people(self, users: Collection[UUID]) -> Mapping[UUID, LockedUser]:
        return {
            user: LockedUser(
                user,
                WORKSPACE,
                self.consents[user],
                self.rhythms[user],
                "en",
                self.zones.get(user),
                self.now_us,
            )
            for user in users
        }

    async def policies(self, _workspace: UUID) -> Policies:
        return self.held

    async def read(
        self,
        workspaces: Collection[UUID],
        since_us: Mapping[UUID, int],
        devices: Collection[UUID],
        visits: Collection[UUID],
    ) -> Read:
        others = [device for device in self.presence if device not in devices]
        return Read(
            catalogs=dict.fromkeys(workspaces, self.held.version),
            uses={
                user: [kept.use for kept in self.counting(user) if kept.use.at_us > since]
                for user, since in since_us.items()
            },
            inside={
                user: [fence for device in others if OWNER[device] == user for fence in self.loaded(device).inside]
                for user in since_us
            },
            known={
                visit: KnownVisit(row.dwelt_us is not None, row.confirmed_us is not None, row.left_us is not None)
                for visit, row in self.visits.items()
                if visit in visits
            },
            devices={device: DeviceRow(device, replay=False, push_lane=None) for device in devices},
        )

    async def budgets(self, funds: Collection[Fund]) -> Spending:
        given = [purse for kept in self.reservations if kept.state < 2 for purse in kept.charged]
        return Spending(
            {(fund.workspace, fund.purse.owner): sum(fund.purse.owner == one.owner for one in given) for fund in funds},
            {fund: given.count(fund.purse) for fund in funds},
        )

    async def write(self, writes: Writes, *, looked: bool) -> None:
        for row in writes.visits:
            stands = self.visits.get(row.id)
            if not looked and (stands is not None) == row.opened:
                raise Unforeseen
            assert not (row.opened and stands), "a visit that was looked for is written again"
        self.staged = writes

    # -------------------------------------------------------------------------------------------- what it keeps
    def loaded(self, device: UUID) -> PresenceState:
        return states.load(self.presence[device]) if device in self.presence else NOWHERE

    def counting(self, user: UUID) -> list[Kept]:
        return [kept for kept in self.reservations if kept.user == user and kept.state < 2]

    def apply(self, writes: Writes) -> None:
        for row in writes.visits:
            stands = self.visits.setdefault(row.id, row)
            if stands is not row and stands.left_us is None:
                for mark in ("dwelt_us", "confirmed_us", "left_us"):
                    setattr(stands, mark, getattr(row, mark) or getattr(stands, mark))
                for by in ("enter_decision", "dwell_decision", "exit_decision"):
                    assert not (getattr(stands, by) and getattr(row, by)), "a transition is decided twice"
                    setattr(stands, by, getattr(row, by) or getattr(stands, by))
        for seen in writes.seen:
            self.presence[seen.device] = seen.kept
        for decision in writes.decisions:
            assert decision.id not in self.decided, "a decision is made twice"
            self.decided.add(decision.id)
            offer, ghost = decision.offer, decision.ghost
            assert (decision.reason == "holdout") == (ghost is not None)
            if offer is not None:
                use = Use(offer.at_us, offer.campaign, offer.store, offer.fence, frozenset(offer.tags), offer.visit)
                purses = charges(offer.charged, offer.campaign, offer.store)
                self.reserve(Kept(decision.user, use, 0, purses))
            elif ghost is not None:
                use = Use(decision.at_us, ghost.campaign, ghost.store, ghost.fence, ghost.tags, ghost.visit, ghost=True)
                self.reserve(Kept(decision.user, use, 1, []))

    def reserve(self, new: Kept) -> None:
        self.reservations.append(new)
        promises(self, new)


# ------------------------------------------------------------------------------------------------ what must hold
def promises(model: Model, new: Kept) -> None:
    """Whatever was allowed before: no window, gap or budget that takes in the new offer holds more than it may now."""
    user, use, policy = new.user, new.use, model.held.policy
    zone, rhythm = model.zones.get(user) or policy.zone, model.rhythms[user]
    uses = [kept.use for kept in model.counting(user)]
    assert model.consents[user].granted(Purpose.LOCATE)
    assert model.consents[user].granted(Purpose.OFFERS)
    assert [one.visit for one in uses].count(use.visit) == 1, "two offers for one visit"
    for quiet in (*rhythm.quiet, *policy.quiet):
        assert not quiet_by_the_wall(quiet, shown(use.at_us, zone))
    per = rhythm.per if isinstance(rhythm.per, str) else None
    length_us = 0 if isinstance(rhythm.per, str) else round(rhythm.per.hours * HOUR_US)
    assert most_about(uses, use, 1, per or length_us, zone) <= rhythm.max
    others = [abs(one.at_us - use.at_us) for one in uses if one is not use]
    assert min(others, default=10**18) >= max(rhythm.min_gap_h * HOUR_US, policy.place_gap_s * 1_000_000)
    same = [abs(one.at_us - use.at_us) for one in uses if one is not use and one.store == use.store]
    assert min(same, default=10**18) >= policy.store_gap_s * 1_000_000
    (campaign,) = [one for one in model.held.campaigns if one.id == use.campaign]
    store = model.held.store_rules.get(use.store, StoreRules())
    for cap in (*policy.caps, *store.caps, *campaign.caps):
        key = key_of(cap, use)
        counted = [one for one in uses if key is not None and key_of(cap, one) == key]
        hours = {"hour": 1, "day": 24, "week": 168, "month": 31 * 24}[cap.unit]
        unit = cap.unit if cap.mode == "calendar" else None
        if counted:
            assert most_about(counted, use, cap.n, unit or cap.n * hours * HOUR_US, zone) <= cap.limit
    if not use.ghost:
        spends(
            model, of_store=False, name=str(use.campaign), limit=campaign.budget, today=shown(use.at_us, policy.zone)
        )
        spends(model, of_store=True, name=use.store, limit=store.budget, today=shown(use.at_us, policy.zone))


def most_about(uses: Sequence[Use], new: Use, n: int, window: str | int, zone: ZoneInfo) -> int:
    """The most uses in any window of n calendar units, or of so many microseconds, that holds the new one."""
    if isinstance(window, int):
        firsts = [one.at_us for one in uses if one.at_us <= new.at_us < one.at_us + window]
        return max(sum(first <= one.at_us < first + window for one in uses) for first in firsts)
    mine = unit_of(new.at_us, window, zone)
    numbers = [unit_of(one.at_us, window, zone) for one in uses]
    return max(sum(first <= number < first + n for number in numbers) for first in range(mine - n + 1, mine + 1))


def spends(model: Model, *, of_store: bool, name: str, limit: Budget | None, today: Any) -> None:
    if limit is None:
        return
    zone = model.held.policy.zone
    given = [
        kept.use
        for kept in model.reservations
        if kept.state < 2
        and not kept.use.ghost
        and (kept.use.store if of_store else str(kept.use.campaign)) == name
        and any(purse.owner.startswith("store" if of_store else "campaign") for purse in kept.charged)
    ]
    assert limit.total is None or len(given) <= limit.total
    same: date = today.date()
    assert limit.per_day is None or sum(shown(use.at_us, zone).date() == same for use in given) <= limit.per_day


# ------------------------------------------------------------------------------------------------ the machine
budgets = st.none() | st.builds(Budget, total=st.sampled_from([1, 3, 8]), per_day=st.none() | st.sampled_from([1, 2]))
campaigns = st.builds(
    Campaign,
    id=st.just(UUID(int=1)),
    name=st.just("c"),
    version=st.just(1),
    state=st.just(CampaignState.APPROVED),
    trigger_on=st.sampled_from([TransitionType.ENTER, TransitionType.ENTER, TransitionType.EXIT]),
    fences=st.just(FenceSelector(set="town")),
    texts=st.just({"en": Text("t", "b")}),
    caps=st.lists(cap_rules, max_size=2).map(tuple),
    experiment=st.sampled_from([0.0, 0.0, 0.5]).map(Experiment),
    budget=budgets,
)
store_rules = st.builds(StoreRules, caps=st.lists(cap_rules, max_size=1).map(tuple), budget=budgets)


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[WorkspacePolicy, list[Campaign], dict[str, StoreRules]]:
    policy = replace(
        draw(policies),
        quiet=(),
        caps=tuple(draw(st.lists(cap_rules, max_size=1))),
        holdout=draw(st.sampled_from([0.0, 0.2])),
    )
    drawn = draw(st.lists(campaigns, min_size=1, max_size=3))
    return (
        policy,
        [replace(one, id=UUID(int=number + 1)) for number, one in enumerate(drawn)],
        {store: draw(store_rules) for store in STORES if draw(st.booleans())},
    )


moves = st.lists(
    st.tuples(st.sampled_from(DEVICES), st.sets(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 60)),
    min_size=1,
    max_size=3,
    unique_by=lambda move: OWNER[move[0]],
)
crashes = st.sampled_from(["never", "never", "never", "before the commit", "after the commit"])
waits = st.sampled_from([1, 5, 31, 61, 61, 24 * 60, 25 * 60, 8 * 24 * 60])
days = st.lists(st.tuples(waits, moves, crashes), min_size=5, max_size=15)
EASY = Rhythm(max=1000, min_gap_h=0.0, quiet=())


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that waits for nothing comes to."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


class AnyLife(RuleBasedStateMachine):
    @initialize(catalog=catalogs(), start=starts, zones=st.lists(st.sampled_from(ZONES), min_size=3, max_size=3))
    def begins(self, catalog: Any, start: int, zones: list[ZoneInfo]) -> None:
        policy, drawn, rules = catalog
        self.model = Model(start, Policies(1, policy, drawn, store_rules=rules))
        self.model.rhythms = dict.fromkeys(PEOPLE, EASY)
        self.model.zones = dict(zip(PEOPLE, zones, strict=True))
        self.memory: dict[UUID, PresenceState] = {}
        self.unanswered: list[tuple[UUID, Fix, set[int]]] = []
        store: Any = self.model
        nobody: Any = None
        self.turn = DecisionTurn(
            store=store,
            catalog=Catalog(),
            ownership=Ownership(nobody, "me"),
            figures=Figures(),
            live=LiveFeed(),
            wake=lambda: None,
            lanes=frozenset(),
            tz_version="1",
            now_us=lambda: self.model.now_us,
        )

    def send(self, pings: Sequence[tuple[UUID, Fix, set[int]]], dies: str) -> None:
        """One turn; what it has made of the phones is installed after its commit, as the engine does."""
        parts = []
        for device, fix, inside in pings:
            state = self.memory.setdefault(device, self.model.loaded(device))
            if is_late(state, fix.at_us):
                continue
            part = Part(Request(WORKSPACE, self.model.now_us, [], bytearray()), OWNER[device], device, 0, [])  # type: ignore[arg-type]
            here = [FENCES[number] for number in sorted(inside)]
            part.state, edges = step(state, fix, here, [], workspace=WORKSPACE, device=device)
            by_id = {fence.id: fence for fence in FENCES}
            part.arrivals = [Arrival(device, edge, by_id[edge.fence]) for edge in edges]
            if part.arrivals:
                parts.append(part)
            else:
                self.memory[device] = part.state
        if not parts:
            return
        self.model.dies = dies
        try:
            refused = at_once(self.turn(parts))
        except Lost:
            self.unanswered += pings
            self.crashes()
            return
        finally:
            self.model.dies = "never"
        for part in parts:
            if part.user not in refused:
                assert isinstance(part.state, PresenceState)
                self.memory[part.device] = part.state

    @rule(day=days)
    def walks(self, day: Any) -> None:
        """Into fences and out of them again."""
        for minutes, moves, dies in day:
            self.waits(minutes)
            self.ping([(device, near, ago) for device, near, ago in moves], dies)
            self.waits(2)
            self.ping([(device, set(), 0) for device, _, _ in moves], dies)

    def ping(self, moves: Sequence[tuple[UUID, set[int], int]], dies: str) -> None:
        now_us = self.model.now_us
        self.send(
            [(device, Fix(now_us - ago * 1_000_000, 50.0, 8.0, 5.0), set(near)) for device, near, ago in moves], dies
        )

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data(), dies=crashes)
    def sends_again_what_was_not_answered(self, data: st.DataObject, dies: str) -> None:
        at = data.draw(st.integers(0, len(self.unanswered) - 1))
        self.send([self.unanswered.pop(at)], dies)

    @rule(device=st.sampled_from(DEVICES))
    def a_silent_phone_is_forgotten(self, device: UUID) -> None:
        self.model.presence.pop(device, None)
        self.memory.pop(device, None)

    @rule()
    def crashes(self) -> None:
        self.memory.clear()

    def waits(self, minutes: int) -> None:
        self.model.now_us += minutes * MINUTE_US

    @rule(minutes=st.sampled_from([1, 30, 90]))
    def the_clock_is_set_back(self, minutes: int) -> None:
        self.model.now_us -= minutes * MINUTE_US

    @rule(user=st.sampled_from(PEOPLE), rhythm=rhythms | st.just(EASY) | st.just(EASY))
    def changes_the_rhythm(self, user: UUID, rhythm: Rhythm) -> None:
        self.model.rhythms[user] = rhythm

    @rule(user=st.sampled_from(PEOPLE), zone=st.sampled_from(ZONES))
    def travels(self, user: UUID, zone: ZoneInfo) -> None:
        self.model.zones[user] = zone

    @rule(
        user=st.sampled_from(PEOPLE),
        purpose=st.sampled_from([Purpose.LOCATE, Purpose.OFFERS]),
        granted=st.sampled_from([True, True, False]),
    )
    def speaks_of_consent(self, user: UUID, purpose: Purpose, granted: bool) -> None:
        said = Consent(granted=granted, text_version="v", at_us=self.model.now_us)
        self.model.consents[user] = self.model.consents[user].having(purpose, said)
        if purpose is Purpose.LOCATE and not granted:
            for device in (device for device, owner in OWNER.items() if owner == user):
                self.model.presence.pop(device, None)
                self.memory.pop(device, None)

    @precondition(lambda self: self.model.reservations)
    @rule(data=st.data(), state=st.sampled_from([1, 2, 2]))
    def an_offer_is_shown_or_known_not_to_be(self, data: st.DataObject, state: int) -> None:
        kept = data.draw(st.sampled_from(self.model.reservations))
        if kept.state == 0:
            kept.state = state

    @rule(catalog=catalogs())
    def managers_change_their_minds(self, catalog: Any) -> None:
        policy, drawn, rules = catalog
        self.model.held = Policies(self.model.held.version + 1, policy, drawn, store_rules=rules)


AnyLife.TestCase.settings = settings(max_examples=80, stateful_step_count=15, deadline=None)
TestAnyLife = AnyLife.TestCase


PLAIN = Campaign(
    UUID(int=1), "c", 1, CampaignState.APPROVED, TransitionType.ENTER, FenceSelector(set="town"), {"en": Text("t", "b")}
)


def test_the_machine_meets_offers_ghosts_and_silences() -> None:
    """It proves nothing where nothing is offered."""
    life = AnyLife()
    one = replace(PLAIN, budget=Budget(total=2), experiment=Experiment(0.5))
    life.begins((WorkspacePolicy("w", ZONES[2], 0, 0), [one], {}), 1_774_587_600_000_000, [ZONES[2]] * 3)
    for number in range(5):
        for device in DEVICES[:3]:
            life.ping([(device, {number}, 0)], "never")
        life.waits(31)
    kept = life.model.reservations
    assert sum(not one.use.ghost for one in kept) == 2
    assert any(one.use.ghost for one in kept)
    assert len(life.model.decided) == 15
    assert {store_key(fence) for fence in FENCES} >= {*STORES}


def test_what_was_committed_and_not_answered_is_not_decided_again_by_a_phone_that_was_forgotten_meanwhile() -> None:
    life = AnyLife()
    life.begins((WorkspacePolicy("w", ZONES[2], 0, 0), [PLAIN], {}), 1_774_587_600_000_000, [ZONES[2]] * 3)
    life.ping([(DEVICES[0], {0}, 0)], "after the commit")
    life.a_silent_phone_is_forgotten(DEVICES[0])
    life.send([life.unanswered.pop()], "never")
    assert (len(life.model.decided), len(life.model.visits)) == (1, 1)
