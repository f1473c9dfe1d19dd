"""Identifiers that a resent batch makes again: time first, then a hash of what they name.

The first 48 bits are milliseconds since 1970, so that neighbours in time are neighbours in an index; the other 80 bits
are SHA-256 over everything the thing is. After a crash the same pings give the same ids and collide, none doubles.
"""

from hashlib import sha256
from typing import Final
from uuid import UUID, SafeUUID

from geo_offers.places.fences import FenceId

_SHORT: Final = 64
_LENGTHS: Final = [size.to_bytes(4, "big") for size in range(_SHORT)]


def time_first_id(at_us: int, *parts: bytes) -> UUID:
    """Make an id for something that happened at `at_us` (0 or later) and is told apart by `parts`.

    The parts are hashed with their lengths, so that moving a byte from one to the next gives another id.
    """
    named = b""
    for part in parts:
        named += (_LENGTHS[len(part)] if len(part) < _SHORT else len(part).to_bytes(4, "big")) + part
    return _uuid((at_us // 1000) << 80 | int.from_bytes(sha256(named).digest()[:10], "big"))


def _uuid(number: int) -> UUID:
    """`UUID(int=number)` of a number that is one, without the way through all that a UUID may be made of."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", number)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made


def visit_id(workspace: UUID, device: UUID, fence: FenceId, entered_us: int) -> UUID:
    """Name the visit that `device` began at `fence` at `entered_us`; two workspaces' ids never meet."""
    return time_first_id(entered_us, workspace.bytes, device.bytes, fence.encode(), entered_us.to_bytes(8, "big"))
