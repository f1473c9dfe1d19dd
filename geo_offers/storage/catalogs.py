"""What decisions read of a workspace: settings, campaigns and stores at one catalog version, and the fences of all."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import structlog
from msgspec import structs

from geo_offers import clock, wire
from geo_offers.errors import NotFound
from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.context import Embargo, Event, Recurring, Surroundings, calendar_of
from geo_offers.offers.hours import Told, weekly_text
from geo_offers.offers.stores import NO_RULES, StoreRules
from geo_offers.pipeline.catalog import Policies
from geo_offers.pipeline.choice import store_rules
from geo_offers.storage import rows
from geo_offers.storage.audience import read_audiences
from geo_offers.storage.breakers import read_tripped
from geo_offers.storage.campaigns import read_campaign, read_campaigns
from geo_offers.storage.events import read_events
from geo_offers.storage.geofences import load_fences
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql
from geo_offers.storage.webhooks import read_types

__all__ = ["load_fences", "read_policies"]

_log = structlog.get_logger()
_NO_HOURS: Final = msgspec.Raw(b"[]")


class _StoreBody(msgspec.Struct):
    """Of a store's body only this; the hours of a hundred thousand stores are few different ones."""

    name: str
    time_zone: str | None = None
    category: str | None = None
    caps: list[wire.CapRule] = []
    budget: wire.Budget | None = None
    hours: msgspec.Raw = _NO_HOURS
    holidays: str | None = None


_body = msgspec.json.Decoder(_StoreBody)
_hours = msgspec.json.Decoder(list[wire.OpeningHours] | str)


class _Store(NamedTuple):
    id: str
    name: str
    zone: ZoneInfo | None
    category: str | None
    rules: StoreRules
    hours: str | None
    country: str | None


async def read_policies(connection: Connection, workspace: UUID, rehearsed: UUID | None = None) -> Policies:
    """For a turn, in its transaction. The version comes first: what is committed after it is read again, not missed.

    Rules that cannot be read pause the workspace; a campaign, store or event that cannot be read is left out.
    rehearsed: a campaign that is taken in whatever its state, for a preview.
    """
    row = await connection.fetchrow(sql("workspace_read"), workspace)
    if row is None:
        raise NotFound("this workspace is gone")
    audiences = await read_audiences(connection, workspace, rows.settings(row["settings"], workspace))
    campaigns = await read_campaigns(connection, workspace, audiences)
    if rehearsed is not None:
        campaigns = [campaign for campaign in campaigns if campaign.id != rehearsed]
        campaigns.append(await read_campaign(connection, workspace, audiences, rehearsed))
    told = await connection.fetch(sql("stores_all"), workspace)
    stores = rows.each_readable("store", told, _store)
    events, areas = await read_events(connection, workspace)
    policy = structs.replace(
        rows.policy(row["name"], row["settings"], workspace),
        killed_all=row["all_paused"],
        paused_stores=frozenset(store["id"] for store in told if store["paused"]),
        tripped=await read_tripped(connection, workspace),
    )
    named = _named(campaigns)
    embargo = rows.settings(row["settings"], workspace).embargo
    events = await _prepared(events, {*named, *embargo.events})
    return Policies(
        version=row["catalog_version"],
        policy=policy,
        campaigns=campaigns,
        store_names={store.id: store.name for store in stores},
        store_zones={store.id: store.zone for store in stores if store.zone is not None},
        store_categories={store.id: store.category for store in stores if store.category is not None},
        store_rules={store.id: store.rules for store in stores if store.rules != NO_RULES},
        surroundings=Surroundings(
            events=events,
            hours={
                store.id: Told(store.hours, store.zone or policy.zone, store.country)
                for store in stores
                if store.hours is not None
            },
            embargo=Embargo(frozenset(embargo.days), tuple(embargo.events)),
            named=named,
            areas=areas,
        ),
        journey=audiences.journey,
        push_lanes=frozenset(row["push_lanes"]),
        told=await read_types(connection, workspace),
    )


def _named(campaigns: Iterable[Campaign]) -> frozenset[str]:
    return frozenset(name for campaign in campaigns for name in (*campaign.when.events, *campaign.when.unless))


async def _prepared(events: Mapping[str, Event], named: Iterable[str]) -> Mapping[str, Event]:
    """The events without those of the named whose calendars cannot be worked out any more.

    Beside the loop: the holidays of a country that is met for the first time take some hundred milliseconds.
    """
    good, now_us = dict(events), clock.now_us()
    for name in named:
        event = events.get(name)
        if isinstance(event, Recurring):
            try:
                await asyncio.to_thread(calendar_of(event).at, now_us)
            except (ValueError, LookupError, OSError) as error:
                _log.error("an event's calendar cannot be worked out", of=name, error=type(error).__name__)
                del good[name]
    return good


def _store(row: Any) -> _Store:
    body = _body.decode(row["body"])
    zone = ZoneInfo(body.time_zone) if body.time_zone else None
    rules = store_rules(body.caps, body.budget)
    return _Store(row["id"], body.name, zone, body.category, rules, _hours_text(bytes(body.hours)), body.holidays)


@lru_cache(maxsize=4_096)
def _hours_text(column: bytes) -> str | None:
    """The hours as OpenStreetMap writes them; None where none were told."""
    told = _hours.decode(column)
    if isinstance(told, str):
        return told
    return weekly_text(rows.quiet(told)) or None
