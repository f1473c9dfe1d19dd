"""`POST /v1/me/nearby`: what this person may have here now, because they asked.

Fences, campaigns and events are in memory; of the person one row is read, in one transaction, with the numbers, budgets
and visits that the campaigns around ask for. The position is a value of this call alone: nothing of it is written,
logged or counted. Where the person or a private place hides it, the answer is that of a place where nothing is, and
nothing more was looked at.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

from msgspec import structs

from geo_offers import wire
from geo_offers.errors import Forbidden, Unauthenticated
from geo_offers.instants import from_us
from geo_offers.offers.budgets import Spent
from geo_offers.offers.charging import Purse, charged, charges
from geo_offers.offers.context import Asked, Number
from geo_offers.offers.nearby import LOOKED, TRIGGERS, Found, candidates
from geo_offers.offers.nearby import nearby as chosen
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Arrival, DeviceView, Person, Snapshot
from geo_offers.offers.stores import NO_RULES
from geo_offers.people.consent import Purpose
from geo_offers.people.counters import SPAN_US, Stays
from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline.audience import facts, words
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.ports import LockedUser
from geo_offers.pipeline.requests import Point
from geo_offers.pipeline.seclusion import secluded
from geo_offers.places.fences import FenceId, Geofence, store_key
from geo_offers.presence.states import Transition, TransitionType

NEAR_M: Final = 300.0
DOUBT_M: Final = 200.0  # so much farther at most it is looked for whom does not know quite where they are
_NEEDED: Final = (Purpose.LOCATE, Purpose.OFFERS)
_NOTHING: Final = wire.Nearby(items=[])


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as their row says now. where: what they said of being located, None for the default."""

    user: LockedUser
    device: UUID
    of_age: bool
    where: Whereabouts | None
    platform: str
    catalog_version: int


class Look(Protocol):
    """One open transaction that only reads."""

    async def asker(self, user: UUID, device: UUID) -> Asker | None: ...
    async def policies(self, workspace: UUID) -> Policies: ...
    async def numbers(self, workspace: UUID, names: Sequence[str]) -> Mapping[str, Number]: ...
    async def stays(self, user: UUID, since_us: int) -> Sequence[Stays]:
        """`Stays.store` is the fence."""
        ...

    async def spent(self, workspace: UUID, purses: Collection[Purse]) -> Mapping[str, Spent]: ...


class Looks(Protocol):
    def open(self, workspace: UUID) -> AbstractAsyncContextManager[Look]: ...


async def nearby(looks: Looks, catalog: Catalog, caller: Caller, asked: wire.NearbyAsked) -> wire.Nearby:
    """Answer who asks. Forbidden without the consents, or for who is not of age, as with pings."""
    assert caller.user is not None
    assert caller.device is not None
    async with looks.open(caller.workspace) as look:
        asker = await look.asker(caller.user, caller.device)
        if asker is None:
            raise Unauthenticated("this person's data was erased; enrol again")
        _refuse(asker)
        if _hidden(asker, catalog, asked):
            return _NOTHING
        policies = catalog.policies.get(caller.workspace)
        if policies is None or policies.version < asker.catalog_version:
            policies = catalog.renew(caller.workspace, await look.policies(caller.workspace))
        return _told(await _found(look, catalog, policies, asker, asked), policies)


def _refuse(asker: Asker) -> None:
    if not asker.of_age:
        raise Forbidden("nobody is located who is not known to be of age", "age")
    missing = [purpose for purpose in _NEEDED if not asker.user.consents.granted(purpose)]
    if missing:
        raise Forbidden(f"the person has not agreed to {' and '.join(missing)}", "consent_required")


def _hidden(asker: Asker, catalog: Catalog, asked: wire.NearbyAsked) -> bool:
    """As a ping that is sent with the app open: who asks holds the phone."""
    point = Point(asker.device, None, asked.lat, asked.lon, foreground=True)
    return secluded(point, asker.where, catalog.private(asker.user.workspace), None) is not None


# ---------------------------------------------------------------------------------------------------- looking
async def _found(
    look: Look, catalog: Catalog, policies: Policies, asker: Asker, asked: wire.NearbyAsked
) -> Sequence[Found]:
    user, workspace = asker.user, asker.user.workspace
    around = _around(catalog, policies, workspace, asked)
    if not around:
        return ()
    surroundings = policies.surroundings
    numbers = await look.numbers(workspace, surroundings.numbered) if surroundings.numbered else {}
    arrivals = [_arrival(policies, user, numbers, fence, away_m) for fence, away_m in around]
    near = candidates(policies.campaigns, arrivals, user.now_us)
    stays = await _stays(look, catalog, user, near)
    snapshot = _snapshot(policies, asker, arrivals, stays)
    purses = _purses(snapshot, near)
    if purses:
        snapshot = structs.replace(snapshot, spent=await look.spent(workspace, purses))
    return chosen(snapshot, near)


