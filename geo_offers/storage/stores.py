"""Stores, each as the JSON that was put."""

from typing import Any
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Conflict, NotFound
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.management import STORES
from geo_offers.storage import cursors
from geo_offers.storage.auditing import audit
from geo_offers.storage.breakers import breaker_of
from geo_offers.storage.pool import Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.workspaces import check_caps, check_category, raise_catalog

_body = msgspec.json.Decoder(wire.StoreBody)


class PostgresStores:
    """`pipeline.management.Stores`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, caller: Caller, store: str, body: wire.StoreBody) -> tuple[wire.Store, bool]:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            await check_category(connection, workspace, body.category)
            row = await connection.fetchrow(sql("store_put"), workspace, store, msgspec.json.encode(body))
            assert row is not None  # it was put just now
            if row["created"] and await connection.fetchval(sql("stores_count"), workspace) > STORES:
                raise Conflict(f"a workspace has at most {STORES} stores; delete some first")
            await audit(connection, caller, "store.put", store)
            await raise_catalog(connection, workspace)
            if body.caps:
                await check_caps(connection, workspace)
        return wire.Store(id=store, paused=row["paused"], **msgspec.structs.asdict(body)), row["created"]

    async def pause(self, caller: Caller, store: str, *, paused: bool) -> wire.Store:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("store_pause"), workspace, store, paused)
            if row is None:
                raise NotFound("there is no such store")
            if row["before"] is not paused:
                await audit(connection, caller, "store.pause" if paused else "store.resume", store)
                await raise_catalog(connection, workspace)
            return _store(await connection.fetchrow(sql("store_get"), workspace, store))

    async def get(self, workspace: UUID, store: str) -> wire.Store:
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("store_get"), workspace, store)
        if row is None:
            raise NotFound("there is no such store")
        return _store(row)

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.StorePage:
        (after,) = cursors.decode(cursor, tuple[str], ("",))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("stores_page"), workspace, after, limit + 1)
        more = cursors.encode((found[limit - 1]["id"],)) if len(found) > limit else None
        return wire.StorePage(items=[_store(row) for row in found[:limit]], next=more)

    async def delete(self, caller: Caller, store: str) -> None:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            if await connection.fetchval(sql("store_delete"), workspace, store) is None:
                raise NotFound("there is no such store")
            await audit(connection, caller, "store.delete", store)
            await raise_catalog(connection, workspace)


def _store(row: Any) -> wire.Store:
    body = msgspec.structs.asdict(_body.decode(row["body"]))
    return wire.Store(id=row["id"], paused=row["paused"], breaker=breaker_of(row), **body)
