"""Consent per purpose, and the ledger that proves it.

Absent means no. The ledger is append-only; each row carries a SHA-256 over everything it says and over the row before,
so that a row altered, left out, put in or moved shows. The bytes under the hash are canonical: every field in a fixed
order, each with its length, so that no two different rows have the same bytes. A chain cut at its end shows only
against a head kept elsewhere.

Rows of form 1, of the first release, say nothing of the text's locale, of a proof or of the phone's own time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID

import msgspec

GENESIS: Final = bytes(32)
FORM: Final = 2


class Purpose(StrEnum):
    """What a person may agree to, each on its own."""

    LOCATE = "locate"
    OFFERS = "offers"
    PROFILE = "profile"
    MEASURE = "measure"


BY_SIGNAL: Final = (Purpose.PROFILE, Purpose.MEASURE)
"""What a browser's `Sec-GPC: 1` refuses."""


class Consent(msgspec.Struct, frozen=True):
    """The newest word on one purpose: granted or not, to which text, when.

    seq: the ledger's row that says so; None where the word is older than such numbers.
    """

    granted: bool
    text_version: str
    at_us: int
    seq: int | None = None


class Consents(msgspec.Struct, frozen=True):
    """What a person has said so far, by purpose."""

    said: Mapping[Purpose, Consent] = {}

    def granted(self, purpose: Purpose) -> bool:
        consent = self.said.get(purpose)
        return consent is not None and consent.granted

    def having(self, purpose: Purpose, consent: Consent) -> "Consents":
        """Return these with a newer word on one purpose."""
        return Consents({**self.said, purpose: consent})


NONE_GIVEN: Final = Consents()


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person had before them, as the app tells it. said_us: by the phone's own clock.

    proof: the SHA-256 of the text as shown, or of another record that the app keeps. The ledger outlives the person,
    so the record itself, which may name them, never comes here.
    """

    locale: str | None = None
    proof: bytes | None = None
    said_us: int | None = None


UNTOLD: Final = Shown()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one row of a workspace's ledger says.

    seq counts from 1 within the workspace. subject is the person's pseudonym, a keyed hash, so that the proof may
    outlive the person. surface says where it was said: enrol, device, gpc (a browser's `Sec-GPC: 1`), age (the person
    turned out to be a minor), erasure.
    """

    workspace: UUID
    seq: int
    subject: bytes
    purpose: Purpose
    granted: bool
    text_version: str
    surface: str
    at_us: int
    shown: Shown = UNTOLD
    form: int = FORM


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
    said = (
        b"geo-offers consent row %d" % entry.form,
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
    shown = (
        b"" if entry.shown.locale is None else b"=" + entry.shown.locale.encode(),
        b"" if entry.shown.proof is None else b"=" + entry.shown.proof,
        b"" if entry.shown.said_us is None else b"=" + _integer(entry.shown.said_us),
    )
    # What a row of form 1 cannot have said was put in later: it comes under the hash, and breaks it.
    fields = said if entry.form == 1 and not any(shown) else said + shown
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
