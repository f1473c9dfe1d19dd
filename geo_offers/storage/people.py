"""People and their devices: each call is one transaction that locks the user first, then devices, then the outbox."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import NotFound, Unauthenticated
from geo_offers.instants import from_us
from geo_offers.people.consent import Consent, Purpose
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.consents import of_change, refuse_unknown
from geo_offers.pipeline.people import Concerns, Ended, Endings, Exported, Issued, Manner, News, Standing, Surface
from geo_offers.storage import consents, cursors, enrolment, export, ledger, profiles, rows, scope
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.receipts import Seen, seen
from geo_offers.storage.vault import Safe

_NEWEST = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))
MAX_PAGE: Final = 1_000


class PostgresPeople:
    """`pipeline.people.People`."""

    def __init__(self, pool: Pool, safe: Safe, ended: Endings) -> None:
        self._pool = pool
        self._safe = safe
        self._ended = ended

    async def enrol(
        self,
        caller: Caller,
        enrolments: Sequence[wire.Enrolment],
        manner: Manner,
        concerns: Concerns,
    ) -> Sequence[Issued]:
        async with transaction(self._pool, [caller.workspace]) as connection:
            return await enrolment.enrol(connection, caller, enrolments, manner, concerns, safe=self._safe)

    async def rotate(self, refresh_token: str, concerns: Concerns) -> tuple[UUID, Issued] | None:
        return await enrolment.rotate(self._pool, refresh_token, concerns)

    # ------------------------------------------------------------------------------------------ consent and rhythm
    async def consents(self, caller: Caller) -> Sequence[wire.ConsentState]:
        async with transaction(self._pool, [caller.workspace]) as connection:
            return rows.consent_states(rows.consents((await _user(connection, caller, "user_read"))["consents"]))

    async def set_consent(
        self, caller: Caller, purpose: wire.PurposeName, change: wire.ConsentChange, surface: Surface
    ) -> wire.ConsentState:
        """A repeat of what is in force already answers the same and adds no row."""
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")
            held, asked = rows.consents(user["consents"]), Purpose(purpose)
            before = held.said.get(asked)
            if before and (before.granted, before.text_version) == (change.granted, change.text_version):
                return _state(asked, before)
            if change.granted:
                settings = await enrolment.rules(connection, caller.workspace)
                refuse_unknown([of_change(purpose, change)], settings.consent_texts)
                consents.refuse_age(user["age"], [asked])
            shown = ledger.shown(change)
            said = ledger.Said(user["id"], asked, change.granted, change.text_version, surface, now_us(), shown)
            because = f"consent for {asked} withdrawn"
            now, ended = await consents.say(connection, caller.workspace, {user["id"]: held}, [said], because)
            if change.granted and asked is Purpose.PROFILE:
                await profiles.restage(connection, caller.workspace, [user["id"]])
        self._ended(caller.workspace, ended)
        return _state(asked, now[user["id"]].said[asked])

    async def refuse(self, caller: Caller) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")
            said = await consents.signalled(connection, caller.workspace, [user["id"]], now_us())
            held = {user["id"]: rows.consents(user["consents"])}
            await consents.say(connection, caller.workspace, held, said, "consent refused by Sec-GPC")

    async def rhythm(self, caller: Caller) -> wire.Rhythm:
        async with transaction(self._pool, [caller.workspace]) as connection:
            held = rows.wire_rhythm((await _user(connection, caller, "user_read"))["rhythm"])
            return await scope.rhythm_told(connection, caller, held)

    async def standing(self, caller: Caller, decisions: int) -> Standing:
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_read")
            found = await connection.fetch(sql("decisions_recent"), caller.user, decisions)
            recent = await export.decisions(connection, caller, found)
            rhythm = await scope.rhythm_told(connection, caller, rows.wire_rhythm(user["rhythm"]))
        return Standing(
            rhythm=rhythm,
            consents=rows.consent_states(rows.consents(user["consents"])),
            locale=user["locale"],
            time_zone=user["time_zone"],
            recent=recent,
        )

    async def set_rhythm(self, caller: Caller, rhythm: wire.Rhythm) -> wire.Rhythm:
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")
            kept = await scope.rhythm_taken(connection, caller, rows.wire_rhythm(user["rhythm"]), rhythm)
            await connection.execute(sql("user_set_rhythm"), user["id"], msgspec.json.encode(kept))
            return await scope.rhythm_told(connection, caller, kept)

    async def set_push(self, caller: Caller, push: wire.PushAddress | None) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await enrolment.set_push(connection, caller, push)

    # ------------------------------------------------------------------------------------------ access and erasure
    async def export(self, caller: Caller) -> Exported:
        return await export.export(self._pool, caller)

    async def withdraw_all(self, caller: Caller) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")
            await connection.execute(sql("devices_of_user_lock"), user["id"])
            ended = await consents.cancel(connection, user["id"], "erased", caller.confined_to)
            if caller.confined_to is None:
                held = {user["id"]: rows.consents(user["consents"])}
                await consents.say(connection, caller.workspace, held, _taken_back(user), "erased")
        self._ended(caller.workspace, ended)

    async def erase(self, caller: Caller) -> None:
        only = caller.confined_to
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")
            await connection.execute(sql("devices_of_user_lock"), user["id"])
            await consents.cancel(connection, user["id"], "erased", only)
            if only is not None:
                others = await connection.fetchval(sql("erase_device"), user["id"], only, caller.workspace)
                if others:
                    return
            await connection.execute(sql("erase_user"), user["id"], caller.workspace)
            await ledger.append(connection, caller.workspace, _taken_back(user))
            await connection.execute(sql("consent_salt_destroy"), user["id"])

    async def under_way(self, caller: Caller, device: UUID | None) -> int:
        async with transaction(self._pool, [caller.workspace]) as connection:
            count: int = await connection.fetchval(sql("sends_under_way"), caller.user, device)
            return count

    async def end_sends(self, caller: Caller, device: UUID | None) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")
            ended = [Ended(**row) for row in await connection.fetch(sql("sends_give_up"), user["id"], device)]
            ended += await consents.cancel(connection, user["id"], "withdrawn", device)  # locks budgets: after all rows
        self._ended(caller.workspace, ended)


async def _user(connection: Connection, caller: Caller, query: str) -> Any:
    row = await connection.fetchrow(sql(query), caller.user)
    if row is None:
        raise Unauthenticated("this person's data was erased; enrol again")
    return row


def _taken_back(user: Any) -> list[ledger.Said]:
    """The ledger's rows of an erasure: it takes back what was granted."""
    at_us = now_us()
    return [
        ledger.Said(user["id"], purpose, False, consent.text_version, "erasure", at_us)
        for purpose, consent in rows.consents(user["consents"]).said.items()
        if consent.granted
    ]


