"""One value with some fields otherwise, be it a struct or a dataclass: `copy.replace` of later Pythons."""

import dataclasses
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def replace(value: T, **changed: Any) -> T:
    """Make a copy of `value` with these fields changed."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changed)
    made: T = dataclasses.replace(value, **changed)  # type: ignore[type-var]  # it is one, or raises
    return made
