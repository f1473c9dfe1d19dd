"""Campaigns: the JSON that was put, its version, and the state that its moves have led to."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from geo_offers import clock, wire
from geo_offers.errors import Conflict, NotFound
from geo_offers.instants import EPOCH
from geo_offers.offers.campaigns import Campaign, CampaignState
from geo_offers.people.audience import Audiences
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.management import CAMPAIGNS, Move, campaign_of, moved
from geo_offers.storage import cursors, rows
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.workspaces import audit, raise_catalog

_body = msgspec.json.Decoder(wire.CampaignBody)


class PostgresCampaigns:
    """`pipeline.management.Campaigns`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        workspace, column = caller.workspace, msgspec.json.encode(body)
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("campaign_add"), ident, workspace, column, caller.id)
            if row is None:
                return _answer(await _one(connection, "campaign_get", workspace, ident))
            if await connection.fetchval(sql("campaigns_count"), workspace) > CAMPAIGNS:
                raise Conflict(f"a workspace has at most {CAMPAIGNS} campaigns that have not ended; end some first")
            await raise_catalog(connection, workspace)
        return _answer(row)

    async def replace(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        workspace, column = caller.workspace, msgspec.json.encode(body)
        async with transaction(self._pool, [workspace]) as connection:
            held = await _one(connection, "campaign_lock", workspace, ident)
            if held["state"] == CampaignState.ENDED:
                raise Conflict("this campaign has ended; make a new one")
            row = await connection.fetchrow(sql("campaign_replace"), workspace, ident, column, caller.id)
            await raise_catalog(connection, workspace)
        return _answer(row)

    async def move(self, caller: Caller, ident: UUID, move: Move) -> wire.Campaign:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            held = await _one(connection, "campaign_lock", workspace, ident)
            after = moved(CampaignState(held["state"]), move, caller, held["author"])
            if after == held["state"]:
                return _answer(held)
            row = await connection.fetchrow(sql("campaign_move"), workspace, ident, after.value)
            await audit(connection, caller, f"campaign.{move}", str(ident))
            await raise_catalog(connection, workspace)
        return _answer(row)

    async def get(self, workspace: UUID, ident: UUID) -> wire.Campaign:
        async with transaction(self._pool, [workspace]) as connection:
            return _answer(await _one(connection, "campaign_get", workspace, ident))

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.CampaignPage:
        since, after = cursors.decode(cursor, tuple[datetime, UUID], (EPOCH, NIL))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("campaigns_page"), workspace, since, after, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        more = None if last is None else cursors.encode((last["created_at"], last["id"]))
        return wire.CampaignPage(items=[_answer(row) for row in found[:limit]], next=more)


async def _one(connection: Connection, query: str, workspace: UUID, ident: UUID) -> Any:
    row = await connection.fetchrow(sql(query), workspace, ident)
    if row is None:
        raise NotFound("there is no such campaign")
    return row


def _answer(row: Any) -> wire.Campaign:
    body = _body.decode(row["body"])
    running = campaign_of(row["id"], row["version"], row["state"], body).running(clock.now_us())
    return wire.Campaign(
        id=row["id"], state=row["state"], running=running, version=row["version"], **msgspec.structs.asdict(body)
    )


async def read_campaigns(connection: Connection, workspace: UUID, audiences: Audiences) -> list[Campaign]:
    """Those that an arrival may concern, approved or paused, as decisions read them; none that cannot be read."""
    found = await connection.fetch(sql("campaigns_decided"), workspace)
    return rows.each_readable("campaign", found, partial(_campaign, audiences))


def _campaign(audiences: Audiences, row: Any) -> Campaign:
    return campaign_of(row["id"], row["version"], row["state"], _body.decode(row["body"]), audiences)
