"""Two worlds with one face: the outbox in memory and in PostgreSQL, with what a test puts in and looks at."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from geo_offers import clock
from geo_offers.instants import from_us, to_us
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.mutes import NOTHING_MUTED, Mutes
from geo_offers.people.quiet import QuietRule, quiet_rule
from geo_offers.people.rhythm import Channel
from geo_offers.pipeline.lanes import Message, replace_key
from geo_offers.pipeline.outbox import Ready, Rechecked, Taken
from geo_offers.pipeline.recheck import Standing, objection
from geo_offers.pipeline.settlement import MOST_ATTEMPTS, Claim, Close, Move, Retry, Settlement
from geo_offers.places.fences import FenceId, split_fence_id
from geo_offers.places.importing.geojson import FenceDraft, parse_feature
from geo_offers.places.importing.rows import feature_of
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import open_pool

SECOND_US = 1_000_000
FENCE = "town/north/bakery"  # the first slash splits: in the set `town` the fence `north/bakery`
CATEGORY = "food"
ALL_DAY = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "00:00"}


@dataclass(frozen=True, slots=True)
class Case:
    """One offer that a test has put into a world."""

    offer: UUID
    workspace: UUID
    user: UUID
    device: UUID
    campaign: UUID
    visit: UUID | None
    decision: UUID


@dataclass(frozen=True, slots=True)
class Row:
    """An outbox row as it lies there; due_in_s and lease_s are seconds from now."""

    lane: str
    state: str
    token: int
    attempts: int
    ambiguous: bool
    due_in_s: float
    lease_s: float | None


@dataclass(slots=True)
class Record:
    """Everything about one offer, in memory."""

    case: Case
    lane: str
    trigger: str
    expires_us: int
    replay: bool
    push_token: str | None
    push_us: int = 0
    push_lane: str = "webhook"
    sent_to: "Record | None" = None  # another phone of the person's
    consents: set[str] = field(default_factory=lambda: {"locate", "offers"})
    quiet: tuple[QuietRule, ...] = ()
    mute: Mutes = NOTHING_MUTED
    channels: tuple[Channel, ...] = ("push", "inapp")
    campaign_state: str | None = "approved"
    fence_live: bool = True
    tripped: bool = False
    paused: bool = False
    left_us: int | None = None
    message_ok: bool = True
    erased: bool = False
    locked: bool = False
    # the outbox row
    queued: bool = True
    state: str = "due"
    due_us: int = 0
    since_us: int = 0
    lease_until_us: int = 0
    token: int = 0
    attempts: int = 0
    ambiguous: bool = False
    # the offer, its reservation, its events
    offer_state: str = "queued"
    detail: str | None = None
    slot: int = 0
    events: list[str] = field(default_factory=list)


class MemoryOutbox:
    """The port's double. One instance is the database; each call is atomic."""

    def __init__(self) -> None:
        self.now_us = clock.now_us()
        self.records: dict[UUID, Record] = {}
        self.proven: set[tuple[UUID, UUID]] = set()  # persons and the devices that speak for all of them
        self.alive: dict[UUID, int] = {}  # when a gateway last took something for a device, to the hour

    def _ours(self, claim: Claim, *states: str) -> Record | None:
        record = self.records.get(claim.offer)
        good = record is not None and record.queued and record.token == claim.token and record.state in states
        return record if good else None

    async def take(self, lane: str, limit: int, lease_s: float) -> Taken:
        await asyncio.sleep(0)
        claims = self._claimed(lane, limit, lease_s)
        good = [claim for claim in claims if not claim.stranded and claim.attempts <= MOST_ATTEMPTS]
        return Taken(claims, self._rechecked(good, lease_s))

    async def claim(self, lane: str, limit: int, lease_s: float) -> Sequence[Claim]:
        await asyncio.sleep(0)
        return self._claimed(lane, limit, lease_s)

    async def recheck(self, claims: Sequence[Claim], lease_s: float) -> Rechecked:
        await asyncio.sleep(0)
        return self._rechecked(claims, lease_s)

    def _claimed(self, lane: str, limit: int, lease_s: float) -> Sequence[Claim]:
        due = [
            record
            for record in self.records.values()
            if record.queued
            and record.lane == lane
            and record.due_us <= self.now_us
            and (record.state == "due" or record.lease_until_us < self.now_us)
        ]
        claims = []
        for record in sorted(due, key=lambda record: record.due_us)[:limit]:
            stranded = record.state == "sending"
            unanswered = int(record.ambiguous) + int(stranded)
            record.ambiguous = unanswered > 0
            record.state = "sending" if unanswered > 1 else "leased"
            record.lease_until_us = self.now_us + round(lease_s * SECOND_US)
            record.token += 1
            record.attempts += 1
            counts = (record.token, record.attempts, unanswered)
            claims.append(Claim(record.case.offer, record.case.workspace, *counts, stranded))
        return claims

    def _rechecked(self, claims: Sequence[Claim], lease_s: float) -> Rechecked:
        ready: list[Ready] = []
        over: list[Close] = []
        busy: list[Claim] = []
        unreadable: list[Claim] = []
        for claim in claims:
            record = self._ours(claim, "leased", "sending")
            if record is None:
                continue
            if record.erased:
                record.queued = False
            elif record.locked:
                busy.append(claim)
            else:
                record.state, record.lease_until_us = "sending", self.now_us + round(lease_s * SECOND_US)
                if not record.message_ok:
                    unreadable.append(claim)
                elif (why := objection(_standing(record), self.now_us)) is not None:
                    over.append(Close(claim, why.state, keep=claim.unanswered > 0, detail=why.detail))
                else:
                    ready.append(Ready(claim, _message(record)))
        return Rechecked(ready, over, busy, unreadable)

    async def finish(self, settlements: Sequence[Settlement]) -> Collection[UUID]:
        await asyncio.sleep(0)
        applied = set()
        for settlement in settlements:
            self._bury(settlement)
            record = self._ours(settlement.claim, "leased", "sending")
            if record is None:
                continue
            applied.add(settlement.claim.offer)
            match settlement:
                case Close():
                    self._close(settlement, record)
                case Retry(after_s=after_s, attempts=attempts, unanswered=unanswered):
                    record.state, record.attempts = "due", attempts
                    record.ambiguous = record.ambiguous or unanswered
                    record.due_us = min(self.now_us + round(after_s * SECOND_US), record.expires_us)
                case Move():
                    self._move(settlement, record)
        return applied

    def _move(self, move: Move, record: Record) -> None:
        """To the device's own new token, else to a phone that speaks for all of the person, else to the app."""
        tried = record.sent_to or record
        dead = move.dead and move.dead.token
        others = [
            other
            for other in self.records.values()
            if other.case.user == record.case.user
            and not other.replay
            and other.push_token not in {None, dead}
            and (other.case.device == tried.case.device or (other.case.user, other.case.device) in self.proven)
        ]
        others.sort(key=lambda other: (other.case.device != tried.case.device, -self.alive.get(other.case.device, 0)))
        record.state, record.due_us = "due", self.now_us
        if others:
            record.lane, record.sent_to = others[0].push_lane, others[0]
        else:
            record.lane, record.attempts, record.sent_to = move.lane, 0, None

    def _close(self, close: Close, record: Record) -> None:
        record.queued = False
        target = record.sent_to or record
        hour_ago_us = self.now_us - 3600 * SECOND_US
        if close.state == "accepted" and target.push_token and self.alive.get(target.case.device, 0) < hour_ago_us:
            self.alive[target.case.device] = self.now_us
        kept = close.keep or record.lane == "inapp"
        record.offer_state, record.detail, record.slot = close.state, close.detail, 1 if kept else 2

    def _bury(self, settlement: Settlement) -> None:
        dead = None if isinstance(settlement, Retry) else settlement.dead
        if not dead:
            return
        at_us = min(dead.at_us or self.now_us, self.now_us)
        key = dead.workspace, dead.token
        for record in self.records.values():
            if (record.case.workspace, record.push_token) == key and record.push_us <= at_us:
                record.push_token = None

    async def adopt(self, served: Collection[str], lane: str) -> bool:
        await asyncio.sleep(0)
        strays = [record for record in self.records.values() if record.queued and record.lane not in served]
        for record in strays:
            if record.state != "due" and record.lease_until_us >= self.now_us:
                continue
            if record.ambiguous or record.state == "sending":
                record.queued, record.offer_state, record.detail, record.slot = False, "ambiguous", "unanswered", 1
                continue
            record.lane, record.state, record.attempts, record.due_us = lane, "due", 0, self.now_us
            record.token += 1
        return all(record.lane == lane for record in strays if record.queued)

    async def hasten(self, lane: str, devices: Mapping[UUID, UUID]) -> None:
        await asyncio.sleep(0)
        for record in self.records.values():
            hit = record.queued and record.lane == lane and record.state == "due"
            if hit and devices.get(record.case.device) == record.case.workspace:
                record.due_us = min(record.due_us, self.now_us)

    async def recall(
        self, workspaces: Collection[UUID], *, campaign: UUID | None = None, store: str | None = None
    ) -> None:
        await asyncio.sleep(0)
        for record in self.records.values():
            meant = campaign in {None, record.case.campaign} and store in {None, FENCE}
            if meant and record.queued and record.state == "due" and record.case.workspace in workspaces:
                record.due_us = min(record.due_us, self.now_us)

    async def shown(self, workspace: UUID, offer: UUID, device: UUID) -> Literal["news", "known", "unknown"]:
        await asyncio.sleep(0)
        record = self.records.get(offer)
        if record is None or record.erased or record.case.workspace != workspace:
            return "unknown"
        if device != record.case.device and (record.case.user, device) not in self.proven:
            return "unknown"
        record.queued, record.slot, record.detail = False, 1, None
        if record.offer_state == "shown":
            return "known"
        record.offer_state = "shown"
        record.events.append("shown")
        return "news"

    async def oldest_due_s(self, lane: str) -> float:
        here = [record for record in self.records.values() if record.queued and record.lane == lane]
        due = [record.due_us for record in here if record.due_us <= self.now_us]
        waits = due if lane == "inapp" else [record.since_us for record in here]
        return (self.now_us - min(waits)) / SECOND_US if waits else 0.0


