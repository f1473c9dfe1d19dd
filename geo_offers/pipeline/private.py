"""Private places as managers change them: the port to storage, and the memory that the ping path asks.

Memory is never the more open of the two. A place is hidden in memory before it is committed, and shown after its
removal was: where the answer of a commit was lost it stays hidden, and the next change of that place tells. What a
change means for geofences is committed with it; their memory follows before it is answered (`FenceMemory.follow`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec.structs import replace

from geo_offers import wire
from geo_offers.errors import Crowded, Fault, GeoOffersError, Unavailable
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.pipeline.management import SPOT_FENCES
from geo_offers.pipeline.unbroken import unbroken
from geo_offers.places.cells import Cover
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.importing.private import PrivateDraft
from geo_offers.places.index import prepare
from geo_offers.places.outline import outline_of
from geo_offers.places.private import private_place

PRIVATE_PLACES: Final = 10_000


@dataclass(frozen=True, slots=True)
class PlacedPrivately:
    """A private place as it was written."""

    state: wire.PrivatePlaceState
    place: Geofence
    created: bool


Concerns = Callable[[Collection[str]], None]
"""Told, before a commit, in which sets it changes geofences: its answer may be lost."""


class PrivatePlaces(Protocol):
    async def put(self, caller: Caller, draft: PrivateDraft, concerns: Concerns) -> PlacedPrivately:
        """Insert or replace, and turn off the geofences that lie over it until they are approved (anew).

        Changes nothing where it is there as it is. Conflict where there are too many.
        """
        ...

    async def delete(self, caller: Caller, ident: str, concerns: Concerns) -> None:
        """Geofences that lay over it alone need no approval any more."""
        ...

    async def get(self, workspace: UUID, ident: str) -> wire.PrivatePlaceState: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.PrivatePlacePage:
        """By id; what waits at each is told by `get` alone."""
        ...


class PrivateMemory:
    """See the module. The catalog's private places are changed here and nowhere else."""

    def __init__(self, catalog: Catalog, stored: PrivatePlaces, fences: FenceMemory) -> None:
        self._catalog = catalog
        self._stored = stored
        self._fences = fences
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def load(self, workspace: UUID, pages: AsyncIterator[Sequence[Geofence]]) -> None:
        """Installs what the database holds of a workspace, at the start."""
        async for places in pages:
            for place in places:
                self._catalog.hide(workspace, place, await asyncio.to_thread(prepare, place))

    async def put(self, caller: Caller, draft: PrivateDraft) -> PlacedPrivately:
        """In force before it returns."""
        return await unbroken(self._put(caller, draft))

    async def delete(self, caller: Caller, ident: str) -> None:
        await unbroken(self._delete(caller, ident))

    async def _put(self, caller: Caller, draft: PrivateDraft) -> PlacedPrivately:
        workspace, sets = caller.workspace, set[str]()
        coming = replace(private_place(draft.id, 0, draft.category, outline_of(draft.geometry)), id=_coming(draft.id))
        cover = await asyncio.to_thread(prepare, coming)
        async with self._lock(workspace):
            self._refuse_crowd(workspace, cover)
            self._catalog.hide(workspace, coming, cover)
            try:
                placed = await self._stored.put(caller, draft, sets.update)
            except GeoOffersError as error:
                if not isinstance(error, Unavailable):
                    self._catalog.show(workspace, coming.id)
                raise
            finally:
                self._fences.doubt(workspace, sets)
            self._catalog.hide(workspace, placed.place, cover)
            self._catalog.show(workspace, coming.id)
        await self._fences.follow(workspace, sets)
        return placed

    async def _delete(self, caller: Caller, ident: str) -> None:
        workspace, sets = caller.workspace, set[str]()
        async with self._lock(workspace):
            try:
                await self._stored.delete(caller, ident, sets.update)
            finally:
                self._fences.doubt(workspace, sets)
            for place in (FenceId(f"private/{ident}"), _coming(ident)):
                self._catalog.show(workspace, place)
        await self._fences.follow(workspace, sets)

    def _lock(self, workspace: UUID) -> asyncio.Lock:
        return self._locks.setdefault(workspace, asyncio.Lock())

    def _refuse_crowd(self, workspace: UUID, cover: Cover) -> None:
        """What many private places at one spot would cost every ping there, as with geofences."""
        index = self._catalog.private(workspace)
        if index is not None and any(index.count(place) >= SPOT_FENCES for place in cover.places):
            detail = f"there are {SPOT_FENCES} private places at one spot already; make some fewer or smaller"
            raise Crowded(detail, (Fault("/geometry", "crowded", detail),))


def _coming(ident: str) -> FenceId:
    """Under which a place is hidden whose commit is not known to be through."""
    return FenceId(f"coming/{ident}")
