"""The log-in's one transaction: `pipeline/login.py` says what moves and what does not."""

from typing import Any
from uuid import UUID

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import Conflict, Unauthenticated, Unavailable
from geo_offers.people.consent import Purpose
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.login import Moved, named_user, newest
from geo_offers.pipeline.partitions import partition_of
from geo_offers.pipeline.people import Endings
from geo_offers.storage import consents, enrolment, interactions, ledger, profiles, rows
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.vault import Safe


class PostgresLogIns:
    """`pipeline.login.LogIns`."""

    def __init__(self, pool: Pool, safe: Safe, ended: Endings) -> None:
        self._pool = pool
        self._safe = safe
        self._ended = ended

    async def log_in(self, caller: Caller, said: wire.LogIn) -> Moved:
        moved = await self._moved(caller, said)
        self._ended(caller.workspace, moved.ended)
        return moved

    async def _moved(self, caller: Caller, said: wire.LogIn) -> Moved:
        """The named person is made first where they are new, as an enrolment does, and then both are locked by id."""
        assert caller.user is not None
        assert caller.device is not None
        async with transaction(self._pool, [caller.workspace]) as connection:
            proven = await enrolment.prove(connection, caller, said, self._safe)
            target = named_user(caller.workspace, said.user)
            new = target != caller.user and await _add(connection, caller.workspace, target, said.user)
            locked = {row["id"]: row for row in await connection.fetch(sql("log_in_lock"), [caller.user, target])}
            ours = locked.get(caller.user)
            if ours is None:
                raise Unauthenticated("this person's data was erased; enrol again")
            if ours["external_id"] not in (None, said.user):
                raise Conflict("this device is another person's; erase it and enrol it anew for this one")
            if target not in locked:
                raise Unavailable("this person is being erased; send the same request again")
            if target == caller.user:
                epoch = await connection.fetchval(sql("log_in_prove"), caller.device, proven)
                return Moved(target, epoch, merged=False)
            return await _move(connection, caller, ours, locked[target], new=new, proven=proven)


async def _add(connection: Connection, workspace: UUID, user: UUID, name: str) -> bool:
    """Whether the person is new."""
    value = (user, workspace, partition_of(user), name, "adult", enrolment.UNSAID_LOCALE, None)
    return bool(await connection.fetch(sql("users_add"), *columns([value], 7)))


async def _move(connection: Connection, caller: Caller, ours: Any, theirs: Any, *, new: bool, proven: bool) -> Moved:
    """Everything that moves from the unnamed person to the named one, both locked."""
    before, after = ours["id"], theirs["id"]
    await connection.execute(sql("devices_of_user_lock"), before)
    age = ours["age"] if new or ours["age"] == "minor" else theirs["age"]
    said, changed = newest(rows.consents(theirs["consents"], after), rows.consents(ours["consents"], before))
    merged = age == "adult" and said.granted(Purpose.PROFILE)
    trusted = proven or new
    rhythm = rows.rhythm_merged(theirs["rhythm"], ours["rhythm"], after, trusted=trusted)
    await connection.execute(sql("log_in_person"), before, after, new, age, rhythm)
    await interactions.merge(connection, theirs, ours, whole=merged)
    epoch = await connection.fetchval(sql("log_in_device"), caller.device, after, proven)
    await connection.execute(sql("log_in_offers"), before, after, partition_of(after))
    await connection.execute(sql("log_in_history" if merged else "log_in_no_history"), before, after)
    refused = {purpose for purpose in (Purpose.LOCATE, Purpose.OFFERS) if not said.granted(purpose)}
    ended = [*await consents.forget(connection, after, refused, said, "no consent at the log-in")]
    at_us = now_us()
    told = [
        ledger.Said(after, purpose, one.granted, one.text_version, "login", at_us)
        for purpose, one in ((purpose, said.said[purpose]) for purpose in changed)
    ]
    held = {after: rows.consents(theirs["consents"], after)}
    ended += (await consents.say(connection, caller.workspace, held, told, "no consent at the log-in"))[1]
    await _profile(connection, caller.workspace, ours, theirs, merged=merged)
    await connection.execute(sql("log_in_end"), before, after, caller.workspace)
    await connection.execute(sql("consent_salt_destroy"), before)
    return Moved(after, epoch, merged, bool(refused), ended)


async def _profile(connection: Connection, workspace: UUID, ours: Any, theirs: Any, *, merged: bool) -> None:
    """The named person's own values hold; those of before fill what they have not said. What either refused goes."""
    user = theirs["id"]
    row = await connection.fetchrow(sql("profile_lock"), user)
    assert row is not None  # locked
    journey = await profiles.read_journey(connection, workspace)
    held = rows.account(row, rows.consents(row["consents"], user)).attributes
    brought = rows.profile(ours["profile"], ours["id"]) if merged else None
    given = brought.attributes if brought else {}
    filling = {name: value for name, value in given.items() if name not in theirs["refused"]}
    dropped = set(ours["refused"]) - given.keys()
    own = {name: value for name, value in (held or {}).items() if name not in dropped}
    values = None if held is None else {**filling, **own}
    await profiles.put(connection, row, journey, values, list(row["refused"]))
