"""Decisions as they were made: rows with their receipts, read for managers and for the person's export."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Conflict, Forbidden, Gone, NotFound
from geo_offers.offers.decide import decide, receipt
from geo_offers.offers.keeping import again
from geo_offers.offers.packing import unpacked
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.management import UserNames, sees_users
from geo_offers.storage import cursors
from geo_offers.storage.auditing import audit
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.retention import KEPT
from geo_offers.storage.vault import USER_PROOF, Safe, own_secret

_NEWEST = UUID(int=2**128 - 1)


class _Receipt(msgspec.Struct):
    """Of a receipt what has no column of its own."""

    transitions: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    versions: dict[str, Any]
    ms: dict[str, float] = {}


_receipt = msgspec.json.Decoder(_Receipt)
_outcome = msgspec.json.Decoder(wire.Outcome)


class PostgresDecisionLog:
    """`pipeline.management.DecisionLog`."""

    def __init__(self, pool: Pool, safe: Safe) -> None:
        self._pool = pool
        self._safe = safe

    async def page(self, caller: Caller, query: wire.DecisionQuery) -> wire.DecisionPage:
        if query.user is not None and not sees_users(caller):
            raise Forbidden("a search by user needs a server key or a manager key of role 'owner'", "role")
        (before,) = cursors.decode(query.cursor, tuple[UUID], (_NEWEST,))
        async with transaction(self._pool, [caller.workspace]) as connection:
            names = await user_names(connection, caller, self._safe)
            asked = (before, query.limit + 1, query.campaign, query.reason, query.since, query.until)
            if query.user is None:
                found = await connection.fetch(sql("decisions_page"), caller.workspace, *asked)
            else:
                await audit(connection, caller, "decisions.search_user", query.user)
                users = await _users_named(connection, caller.workspace, query.user)
                found = await connection.fetch(sql("decisions_page_of_users"), caller.workspace, *asked, users)
        more = cursors.encode((found[query.limit - 1]["id"],)) if len(found) > query.limit else None
        shown = found[: query.limit]
        return wire.DecisionPage(items=[decision_answer(row, names.of(row["user_id"])) for row in shown], next=more)

    async def get(self, caller: Caller, ident: UUID) -> wire.Decision:
        async with transaction(self._pool, [caller.workspace]) as connection:
            row = await connection.fetchrow(sql("decision_get"), caller.workspace, ident)
            if row is None:
                raise NotFound("there is no such decision")
            names = await user_names(connection, caller, self._safe)
            delivery = await _delivery(connection, caller.workspace, row["offer"])
        return msgspec.structs.replace(decision_answer(row, names.of(row["user_id"])), delivery=delivery)

    async def replay(self, caller: Caller, ident: UUID) -> wire.Replayed:
        if not sees_users(caller):
            raise Forbidden("what a decision was made of is for a server key or a manager key of role 'owner'", "role")
        async with transaction(self._pool, [caller.workspace]) as connection:
            row = await connection.fetchrow(sql("decision_snapshot"), caller.workspace, ident, KEPT["decisions"])
            if row is not None:
                await audit(connection, caller, "decisions.replay", str(ident))
        if row is None or row["snapshot"] is None:
            raise Gone("what this decision was made of is not kept: it was erased, is too old, or never was")
        try:
            found = await asyncio.to_thread(_made_again, row["snapshot"])
        except (ValueError, LookupError, OSError) as error:
            raise Conflict("this release cannot read what that decision was made of") from error
        then, now = _outcome.decode(unpacked(row["receipt"])), _outcome.decode(found)
        differs = first_difference(then.gates, now.gates)
        return wire.Replayed(
            id=ident, same=differs is None and _result(then) == _result(now), differs=differs, then=then, now=now
        )

    async def outcomes(self, workspace: UUID, campaign: UUID, since: datetime, until: datetime) -> wire.Outcomes:
        async with transaction(self._pool, [workspace]) as connection:
            if await connection.fetchrow(sql("campaign_get"), workspace, campaign) is None:
                raise NotFound("there is no such campaign")
            found = await connection.fetch(sql("decisions_counted"), workspace, campaign, since, until)
        return wire.Outcomes(
            campaign=campaign,
            since=since,
            until=until,
            decisions=sum(row["count"] for row in found),
            offers=sum(row["count"] for row in found if row["reason"] is None),
            silences={row["reason"]: row["count"] for row in found if row["reason"] is not None},
        )

    async def names(self, caller: Caller) -> UserNames:
        async with transaction(self._pool, [caller.workspace]) as connection:
            return await user_names(connection, caller, self._safe)


def _made_again(snapshot: bytes) -> bytes:
    """The receipt of today's decision. Beside the loop: a region's holidays may be met for the first time."""
    decision = decide(again(snapshot))
    if decision is None:
        raise ValueError("no campaign of it is a candidate any more")
    return receipt(decision)


def first_difference(then: Sequence[wire.Gate], now: Sequence[wire.Gate]) -> str | None:
    """Name the first gate that is answered otherwise, or that one of the two does not have."""
    for one, other in zip_longest(then, now):
        if one is None or other is None:
            return (one or other).gate
        if (one.gate, one.passed) != (other.gate, other.passed):
            return one.gate
    return None


def _result(of: wire.Outcome) -> tuple[object, ...]:
    return of.outcome, of.reason, of.campaign, of.offer


async def user_names(connection: Connection, caller: Caller, safe: Safe) -> UserNames:
    if sees_users(caller):
        return UserNames(None)
    secret = await own_secret(connection, safe, caller.workspace, USER_PROOF)
    if secret is None:
        raise NotFound("this workspace is gone")
    return UserNames(secret)


async def _delivery(connection: Connection, workspace: UUID, offer: UUID | None) -> wire.Delivery | None:
    """The life of an offer; None of a silence, and where the offer is kept no more."""
    row = None if offer is None else await connection.fetchrow(sql("decision_delivery"), workspace, offer)
    if row is None:
        return None
    steps = [wire.Step(step="decided", at=row["created_at"])]
    if row["accepted_at"] is not None:
        steps.append(wire.Step(step="accepted", at=row["accepted_at"]))
    told = await connection.fetch(sql("decision_delivery_events"), offer)
    steps.extend(wire.Step(step=event["type"], at=event["at"], detail=event["reason"]) for event in told)
    if row["finished_at"] is not None and row["state"] not in {step.step for step in steps}:
        steps.append(wire.Step(step=row["state"], at=row["finished_at"], detail=row["detail"]))
    return wire.Delivery(
        lane=row["lane"],
        state=row["state"],
        expires_at=row["expires_at"],
        steps=sorted(steps, key=lambda step: step.at),
        detail=row["detail"],
        attempts=row["attempts"],
        due=row["due"],
    )


async def _users_named(connection: Connection, workspace: UUID, name: str) -> list[UUID]:
    try:
        ident = UUID(name)
    except ValueError:
        ident = None
    return [row["id"] for row in await connection.fetch(sql("decisions_users_named"), workspace, name, ident)]


def decision_answer(row: Any, user: str) -> wire.Decision:
    """A decision's row as it is told; `user` is how the caller may know the person."""
    kept = _receipt.decode(unpacked(row["receipt"]))
    return wire.Decision(
        id=row["id"],
        user=user,
        at=row["at"],
        outcome=row["outcome"],
        reason=row["reason"],
        campaign=row["campaign"],
        transitions=kept.transitions,
        gates=kept.gates,
        offer=row["offer"],
        versions=kept.versions,
        ms=kept.ms,
    )
