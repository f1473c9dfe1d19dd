"""A snapshot as it is stored beside its receipt: what `decide` read, so that the decision can be made again.

Left out is what it does not look at: where the fences lie, and campaigns that were no candidates; what is known of the
person, where no candidate asks for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import structs

from geo_offers.offers.budgets import Spent
from geo_offers.offers.campaigns import Campaign, Campaigns, candidates
from geo_offers.offers.caps import Past, Use
from geo_offers.offers.context import ORDINARY, Moment
from geo_offers.offers.packing import packed, unpacked
from geo_offers.offers.ranking import SCORED, found, shortlisted
from geo_offers.offers.snapshot import Arrival, DeviceView, Person, Snapshot, WorkspacePolicy
from geo_offers.offers.stores import NO_RULES, StoreRules
from geo_offers.people.segments import NOTHING_KNOWN
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition

P = TypeVar("P")
C = TypeVar("C")

POLICIES_KEPT: Final = 1_024
_UNPLACED: Final = Circle(0.0, 0.0, 1.0)
_UNASKED: Final = Detect("raw")


class _Fence(msgspec.Struct, frozen=True, omit_defaults=True):
    id: FenceId
    version: int
    name: str
    store: str | None = None
    tags: tuple[str, ...] = ()


class _Arrival(msgspec.Struct, frozen=True, omit_defaults=True):
    transition: Transition
    fence: _Fence
    zone: ZoneInfo
    store_name: str | None = None
    category: str | None = None
    rules: StoreRules = NO_RULES
    moment: Moment = ORDINARY


class _Kept(msgspec.Struct, Generic[P, C], frozen=True):
    """Policy and campaigns are read as such, and written by what they were written as before."""

    now_us: int
    person: Person
    policy: P
    device: DeviceView
    uses: Sequence[Use]
    others_inside: AbstractSet[FenceId]
    catalog_version: int
    tz_version: str
    holidays_version: str
    stale_after_s: float
    spent: Mapping[str, Spent]
    arrivals: Sequence[_Arrival]
    campaigns: Sequence[C]


def _written(value: Any) -> str:
    if isinstance(value, ZoneInfo):
        return value.key
    raise NotImplementedError(type(value).__name__)


def _read(kind: type, told: Any) -> Any:
    if kind is ZoneInfo:
        return ZoneInfo(told)
    raise NotImplementedError(kind.__name__)


_encode: Final = msgspec.json.Encoder(enc_hook=_written).encode
_decode: Final = msgspec.json.Decoder(_Kept[WorkspacePolicy, Campaign], dec_hook=_read).decode


def kept(snapshot: Snapshot) -> bytes:
    """Write down what a decision was made of. It has at least one candidate."""
    campaigns = _asked(snapshot)
    return packed(
        _encode(
            _Kept(
                snapshot.now_us,
                _asked_for(snapshot.person, campaigns.values()),
                _policy(snapshot.policy),
                snapshot.device,
                snapshot.uses,
                snapshot.others_inside,
                snapshot.catalog_version,
                snapshot.tz_version,
                snapshot.holidays_version,
                snapshot.stale_after_s,
                snapshot.spent,
                [_arrival(arrival) for arrival in snapshot.arrivals],
                _campaigns(snapshot.campaigns, campaigns),
            )
        )
    )


def again(column: bytes) -> Snapshot:
    """Read what `kept` wrote; raises ValueError where this release cannot, KeyError for a zone that is gone."""
    read = _decode(unpacked(column))
    return Snapshot(
        now_us=read.now_us,
        person=read.person,
        policy=read.policy,
        device=read.device,
        arrivals=tuple(_arrived(arrival) for arrival in read.arrivals),
        campaigns=tuple(read.campaigns),
        uses=Past(read.uses),
        others_inside=read.others_inside,
        catalog_version=read.catalog_version,
        tz_version=read.tz_version,
        holidays_version=read.holidays_version,
        stale_after_s=read.stale_after_s,
        spent=read.spent,
    )


def _asked(snapshot: Snapshot) -> Mapping[int, Campaign]:
    """The campaigns of all candidates, by their numbers; of too many candidates those that were asked."""
    drawn = [
        campaign
        for arrival in snapshot.arrivals
        for campaign in candidates(snapshot.campaigns, arrival.transition, arrival.fence)
    ]
    if len(drawn) > SCORED:
        drawn = [candidate.campaign for candidate in shortlisted(snapshot, found(snapshot))]
    return {campaign.id.int: campaign for campaign in drawn}


@lru_cache(maxsize=POLICIES_KEPT)
def _policy(policy: WorkspacePolicy) -> msgspec.Raw:
    return msgspec.Raw(_encode(policy))


def _campaigns(of: Sequence[Campaign], asked: Mapping[int, Campaign]) -> Sequence[msgspec.Raw]:
    """Write campaigns, each once a version."""
    written = of.written if isinstance(of, Campaigns) else {}
    for number, campaign in asked.items():
        if number not in written:
            written[number] = msgspec.Raw(_encode(campaign))
    return [written[number] for number in asked]


def _asked_for(person: Person, campaigns: Iterable[Campaign]) -> Person:
    if person.facts is NOTHING_KNOWN:
        return person
    asks = any(campaign.audience.clauses or campaign.ask is not None for campaign in campaigns)
    return person if asks else structs.replace(person, facts=NOTHING_KNOWN)


def _arrival(arrival: Arrival) -> _Arrival:
    fence = arrival.fence
    return _Arrival(
        arrival.transition,
        _Fence(fence.id, fence.version, fence.name, fence.store, fence.tags),
        arrival.zone,
        arrival.store_name,
        arrival.category,
        arrival.rules,
        arrival.moment,
    )


def _arrived(read: _Arrival) -> Arrival:
    fence = read.fence
    return Arrival(
        read.transition,
        Geofence(fence.id, fence.version, fence.name, _UNPLACED, fence.store, fence.tags, active=True, detect=_UNASKED),
        read.zone,
        read.store_name,
        read.category,
        read.rules,
        read.moment,
    )
