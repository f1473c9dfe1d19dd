"""Consent per purpose, and the ledger that proves it.

Absent means no. The ledger is append-only; each row carries a SHA-256 over everything it says and over the row before,
so that a row altered, left out, put in or moved shows. The bytes under the hash are canonical: every field in a fixed
order, each with its length, so that no two different rows have the same bytes. A chain cut at its end shows only
against a head kept elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID

GENESIS: Final = bytes(32)
_FORM: Final = b"geo-offers consent row 1"


class Purpose(StrEnum):
    """What a person may agree to, each on its own."""

    LOCATE = "locate"
    OFFERS = "offers"
    PROFILE = "profile"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class Consent:
    """The newest word on one purpose: granted or not, to which text, when."""

    granted: bool
    text_version: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Consents:
    """What a person has said so far, by purpose."""

    said: Mapping[Purpose, Consent] = field(default_factory=dict)

    def granted(self, purpose: Purpose) -> bool:
        consent = self.said.get(purpose)
        return consent is not None and consent.granted

    def having(self, purpose: Purpose, consent: Consent) -> "Consents":
        """Return these with a newer word on one purpose."""
        return Consents({**self.said, purpose: consent})


NONE_GIVEN: Final = Consents()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one row of a workspace's ledger says.

    seq counts from 1 within the workspace. subject is the person's pseudonym, a keyed hash, so that the proof may
    outlive the person. surface says where it was said (a device, an enrolment, an erasure).
    """

    workspace: UUID
    seq: int
    subject: bytes
    purpose: Purpose
    granted: bool
    text_version: str
    surface: str
    at_us: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    entry: LedgerEntry
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where a ledger stops being whole: `place` counts the rows given, from 0; one past the last for a missing end."""

    place: int
    reason: Literal["seq", "link", "hash", "head"]


def chain_hash(prev_hash: bytes, entry: LedgerEntry) -> bytes:
    """Make the 32 bytes that seal an entry onto the row before it (GENESIS before the first)."""
    fields = (
        _FORM,
        prev_hash,
        entry.workspace.bytes,
        _integer(entry.seq),
        entry.subject,
        entry.purpose.encode(),
        b"granted" if entry.granted else b"withdrawn",
        entry.text_version.encode(),
        entry.surface.encode(),
        _integer(entry.at_us),
    )
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in fields)).digest()


def _integer(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def sealed(prev_hash: bytes, entry: LedgerEntry) -> LedgerRow:
    return LedgerRow(entry, prev_hash, chain_hash(prev_hash, entry))


def verify_chain(rows: Iterable[LedgerRow], *, start: bytes = GENESIS, head: bytes | None = None) -> ChainBreak | None:
    """Find the first place at which rows, in the order of their seq, do not hold together; None when all do.

    start: the hash before the first row given; from GENESIS on, the first row is number 1.
    head: the newest hash as kept elsewhere; without it a cut end goes unseen.
    """
    before, seq = start, 0 if start == GENESIS else None
    place = 0
    for row in rows:
        if seq is not None and row.entry.seq != seq + 1:
            return ChainBreak(place, "seq")
        if row.prev_hash != before:
            return ChainBreak(place, "link")
        if row.hash != chain_hash(row.prev_hash, row.entry):
            return ChainBreak(place, "hash")
        before, seq = row.hash, row.entry.seq
        place += 1
    return ChainBreak(place, "head") if head is not None and head != before else None
