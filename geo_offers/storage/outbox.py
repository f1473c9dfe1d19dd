"""The outbox in PostgreSQL: implements the dispatcher's port."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import structlog

from geo_offers import instants, wire
from geo_offers.errors import Unavailable
from geo_offers.people.quiet import QuietRule
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.credentials import TENANT_LANES
from geo_offers.pipeline.lanes import Message, replace_key
from geo_offers.pipeline.outbox import Ready, Rechecked, Taken
from geo_offers.pipeline.recheck import Objection, Standing, objection
from geo_offers.pipeline.settlement import MOST_ATTEMPTS, Claim, Close, DeadToken, Move, Retry, Settlement
from geo_offers.storage import rows
from geo_offers.storage.pool import Connection, Pool, borrowed, columns, listed, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.receipts import Seen, seen
from geo_offers.storage.surroundings import silenced

_CLAIM: Final = 6  # columns that make a claim, in its order
_KEPT: Final = 1
_RELEASED: Final = 2
_LOG = structlog.stdlib.get_logger("geo_offers.outbox")


class _Settings(msgspec.Struct, frozen=True):
    """What counts here of the workspace's settings; the rest is not looked at."""

    time_zone: str = "UTC"
    quiet: list[wire.LegalQuiet] = []
    paused: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    zone: str
    quiet: tuple[QuietRule, ...]
    paused: bool


@lru_cache(maxsize=1_024)  # the same of every offer of a workspace
def _rules(settings: bytes) -> _Rules:
    read = msgspec.json.decode(settings, type=_Settings)
    return _Rules(read.time_zone, rows.legal_quiet(read.quiet), read.paused)


class _Text(msgspec.Struct, frozen=True):
    title: str
    body: str
    link: str | None = None
    data: dict[str, str] | None = None


class PostgresOutbox:
    """Raises Unavailable where the database is busy or away."""

    def __init__(self, pool: Pool, catalog: Catalog | None = None, push: Collection[str] = ()) -> None:
        """catalog: what this process holds of all workspaces; read as need be where there is none.

        push: the push lanes that are served here.
        """
        self._pool = pool
        self._catalog = catalog or Catalog()
        self._push = list(push)

    async def take(self, lane: str, limit: int, lease_s: float) -> Taken:
        async with borrowed(self._pool) as connection:
            found = await connection.fetch(sql("outbox_take"), lane, limit, lease_s, MOST_ATTEMPTS)
        claims = [Claim(*row[:_CLAIM]) for row in found]
        try:
            return Taken(claims, await self._judged([row for row in found if row["offer"] is not None], claims))
        except Unavailable:  # they are claimed: the look that follows raises it, and puts them back
            return Taken(claims)
        except Exception:  # noqa: BLE001  the looks that follow bound it to its row
            _LOG.exception("look_failed", lane=lane)
            return Taken(claims)

    async def claim(self, lane: str, limit: int, lease_s: float) -> Sequence[Claim]:
        async with borrowed(self._pool) as connection:  # rows that have no policy
            return [Claim(*row) for row in await connection.fetch(sql("outbox_claim"), lane, limit, lease_s)]

    async def recheck(self, claims: Sequence[Claim], lease_s: float) -> Rechecked:
        asked = columns([(claim.offer, claim.token) for claim in claims], 2)
        async with borrowed(self._pool) as connection:
            found = await connection.fetch(sql("outbox_look"), listed(_workspaces(claims)), *asked, lease_s)
        return await self._judged(found, claims)

    async def _judged(self, found: Sequence[Any], claims: Sequence[Claim]) -> Rechecked:
        quiet = await silenced(self._pool, self._catalog, found)
        out = _sort_out(found, {claim.offer: claim for claim in claims}, quiet)
        return Rechecked(out.ready, out.over, out.busy, out.unreadable)

    async def finish(self, settlements: Sequence[Settlement]) -> Collection[UUID]:
        closes = [settlement for settlement in settlements if isinstance(settlement, Close)]
        retries = [settlement for settlement in settlements if isinstance(settlement, Retry)]
        moves = [settlement for settlement in settlements if isinstance(settlement, Move)]
        dead = [s.dead for s in settlements if not isinstance(s, Retry) and s.dead is not None]
        if len(closes) == len(settlements) and not dead:  # nearly always: one statement is its own transaction
            async with borrowed(self._pool) as connection:
                return await _close(connection, closes, _workspaces(close.claim for close in closes))
        async with transaction(self._pool, _workspaces(settlement.claim for settlement in settlements)) as connection:
            await _bury(connection, dead)
            applied = await _retry(connection, retries)
            applied |= await _move(connection, moves, self._push)
            applied |= await _close(connection, closes)  # locks budgets, after all outbox rows
        return applied

    async def adopt(self, served: Collection[str], lane: str) -> bool:
        async with transaction(self._pool, ()) as connection:
            strays = [row["workspace"] for row in await connection.fetch(sql("outbox_strays"), list(served))]
        if not strays:
            return True
        async with transaction(self._pool, strays) as connection:
            left: int = await connection.fetchval(sql("outbox_adopt"), list(served), lane)
        return left == 0

    async def hasten(self, lane: str, devices: Mapping[UUID, UUID]) -> None:
        async with transaction(self._pool, set(devices.values())) as connection:
            await connection.execute(sql("outbox_hasten"), lane, list(devices))

    async def recall(
        self, workspaces: Collection[UUID], *, campaign: UUID | None = None, store: str | None = None
    ) -> None:
        async with transaction(self._pool, workspaces) as connection:
            await connection.execute(sql("outbox_recall"), list(workspaces), campaign, store)

    async def shown(self, workspace: UUID, offer: UUID, device: UUID) -> Literal["news", "known", "unknown"]:
        async with transaction(self._pool, [workspace]) as connection:
            person = await connection.fetchval(sql("outbox_shown_lock"), offer, device)
            if person is None:
                return "unknown"
            (row,) = await seen(connection, [Seen(offer, person, "shown")])
        return "news" if row["news"] else "known"

    async def oldest_due_s(self, lane: str) -> float:
        async with borrowed(self._pool) as connection:
            return float(await connection.fetchval(sql("outbox_oldest"), lane))


