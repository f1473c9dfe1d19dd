"""JSON text from others: what is refused before and beside its reading. `web/bodies.py` adds types to it."""

import json
from typing import Any, Final

import msgspec

from geo_offers.errors import Malformed

DEPTH: Final = 64
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))


def values(data: bytes) -> object:
    """The text as plain values. Malformed where it is no JSON object or array, nests too deep, or doubles a key."""
    refuse_unreadable(data)
    try:
        msgspec.json.decode(data, type=msgspec.Raw)  # says best what is wrong, and makes nothing
        refuse_duplicates(data)
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {str(error)[:100]}") from error


def refuse_unreadable(data: bytes) -> None:
    """Malformed where a look at the bytes tells that they hold no object or array, or one that nests too deep."""
    if not data.strip():
        raise Malformed("the body is empty; send JSON")
    if _too_deep(data):
        raise Malformed(f"the body nests deeper than {DEPTH} levels")
    if data.lstrip()[:1] not in {b"{", b"["}:
        raise Malformed("the body is no JSON object or array")


class _Duplicate(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Duplicate(name)
    return found


def refuse_duplicates(data: bytes) -> None:
    """Malformed where an object names a key twice: msgspec and most readers take the last one in silence."""
    try:
        json.loads(data, object_pairs_hook=_unique)
    except _Duplicate as error:
        raise Malformed(f"the key {str(error)[:64]!r} stands twice in one object") from error
    except (ValueError, RecursionError) as error:
        raise Malformed("the body is not JSON") from error


def _too_deep(data: bytes) -> bool:
    """Whether objects and arrays nest past the bound: how deep a reader follows depends on the Python under it.

    Brackets are taken out in pairs, a level a pass; those that stand in texts count where they do not pair up.
    """
    if data.count(b"[") + data.count(b"{") <= DEPTH:
        return False
    rest = data.translate(None, _NO_BRACKET)
    for _ in range(DEPTH):
        less = rest.replace(b"[]", b"").replace(b"{}", b"")
        if len(less) == len(rest):
            break
        rest = less
    return rest.count(b"[") + rest.count(b"{") > DEPTH
