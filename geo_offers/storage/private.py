"""Private places on PostgreSQL, and which geofences lie over them.

Who writes geofences holds the workspace's private places in common (`open_set`), who changes one of these holds them
alone. So a geofence is compared with all places that there are, and a place with all geofences.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from geo_offers import wire
from geo_offers.errors import Conflict, Fault, NotFound, Unavailable
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.private import PRIVATE_PLACES, PlacedPrivately
from geo_offers.places.fences import FenceId, Geofence, fence_id
from geo_offers.places.geometry import Box
from geo_offers.places.importing.private import PrivateDraft
from geo_offers.places.outline import outline_of
from geo_offers.places.private import APPROVERS, meet, private_place
from geo_offers.storage import cursors
from geo_offers.storage.auditing import audit
from geo_offers.storage.features import box_of, box_outline, fence_of, place_of
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

MOST: Final = 64
"""Private places whose boxes a geofence's meets; of one with more nothing else is asked: it lies over them."""
TOLD: Final = 100
_PAGE: Final = 1_000
_UNIT: Final = "\x1f"

_log = structlog.get_logger()


# ------------------------------------------------------------------------------------------------ for geofences
async def hold_owner(connection: Connection, owner: str | None) -> None:
    """Unavailable where another process has taken the database over."""
    if await connection.fetchval(sql("geofences_owner"), owner) is None:
        raise Unavailable("another process owns this database now; send the same request again")


async def over(connection: Connection, workspace: UUID, fences: Mapping[str, Geofence]) -> dict[str, list[str]]:
    """Of these fences, by any name, those that lie over private places, with the ids of these (at most `MOST`)."""
    boxes = [box_of(fence.outline) for fence in fences.values()]
    found = await connection.fetch(sql("private_places_by_boxes"), workspace, *columns(boxes, 4), MOST)
    return await asyncio.to_thread(_over, list(fences.items()), found) if found else {}


def _over(fences: Sequence[tuple[str, Geofence]], found: Sequence[Any]) -> dict[str, list[str]]:
    near: dict[int, list[Any]] = {}
    for row in found:
        near.setdefault(row["number"] - 1, []).append(row)
    lying: dict[str, list[str]] = {}
    for number, rows in near.items():
        name, fence = fences[number]
        held = [row["id"] for row in rows if len(rows) == MOST or _meets(fence, row)]
        if held:
            lying[name] = held
    return lying


def _meets(fence: Geofence, row: Any) -> bool:
    """A place that cannot be read any more is where its box is."""
    try:
        return meet(fence.geometry, place_of(row["id"], "other", 0, row["feature"]).geometry)
    except ValueError as error:
        _log.error("a stored private place cannot be read; put it anew", place=row["id"], error=type(error).__name__)
        return True


def joined(places: Sequence[str] | None) -> str | None:
    """For a column of an `unnest`."""
    return None if not places else _UNIT.join(places)


def waits(row: Any) -> bool:
    """Whether a geofence's row (`private_places`, `approvers`) waits for approval."""
    return row["private_places"] is not None and len(row["approvers"]) < APPROVERS


def approval(row: Any) -> wire.FenceApproval | None:
    """As `waits`, on the wire."""
    if row["private_places"] is None:
        return None
    return wire.FenceApproval(
        state="pending" if waits(row) else "approved", places=row["private_places"], approvals=len(row["approvers"])
    )


def sensitive(places: Sequence[str]) -> Fault:
    """What an import's row is told that would lie over these."""
    named = ", ".join(places[:3])
    detail = f"this geofence lies over private places ({named[:100]}); it is off until two approvers let it be"
    return Fault("/geometry", "sensitive", detail)


async def sensitive_fences(connection: Connection, workspace: UUID) -> Mapping[FenceId, Sequence[str]]:
    """The workspace's geofences that lie over private places, approved or not, with the categories of these."""
    found = await connection.fetch(sql("private_geofences"), workspace)
    return {fence_id(row["set_id"], row["external_id"]): row["categories"] for row in found}


