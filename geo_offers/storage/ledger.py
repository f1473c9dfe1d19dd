"""The consent ledger: rows are only ever added, each sealed with the hash of the one before it."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from geo_offers.instants import from_us, to_us
from geo_offers.people.consent import GENESIS, LedgerEntry, LedgerRow, Purpose, sealed
from geo_offers.storage.pool import Connection, columns
from geo_offers.storage.queries import sql


@dataclass(frozen=True, slots=True)
class Said:
    """One person's word on one purpose."""

    user: UUID
    purpose: Purpose
    granted: bool
    text_version: str
    surface: str
    at_us: int


async def append(connection: Connection, workspace: UUID, said: Sequence[Said]) -> None:
    """Seals the rows under the head's lock, which is the last one a transaction takes."""
    if not said:
        return
    salts = await _salts(connection, workspace, sorted({one.user for one in said}))
    await connection.execute(sql("consent_head_open"), workspace, GENESIS)
    head = await connection.fetchrow(sql("consent_head_lock"), workspace)
    assert head is not None
    seq, last = head["seq"], head["hash"]
    rows: list[LedgerRow] = []
    for number, one in enumerate(said, seq + 1):
        subject = hmac.digest(salts[one.user], one.user.bytes, "sha256")
        entry = LedgerEntry(
            workspace, number, subject, one.purpose, one.granted, one.text_version, one.surface, one.at_us
        )
        rows.append(sealed(last, entry))
        last = rows[-1].hash
    await connection.execute(sql("consent_ledger_append"), *columns([_columns(row) for row in rows], 10))
    await connection.execute(sql("consent_head_move"), workspace, seq + len(said), last)


async def _salts(connection: Connection, workspace: UUID, users: Sequence[UUID]) -> Mapping[UUID, bytes]:
    fresh = [secrets.token_bytes(32) for _ in users]
    await connection.execute(sql("consent_salts_add"), users, [workspace] * len(users), fresh)
    return {row["user_id"]: row["salt"] for row in await connection.fetch(sql("consent_salts"), users)}


def _columns(row: LedgerRow) -> tuple[object, ...]:
    entry = row.entry
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
    )


async def read(connection: Connection, workspace: UUID, after: int = 0, limit: int = 10_000) -> list[LedgerRow]:
    """Rows in order, for the chain check."""
    return [
        LedgerRow(
            LedgerEntry(
                row["workspace"],
                row["seq"],
                row["subject"],
                Purpose(row["purpose"]),
                row["granted"],
                row["text_version"],
                row["surface"],
                to_us(row["at"]),
            ),
            row["prev_hash"],
            row["hash"],
        )
        for row in await connection.fetch(sql("consent_ledger_read"), workspace, after, limit)
    ]
