"""Webhooks in PostgreSQL: the endpoints of the company's own systems, and the queue of their events."""

import secrets
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from geo_offers import wire
from geo_offers.errors import Conflict, Keyless, NotFound
from geo_offers.instants import from_us
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.notifying import FAILING_S, TEST, Done, Post, Told
from geo_offers.storage import cursors
from geo_offers.storage.auditing import audit, note
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.sealing import SECRET_BYTES
from geo_offers.storage.vault import Safe, webhook
from geo_offers.storage.workspaces import raise_catalog

ENDPOINTS: Final = 20
ROTATION_S: Final = 86_400.0
REPLAYED: Final = 10_000
GIVEN_UP: Final = 10_000
SHUT_S: Final = 60.0  # until it is looked for the key again
_NOTIFIER: Final = "events"  # who it was, in the audit
_NEWEST: Final = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))
_NONE = "there is no such webhook"
_LOG = structlog.stdlib.get_logger("geo_offers.notifying")


def spelled(secret: bytes) -> str:
    """As the company is told it, and as Standard Webhooks writes it."""
    return "whsec_" + b64encode(secret).decode()


# ---------------------------------------------------------------------------------------------- what is told
async def read_types(connection: Connection, workspace: UUID) -> frozenset[str]:
    """What any endpoint of the workspace wants to be told."""
    return frozenset(row["type"] for row in await connection.fetch(sql("webhooks_types"), workspace))


async def tell(connection: Connection, events: Sequence[Told]) -> None:
    """In the transaction that does what is told."""
    told = [(one.workspace, one.type, one.user, from_us(one.at_us), one.data) for one in events]
    await connection.execute(sql("webhooks_tell"), *columns(told, 5))


# ---------------------------------------------------------------------------------------------- the queue
class PostgresEventQueue:
    """`pipeline.notifying.EventQueue`."""

    def __init__(self, pool: Pool, safe: Safe) -> None:
        self._pool = pool
        self._safe = safe

    async def claim(self, room: Mapping[UUID, int], each: int, most: int, lease_s: float) -> Sequence[Post]:
        """What is claimed and no more there, or of a disabled endpoint, is ended here.

        Where no key here opens a secret of the endpoint, nothing is sent, and its events wait.
        """
        async with transaction(self._pool, ()) as connection:
            claimed = await connection.fetch(
                sql("webhooks_claim"), list(room), list(room.values()), each, most, lease_s
            )
        if not claimed:
            return ()
        async with transaction(self._pool, {row["workspace"] for row in claimed}) as connection:
            asked = columns([(row["endpoint"], row["event"]) for row in claimed], 2)
            found = {
                (row["endpoint"], row["event"]): row for row in await connection.fetch(sql("webhooks_look"), *asked)
            }
            lost = [key for row in claimed if (key := (row["endpoint"], row["event"])) not in found]
            if lost:
                await connection.execute(sql("webhooks_drop"), *columns(lost, 2))
                await _give_up(connection, [endpoint for endpoint, _ in lost])
            endpoints = {endpoint: row for (endpoint, _), row in found.items()}
            signing = {endpoint: self._signing(row) for endpoint, row in endpoints.items()}
            posts = [
                _post(row, seen, signing[row["endpoint"]])
                for row in claimed
                if (seen := found.get((row["endpoint"], row["event"])))
            ]
            unsigned = [_finished(Done(post, "due", None, SHUT_S)) for post in posts if not post.secrets]
            if unsigned:
                await connection.execute(sql("webhooks_finish"), *columns(unsigned, 9))
        return [post for post in posts if post.secrets]

    def _signing(self, row: Any) -> Sequence[str]:
        """The secrets of an endpoint that open, as the company knows them."""
        opened = []
        for kept in (row["secret"], row["former"]):
            with suppress(Keyless):
                if kept is not None:
                    opened.append(spelled(self._safe.open(kept, row["workspace"], webhook(row["endpoint"]))))
        return opened

    async def finish(self, done: Sequence[Done]) -> None:
        failed = {one.post.endpoint for one in done if one.answer is not None and not one.answer.good}
        gone = {one.post.endpoint for one in done if one.answer is not None and one.answer.gone}
        async with transaction(self._pool, {one.post.workspace for one in done}) as connection:
            await connection.execute(sql("webhooks_finish"), *columns([_finished(one) for one in done], 9))
            if failed:
                await _give_up(connection, await _disable(connection, gone=gone, failed=failed))

    async def bound(self, most: int) -> None:
        async with transaction(self._pool, ()) as connection:
            found = await connection.fetch(sql("webhooks_backlogs"), most)
        if found:
            async with transaction(self._pool, {row["workspace"] for row in found}) as connection:
                await _disable(connection, crowded={row["endpoint"] for row in found})

    async def oldest_due_s(self) -> float:
        async with transaction(self._pool, ()) as connection:
            return float(await connection.fetchval(sql("webhooks_oldest")))


