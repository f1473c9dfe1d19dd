"""The memory of geofences, which ends where the database does, whatever happens to an answer.

Every change of a set goes through `FenceMemory.change`. It is made while nobody else changes the set, to its end even
where the caller hangs up, and what it changed is installed a slice at a time, so that pings go on.

Where the answer of a commit was lost nobody knows whether it was made: the set is in doubt. What memory holds of it is
compared with the database and mended, by the next change of the set before it begins, or by `run`. A clear refusal
(Conflict, NotFound, ...) came before the commit and leaves no doubt.

How many fences lie at one spot bounds what a fix there costs everybody, so it is bounded before anything is written.
"""

import asyncio
import ctypes
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import Final, TypeAlias, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import structlog

from geo_offers.errors import Conflict, Crowded, Fault, GeoOffersError, Unavailable
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.management import (
    CHANGE_PLACES,
    SPOT_FENCES,
    WORKSPACE_FENCES,
    WORKSPACE_PLACES,
    Admit,
    Geofences,
    SetChange,
)
from geo_offers.pipeline.slices import batches, sliced
from geo_offers.pipeline.unbroken import unbroken
from geo_offers.places.cells import WHOLE, Cover
from geo_offers.places.fences import FenceId, Geofence, split_fence_id
from geo_offers.places.index import GeofenceIndex, prepare

T = TypeVar("T")
Numbers: TypeAlias = npt.NDArray[np.int64]
SetKey = tuple[UUID, str]
Work = Callable[[Admit], Awaitable[SetChange[T]]]

SHARE_S: Final = 0.05  # so long may covers keep one of the few workers
DOUBTS: Final = 1_000  # sets; past it none is changed until some are mended
MEND_PAGE: Final = 100
MANY: Final = 1_000  # fences that come at once
SETTLE_S: Final = 1.0
SPOTS: Final = 256  # places, counted within a slice
RETRY_S: Final = 0.2
LONGEST_RETRY_S: Final = 10.0

_log = structlog.get_logger()