# ------------------------------------------------------------------------------------------------ private places
class PostgresPrivatePlaces:
    """`pipeline.private.PrivatePlaces`."""

    def __init__(self, pool: Pool, owner: str | None = None) -> None:
        """owner: who holds the partitions in this process; None where nobody does."""
        self._pool = pool
        self._owner = owner

    async def put(
        self, caller: Caller, draft: PrivateDraft, concerns: Callable[[Collection[str]], None]
    ) -> PlacedPrivately:
        workspace, created = caller.workspace, False
        async with transaction(self._pool, [workspace]) as connection:
            await self._hold(connection, workspace)
            row = await connection.fetchrow(sql("private_place_get"), workspace, draft.id)
            if row is not None and row["feature"] == draft.feature:
                lying = await connection.fetch(sql("private_geofences_sets"), workspace, draft.id)
                concerns({fence["set_id"] for fence in lying})  # it may be here again because its answer was lost
            else:
                box = box_of(draft.geometry)
                put = draft.id, draft.category, draft.feature, *box
                (row,) = await connection.fetch(sql("private_place_put"), workspace, *put)
                created = row["created"]
                if created and await connection.fetchval(sql("private_places_count"), workspace) > PRIVATE_PLACES:
                    raise Conflict(f"a workspace has at most {PRIVATE_PLACES} private places; delete some first")
                concerns(await _reconsider(connection, workspace, draft.id, box))
                await audit(connection, caller, "private_place.put", draft.id)
            state = await _told(connection, workspace, row)
        place = private_place(draft.id, row["version"], draft.category, outline_of(draft.geometry))
        return PlacedPrivately(state, place, created=created)

    async def delete(self, caller: Caller, ident: str, concerns: Callable[[Collection[str]], None]) -> None:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            await self._hold(connection, workspace)
            if await connection.fetchval(sql("private_place_delete"), workspace, ident) is None:
                raise NotFound("there is no such private place")
            concerns(await _reconsider(connection, workspace, ident, None))
            await audit(connection, caller, "private_place.delete", ident)

    async def get(self, workspace: UUID, ident: str) -> wire.PrivatePlaceState:
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("private_place_get"), workspace, ident)
            if row is None:
                raise NotFound("there is no such private place")
            return await _told(connection, workspace, row)

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.PrivatePlacePage:
        (after,) = cursors.decode(cursor, tuple[str], ("",))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("private_places_page"), workspace, after, limit + 1)
        more = cursors.encode((found[limit - 1]["id"],)) if len(found) > limit else None
        return wire.PrivatePlacePage(items=[_state(row) for row in found[:limit]], next=more)

    async def _hold(self, connection: Connection, workspace: UUID) -> None:
        await hold_owner(connection, self._owner)
        await connection.execute(sql("private_places_hold_alone"), workspace)


async def _reconsider(connection: Connection, workspace: UUID, ident: str, box: Box | None) -> Collection[str]:
    """Compare a place, where it is now, with the geofences; those that lie over it have to be approved anew.

    The sets in which some have changed.
    """
    found = await connection.fetch(sql("private_geofences_near"), workspace, ident, *(box or (None,) * 4))
    changed: list[tuple[str, str, str | None, bool]] = []
    for start in range(0, len(found), _PAGE):
        rows = {fence_id(row["set_id"], row["external_id"]): row for row in found[start : start + _PAGE]}
        places = await over(connection, workspace, await asyncio.to_thread(_fences, rows))
        for fence, row in rows.items():
            lies = places.get(fence)
            if ident in (lies or ()) or lies != row["private_places"]:
                changed.append((row["set_id"], row["external_id"], joined(lies), ident in (lies or ())))
    if changed:
        await connection.execute(sql("private_geofences_set"), workspace, *columns(changed, 4))
    return {set_id for set_id, *_ in changed}


def _fences(rows: Mapping[FenceId, Any]) -> dict[str, Geofence]:
    """Without those that cannot be read: they are not in memory either, until somebody puts them anew."""
    found: dict[str, Geofence] = {}
    for fence, row in rows.items():
        with suppress(ValueError):
            found[fence] = fence_of(row["set_id"], row["external_id"], 0, row["feature"])
    return found


async def _told(connection: Connection, workspace: UUID, row: Any) -> wire.PrivatePlaceState:
    waiting = await connection.fetch(sql("private_geofences_waiting"), workspace, row["id"], APPROVERS, TOLD)
    return msgspec.structs.replace(
        _state(row), waiting=[fence_id(fence["set_id"], fence["external_id"]) for fence in waiting]
    )


def _state(row: Any) -> wire.PrivatePlaceState:
    return wire.PrivatePlaceState(
        id=row["id"],
        category=row["category"],
        version=row["version"],
        updated_at=row["updated_at"],
        feature=msgspec.Raw(row["feature"]),
    )


# ------------------------------------------------------------------------------------------------ at the start
async def load_private(pool: Pool, workspace: UUID) -> AsyncIterator[Sequence[Geofence]]:
    """The private places of a workspace, page by page; where one that cannot be read was, its box is private."""
    after: str | None = ""
    while after is not None:
        async with transaction(pool, [workspace]) as connection:
            found = await connection.fetch(sql("private_places_load"), workspace, after, _PAGE)
        after = found[-1]["id"] if len(found) == _PAGE else None
        yield await asyncio.to_thread(_readable, found)


def _readable(found: Sequence[Any]) -> list[Geofence]:
    places: list[Geofence] = []
    for row in found:
        try:
            place = place_of(row["id"], row["category"], row["version"], row["feature"])
        except ValueError as error:
            _log.error(
                "a stored private place cannot be read; put it anew", place=row["id"], error=type(error).__name__
            )
            box = row["min_lat"], row["min_lon"], row["max_lat"], row["max_lon"]
            place = private_place(row["id"], row["version"], row["category"], box_outline(box))
        places.append(place)
    return places
