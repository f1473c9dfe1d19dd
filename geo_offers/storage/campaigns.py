"""Campaigns: the JSON that was put, its version, and the state that its moves have led to."""

from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import clock, wire
from geo_offers.errors import Conflict, Invalid, NotFound
from geo_offers.instants import EPOCH
from geo_offers.offers import risk
from geo_offers.offers.campaigns import Campaign, CampaignState
from geo_offers.offers.context import News, touched
from geo_offers.people.audience import NO_AUDIENCES, Audiences
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.choice import running_test_faults
from geo_offers.pipeline.management import CAMPAIGNS, Move, campaign_of, moved, refuse_author, refuse_unseen
from geo_offers.storage import breakers, cursors, rows
from geo_offers.storage.auditing import audit
from geo_offers.storage.events import read_events
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.workspaces import check_caps, check_category, raise_catalog, read_rules

_body = msgspec.json.Decoder(wire.CampaignBody)
_assessment = msgspec.json.Decoder(wire.Assessment)
_WEIGHED: Final = (CampaignState.DRAFT, CampaignState.SUBMITTED)


class PostgresCampaigns:
    """`pipeline.management.Campaigns`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        workspace, column = caller.workspace, msgspec.json.encode(body)
        async with transaction(self._pool, [workspace]) as connection:
            await check_category(connection, workspace, body.category)
            row = await connection.fetchrow(sql("campaign_add"), ident, workspace, column, caller.id)
            if row is None:
                return _answer(await _one(connection, "campaign_get", workspace, ident))
            if await connection.fetchval(sql("campaigns_count"), workspace) > CAMPAIGNS:
                raise Conflict(f"a workspace has at most {CAMPAIGNS} campaigns that have not ended; end some first")
            await audit(connection, caller, "campaign.write", str(ident))
            await raise_catalog(connection, workspace)
            await check_caps(connection, workspace)
        return _answer(row)

    async def replace(self, caller: Caller, ident: UUID, body: wire.CampaignBody) -> wire.Campaign:
        workspace, column = caller.workspace, msgspec.json.encode(body)
        async with transaction(self._pool, [workspace]) as connection:
            held = await _one(connection, "campaign_lock", workspace, ident)
            if held["state"] == CampaignState.ENDED:
                raise Conflict("this campaign has ended; make a new one")
            await check_category(connection, workspace, body.category)
            _refuse_other_test(held, body)
            row = await connection.fetchrow(sql("campaign_replace"), workspace, ident, column, caller.id)
            await audit(connection, caller, "campaign.write", str(ident))
            await raise_catalog(connection, workspace)
            await check_caps(connection, workspace)
        return _answer(row)

    async def move(self, caller: Caller, ident: UUID, move: Move, seen: int | None = None) -> wire.Campaign:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            held = await _one(connection, "campaign_lock", workspace, ident)
            refuse_unseen(seen, held["version"])
            before, found, agreed = CampaignState(held["state"]), None, False
            after = moved(before, move)
            if move == "submit" and before in _WEIGHED:
                found = await _assess(connection, caller, held)
                after = CampaignState.SUBMITTED if found.approvers else CampaignState.APPROVED
            if move == "approve":
                refuse_author(caller, held["author"])
                if before is CampaignState.SUBMITTED:
                    agreed = bool(await connection.fetchval(sql("campaign_agree"), workspace, ident, caller.id))
                    if held["approvals"] + agreed < _assessment.decode(held["assessment"]).approvers:
                        after = before
            if after == before and not agreed:
                return _answer(held)
            column = None if found is None else msgspec.json.encode(found)
            row = await connection.fetchrow(sql("campaign_move"), workspace, ident, after.value, column)
            if after is CampaignState.APPROVED:
                await breakers.close(connection, workspace, "campaign", str(ident))
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


def _refuse_other_test(held: Any, body: wire.CampaignBody) -> None:
    """Invalid where the campaign decides, or may again, and the body is of another test."""
    before = campaign_of(held["id"], held["version"], held["state"], _body.decode(held["body"]))
    if before.state not in {CampaignState.APPROVED, CampaignState.PAUSED}:
        return
    faults = running_test_faults(before, campaign_of(held["id"], held["version"], held["state"], body))
    if faults:
        raise Invalid(faults[0].detail, faults)


def _answer(row: Any) -> wire.Campaign:
    body = _body.decode(row["body"])
    running = campaign_of(row["id"], row["version"], row["state"], body).running(clock.now_us())
    return wire.Campaign(
        id=row["id"],
        state=row["state"],
        running=running,
        version=row["version"],
        assessment=None if row["assessment"] is None else _assessment.decode(row["assessment"]),
        approvals=row["approvals"],
        breaker=breakers.breaker_of(row),
        **msgspec.structs.asdict(body),
    )


async def _assess(connection: Connection, caller: Caller, held: Any) -> wire.Assessment:
    """Weigh a campaign as it stands, for the key that hands it in."""
    campaign = _campaign(NO_AUDIENCES, held)
    others = await read_campaigns(connection, caller.workspace, NO_AUDIENCES)
    body, rules = _body.decode(held["body"]), await read_rules(connection, caller.workspace)
    found = risk.assess(
        risk.Facts(
            by_owner=caller.may("owner"),
            special=body.special,
            news=await _follows_news(connection, caller.workspace, campaign),
            sensitive_place=await connection.fetchval(
                sql("campaign_sensitive"), caller.workspace, *_selected(campaign)
            ),
            sensitive_date=_meets_embargo(campaign, rules.embargo.days, clock.now_us()),
            discount_percent=body.stakes.discount_percent,
            liability=body.stakes.liability,
            reach=await _reach(connection, caller.workspace, campaign),
            overlaps=sum(campaign.fences.meets(other.fences) for other in others if other.id != campaign.id),
            author_days=await connection.fetchval(sql("key_age"), caller.workspace, caller.id),
        )
    )
    return wire.Assessment(risk=found.score, reasons=list(found.reasons), approvers=found.approvers)


async def _follows_news(connection: Connection, workspace: UUID, campaign: Campaign) -> bool:
    if not campaign.when.events:
        return False
    events, _ = await read_events(connection, workspace)
    return any(isinstance(events.get(name), News) for name in campaign.when.events)


def _meets_embargo(campaign: Campaign, days: Iterable[date], now_us: int) -> bool:
    """Whether its schedule, from now on, touches a day that the workspace keeps free.

    One without an end is not made for any day: the embargo alone sees to it.
    """
    if campaign.until_us is None:
        return False
    return touched(days, max(now_us, campaign.from_us or now_us), campaign.until_us)


def _selected(campaign: Campaign) -> tuple[str | None, list[str] | None, list[str] | None]:
    """Set, tags as they stand in a feature's bytes, and ids; None for the two that the campaign does not select by."""
    fences = campaign.fences
    tags = [msgspec.json.encode(tag).decode() for tag in fences.tags]
    return fences.set, tags or None, list(fences.ids) or None


async def _reach(connection: Connection, workspace: UUID, campaign: Campaign) -> int:
    if campaign.fences.ids:
        return len(campaign.fences.ids)
    set_id, tags, _ = _selected(campaign)
    count: int = await connection.fetchval(sql("campaign_reach"), workspace, set_id, tags, risk.WIDE_REACH)
    return count


async def read_campaigns(connection: Connection, workspace: UUID, audiences: Audiences) -> list[Campaign]:
    """Those that an arrival may concern, approved or paused, as decisions read them; none that cannot be read."""
    found = await connection.fetch(sql("campaigns_decided"), workspace)
    return rows.each_readable("campaign", found, partial(_campaign, audiences))


async def read_campaign(connection: Connection, workspace: UUID, audiences: Audiences, ident: UUID) -> Campaign:
    """One, whatever its state, as decisions would read it. NotFound where it is not there."""
    return _campaign(audiences, await _one(connection, "campaign_get", workspace, ident))


def _campaign(audiences: Audiences, row: Any) -> Campaign:
    return campaign_of(row["id"], row["version"], row["state"], _body.decode(row["body"]), audiences)
