"""The decision turn's statements, and what the partition's owner reads to know a device."""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from geo_offers.errors import Unavailable
from geo_offers.instants import from_us, to_us
from geo_offers.offers.caps import Use
from geo_offers.offers.charging import Purse
from geo_offers.offers.context import Number
from geo_offers.offers.decisions import offer_id
from geo_offers.offers.experiment import Ghost
from geo_offers.people.consent import Purpose
from geo_offers.people.counters import Stays
from geo_offers.pipeline.catalog import Policies
from geo_offers.pipeline.notifying import Told
from geo_offers.pipeline.ports import (
    DecisionRow,
    DeviceRow,
    KnownDevice,
    KnownVisit,
    LockedUser,
    OfferRow,
    Read,
    Unforeseen,
    VisitRow,
    Writes,
)
from geo_offers.pipeline.spending import Fund, Spending
from geo_offers.places.fences import FenceId
from geo_offers.storage import rows
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.events import numbers_of
from geo_offers.storage.pool import Connection, Pool, borrowed, listed, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.webhooks import tell

_THERE = "a row of this turn is there already; send the same request again"
_LOCKED = (None, "{}", "{}", None, "{}", "{}", "{}")  # nothing is left to be locked or asked
_NO_COURSE = ("{}",) * 10
_encode = msgspec.json.Encoder().encode
_UNIT = "\x1f"  # joins the tags of a reservation inside one text column of an unnest


class PostgresTurns:
    """`pipeline.ports.TurnStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def commit(
        self,
        users: Collection[UUID],
        visits: Writes,
        catalogs: Mapping[UUID, int],
        owner: str,
        epochs: Mapping[int, int],
    ) -> bool:
        lock = (
            listed(catalogs),
            _array(users),
            *_owned(owner, epochs),
            _array(list(catalogs)),
            _array(list(catalogs.values())),
        )
        async with borrowed(self._pool) as connection:
            return await _write_visits(connection, lock, visits, looked=False)

    @asynccontextmanager
    async def open(
        self, workspaces: Collection[UUID], owner: str, epochs: Mapping[int, int]
    ) -> AsyncIterator["PostgresTurn"]:
        async with transaction(self._pool, workspaces) as connection:
            yield PostgresTurn(connection, _owned(owner, epochs), len(epochs))


class PostgresTurn:
    """`pipeline.ports.TurnTransaction`."""

    def __init__(self, connection: Connection, owned: tuple[str, str, str], partitions: int) -> None:
        self._connection = connection
        self._owned = owned
        self._partitions = partitions
        self._locked: Sequence[Any] = ()

    async def lock(self, users: Sequence[UUID]) -> Mapping[UUID, bool]:
        self._locked = await self._connection.fetch(sql("turn_lock"), _array(users), *self._owned)
        if not self._locked and await self._connection.fetchval(sql("turn_owner"), *self._owned) != self._partitions:
            raise Unavailable("another process owns this user's partition now; send the same request again")
        return {(user := row["id"]): rows.may_locate(row["consents"], user) for row in self._locked}

    def people(self, users: Collection[UUID]) -> Mapping[UUID, LockedUser]:
        wanted = set(users)
        return {row["id"]: locked_user(row) for row in self._locked if row["id"] in wanted}

    async def policies(self, workspace: UUID) -> Policies:
        return await read_policies(self._connection, workspace)

    async def read(
        self,
        workspaces: Collection[UUID],
        since_us: Mapping[UUID, int],
        devices: Collection[UUID],
        visits: Collection[UUID],
    ) -> Read:
        found = await self._connection.fetchrow(
            sql("turn_read"), _array(workspaces), _array(since_us), _array(since_us.values()), _array(visits)
        )
        assert found is not None  # it selects from nothing
        uses: dict[UUID, list[Use]] = {}
        for row in found["uses"]:
            user, use = rows.use(row)
            uses.setdefault(user, []).append(use)
        own = set(devices)
        reached: dict[UUID, DeviceRow] = {}
        inside: dict[UUID, list[FenceId]] = {}
        for device, user, replay, push_lane, reachable, presence, platform in found["devices"]:
            if device in own:
                reached[device] = DeviceRow(device, replay, push_lane if reachable else None, platform)
            else:
                inside.setdefault(user, []).extend(rows.inside(presence, device))
        return Read(
            catalogs=dict(found["catalogs"]),
            uses=uses,
            inside=inside,
            known={visit: KnownVisit(dwelt, confirmed, closed) for visit, dwelt, confirmed, closed in found["known"]},
            devices=reached,
        )

    async def budgets(self, funds: Collection[Fund]) -> Spending:
        spending = Spending()
        for workspace, owner, day, total, today in await self._connection.fetch(
            sql("turn_budgets"),
            [fund.workspace for fund in funds],
            [fund.purse.owner for fund in funds],
            [fund.purse.day for fund in funds],
        ):
            spending.totals[workspace, owner] = total
            spending.days[Fund(workspace, Purse(owner, day))] = today
        return spending

    async def numbers(self, wanted: Mapping[UUID, Sequence[str]]) -> Mapping[UUID, Mapping[str, Number]]:
        return await numbers_of(self._connection, wanted)

    async def stays(self, since_us: Mapping[UUID, int], visits: Collection[UUID]) -> Mapping[UUID, Sequence[Stays]]:
        return await stays_of(self._connection, since_us, visits)

    async def write(self, writes: Writes, *, looked: bool) -> None:
        """One statement; raises where a row did not come to be: SQL keeps silent of conflicts."""
        if not writes.decisions:
            await _write_visits(self._connection, _LOCKED, writes, looked=looked)
            return
        with _judged():
            done = await self._connection.fetchrow(
                sql("turn_write_decisions"),
                looked,
                *_visits(writes),
                *_decisions(writes.decisions),
                *_places(writes.decisions),
                *_passed_over(writes.decisions),
            )
        assert done is not None  # it counts
        offers = sum(decision.offer is not None for decision in writes.decisions)
        if (done["decided"], done["due"]) != (len(writes.decisions), offers):
            raise Unavailable(_THERE)

    async def tell(self, events: Sequence[Told]) -> None:
        await tell(self._connection, events)


async def stays_of(
    connection: Connection, since_us: Mapping[UUID, int], visits: Collection[UUID]
) -> Mapping[UUID, Sequence[Stays]]:
    since = [from_us(instant) for instant in since_us.values()]
    found: dict[UUID, list[Stays]] = {user: [] for user in since_us}
    for row in await connection.fetch(sql("turn_stays"), list(since_us), since, list(visits)):
        found[row["id"]].append(Stays(row["fence"], row["count"], to_us(row["last"]), row["dwelt"] or ()))
    return found


async def _write_visits(connection: Connection, lock: Sequence[str | None], writes: Writes, *, looked: bool) -> bool:
    """Locks, and where all is as it should be writes; whether it was. Raises where visits are not as reckoned with."""
    with _judged():
        done: bool = await connection.fetchval(sql("turn_write"), *lock, looked, *_visits(writes))
    return done


@contextmanager
def _judged() -> Iterator[None]:
    """What a write says of visits that are not as reckoned with."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if error.sqlstate == "GO001":
            raise Unforeseen from error
        if error.sqlstate == "GO002":
            raise Unavailable(_THERE) from error
        raise


