"""What became of an offer on its way to the screen and there, as the phone says it or the company."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from geo_offers import wire
from geo_offers.people.backoff import became
from geo_offers.pipeline.receipts import Told
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

OFFERS: Final = 100
"""Of one transaction: so many persons wait for it at most."""
_ON_THE_WAY: Final = frozenset({"delivered", "failed"})
_Numbered = tuple[int, wire.Receipt]


@dataclass(frozen=True, slots=True)
class Seen:
    """An offer that its person has seen, and what they did. at: absent = now."""

    offer: UUID
    user: UUID
    type: str
    reason: str | None = None
    at: datetime | None = None


async def seen(connection: Connection, told: Sequence[Seen]) -> Sequence[Any]:
    """In the order given, whether each makes an offer seen that was not (`news`), and whether it is new (`told`).

    Under the persons' locks. What they did later is not undone by what is told later: the greatest counts.
    """
    asked = [(one.offer, one.user, one.type, one.reason, became(one.type, one.reason), one.at) for one in told]
    found: Sequence[Any] = await connection.fetch(sql("outbox_shown"), *columns(asked, 6))
    return found


class PostgresReceipts:
    """`pipeline.receipts.Receipts`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, workspace: UUID, receipts: Sequence[wire.Receipt]) -> Told:
        """In transactions of some offers each: what fails on the way is told again, and the first of it is known then.

        Nobody is waited for who may wait for this: budgets come last of all locks, and are those of one statement a
        transaction; an outbox row that is being closed is waited for with no other in hand.
        """
        numbered: dict[UUID, list[int]] = {}
        for number, receipt in enumerate(receipts):
            numbered.setdefault(receipt.offer, []).append(number)
        statuses: list[wire.ReceiptStatus] = ["unknown"] * len(receipts)
        news: set[UUID] = set()
        for offers in _pieces(sorted(numbered), OFFERS):
            told = [(number, receipts[number]) for offer in offers for number in numbered[offer]]
            watched = [(number, one) for number, one in told if one.type not in _ON_THE_WAY]
            heard = [(number, one) for number, one in told if one.type in _ON_THE_WAY]
            closing = await self._watched(workspace, watched, statuses, news, wait=False)
            for offer in closing:
                of_one = [(number, one) for number, one in watched if one.offer == offer]
                await self._watched(workspace, of_one, statuses, news, wait=True)
            await self._heard(workspace, heard, statuses)
        return Told(statuses, news)

    async def _watched(
        self,
        workspace: UUID,
        told: Sequence[_Numbered],
        statuses: list[wire.ReceiptStatus],
        news: set[UUID],
        *,
        wait: bool,
    ) -> Collection[UUID]:
        """Note what was done on the screen; left out, and returned, are offers that somebody is closing now."""
        if not told:
            return ()
        async with transaction(self._pool, [workspace]) as connection:
            of = await _owners(connection, told)
            busy = set() if wait else {row["offer"] for row in await connection.fetch(sql("receipts_busy"), list(of))}
            known = [(number, one) for number, one in told if one.offer in of and one.offer not in busy]
            asked = [Seen(one.offer, of[one.offer], one.type, one.reason, one.at) for _, one in known]
            rows = await seen(connection, asked)
        _note(statuses, known, rows)
        news.update(row["offer"] for row in rows if row["news"])
        return busy

    async def _heard(self, workspace: UUID, told: Sequence[_Numbered], statuses: list[wire.ReceiptStatus]) -> None:
        """Note what the way to the screen came to."""
        if not told:
            return
        async with transaction(self._pool, [workspace]) as connection:
            of = await _owners(connection, told)
            known = [(number, one) for number, one in told if one.offer in of]
            way = [(one.offer, one.type, one.reason, one.at) for _, one in known]
            rows = await connection.fetch(sql("receipts_note"), *columns(way, 4))
        _note(statuses, known, rows)


async def _owners(connection: Connection, told: Sequence[_Numbered]) -> Mapping[UUID, UUID]:
    """Whose the offers are that are there; their persons are locked."""
    offers = list({one.offer for _, one in told})
    await connection.execute(sql("receipts_people"), offers)
    return {row["id"]: row["user_id"] for row in await connection.fetch(sql("receipts_offers"), offers)}


def _note(statuses: list[wire.ReceiptStatus], known: Sequence[_Numbered], rows: Sequence[Any]) -> None:
    for (number, _), row in zip(known, rows, strict=True):
        statuses[number] = "kept" if row["told"] else "known"


def _pieces(offers: Sequence[UUID], size: int) -> Iterator[Sequence[UUID]]:
    return (offers[start : start + size] for start in range(0, len(offers), size))
