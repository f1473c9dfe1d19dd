"""Events, the numbers fed to them, and what people did: what is taken of them, and the ports to where they are kept."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault
from geo_offers.instants import to_us
from geo_offers.offers.calendars import (
    FIRST_YEAR,
    LAST_YEAR,
    PublicHolidays,
    Series,
    knows_region,
    series_faults,
)
from geo_offers.offers.context import Corporate, Event, Interacted, Local, News, Predictive, Recurring
from geo_offers.offers.ics import read_ics
from geo_offers.people.zones import zone_names
from geo_offers.pipeline.callers import Caller
from geo_offers.places.importing.geojson import parse_feature
from geo_offers.places.importing.rows import feature_of

EVENTS: Final = 200
NEWS_US: Final = 24 * 3600 * 1_000_000


class Events(Protocol):
    async def put(self, caller: Caller, ident: str, body: wire.EventBody, rule: Event) -> bool:
        """True where it is new. What says the same as before changes nothing; anything else nobody has approved.

        Conflict past the workspace's bound.
        """
        ...

    async def get(self, workspace: UUID, ident: str) -> wire.Event: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.EventPage:
        """By id, without the text of calendars' files."""
        ...

    async def delete(self, caller: Caller, ident: str) -> None:
        """Conflict where a campaign that has not ended names it, or the embargo."""
        ...

    async def approve(self, caller: Caller, ident: str, seen: int | None) -> wire.Event:
        """News alone; once a key. Forbidden for its author, Conflict where `seen` is not its newest version."""
        ...

    async def feed(self, workspace: UUID, ident: str, value: wire.EventValue) -> wire.FedNumber:
        """The number that holds after this one. Conflict where the event takes none."""
        ...

    async def missing(self, workspace: UUID, idents: Collection[str]) -> Collection[str]:
        """Those of these that are not there."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an interaction. seen: whether it is news that the person has seen the offer that they redeemed."""

    answer: wire.InteractionKept
    seen: bool = False


class Interactions(Protocol):
    async def secret(self, workspace: UUID) -> bytes | None:
        """By which the workspace signs its calls; None where there is no such workspace."""
        ...

    async def keep(self, workspace: UUID, given: wire.Interaction) -> Kept:
        """NotFound where the person is not known, Invalid where an offer is named that is not theirs."""
        ...


def event_of(body: wire.EventBody, zone: str, now_us: int) -> Event | list[Fault]:
    """What decisions read of an event as written, or what is wrong with it. zone: the workspace's.

    A calendar's file or a country met for the first time may take some hundred milliseconds.
    """
    match body:
        case wire.CorporateEvent():
            return _dated(body.start, body.end) or Corporate(to_us(body.start), to_us(body.end))
        case wire.RecurringEvent():
            return _recurring(body, body.time_zone or zone)
        case wire.LocalEvent():
            return _dated(body.start, body.end) or _local(body)
        case wire.PredictiveEvent():
            return _predictive(body)
        case wire.InteractionEvent():
            return Interacted(body.type, body.valid_s)
        case wire.NewsEvent():
            return _news(body, now_us)


def _dated(start: Any, end: Any) -> list[Fault]:
    found = [
        Fault(f"/{name}", "range", f"give a year from {FIRST_YEAR} to {LAST_YEAR - 1}")
        for name, instant in (("start", start), ("end", end))
        if not FIRST_YEAR <= instant.year < LAST_YEAR
    ]
    if not found and end <= start:
        found.append(Fault("/end", "order", "the event ends before it begins; put end after start"))
    return found


def _recurring(body: wire.RecurringEvent, zone: str) -> Recurring | list[Fault]:
    if zone not in zone_names():
        return [
            Fault(
                "/time_zone", "time_zone", "there is no such time zone; use a name of the IANA list, as Europe/Berlin"
            )
        ]
    if sum(way is not None for way in (body.rrule, body.ics, body.holidays)) != 1:
        return [Fault("/rrule", "one_of", "give exactly one of rrule, ics and holidays")]
    if body.rrule is None and (body.start is not None or body.length_s is not None):
        return [Fault("/start", "one_of", "start and length_s go with rrule; leave them out")]
    if body.holidays is not None:
        if not knows_region(body.holidays):
            return [
                Fault("/holidays", "region", "no public holidays are known of this region; give one as FR or DE-BY")
            ]
        return Recurring(holidays=PublicHolidays(body.holidays, zone))
    if body.ics is not None:
        read = read_ics(body.ics, zone, "/ics")
        return [read] if isinstance(read, Fault) else Recurring(read)
    missing = [name for name in ("start", "length_s") if getattr(body, name) is None]
    if missing or body.start is None or body.length_s is None:
        return [Fault(f"/{name}", "missing", f"a rule needs {name}") for name in missing]
    series = Series(body.start, zone, body.length_s, body.rrule)
    return series_faults(series, "") or Recurring((series,))


def _local(body: wire.LocalEvent) -> Local | list[Fault]:
    """The area is read as a geofence's is, and its faults are told in the words of the event."""
    properties = {"name": "area"} | ({} if body.radius_m is None else {"radius_m": body.radius_m})
    feature = {"type": "Feature", "geometry": body.area, "properties": properties}
    draft = parse_feature(feature, external_id="area", strict=True)
    if isinstance(draft, tuple):
        return [Fault(_pointer(fault.pointer), fault.code, fault.detail) for fault in draft]
    return Local(to_us(body.start), to_us(body.end), msgspec.Raw(feature_of(draft)))


def _pointer(pointer: str) -> str:
    return pointer.replace("/geometry", "/area", 1).replace("/properties/radius_m", "/radius_m", 1)


def _predictive(body: wire.PredictiveEvent) -> Predictive | list[Fault]:
    if (body.above is None) == (body.below is None):
        return [Fault("/above", "one_of", "give exactly one of above and below")]
    bound = body.below if body.above is None else body.above
    assert bound is not None
    return Predictive(bound, body.above is None, body.hysteresis, body.max_age_s)


def _news(body: wire.NewsEvent, now_us: int) -> News | list[Fault]:
    start_us = 0 if body.start is None else to_us(body.start)
    end_us = to_us(body.end)
    if end_us > now_us + NEWS_US:
        return [Fault("/end", "range", "news is over within 24 hours from now; give an earlier end")]
    if end_us <= max(start_us, now_us):
        return [Fault("/end", "order", "this is over already, or before it begins; put end after start and after now")]
    return News(start_us, end_us)
