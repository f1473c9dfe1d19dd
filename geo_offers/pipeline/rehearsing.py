"""Previews of campaigns: people's kept visits, or invented ones, put through `offers.rehearsal` without any effect.

Everything that is known of people is as of today: consents, rhythm, profile, counters. Who has said no to being
measured is not counted. The campaign counts as approved and as running all the time; its weekly hours stand.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import structs

from geo_offers import wire
from geo_offers.errors import Conflict, Unavailable
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import Use
from geo_offers.offers.context import Asked, Interaction, Number
from geo_offers.offers.rehearsal import FEW, Findings, Rehearsal, Spread, Walker
from geo_offers.offers.snapshot import Arrival, DeviceView, Person
from geo_offers.offers.stores import NO_RULES
from geo_offers.offers.walkers import WALKERS, visits, walker
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.counters import Stays
from geo_offers.people.profile import NO_ACCOUNT, Account
from geo_offers.people.rhythm import Rhythm
from geo_offers.people.wall import DAY_US
from geo_offers.pipeline.audience import facts
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.slices import sliced
from geo_offers.places.fences import FenceId, Geofence, store_key
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.retelling import KeptVisit, transitions

MAX_TURNS: Final = 200_000
MAX_PEOPLE: Final = 200_000
SYNTHETIC_PLACES: Final = 50
AT_ONCE: Final = 2
OVERLAPS_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Passer:
    """A person as they are today, with the visits that are kept of them. zone: None for the workspace's.

    lanes: those that reach their phone. stays: of before, where a campaign asks for them.
    """

    id: UUID
    consents: Consents
    rhythm: Rhythm
    locale: str
    zone: ZoneInfo | None
    visits: Sequence[KeptVisit]
    lanes: tuple[str, ...] = ("inapp",)
    platform: str = "other"
    interactions: Sequence[Interaction] = ()
    account: Account = NO_ACCOUNT
    uses: Sequence[Use] = ()
    stays: Sequence[Stays] = ()
    drawn_as: UUID | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What a rehearsal decides by. policies: with the rehearsed campaign among the others, whatever its state."""

    policies: Policies
    numbers: dict[str, Number]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose visits: of people who were at one of these fences. prefix: of all fences of a set, None where not by set.

    counted: whether their counters of visits are asked for.
    """

    since_us: int
    until_us: int
    prefix: str | None
    fences: Sequence[FenceId]
    counted: bool


class Archive(Protocol):
    async def stage(self, workspace: UUID, campaign: UUID) -> Stage:
        """NotFound where there is no such campaign."""
        ...

    async def passers(self, workspace: UUID, wanted: Wanted, after: UUID) -> tuple[Sequence[Passer], int, UUID]:
        """Those of the next people by id who match; how many were looked at (0 at the end), and the last of them."""
        ...


class Rehearsals:
    """One preview at a time in a workspace, and `AT_ONCE` in all; each gives way to pings again and again."""

    def __init__(self, archive: Archive, catalog: Catalog) -> None:
        self._archive = archive
        self._catalog = catalog
        self._busy: set[UUID] = set()

    async def preview(self, workspace: UUID, campaign: wire.Campaign, days: int, now_us: int) -> wire.CampaignPreview:
        """What the campaign would have done in the days before now. Conflict while another is under way."""
        with self._alone(workspace):
            stage = await self._archive.stage(workspace, campaign.id)
            play = _Play(stage, self._catalog.index(workspace), campaign.id, days, now_us)
            sampled = await play.kept(partial(self._archive.passers, workspace))
            source: Literal["visits", "synthetic"] = "visits"
            if play.rehearsal.people < FEW:
                play = _Play(stage, self._catalog.index(workspace), campaign.id, days, now_us)
                await play.invented()
                sampled, source = False, "synthetic"
            return _answer(campaign, play.rehearsal.findings(), days, source, sampled=sampled)

    @contextmanager
    def _alone(self, workspace: UUID) -> Iterator[None]:
        if workspace in self._busy:
            raise Conflict("a preview of this workspace is under way; ask again when it is done")
        if len(self._busy) >= AT_ONCE:
            raise Unavailable("others' previews are under way; send the same request again", 5.0)
        self._busy.add(workspace)
        try:
            yield
        finally:
            self._busy.discard(workspace)


class _Passers(Protocol):
    async def __call__(self, wanted: Wanted, after: UUID) -> tuple[Sequence[Passer], int, UUID]: ...


class _Play:
    """One rehearsal under way."""

    def __init__(self, stage: Stage, index: GeofenceIndex, campaign: UUID, days: int, now_us: int) -> None:
        self._stage, self._index, self._days, self._now_us = stage, index, days, now_us
        self._policies = stage.policies
        found = {one.id: one for one in self._policies.campaigns}
        self._campaign = _running(found.pop(campaign), now_us)
        policy = self._policies.policy
        tripped = replace(policy.tripped, campaigns=policy.tripped.campaigns - {campaign})
        self.rehearsal = Rehearsal(
            self._campaign,
            tuple(found.values()),
            structs.replace(policy, tripped=tripped),
            days,
            stores_budgeted=any(rules.budget is not None for rules in self._policies.store_rules.values()),
        )

    async def kept(self, passers: _Passers) -> bool:
        """Kept visits; True where there were more people than may be looked at."""
        since_us, chosen = self._now_us - self._days * DAY_US, self._campaign.fences
        counted = any(one.audience.counts for one in self._policies.campaigns)
        prefix = None if chosen.set is None else f"{chosen.set}/"
        fences = [] if chosen.set is not None else [fence.id async for fence in self._chosen(chosen)]
        wanted = Wanted(since_us, self._now_us, prefix, fences, counted)
        turns = people = 0
        after = UUID(int=0)
        while turns < MAX_TURNS and people < MAX_PEOPLE:
            page, looked, after = await passers(wanted, after)
            if not looked:
                return False
            people += looked
            for passer in page:
                if _measured(passer.consents):
                    turns += await self._walk(passer)
        return True

    async def invented(self) -> None:
        """Invented visits at the campaign's places, of people who let us and have the default rhythm."""
        places = [(fence, self._policies.zone_of(fence)) async for fence in self._chosen(self._campaign.fences)]
        places = sorted(places, key=lambda one: one[0].id)[:SYNTHETIC_PLACES]
        zone, agreed = self._policies.policy.zone, Consent(granted=True, text_version="", at_us=0)
        consents = Consents({Purpose.LOCATE: agreed, Purpose.OFFERS: agreed})
        for number in range(WALKERS if places else 0):
            ident = walker(number)
            came = tuple(visits(ident, places, self._days, self._now_us))
            await self._walk(Passer(ident, consents, Rhythm(), self._locale(), zone, came), open_only=True)

    def _locale(self) -> str:
        """They read what the campaign says first."""
        return next(iter(self._campaign.texts))

    async def _chosen(self, chosen: FenceSelector) -> AsyncIterator[Geofence]:
        for ident in chosen.ids:
            fence = self._index.get(ident)
            if fence is not None:
                yield fence
        if chosen.ids:
            return
        async for fence in sliced(list(self._index)):
            if chosen.matches(fence):
                yield fence

    async def _walk(self, passer: Passer, *, open_only: bool = False) -> int:
        """How many turns there were."""
        found = [arrival async for arrival in sliced(self._arrivals(passer))]
        if open_only:
            found = [one for one in found if one.moment.opening is None or one.moment.opening.open]
        found.sort(key=lambda one: one.transition.at_us)
        turns = 0
        async for _ in sliced(self.rehearsal.play(self._walker(passer, found))):
            turns += 1
        return turns

    def _walker(self, passer: Passer, arrivals: Sequence[Arrival]) -> Walker:
        policies = self._policies
        stays = [self._named(one) for one in passer.stays]
        person = Person(
            id=passer.id,
            consents=passer.consents,
            rhythm=passer.rhythm,
            zone=passer.zone or policies.policy.zone,
            locale=passer.locale,
            interactions=passer.interactions,
            facts=facts(policies.needs, policies.journey, passer.account, passer.platform, stays),
            drawn_as=passer.drawn_as,
        )
        lanes = tuple(lane for lane in passer.lanes if policies.signs_in(lane))
        return Walker(person, DeviceView(passer.id, lanes=lanes), arrivals, passer.uses)

    def _named(self, stays: Stays) -> Stays:
        fence = self._index.get(FenceId(stays.store))
        return stays if fence is None else structs.replace(stays, store=store_key(fence))

    def _arrivals(self, passer: Passer) -> Iterator[Arrival]:
        policies, numbers = self._policies, self._stage.numbers
        known = passer.interactions if passer.consents.granted(Purpose.PROFILE) else ()
        for visit in passer.visits:
            fence = self._index.get(visit.fence)
            if fence is None:
                continue
            zone, store = policies.zone_of(fence), fence.store or ""
            for transition in transitions(visit):
                if transition.at_us < self._now_us and policies.concerned.any(transition, fence):
                    yield Arrival(
                        transition,
                        fence,
                        zone,
                        policies.store_names.get(store),
                        policies.store_categories.get(store),
                        policies.store_rules.get(store, NO_RULES),
                        policies.surroundings.moment(Asked(transition.at_us, fence, zone, numbers, known)),
                    )