def _post(claim: Any, seen: Any, signing: Sequence[str]) -> Post:
    return Post(
        endpoint=claim["endpoint"],
        event=claim["event"],
        token=claim["token"],
        attempts=claim["attempts"],
        workspace=claim["workspace"],
        url=seen["url"],
        secrets=signing,
        body=_body(seen),
    )


def _body(seen: Any) -> bytes:
    location = None if seen["lat"] is None else wire.Location(lat=seen["lat"], lon=seen["lon"])
    event = wire.WebhookEvent(
        kind=seen["type"], timestamp=seen["at"], data=msgspec.Raw(seen["body"]), location=location
    )
    return msgspec.json.encode(event)


def _finished(done: Done) -> tuple[Any, ...]:
    post, answer = done.post, done.answer
    key = (post.endpoint, post.event, post.token, done.state, done.after_s)
    return (*key, None, 0, None, False) if answer is None else (*key, answer.status, answer.ms, answer.detail, True)


async def _disable(
    connection: Connection,
    *,
    gone: Collection[UUID] = (),
    crowded: Collection[UUID] = (),
    failed: Collection[UUID] = (),
) -> Sequence[UUID]:
    found = await connection.fetch(sql("webhooks_disable"), list(gone), list(crowded), list(failed), FAILING_S)
    for row in found:
        await note(connection, row["workspace"], _NOTIFIER, "webhook.disable", str(row["id"]))
        await raise_catalog(connection, row["workspace"])
        _LOG.warning("webhook_disabled", webhook=str(row["id"]), why=row["disabled_why"])
    return [row["id"] for row in found]


async def _give_up(connection: Connection, endpoints: Collection[UUID]) -> None:
    """A slice of what waits for these, which are disabled or gone: what is left is claimed, and brings the next one."""
    if endpoints:
        await connection.execute(sql("webhooks_give_up"), list(set(endpoints)), GIVEN_UP)


