"""What previews of campaigns read, in pages: each is a transaction of its own and writes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from geo_offers.instants import from_us, to_us
from geo_offers.offers.caps import USES_SPAN_US, Use
from geo_offers.people.counters import SPAN_US, Stays
from geo_offers.pipeline.rehearsing import Passer, Stage, Wanted
from geo_offers.places.fences import FenceId
from geo_offers.presence.retelling import KeptVisit
from geo_offers.storage import rows
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.events import numbers_of
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql

PAGE: Final = 50


class PostgresArchive:
    """`pipeline.rehearsing.Archive`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stage(self, workspace: UUID, campaign: UUID) -> Stage:
        async with transaction(self._pool, [workspace]) as connection:
            policies = await read_policies(connection, workspace, campaign)
            numbers = await numbers_of(connection, {workspace: policies.surroundings.numbered})
        return Stage(policies, dict(numbers.get(workspace, {})))

    async def passers(self, workspace: UUID, wanted: Wanted, after: UUID) -> tuple[Sequence[Passer], int, UUID]:
        since, until = from_us(wanted.since_us), from_us(wanted.until_us)
        async with transaction(self._pool, [workspace]) as connection:
            places = (wanted.prefix, list(wanted.fences))
            page = await connection.fetch(sql("rehearsal_people"), workspace, after, PAGE, since, until, *places)
            found = [row for row in page if row["here"]]
            users = [row["id"] for row in found]
            visits: dict[UUID, list[KeptVisit]] = {user: [] for user in users}
            uses: dict[UUID, list[Use]] = {user: [] for user in users}
            stays: dict[UUID, list[Stays]] = {user: [] for user in users}
            if users:
                for row in await connection.fetch(sql("rehearsal_visits"), users, since, until):
                    visits[row["user_id"]].append(_visit(row))
                earliest = from_us(wanted.since_us - USES_SPAN_US)
                for row in await connection.fetch(sql("rehearsal_uses"), users, earliest, since):
                    user, use = rows.use(row)
                    uses[user].append(use)
                if wanted.counted:
                    await _count(connection, wanted, stays)
        passers = [_passer(row, visits[row["id"]], uses[row["id"]], stays[row["id"]]) for row in found]
        return passers, len(page), page[-1]["id"] if page else after


async def _count(connection: Connection, wanted: Wanted, stays: dict[UUID, list[Stays]]) -> None:
    """Their counters as they are today."""
    since = [from_us(wanted.until_us - SPAN_US)] * len(stays)
    for row in await connection.fetch(sql("turn_stays"), list(stays), since, []):
        stays[row["id"]].append(Stays(row["fence"], row["count"], to_us(row["last"]), row["dwelt"] or ()))


def _passer(row: Any, visits: Sequence[KeptVisit], uses: Sequence[Use], stays: Sequence[Stays]) -> Passer:
    """A person of whom it cannot be read what they bought or did is offered nothing."""
    rhythm, zone = rows.rhythm_in_zone(row["rhythm"], row["time_zone"], row["id"])
    interactions = rows.interactions(row["interactions"], row["id"])
    consents = rows.consents(row["consents"], row["id"])
    by = {"push": row["push_lane"], "inapp": "inapp"}
    return Passer(
        id=row["id"],
        consents=consents,
        rhythm=rhythm if interactions is not None else rows.NO_RHYTHM,
        locale=row["locale"],
        zone=zone,
        visits=visits,
        lanes=tuple(lane for channel in rhythm.channels if (lane := by[channel]) is not None),
        platform=row["platform"] or "other",
        interactions=interactions or (),
        account=rows.account(row, consents),
        uses=uses,
        stays=stays,
        drawn_as=row["drawn_as"],
    )


def _visit(row: Any) -> KeptVisit:
    return KeptVisit(
        row["id"],
        FenceId(row["fence"]),
        to_us(row["entered_at"]),
        confirmed_us=_maybe_us(row["confirmed_at"]),
        dwelt_us=_maybe_us(row["dwelt_at"]),
        left_us=_maybe_us(row["left_at"]),
        confidence=None if row["fixes"] is None else row["confidence"] or 0.0,
    )


def _maybe_us(instant: datetime | None) -> int | None:
    return None if instant is None else to_us(instant)