def _standing(record: Record) -> Standing:
    said = {Purpose(name): Consent(granted=True, text_version="1", at_us=0) for name in record.consents}
    return Standing(
        expires_us=record.expires_us,
        trigger=record.trigger,
        replay=record.replay,
        consents=Consents(said),
        mute=record.mute,
        channels=record.channels,
        quiet=record.quiet,
        zone=ZoneInfo("UTC"),
        channel="inapp" if record.lane == "inapp" else "push",
        campaign=record.case.campaign,
        store=FENCE,
        categories=frozenset({CATEGORY}),
        campaign_state=record.campaign_state,
        fence_live=record.fence_live,
        tripped=record.tripped,
        paused=record.paused,
        visit_known=record.case.visit is not None,
        left_us=record.left_us,
    )


def _message(record: Record) -> Message:
    target = record.sent_to or record
    return Message(
        offer=record.case.offer,
        workspace=record.case.workspace,
        user=record.case.user,
        device=target.case.device,
        platform="ios",
        push_token=target.push_token if target.push_lane == record.lane else None,
        campaign=record.case.campaign,
        fence=FENCE,
        title="Warm buns",
        body="Two for one",
        link=None,
        data=None,
        replace_key=replace_key(record.case.decision),
        created_us=0,
        expires_us=record.expires_us,
    )


