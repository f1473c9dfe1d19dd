"""Frequency caps: at most so many offers of a kind in a window of time.

There is one thing to count, the use: an offer that holds a place in the person's time, shown or about to be. Rolling
and calendar windows count the same uses. A window is two-sided, for the reason that `people/rhythm.py` gives: a use
noted at a later instant than now counts too. Calendar windows are the person's own (their zone, weeks from Monday)
and of n units take in the neighbours on either side, so that no n units in a row ever hold more than the limit.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from functools import cached_property, lru_cache
from math import inf
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.errors import Fault
from geo_offers.instants import text
from geo_offers.people.backoff import Became
from geo_offers.people.rhythm import Window, calendar_window, rolling_window
from geo_offers.people.wall import DAY_US, HOUR_US, wall
from geo_offers.places.fences import FenceId

WINDOW_DAYS: Final = 31
# What must be read of the past: the longest window, and a day more for a calendar window with a longer day in it.
USES_SPAN_US: Final = (WINDOW_DAYS + 1) * DAY_US
MAX_RULES: Final = 10

K = TypeVar("K")
Full = tuple[int, dict[str, Any]]
"""The number of a rule that is full, and what `over` says of it."""
WindowMode = Literal["rolling", "calendar"]
WindowUnit = Literal["hour", "day", "week", "month"]
_UNIT_US: Final = {"hour": HOUR_US, "day": DAY_US, "week": 7 * DAY_US, "month": WINDOW_DAYS * DAY_US}


class Scope(StrEnum):
    """What a rule counts: all offers to the person, or those of this store, this campaign, or a tag of the fence."""

    USER = "user"
    USER_STORE = "user_store"
    USER_CAMPAIGN = "user_campaign"
    USER_TAG = "user_tag"


class CapRule(msgspec.Struct, frozen=True, cache_hash=True, omit_defaults=True):
    """At most `limit` in `n` units. A rolling month is 31 days. `tag` is for the scope user_tag alone."""

    limit: int
    n: int = 1
    unit: WindowUnit = "week"
    mode: WindowMode = "rolling"
    scope: Scope = Scope.USER_CAMPAIGN
    tag: str | None = None


class Rules(msgspec.Struct, frozen=True, eq=False):
    """Rules as they are asked: apart, those by campaign and those that hold alike for all candidates of a place.

    Each with its number. own_least, alike_least: fewer uses than this, of the campaign or at all, fill none of them.
    """

    own: Sequence[tuple[int, CapRule]]
    alike: Sequence[tuple[int, CapRule]]
    own_least: float
    alike_least: float


@lru_cache(maxsize=4096)
def rules_of(rules: tuple[CapRule, ...]) -> Rules:
    """Take rules apart; equal ones make the same, so that what is found of it can be kept by it."""
    own, alike = list[tuple[int, CapRule]](), list[tuple[int, CapRule]]()
    for number, rule in enumerate(rules):
        (own if rule.scope is Scope.USER_CAMPAIGN else alike).append((number, rule))
    return Rules(own, alike, *(min([rule.limit for _, rule in some], default=inf) for some in (own, alike)))


class Use(msgspec.Struct, frozen=True, omit_defaults=True):
    """An offer that counts: its reservation is held or kept. `visit` is the visit it answered.

    special: it went past the person's ordinary budget, out of the special one. became: what was told of it since.
    A ghost counts alike, though nobody saw it: see `experiment`.
    """

    at_us: int
    campaign: UUID
    store: str
    place: FenceId
    tags: AbstractSet[str] = frozenset()
    visit: UUID | None = None
    special: bool = False
    ghost: bool = False
    became: Became = Became.NOTHING


class Wanted(msgspec.Struct, frozen=True):
    """The offer that someone would like to make: what of it the rules look at.

    categories: what a person may mute it by: the campaign's, the store's, and the fence's tags.
    """

    campaign: UUID
    store: str
    tags: AbstractSet[str]
    categories: AbstractSet[str] = frozenset()


_instant: Final = attrgetter("at_us")


class Past(tuple[Use, ...]):  # noqa: SLOT001 - what was found is kept beside the tuple
    """A person's uses, and their instants, ascending, by what is counted: found once for all rules and candidates.

    in_order: the uses, the oldest first. ordinary: instants of those that went past no budget. of_campaigns: by the
    campaign's number, since a UUID is hashed and compared several times slower; so are the visits that were answered.
    told: what became of those of which something was told, the oldest first.
    """

    in_order: Sequence[Use]
    instants: Sequence[int]
    ordinary: Sequence[int]
    of_stores: Mapping[str, Sequence[int]]
    of_campaigns: Mapping[int, Sequence[int]]
    visits: AbstractSet[int]
    told: Sequence[Became]

    def __init__(self, _uses: Iterable[Use] = ()) -> None:
        self._room: Room | None = None
        self._of_tags: dict[str, Sequence[int]] = {}
        self.in_order = sorted(self, key=_instant)
        self.instants = [use.at_us for use in self.in_order]
        self.ordinary = [use.at_us for use in self.in_order if not use.special]
        self.of_stores = _grouped([(use.store, use.at_us) for use in self.in_order])
        self.of_campaigns = _grouped([(use.campaign.int, use.at_us) for use in self.in_order])
        self.visits = {use.visit.int for use in self if use.visit is not None}
        self.told = [use.became for use in self.in_order if use.became]

    def heard(self, campaign: int, store: str) -> float:
        """How often the person was told: each of the campaign's as one, each other of the store as a half."""
        own, stores = self.of_campaigns.get(campaign), self.of_stores.get(store)
        if stores is None:
            return 0.0 if own is None else float(len(own))
        if own is None:
            return len(stores) / 2
        return len(own) + (len(stores) - self.of_both.get((campaign, store), 0)) / 2

    @cached_property
    def of_both(self) -> Mapping[tuple[int, str], int]:
        """How many there are, by the campaign's number and the store."""
        return Counter([(use.campaign.int, use.store) for use in self])

    def of_tag(self, tag: str) -> Sequence[int]:
        """Instants of those at places that have the tag."""
        known = self._of_tags.get(tag)
        if known is None:
            known = self._of_tags[tag] = [use.at_us for use in self.in_order if tag in use.tags]
        return known

    def room(self, now_us: int, zone: ZoneInfo) -> "Room":
        """What of the rules is full at an instant for a person of this zone."""
        room = self._room
        if room is None or room.now_us != now_us or room.zone is not zone:
            room = self._room = Room(self, now_us, zone)
        return room


