"""What an answer to `POST /v1/me/nearby` reads, in one transaction without a lock."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from geo_offers.offers.budgets import Spent
from geo_offers.offers.charging import Purse
from geo_offers.offers.context import Number
from geo_offers.people.counters import Stays
from geo_offers.people.whereabouts import UNKNOWN
from geo_offers.pipeline.catalog import Policies
from geo_offers.pipeline.nearby import Asker
from geo_offers.storage import rows
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.events import numbers_of
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.turns import locked_user, stays_of


class PostgresLooks:
    """`pipeline.nearby.Looks`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def open(self, workspace: UUID) -> AsyncIterator["PostgresLook"]:
        async with transaction(self._pool, [workspace]) as connection:
            yield PostgresLook(connection)


class PostgresLook:
    """`pipeline.nearby.Look`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def asker(self, user: UUID, device: UUID) -> Asker | None:
        """A person of whom something cannot be read is nowhere."""
        row = await self._connection.fetchrow(sql("nearby_person"), user, device)
        if row is None:
            return None
        found = locked_user(row)
        readable = found.rhythm is not rows.NO_RHYTHM
        return Asker(
            user=found,
            device=device,
            of_age=row["adult"],
            where=rows.whereabouts(row["rhythm"], user) if readable else UNKNOWN,
            platform=row["platform"],
            catalog_version=row["catalog_version"],
        )

    async def policies(self, workspace: UUID) -> Policies:
        return await read_policies(self._connection, workspace)

    async def numbers(self, workspace: UUID, names: Sequence[str]) -> Mapping[str, Number]:
        return (await numbers_of(self._connection, {workspace: names})).get(workspace, {})

    async def stays(self, user: UUID, since_us: int) -> Sequence[Stays]:
        return (await stays_of(self._connection, {user: since_us}, ()))[user]

    async def spent(self, workspace: UUID, purses: Collection[Purse]) -> Mapping[str, Spent]:
        found = await self._connection.fetch(
            sql("nearby_spent"), workspace, [purse.owner for purse in purses], [purse.day for purse in purses]
        )
        return {row["owner"]: Spent(row["total"], row["today"]) for row in found}
