"""What a store manager wants said, to whom it may matter, and when: the campaign.

A campaign answers one kind of transition at the fences it selects. It is stored as draft, submitted, approved, paused
or ended; running is not stored but follows: approved and inside its schedule.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final, Self
from uuid import UUID

import msgspec

from geo_offers.errors import Fault
from geo_offers.offers import asking, budgets, caps, experiment, proofreading
from geo_offers.offers.budgets import Budget
from geo_offers.offers.caps import CapRule, Rules, Wanted
from geo_offers.offers.context import ALWAYS, When
from geo_offers.offers.experiment import NO_EXPERIMENT, Experiment
from geo_offers.offers.scoring import NO_WORTH, Worth
from geo_offers.offers.texts import Field, Text
from geo_offers.people.audience import EVERYBODY, Audience
from geo_offers.people.quiet import QuietRule
from geo_offers.places.fences import FenceId, Geofence, split_fence_id, store_key
from geo_offers.presence.states import Transition, TransitionType

TRIGGERS: Final = frozenset({TransitionType.ENTER, TransitionType.DWELL, TransitionType.EXIT})

FENCES_KEPT: Final = 20_000
STANDINGS_KEPT: Final = 100_000


class CampaignState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    PAUSED = "paused"
    ENDED = "ended"


_APPROVED: Final = CampaignState.APPROVED


@dataclass(frozen=True, slots=True)
class FenceSelector:
    """Which fences: all of a set, the named ones, or those with any of the tags. Exactly one of the three is given."""

    set: str | None = None
    ids: frozenset[FenceId] = frozenset()
    tags: frozenset[str] = frozenset()

    def matches(self, fence: Geofence) -> bool:
        if self.set is not None:
            return split_fence_id(fence.id)[0] == self.set
        return fence.id in self.ids or not self.tags.isdisjoint(fence.tags)

    def selects(self) -> Iterator[tuple[str, str]]:
        """Name what is selected, each by its kind; `selecting` of the fences that `matches` has one of these."""
        if self.set is not None:
            yield "set", self.set
        else:
            yield from (("id", fence) for fence in self.ids)
            yield from (("tag", tag) for tag in self.tags)

    def meets(self, other: "FenceSelector") -> bool:
        """Whether both surely select a fence in common; of a set and a tag that is not known."""
        if self.set is not None and other.set is not None:
            return self.set == other.set
        if not (self.ids.isdisjoint(other.ids) and self.tags.isdisjoint(other.tags)):
            return True
        return any(split_fence_id(fence)[0] in (self.set, other.set) for fence in self.ids | other.ids)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign at one version. texts: by locale, the first is the fallback; from_us <= running < until_us.

    special: it may go past a person's ordinary budget, out of the one that they keep for such offers.
    hours: when in the week, on the wall at the fence; always where there are none. when: the events it depends on.
    ask: an attribute that its offers ask the person for.
    """

    id: UUID
    name: str
    version: int
    state: CampaignState
    trigger_on: TransitionType
    fences: FenceSelector
    texts: Mapping[str, Text]
    from_us: int | None = None
    until_us: int | None = None
    priority: int = 0
    caps: tuple[CapRule, ...] = ()
    objective: str = "visit"
    data: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None
    special: bool = False
    fields: tuple[Field, ...] = ()
    worth: Worth = NO_WORTH
    experiment: Experiment = NO_EXPERIMENT
    budget: Budget | None = None
    hours: tuple[QuietRule, ...] = ()
    when: When = ALWAYS
    audience: Audience = EVERYBODY
    ask: str | None = None

    @property
    def live(self) -> bool:
        """Approved, and with something to say."""
        return self.state is _APPROVED and bool(self.texts)

    def scheduled(self, now_us: int) -> bool:
        return (self.from_us is None or self.from_us <= now_us) and (self.until_us is None or now_us < self.until_us)

    def running(self, now_us: int) -> bool:
        return self.live and self.scheduled(now_us)


def selecting(fence: Geofence) -> Iterator[tuple[str, str]]:
    """Name all by which a campaign may select this fence."""
    yield "set", split_fence_id(fence.id)[0]
    yield "id", fence.id
    yield from (("tag", tag) for tag in fence.tags)


