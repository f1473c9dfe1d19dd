"""The managers' side: ports to what a workspace sets up and to what was decided, and the rules that hold at any edge.

A change of settings, campaigns or stores raises the workspace's catalog version in its own transaction. A change of
geofences is installed in memory (`install`) while `Geofences.changing` is held, and to its end (`unbroken`), so that
memory ends where the database does.
"""

import asyncio
import hmac
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any, Final, Literal, Protocol, TypeVar
from uuid import UUID

from geo_offers import wire
from geo_offers.errors import Conflict, Forbidden
from geo_offers.instants import to_us
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import CapRule, Scope
from geo_offers.offers.rendering import Text
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.catalog import Catalog
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import Box
from geo_offers.places.importing.geojson import FenceDraft, Row
from geo_offers.presence.machine import TransitionType

T = TypeVar("T")

SET_FENCES: Final = 10_000
WORKSPACE_FENCES: Final = 1_000_000
STORES: Final = 100_000
CAMPAIGNS: Final = 1_000
SLICE_S: Final = 0.005  # how long installing fences may keep the event loop


# ------------------------------------------------------------------------------------------------ workspace, stores
class Workspaces(Protocol):
    async def read(self, workspace: UUID) -> wire.WorkspaceState: ...

    async def change(self, workspace: UUID, patch: wire.WorkspacePatch) -> wire.WorkspaceState: ...


class Stores(Protocol):
    async def put(self, workspace: UUID, store: str, body: wire.StoreBody) -> bool:
        """True where the store is new. Conflict past the workspace's bound."""
        ...

    async def get(self, workspace: UUID, store: str) -> wire.Store: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.StorePage: ...

    async def delete(self, workspace: UUID, store: str) -> None: ...


# ------------------------------------------------------------------------------------------------ geofences
@dataclass(frozen=True, slots=True)
class Placed:
    """A geofence as it was written."""

    state: wire.GeofenceState
    fence: Geofence
    created: bool


class Geofences(Protocol):
    def changing(self, workspace: UUID, set_id: str) -> AbstractAsyncContextManager[None]:
        """Held from a change's transaction until memory has it: one change of a set at a time in this process."""
        ...

    async def put(self, workspace: UUID, set_id: str, draft: FenceDraft) -> Placed:
        """Insert or replace. Conflict where the set is full."""
        ...

    async def get(self, workspace: UUID, set_id: str, external_id: str) -> wire.GeofenceState: ...

    async def page(
        self, workspace: UUID, set_id: str | None, box: Box | None, cursor: str | None, limit: int
    ) -> wire.GeofencePage:
        """By set and external id; of one set or all, and of those whose box meets `box` (west may be > east)."""
        ...

    async def delete(self, workspace: UUID, set_id: str, external_id: str) -> None: ...


async def install(
    catalog: Catalog, workspace: UUID, fences: Iterable[Geofence], dropped: Iterable[FenceId] = ()
) -> None:
    """Bring memory up to date, some milliseconds at a time: pings go on meanwhile."""
    drops = (partial(catalog.drop, workspace, [fence]) for fence in dropped)
    puts = (partial(catalog.put, workspace, [fence]) for fence in fences)
    started = perf_counter()
    for step in chain(drops, puts):
        step()
        if perf_counter() - started > SLICE_S:
            await asyncio.sleep(0)
            started = perf_counter()


