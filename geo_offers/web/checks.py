"""What the managers' calls check of names, texts, zones and pages beyond the types of `wire`."""

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault, Invalid, NotFound
from geo_offers.people.zones import zone_names
from geo_offers.pipeline.services import Services
from geo_offers.places.importing.texts import MAX_ID_CHARS, UNSAFE
from geo_offers.web.calls import Given

MAX_PAGE: Final = 1_000
JOINERS: Final = frozenset("\u200c\u200d")  # Persian is not written without one, nor a family emoji without the other


def invalid(pointer: str, code: str, detail: str) -> Invalid:
    """One fault as the error that tells it."""
    return Invalid(detail, (Fault(pointer, code, detail),))


def refuse(faults: Sequence[Fault]) -> None:
    """Invalid where there are any."""
    if faults:
        raise Invalid(faults[0].detail, tuple(faults[:20]))


def page_limit(given: Given) -> int:
    """How many items the page holds: what was asked, at most a thousand."""
    query: wire.ListQuery = given.query
    return min(query.limit, MAX_PAGE)


# ------------------------------------------------------------------------------------------------ path parts
def path_text(given: Given, part: str) -> str:
    """A name of the caller's own in the path, percent-decoded. Invalid where it could not be one."""
    text = given.path[part]
    if not 0 < len(text) <= MAX_ID_CHARS:
        raise invalid(f"/{part}", "length", f"{part} has 1 to {MAX_ID_CHARS} characters")
    if text != text.strip(" ") or unsafe(text):
        raise invalid(f"/{part}", "unsafe_text", f"{part} holds invisible characters or blanks at its ends; leave them")
    return text


def set_name(text: str) -> str:
    """The name of a set of geofences, given in path or query."""
    if "/" in text:
        raise invalid("/set", "slash", "a set's name holds no slash: the first one ends it in set/id")
    if text != text.strip(" ") or unsafe(text):
        raise invalid("/set", "unsafe_text", "set holds invisible characters or blanks at its ends; leave them")
    return text


def path_id(given: Given, what: str) -> UUID:
    """An id of ours in the path; what is none names nothing."""
    try:
        return UUID(given.path["id"])
    except ValueError as error:
        raise NotFound(f"there is no such {what}") from error


async def known_events(services: Services, given: Given, named: wire.When | wire.Embargo, pointer: str) -> None:
    """Invalid, with the place of each, where an event that is named is not there."""
    lists: dict[str, list[str]] = {"events": named.events} | (
        {"unless": named.unless} if isinstance(named, wire.When) else {}
    )
    missing = (
        await services.events.missing(given.caller.workspace, {*chain(*lists.values())}) if any(lists.values()) else ()
    )
    faults = tuple(
        Fault(f"{pointer}/{member}/{number}", "event", "there is no such event; put it first")
        for member, names in lists.items()
        for number, name in enumerate(names)
        if name in missing
    )
    if faults:
        raise Invalid(faults[0].detail, faults)


# ------------------------------------------------------------------------------------------------ texts
def unsafe(text: str, allowed: frozenset[str] = frozenset()) -> bool:
    """Whether a text holds control, bidi or zero-width characters, line breaks or half a surrogate pair."""
    return not text.isprintable() and any(
        unicodedata.category(character) in UNSAFE for character in text if character not in allowed
    )


def refuse_unsafe(body: Any, allowed: frozenset[str] = frozenset()) -> None:
    """Invalid, with the place of each, where a text anywhere in the body is unsafe."""
    faults = tuple(
        Fault(pointer, "unsafe_text", "control, bidi and zero-width characters are refused here; remove them")
        for pointer, text in _texts(msgspec.to_builtins(body), "")
        if unsafe(text, allowed)
    )
    if faults:
        raise Invalid(faults[0].detail, faults[:20])


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """All texts of a value with their pointers, members' names too."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{pointer}/{number}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield pointer, name
            yield from _texts(item, f"{pointer}/{_token(name)}")


def _token(name: str) -> str:
    return ascii(name[:64])[1:-1].replace("~", "~0").replace("/", "~1")


# ------------------------------------------------------------------------------------------------ instants and zones
def instant(given: datetime, pointer: str) -> datetime:
    """In UTC. Invalid where it names no offset, or one that leads out of the calendar."""
    try:
        if given.tzinfo is not None:
            return given.astimezone(UTC)
    except OverflowError:
        pass  # year 1 or 9999: told as below
    raise invalid(pointer, "time_zone", "an instant is RFC 3339 text with its offset, or Z for UTC")


def check_zone(name: str, pointer: str) -> None:
    """Invalid where there is no such time zone."""
    if name not in zone_names():
        raise invalid(pointer, "time_zone", "there is no such time zone; use a name of the IANA list, as Europe/Berlin")
