"""A rehearsal: what a campaign would do, told from visits that were, by the very function that judges.

Each person's visits are decided in the order of time, twice: among the campaigns that run, and with the rehearsed one
among them. What is offered in it, and what is held out, takes its place in the person's time and counts
for all that follows; nothing is written. A turn is all that arrives at one instant, and an entry is a turn of which the
rehearsed campaign is a candidate.

Budgets start unspent. They are counted from person to person, not from hour to hour: how much they allow is right, and
not who gets it.

The answer is of people together. A number made of fewer than `FEW` of them is not told.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import Final
from uuid import UUID

from msgspec import structs

from geo_offers.offers.budgets import Spent
from geo_offers.offers.campaigns import Campaign, Campaigns
from geo_offers.offers.caps import USES_SPAN_US, Past, Use
from geo_offers.offers.charging import Purse, asked, charged, charges
from geo_offers.offers.decide import Judgement, judge, passed_over, place_of
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Arrival, DeviceView, Person, Snapshot, WorkspacePolicy

FEW: Final = 10
OFFER: Final = "offer"
WEEK_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Walker:
    """One person's visits in the order of time. uses: what holds a place in their time from before."""

    person: Person
    device: DeviceView
    arrivals: Sequence[Arrival]
    uses: Sequence[Use] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """Offers a week of the people who had an entry: of the middle one, of the one at nine tenths, the most."""

    p50: float
    p90: float
    most: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Another campaign: people whom both concerned, and how many of its offers the rehearsed one took."""

    campaign: UUID
    people: int
    taken: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What a rehearsal found. people: who had an entry. offers: None where fewer than `FEW` got them.

    silences: by reason. untold: entries whose outcome fewer than `FEW` people had. own: offers of the campaign;
    before and after: of all campaigns. The three are None, and nothing overlaps, where fewer than `FEW` had an entry.
    """

    people: int
    entries: int
    offers: int | None
    silences: Mapping[str, int]
    untold: int
    own: Spread | None
    before: Spread | None
    after: Spread | None
    overlaps: Sequence[Overlap]


@dataclass(slots=True)
class _Purses:
    """What budgets have given in one pass."""

    totals: Counter[str] = field(default_factory=Counter)
    days: Counter[Purse] = field(default_factory=Counter)

    def spent(self, snapshot: Snapshot) -> dict[str, Spent]:
        return {purse.owner: Spent(self.totals[purse.owner], self.days[purse]) for purse in asked(snapshot)}

    def take(self, snapshot: Snapshot, offered: Candidate) -> None:
        charge = charged(snapshot, offered.campaign, offered.arrival)
        for purse in charges(charge, offered.campaign.id, offered.wanted.store):
            self.totals[purse.owner] += 1
            self.days[purse] += 1


@dataclass(slots=True)
class _Life:
    """A person's time among some campaigns. uses: oldest first. met: campaigns that were asked, won: offers."""

    campaigns: Campaigns
    purses: _Purses
    uses: deque[Use]
    known: Past | None = None
    met: set[UUID] = field(default_factory=set)
    won: Counter[UUID] = field(default_factory=Counter)

    def past(self, now_us: int) -> Past:
        """The uses that may count still; looked at anew where one came or went."""
        while self.uses and self.uses[0].at_us <= now_us - USES_SPAN_US:
            self.uses.popleft()
            self.known = None
        if self.known is None:
            self.known = Past(self.uses)
        return self.known

    def take(self, snapshot: Snapshot, judged: Judgement | None) -> None:
        if judged is None:
            return
        about = judged.about
        self.met.add(about.campaign.id)
        for other in judged.placed:
            self.met.add(other.candidate.campaign.id)
        if judged.arm is not None:
            self.uses.append(_use(snapshot, judged))
            self.known = None
        if judged.reason is None:
            self.won[about.campaign.id] += 1
            self.purses.take(snapshot, about)