class MemoryWorld:
    """The double with its hands; time moves only by `pass_time`."""

    def __init__(self) -> None:
        self.outbox = MemoryOutbox()

    def record(self, case: Case) -> Record:
        return self.outbox.records[case.offer]

    async def put(
        self,
        *,
        lane: str = "webhook",
        trigger: str = "enter",
        expires_s: float = 600,
        due_in_s: float = 0,
        visit: bool = True,
        replay: bool = False,
        push_token: str | None = "token-1",
        beside: Case | None = None,
        other_device: bool = False,
    ) -> Case:
        case = a_case(beside, visit=visit, other_device=other_device)
        now_us = self.outbox.now_us
        record = Record(case, lane, trigger, now_us + round(expires_s * SECOND_US), replay, push_token)
        record.due_us = now_us + round(due_in_s * SECOND_US)
        record.since_us = min(record.due_us, now_us)
        self.outbox.records[case.offer] = record
        return case

    async def row(self, case: Case) -> Row | None:
        record, now_us = self.record(case), self.outbox.now_us
        if not record.queued:
            return None
        lease_s = None if record.state == "due" else (record.lease_until_us - now_us) / SECOND_US
        due_in_s = (record.due_us - now_us) / SECOND_US
        return Row(record.lane, record.state, record.token, record.attempts, record.ambiguous, due_in_s, lease_s)

    async def ending(self, case: Case) -> tuple[str, str | None, int]:
        record = self.record(case)
        return record.offer_state, record.detail, record.slot

    async def events(self, case: Case) -> list[str]:
        return list(self.record(case).events)

    async def push_token(self, case: Case) -> str | None:
        return self.record(case).push_token

    async def taken_ago_s(self, case: Case) -> float | None:
        """Since when the device's token is known to be alive."""
        taken_us = self.outbox.alive.get(case.device)
        return None if taken_us is None else (self.outbox.now_us - taken_us) / SECOND_US

    async def withdraw(self, case: Case, purpose: str) -> None:
        self.record(case).consents.discard(purpose)

    async def set_campaign(self, case: Case, state: str | None) -> None:
        self.record(case).campaign_state = state

    async def set_fence(self, case: Case, *, active: bool | None) -> None:
        self.record(case).fence_live = active is True

    async def pause_workspace(self, case: Case) -> None:
        self.record(case).paused = True

    async def trip(self, case: Case, _kind: str) -> None:
        self.record(case).tripped = True

    async def mute(self, case: Case, what: str) -> None:
        muted = {"stores": FENCE, "categories": CATEGORY, "campaigns": case.campaign}[what]
        self.record(case).mute = Mutes(**{what: frozenset({muted})})

    async def take_channels(self, case: Case, *channels: Channel) -> None:
        self.record(case).channels = channels

    async def quiet_person(self, case: Case) -> None:
        self.record(case).quiet += (quiet_rule(ALL_DAY["days"], "00:00", "24:00"),)

    quiet_workspace = quiet_person

    async def leave(self, case: Case, ago_s: float) -> None:
        self.record(case).left_us = self.outbox.now_us - round(ago_s * SECOND_US)

    async def wipe_visit(self, case: Case) -> None:
        record = self.record(case)
        record.case = replace(case, visit=None)

    async def register_token(self, case: Case, token: str, lane: str = "webhook") -> None:
        self.record(case).push_token, self.record(case).push_us = token, self.outbox.now_us
        self.record(case).push_lane = lane

    async def prove(self, case: Case) -> None:
        self.outbox.proven.add((case.user, case.device))

    async def corrupt(self, case: Case) -> None:
        self.record(case).message_ok = False

    async def erase(self, case: Case) -> None:
        self.record(case).erased = True

    @asynccontextmanager
    async def person_locked(self, case: Case) -> AsyncIterator[None]:
        self.record(case).locked = True
        yield
        self.record(case).locked = False

    async def pass_time(self, seconds: float) -> None:
        self.outbox.now_us += round(seconds * SECOND_US)


