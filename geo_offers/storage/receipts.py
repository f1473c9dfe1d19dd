"""What became of an offer on its way to the screen and there, as the phone says it or the company."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from geo_offers import wire
from geo_offers.people.backoff import became
from geo_offers.pipeline.receipts import Told
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

_ON_THE_WAY: Final = frozenset({"delivered", "failed"})


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
        async with transaction(self._pool, [workspace]) as connection:
            offers = list({receipt.offer for receipt in receipts})
            await connection.execute(sql("receipts_people"), offers)
            of = {row["id"]: row["user_id"] for row in await connection.fetch(sql("receipts_offers"), offers)}
            known = [(number, one) for number, one in enumerate(receipts) if one.offer in of]
            watched = [(number, one) for number, one in known if one.type not in _ON_THE_WAY]
            heard = [(number, one) for number, one in known if one.type in _ON_THE_WAY]
            rows = await seen(
                connection, [Seen(one.offer, of[one.offer], one.type, one.reason, one.at) for _, one in watched]
            )
            way = [(one.offer, one.type, one.reason, one.at) for _, one in heard]
            rows = [*rows, *await connection.fetch(sql("receipts_note"), *columns(way, 4))]
        numbered = zip((number for number, _ in (*watched, *heard)), rows, strict=True)
        statuses: dict[int, wire.ReceiptStatus] = {
            number: "kept" if row["told"] else "known" for number, row in numbered
        }
        return Told(
            statuses=[statuses.get(number, "unknown") for number in range(len(receipts))],
            news={row["offer"] for row in rows if row.get("news")},
        )
