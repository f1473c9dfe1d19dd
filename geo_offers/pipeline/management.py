"""The managers' side: ports to what a workspace sets up and to what was decided, and the rules that hold at any edge.

A change of settings, campaigns or stores raises the workspace's catalog version in its own transaction. A change of
geofences goes through `fences.FenceMemory.change`.
"""

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, Protocol, TypeVar
from uuid import UUID

from geo_offers import wire
from geo_offers.errors import Conflict, Forbidden
from geo_offers.instants import to_us
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.context import When
from geo_offers.people.audience import NO_AUDIENCES, Audiences
from geo_offers.people.quiet import quiet_rule
from geo_offers.pipeline import choice
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.wording import fields_of, texts_of
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import Box
from geo_offers.places.importing.geojson import FenceDraft
from geo_offers.places.importing.rows import Manner, ReadRow
from geo_offers.presence.states import TransitionType

T = TypeVar("T")

SET_FENCES: Final = 10_000
WORKSPACE_FENCES: Final = 1_000_000
STORES: Final = 100_000
SEGMENTS: Final = 200
WORKSPACE_PLACES: Final = 40_000_000  # of the index; a million fences of 300 m take 34 million
CHANGE_PLACES: Final = 5_000_000  # 10,000 fences of 1.4 km, or of 25 km by larger cells, or 700 of 100 km
SPOT_FENCES: Final = 500  # filed under one place of the index: what a fix there may cost everybody
CAMPAIGNS: Final = 1_000


# ------------------------------------------------------------------------------------------------ workspace, stores
class Workspaces(Protocol):
    async def read(self, workspace: UUID) -> wire.WorkspaceState: ...

    async def change(self, caller: Caller, patch: wire.WorkspacePatch) -> wire.WorkspaceState: ...

    async def audit(self, workspace: UUID, cursor: str | None, limit: int) -> wire.DeedPage:
        """Newest first."""
        ...


class Stores(Protocol):
    async def put(self, caller: Caller, store: str, body: wire.StoreBody) -> tuple[wire.Store, bool]:
        """The store, and whether it is new. Conflict past the workspace's bound."""
        ...

    async def pause(self, caller: Caller, store: str, *, paused: bool) -> wire.Store:
        """Offers nothing there, or does again, from the next decision and the next send on."""
        ...

    async def get(self, workspace: UUID, store: str) -> wire.Store: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.StorePage: ...

    async def delete(self, caller: Caller, store: str) -> None: ...


class Segments(Protocol):
    async def put(self, caller: Caller, segment: str, body: wire.SegmentBody) -> bool:
        """True where the segment is new. Invalid where its rule does not stand; Conflict past the workspace's bound."""
        ...

    async def get(self, workspace: UUID, segment: str) -> wire.Segment: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.SegmentPage: ...

    async def delete(self, caller: Caller, segment: str) -> None:
        """Conflict where another segment or a campaign that has not ended names it."""
        ...

    async def check(self, workspace: UUID, body: wire.CampaignBody) -> None:
        """Invalid where the audience of a campaign does not stand, or what it asks for."""
        ...


# ------------------------------------------------------------------------------------------------ geofences
@dataclass(frozen=True, slots=True)
class SetChange(Generic[T]):
    """What a change of a set answers, and what memory has to follow."""

    answer: T
    put: Sequence[Geofence] = ()
    dropped: Sequence[FenceId] = ()


class Admit(Protocol):
    """Asked by a writer before the transaction that writes."""

    async def __call__(self, coming: Sequence[Geofence], going: Collection[FenceId] = ()) -> None:
        """Conflict where the workspace or one of its places would be too full."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A geofence as it was written."""

    state: wire.GeofenceState
    created: bool


class Geofences(Protocol):
    async def put(
        self, workspace: UUID, set_id: str, draft: FenceDraft, author: str, admit: Admit
    ) -> SetChange[Placed]:
        """Insert or replace. Conflict where the set is full. author: the key that writes, which may not approve."""
        ...

    async def approve(
        self, caller: Caller, set_id: str, external_id: str, version: int, admit: Admit
    ) -> SetChange[wire.GeofenceState]:
        """Let a fence be that lies over private places; two may, and not its author (Forbidden). A repeat is none.

        Conflict where it lies over none, and where `version`, which the approver has seen, is not its newest.
        """
        ...

    async def get(self, workspace: UUID, set_id: str, external_id: str) -> wire.GeofenceState: ...

    async def page(
        self, workspace: UUID, set_id: str | None, box: Box | None, cursor: str | None, limit: int
    ) -> wire.GeofencePage:
        """By set and external id; of one set or all, and of those whose box meets `box` (west may be > east)."""
        ...

    async def delete(self, workspace: UUID, set_id: str, external_id: str, author: str) -> SetChange[None]: ...

    async def versions(self, workspace: UUID, set_id: str) -> Mapping[FenceId, int]:
        """All that the set holds, after any commit to it that is still under way."""
        ...

    async def read(self, workspace: UUID, set_id: str, fences: Sequence[FenceId]) -> Sequence[Geofence]:
        """Those of these that are there."""
        ...