def _running(campaign: Campaign, now_us: int) -> Campaign:
    """The campaign as if it were approved and ran all the time until now, and as long as it says."""
    until_us = None if campaign.until_us is None else max(campaign.until_us, now_us)
    return replace(campaign, state=CampaignState.APPROVED, from_us=None, until_us=until_us)


def _measured(consents: Consents) -> bool:
    said = consents.said.get(Purpose.MEASURE)
    return said is None or said.granted


def _answer(
    campaign: wire.Campaign, found: Findings, days: int, source: Literal["visits", "synthetic"], *, sampled: bool
) -> wire.CampaignPreview:
    return wire.CampaignPreview(
        campaign=campaign.id,
        version=campaign.version,
        source=source,
        days=days,
        sampled=sampled,
        people=found.people,
        entries=found.entries,
        offers=found.offers,
        silences=dict(found.silences),
        untold=found.untold,
        per_person=None if found.own is None else _a_week(found.own),
        pressure=None
        if found.before is None or found.after is None
        else wire.Pressure(before=_a_week(found.before), after=_a_week(found.after)),
        overlap=[
            wire.Overlapping(campaign=one.campaign, shared_people=one.people, offers_taken=one.taken)
            for one in found.overlaps[:OVERLAPS_TOLD]
        ],
        cost=None if found.offers is None else cost(campaign, found.offers),
    )


def _a_week(found: Spread) -> wire.OffersAWeek:
    return wire.OffersAWeek(p50=found.p50, p90=found.p90, max=found.most)


def cost(campaign: wire.CampaignBody, offers: int) -> wire.CostRange | None:
    """From nobody answering to everybody: offers * value * discount, and never more than the stated liability.

    Where no value or no discount is given, the liability alone bounds it; None where that is not given either.
    """
    stakes = campaign.stakes
    each = campaign.value * stakes.discount_percent / 100
    if not each and stakes.liability is None:
        return None
    most = offers * each if each else stakes.liability
    bounds = [bound for bound in (most, stakes.liability) if bound is not None]
    return wire.CostRange(low=0.0, high=round(min(bounds), 2) if offers else 0.0)
