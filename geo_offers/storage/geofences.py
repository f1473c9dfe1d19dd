"""Geofences on PostgreSQL. Every writer of a set holds that set's lock for its transaction, here and in `imports`.

A writer also holds on to the ownership of the database: who takes it over loads all geofences after the last commit of
the one before, and what a deposed owner would still write is refused. Else its successor's memory would miss it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec.structs import replace

from geo_offers import wire
from geo_offers.errors import Conflict, Forbidden, NotFound
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.management import SET_FENCES, Admit, Placed, SetChange, refuse_unseen
from geo_offers.places.fences import FenceId, Geofence, fence_id, split_fence_id
from geo_offers.places.geometry import Box
from geo_offers.places.importing.geojson import FenceDraft
from geo_offers.places.importing.rows import feature_of
from geo_offers.storage import cursors, private
from geo_offers.storage.auditing import audit, note
from geo_offers.storage.features import box_of, fence_of
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

_NO_BOX = (None, None, None, None)
_START_PAGE = 2_000

_log = structlog.get_logger()

Writing = tuple[str, bytes, Box, Sequence[str] | None]
"""External id, stored Feature, the box around it, and the private places that it lies over, as `private.over` tells."""


class PostgresGeofences:
    """`pipeline.management.Geofences`."""

    def __init__(self, pool: Pool, owner: str | None = None) -> None:
        """owner: who holds the partitions in this process; None where nobody does."""
        self._pool = pool
        self._owner = owner

    async def put(
        self, workspace: UUID, set_id: str, draft: FenceDraft, author: str, admit: Admit
    ) -> SetChange[Placed]:
        fence = Geofence(
            id=fence_id(set_id, draft.external_id),
            version=0,
            name=draft.name,
            outline=draft.geometry,
            store=draft.store,
            tags=draft.tags,
            active=draft.active,
            detect=draft.detect,
        )
        await admit([fence])
        feature = feature_of(draft)
        async with transaction(self._pool, [workspace]) as connection:
            await open_set(connection, workspace, set_id, self._owner)
            places = await private.over(connection, workspace, {fence.id: fence})
            writing = (draft.external_id, feature, box_of(draft.geometry), places.get(fence.id))
            (row,) = await write(connection, workspace, set_id, [writing], author)
            if row["created"] and await connection.fetchval(sql("geofences_count"), workspace, set_id) > SET_FENCES:
                raise full(set_id)
            await note(connection, workspace, author, "geofence.put", fence.id)
        state = wire.GeofenceState(
            fence=fence.id,
            version=row["version"],
            updated_at=row["updated_at"],
            feature=msgspec.Raw(feature),
            approval=private.approval(row),
        )
        put = replace(fence, version=row["version"], active=fence.active and not private.waits(row))
        return SetChange(Placed(state, created=row["created"]), put=[put])

    async def approve(
        self, caller: Caller, set_id: str, external_id: str, version: int, admit: Admit
    ) -> SetChange[wire.GeofenceState]:
        workspace = caller.workspace
        found = await self.read(workspace, set_id, [fence_id(set_id, external_id)])
        await admit([replace(fence, active=True) for fence in found])
        async with transaction(self._pool, [workspace]) as connection:
            await open_set(connection, workspace, set_id, self._owner)
            row = await connection.fetchrow(sql("geofence_get"), workspace, set_id, external_id)
            if row is None:
                raise NotFound("there is no such geofence")
            if row["private_places"] is None:
                raise Conflict("this geofence lies over no private place; nobody has to approve it")
            if row["author"] == caller.id:
                raise Forbidden("whoever wrote a geofence last does not approve it; ask another approver", "own_fence")
            if caller.id not in row["approvers"]:
                refuse_unseen(version, row["version"])
                row = await connection.fetchrow(sql("geofence_approve"), workspace, set_id, external_id, caller.id)
                await audit(connection, caller, "geofence.approve", fence_id(set_id, external_id))
        return SetChange(_state(row), put=_readable([row]))

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

    async def delete(self, workspace: UUID, set_id: str, external_id: str, author: str) -> SetChange[None]:
        async with transaction(self._pool, [workspace]) as connection:
            await open_set(connection, workspace, set_id, self._owner)
            if not await connection.fetch(sql("geofences_delete"), workspace, set_id, [external_id]):
                raise NotFound("there is no such geofence")
            await note(connection, workspace, author, "geofence.delete", fence_id(set_id, external_id))
        return SetChange(None, dropped=[fence_id(set_id, external_id)])

    async def versions(self, workspace: UUID, set_id: str) -> Mapping[FenceId, int]:
        async with transaction(self._pool, [workspace]) as connection:
            await lock_set(connection, workspace, set_id)
            found = await read_versions(connection, workspace, set_id)
        return {fence_id(set_id, external_id): version for external_id, version in found.items()}

    async def read(self, workspace: UUID, set_id: str, fences: Sequence[FenceId]) -> Sequence[Geofence]:
        names = [split_fence_id(fence)[1] for fence in fences]
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("geofences_features"), workspace, set_id, names)
        return await asyncio.to_thread(_readable, found)


def _state(row: Any) -> wire.GeofenceState:
    return wire.GeofenceState(
        fence=fence_id(row["set_id"], row["external_id"]),
        version=row["version"],
        updated_at=row["updated_at"],
        feature=msgspec.Raw(row["feature"]),
        approval=private.approval(row),
    )


# ------------------------------------------------------------------------------------------------ for every writer
async def lock_set(connection: Connection, workspace: UUID, set_id: str) -> None:
    await connection.execute(sql("geofence_set_lock"), workspace, set_id)


async def open_set(connection: Connection, workspace: UUID, set_id: str, owner: str | None) -> None:
    """Lock the set to write it. Unavailable where another process has taken the database over."""
    await private.hold_owner(connection, owner)
    await connection.execute(sql("private_places_hold"), workspace)
    await lock_set(connection, workspace, set_id)


async def read_versions(connection: Connection, workspace: UUID, set_id: str) -> Mapping[str, int]:
    """By external id."""
    found = await connection.fetch(sql("geofences_versions"), workspace, set_id)
    return {row["external_id"]: row["version"] for row in found}


async def write(
    connection: Connection, workspace: UUID, set_id: str, fences: Sequence[Writing], author: str
) -> Sequence[Any]:
    """Insert or replace; rows of external_id, version, updated_at, created, private_places and approvers."""
    rows = [(external_id, feature, *box, private.joined(places)) for external_id, feature, box, places in fences]
    return await connection.fetch(sql("geofences_write"), workspace, set_id, *columns(rows, 7), author)


def full(set_id: str) -> Conflict:
    return Conflict(f"the set {set_id[:64]!r} would hold more than {SET_FENCES} geofences; use another set")


# ------------------------------------------------------------------------------------------------ at the start
async def load_fences(pool: Pool) -> AsyncIterator[tuple[UUID, AsyncIterator[Sequence[Geofence]]]]:
    """The geofences of each workspace, page by page: the next one is on its way while one is worked on."""
    async with transaction(pool, []) as connection:
        workspaces = [row["id"] for row in await connection.fetch(sql("workspaces_all"))]
    for workspace in workspaces:
        yield workspace, _pages(pool, workspace)


async def _pages(pool: Pool, workspace: UUID) -> AsyncIterator[Sequence[Geofence]]:
    coming: asyncio.Task[Sequence[Any]] | None = asyncio.create_task(_page(pool, workspace, ("", "")))
    try:
        while coming is not None:
            page = await coming
            last = (page[-1]["set_id"], page[-1]["external_id"]) if len(page) == _START_PAGE else None
            coming = None if last is None else asyncio.create_task(_page(pool, workspace, last))
            yield await asyncio.to_thread(_readable, page)
    finally:
        if coming is not None:
            coming.cancel()


async def _page(pool: Pool, workspace: UUID, after: tuple[str, str]) -> Sequence[Any]:
    async with transaction(pool, [workspace]) as connection:
        found: Sequence[Any] = await connection.fetch(sql("geofences_page"), workspace, *after, _START_PAGE, *_NO_BOX)
    return found


def _readable(found: Iterable[Any]) -> list[Geofence]:
    """The fences of these rows. One that cannot be read is left out and logged: the others are there all the same."""
    fences: list[Geofence] = []
    for row in found:
        try:
            place = row["set_id"], row["external_id"], row["version"], row["feature"]
            fences.append(fence_of(*place, off=private.waits(row)))
        except ValueError as error:
            fence = f"{row['set_id']}/{row['external_id']}"
            _log.error("a stored geofence cannot be read; put it anew", fence=fence, error=type(error).__name__)
    return fences