# ------------------------------------------------------------------------------------------------ rows to columns
def _visits(writes: Writes) -> tuple[Any, ...]:
    opened = [visit for visit in writes.visits if visit.opened]
    continued = [visit for visit in writes.visits if not visit.opened]
    return (
        _array([visit.id for visit in opened]),
        _array([visit.workspace for visit in opened]),
        _array([visit.user for visit in opened]),
        _array([visit.device for visit in opened]),
        [visit.fence for visit in opened],
        _array([visit.fence_version for visit in opened]),
        _array([visit.entered_us for visit in opened]),
        *_course(opened),
        _array([visit.id for visit in continued]),
        *_course(continued),
        _array([seen.device for seen in writes.seen]),
        _array([seen.newest_us for seen in writes.seen]),
        [seen.kept for seen in writes.seen],
        _array([seen.received_us for seen in writes.seen]),
    )


def _decisions(decisions: Sequence[DecisionRow]) -> tuple[Any, ...]:
    return (
        _array([decision.id for decision in decisions]),
        _array([decision.workspace for decision in decisions]),
        _array([decision.user for decision in decisions]),
        _array([decision.campaign for decision in decisions]),
        _array([decision.at_us for decision in decisions]),
        _array([decision.outcome for decision in decisions]),
        _array([decision.reason for decision in decisions]),
        _array([None if decision.offer is None else decision.offer.id for decision in decisions]),
        [decision.receipt for decision in decisions],
        [decision.snapshot for decision in decisions],
    )