# ---------------------------------------------------------------------------------------------- the managers' calls
class PostgresWebhooks:
    """`pipeline.notifying.Webhooks`."""

    def __init__(self, pool: Pool, safe: Safe) -> None:
        self._pool = pool
        self._safe = safe

    async def add(self, caller: Caller, ident: UUID, body: wire.WebhookBody) -> wire.WebhookMade:
        workspace, secret = caller.workspace, secrets.token_bytes(SECRET_BYTES)
        kept = self._safe.keep(secret, workspace, webhook(ident))
        row = (ident, workspace, body.url, sorted(set(body.types)), kept, body.coordinates, ENDPOINTS)
        async with transaction(self._pool, [workspace]) as connection:
            await connection.fetchrow(sql("workspace_lock"), workspace)  # of two at once the second counts the first
            if await connection.fetchval(sql("webhooks_insert"), *row) is None:
                raise Conflict(f"a workspace has at most {ENDPOINTS} webhooks; delete one first")
            await _changed(connection, caller, "webhook.add", ident)
            made = await _read(connection, workspace, ident)
        return wire.WebhookMade(secret=spelled(secret), **msgspec.structs.asdict(made))

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.WebhookPage:
        (after,) = cursors.decode(cursor, tuple[UUID], (UUID(int=0),))
        async with transaction(self._pool, [workspace]) as connection:
            found = await connection.fetch(sql("webhooks_page"), workspace, after, limit + 1)
        more = cursors.encode((found[limit - 1]["id"],)) if len(found) > limit else None
        return wire.WebhookPage(items=[_webhook(row) for row in found[:limit]], next=more)

    async def get(self, workspace: UUID, ident: UUID) -> wire.Webhook:
        async with transaction(self._pool, [workspace]) as connection:
            return await _read(connection, workspace, ident)

    async def change(self, caller: Caller, ident: UUID, patch: wire.WebhookPatch) -> wire.Webhook:
        given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
        types = sorted(set(given["types"])) if "types" in given else None
        async with transaction(self._pool, [caller.workspace]) as connection:
            await _lock(connection, caller, ident)
            await connection.execute(
                sql("webhooks_change"), ident, given.get("url"), types, given.get("coordinates"), given.get("disabled")
            )
            if given.get("disabled"):
                await _give_up(connection, [ident])
            await _changed(connection, caller, "webhook.change", ident)
            return await _read(connection, caller.workspace, ident)

    async def delete(self, caller: Caller, ident: UUID) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            if await connection.fetchval(sql("webhooks_delete"), caller.workspace, ident) is None:
                raise NotFound(_NONE)
            await _changed(connection, caller, "webhook.delete", ident)

    async def rotate(self, caller: Caller, ident: UUID) -> wire.WebhookSecret:
        secret = secrets.token_bytes(SECRET_BYTES)
        kept = self._safe.keep(secret, caller.workspace, webhook(ident))
        async with transaction(self._pool, [caller.workspace]) as connection:
            await _lock(connection, caller, ident)
            former_until = await connection.fetchval(sql("webhooks_rotate"), ident, kept, ROTATION_S)
            await audit(connection, caller, "webhook.rotate", str(ident))
        return wire.WebhookSecret(secret=spelled(secret), former_until=former_until)

    async def log(self, workspace: UUID, ident: UUID, cursor: str | None, limit: int) -> wire.WebhookDeliveryPage:
        before = cursors.decode(cursor, tuple[datetime, UUID], _NEWEST)
        async with transaction(self._pool, [workspace]) as connection:
            await _read(connection, workspace, ident)
            found = await connection.fetch(sql("webhooks_deliveries"), workspace, ident, *before, limit + 1)
        more = (
            cursors.encode((found[limit - 1]["created_at"], found[limit - 1]["event"])) if len(found) > limit else None
        )
        return wire.WebhookDeliveryPage(items=[_delivery(row) for row in found[:limit]], next=more)

    async def replay(self, caller: Caller, ident: UUID, event: UUID) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await _lock(connection, caller, ident, enabled=True)
            if await connection.fetchval(sql("webhooks_replay"), caller.workspace, ident, event) is None:
                raise NotFound("there is no such event any more")
            await audit(connection, caller, "webhook.replay", str(ident))

    async def replay_since(self, caller: Caller, ident: UUID, since: datetime) -> int:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await _lock(connection, caller, ident, enabled=True)
            found = await connection.fetch(sql("webhooks_replay_since"), caller.workspace, ident, since, REPLAYED)
            await audit(connection, caller, "webhook.replay", str(ident))
        return len(found)

    async def test(self, caller: Caller, ident: UUID, event: UUID) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await _lock(connection, caller, ident, enabled=True)
            body = msgspec.json.encode({"webhook": ident})
            await connection.execute(sql("webhooks_test"), caller.workspace, ident, event, TEST, body)


async def _lock(connection: Connection, caller: Caller, ident: UUID, *, enabled: bool = False) -> None:
    """NotFound where there is none; Conflict where it has to be `enabled`, and is not."""
    row = await connection.fetchrow(sql("webhooks_lock"), caller.workspace, ident)
    if row is None:
        raise NotFound(_NONE)
    if enabled and row["disabled_at"] is not None:
        raise Conflict("this webhook is disabled, and sent nothing; enable it first")


async def _changed(connection: Connection, caller: Caller, action: str, ident: UUID) -> None:
    """Whoever decides reads what is to be told with the catalog."""
    await audit(connection, caller, action, str(ident))
    await raise_catalog(connection, caller.workspace)


async def _read(connection: Connection, workspace: UUID, ident: UUID) -> wire.Webhook:
    row = await connection.fetchrow(sql("webhooks_read"), workspace, ident)
    if row is None:
        raise NotFound(_NONE)
    return _webhook(row)


def _webhook(row: Any) -> wire.Webhook:
    return wire.Webhook(**{name: value for name, value in row.items() if value is not None})


def _delivery(row: Any) -> wire.WebhookDelivery:
    told = {name: row[name] for name in ("event", "type", "at", "state", "attempts", "due")}
    log = [wire.WebhookAttempt(at=at, status=status, ms=ms, detail=detail) for at, status, ms, detail in row["log"]]
    return wire.WebhookDelivery(log=log, **told)
