"""What people did, kept with their rows for as long as it counts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from geo_offers import clock, wire
from geo_offers.errors import Fault, Invalid, NotFound
from geo_offers.instants import from_us, to_us
from geo_offers.offers.context import INTERACTION_US, PURCHASE, Interaction, with_interaction, without_profile
from geo_offers.people.consent import Purpose
from geo_offers.pipeline.events import Kept
from geo_offers.storage import rows
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.receipts import Seen, seen
from geo_offers.storage.vault import INTERACTIONS, Safe, own_secret


class PostgresInteractions:
    """`pipeline.events.Interactions`."""

    def __init__(self, pool: Pool, safe: Safe) -> None:
        self._pool = pool
        self._safe = safe

    async def secret(self, workspace: UUID) -> bytes | None:
        async with transaction(self._pool, [workspace]) as connection:
            return await own_secret(connection, self._safe, workspace, INTERACTIONS)

    async def keep(self, workspace: UUID, given: wire.Interaction) -> Kept:
        """An offer is redeemed also where nothing is kept: it was the person's, and that they bought is its end."""
        now_us = clock.now_us()
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("interactions_user"), workspace, given.user, _id(given.user))
            if row is None:
                raise NotFound("there is no such person")
            campaign, redeemed, seen = await _redeem(connection, row["id"], given)
            told = _told(given, campaign)
            held = rows.interactions(row["interactions"], row["id"]) or ()
            reason = _reason(told, held, now_us)
            profiled = rows.consents(row["consents"], row["id"]).granted(Purpose.PROFILE) and row["age"] == "adult"
            if reason is None and not profiled and not without_profile([told], now_us):
                reason = "no_consent"
            if reason is None:
                await write(connection, row["id"], with_interaction(held, told, now_us))
        return Kept(wire.InteractionKept(kept=reason is None, reason=reason, redeemed=redeemed), seen)


async def _redeem(
    connection: Connection, user: UUID, given: wire.Interaction
) -> tuple[UUID | None, bool | UnsetType, bool]:
    """The campaign that was answered, whether the offer is redeemed by this, and whether it is news that it was seen.

    Under the person's lock, as all that becomes of an offer. Invalid for an offer that is not theirs.
    """
    if given.offer is None:
        return given.campaign, UNSET, False
    row = await connection.fetchrow(sql("offer_of_user"), given.offer, user, None)
    if row is None:
        raise Invalid("the person was made no such offer", (Fault("/offer", "offer", "name an offer of this user"),))
    if given.campaign not in {None, row["campaign"]}:
        detail = "the offer is of another campaign; leave the campaign out"
        raise Invalid(detail, (Fault("/campaign", "campaign", detail),))
    (noted,) = await seen(connection, [Seen(given.offer, user, "redeemed")])
    return row["campaign"], noted["told"], noted["news"]


def _told(given: wire.Interaction, campaign: UUID | None) -> Interaction:
    at_us = to_us(given.at)
    until_us = at_us + min(given.valid_s * 1_000_000, INTERACTION_US)
    return Interaction(given.id, given.type, at_us, until_us, campaign if given.type == PURCHASE else None)


def _reason(told: Interaction, held: Sequence[Interaction], now_us: int) -> str | None:
    if told.until_us <= now_us:
        return "over"
    return "known" if any(one.id == told.id for one in held) else None


def _id(user: str) -> UUID | None:
    try:
        return UUID(user)
    except ValueError:
        return None


async def write(connection: Connection, user: UUID, kept: Sequence[Interaction]) -> None:
    """Under the person's lock."""
    first_us = min((one.until_us for one in kept), default=None)
    column = msgspec.json.encode(kept) if kept else None
    await connection.execute(sql("interactions_set"), user, column, None if first_us is None else from_us(first_us))


async def forget_profile(connection: Connection, user: UUID) -> None:
    """What was kept by the consent to profiling goes with it. Under the person's lock."""
    column = await connection.fetchval(sql("interactions_read"), user)
    if column is not None:
        await write(connection, user, without_profile(rows.interactions(column, user) or (), clock.now_us()))


async def merge(connection: Connection, own: Any, brought: Any, *, whole: bool) -> None:
    """What a phone brings to the person it becomes one of, both locked; not whole: what silences alone."""
    if brought["interactions"] is None:
        return
    now_us = clock.now_us()
    coming = rows.interactions(brought["interactions"], brought["id"]) or ()
    kept = list(rows.interactions(own["interactions"], own["id"]) or ())
    for one in coming if whole else without_profile(coming, now_us):
        kept = with_interaction(kept, one, now_us)
    await write(connection, own["id"], kept)


async def forget_over(connection: Connection, most: int) -> int:
    """Forgets what is over, of at most so many people; of how many."""
    found = await connection.fetch(sql("interactions_over"), most)
    now_us = clock.now_us()
    for row in found:
        held = rows.interactions(row["interactions"], row["id"]) or ()
        await write(connection, row["id"], [one for one in held if one.until_us > now_us])
    return len(found)
