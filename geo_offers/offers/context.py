"""What goes on around an offer: the events that a campaign waits for or keeps out of, of six kinds.

corporate   dated, by the company.
recurring   by rules, a calendar's file, or the public holidays of a region.
local       an area and a time: on only at fences that meet the area.
predictive  a number fed in: on from its bound on, off again only past the hysteresis, and never by a number too old.
interaction of the person: on while something they did (a review, a basket left) is valid, and only with their consent
            to profiling.
news        off until two people have approved it, and over within a day.

Of an event that is not there, or that waits for a number, it is not known whether it is on: that silences whoever waits
for it and whoever keeps out of it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.instants import to_us
from geo_offers.offers.calendars import Calendar, PublicHolidays, Series
from geo_offers.offers.hours import Opening, Told, opening
from geo_offers.people.wall import DAY_US, HOUR_US, first_instant_us, wall
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import Geometry
from geo_offers.places.meeting import meet

APPROVERS: Final = 2
PURCHASE: Final = "purchase"
MEETINGS_KEPT: Final = 100_000
INTERACTIONS_KEPT: Final = 32
INTERACTION_US: Final = 30 * DAY_US


# ------------------------------------------------------------------------------------------------ the kinds
class Corporate(msgspec.Struct, frozen=True, tag_field="kind", tag="corporate"):
    start_us: int
    end_us: int


class Recurring(msgspec.Struct, frozen=True, tag_field="kind", tag="recurring"):
    parts: tuple[Series, ...] = ()
    holidays: PublicHolidays | None = None


class Local(msgspec.Struct, frozen=True, tag_field="kind", tag="local"):
    """`area`: a GeoJSON Feature as geofences are stored."""

    start_us: int
    end_us: int
    area: msgspec.Raw


class Predictive(msgspec.Struct, frozen=True, tag_field="kind", tag="predictive"):
    """On while the number is beyond the bound: at least it, or at most it where `below`."""

    bound: float
    below: bool
    hysteresis: float
    max_age_s: int


class Interacted(msgspec.Struct, frozen=True, tag_field="kind", tag="interaction"):
    type: str
    valid_s: int


class News(msgspec.Struct, frozen=True, tag_field="kind", tag="news"):
    start_us: int
    end_us: int
    approvals: int = 0


Event = Corporate | Recurring | Local | Predictive | Interacted | News


# ------------------------------------------------------------------------------------------------ what is fed in
class Number(msgspec.Struct, frozen=True):
    """The newest number fed to an event, and whether it has the event on."""

    value: float
    at_us: int
    on: bool


def fed(rule: Predictive, before: Number | None, value: float, at_us: int) -> Number:
    """The number that holds after this one was fed: the one before where it is not older.

    Between the bound and its hysteresis it is what it was, unless that was too long ago.
    """
    if before is not None and before.at_us >= at_us:
        return before
    beyond = rule.bound - value if rule.below else value - rule.bound
    fresh = before is not None and before.on and at_us - before.at_us <= rule.max_age_s * 1_000_000
    return Number(value, at_us, on=beyond >= (-rule.hysteresis if fresh else 0))


class Interaction(msgspec.Struct, frozen=True):
    """Something a person did, as the company told it; forgotten at `until_us`. campaign: what a purchase answered."""

    id: str
    type: str
    at_us: int
    until_us: int
    campaign: UUID | None = None


def with_interaction(held: Iterable[Interaction], given: Interaction, now_us: int) -> list[Interaction]:
    """What is kept once one was told: each once, none that is over, and at most 32; the first to end makes room."""
    kept = {one.id: one for one in held if one.until_us > now_us}
    if given.until_us > now_us:
        kept.setdefault(given.id, given)
    return sorted(kept.values(), key=_until)[-INTERACTIONS_KEPT:]


def without_profile(held: Iterable[Interaction], now_us: int) -> list[Interaction]:
    """What may be kept without the consent to profiling: the purchases that silence their own campaign."""
    return [one for one in held if one.until_us > now_us and one.type == PURCHASE and one.campaign is not None]


def _until(interaction: Interaction) -> int:
    return interaction.until_us


def purchase_until_us(interactions: Iterable[Interaction], campaign: UUID, now_us: int) -> int | None:
    """Until when a purchase silences the campaign it answered; None where none does."""
    return max(
        (
            one.until_us
            for one in interactions
            if one.type == PURCHASE and one.campaign == campaign and one.at_us <= now_us < one.until_us
        ),
        default=None,
    )


# ------------------------------------------------------------------------------------------------ states
class State(msgspec.Struct, frozen=True):
    """Whether something is on (None: not known), why not, and until when that stays so as far as is known."""

    on: bool | None
    why: str | None = None
    until_us: int | None = None


UNKNOWN: Final = State(on=None, why="unknown")
CLEAR: Final = State(on=False)


@dataclass(frozen=True, slots=True)
class When:
    """What a campaign waits for (all of `events`) and keeps out of (each of `unless`)."""

    events: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


ALWAYS: Final = When()


@dataclass(frozen=True, slots=True)
class Embargo:
    """Days (on the wall at the fence) and events during which nothing is sent."""

    days: frozenset[date] = frozenset()
    events: tuple[str, ...] = ()


def touched(days: Iterable[date], from_us: int, until_us: int) -> bool:
    """Whether it is one of these days, anywhere on Earth, at an instant from the first to the last of these."""
    return any(from_us < end_us and start_us < until_us for start_us, end_us in map(_anywhere, days))


def _anywhere(day: date) -> tuple[int, int]:
    """From where the day comes first, 14 hours before UTC, to where it is over last, 12 hours after."""
    midnight_us = to_us(datetime.combine(day, time.min, UTC))
    return midnight_us - 14 * HOUR_US, midnight_us + DAY_US + 12 * HOUR_US


@dataclass(frozen=True, slots=True)
class Moment:
    """What goes on at a fence at the instant of a decision, for one person.

    opening: the store's, None where its hours are not known. events: those that campaigns and the embargo name.
    embargo: `why` names the day or the event that is on.
    """

    opening: Opening | None = None
    events: Mapping[str, State] = field(default_factory=dict)
    embargo: State = CLEAR


ORDINARY: Final = Moment()


class Asked(msgspec.Struct, frozen=True):
    """For whom, where and when a moment is looked at. interactions: none without the consent to profiling."""

    now_us: int
    fence: Geofence
    zone: ZoneInfo
    numbers: Mapping[str, Number]
    interactions: Sequence[Interaction] = ()


class Surroundings:
    """A workspace's events, embargo and stores' hours at one catalog version, with what follows from them kept.

    named: the events that campaigns and the embargo name; no other is looked at.
    plain: at every fence and always it is an ordinary moment.
    """

    def __init__(
        self,
        events: Mapping[str, Event] | None = None,
        hours: Mapping[str, Told] | None = None,
        embargo: Embargo = Embargo(),
        named: Collection[str] = (),
        areas: Mapping[str, Geometry] | None = None,
    ) -> None:
        self._events = events or {}
        self._hours = hours or {}
        self._embargo = embargo
        self._named = tuple(sorted({*named, *embargo.events}))
        self._areas = areas or {}
        self._calendars = {
            name: calendar_of(event) for name, event in self._events.items() if isinstance(event, Recurring)
        }
        self._meets: dict[tuple[str, FenceId, int], bool] = {}
        self.numbered = tuple(name for name in self._named if isinstance(self._events.get(name), Predictive))
        self.plain = not (self._named or self._hours or embargo.days)

    def moment(self, asked: Asked) -> Moment:
        if self.plain:
            return ORDINARY
        told = self._hours.get(asked.fence.store or "")
        events = {name: self.state(name, asked) for name in self._named}
        return Moment(
            opening=None if told is None else opening(told, asked.now_us),
            events=events,
            embargo=self._embargoed(events, asked),
        )

    def state(self, name: str, asked: Asked) -> State:
        now_us = asked.now_us
        match self._events.get(name):
            case None:
                return UNKNOWN
            case Corporate(start_us, end_us):
                return _between(start_us, end_us, now_us)
            case Recurring():
                return self._recurring(name, now_us)
            case Local(start_us, end_us):
                return _between(start_us, end_us, now_us) if self._meet(name, asked.fence) else _ELSEWHERE
            case Predictive() as rule:
                return _by_number(rule, asked.numbers.get(name), now_us)
            case Interacted() as rule:
                return _by_interaction(rule, asked.interactions, now_us)
            case News(start_us, end_us, approvals):
                return _between(start_us, end_us, now_us) if approvals >= APPROVERS else _NOT_APPROVED

    def _recurring(self, name: str, now_us: int) -> State:
        on, until_us = self._calendars[name].at(now_us)
        return State(on, None if on else "not_now", until_us)

    def _meet(self, name: str, fence: Geofence) -> bool:
        key = (name, fence.id, fence.version)
        known = self._meets.get(key)
        if known is None:
            if len(self._meets) >= MEETINGS_KEPT:
                self._meets.clear()
            known = self._meets[key] = meet(self._areas[name], fence.geometry)
        return known

    def _embargoed(self, events: Mapping[str, State], asked: Asked) -> State:
        for name in self._embargo.events:
            state = events[name]
            if state.on is not False:
                return State(on=True, why=name, until_us=state.until_us)
        if not self._embargo.days:
            return CLEAR
        today = wall(asked.now_us, asked.zone).date()
        midnight_us = first_instant_us(datetime.combine(today + timedelta(days=1), datetime.min.time()), asked.zone)
        on = today in self._embargo.days
        return State(on, today.isoformat() if on else None, midnight_us)


_ELSEWHERE: Final = State(on=False, why="elsewhere")
_NOT_APPROVED: Final = State(on=False, why="not_approved")


def calendar_of(event: Recurring) -> Calendar:
    return Calendar(event.parts if event.holidays is None else (*event.parts, event.holidays))


def _between(start_us: int, end_us: int, now_us: int) -> State:
    if now_us < start_us:
        return State(on=False, why="not_yet", until_us=start_us)
    return State(on=True, until_us=end_us) if now_us < end_us else State(on=False, why="over")


def _by_number(rule: Predictive, number: Number | None, now_us: int) -> State:
    if number is None:
        return State(on=None, why="no_number")
    until_us = number.at_us + rule.max_age_s * 1_000_000
    if now_us > until_us:
        return State(on=None, why="number_too_old")
    return State(number.on, None if number.on else "bound_not_crossed", until_us)


def _by_interaction(rule: Interacted, interactions: Sequence[Interaction], now_us: int) -> State:
    until_us = max(
        (
            min(one.until_us, one.at_us + rule.valid_s * 1_000_000)
            for one in interactions
            if one.type == rule.type and one.at_us <= now_us
        ),
        default=now_us,
    )
    return State(on=True, until_us=until_us) if now_us < until_us else State(on=False, why="no_interaction")
