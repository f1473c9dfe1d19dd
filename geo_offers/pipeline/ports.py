"""What the ping path needs from outside: small Protocols, implemented in `storage` and by doubles in tests."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.offers.budgets import UNCHARGED, Charged
from geo_offers.offers.caps import Use
from geo_offers.offers.context import Interaction, Number
from geo_offers.offers.experiment import Ghost
from geo_offers.people.consent import Consents
from geo_offers.people.counters import Stays
from geo_offers.people.profile import NO_ACCOUNT, Account
from geo_offers.people.rhythm import Rhythm
from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline.catalog import Policies
from geo_offers.pipeline.notifying import Told
from geo_offers.pipeline.spending import Fund, Spending
from geo_offers.places.fences import FenceId
from geo_offers.presence.states import PresenceState


class KnownDevice(msgspec.Struct, frozen=True):
    """What the partition's owner keeps of a device; a device whose phone may not be located has `locate` false."""

    id: UUID
    user: UUID
    workspace: UUID
    partition: int
    replay: bool
    locate: bool
    of_age: bool
    proven: bool
    token_epoch: int
    state: PresenceState
    where: Whereabouts | None = None
    """What the person said of being located; None for the default."""


class LockedUser(msgspec.Struct, frozen=True):
    """A person's row, fresh under the lock of this turn."""

    id: UUID
    workspace: UUID
    consents: Consents
    rhythm: Rhythm
    locale: str
    zone: ZoneInfo | None
    now_us: int
    interactions: Sequence[Interaction] = ()
    account: Account = NO_ACCOUNT
    drawn_as: UUID | None = None


class DeviceRow(msgspec.Struct, frozen=True):
    """How a device can be reached, read in the turn."""

    id: UUID
    replay: bool
    push_lane: str | None
    platform: str = "other"


class KnownVisit(msgspec.Struct, frozen=True):
    """A visit that is committed already, with the marks it carries."""

    dwelt: bool
    confirmed: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Read:
    """What a turn reads after the lock.

    catalogs: by workspace, how new its catalog is. numbers: by workspace, the newest of its events.
    inside: by user, the fences in which their other devices are.
    spending: of the budgets that were asked for; it goes on with what the turn gives.
    stays: by user, their visits of before, by fence; of those alone who are concerned by a campaign that counts them.
    """

    catalogs: Mapping[UUID, int] = field(default_factory=dict)
    uses: Mapping[UUID, Sequence[Use]] = field(default_factory=dict)
    inside: Mapping[UUID, Collection[FenceId]] = field(default_factory=dict)
    known: Mapping[UUID, KnownVisit] = field(default_factory=dict)
    devices: Mapping[UUID, DeviceRow] = field(default_factory=dict)
    spending: Spending = field(default_factory=Spending)
    numbers: Mapping[UUID, Mapping[str, Number]] = field(default_factory=dict)
    stays: Mapping[UUID, Sequence[Stays]] = field(default_factory=dict)


class VisitRow(msgspec.Struct):
    """A visit as this turn leaves it; `opened` false continues one that is there already.

    There is one for nearly every transition, and a struct is made several times faster than a frozen dataclass.
    """

    id: UUID
    workspace: UUID
    user: UUID
    device: UUID
    fence: FenceId
    fence_version: int
    entered_us: int
    opened: bool = False
    dwelt_us: int | None = None
    left_us: int | None = None
    confirmed_us: int | None = None
    label: str | None = None
    confidence: float | None = None
    fixes: int | None = None
    accuracy_m: float | None = None
    enter_decision: UUID | None = None
    dwell_decision: UUID | None = None
    exit_decision: UUID | None = None


class OfferRow(msgspec.Struct, frozen=True):
    """An offer with the reservation it holds; `at_us` is on the decision's clock, the rest on the server's."""

    id: UUID
    at_us: int
    device: UUID
    partition: int
    campaign: UUID
    fence: FenceId
    store: str
    tags: tuple[str, ...]
    visit: UUID | None
    trigger: str
    lane: str
    message: bytes
    created_us: int
    expires_us: int
    categories: tuple[str, ...] = ()
    special: bool = False
    charged: Charged = UNCHARGED