class Kind(msgspec.Struct, frozen=True, eq=False):
    """What many campaigns have in common, so that gates need answer but once for them.

    asks: names of the gates at which the campaign itself asks for something; no other may fail by it. rules: its caps.
    """

    special: bool
    asks: frozenset[str]
    rules: Rules


class Standing(msgspec.Struct, frozen=True, eq=False):
    """A campaign at one place: what of a candidate the catalog alone tells."""

    campaign: Campaign
    wanted: Wanted
    kind: Kind

    @classmethod
    def at(cls, fence: Geofence, campaign: Campaign, category: str | None) -> Self:
        """category: the store's."""
        tags = frozenset(fence.tags)
        categories = tags | {named for named in (campaign.category, category) if named is not None}
        wanted = Wanted(campaign.id, store_key(fence), tags, categories)
        return cls(campaign, wanted, _kind(campaign.special, _asks(campaign), caps.rules_of(campaign.caps)))


@lru_cache(maxsize=4096)
def _kind(special: bool, asks: frozenset[str], rules: Rules) -> Kind:
    """The same of equal ones, so that it can be told by what it is."""
    return Kind(special, asks, rules)


def _asks(campaign: Campaign) -> frozenset[str]:
    asks = {
        "live": not campaign.live,
        "schedule": campaign.from_us is not None or campaign.until_us is not None or bool(campaign.hours),
        "context": bool(campaign.when.events or campaign.when.unless),
        "audience": bool(campaign.audience.clauses),
        "words": bool(campaign.fields),
        "cap": bool(campaign.caps),
        "budget": campaign.budget is not None,
    }
    return frozenset(gate for gate, asked in asks.items() if asked)


class Campaigns(tuple[Campaign, ...]):  # noqa: SLOT001 - what was found is kept beside the tuple
    """A workspace's campaigns at one catalog version; which of them a fence has is looked up, and once.

    written: each as it is stored, by its number, as far as `keeping` has written it.
    """

    @cached_property
    def written(self) -> dict[int, msgspec.Raw]:
        return {}

    @cached_property
    def _places(self) -> Mapping[tuple[str, str], Sequence[int]]:
        """Where in the tuple those are that select by a name."""
        places: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, campaign in enumerate(self):
            for name in campaign.fences.selects():
                places[name].append(place)
        return places

    @cached_property
    def _at(self) -> dict[tuple[FenceId, tuple[str, ...], tuple[TransitionType, ...]], Sequence[Campaign]]:
        return {}

    @cached_property
    def _standing(self) -> dict[tuple[object, ...], Sequence[Standing]]:
        return {}

    _held = 0

    def standing(
        self, fence: Geofence, on: tuple[TransitionType, ...], category: str | None = None
    ) -> Sequence[Standing]:
        """Those of `at`, by priority and then by their ids. category: the store's."""
        key = fence.id, fence.tags, fence.store, category, on
        known = self._standing.get(key)
        if known is None:
            found = sorted(self.at(fence, on), key=lambda one: (-one.priority, one.id.int))
            if self._held >= STANDINGS_KEPT:
                self._standing.clear()
                self._held = 0
            known = self._standing[key] = [Standing.at(fence, campaign, category) for campaign in found]
            self._held += len(known) + 1
        return known

    def at(self, fence: Geofence, on: tuple[TransitionType, ...]) -> Sequence[Campaign]:
        """Those that any of these edges at the fence triggers."""
        key = fence.id, fence.tags, on
        known = self._at.get(key)
        if known is None:
            if len(self._at) >= FENCES_KEPT:
                self._at.clear()
            places = {place for name in selecting(fence) for place in self._places.get(name, ())}
            known = self._at[key] = [self[place] for place in sorted(places) if self[place].trigger_on in on]
        return known


def candidates(campaigns: Sequence[Campaign], transition: Transition, fence: Geofence) -> Sequence[Campaign]:
    """Find the campaigns that this transition concerns, whatever their state: why one stays silent is for the gates.

    A cross concerns none: nobody arrived. At a calibrated fence nothing does before the visit is confirmed.
    """
    return () if transition.visit is None else indexed(campaigns).at(fence, transition.triggers)


