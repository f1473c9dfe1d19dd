"""Segments, each as the JSON that was put, and what a workspace makes its audiences of.

Whatever changes segments, attributes or stages holds the workspace's row, so that what was checked is what is there.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Conflict, Fault, Invalid, NotFound
from geo_offers.people import audience, journey
from geo_offers.people.audience import Audiences
from geo_offers.people.journey import Journey
from geo_offers.people.segments import book, leaves
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.management import SEGMENTS
from geo_offers.storage import cursors, rows
from geo_offers.storage.agreements import agreed_to, ask_anew
from geo_offers.storage.auditing import audit
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql

_body = msgspec.json.Decoder(wire.SegmentBody)
_campaign = msgspec.json.Decoder(wire.CampaignBody)


class PostgresSegments:
    """`pipeline.management.Segments`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, caller: Caller, segment: str, body: wire.SegmentBody) -> bool:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            agreed = await agreed_to(connection, workspace)
            settings = await _lock(connection, workspace)
            held = await _rules(connection, workspace)
            if segment not in held and len(held) >= SEGMENTS:
                raise Conflict(f"a workspace has at most {SEGMENTS} segments; delete some first")
            known = Journey(settings.audience)
            _refuse(_put_faults(held, segment, body.rule, known))
            created = bool(await connection.fetchval(sql("segment_put"), workspace, segment, msgspec.json.encode(body)))
            await audit(connection, caller, "segment.put", segment)
            changed = _changed(held, {**held, segment: body.rule}, known)
            await ask_anew(connection, caller, [ident for ident, one in agreed if changed & _segments_of(one)])
            await connection.execute(sql("workspace_catalog_raise"), workspace)
        return created

    async def get(self, workspace: UUID, segment: str) -> wire.Segment:
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("segment_get"), workspace, segment)
        if row is None:
            raise NotFound("there is no such segment")
        return _segment(row)

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.SegmentPage:
        (after,) = cursors.decode(cursor, tuple[str], ("",))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("segments_page"), workspace, after, limit + 1)
        more = cursors.encode((found[limit - 1]["id"],)) if len(found) > limit else None
        return wire.SegmentPage(items=[_segment(row) for row in found[:limit]], next=more)

    async def delete(self, caller: Caller, segment: str) -> None:
        workspace = caller.workspace
        async with transaction(self._pool, [workspace]) as connection:
            await _lock(connection, workspace)
            user = await _named_by(connection, workspace, segment)
            if user is not None:
                raise Conflict(f"{user} names this segment; change that first")
            if await connection.fetchval(sql("segment_delete"), workspace, segment) is None:
                raise NotFound("there is no such segment")
            await audit(connection, caller, "segment.delete", segment)
            await connection.execute(sql("workspace_catalog_raise"), workspace)

    async def check(self, workspace: UUID, body: wire.CampaignBody) -> None:
        spoken = {name: field.attribute for name, field in body.fields.items() if field.attribute is not None}
        if body.audience is None and body.ask is None and not spoken:
            return
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("workspace_read"), workspace)
            if row is None:
                raise NotFound("this workspace is gone")
            audiences = await read_audiences(connection, workspace, rows.settings(row["settings"], workspace))
        _refuse(audience.faults(body.audience or wire.Audience(), body.ask, audiences) + _spoken(spoken, audiences))


def _spoken(attributes: Mapping[str, str], audiences: Audiences) -> tuple[Fault, ...]:
    """What texts would say of people that the workspace has not declared."""
    detail = "The workspace declares no such attribute; declare it in its `audience` first."
    return tuple(
        Fault(f"/fields/{name}/attribute", "unknown", detail)
        for name, attribute in attributes.items()
        if attribute not in audiences.journey.attributes
    )


async def read_audiences(connection: Connection, workspace: UUID, settings: wire.Workspace) -> Audiences:
    """For a turn, in its transaction; segments that cannot be read or have a fault now hold for nobody."""
    known = Journey(settings.audience)
    return Audiences(book(await _rules(connection, workspace), known.attributes), known)


async def check_settings(connection: Connection, workspace: UUID, settings: wire.Workspace) -> None:
    """Invalid where stages, or what segments and campaigns ask of attributes, would not stand under these settings.

    The caller holds the workspace's row.
    """
    found = journey.faults(settings.audience, "/audience/stages")
    known = Journey(settings.audience)
    together = book(await _rules(connection, workspace), known.attributes)
    broken = [f"the segment {ident[:64]!r}" for ident in sorted(together.faults)]
    for ident, body in await _campaigns(connection, workspace):
        if audience.faults(body.audience or wire.Audience(), body.ask, Audiences(together, known)):
            broken.append(f"the campaign {ident}")
    found += [Fault("/audience/attributes", "in_use", f"What {user} asks for would be gone.") for user in broken]
    _refuse(tuple(found))


def _put_faults(held: Mapping[str, wire.Rule], segment: str, rule: wire.Rule, known: Journey) -> tuple[Fault, ...]:
    """What would be wrong with the segment, and with others by it that were right before."""
    before, after = book(held, known.attributes), book({**held, segment: rule}, known.attributes)
    own = after.faults.get(segment, ())
    others = [] if own else [ident for ident in sorted(after.faults) if ident not in before.faults]
    return (*own, *(Fault("/rule", other.code, f"By this {ident[:64]!r} would be wrong: {other.detail}")
                    for ident in others for other in after.faults[ident]))  # fmt: skip


def _refuse(faults: tuple[Fault, ...]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults[:20])


async def _lock(connection: Connection, workspace: UUID) -> wire.Workspace:
    row = await connection.fetchrow(sql("workspace_lock"), workspace)
    if row is None:
        raise NotFound("this workspace is gone")
    return rows.settings(row["settings"], workspace)


async def _rules(connection: Connection, workspace: UUID) -> dict[str, wire.Rule]:
    found = rows.each_readable("segment", await connection.fetch(sql("segments_all"), workspace), _segment)
    return {segment.id: segment.rule for segment in found}


async def _campaigns(connection: Connection, workspace: UUID) -> list[tuple[UUID, wire.CampaignBody]]:
    found = await connection.fetch(sql("campaigns_with_people"), workspace)
    return rows.each_readable("campaign", found, lambda row: (row["id"], _campaign.decode(row["body"])))


async def _named_by(connection: Connection, workspace: UUID, segment: str) -> str | None:
    """Who names the segment, in words."""
    for ident, rule in sorted((await _rules(connection, workspace)).items()):
        if ident != segment and segment in _named(rule):
            return f"the segment {ident[:64]!r}"
    for campaign, body in await _campaigns(connection, workspace):
        if segment in _segments_of(body):
            return f"the campaign {campaign}"
    return None


def _changed(before: Mapping[str, wire.Rule], after: Mapping[str, wire.Rule], known: Journey) -> set[str]:
    """Which segments say something else than before, be it by one that they name."""
    old, new = (book(rules, known.attributes).rules for rules in (before, after))
    return {ident for ident, rule in new.items() if old.get(ident) != rule}


def _segments_of(body: wire.CampaignBody) -> set[str]:
    wanted = body.audience or wire.Audience()
    return {*wanted.segments, *(() if wanted.rule is None else _named(wanted.rule))}


def _named(rule: wire.Rule) -> set[str]:
    return {leaf.id for leaf in leaves(rule) if isinstance(leaf, wire.InSegment)}


def _segment(row: Any) -> wire.Segment:
    return wire.Segment(id=row["id"], **msgspec.structs.asdict(_body.decode(row["body"])))
