"""Events, each as the JSON that was put and as the rule that decisions read; the numbers fed to them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import clock, wire
from geo_offers.errors import Conflict, Forbidden, NotFound
from geo_offers.instants import from_us, to_us
from geo_offers.offers.calendars import Span
from geo_offers.offers.context import APPROVERS, Event, Local, News, Number, Predictive, Recurring, calendar_of, fed
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.events import EVENTS
from geo_offers.pipeline.management import refuse_unseen
from geo_offers.places.geometry import Geometry
from geo_offers.storage import cursors, rows
from geo_offers.storage.agreements import agreed_to, ask_anew
from geo_offers.storage.auditing import audit
from geo_offers.storage.features import fence_of
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.workspaces import raise_catalog

_body: Final = msgspec.json.Decoder(wire.EventBody)
_rule: Final = msgspec.json.Decoder(Event)


class PostgresEvents:
    """`pipeline.events.Events`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, caller: Caller, ident: str, body: wire.EventBody, rule: Event) -> bool:
        workspace, column, ruled = caller.workspace, msgspec.json.encode(body), msgspec.json.encode(rule)
        async with transaction(self._pool, [workspace]) as connection:
            held = await connection.fetchrow(sql("event_lock"), workspace, ident)
            if held is not None and (held["body"], held["rule"]) == (column, ruled):
                return False
            await connection.execute(sql("event_put"), workspace, ident, column, ruled, caller.id)
            await connection.execute(sql("event_number_drop"), workspace, ident)
            if held is None and await connection.fetchval(sql("events_count"), workspace) > EVENTS:
                raise Conflict(f"a workspace has at most {EVENTS} events; delete some first")
            await audit(connection, caller, "event.put", ident)
            agreed = await agreed_to(connection, workspace)
            concerned = [one for one, body in agreed if ident in (*body.when.events, *body.when.unless)]
            await ask_anew(connection, caller, concerned)
            await raise_catalog(connection, workspace)
        return held is None

    async def get(self, workspace: UUID, ident: str) -> wire.Event:
        async with transaction(self._pool, [workspace]) as connection:
            return _answer(await _one(connection, "event_get", workspace, ident))

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.EventPage:
        (after,) = cursors.decode(cursor, tuple[str], ("",))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("events_page"), workspace, after, limit + 1)
        more = cursors.encode((found[limit - 1]["id"],)) if len(found) > limit else None
        return wire.EventPage(items=[_short(_answer(row)) for row in found[:limit]], next=more)

    async def delete(self, caller: Caller, ident: str) -> None:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            await _one(connection, "event_lock", workspace, ident)
            user = await _named_by(connection, workspace, ident)
            if user is not None:
                raise Conflict(f"{user} names this event; change that first")
            await connection.execute(sql("event_delete"), workspace, ident)
            await audit(connection, caller, "event.delete", ident)
            await raise_catalog(connection, workspace)

    async def approve(self, caller: Caller, ident: str, seen: int | None) -> wire.Event:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            held = await _one(connection, "event_lock", workspace, ident)
            if not isinstance(_rule.decode(held["rule"]), News):
                raise Conflict("news alone is approved; this event is on by its own rule")
            refuse_unseen(seen, held["version"])
            if caller.id == held["author"]:
                raise Forbidden("whoever wrote news last does not approve it; ask two other approvers", "own_event")
            if caller.id not in held["approvals"] and len(held["approvals"]) < APPROVERS:
                await connection.execute(sql("event_approve"), workspace, ident, caller.id)
                await audit(connection, caller, "event.approve", ident)
                await raise_catalog(connection, workspace)
            return _answer(await _one(connection, "event_get", workspace, ident))

    async def feed(self, workspace: UUID, ident: str, value: wire.EventValue) -> wire.FedNumber:
        async with transaction(self._pool, [workspace]) as connection:
            held = await _one(connection, "event_lock", workspace, ident)
            rule = _rule.decode(held["rule"])
            if not isinstance(rule, Predictive):
                raise Conflict("this event is not on by a number; feed a predictive one")
            row = await connection.fetchrow(sql("event_number_get"), workspace, ident)
            before = None if row is None else _number(row)
            after = fed(rule, before, value.value, to_us(value.at))
            if after is not before:
                await connection.execute(
                    sql("event_number_put"), workspace, ident, after.value, from_us(after.at_us), after.on
                )
        return wire.FedNumber(value=after.value, at=from_us(after.at_us), on=after.on)

    async def missing(self, workspace: UUID, idents: Collection[str]) -> Collection[str]:
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("events_known"), workspace, list(idents))
        return set(idents) - {row["id"] for row in found}