def a_case(beside: Case | None = None, *, visit: bool = True, other_device: bool = False) -> Case:
    """Ids of a new offer; beside another: of the same person and campaign, and of the same device unless told."""
    ids = [uuid.uuid4() for _ in range(7)]
    if beside is not None:
        ids[1:5] = [beside.workspace, beside.user, ids[3] if other_device else beside.device, beside.campaign]
    return Case(ids[0], ids[1], ids[2], ids[3], ids[4], ids[5] if visit else None, ids[6])


def _draft(external_id: str, *, active: bool) -> FenceDraft:
    """A fence whose name reads like the mark of one that is off."""
    body = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [0.5, 0.5]},
        "properties": {"name": '"active":false', "radius_m": 100, "active": active},
    }
    draft = parse_feature(body, external_id=external_id, strict=True)
    assert isinstance(draft, FenceDraft), draft
    return draft


class PostgresWorld:
    """PostgreSQL with its hands: arranged by the superuser, whom no policy binds; looked at through the product."""

    def __init__(self, outbox: PostgresOutbox, admin: asyncpg.Connection, dsn: str) -> None:
        self.outbox = outbox
        self._admin = admin
        self._dsn = dsn

    async def put(
        self,
        *,
        lane: str = "webhook",
        trigger: str = "enter",
        expires_s: float = 600,
        due_in_s: float = 0,
        visit: bool = True,
        replay: bool = False,
        push_token: str | None = "token-1",
        beside: Case | None = None,
        other_device: bool = False,
    ) -> Case:
        case = a_case(beside, visit=visit, other_device=other_device)
        if beside is None:
            await self._put_person(case)
        if beside is None or other_device:
            await self._put_device(case, replay=replay, push_token=push_token)
        run = self._admin.execute
        now_us = clock.now_us()
        if case.visit is not None:
            await run(
                "INSERT INTO visit (id, workspace, user_id, device, fence, fence_version, entered_at) "
                "VALUES ($1, $2, $3, $4, $5, 1, clock_timestamp())",
                *(case.visit, case.workspace, case.user, case.device, FENCE),
            )
        await run(
            "INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, visit, trigger, lane,"
            " message, created_at, expires_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            *(case.offer, case.workspace, case.user, case.device, case.decision, case.campaign, FENCE, case.visit),
            *(trigger, lane, json.dumps({"title": "Warm buns", "body": "Two for one"}).encode()),
            *(from_us(now_us), from_us(now_us + round(expires_s * SECOND_US))),
        )
        await run(
            "INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence, categories) "
            "VALUES ($1, clock_timestamp(), $2, $3, $4, $5, $5, $6)",
            *(case.user, case.offer, case.workspace, case.campaign, FENCE, [CATEGORY]),
        )
        await run(
            "INSERT INTO outbox (offer, workspace, partition, lane, due, since) "
            "VALUES ($1, $2, 0, $3, $4, least($4, clock_timestamp()))",
            *(case.offer, case.workspace, lane, from_us(now_us + round(due_in_s * SECOND_US))),
        )
        return case

    async def _put_person(self, case: Case) -> None:
        run = self._admin.execute
        yes = {"granted": True, "text_version": "1", "at": "2026-01-01T00:00:00Z"}
        consents = {purpose: yes | {"purpose": purpose} for purpose in ("locate", "offers")}
        await run("INSERT INTO workspace (id, name) VALUES ($1, $2)", case.workspace, str(case.workspace))
        await run(
            "INSERT INTO app_user (id, workspace, partition, consents, rhythm) VALUES ($1, $2, 0, $3, $4)",
            *(case.user, case.workspace, json.dumps(consents).encode(), b'{"quiet": []}'),
        )
        await run(
            "INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, '{}', 'approved', 'test')",
            *(case.campaign, case.workspace),
        )
        await self.set_fence(case, active=True)

    async def _put_device(self, case: Case, *, replay: bool, push_token: str | None) -> None:
        await self._admin.execute(
            "INSERT INTO device (id, workspace, user_id, platform, replay, push_lane, push_token) "
            "VALUES ($1, $2, $3, 'ios', $4, 'webhook', $5)",
            *(case.device, case.workspace, case.user, replay, push_token),
        )

    async def row(self, case: Case) -> Row | None:
        query = "SELECT *, clock_timestamp() AS now FROM outbox WHERE offer = $1"
        found = await self._admin.fetchrow(query, case.offer)
        if found is None:
            return None

        def ahead(column: str) -> float | None:
            at = found[column]
            return None if at is None else (to_us(at) - to_us(found["now"])) / SECOND_US

        return Row(
            *(found[name] for name in ("lane", "state", "token", "attempts", "ambiguous")),
            ahead("due"),
            ahead("lease_until"),
        )

    async def ending(self, case: Case) -> tuple[str, str | None, int]:
        found = await self._admin.fetchrow(
            "SELECT o.state, o.detail, r.state AS slot FROM offer o JOIN reservation r ON r.offer = o.id"
            " WHERE o.id = $1",
            case.offer,
        )
        return tuple(found)

    async def events(self, case: Case) -> list[str]:
        found = await self._admin.fetch("SELECT type FROM offer_event WHERE offer = $1", case.offer)
        return [row["type"] for row in found]

    async def push_token(self, case: Case) -> str | None:
        return await self._admin.fetchval("SELECT push_token FROM device WHERE id = $1", case.device)

    async def withdraw(self, case: Case, purpose: str) -> None:
        held = json.loads(await self._admin.fetchval("SELECT consents FROM app_user WHERE id = $1", case.user))
        held[purpose]["granted"] = False
        await self._set("app_user", "consents", case.user, json.dumps(held).encode())

    async def set_campaign(self, case: Case, state: str | None) -> None:
        if state is None:
            await self._admin.execute("DELETE FROM campaign WHERE id = $1", case.campaign)
        else:
            await self._set("campaign", "state", case.campaign, state)

    async def set_fence(self, case: Case, *, active: bool | None) -> None:
        """Put the fence as our own calls store it; None deletes it."""
        set_id, external_id = split_fence_id(FenceId(FENCE))
        await self._admin.execute("DELETE FROM geofence WHERE workspace = $1", case.workspace)
        if active is not None:
            await self._admin.execute(
                "INSERT INTO geofence (workspace, set_id, external_id, feature, min_lat, min_lon, max_lat, max_lon)"
                " VALUES ($1, $2, $3, $4, 0, 0, 1, 1)",
                *(case.workspace, set_id, external_id, feature_of(_draft(external_id, active=active))),
            )

    async def pause_workspace(self, case: Case) -> None:
        await self._set("workspace", "settings", case.workspace, b'{"paused": true, "place_gap_s": 60}')

    async def trip(self, case: Case, kind: str) -> None:
        await self._admin.execute(
            "INSERT INTO breaker (workspace, kind, subject, offers, opt_outs, per_1000) VALUES ($1, $2, $3, 9, 9, 9)",
            *(case.workspace, kind, FENCE),
        )

    async def mute(self, case: Case, what: str) -> None:
        muted = {"stores": FENCE, "categories": CATEGORY, "campaigns": str(case.campaign)}[what]
        rhythm = {"quiet": [], "mute": {what: [muted]}}
        await self._set("app_user", "rhythm", case.user, json.dumps(rhythm).encode())

    async def take_channels(self, case: Case, *channels: Channel) -> None:
        rhythm = {"quiet": [], "channels": channels}
        await self._set("app_user", "rhythm", case.user, json.dumps(rhythm).encode())

    async def quiet_person(self, case: Case) -> None:
        await self._set("app_user", "rhythm", case.user, json.dumps({"quiet": [ALL_DAY]}).encode())

    async def quiet_workspace(self, case: Case) -> None:
        await self._set("workspace", "settings", case.workspace, json.dumps({"quiet": [ALL_DAY]}).encode())

    async def leave(self, case: Case, ago_s: float) -> None:
        await self._set("visit", "left_at", case.visit, from_us(clock.now_us() - round(ago_s * SECOND_US)))

    async def wipe_visit(self, case: Case) -> None:
        await self._admin.execute("DELETE FROM visit WHERE id = $1", case.visit)

    async def register_token(self, case: Case, token: str, lane: str = "webhook") -> None:
        await self._set("device", "push_token", case.device, token)
        await self._set("device", "push_lane", case.device, lane)
        await self._set("device", "push_at", case.device, from_us(clock.now_us()))

    async def taken_ago_s(self, case: Case) -> float | None:
        return await self._admin.fetchval(
            "SELECT extract(epoch FROM clock_timestamp() - push_ok_at)::float8 FROM device WHERE id = $1", case.device
        )

    async def prove(self, case: Case) -> None:
        await self._set("device", "proven", case.device, True)

    async def corrupt(self, case: Case) -> None:
        await self._set("offer", "message", case.offer, b'{"title": 7')

    async def erase(self, case: Case) -> None:
        await self._admin.execute("DELETE FROM offer WHERE user_id = $1", case.user)
        await self._admin.execute("DELETE FROM app_user WHERE id = $1", case.user)

    async def _set(self, table: str, column: str, key: UUID, value: Any) -> None:
        await self._admin.execute(f"UPDATE {table} SET {column} = $2 WHERE id = $1", key, value)

    @asynccontextmanager
    async def person_locked(self, case: Case) -> AsyncIterator[None]:
        other = await asyncpg.connect(self._dsn)
        try:
            async with other.transaction():
                await other.execute("SELECT 1 FROM app_user WHERE id = $1 FOR NO KEY UPDATE", case.user)
                yield
        finally:
            await other.close()

    async def pass_time(self, seconds: float) -> None:
        """Everything that lies in the outbox is so much older."""
        await self._admin.execute(
            "UPDATE outbox SET due = due - make_interval(secs => $1), "
            "lease_until = lease_until - make_interval(secs => $1)",
            seconds,
        )
        await self._admin.execute(
            "UPDATE device SET push_at = push_at - make_interval(secs => $1), "
            "push_ok_at = push_ok_at - make_interval(secs => $1)",
            seconds,
        )
        await self._admin.execute("UPDATE offer SET expires_at = expires_at - make_interval(secs => $1)", seconds)


@pytest.fixture(params=["memory", "postgres"])
def world_database(request: pytest.FixtureRequest) -> Any:
    """None for the world in memory, which must not start a server."""
    return None if request.param == "memory" else request.getfixturevalue("database")


@pytest.fixture
async def world(world_database: Any) -> AsyncIterator[MemoryWorld | PostgresWorld]:
    """The same tests for both."""
    if world_database is None:
        yield MemoryWorld()
        return
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(world_database.app_dsn, size=4))
        admin = await asyncpg.connect(world_database.superuser_dsn)
        stack.push_async_callback(admin.close)
        yield PostgresWorld(PostgresOutbox(pool, push=["webhook", "log"]), admin, world_database.superuser_dsn)


@pytest.fixture(scope="session")
def new_memory_world() -> type[MemoryWorld]:
    """For tests that make many worlds."""
    return MemoryWorld
