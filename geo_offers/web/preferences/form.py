"""A rhythm as the fields of a form, and back.

Fields are named as the rhythm's own members with `-` for `/`: `quiet-0-start` stands at `/quiet/0/start`. A line of
quiet hours without a day and a place without a position are taken out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault, Invalid
from geo_offers.web import bodies

MAX_LINES: Final = 20
PLACE: Final = ("lat", "lon", "radius_m")
LOCATE: Final = ("always", "foreground", "coarse", "off")
CHANNELS: Final = ("push,inapp", "inapp,push", "push", "inapp", "")
MUTED: Final = ("stores", "categories", "campaigns")


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in the fields, by name; a field may hold several values."""

    fields: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Form":
        fields: dict[str, list[str]] = {}
        for name, value in pairs:
            fields.setdefault(name, []).append(value.strip())
        return cls(fields)

    def one(self, name: str) -> str:
        found = self.fields.get(name)
        return found[0] if found else ""

    def all(self, name: str) -> Sequence[str]:
        return self.fields.get(name, ())

    def has(self, name: str, value: str) -> bool:
        return value in self.fields.get(name, ())

    def lines(self, name: str) -> list[int]:
        """The numbers of the lines of this name that hold anything."""
        numbers = {
            int(parts[1])
            for field, values in self.fields.items()
            if (parts := field.split("-"))[0] == name and len(parts) == 3 and parts[1].isdecimal() and any(values)
        }
        return sorted(number for number in numbers if number < MAX_LINES)


def filled(rhythm: wire.Rhythm) -> Form:
    """The form as the rhythm in force fills it."""
    fields: dict[str, list[str]] = {
        "max": [str(rhythm.max)],
        "min_gap_h": [f"{rhythm.min_gap_h:g}"],
        "special-allow": ["yes"] if rhythm.special.allow else [],
        "special-max": [str(rhythm.special.max)],
        "channels": [",".join(rhythm.channels)],
        "locate": [rhythm.locate],
    }
    fields |= _window("", rhythm.per) | _window("special-", rhythm.special.per)
    for name in MUTED:
        fields[f"mute-{name}"] = [str(muted) for muted in getattr(rhythm.mute, name)]
    for number, quiet in enumerate(rhythm.quiet):
        line = f"quiet-{number}"
        fields |= {f"{line}-days": list(quiet.days), f"{line}-start": [quiet.start], f"{line}-end": [quiet.end]}
    for number, place in enumerate(rhythm.not_at or ()):
        fields |= {f"not_at-{number}-{part}": [f"{getattr(place, part):.10g}"] for part in PLACE}
    return Form(fields)


def _window(prefix: str, per: str | wire.RollingHours) -> dict[str, list[str]]:
    if isinstance(per, wire.RollingHours):
        return {f"{prefix}per": ["hours"], f"{prefix}per-hours": [str(per.hours)]}
    return {f"{prefix}per": [per]}


def rhythm_of(form: Form) -> wire.Rhythm:
    """The rhythm that the fields say. Invalid with the place of the first fault, named as its field."""
    quiet = [line for line in form.lines("quiet") if form.all(f"quiet-{line}-days")]
    places = [line for line in form.lines("not_at") if any(form.one(f"not_at-{line}-{part}") for part in PLACE)]
    said: dict[str, Any] = {
        "max": form.one("max"),
        "per": _per(form, ""),
        "min_gap_h": form.one("min_gap_h"),
        "special": {
            "allow": form.has("special-allow", "yes"),
            "max": form.one("special-max"),
            "per": _per(form, "special-"),
        },
        "channels": [name for name in form.one("channels").split(",") if name],
        "locate": form.one("locate"),
        "mute": {name: list(form.all(f"mute-{name}")) for name in MUTED},
        "quiet": [
            {
                "days": list(form.all(f"quiet-{line}-days")),
                "start": form.one(f"quiet-{line}-start"),
                "end": _end(form.one(f"quiet-{line}-end")),
            }
            for line in quiet
        ],
        "not_at": [{part: form.one(f"not_at-{line}-{part}") for part in PLACE} for line in places],
    }
    try:
        return msgspec.convert(said, wire.Rhythm, strict=False)
    except msgspec.ValidationError as error:
        (fault,) = bodies.invalid(error, wire.Rhythm).faults
        name = _field(fault.pointer, {"quiet": quiet, "not_at": places})
        raise Invalid(fault.detail, (Fault(name, fault.code, fault.detail),)) from error


def _per(form: Form, prefix: str) -> Any:
    per = form.one(f"{prefix}per")
    return {"hours": form.one(f"{prefix}per-hours")} if per == "hours" else per


def _end(shown: str) -> str:
    """A browser's clock ends at 23:59; midnight as an end is the day's."""
    return "24:00" if shown == "00:00" else shown


def _field(pointer: str, lines: Mapping[str, Sequence[int]]) -> str:
    """The field that a pointer into the rhythm means: lines that were left out do not count in it.

    Of a list that is no line, such as channels, all entries stand in one field.
    """
    first, *rest = pointer.strip("/").split("/")
    if first in lines and rest and rest[0].isdecimal():
        return "-".join((first, str(lines[first][int(rest[0])]), *rest[1:2]))
    return "-".join((first, *(part for part in rest if not part.isdecimal())))
