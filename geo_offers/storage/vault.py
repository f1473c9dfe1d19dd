"""The workspaces' push credentials, sealed in PostgreSQL: implements both ports of `pipeline.credentials`."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from geo_offers import wire
from geo_offers.errors import Conflict, Keyless, NotFound
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.credentials import KINDS, Credential, facts
from geo_offers.storage.auditing import audit
from geo_offers.storage.pool import Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.sealing import Seals, Unopened, sealed_by
from geo_offers.storage.workspaces import raise_catalog

FRESH_S: Final = 5.0
MOST_HELD: Final = 10_000
_NO_KEY: Final = (
    "this service has no key to keep credentials under; its operator sets GEO_OFFERS_CREDENTIALS_KEY and starts it anew"
)

_log = structlog.get_logger()


class PostgresVault:
    """`pipeline.credentials.Vault`. Of many sends at once one asks the database.

    What cannot be opened counts as none: a lane says then that it cannot sign in, and the log has why.
    """

    def __init__(self, pool: Pool, seals: Callable[[], Seals], *, fresh_s: float = FRESH_S) -> None:
        """seals: the keys, asked for at the first need."""
        self._pool = pool
        self._seals = seals
        self._fresh_s = fresh_s
        self._held: dict[tuple[UUID, str], tuple[float, asyncio.Task[Credential | None]]] = {}

    async def of(self, workspace: UUID, lane: str) -> Credential | None:
        now = asyncio.get_running_loop().time()
        until, found = self._held.get((workspace, lane), (0.0, None))
        if found is None or now >= until or (found.done() and (found.cancelled() or found.exception())):
            self._make_room(now)
            found = asyncio.create_task(self._read(workspace, lane), name=f"credentials-{lane}")
            self._held[workspace, lane] = now + self._fresh_s, found
        return await asyncio.shield(found)  # others wait for it too

    def _make_room(self, now: float) -> None:
        if len(self._held) >= MOST_HELD:
            self._held = {key: held for key, held in self._held.items() if held[0] > now}
        if len(self._held) >= MOST_HELD:
            del self._held[next(iter(self._held))]

    async def _read(self, workspace: UUID, lane: str) -> Credential | None:
        async with transaction(self._pool, [workspace]) as connection:
            sealed = await connection.fetchval(sql("credential_read"), workspace, lane)
        if sealed is None:
            return None
        try:
            return _opened(self._seals(), sealed, workspace, lane)
        except Unopened:
            _log.error("credentials cannot be opened", workspace=str(workspace), lane=lane, key=sealed_by(sealed))
            return None


class PostgresCredentials:
    """`pipeline.credentials.Credentials`."""

    def __init__(self, pool: Pool, seals: Callable[[], Seals]) -> None:
        self._pool = pool
        self._seals = seals

    async def all(self, workspace: UUID) -> list[wire.PushCredential]:
        async with transaction(self._pool, [workspace]) as connection:
            return [_told(row) for row in await connection.fetch(sql("credentials_all"), workspace)]

    async def put(
        self, caller: Caller, lane: wire.LaneName, credential: Credential, *, keep_key: bool = False
    ) -> tuple[wire.PushCredential, bool]:
        seals = self._seals()
        if not seals:
            raise Keyless(_NO_KEY)
        async with transaction(self._pool, [caller.workspace]) as connection:
            await connection.fetchrow(sql("workspace_lock"), caller.workspace)
            if keep_key:
                credential = await self._with_its_key(connection, caller.workspace, lane, credential)
            sealed = seals.seal(msgspec.json.encode(credential), bound(caller.workspace, lane))
            told = msgspec.json.encode(facts(credential))
            row = await connection.fetchrow(sql("credential_put"), caller.workspace, lane, sealed, told, caller.id)
            assert row is not None  # it was written
            await raise_catalog(connection, caller.workspace)
            await audit(connection, caller, "push.credentials", lane)
        return _told(row), row["new"]

    async def _with_its_key(
        self, connection: Connection, workspace: UUID, lane: str, credential: Credential
    ) -> Credential:
        """With the key that is there, if there is one."""
        sealed = await connection.fetchval(sql("credential_read"), workspace, lane)
        if sealed is None:
            return credential
        try:
            return replace(credential, key=_opened(self._seals(), sealed, workspace, lane).key)
        except Unopened as error:
            raise Conflict("the key that is there cannot be opened; give another, or delete it first") from error

    async def delete(self, caller: Caller, lane: wire.LaneName) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await connection.fetchrow(sql("workspace_lock"), caller.workspace)
            if await connection.fetchval(sql("credential_delete"), caller.workspace, lane) is None:
                raise NotFound(f"this workspace has no credentials for {lane}")
            await raise_catalog(connection, caller.workspace)
            await audit(connection, caller, "push.forget", lane)


def bound(workspace: UUID, lane: str) -> bytes:
    """What a sealed credential belongs to; in another row it does not open."""
    return workspace.bytes + lane.encode()


def _opened(seals: Seals, sealed: bytes, workspace: UUID, lane: str) -> Credential:
    return msgspec.json.decode(seals.open(sealed, bound(workspace, lane)), type=KINDS[lane])


def _told(row: Any) -> wire.PushCredential:
    named = {name: row[name] for name in ("lane", "version", "created_at", "created_by")}
    return msgspec.convert(named | msgspec.json.decode(row["facts"]), wire.PushCredential)


# ------------------------------------------------------------------------------------------------ for the operator
async def unopened(pool: Pool, seals: Callable[[], Seals]) -> tuple[int, Sequence[str]]:
    """How many credentials there are, and of each that does not open, whose it is and by which key it was sealed."""
    found, shut = 0, []
    async with transaction(pool, ()) as connection:
        workspaces = [row["id"] for row in await connection.fetch(sql("workspaces_all"))]
    for workspace in workspaces:
        async with transaction(pool, [workspace]) as connection:
            rows = await connection.fetch(sql("credentials_all"), workspace)
        for row in rows:
            found += 1
            try:
                _opened(seals(), row["sealed"], workspace, row["lane"])
            except Unopened:
                shut.append(f"{row['lane']} of {workspace}, sealed by the key {sealed_by(row['sealed'])}")
    return found, shut


async def reseal(pool: Pool, seals: Seals) -> tuple[int, int]:
    """Put all credentials under the first key: how many were not, and how many do not open and stay as they are."""
    if not seals:
        raise Keyless(_NO_KEY)
    done = shut = 0
    async with transaction(pool, ()) as connection:
        workspaces = [row["id"] for row in await connection.fetch(sql("workspaces_all"))]
    for workspace in workspaces:
        async with transaction(pool, [workspace]) as connection:
            for row in await connection.fetch(sql("credentials_all"), workspace):
                lane, sealed = row["lane"], row["sealed"]
                if sealed_by(sealed) == seals.first:
                    continue
                try:
                    plain = seals.open(sealed, bound(workspace, lane))
                except Unopened:
                    shut += 1
                    continue
                anew = seals.seal(plain, bound(workspace, lane))
                done += await connection.fetchval(sql("credential_reseal"), workspace, lane, sealed, anew) is not None
    return done, shut
