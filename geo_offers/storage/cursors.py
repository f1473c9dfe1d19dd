"""Cursors of lists: the last item's sort key, as text that nobody needs to read.

A cursor that was made up and reads well names a place in the caller's own list, so it needs no seal.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from geo_offers.errors import Malformed

K = TypeVar("K", bound=tuple[str | int | UUID | datetime, ...])


def encode(key: tuple[str | int | UUID | datetime, ...]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode(cursor: str | None, kind: type[K], start: K) -> K:
    """The key before the page: of the cursor, or `start` where there is none. Malformed where it is none of ours."""
    if cursor is None:
        return start
    try:
        data = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = msgspec.json.decode(data, type=kind)
        if encode(key) == cursor and all(_storable(part) for part in key):
            return key
    except (ValueError, msgspec.DecodeError):
        pass  # one answer for all that is not ours
    raise Malformed("this cursor is not one that a list gave; begin without one")


def _storable(part: object) -> bool:
    """What the database could hold at all."""
    match part:
        case str():
            return "\0" not in part
        case datetime():
            return part.tzinfo is not None and 1 < part.year < 9999
        case _:
            return True
