"""What a workspace has set up, held in memory: fences in the index, and the policy values that a decision reads.

Fences change through `Catalog.put` and `Catalog.drop`, at once and in whole; `fences.FenceMemory` sees to their order.
Policies (settings, campaigns, stores) carry the workspace's catalog version; a turn that reads a newer version in its
own transaction loads them again before it decides, so that a paused campaign decides nothing more, whichever process
paused it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import UUID
from zoneinfo import ZoneInfo

from geo_offers.offers.campaigns import Campaign, Campaigns, Concerned
from geo_offers.offers.context import Surroundings
from geo_offers.offers.snapshot import WorkspacePolicy
from geo_offers.offers.stores import StoreRules
from geo_offers.people.journey import DEFAULT, Journey
from geo_offers.pipeline.audience import Needs
from geo_offers.pipeline.credentials import TENANT_LANES
from geo_offers.places.cells import Cover
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.index import GeofenceIndex


@dataclass(frozen=True, slots=True)
class Policies:
    """One workspace at one catalog version; `concerned`, `needs` and `budgeted` follow from it.

    push_lanes: those that it has credentials for.
    """

    version: int
    policy: WorkspacePolicy
    campaigns: Sequence[Campaign]
    store_names: Mapping[str, str] = field(default_factory=dict)
    store_zones: Mapping[str, ZoneInfo] = field(default_factory=dict)
    store_categories: Mapping[str, str] = field(default_factory=dict)
    store_rules: Mapping[str, StoreRules] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)
    journey: Journey = DEFAULT
    push_lanes: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()  # types of events that the company's own systems want
    concerned: Concerned = field(init=False)
    needs: Needs = field(init=False)
    budgeted: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "campaigns", Campaigns(self.campaigns))
        object.__setattr__(self, "concerned", Concerned.by(self.campaigns))
        object.__setattr__(self, "needs", Needs.by(self.campaigns))
        limits = [campaign.budget for campaign in self.campaigns] + [rule.budget for rule in self.store_rules.values()]
        object.__setattr__(self, "budgeted", any(limit is not None for limit in limits))

    @property
    def silent(self) -> bool:
        """Whether nothing of a transition concerns anybody: there is no campaign, and no system to be told."""
        return not self.campaigns and not self.told

    def zone_of(self, fence: Geofence) -> ZoneInfo:
        return self.store_zones.get(fence.store or "", self.policy.zone)

    def signs_in(self, lane: str) -> bool:
        """Whether the workspace can use a lane: its own need its credentials."""
        return lane not in TENANT_LANES or lane in self.push_lanes


class Catalog:
    """All workspaces' fences and policies, in the memory of their partitions' owner."""

    def __init__(self) -> None:
        self._indexes: dict[UUID, GeofenceIndex] = {}
        self._private: dict[UUID, GeofenceIndex] = {}
        self.policies: dict[UUID, Policies] = {}
        self._empty = GeofenceIndex()

    def index(self, workspace: UUID) -> GeofenceIndex:
        """The workspace's fences; an empty index where it has none."""
        return self._indexes.get(workspace, self._empty)

    def private(self, workspace: UUID) -> GeofenceIndex | None:
        """The workspace's private places; None where it has none."""
        return self._private.get(workspace)

    def hide(self, workspace: UUID, place: Geofence, cover: Cover | None = None) -> None:
        """Installs a private place."""
        self._private.setdefault(workspace, GeofenceIndex()).put(place, cover)

    def show(self, workspace: UUID, place: FenceId) -> None:
        """A private place is none any more."""
        index = self._private.get(workspace)
        if index is not None and index.remove(place) and not len(index):
            del self._private[workspace]

    def renew(self, workspace: UUID, policies: Policies) -> Policies:
        """Holds the newer of these policies and those that are held, and answers with them.

        Of two turns that read at once, the slower may have read first.
        """
        held = self.policies.get(workspace)
        if held is None or held.version < policies.version:
            held = self.policies[workspace] = policies
        return held

    def put(
        self, workspace: UUID, fences: Iterable[Geofence], covers: Mapping[FenceId, Cover] = MappingProxyType({})
    ) -> None:
        """Installs new and changed fences; a cover that is not given is computed here."""
        index = self._indexes.get(workspace)
        if index is None:
            index = self._indexes[workspace] = GeofenceIndex()
        for fence in fences:
            index.put(fence, covers.get(fence.id))

    def install(self, workspace: UUID, index: GeofenceIndex) -> None:
        """All fences of a workspace at once, at the start."""
        self._indexes[workspace] = index

    def drop(self, workspace: UUID, fences: Iterable[FenceId]) -> None:
        index = self.index(workspace)
        for fence in fences:
            index.remove(fence)

    def size(self) -> int:
        return sum(len(index) for index in self._indexes.values())