class DecisionRow(msgspec.Struct, frozen=True):
    """passed_over: other campaigns that were concerned, and why each was silent."""

    id: UUID
    workspace: UUID
    user: UUID
    campaign: UUID | None
    at_us: int
    outcome: str
    reason: str | None
    receipt: bytes
    snapshot: bytes
    offer: OfferRow | None
    ghost: Ghost | None = None
    passed_over: Mapping[UUID, str] = {}


class SeenRow(msgspec.Struct, frozen=True):
    """A device after its transitions."""

    device: UUID
    newest_us: int | None
    kept: bytes
    received_us: int


@dataclass(frozen=True, slots=True)
class Writes:
    visits: Sequence[VisitRow]
    decisions: Sequence[DecisionRow]
    seen: Sequence[SeenRow]


class Unforeseen(Exception):
    """A visit or a catalog stands otherwise than was reckoned with; who has not looked has to, in a new transaction."""


class TurnTransaction(Protocol):
    """One open transaction; each call is one statement or a few, in this order."""

    async def lock(self, users: Sequence[UUID]) -> Mapping[UUID, bool]:
        """Locks those of the users that are there; whether each may be located, as the locked row says.

        Raises Unavailable where a partition is not held any more.
        """
        ...

    def people(self, users: Collection[UUID]) -> Mapping[UUID, LockedUser]:
        """The rows of these locked users in full."""
        ...

    async def policies(self, workspace: UUID) -> Policies: ...
    async def read(
        self,
        workspaces: Collection[UUID],
        since_us: Mapping[UUID, int],
        devices: Collection[UUID],
        visits: Collection[UUID],
    ) -> Read:
        """Reservations of the users (each since an instant), these devices and the users' others, visits known.

        And how new the workspaces' catalogs are by now, whoever is asked for.
        """
        ...

    async def budgets(self, funds: Collection[Fund]) -> Spending:
        """Locks these budgets, after all users and until the turn's end, and reads what they have given."""

    async def numbers(self, wanted: Mapping[UUID, Sequence[str]]) -> Mapping[UUID, Mapping[str, Number]]:
        """The newest numbers of these events, by workspace."""

    async def stays(self, since_us: Mapping[UUID, int], visits: Collection[UUID]) -> Mapping[UUID, Sequence[Stays]]:
        """The users' visits, each since an instant, but for these; `Stays.store` is the fence."""
        ...

    async def write(self, writes: Writes, *, looked: bool) -> None:
        """Writes the turn. looked: what is known of all its visits was read, and transitions known were left out.

        Raises Unforeseen where the turn has not looked and a visit is known, or gone.
        """
        ...

    async def tell(self, events: Sequence[Told]) -> None:
        """Tells the company's own systems, with the turn's commit; after its write."""
        ...


class TurnStore(Protocol):
    async def commit(
        self,
        users: Collection[UUID],
        visits: Writes,
        catalogs: Mapping[UUID, int],
        owner: str,
        epochs: Mapping[int, int],
    ) -> bool:
        """A whole transaction at once, for a turn of these users that decides nothing and has not looked.

        False, with nothing written, where one of them is not there or not surely to be located, or `owner` does not
        hold these partitions at these epochs. Raises Unforeseen where a workspace's catalog is newer than reckoned
        with here, or a visit is known, or gone.
        """
        ...

    def open(
        self, workspaces: Collection[UUID], owner: str, epochs: Mapping[int, int]
    ) -> AbstractAsyncContextManager[TurnTransaction]:
        """A transaction that commits only while `owner` holds these partitions at these epochs."""
        ...


class DeviceStore(Protocol):
    async def load(self, workspace: UUID, devices: Collection[UUID]) -> Sequence[KnownDevice]:
        """The devices of the workspace among these; the others are unknown."""
        ...
