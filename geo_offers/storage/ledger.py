"""The consent ledger: rows are only ever added, each sealed with the hash of the one before it.

`app_user.consents` is a copy of each person's newest words that a turn reads with its lock; it is written here, from
the rows that were just sealed, and nowhere else.
"""

import hmac
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from geo_offers import wire
from geo_offers.instants import from_us, to_us
from geo_offers.people.consent import GENESIS, UNTOLD, Consent, Consents, LedgerEntry, LedgerRow, Purpose, Shown, sealed
from geo_offers.storage import rows
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

PAGE: Final = 10_000  # rows


@dataclass(frozen=True, slots=True)
class Said:
    """One person's word on one purpose."""

    user: UUID
    purpose: Purpose
    granted: bool
    text_version: str
    surface: str
    at_us: int
    shown: Shown = UNTOLD


def shown(given: wire.ShownText) -> Shown:
    """What a request tells of the text. Of a TC string the digest alone: the ledger outlives the person."""
    proof = None if given.proof is None else bytes.fromhex(given.proof)
    return Shown(
        given.locale,
        proof if given.tc_string is None else sha256(given.tc_string.encode()).digest(),
        None if given.said_at is None else to_us(given.said_at),
    )


# ------------------------------------------------------------------------------------------------ writing
async def note(
    connection: Connection, workspace: UUID, held: Mapping[UUID, Consents], said: Sequence[Said]
) -> Mapping[UUID, Consents]:
    """Appends what these people said, and brings their own rows up to it; answers with what holds of each from now on.

    held: what held before, of each of them.
    """
    now = dict(held)
    for one, seq in zip(said, await append(connection, workspace, said), strict=True):
        now[one.user] = now[one.user].having(one.purpose, Consent(one.granted, one.text_version, one.at_us, seq))
    changed = sorted({one.user for one in said})
    if changed:
        await connection.execute(
            sql("users_set_consents"), changed, [rows.consents_column(now[user]) for user in changed]
        )
    return now


async def append(connection: Connection, workspace: UUID, said: Sequence[Said]) -> Sequence[int]:
    """Seals the rows under the head's lock, the last one a transaction waits for; answers with their numbers."""
    if not said:
        return ()
    salts = await _salts(connection, workspace, sorted({one.user for one in said}))
    await connection.execute(sql("consent_head_open"), workspace, GENESIS)
    head = await connection.fetchrow(sql("consent_head_lock"), workspace)
    assert head is not None
    seq, last = head["seq"], head["hash"]
    made: list[LedgerRow] = []
    for number, one in enumerate(said, seq + 1):
        by = subject(salts[one.user], one.user)
        entry = LedgerEntry(
            workspace, number, by, one.purpose, one.granted, one.text_version, one.surface, one.at_us, one.shown
        )
        made.append(sealed(last, entry))
        last = made[-1].hash
    await connection.execute(sql("consent_ledger_append"), *columns([_columns(row) for row in made], 14))
    await connection.execute(sql("consent_head_move"), workspace, seq + len(said), last)
    return range(seq + 1, seq + len(said) + 1)


async def _salts(connection: Connection, workspace: UUID, users: Sequence[UUID]) -> Mapping[UUID, bytes]:
    fresh = [secrets.token_bytes(32) for _ in users]
    await connection.execute(sql("consent_salts_add"), users, [workspace] * len(users), fresh)
    return {row["user_id"]: row["salt"] for row in await connection.fetch(sql("consent_salts"), users)}


def subject(salt: bytes, user: UUID) -> bytes:
    """The person's pseudonym in the ledger; nobody's once the salt is destroyed."""
    return hmac.digest(salt, user.bytes, "sha256")


def _columns(row: LedgerRow) -> tuple[object, ...]:
    entry, told = row.entry, row.entry.shown
    return (
        entry.workspace,
        entry.seq,
        entry.subject,
        entry.purpose.value,
        entry.granted,
        entry.text_version,
        entry.surface,
        from_us(entry.at_us),
        row.prev_hash,
        row.hash,
        entry.form,
        told.locale,
        told.proof,
        None if told.said_us is None else from_us(told.said_us),
    )


# ------------------------------------------------------------------------------------------------ reading
async def read(connection: Connection, workspace: UUID, after: int = 0, limit: int = PAGE) -> list[LedgerRow]:
    """Rows in order, for the chain check."""
    return [_row(row) for row in await connection.fetch(sql("consent_ledger_read"), workspace, after, limit)]


async def heard(
    connection: Connection, workspace: UUID, users: Collection[UUID], surface: str
) -> Collection[tuple[UUID, Purpose]]:
    """Who has a row of that surface, on which purpose."""
    salts = await connection.fetch(sql("consent_salts"), list(users))
    people = {subject(row["salt"], row["user_id"]): row["user_id"] for row in salts}
    found = await connection.fetch(sql("consent_ledger_surface"), workspace, list(people), surface)
    return {(people[row["subject"]], Purpose(row["purpose"])) for row in found}


async def of_person(pool: Pool, workspace: UUID, user: UUID, page: int) -> AsyncIterator[Sequence[wire.LedgerWord]]:
    """All that the ledger says of somebody, oldest first; each page is a short transaction."""
    after: int | None = 0
    while after is not None:
        async with transaction(pool, [workspace]) as connection:
            salts = await connection.fetch(sql("consent_salts"), [user])
            by = [subject(row["salt"], user) for row in salts]
            found = await connection.fetch(sql("consent_ledger_of"), workspace, by, after, page)
        yield [_word(_row(row)) for row in found]
        after = found[-1]["seq"] if len(found) == page else None


def _row(row: Any) -> LedgerRow:
    return LedgerRow(
        LedgerEntry(
            row["workspace"],
            row["seq"],
            row["subject"],
            Purpose(row["purpose"]),
            row["granted"],
            row["text_version"],
            row["surface"],
            to_us(row["at"]),
            Shown(row["locale"], row["proof"], None if row["said_at"] is None else to_us(row["said_at"])),
            row["form"],
        ),
        row["prev_hash"],
        row["hash"],
    )


def _word(row: LedgerRow) -> wire.LedgerWord:
    entry, told = row.entry, row.entry.shown
    return wire.LedgerWord(
        seq=entry.seq,
        purpose=entry.purpose.value,
        granted=entry.granted,
        text_version=entry.text_version,
        surface=entry.surface,
        at=from_us(entry.at_us),
        locale=told.locale,
        proof=None if told.proof is None else told.proof.hex(),
        said_at=None if told.said_us is None else from_us(told.said_us),
        prev_hash=row.prev_hash.hex(),
        hash=row.hash.hex(),
    )