# ------------------------------------------------------------------------------------------------ many at once
class Reader(Protocol):
    """Reads files that may be large, or made to cost much, where that harms nobody."""

    async def read(self, data: bytes, manner: Manner) -> Sequence[ReadRow]:
        """Read JSON text as `rows.read_rows` does.

        Invalid also where reading takes more than a file may take; its fault points to where it was broken off.
        Unavailable where too many wait to be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The set of an import, and the JSON of its `wire.Import`: a row for each feature, so made in pieces."""

    set_id: str
    body: bytes


class Imports(Protocol):
    async def create(self, workspace: UUID, ident: UUID, set_id: str, rows: Sequence[ReadRow]) -> str:
        """Keep the rows and what they would change; one that is there under this id stays as it is.

        Answers with the import's set.
        """
        ...

    async def set_of(self, workspace: UUID, ident: UUID) -> str: ...

    async def get(self, workspace: UUID, ident: UUID) -> ImportReport: ...

    async def apply(self, workspace: UUID, ident: UUID, author: str, admit: Admit) -> SetChange[ImportReport]:
        """Write all rows that are not refused. Changes nothing where it is applied; Conflict where it is undone."""
        ...

    async def undo(self, workspace: UUID, ident: UUID, author: str, admit: Admit) -> SetChange[ImportReport]:
        """Put back what was there before, save fences that were changed since.

        Changes nothing where it is undone; Conflict where it is not applied.
        """
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
    # what is reached already stays: the answer to a move may have been lost, and the move is made again
    (CampaignState.SUBMITTED, "submit"): CampaignState.SUBMITTED,
    (CampaignState.APPROVED, "submit"): CampaignState.APPROVED,
    (CampaignState.APPROVED, "approve"): CampaignState.APPROVED,
    (CampaignState.PAUSED, "pause"): CampaignState.PAUSED,
    (CampaignState.APPROVED, "resume"): CampaignState.APPROVED,
    (CampaignState.ENDED, "end"): CampaignState.ENDED,
}


def moved(state: CampaignState, move: Move) -> CampaignState:
    """The state after a move, the same where it was made before. Conflict where the state has no such move."""
    after = _NEXT.get((state, move))
    if after is None:
        raise Conflict(f"a campaign that is {state} cannot take {move!r}")
    return after


def refuse_author(caller: Caller, author: str) -> None:
    """Forbidden for whoever wrote the campaign last: agreeing is for others, whatever their role."""
    if caller.id == author:
        raise Forbidden("whoever wrote a campaign last does not approve it; ask another approver", "own_campaign")


def refuse_unseen(seen: int | None, version: int) -> None:
    """Conflict for an approval of what is there no more. seen: None for whatever is there."""
    if seen not in {None, version}:
        raise Conflict(f"this is version {version} now; look at it before you approve it")


class Campaigns(Protocol):
    async def create(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        """A draft; one that is there under this id is answered as it is. Conflict past the workspace's bound."""
        ...

    async def replace(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        """A new version, which is a draft again. Conflict where the campaign has ended.

        Invalid where it would change a test that runs.
        """
        ...

    async def move(self, caller: Caller, ident: UUID, move: Move, seen: int | None = None) -> wire.Campaign:
        """As `moved` says. seen: the version that an approver has looked at; Conflict where it is not the newest.

        Submitting weighs the campaign; what nobody has to agree to is approved at once. An approval is one person's
        word: the campaign is approved with the last that it needs. Forbidden for the author's own.
        """
        ...

    async def get(self, workspace: UUID, ident: UUID) -> wire.Campaign: ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.CampaignPage:
        """Oldest first."""
        ...


def campaign_of(
    ident: UUID, version: int, state: str, body: wire.CampaignBody, audiences: Audiences = NO_AUDIENCES
) -> Campaign:
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
        texts=texts_of(body.texts),
        from_us=None if schedule.from_ is None else to_us(schedule.from_),
        until_us=None if schedule.until is None else to_us(schedule.until),
        priority=body.priority,
        caps=choice.cap_rules(body.caps),
        objective=body.objective,
        data=body.data,
        category=body.category,
        special=body.special,
        fields=fields_of(body.fields),
        worth=choice.worth(body),
        experiment=choice.experiment(body),
        budget=choice.budget(body.budget),
        hours=tuple(quiet_rule(hours.days, hours.start, hours.end) for hours in schedule.hours),
        when=When(tuple(body.when.events), tuple(body.when.unless)),
        audience=audiences.of(body.audience),
        ask=audiences.ask(body.ask),
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

    async def replay(self, caller: Caller, ident: UUID) -> wire.Replayed:
        """Make a decision again; written to the audit.

        Forbidden for those who do not see users. Gone where what it was made of is not kept any more: it was erased,
        or is too old; or there never was such a decision, which is not told apart. Conflict where it cannot be read.
        """
        ...

    async def outcomes(self, workspace: UUID, campaign: UUID, since: datetime, until: datetime) -> wire.Outcomes:
        """Of the decisions about the campaign at `since` <= at < `until`: how many offers, how many of each silence."""
        ...

    async def names(self, caller: Caller) -> UserNames: ...