class FenceMemory:
    """See the module. The catalog's fences are changed here and nowhere else, once they were loaded at the start."""

    def __init__(self, catalog: Catalog, stored: Geofences) -> None:
        self._catalog = catalog
        self._stored = stored
        self._locks: WeakValueDictionary[SetKey, asyncio.Lock] = WeakValueDictionary()
        self._arriving: list[tuple[UUID, _Growth]] = []
        self._doubtful: dict[SetKey, None] = {}  # in the order in which `run` takes them
        self._any_doubtful = asyncio.Event()
        self._giving_back: asyncio.TimerHandle | None = None

    async def change(self, workspace: UUID, set_id: str, work: Work[T]) -> T:
        """What `work` answers, once memory has what it changed; only one change of a set is under way at a time.

        Unavailable leaves open whether the change was made. Memory follows either way.
        """
        return await unbroken(self._change((workspace, set_id), work))

    async def load(self, workspace: UUID, pages: AsyncIterator[Sequence[Geofence]]) -> None:
        """Installs what the database holds of a workspace, at the start."""
        index = GeofenceIndex()
        async for fences in pages:
            await asyncio.to_thread(_fill, index, fences)
        self._catalog.install(workspace, index)
        self._give_back_soon()

    async def _change(self, key: SetKey, work: Work[T]) -> T:
        async with self._lock(key):
            await self._mend(key)
            if len(self._doubtful) >= DOUBTS:
                raise Unavailable("too many changes ended unknown; send the same request again", LONGEST_RETRY_S)
            covers: dict[FenceId, Cover] = {}
            async with self._admission(key[0], covers) as admit:
                try:
                    change = await work(admit)
                    await self._install(key[0], change.put, change.dropped, covers)
                except BaseException as error:
                    if isinstance(error, Unavailable) or not isinstance(error, GeoOffersError):
                        self._doubt(key)
                    raise
        return change.answer

    def _lock(self, key: SetKey) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _install(
        self, workspace: UUID, put: Iterable[Geofence], dropped: Iterable[FenceId], covers: Mapping[FenceId, Cover]
    ) -> None:
        async for gone in sliced(dropped):
            self._catalog.drop(workspace, [gone])
        installed = 0
        async for fence in sliced(put):
            self._catalog.put(workspace, [fence], covers)
            installed += 1
        if installed >= MANY:
            self._give_back_soon()

    def _give_back_soon(self) -> None:
        """Once nobody holds any more what the fences were made of."""
        if self._giving_back is not None:
            self._giving_back.cancel()
        loop = asyncio.get_running_loop()
        self._giving_back = loop.call_later(SETTLE_S, loop.run_in_executor, None, give_back)

    # ------------------------------------------------------------------------------------------ room
    @asynccontextmanager
    async def _admission(self, workspace: UUID, covers: dict[FenceId, Cover]) -> AsyncIterator[Admit]:
        """Lets a change ask for room, and keeps it from other sets' changes until memory has the fences.

        Who asks reserves first and counts then: of two who ask for the last place at once, neither may get it, but
        never both. `covers` gets the covers of the fences that come.
        """
        reserved: list[tuple[UUID, _Growth]] = []

        async def admit(coming: Sequence[Geofence], going: Collection[FenceId] = ()) -> None:
            index, new = self._catalog.index(workspace), 0
            async for some in batches(coming):
                new += sum(index.get(fence.id) is None for fence in some)
            if new and len(index) + new > WORKSPACE_FENCES:
                raise Conflict(f"a workspace has at most {WORKSPACE_FENCES} geofences; delete some first")
            covers.update(await _covers(coming))
            growth = await _growth(index, covers, going)
            reserved.append((workspace, growth))
            self._arriving.append((workspace, growth))
            others = [more for owner, more in self._arriving if owner == workspace and more is not growth]
            _refuse_spread(self._catalog.index(workspace), [growth, *others])
            await _refuse_crowd(self._catalog.index(workspace), covers, growth, others)

        try:
            yield admit
        finally:
            for entry in reserved:
                self._arriving.remove(entry)

    # ------------------------------------------------------------------------------------------ doubt
    def doubt(self, workspace: UUID, sets: Iterable[str]) -> None:
        """Somebody else may have changed fences of these sets; memory follows sooner or later."""
        for set_id in sets:
            self._doubt((workspace, set_id))

    def _doubt(self, key: SetKey) -> None:
        self._doubtful[key] = None
        self._any_doubtful.set()

    async def follow(self, workspace: UUID, sets: Iterable[str]) -> None:
        """Memory holds of these sets, if they are in doubt, what the database holds, once this returns."""
        for set_id in sets:
            async with self._lock((workspace, set_id)):
                await self._mend((workspace, set_id))

    async def run(self) -> None:
        """Mends the sets in doubt until cancelled: at once, and while the database is away ever more seldom."""
        pause_s = RETRY_S
        while True:
            await self._any_doubtful.wait()
            # A change that is under way mends its set itself, and may take long.
            key = next((key for key in self._doubtful if not self._lock(key).locked()), None)
            if key is not None and await self._is_mended(key):
                pause_s = RETRY_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def _is_mended(self, key: SetKey) -> bool:
        try:
            async with self._lock(key):
                await self._mend(key)
        except Exception as error:  # noqa: BLE001 - whatever failed, it is tried again
            self._doubtful[key] = self._doubtful.pop(key)  # behind the others
            known = isinstance(error, GeoOffersError)
            _log.warning("geofences in doubt are not mended yet", set=key[1], reason=str(error), exc_info=not known)
            return False
        return True

    async def _mend(self, key: SetKey) -> None:
        """Makes memory hold what the database holds of a set, if it is in doubt; the caller holds the set's lock."""
        if key not in self._doubtful:
            return
        workspace, set_id = key
        stored = await self._stored.versions(workspace, set_id)
        index = self._catalog.index(workspace)
        held = await _versions(index, set_id)
        await self._install(workspace, (), held.keys() - stored.keys(), {})
        stale = [fence for fence, version in stored.items() if held.get(fence) != version]
        for start in range(0, len(stale), MEND_PAGE):
            fences = await self._stored.read(workspace, set_id, stale[start : start + MEND_PAGE])
            await self._install(workspace, fences, (), await _covers(fences))
        del self._doubtful[key]
        if not self._doubtful:
            self._any_doubtful.clear()