_unbroken: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks only weakly


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which runs to its end even where the caller hangs up: a commit and memory stay together."""
    task = asyncio.create_task(work)
    _unbroken.add(task)
    task.add_done_callback(_ended)
    return await asyncio.shield(task)


def _ended(task: asyncio.Task[Any]) -> None:
    _unbroken.discard(task)
    if not task.cancelled():
        task.exception()  # seen: where the caller has gone there is nobody left to tell


# ------------------------------------------------------------------------------------------------ many at once
@dataclass(frozen=True, slots=True)
class ImportChange:
    """What applying or undoing an import did: the report, and what memory has to follow."""

    report: wire.Import
    put: Sequence[Geofence] = ()
    dropped: Sequence[FenceId] = ()


class Imports(Protocol):
    async def create(self, workspace: UUID, ident: UUID, set_id: str, rows: Sequence[Row]) -> wire.Import:
        """Keep the rows and tell what they would change; one that is there under this id is answered as it is."""
        ...

    async def get(self, workspace: UUID, ident: UUID) -> wire.Import: ...

    async def apply(self, workspace: UUID, ident: UUID) -> ImportChange:
        """Write all rows that are not refused. Changes nothing where it is applied; Conflict where it is undone."""
        ...

    async def undo(self, workspace: UUID, ident: UUID) -> ImportChange:
        """Put back what was there before, save fences that were changed since. Conflict unless it is applied."""
        ...


# ------------------------------------------------------------------------------------------------ campaigns
Move = Literal["submit", "approve", "pause", "resume", "end"]

_NEXT: Final[Mapping[tuple[CampaignState, Move], CampaignState]] = {
    (CampaignState.DRAFT, "submit"): CampaignState.SUBMITTED,
    (CampaignState.SUBMITTED, "approve"): CampaignState.APPROVED,
    (CampaignState.APPROVED, "pause"): CampaignState.PAUSED,
    (CampaignState.PAUSED, "resume"): CampaignState.APPROVED,
    (CampaignState.DRAFT, "end"): CampaignState.ENDED,
    (CampaignState.SUBMITTED, "end"): CampaignState.ENDED,
    (CampaignState.APPROVED, "end"): CampaignState.ENDED,
    (CampaignState.PAUSED, "end"): CampaignState.ENDED,
}


def risks(caller: Caller) -> list[str]:
    """Why a campaign that this caller submits needs somebody's approval; all of them are text alone so far."""
    return [] if caller.may("owner") else [f"it was submitted by a key of role {caller.role}, not owner"]


def moved(state: CampaignState, move: Move, caller: Caller, author: str) -> CampaignState:
    """The state after a move. Conflict where the state has no such move, Forbidden where an author approves alone."""
    after = _NEXT.get((state, move))
    if after is None:
        raise Conflict(f"a campaign that is {state} cannot take {move!r}")
    if move == "submit" and not risks(caller):
        return CampaignState.APPROVED
    if move == "approve" and caller.id == author and not caller.may("owner"):
        raise Forbidden("whoever wrote a campaign last does not approve it; ask another approver", "own_campaign")
    return after


class Campaigns(Protocol):
    async def create(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        """A draft; one that is there under this id is answered as it is. Conflict past the workspace's bound."""
        ...

    async def replace(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        """A new version, which is a draft again. Conflict where the campaign has ended."""
        ...

    async def move(self, caller: Caller, ident: UUID, move: Move) -> wire.Campaign:
        """As `moved` says."""
        ...

    async def get(self, workspace: UUID, ident: UUID) -> wire.Campaign: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.CampaignPage:
        """Oldest first."""
        ...


def campaign_of(ident: UUID, version: int, state: str, body: wire.CampaignBody) -> Campaign:
    """The campaign that decisions read. The instants of its schedule must name their zones."""
    selector, schedule = body.trigger.fences, body.schedule
    return Campaign(
        id=ident,
        name=body.name,
        version=version,
        state=CampaignState(state),
        trigger_on=TransitionType(body.trigger.on),
        fences=FenceSelector(
            set=selector.set,
            ids=frozenset(FenceId(fence) for fence in selector.ids or ()),
            tags=frozenset(selector.tags or ()),
        ),
        texts={locale: Text(text.title, text.body, text.link) for locale, text in body.texts.items()},
        from_us=None if schedule.from_ is None else to_us(schedule.from_),
        until_us=None if schedule.until is None else to_us(schedule.until),
        priority=body.priority,
        caps=tuple(
            CapRule(rule.limit, rule.window.n, rule.window.unit, rule.mode, Scope(rule.scope), rule.tag)
            for rule in body.caps
        ),
        objective=body.objective,
        data=body.data,
    )


# ------------------------------------------------------------------------------------------------ decisions
def sees_users(caller: Caller) -> bool:
    """Who may know which person a decision is about: the app's own server, and a manager of role owner."""
    return caller.kind == "server" or (caller.kind == "manager" and caller.may("owner"))


@dataclass(frozen=True, slots=True)
class UserNames:
    """How a caller sees users: by id, or under a name that is the same each time and leads nobody back."""

    secret: bytes | None

    def of(self, user: UUID) -> str:
        if self.secret is None:
            return str(user)
        return "p-" + hmac.digest(self.secret, user.bytes, "sha256").hex()[:16]


class DecisionLog(Protocol):
    async def page(self, caller: Caller, query: wire.DecisionQuery) -> wire.DecisionPage:
        """Newest first. A search by user is written to the audit; Forbidden for those who do not see users."""
        ...

    async def get(self, caller: Caller, ident: UUID) -> wire.Decision: ...

    async def names(self, caller: Caller) -> UserNames: ...