def past_of(uses: Sequence[Use]) -> Past:
    return uses if isinstance(uses, Past) else Past(uses)


def _grouped(pairs: Iterable[tuple[K, int]]) -> Mapping[K, Sequence[int]]:
    groups: dict[K, list[int]] = {}
    for key, at_us in pairs:
        if key in groups:
            groups[key].append(at_us)
        else:
            groups[key] = [at_us]
    return groups


def faults(rule: CapRule, pointer: str) -> tuple[Fault, ...]:
    """Find what is wrong with a rule; pointers begin with `pointer`."""
    found: list[Fault] = []
    if rule.limit < 1:
        found.append(Fault(f"{pointer}/limit", "range", "A limit is at least 1; pause the campaign to send nothing."))
    if rule.n < 1 or rule.n * _UNIT_US[rule.unit] > WINDOW_DAYS * DAY_US:
        found.append(Fault(f"{pointer}/window/n", "range", f"A window lasts up to {WINDOW_DAYS} days; shorten it."))
    if (rule.scope is Scope.USER_TAG) != (rule.tag is not None):
        found.append(Fault(f"{pointer}/tag", "tag", "A tag goes with the scope user_tag and only with it."))
    return tuple(found)


def over(rule: CapRule, uses: Sequence[Use], wanted: Wanted, *, now_us: int, zone: ZoneInfo) -> dict[str, Any] | None:
    """Judge one more offer: None when the rule has room for it, else what it counted and until when it is full."""
    return Room(past_of(uses), now_us, zone).over(rule, wanted)


