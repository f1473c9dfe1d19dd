"""Events around an offer, the numbers fed to them, and what people did."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from geo_offers.wire.base import WORD, Answer, Identifier, Name, Page, Request, Zone

Instant = Annotated[datetime, Meta(tz=True)]
HolidayRegion = Annotated[
    str, Meta(min_length=2, max_length=8, description="ISO 3166: a country as FR, a part of one as DE-BY")
]
Country = Annotated[str, Meta(min_length=2, max_length=2, description="ISO 3166: a country as FR")]
InteractionType = Annotated[str, Meta(pattern=WORD, max_length=32)]
EventNames = Annotated[list[Identifier], Meta(max_length=10)]

MAX_ICS = 65_536
MAX_VALID_S = 2_592_000


class CorporateEvent(Request, frozen=True, kw_only=True, tag_field="kind", tag="corporate"):
    """Dated, by the company."""

    name: Name
    start: Instant
    end: Instant


class RecurringEvent(Request, frozen=True, kw_only=True, tag_field="kind", tag="recurring"):
    """Exactly one of `rrule` (with `start` and `length_s`), `ics` and `holidays`; the zone is else the workspace's."""

    name: Name
    time_zone: Zone | None = None
    start: (
        Annotated[datetime, Meta(tz=False, description="by the clock on the wall, as 2026-01-05T09:00:00")] | None
    ) = None
    length_s: Annotated[int, Meta(ge=60, le=2_678_400)] | None = None
    rrule: (
        Annotated[str, Meta(min_length=1, max_length=300, description="RFC 5545, as FREQ=WEEKLY;BYDAY=MO")] | None
    ) = None
    ics: Annotated[str, Meta(min_length=1, max_length=MAX_ICS, description="a calendar's file, RFC 5545")] | None = None
    holidays: HolidayRegion | None = None


class LocalEvent(Request, frozen=True, kw_only=True, tag_field="kind", tag="local"):
    """An area and a time; on at the fences that meet the area."""

    name: Name
    start: Instant
    end: Instant
    area: Annotated[
        dict[str, Any], Meta(description="a GeoJSON geometry: Polygon, MultiPolygon, or Point with radius_m")
    ]
    radius_m: Annotated[float, Meta(ge=25, le=10_000)] | None = None


class PredictiveEvent(Request, frozen=True, kw_only=True, tag_field="kind", tag="predictive"):
    """On from the number `above` (or down from `below`), off again past the hysteresis; exactly one of the two."""

    name: Name
    above: float | None = None
    below: float | None = None
    hysteresis: Annotated[float, Meta(ge=0)] = 0.0
    max_age_s: Annotated[int, Meta(ge=1, le=604_800)] = 3_600


class InteractionEvent(Request, frozen=True, kw_only=True, tag_field="kind", tag="interaction"):
    """On for a person for so long after they did something of this type."""

    name: Name
    type: InteractionType
    valid_s: Annotated[int, Meta(ge=1, le=MAX_VALID_S)] = 86_400


class NewsEvent(Request, frozen=True, kw_only=True, tag_field="kind", tag="news"):
    """On once two approvers who did not write it have approved it, and over within 24 hours."""

    name: Name
    start: Instant | None = None
    end: Instant


EventBody = CorporateEvent | RecurringEvent | LocalEvent | PredictiveEvent | InteractionEvent | NewsEvent


class Occurrence(Answer, frozen=True, kw_only=True):
    start: datetime
    end: datetime


class FedNumber(Answer, frozen=True, kw_only=True):
    """The newest number of a predictive event, and whether it has the event on."""

    value: float
    at: datetime
    on: bool


class Event(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """`next`: when it is on next; `approvals`: by how many, of news; `number`: of a predictive event."""

    id: str
    version: int
    event: EventBody
    next: list[Occurrence] = []
    approvals: int = 0
    number: FedNumber | None = None


class EventPage(Page, frozen=True, kw_only=True):
    items: list[Event]


class EventValue(Request, frozen=True, kw_only=True):
    """A number for a predictive event; one that is not newer than the last changes nothing."""

    value: float
    at: Instant


class When(Request, frozen=True, kw_only=True):
    """Events by their ids: all that have to be on, and those of which none may be."""

    events: EventNames = []
    unless: EventNames = []


class Embargo(Request, frozen=True, kw_only=True):
    """Days (by the wall at the fence) and events during which nothing is sent."""

    days: Annotated[list[date], Meta(max_length=366)] = []
    events: EventNames = []


class Interaction(Request, frozen=True, kw_only=True):
    """Something a person did. `id` is the sender's, the same on every attempt.

    A purchase names its campaign, or the offer that it redeems, whose campaign it is then.
    """

    id: Identifier
    user: Identifier
    type: InteractionType
    at: Instant
    valid_s: Annotated[int, Meta(ge=1, le=MAX_VALID_S)] = 86_400
    campaign: UUID | None = None
    offer: UUID | None = None


class InteractionKept(Answer, omit_defaults=False, frozen=True, kw_only=True):
    """`kept` false: there was nothing to keep, as it is over, known, or without the person's consent.

    `redeemed` where an offer was named: true, or false where it was redeemed before.
    """

    kept: bool
    reason: str | None = None
    redeemed: bool | UnsetType = UNSET


class ExportedInteraction(Answer, frozen=True, kw_only=True):
    id: str
    type: str
    at: datetime
    until: datetime
    campaign: UUID | None = None