def _state(purpose: Purpose, said: Consent) -> wire.ConsentState:
    return wire.ConsentState(
        purpose=purpose.value,
        granted=said.granted,
        text_version=said.text_version,
        at=from_us(said.at_us),
        seq=said.seq,
    )


class PostgresOffers:
    """`pipeline.people.Offers`: the inbox, and what the phone says of an offer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def inbox(self, caller: Caller, cursor: str | None, limit: int) -> wire.OfferPage:
        from_at, from_id = cursors.decode(cursor, tuple[datetime, UUID], _NEWEST)
        limit = min(limit, MAX_PAGE)
        async with transaction(self._pool, [caller.workspace]) as connection:
            found = await connection.fetch(sql("inbox"), caller.user, caller.confined_to, from_at, from_id, limit + 1)
        items = [rows.offer(row) for row in found[:limit]]
        more = cursors.encode((items[-1].created_at, items[-1].id)) if len(found) > limit and items else None
        return wire.OfferPage(items=items, next=more)

    async def event(self, caller: Caller, offer: UUID, event: wire.OfferEvent) -> News:
        async with transaction(self._pool, [caller.workspace]) as connection:
            user = await _user(connection, caller, "user_lock")  # no event is written behind an erasure
            row = await connection.fetchrow(sql("offer_of_user"), offer, caller.user, caller.confined_to)
            if row is None:
                raise NotFound("no such offer")
            (noted,) = await seen(connection, [Seen(offer, user["id"], event.type, event.reason)])
            if event.type == "muted":
                muting = rows.rhythm_muting(user["rhythm"], row["campaign"], user["id"])
                if muting is not None:
                    await connection.execute(sql("user_set_rhythm"), user["id"], muting)
        return News(seen=noted["news"], event=noted["told"])
