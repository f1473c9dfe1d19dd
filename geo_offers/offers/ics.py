"""A calendar's file (RFC 5545) as series: its events with their rules, what is left out of them, and what was moved.

Taken are VEVENTs with DTSTART, an end (DTEND or DURATION) and at most one rule. A moved instance (RECURRENCE-ID) leaves
its series and stands alone; what is cancelled is left out. Files are strangers': their size is bounded by their wire
type, and their events are counted before any is read, which takes a millisecond or two each.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from icalendar import Calendar

from geo_offers.errors import Fault
from geo_offers.offers.calendars import MAX_LENGTH_S, Series, series_faults
from geo_offers.people.zones import zone_names

MAX_EVENTS: Final = 200
MAX_LEFT_OUT: Final = 366
_ONCE_LENGTH_S: Final = 366 * 86_400


def read_ics(text: str, zone: str, pointer: str) -> tuple[Series, ...] | Fault:
    """The file's series; the first thing wrong with it. zone: whose wall is meant where the file names no zone."""
    if text.upper().count("BEGIN:") > 4 * MAX_EVENTS:
        return Fault(pointer, "too_many", f"a calendar has at most {MAX_EVENTS} events; divide it")
    try:
        calendar = Calendar.from_ical(text)
        events = calendar.walk("VEVENT")
        if not 1 <= len(events) <= MAX_EVENTS:
            return Fault(pointer, "count", f"a calendar has 1 to {MAX_EVENTS} events; this has {len(events)}")
        return _series(events, zone, pointer)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        return Fault(pointer, "ics", "this is no calendar file; export it again as iCalendar (.ics)")


def _series(events: list[Any], zone: str, pointer: str) -> tuple[Series, ...] | Fault:
    moved = {(str(event.get("UID")), _wall(event["RECURRENCE-ID"].dt, zone)) for event in events if _is_moved(event)}
    found: list[Series] = []
    for number, event in enumerate(events):
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        series = _one(event, zone, moved)
        faults = series_faults(series, f"{pointer}/{number}") or _own_faults(series, f"{pointer}/{number}")
        if faults:
            return faults[0]
        found.append(series)
    return tuple(found)


def _is_moved(event: Any) -> bool:
    return "RECURRENCE-ID" in event


def _one(event: Any, zone: str, moved: set[tuple[str, datetime]]) -> Series:
    starts = event["DTSTART"].dt
    own = _zone_of(starts, zone)
    rule = event.get("RRULE")
    if isinstance(rule, list):
        raise ValueError("an event has one rule")  # noqa: TRY004 - of the file, not of a type
    if "RDATE" in event:
        raise ValueError("dates beside a rule are not taken")
    shown, uid = _wall(starts, own), str(event.get("UID"))
    without = set(_left_out(event.get("EXDATE"), own))
    if rule is not None and not _is_moved(event):
        without |= {at for ident, at in moved if ident == uid}
    return Series(
        starts=shown,
        zone=own,
        length_s=round(_length(event, starts, own).total_seconds()),
        rule=None if rule is None or _is_moved(event) else rule.to_ical().decode(),
        without=tuple(sorted(without)),
    )


def _own_faults(series: Series, pointer: str) -> list[Fault]:
    most = _ONCE_LENGTH_S if series.rule is None else MAX_LENGTH_S
    if not 60 <= series.length_s <= most:
        return [Fault(pointer, "length", f"an event lasts a minute to {most // 86_400} days")]
    if len(series.without) > MAX_LEFT_OUT:
        return [Fault(pointer, "too_many", f"an event leaves out at most {MAX_LEFT_OUT} days")]
    return []


def _length(event: Any, starts: date, zone: str) -> timedelta:
    """On the wall; a day without an end lasts the day."""
    if "DTEND" in event:
        return _wall(event["DTEND"].dt, zone) - _wall(starts, zone)
    if "DURATION" in event:
        length: timedelta = event["DURATION"].dt
        return length
    return timedelta(0) if isinstance(starts, datetime) else timedelta(days=1)


def _left_out(value: Any, zone: str) -> list[datetime]:
    lists = value if isinstance(value, list) else [] if value is None else [value]
    return [_wall(entry.dt, zone) for one in lists for entry in one.dts]


def _zone_of(instant: date, zone: str) -> str:
    """The zone that an instant of the file names, where there is such a one; UTC for what stands in it."""
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        return zone
    name = getattr(instant.tzinfo, "key", None)
    if instant.tzinfo is UTC or name in {"UTC", "Etc/UTC"}:
        return "UTC"
    if name not in zone_names():
        raise ValueError("a zone that is not known")
    return str(name)


def _wall(instant: date, zone: str) -> datetime:
    """What the wall of the zone shows then; a day begins at midnight."""
    if not isinstance(instant, datetime):
        return datetime(instant.year, instant.month, instant.day)  # noqa: DTZ001 - wall time on purpose
    return instant if instant.tzinfo is None else instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
