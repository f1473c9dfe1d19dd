"""Whether the consent ledger is whole, and each person's own row says what the ledger says of them.

The service may write meanwhile: the chain is checked up to the head as it was at the beginning, and a person whose two
sides differ is looked at again under the lock that a change of consent takes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from geo_offers.errors import Unavailable
from geo_offers.instants import to_us
from geo_offers.people.consent import GENESIS, ChainBreak, Consent, Consents, LedgerRow, Purpose, verify_chain
from geo_offers.storage import ledger, rows
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.queries import sql

PEOPLE: Final = 1_000  # a page
NAMED: Final = 3  # people of whom a fault tells the ids

_log = structlog.get_logger()

_BREAKS: Final = {
    "seq": "row {seq} stands where row {due} is due: one was left out, put in or moved",
    "link": "row {seq} was not sealed onto the row before it: one was altered, left out, put in or moved",
    "hash": "row {seq} does not say what was sealed",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """Of one workspace: how many rows, the newest one's hash, and what does not hold."""

    workspace: str
    rows: int
    head: bytes
    faults: Sequence[str]


async def log_heads(pool: Pool) -> None:
    """Writes each ledger's newest hash to the log, which is kept elsewhere: rows cut off later show against it."""
    try:
        async with transaction(pool, []) as connection:
            named = {row["id"]: row["name"] for row in await connection.fetch(sql("proof_workspaces"))}
        async with transaction(pool, named) as connection:
            heads = await connection.fetch(sql("proof_heads"))
    except Unavailable as error:
        _log.warning("the heads of the consent ledgers were not read", reason=error.detail)
        return
    for head in heads:
        _log.info("consent head", workspace=named[head["workspace"]], rows=head["seq"], head=head["hash"].hex())


async def prove(pool: Pool) -> list[Proof]:
    """Of each workspace, by name."""
    async with transaction(pool, []) as connection:
        named = {row["id"]: row["name"] for row in await connection.fetch(sql("proof_workspaces"))}
    return [await _prove(pool, workspace, name) for workspace, name in named.items()]


async def _prove(pool: Pool, workspace: UUID, name: str) -> Proof:
    async with transaction(pool, [workspace]) as connection:
        found = await connection.fetchrow(sql("proof_head"), workspace)
    seq, head = (found["seq"], found["hash"]) if found else (0, GENESIS)
    faults = [await _chain_fault(pool, workspace, seq, head), await _rows_beyond(pool, workspace)]
    strangers = await _strangers(pool, workspace)
    if strangers:
        told = ", ".join(str(user) for user in strangers[:NAMED])
        faults.append(f"{len(strangers)} people's own rows do not say what the ledger says: {told}")
    return Proof(name, seq, head, [fault for fault in faults if fault is not None])


# ------------------------------------------------------------------------------------------------ the chain
async def _chain_fault(pool: Pool, workspace: UUID, last: int, head: bytes) -> str | None:
    before, after = GENESIS, 0
    while page := await _page(pool, workspace, after, last):
        broken = _gap(page, after) or verify_chain(page, start=before)
        if broken is not None:
            return _BREAKS[broken.reason].format(seq=page[broken.place].entry.seq, due=after + broken.place + 1)
        before, after = page[-1].hash, page[-1].entry.seq
    return (
        None
        if before == head
        else f"the head is not of row {after}: rows after it are missing, or the head was altered"
    )


async def _page(pool: Pool, workspace: UUID, after: int, last: int) -> Sequence[LedgerRow]:
    async with transaction(pool, [workspace]) as connection:
        return await ledger.read(connection, workspace, after, min(ledger.PAGE, last - after))


def _gap(page: Sequence[LedgerRow], after: int) -> ChainBreak | None:
    """Where a page does not go on from the number before it."""
    return None if page[0].entry.seq == after + 1 else ChainBreak(0, "seq")


async def _rows_beyond(pool: Pool, workspace: UUID) -> str | None:
    async with transaction(pool, [workspace]) as connection:
        first = await connection.fetchval(sql("proof_rows_beyond"), workspace)
    return None if first is None else f"row {first} stands beyond the head: it was put in"


# ------------------------------------------------------------------------------------------------ the copies
async def _strangers(pool: Pool, workspace: UUID) -> list[UUID]:
    """Those whose own row says something else."""
    found: list[UUID] = []
    after: UUID | None = NIL
    while after is not None:
        async with transaction(pool, [workspace]) as connection:
            people = await connection.fetch(sql("proof_people"), workspace, after, PEOPLE)
            differing = await _differing(connection, workspace, people)
            if differing:
                held = await connection.fetch(sql("proof_people_locked"), differing)
                found += await _differing(connection, workspace, held)
        after = people[-1]["id"] if len(people) == PEOPLE else None
    return found


async def _differing(connection: Connection, workspace: UUID, people: Collection[Any]) -> list[UUID]:
    subjects = {row["id"]: ledger.subject(row["salt"], row["id"]) for row in people if row["salt"] is not None}
    said: dict[bytes, dict[Purpose, Consent]] = {}
    for row in await connection.fetch(sql("proof_states"), workspace, list(subjects.values())):
        word = Consent(row["granted"], row["text_version"], to_us(row["at"]), row["seq"])
        said.setdefault(row["subject"], {})[Purpose(row["purpose"])] = word
    return [
        row["id"]
        for row in people
        if not _agree(rows.consents(row["consents"], row["id"]), said.get(subjects.get(row["id"], b""), {}))
    ]


def _agree(copied: Consents, said: Mapping[Purpose, Consent]) -> bool:
    """Whether they say the same. A copy that is older than the numbers of rows names none."""
    return copied.said.keys() == said.keys() and all(
        (word.granted, word.text_version, word.at_us) == (said[each].granted, said[each].text_version, said[each].at_us)
        and word.seq in {None, said[each].seq}
        for each, word in copied.said.items()
    )
