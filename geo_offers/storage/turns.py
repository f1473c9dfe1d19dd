"""The decision turn's statements, and what the partition's owner reads to know a device."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from geo_offers.errors import Unavailable
from geo_offers.instants import from_us, to_us
from geo_offers.offers.caps import Use
from geo_offers.people.consent import Purpose
from geo_offers.pipeline.catalog import Policies
from geo_offers.pipeline.ports import (
    DecisionRow,
    DeviceRow,
    KnownDevice,
    KnownVisit,
    LockedUser,
    Read,
    SeenRow,
    VisitRow,
    Writes,
)
from geo_offers.places.fences import FenceId
from geo_offers.presence import machine
from geo_offers.storage import rows
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

_UNIT = "\x1f"  # joins the tags of a reservation inside one text column of an unnest


class PostgresTurns:
    """`pipeline.ports.TurnStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def open(
        self, workspaces: Collection[UUID], owner: str, epochs: Mapping[int, int]
    ) -> AsyncIterator["PostgresTurn"]:
        async with transaction(self._pool, workspaces) as connection:
            held = await connection.fetch(sql("turn_owner"), list(epochs), owner, list(epochs.values()))
            if len(held) != len(epochs):
                raise Unavailable("another process owns this user's partition now; send the same request again")
            yield PostgresTurn(connection)


class PostgresTurn:
    """`pipeline.ports.TurnTransaction`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, users: Sequence[UUID]) -> Mapping[UUID, LockedUser]:
        return {row["id"]: _locked(row) for row in await self._connection.fetch(sql("turn_lock"), users)}

    async def catalog_versions(self, workspaces: Collection[UUID]) -> Mapping[UUID, int]:
        found = await self._connection.fetch(sql("turn_catalog"), list(workspaces))
        return {row["id"]: row["catalog_version"] for row in found}

    async def policies(self, workspace: UUID) -> Policies:
        return await read_policies(self._connection, workspace)

    async def read(self, since_us: Mapping[UUID, int], visits: Sequence[UUID], devices: Sequence[UUID]) -> Read:
        fetch, users = self._connection.fetch, list(since_us)
        uses: dict[UUID, list[Use]] = {}
        for row in await fetch(sql("turn_uses"), users, [from_us(since) for since in since_us.values()]):
            uses.setdefault(row["id"], []).append(
                Use(
                    to_us(row["at"]),
                    row["campaign"],
                    row["store"],
                    FenceId(row["fence"]),
                    frozenset(row["tags"]),
                    row["visit"],
                )
            )
        open_visits: dict[UUID, list[tuple[UUID, FenceId]]] = {}
        for row in await fetch(sql("turn_open_visits"), users):
            open_visits.setdefault(row["user_id"], []).append((row["device"], FenceId(row["fence"])))
        known = await fetch(sql("turn_known_visits"), visits)
        found = await fetch(sql("turn_devices"), devices)
        return Read(
            uses=uses,
            open_visits=open_visits,
            known={row["id"]: KnownVisit(row["dwelt"], row["closed"]) for row in known},
            devices={
                row["id"]: DeviceRow(row["id"], row["replay"], row["push_lane"] if row["reachable"] else None)
                for row in found
            },
        )

    async def write(self, writes: Writes) -> None:
        """All rows of the turn in one statement; raises where one did not come to be: SQL keeps silent of conflicts."""
        opened = [visit for visit in writes.visits if visit.opened]
        continued = [visit for visit in writes.visits if not visit.opened]
        offers = [decision.offer for decision in writes.decisions if decision.offer is not None]
        arguments = (
            columns([_opened(visit) for visit in opened], 13)
            + columns([_continued(visit) for visit in continued], 5)
            + columns([_decided(decision) for decision in writes.decisions], 9)
            + columns([_offered(decision) for decision in writes.decisions if decision.offer is not None], 17)
            + columns([_seen(seen) for seen in writes.seen], 4)
        )
        done = await self._connection.fetchrow(sql("turn_write"), *arguments)
        wanted = (len(opened), len(writes.decisions), len(offers), len(writes.seen))
        if done is None or (done["opened"], done["decided"], done["due"], done["seen"]) != wanted:
            raise Unavailable("a row of this turn is there already; send the same request again")


def _locked(row: Any) -> LockedUser:
    rhythm, zone = rows.rhythm_in_zone(row["rhythm"], row["time_zone"], row["id"])
    return LockedUser(
        id=row["id"],
        workspace=row["workspace"],
        consents=rows.consents(row["consents"], row["id"]),
        rhythm=rhythm,
        muted=frozenset(row["muted"]),
        locale=row["locale"],
        zone=zone,
        now_us=to_us(row["now"]),
    )


def _instant(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _opened(visit: VisitRow) -> tuple[Any, ...]:
    return (
        visit.id,
        visit.workspace,
        visit.user,
        visit.device,
        visit.fence,
        visit.fence_version,
        from_us(visit.entered_us),
        _instant(visit.dwelt_us),
        _instant(visit.left_us),
        None if visit.left_us is None else "exit",
        visit.enter_decision,
        visit.dwell_decision,
        visit.exit_decision,
    )


def _continued(visit: VisitRow) -> tuple[Any, ...]:
    return (
        visit.id,
        _instant(visit.dwelt_us),
        _instant(visit.left_us),
        visit.dwell_decision,
        visit.exit_decision,
    )


def _decided(decision: DecisionRow) -> tuple[Any, ...]:
    return (
        decision.id,
        decision.workspace,
        decision.user,
        decision.campaign,
        from_us(decision.at_us),
        decision.outcome,
        decision.reason,
        None if decision.offer is None else decision.offer.id,
        decision.receipt,
    )


def _offered(decision: DecisionRow) -> tuple[Any, ...]:
    offer = decision.offer
    assert offer is not None
    return (
        decision.user,
        from_us(offer.at_us),
        offer.id,
        decision.workspace,
        offer.campaign,
        offer.store,
        offer.fence,
        _UNIT.join(offer.tags),
        offer.device,
        decision.id,
        offer.visit,
        offer.trigger,
        offer.lane,
        offer.message,
        from_us(offer.created_us),
        from_us(offer.expires_us),
        offer.partition,
    )


def _seen(seen: SeenRow) -> tuple[Any, ...]:
    newest = seen.state.newest_us
    return (seen.device, _instant(newest), machine.dump(seen.state), from_us(seen.received_us))


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