def _places(decisions: Sequence[DecisionRow]) -> tuple[Any, ...]:
    """Offers, and the places of those that were not made for the sake of a holdout."""
    offers = [(decision, decision.offer) for decision in decisions if decision.offer is not None]
    ghosts = [(decision, decision.ghost) for decision in decisions if decision.ghost is not None]
    both: list[tuple[DecisionRow, OfferRow | Ghost]] = [*offers, *ghosts]
    none = [None] * len(ghosts)
    return (
        _array([decision.user for decision, _ in both]),
        _array([*(offer.at_us for _, offer in offers), *(decision.at_us for decision, _ in ghosts)]),
        _array([*(offer.id for _, offer in offers), *(offer_id(decision.id) for decision, _ in ghosts)]),
        _array([decision.workspace for decision, _ in both]),
        _array([place.campaign for _, place in both]),
        [place.store for _, place in both],
        [place.fence for _, place in both],
        [_UNIT.join(sorted(place.tags)) for _, place in both],
        _array([*(offer.device for _, offer in offers), *none]),
        _array([decision.id for decision, _ in both]),
        _array([place.visit for _, place in both]),
        _array([*(offer.trigger for _, offer in offers), *none]),
        _array([*(offer.lane for _, offer in offers), *none]),
        [*(offer.message for _, offer in offers), *none],
        _array([*(offer.created_us for _, offer in offers), *none]),
        _array([*(offer.expires_us for _, offer in offers), *none]),
        _array([*(offer.partition for _, offer in offers), *none]),
        [*(_UNIT.join(offer.categories) for _, offer in offers), *("" for _ in ghosts)],
        _array([place.special for _, place in both]),
        _array([*(_day(offer.charged.campaign) for _, offer in offers), *none]),
        _array([*(_day(offer.charged.store) for _, offer in offers), *none]),
        _array([isinstance(place, Ghost) for _, place in both]),
    )


def _passed_over(decisions: Sequence[DecisionRow]) -> tuple[str, ...]:
    told = [(decision, *other) for decision in decisions for other in decision.passed_over.items()]
    return (
        _array([decision.workspace for decision, _, _ in told]),
        _array([campaign for _, campaign, _ in told]),
        _array([decision.at_us for decision, _, _ in told]),
        _array([reason for _, _, reason in told]),
    )


def _course(visits: Sequence[VisitRow]) -> tuple[str, ...]:
    if not visits:
        return _NO_COURSE
    return (
        _array([visit.confirmed_us for visit in visits]),
        _array([visit.dwelt_us for visit in visits]),
        _array([visit.left_us for visit in visits]),
        _array([visit.enter_decision for visit in visits]),
        _array([visit.dwell_decision for visit in visits]),
        _array([visit.exit_decision for visit in visits]),
        _array([visit.label for visit in visits]),
        _array([visit.confidence for visit in visits]),
        _array([visit.fixes for visit in visits]),
        _array([visit.accuracy_m for visit in visits]),
    )


def _owned(owner: str, epochs: Mapping[int, int]) -> tuple[str, str, str]:
    return _array(list(epochs)), owner, _array(list(epochs.values()))


def _array(values: Iterable[UUID | int | float | str | None]) -> str:
    """As an array literal: what JSON makes of them, in other brackets; asyncpg looks at each value several times.

    Texts: words of ours, without control characters.
    """
    return "{" + _encode(list(values)).decode()[1:-1] + "}"


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def locked_user(row: Any) -> LockedUser:
    """A person of whom it cannot be read what they bought or did is offered nothing."""
    rhythm, zone = rows.rhythm_in_zone(row["rhythm"], row["time_zone"], row["id"])
    interactions = rows.interactions(row["interactions"], row["id"])
    consents = rows.consents(row["consents"], row["id"])
    return LockedUser(
        id=row["id"],
        workspace=row["workspace"],
        consents=consents,
        rhythm=rhythm if interactions is not None else rows.NO_RHYTHM,
        locale=row["locale"],
        zone=zone,
        now_us=to_us(row["now"]),
        interactions=interactions or (),
        account=rows.account(row, consents),
        drawn_as=row["drawn_as"],
    )


class PostgresDevices:
    """`pipeline.ports.DeviceStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, workspace: UUID, devices: Collection[UUID]) -> Sequence[KnownDevice]:
        async with transaction(self._pool, [workspace]) as connection:
            await connection.execute(sql("load_devices_lock"), list(devices))
            found = await connection.fetch(sql("load_devices"), list(devices))
        return [
            KnownDevice(
                id=row["id"],
                user=row["user_id"],
                workspace=row["workspace"],
                partition=row["partition"],
                replay=row["replay"],
                locate=rows.consents(row["consents"], row["user_id"]).granted(Purpose.LOCATE),
                of_age=row["age"] == "adult",
                proven=row["proven"],
                token_epoch=row["token_epoch"],
                state=rows.presence(row["presence"], row["id"]),
                where=rows.whereabouts(row["rhythm"], row["user_id"]),
            )
            for row in found
        ]


class PostgresPartitions:
    """`pipeline.partitions.PartitionStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, owner: str, lease_s: float) -> Mapping[int, int]:
        async with transaction(self._pool, []) as connection:
            return {row["id"]: row["epoch"] for row in await connection.fetch(sql("partitions_claim"), owner, lease_s)}

    async def release(self, owner: str) -> None:
        async with transaction(self._pool, []) as connection:
            await connection.execute(sql("partitions_release"), owner)
