"""Geofences on PostgreSQL. Every writer of a set holds that set's lock for its transaction, here and in `imports`."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from geo_offers import wire
from geo_offers.errors import Conflict, NotFound
from geo_offers.pipeline.management import SET_FENCES, Placed
from geo_offers.places.fences import Geofence, fence_id
from geo_offers.places.geometry import Box
from geo_offers.places.importing.geojson import FenceDraft
from geo_offers.storage import cursors
from geo_offers.storage.features import box_of, feature_of, fence_of
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

_NO_BOX = (None, None, None, None)
_START_PAGE = 2_000

Writing = tuple[str, bytes, Box]
"""External id, stored Feature and the box around it."""


class PostgresGeofences:
    """`pipeline.management.Geofences`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._locks: WeakValueDictionary[tuple[UUID, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def changing(self, workspace: UUID, set_id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault((workspace, set_id), asyncio.Lock())
        async with lock:
            yield

    async def put(self, workspace: UUID, set_id: str, draft: FenceDraft) -> Placed:
        feature = feature_of(draft)
        async with transaction(self._pool, [workspace]) as connection:
            await lock_set(connection, workspace, set_id)
            (row,) = await write(connection, workspace, set_id, [(draft.external_id, feature, box_of(draft.geometry))])
            if row["created"] and await connection.fetchval(sql("geofences_count"), workspace, set_id) > SET_FENCES:
                raise full(set_id)
        fence = Geofence(
            id=fence_id(set_id, draft.external_id),
            version=row["version"],
            name=draft.name,
            geometry=draft.geometry,
            store=draft.store,
            tags=draft.tags,
            active=draft.active,
            detect=draft.detect,
        )
        state = wire.GeofenceState(
            fence=fence.id, version=fence.version, updated_at=row["updated_at"], feature=msgspec.Raw(feature)
        )
        return Placed(state, fence, created=row["created"])

    async def get(self, workspace: UUID, set_id: str, external_id: str) -> wire.GeofenceState:
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("geofence_get"), workspace, set_id, external_id)
        if row is None:
            raise NotFound("there is no such geofence")
        return _state(row)

    async def page(
        self, workspace: UUID, set_id: str | None, box: Box | None, cursor: str | None, limit: int
    ) -> wire.GeofencePage:
        after_set, after = cursors.decode(cursor, tuple[str, str], ("", ""))
        async with transaction(self._pool, [workspace]) as connection:
            if set_id is None:
                query, place = "geofences_page", (after_set, after)
            else:
                query, place = "geofences_page_of_set", (set_id, after)
            found = await connection.fetch(sql(query), workspace, *place, limit + 1, *(box or _NO_BOX))
        last = found[limit - 1] if len(found) > limit else None
        more = None if last is None else cursors.encode((last["set_id"], last["external_id"]))
        return wire.GeofencePage(items=[_state(row) for row in found[:limit]], next=more)

    async def delete(self, workspace: UUID, set_id: str, external_id: str) -> None:
        async with transaction(self._pool, [workspace]) as connection:
            await lock_set(connection, workspace, set_id)
            if not await connection.fetch(sql("geofences_delete"), workspace, set_id, [external_id]):
                raise NotFound("there is no such geofence")


def _state(row: Any) -> wire.GeofenceState:
    return wire.GeofenceState(
        fence=fence_id(row["set_id"], row["external_id"]),
        version=row["version"],
        updated_at=row["updated_at"],
        feature=msgspec.Raw(row["feature"]),
    )


# ------------------------------------------------------------------------------------------------ for every writer
async def lock_set(connection: Connection, workspace: UUID, set_id: str) -> None:
    await connection.execute(sql("geofence_set_lock"), workspace, set_id)


async def write(connection: Connection, workspace: UUID, set_id: str, fences: Sequence[Writing]) -> Sequence[Any]:
    """Insert or replace; rows of external_id, version, updated_at and created."""
    rows = [(external_id, feature, *box) for external_id, feature, box in fences]
    return await connection.fetch(sql("geofences_write"), workspace, set_id, *columns(rows, 6))


def full(set_id: str) -> Conflict:
    return Conflict(f"the set {set_id[:64]!r} would hold more than {SET_FENCES} geofences; use another set")


# ------------------------------------------------------------------------------------------------ at the start
async def load_fences(pool: Pool) -> Mapping[UUID, Sequence[Geofence]]:
    """The geofences of all workspaces."""
    async with transaction(pool, []) as connection:
        workspaces = [row["id"] for row in await connection.fetch(sql("workspaces_all"))]
    return {workspace: await _load(pool, workspace) for workspace in workspaces}


async def _load(pool: Pool, workspace: UUID) -> Sequence[Geofence]:
    fences: list[Geofence] = []
    after = ("", "")
    while True:
        async with transaction(pool, [workspace]) as connection:
            page = await connection.fetch(sql("geofences_page"), workspace, *after, _START_PAGE, *_NO_BOX)
        fences += [fence_of(row["set_id"], row["external_id"], row["version"], row["feature"]) for row in page]
        if len(page) < _START_PAGE:
            return fences
        after = (page[-1]["set_id"], page[-1]["external_id"])