def standings(
    campaigns: Sequence[Campaign], transition: Transition, fence: Geofence, category: str | None
) -> Sequence[Standing]:
    """Find the same by priority, then by their ids, with what the catalog tells of each. category: the store's."""
    return () if transition.visit is None else indexed(campaigns).standing(fence, transition.triggers, category)


def indexed(campaigns: Sequence[Campaign]) -> Campaigns:
    return campaigns if isinstance(campaigns, Campaigns) else Campaigns(campaigns)


@dataclass(frozen=True, slots=True)
class Concerned:
    """Answers for all campaigns of a workspace at once whether any is a candidate, which nearly always none is."""

    sets: Mapping[TransitionType, AbstractSet[str]]
    ids: Mapping[TransitionType, AbstractSet[FenceId]]
    tags: Mapping[TransitionType, AbstractSet[str]]

    @classmethod
    def by(cls, campaigns: Sequence[Campaign]) -> Self:
        sets: dict[TransitionType, set[str]] = defaultdict(set)
        ids: dict[TransitionType, set[FenceId]] = defaultdict(set)
        tags: dict[TransitionType, set[str]] = defaultdict(set)
        for campaign in campaigns:
            on, fences = campaign.trigger_on, campaign.fences
            if fences.set is not None:
                sets[on].add(fences.set)
            else:
                ids[on] |= fences.ids
                tags[on] |= fences.tags
        return cls(dict(sets), dict(ids), dict(tags))

    def any(self, transition: Transition, fence: Geofence) -> bool:
        """Whether `candidates` of the same campaigns would find one."""
        if transition.visit is None:
            return False
        return any(self.on(trigger, fence) for trigger in transition.triggers)

    def on(self, trigger: TransitionType, fence: Geofence) -> bool:
        """Whether any of the campaigns answers this trigger there."""
        if trigger in self.sets and split_fence_id(fence.id)[0] in self.sets[trigger]:
            return True
        if trigger not in self.ids:
            return False
        return fence.id in self.ids[trigger] or not self.tags[trigger].isdisjoint(fence.tags)


def faults(campaign: Campaign) -> tuple[Fault, ...]:
    """Find what is wrong with a campaign as written; pointers are those of the public body."""
    found: list[Fault] = []
    if campaign.trigger_on not in TRIGGERS:
        found.append(
            Fault("/trigger/on", "trigger", "An offer answers enter, dwell or exit; nobody arrives by a cross.")
        )
    selector = campaign.fences
    if sum((selector.set is not None, bool(selector.ids), bool(selector.tags))) != 1:
        found.append(Fault("/trigger/fences", "selector", "Give exactly one of set, ids and tags."))
    if not campaign.texts:
        found.append(Fault("/texts", "missing", "Give the text in at least one locale."))
    found += proofreading.faults(campaign.texts, campaign.fields, campaign.data, ends=campaign.until_us is not None)
    if campaign.from_us is not None and campaign.until_us is not None and campaign.until_us <= campaign.from_us:
        found.append(Fault("/schedule/until", "order", "The schedule ends before it begins; put until after from."))
    if campaign.ask is not None and asking.KEY in campaign.data:
        found.append(Fault(f"/data/{asking.KEY}", "reserved", "What an offer asks for stands here; name it otherwise."))
    if len(campaign.caps) > caps.MAX_RULES:
        found.append(Fault("/caps", "too_many", f"At most {caps.MAX_RULES} rules can hold at once; drop some."))
    for number, rule in enumerate(campaign.caps):
        found += caps.faults(rule, f"/caps/{number}")
    found += budgets.faults(campaign.budget, "/budget")
    found += experiment.faults(campaign.experiment)
    for number, variant in enumerate(campaign.experiment.variants):
        read = proofreading.faults(
            variant.texts or {}, campaign.fields, campaign.data, ends=campaign.until_us is not None
        )
        found += [
            replace(fault, pointer=f"/variants/{number}{fault.pointer}")
            for fault in read
            if fault.pointer.startswith("/texts")
        ]
    return tuple(found)