async def _versions(index: GeofenceIndex, set_id: str) -> dict[FenceId, int]:
    """Of the fences of the set."""
    found: dict[FenceId, int] = {}
    async for some in batches(index.ids()):
        held = (index.get(fence) for fence in some if split_fence_id(fence)[0] == set_id)
        found.update((fence.id, fence.version) for fence in held if fence is not None)
    return found


async def _covers(fences: Iterable[Geofence]) -> dict[FenceId, Cover]:
    """The covers of the fences, computed beside the loop, a share at a time: there are few workers for all.

    Crowded, in time, where they are more than one change may bring.
    """
    covers, places = dict[FenceId, Cover](), 0
    todo = iter(fences)
    while share := await asyncio.to_thread(_share, todo):
        covers |= share
        places += sum(map(len, share.values()))
        if places > CHANGE_PLACES:
            raise _too_wide("these geofences cover too much at once; send fewer or smaller ones in one change")
    return covers


def give_back() -> None:
    """What work on many fences left free is the system's again: some ms. A C library that cannot do that does not."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _fill(index: GeofenceIndex, fences: Iterable[Geofence]) -> None:
    for fence in fences:
        index.put(fence)


def _share(todo: Iterator[Geofence]) -> dict[FenceId, Cover]:
    started, covers = perf_counter(), dict[FenceId, Cover]()
    for fence in todo:
        covers[fence.id] = prepare(fence)
        if perf_counter() - started > SHARE_S:
            break
    return covers


@dataclass(frozen=True, slots=True, eq=False)
class _Growth:
    """By how many fences places would grow, ascending by place; the rest would not grow."""

    places: Numbers
    by: Numbers

    def at(self, places: Numbers) -> Numbers:
        """By how many each of these places would grow."""
        if not len(self.places):
            return np.zeros_like(places)
        found = np.searchsorted(self.places, places).clip(max=len(self.places) - 1)
        return np.where(self.places[found] == places, self.by[found], 0)


def _refuse_spread(index: GeofenceIndex, arriving: Iterable[_Growth]) -> None:
    """Crowded where all fences of the workspace, with what all changes under way bring, would take too much memory."""
    if index.filed + sum(int(more.by.sum()) for more in arriving) > WORKSPACE_PLACES:
        raise _too_wide("the geofences of this workspace would cover too much; make some fewer, smaller or inactive")


def _too_wide(detail: str) -> Crowded:
    return Crowded(detail, (Fault("/geometry", "crowded", detail),))


async def _growth(index: GeofenceIndex, coming: Mapping[FenceId, Cover], going: Iterable[FenceId]) -> _Growth:
    """Tell by how many fences places would grow if these were put and those removed."""
    left = array("q")
    async for fence in sliced(chain(coming, going)):
        left.extend(index.places_of(fence))
    return await asyncio.to_thread(_grown, [cover.names for cover in coming.values()], left)


def _grown(names: Sequence[bytes], left: "array[int]") -> _Growth:
    """Of the covers that come and the places that are left."""
    come = np.frombuffer(b"".join(names), np.int64) & ~np.int64(-WHOLE)
    places, at = np.unique(np.concatenate((come, np.array(left, np.int64))), return_inverse=True)
    by = np.bincount(at[: len(come)], minlength=len(places)) - np.bincount(at[len(come) :], minlength=len(places))
    return _Growth(places[by > 0], by[by > 0])


async def _refuse_crowd(
    index: GeofenceIndex,
    covers: Mapping[FenceId, Cover],
    growth: _Growth,
    others: Sequence[_Growth],
) -> None:
    """Crowded, naming the first fence where too many would lie; `others`: by which other changes under way grow it."""
    full: set[int] = set()
    async for start in sliced(range(0, len(growth.places), SPOTS)):
        places = growth.places[start : start + SPOTS]
        grown = sum((more.at(places) for more in others), growth.by[start : start + SPOTS])
        held = np.fromiter(map(index.count, places.tolist()), np.int64, len(places))
        full.update(places[held + grown > SPOT_FENCES].tolist())
    async for fence, cover in sliced(covers.items() if full else ()):
        if not full.isdisjoint(set(cover.places) - set(index.places_of(fence))):
            detail = (
                f"{fence} would lie where more than {SPOT_FENCES} active geofences are then; "
                "make those there fewer, smaller or inactive"
            )
            raise Crowded(detail, (Fault("/geometry", "crowded", detail),))