def _over(rule: CapRule, instants: Sequence[int], window: Window, now_us: int) -> dict[str, Any] | None:
    counted = instants[bisect_left(instants, window.start_us) : bisect_left(instants, window.end_us)]
    if len(counted) < rule.limit:
        return None
    detail: dict[str, Any] = {"scope": rule.scope, "limit": rule.limit, "used": len(counted)}
    detail |= {"n": rule.n, "unit": rule.unit, "mode": rule.mode}
    if rule.tag is not None:
        detail["tag"] = rule.tag
    return detail | {"until": text(free_at_us(counted, rule.limit, window, now_us, rolling=rule.mode == "rolling"))}


class Room:
    """Which rules are full at one instant. What does not depend on the campaign is found once for all candidates."""

    def __init__(self, past: Past, now_us: int, zone: ZoneInfo) -> None:
        self._past, self.now_us, self.zone = past, now_us, zone
        self._known: dict[tuple[str, AbstractSet[str], Rules], Full | None] = {}
        self._windows: dict[tuple[WindowMode, WindowUnit, int], Window] = {}

    def first_full(self, rules: Rules, wanted: Wanted) -> Full | None:
        """Find the first rule that is full."""
        full, own = self.full_for_all(rules, wanted), self.own_full(rules, wanted)
        return own if own is not None and (full is None or own[0] < full[0]) else full

    def own_full(self, rules: Rules, wanted: Wanted) -> Full | None:
        """Find the first that is full of those by campaign."""
        told = self._past.of_campaigns.get(wanted.campaign.int)
        return None if told is None or len(told) < rules.own_least else self._first(rules.own, wanted)

    def full_for_all(self, rules: Rules, wanted: Wanted) -> Full | None:
        """Find the first that is full of those that hold alike for all candidates of the place."""
        if len(self._past) < rules.alike_least:
            return None
        asked = wanted.store, wanted.tags, rules
        if asked in self._known:
            return self._known[asked]
        full = self._known[asked] = self._first(rules.alike, wanted)
        return full

    def _first(self, rules: Sequence[tuple[int, CapRule]], wanted: Wanted) -> Full | None:
        for number, rule in rules:
            full = self.over(rule, wanted)
            if full is not None:
                return number, full
        return None

    def over(self, rule: CapRule, wanted: Wanted) -> dict[str, Any] | None:
        """Judge one rule, as the function of this name."""
        instants = _matching(rule, self._past, wanted)
        if len(instants) < rule.limit:  # nearly always: no calendar is asked
            return None
        window = self._windows.get((rule.mode, rule.unit, rule.n)) or self._window(rule)
        if instants[-rule.limit] < window.start_us:  # too few are as new as that, whatever comes later
            return None
        return _over(rule, instants, window, self.now_us)

    def _window(self, rule: CapRule) -> Window:
        window = self._windows[rule.mode, rule.unit, rule.n] = cap_window(rule, self.now_us, self.zone)
        return window


def free_at_us(counted: Sequence[int], limit: int, window: Window, now_us: int, *, rolling: bool) -> int:
    """Find when a full window has room again. counted: ascending, at least `limit` of them; limit at least 1."""
    if not rolling:
        return window.end_us
    return counted[len(counted) - limit] + window.end_us - now_us


def cap_window(rule: CapRule, now_us: int, zone: ZoneInfo) -> Window:
    """Find the window that an offer made now would count in."""
    if rule.mode == "rolling":
        return rolling_window(rule.n * _UNIT_US[rule.unit], now_us)
    if rule.unit == "hour":
        shown = wall(now_us, zone)
        start_us = now_us - (shown.minute * 60 + shown.second) * 1_000_000 - shown.microsecond
        return Window(start_us - (rule.n - 1) * HOUR_US, start_us + rule.n * HOUR_US)
    return calendar_window(rule.unit, rule.n, now_us, zone)


def _matching(rule: CapRule, past: Past, wanted: Wanted) -> Sequence[int]:
    """Instants, ascending, of the uses that the rule counts, in whatever window."""
    match rule.scope:
        case Scope.USER:
            return past.instants
        case Scope.USER_STORE:
            return past.of_stores.get(wanted.store, ())
        case Scope.USER_CAMPAIGN:
            return past.of_campaigns.get(wanted.campaign.int, ())
        case Scope.USER_TAG:
            return past.of_tag(rule.tag) if rule.tag is not None and rule.tag in wanted.tags else ()
