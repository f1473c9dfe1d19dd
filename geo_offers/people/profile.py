"""What is known of a person: attributes of the workspace's own, each of a declared type.

A profile is kept only of adults who gave the `profile` consent. An attribute that is not there is not known; what the
workspace does not declare (any more), or declares as another type than the value has, counts as not known.
"""

from collections.abc import Mapping
from datetime import date
from math import isfinite
from typing import Final

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault

STANDARD: Final[Mapping[str, wire.Attribute]] = {
    "purchases": wire.Attribute(type="number", by="server"),
    "referrals": wire.Attribute(type="number", by="server"),
}
LARGEST: Final = 1e15  # whole numbers are exact up to here
MOST: Final = 32


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision knows of a person's row. attributes: None where no profile may be known of them.

    refused: attributes that they refused to give. named: whether the app has named them; created_us: first enrolled.
    """

    attributes: Mapping[str, wire.Value] | None = None
    refused: tuple[str, ...] = ()
    named: bool = False
    created_us: int = 0


NO_ACCOUNT: Final = Account()

_WANTED: Final[Mapping[str, str]] = {
    "text": "a text",
    "number": "a number between -1e15 and 1e15",
    "flag": "true or false",
    "date": "a day as 2026-05-01",
    "list": "a list of texts",
}


def declared(settings: wire.AudienceSettings) -> Mapping[str, wire.Attribute]:
    """All attributes of a workspace, by name."""
    return {**STANDARD, **settings.attributes}


def fits(kind: wire.AttributeType, value: object) -> bool:
    """Whether a value is of an attribute's type."""
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and _countable(value)
        case "flag":
            return isinstance(value, bool)
        case "date":
            return isinstance(value, str) and _is_day(value)
        case "list":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _countable(value: float) -> bool:
    return isfinite(value) and abs(value) <= LARGEST


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def known(values: Mapping[str, wire.Value], attributes: Mapping[str, wire.Attribute]) -> dict[str, wire.Value]:
    """Take the values that are declared, and of their types."""
    return {
        name: value
        for name, value in values.items()
        if (attribute := attributes.get(name)) is not None and fits(attribute.type, value)
    }


def answered(values: Mapping[str, wire.Value], attributes: Mapping[str, wire.Attribute]) -> int:
    """How many of the known values are such as persons give."""
    return sum(attributes[name].by == "person" for name in values)


def changed(values: Mapping[str, wire.Value], patch: Mapping[str, wire.Value | None]) -> dict[str, wire.Value]:
    """Return the values after a patch; null forgets."""
    merged = {**values, **patch}
    return {name: value for name, value in merged.items() if value is not None}


def faults(patch: wire.ProfilePatch, attributes: Mapping[str, wire.Attribute], *, by_person: bool) -> tuple[Fault, ...]:
    """Find what is wrong with a patch; by_person: it comes from a phone, not from the app's own server."""
    found: list[Fault] = []
    for name, value in patch.attributes.items():
        attribute, pointer = attributes.get(name), f"/attributes/{name}"
        if attribute is None:
            found.append(_unknown(pointer))
        elif by_person and attribute.by == "server":
            found.append(Fault(pointer, "not_yours", "The app's own server gives this attribute; leave it out."))
        elif value is not None and not fits(attribute.type, value):
            found.append(Fault(pointer, "type", f"This attribute is {_WANTED[attribute.type]}."))
    for number, name in enumerate(patch.refused):
        if name not in attributes:
            found.append(_unknown(f"/refused/{number}"))
        elif patch.attributes.get(name) is not None:
            found.append(Fault(f"/refused/{number}", "contradiction", "An attribute is given or refused, not both."))
    return tuple(found)


def _unknown(pointer: str) -> Fault:
    return Fault(pointer, "unknown_attribute", "The workspace declares no attribute of this name.")
