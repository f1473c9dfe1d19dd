"""What is said over a child's pipes: a length of four bytes, then so many; a request is two frames, an answer one.

Answers are data and nothing else: a child that somebody took over can say wrong things, and do none.
"""

from typing import Final

import msgspec

from geo_offers.errors import Fault
from geo_offers.places.importing.rows import ReadRow

LENGTH: Final = 4
READY: Final = b"+"
"""Said once, when a child has loaded what it needs."""
LARGEST: Final = 256 * 2**20
"""No answer to the largest file is as long."""


class Rows(msgspec.Struct, tag="rows", frozen=True):
    rows: tuple[ReadRow, ...]


class Unread(msgspec.Struct, tag="rows", frozen=True):
    """`Rows` that are decoded one by one, as all at once would hold up whoever reads them."""

    rows: list[msgspec.Raw]


class NoJson(msgspec.Struct, tag="malformed", frozen=True):
    detail: str


class NoFile(msgspec.Struct, tag="invalid", frozen=True):
    detail: str
    faults: tuple[Fault, ...]


Answer = Rows | NoJson | NoFile


def length_of(frame: bytes) -> bytes:
    return len(frame).to_bytes(LENGTH, "big")
