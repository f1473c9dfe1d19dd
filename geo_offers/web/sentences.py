"""What msgspec finds wrong with an input, as a sentence on what to do about it.

The place of a fault is told beside it (a pointer, a variable's name), so a sentence does not name it. A message that no
row of the table knows is told as msgspec words it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import inspect

from geo_offers import wire

_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "uuid": "a UUID",
    "datetime": "an instant",
}
_FORMS: Final = {repr(pattern): form for pattern, form in wire.FORMS.items()}
_ECHOED: Final = 64  # characters of what somebody sent


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


_SAID: Final[Mapping[str, Callable[[str], str]]] = {
    "wanted": _kinds,
    "given": _kinds,
    "bound": lambda text: f"{float(text):,.10g}",
    "form": lambda pattern: _FORMS.get(pattern, "a text of the form that /v1/openapi.json describes"),
    "name": lambda name: repr(name[:_ECHOED]),
    "value": lambda value: value[:_ECHOED],
}
"""How each named part of a message is told."""

_RULES: Final = tuple(
    (re.compile(pattern, re.DOTALL), said)
    for pattern, said in (
        (r"Expected `(?P<wanted>.+)`, got `(?P<given>.+)`", "this is {given}; give {wanted}"),
        (r"Expected `(?P<wanted>int|float)` >= (?P<bound>.+)", "give {wanted} of at least {bound}"),
        (r"Expected `(?P<wanted>int|float)` <= (?P<bound>.+)", "give {wanted} of at most {bound}"),
        (r"Expected `(?P<wanted>int|float)` > (?P<bound>.+)", "give {wanted} above {bound}"),
        (r"Expected `(?P<wanted>int|float)` < (?P<bound>.+)", "give {wanted} below {bound}"),
        (r"Expected `str` of length >= 1", "this text is empty; write something"),
        (r"Expected `str` of length >= (?P<bound>.+)", "this text is too short; give at least {bound} characters"),
        (r"Expected `str` of length <= (?P<bound>.+)", "this text is too long; give at most {bound} characters"),
        (r"Expected `(array|object)` of length >= 1", "this is empty; give at least one entry"),
        (r"Expected `(array|object)` of length >= (?P<bound>.+)", "give at least {bound} entries"),
        (r"Expected `(array|object)` of length <= (?P<bound>.+)", "these are too many; give at most {bound} entries"),
        (r"Expected `str` matching regex (?P<form>.+)", "give {form}"),
        (r"Object missing required field `(?P<name>.+)`", "the field {name} is missing; add it"),
        (r"Object contains unknown field `(?P<name>.*)`", "there is no field {name} here; leave it out"),
        (r"Invalid (enum )?value (?P<value>.+)", "{value} is not known here"),
        (r"Expected `datetime` with a timezone component", "this instant names no offset; add one, or Z for UTC"),
        (r"Expected `datetime` with no timezone component", "this is a time on the wall; leave its offset out"),
        (r"Invalid UUID", "this is no UUID; give one as an answer of ours named it"),
        (r"Invalid RFC3339 encoded datetime", "this is no instant; write it as 2026-05-01T09:30:00Z"),
        (r"(Number|Integer value) out of range", "this number is too large"),
    )
)


def sentence(message: str, kind: Any = None, steps: Sequence[str] = ()) -> str:
    """What the message says, without its place, to whoever wrote the input.

    kind and steps: the type that was read, and the way from it to the fault: there a value that is not known is told
    with those that are.
    """
    for pattern, said in _RULES:
        found = pattern.fullmatch(message)
        if found:
            parts = {name: _SAID[name](text) for name, text in found.groupdict().items()}
            known = _known(_described(kind), steps) if "value" in parts else ()
            return said.format(**parts) + (f"; use {_listed(known)}" if known else "")
    return message


def _listed(values: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))


# ------------------------------------------------------------------------------------------------ the values known
@lru_cache(maxsize=64)
def _described(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _known(kind: inspect.Type, steps: Sequence[str]) -> list[str]:
    """The values that may stand at the end of the steps, where the type names each of them."""
    match kind, steps:
        case inspect.Metadata(type=plain), _:
            return _known(plain, steps)
        case inspect.UnionType(types=kinds), _:
            return [value for one in kinds for value in _known(one, steps)]
        case inspect.LiteralType(values=values), []:
            return [str(value) for value in values]
        case inspect.DictType(key_type=key), []:
            return _known(key, steps)
        case inspect.DictType(value_type=inner) | inspect.ListType(item_type=inner), [_, *rest]:
            return _known(inner, rest)
        case inspect.StructType(tag_field=str(tag_field), tag=tag), [first] if first == tag_field:
            return [str(tag)]
        case inspect.StructType(fields=fields), [first, *rest]:
            return [value for field in fields if field.encode_name == first for value in _known(field.type, rest)]
        case _:
            return []