def _around(
    catalog: Catalog, policies: Policies, workspace: UUID, asked: wire.NearbyAsked
) -> list[tuple[Geofence, float]]:
    """The fences that hold the position or are near, with metres, 0 inside; only those that campaigns are about."""
    index, lat, lon = catalog.index(workspace), asked.lat, asked.lon
    inside = [(fence, 0.0) for fence in index.locate_one(lat, lon)]
    near = index.around(lat, lon, NEAR_M + min(asked.accuracy_m, DOUBT_M))
    outside = [(fence, away_m) for fence, away_m in near if away_m > 0]
    return [
        (fence, away_m)
        for fence, away_m in inside + outside
        if any(policies.concerned.on(trigger, fence) for trigger in TRIGGERS)
    ][:LOOKED]


def _arrival(
    policies: Policies, user: LockedUser, numbers: Mapping[str, Number], fence: Geofence, away_m: float
) -> Arrival:
    """As if the person arrived there now."""
    zone, store = policies.zone_of(fence), fence.store or ""
    known = user.interactions if user.consents.granted(Purpose.PROFILE) else ()
    return Arrival(
        Transition(
            type=TransitionType.ENTER,
            fence=fence.id,
            fence_version=fence.version,
            at_us=user.now_us,
            visit=None,
            entered_us=None,
            accuracy_m=0.0,
            distance_m=away_m,
        ),
        fence,
        zone,
        policies.store_names.get(store),
        policies.store_categories.get(store),
        policies.store_rules.get(store, NO_RULES),
        policies.surroundings.moment(Asked(user.now_us, fence, zone, numbers, known)),
    )


async def _stays(look: Look, catalog: Catalog, user: LockedUser, near: Sequence[Candidate]) -> list[Stays]:
    """The person's visits by store, where a campaign asks for them and the person lets them be known."""
    if user.account.attributes is None or not any(one.campaign.audience.counts for one in near):
        return []
    index = catalog.index(user.workspace)
    return [
        stays if (fence := index.get(FenceId(stays.store))) is None else structs.replace(stays, store=store_key(fence))
        for stays in await look.stays(user.id, user.now_us - SPAN_US)
    ]


def _snapshot(policies: Policies, asker: Asker, arrivals: Sequence[Arrival], stays: Sequence[Stays]) -> Snapshot:
    user = asker.user
    return Snapshot(
        now_us=user.now_us,
        person=Person(
            id=user.id,
            consents=user.consents,
            rhythm=replace(user.rhythm, channels=("inapp",)),  # the one that they ask by
            zone=user.zone or policies.policy.zone,
            locale=user.locale,
            words=words(policies.needs, user.account),
            interactions=user.interactions,
            facts=facts(policies.needs, policies.journey, user.account, asker.platform, stays),
            drawn_as=user.drawn_as,
        ),
        policy=policies.policy,
        device=DeviceView(asker.device),
        arrivals=tuple(arrivals),
        campaigns=policies.campaigns,
        catalog_version=policies.version,
    )


def _purses(snapshot: Snapshot, near: Sequence[Candidate]) -> set[Purse]:
    return {
        purse
        for one in near
        for purse in charges(charged(snapshot, one.campaign, one.arrival), one.campaign.id, one.wanted.store)
    }


# ---------------------------------------------------------------------------------------------------- telling
def _told(found: Sequence[Found], policies: Policies) -> wire.Nearby:
    return wire.Nearby(items=[_item(one, policies) for one in found]) if found else _NOTHING


def _item(found: Found, policies: Policies) -> wire.NearbyOffer:
    fence, said = found.candidate.arrival.fence, found.said
    return wire.NearbyOffer(
        campaign=found.candidate.campaign.id,
        fence=fence.id,
        place=policies.store_names.get(fence.store or "") or fence.name,
        store=fence.store,
        title=said.title,
        body=said.body,
        link=said.link,
        image=said.image,
        data=dict(found.data) or None,
        distance_m=found.distance_m,
        until=from_us(found.until_us),
    )