async def _one(connection: Connection, query: str, workspace: UUID, ident: str) -> Any:
    row = await connection.fetchrow(sql(query), workspace, ident)
    if row is None:
        raise NotFound("there is no such event")
    return row


class _Named(msgspec.Struct):
    """Of a campaign's body only this."""

    name: str
    when: wire.When = wire.When()


_named: Final = msgspec.json.Decoder(_Named)


async def _named_by(connection: Connection, workspace: UUID, ident: str) -> str | None:
    """Who would miss the event; None where nobody names it."""
    settings = await connection.fetchval(sql("workspace_read_settings"), workspace)
    if ident in rows.settings(settings, workspace).embargo.events:
        return "the workspace's embargo"
    for row in await connection.fetch(sql("campaigns_bodies"), workspace):
        campaign = _named.decode(row["body"])
        if ident in (*campaign.when.events, *campaign.when.unless):
            return f"campaign {campaign.name!r}"
    return None


async def numbers_of(
    connection: Connection, wanted: Mapping[UUID, Sequence[str]]
) -> Mapping[UUID, Mapping[str, Number]]:
    """The newest numbers of these events, by workspace."""
    asked = [(workspace, event) for workspace, events in wanted.items() for event in events]
    found: dict[UUID, dict[str, Number]] = {}
    for row in await connection.fetch(sql("turn_numbers"), *columns(asked, 2)):
        found.setdefault(row["workspace"], {})[row["event"]] = _number(row)
    return found


def _number(row: Any) -> Number:
    return Number(row["value"], to_us(row["at"]), row["is_on"])


def _answer(row: Any) -> wire.Event:
    (coming,) = rows.each_readable("event", [row], _coming) or [()]
    fed_number = None
    if row["value"] is not None:
        fed_number = wire.FedNumber(value=row["value"], at=row["at"], on=row["is_on"])
    return wire.Event(
        id=row["id"],
        version=row["version"],
        event=_body.decode(row["body"]),
        next=[wire.Occurrence(start=from_us(start), end=from_us(end)) for start, end in coming],
        approvals=len(row["approvals"]),
        number=fed_number,
    )


def _coming(row: Any) -> Sequence[Span]:
    rule = _rule.decode(row["rule"])
    return calendar_of(rule).coming(clock.now_us()) if isinstance(rule, Recurring) else ()


def _short(event: wire.Event) -> wire.Event:
    """Without the file it was read from, of which a page may hold hundreds."""
    body = event.event
    if not isinstance(body, wire.RecurringEvent) or body.ics is None:
        return event
    return msgspec.structs.replace(event, event=msgspec.structs.replace(body, ics=None))


# ------------------------------------------------------------------------------------------------ for decisions
async def read_events(connection: Connection, workspace: UUID) -> tuple[Mapping[str, Event], Mapping[str, Geometry]]:
    """All events as decisions read them, and the areas of the local ones; without those that cannot be read."""
    found = rows.each_readable("event", await connection.fetch(sql("events_rules"), workspace), _readable)
    return (
        {ident: rule for ident, rule, _ in found},
        {ident: area for ident, _, area in found if area is not None},
    )


def _readable(row: Any) -> tuple[str, Event, Geometry | None]:
    rule = _rule.decode(row["rule"])
    if isinstance(rule, News):
        rule = msgspec.structs.replace(rule, approvals=row["approvals"])
    area = fence_of("event", row["id"], 0, bytes(rule.area)).geometry if isinstance(rule, Local) else None
    return row["id"], rule, area