# ---------------------------------------------------------------------------------------------- reading
@dataclass(slots=True)
class _SortedOut:
    ready: list[Ready] = field(default_factory=list)
    over: list[Close] = field(default_factory=list)
    busy: list[Claim] = field(default_factory=list)
    unreadable: list[Claim] = field(default_factory=list)


def _sort_out(found: Iterable[Any], claims: Mapping[UUID, Claim], quiet: Collection[UUID]) -> _SortedOut:
    out = _SortedOut()
    for row in found:
        claim = claims[row["offer"]]
        if row["locked"]:
            _judge(row, claim, out, silenced=row["offer"] in quiet)
        else:
            out.busy.append(claim)
    return out


def _judge(row: Any, claim: Claim, out: _SortedOut, *, silenced: bool) -> None:
    try:
        message = _message(row, claim.workspace)
        why = objection(_standing(row, silenced=silenced), row["now_us"])
        for instant_us in (message.created_us, message.expires_us):
            instants.from_us(instant_us)
    except (ValueError, KeyError, OSError, OverflowError):  # not our JSON, a zone that is none, no day of the calendar
        _LOG.exception("offer_unreadable", offer=str(claim.offer))
        out.unreadable.append(claim)
        return
    if why is None:
        out.ready.append(Ready(claim, message))
    else:
        out.over.append(_over(claim, why))


def _message(row: Any, workspace: UUID) -> Message:
    text = msgspec.json.decode(row["message"], type=_Text)
    return Message(
        offer=row["offer"],
        workspace=workspace,
        user=row["user_id"],
        device=row["device"],
        platform=row["platform"],
        push_token=row["push_token"],
        push_keys=row["push_keys"],
        campaign=row["campaign"],
        fence=row["fence"],
        title=text.title,
        body=text.body,
        link=text.link,
        data=text.data,
        replace_key=replace_key(row["decision"]),
        created_us=row["created_us"],
        expires_us=row["expires_us"],
    )


def _standing(row: Any, *, silenced: bool) -> Standing:
    rules = _rules(row["settings"])
    rhythm = rows.rhythm(row["rhythm"])
    return Standing(
        expires_us=row["expires_us"],
        trigger=row["trigger"],
        replay=row["replay"],
        consents=rows.consents(row["consents"]),
        mute=rhythm.mute,
        channels=rhythm.channels,
        quiet=(*rhythm.quiet, *rules.quiet),
        zone=ZoneInfo(row["time_zone"] or rules.zone),
        channel="inapp" if row["lane"] == "inapp" else "push",
        campaign=row["campaign"],
        store=row["store"],
        categories=frozenset(row["categories"]),
        campaign_state=row["campaign_state"],
        fence_live=row["fence_live"],
        tripped=row["tripped"] or row["store_paused"],
        paused=rules.paused or row["all_paused"],
        silenced=silenced,
        visit_known=row["visit_known"],
        left_us=row["left_us"],
    )


# ---------------------------------------------------------------------------------------------- writing
def _workspaces(claims: Iterable[Claim]) -> set[UUID]:
    return {claim.workspace for claim in claims}


def _over(claim: Claim, why: Objection) -> Close:
    """Make the end of a message that may not be sent: what never went unanswered was never shown."""
    return Close(claim, why.state, keep=claim.unanswered > 0, detail=why.detail)


async def _bury(connection: Connection, dead: Sequence[DeadToken]) -> None:
    if dead:
        asked = [(d.workspace, d.lane, d.token, None if d.at_us is None else instants.from_us(d.at_us)) for d in dead]
        await connection.execute(sql("outbox_dead_tokens"), *columns(asked, 4))


async def _close(
    connection: Connection, closes: Sequence[Close], workspaces: Collection[UUID] | None = None
) -> set[UUID]:
    """End these offers. workspaces: where this is no transaction that sees them already."""
    if not closes:
        return set()
    asked = [
        (c.claim.offer, c.claim.token, c.state, c.detail, _KEPT if c.keep else _RELEASED, c.receipt) for c in closes
    ]
    scope = None if workspaces is None else listed(workspaces)
    return {row["offer"] for row in await connection.fetch(sql("outbox_close"), scope, *columns(asked, 6))}


async def _retry(connection: Connection, retries: Sequence[Retry]) -> set[UUID]:
    if not retries:
        return set()
    asked = [(r.claim.offer, r.claim.token, r.after_s, r.attempts, r.unanswered) for r in retries]
    return {row["offer"] for row in await connection.fetch(sql("outbox_retry"), *columns(asked, 5))}


async def _move(connection: Connection, moves: Sequence[Move], push: Sequence[str]) -> set[UUID]:
    if not moves:
        return set()
    asked = [(m.claim.offer, m.claim.token, m.lane, None if m.dead is None else m.dead.token) for m in moves]
    found = await connection.fetch(sql("outbox_move"), *columns(asked, 4), push, list(TENANT_LANES))
    return {row["offer"] for row in found}
