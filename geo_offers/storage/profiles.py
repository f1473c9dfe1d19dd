"""A person's profile: read and changed under the person's lock, with the stage of their journey beside it."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import Forbidden, Invalid, NotFound, Unauthenticated
from geo_offers.instants import from_us, to_us
from geo_offers.people import profile
from geo_offers.people.journey import Journey
from geo_offers.pipeline.callers import Caller
from geo_offers.storage import rows
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql


class PostgresProfiles:
    """`pipeline.profiles.Profiles`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, caller: Caller) -> wire.Profile:
        if caller.confined_to is not None:
            raise Forbidden("a device without proof of its person does not read their profile", "user_proof")
        async with transaction(self._pool, [caller.workspace]) as connection:
            row = await connection.fetchrow(sql("profile_read"), caller.user)
            if row is None:
                raise Unauthenticated("this person's data was erased; enrol again")
            return told(row)

    async def patch(self, caller: Caller, user: UUID, patch: wire.ProfilePatch) -> wire.Profile:
        async with transaction(self._pool, [caller.workspace]) as connection:
            row = await connection.fetchrow(sql("profile_lock"), user)
            if row is None:
                raise NotFound("this person is not here any more")
            journey = await read_journey(connection, caller.workspace)
            faults = profile.faults(patch, journey.attributes, by_person=caller.kind == "device")
            if faults:
                raise Invalid(faults[0].detail, faults[:20])
            held = rows.account(row, rows.consents(row["consents"], user)).attributes
            if patch.attributes and held is None:
                raise Forbidden("a profile is kept only of an adult who consents to `profile`", "consent_required")
            refused = sorted({*row["refused"], *patch.refused})  # for good: it is not asked for again
            dropped = dict.fromkeys(patch.refused)  # what is refused is not kept either
            values = None if held is None else profile.changed(held, {**patch.attributes, **dropped})
            await put(connection, row, journey, values, refused)
            if patch.locale is not msgspec.UNSET or patch.time_zone is not msgspec.UNSET:
                await connection.execute(sql("profile_speak"), user, patch.locale or None, patch.time_zone or None)
            answer = told(await connection.fetchrow(sql("profile_read"), user))
        return answer if caller.kind == "server" or caller.confined_to is None else _own(answer, patch)

    async def named(self, workspace: UUID, user: str) -> UUID:
        async with transaction(self._pool, [workspace]) as connection:
            found: UUID | None = await connection.fetchval(sql("user_named"), workspace, user, _id(user))
        if found is None:
            raise NotFound("there is no such user")
        return found


async def read_journey(connection: Connection, workspace: UUID) -> Journey:
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None:
        raise NotFound("this workspace is gone")
    return Journey(rows.settings(row["settings"], workspace).audience)


async def put(
    connection: Connection, row: Any, journey: Journey, values: dict[str, wire.Value] | None, refused: list[str]
) -> None:
    """Write a locked person's profile with the stage that follows from it; None: no profile is kept of them."""
    column = None if values is None else _column(row, journey, values)
    await connection.execute(sql("profile_put"), row["id"], column, refused)


def _column(row: Any, journey: Journey, values: Mapping[str, wire.Value]) -> bytes:
    kept = profile.known(values, journey.attributes)
    standing = journey.standing(kept, named=row["named"], created_us=to_us(row["created_at"]))
    before = rows.profile(row["profile"], row["id"])
    same = before is not None and before.stage == standing.stage and before.since is not None
    since = before.since if same and before is not None and before.since else from_us(now_us())
    return rows.profile_column(kept, standing.stage, standing.reason, since)


async def restage(connection: Connection, workspace: UUID, users: Collection[UUID]) -> None:
    """Write the stages of these locked persons anew, or wipe their profiles, as their consents and age now say."""
    if not users:
        return
    journey = await read_journey(connection, workspace)
    staged: list[tuple[UUID, bytes | None]] = []
    for row in await connection.fetch(sql("profiles_read"), list(users)):
        held = rows.account(row, rows.consents(row["consents"], row["id"])).attributes
        staged.append((row["id"], None if held is None else _column(row, journey, held)))
    await connection.execute(sql("profiles_put"), *columns(staged, 2))


def told(row: Any, *, whole: bool = False) -> wire.Profile:
    """As the person may see it; a refusal of what was given since then only as part of the whole that is kept."""
    allowed = rows.account(row, rows.consents(row["consents"], row["id"])).attributes is not None
    held = rows.profile(row["profile"], row["id"]) if allowed else None
    known = {} if held is None else msgspec.structs.asdict(held)
    given = () if held is None or whole else held.attributes
    refused = [name for name in row["refused"] if name not in given]
    return wire.Profile(refused=refused, locale=row["locale"], time_zone=row["time_zone"], **known)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _own(answer: wire.Profile, patch: wire.ProfilePatch) -> wire.Profile:
    return wire.Profile(
        attributes={name: value for name, value in answer.attributes.items() if name in patch.attributes},
        refused=[name for name in answer.refused if name in patch.refused],
        locale=answer.locale,
        time_zone=answer.time_zone,
    )