class Rehearsal:
    """One campaign among the others, and what was found so far."""

    def __init__(
        self,
        campaign: Campaign,
        others: Sequence[Campaign],
        policy: WorkspacePolicy,
        days: int,
        *,
        stores_budgeted: bool = False,
    ) -> None:
        self._campaign, self._policy, self._weeks = campaign, policy, days / WEEK_DAYS
        self._without = Campaigns(others)
        self._with = Campaigns((*others, campaign))
        self._budgets = (_Purses(), _Purses())
        self._budgeted = stores_budgeted or any(one.budget is not None for one in self._with)
        self._entries: Counter[str] = Counter()
        self._had: Counter[str] = Counter()
        self._shared: Counter[UUID] = Counter()
        self._taken: Counter[UUID] = Counter()
        self._own: Counter[int] = Counter()
        self._before: Counter[int] = Counter()
        self._after: Counter[int] = Counter()
        self.people = 0

    def play(self, walker: Walker) -> Iterator[None]:
        """Take a person's visits; goes on turn by turn, so that who plays may let others have their turn.

        As long as the campaign has taken no place in the person's time, all goes as without it.
        """
        uses = sorted(walker.uses, key=_instant)
        before = _Life(self._without, self._budgets[0], deque(uses))
        after = _Life(self._with, self._budgets[1], deque(uses))
        alike, outcomes = not self._budgeted, Counter[str]()
        for at_us, arriving in groupby(walker.arrivals, key=_arrived):
            arrivals = tuple(arriving)
            snapshot = self._snapshot(walker, arrivals, at_us, after)
            judged = judge(snapshot)
            if judged is not None and judged.arm is not None and judged.about.campaign.id == self._campaign.id:
                alike = False
            after.take(snapshot, judged)
            if alike:
                before.take(snapshot, judged)
            else:
                snapshot = self._snapshot(walker, arrivals, at_us, before)
                before.take(snapshot, judge(snapshot))
            if judged is not None:
                self._count(outcomes, judged)
            yield
        if outcomes:
            self._note(outcomes, before, after)

    def findings(self) -> Findings:
        told = self._told()
        enough, got = self.people >= FEW, self._had[OFFER]
        shown = OFFER in told or not got
        return Findings(
            people=self.people,
            entries=self._entries.total(),
            offers=told.get(OFFER, 0) if shown else None,
            silences={outcome: count for outcome, count in Counter(told).most_common() if outcome != OFFER},
            untold=self._entries.total() - sum(told.values()),
            own=self._spread(self._own) if enough and shown else None,
            before=self._spread(self._before) if enough else None,
            after=self._spread(self._after) if enough else None,
            overlaps=[
                Overlap(other, people, self._taken[other])
                for other, people in self._shared.most_common()
                if people >= FEW
            ],
        )

    def _told(self) -> dict[str, int]:
        """The outcomes that may be told, and how many entries had each: a single one is not left to be reckoned."""
        rising = sorted(self._had, key=self._had.__getitem__)
        hidden = sum(self._had[outcome] < FEW for outcome in rising)
        if hidden == 1:
            hidden = 2
        return {outcome: self._entries[outcome] for outcome in rising[hidden:]}

    def _snapshot(self, walker: Walker, arrivals: tuple[Arrival, ...], at_us: int, life: _Life) -> Snapshot:
        past = life.past(at_us)
        snapshot = Snapshot(at_us, walker.person, self._policy, walker.device, arrivals, life.campaigns, past)
        return structs.replace(snapshot, spent=life.purses.spent(snapshot)) if self._budgeted else snapshot

    def _count(self, outcomes: Counter[str], judged: Judgement) -> None:
        """What became of the campaign, where it was concerned."""
        own = self._campaign.id
        if judged.about.campaign.id == own:
            outcomes[judged.reason or OFFER] += 1
        elif (reason := passed_over(judged).get(own)) is not None:
            outcomes[reason] += 1

    def _note(self, outcomes: Counter[str], before: _Life, after: _Life) -> None:
        self.people += 1
        self._entries.update(outcomes)
        self._had.update(outcomes.keys())
        own = self._campaign.id
        self._shared.update((before.met | after.met) - {own})
        for other in (before.won.keys() | after.won.keys()) - {own}:
            self._taken[other] += before.won[other] - after.won[other]
        self._own[after.won[own]] += 1
        self._before[before.won.total()] += 1
        self._after[after.won.total()] += 1

    def _spread(self, offers: Mapping[int, int]) -> Spread:
        """Of how many people had so many offers, by the week."""

        def at(share: float) -> float:
            left = ceil(share * self.people)
            for count in sorted(offers):
                left -= offers[count]
                if left <= 0:
                    return round(count / self._weeks, 3)
            return 0.0

        return Spread(at(0.5), at(0.9), at(1))


def _use(snapshot: Snapshot, judged: Judgement) -> Use:
    """What an offer or its ghost takes of the person's time; nothing is told of it any more."""
    taken = place_of(snapshot, judged.about)
    return Use(
        snapshot.now_us,
        taken.campaign,
        taken.store,
        taken.fence,
        taken.tags,
        taken.visit,
        taken.special,
        ghost=judged.reason is not None,
    )


def _instant(use: Use) -> int:
    return use.at_us


def _arrived(arrival: Arrival) -> int:
    return arrival.transition.at_us
