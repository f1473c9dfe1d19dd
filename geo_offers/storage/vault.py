"""Secrets in PostgreSQL, sealed: the workspaces' push credentials, and what is made here to sign by.

Implements both ports of `pipeline.credentials`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from geo_offers import wire
from geo_offers.errors import Conflict, Keyless, NotFound
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.credentials import KINDS, Credential, facts
from geo_offers.storage.auditing import audit
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.sealing import SECRET_BYTES, Seals, Unopened, sealed_by
from geo_offers.storage.workspaces import raise_catalog

FRESH_S: Final = 5.0
MOST_HELD: Final = 10_000
OWNERS: Final = 500
_NO_KEY: Final = (
    "this service has no key to keep secrets under; its operator sets GEO_OFFERS_CREDENTIALS_KEY and starts it anew"
)
_SHUT: Final = (
    "no key here opens this secret; the operator puts the one it was sealed by back into GEO_OFFERS_CREDENTIALS_KEY "
    "(geo-offers doctor names it)"
)

USER_PROOF: Final = "user_proof"
INTERACTIONS: Final = "interactions"
SERVICE_KEY: Final = "service_key"

_log = structlog.get_logger()


def webhook(ident: UUID) -> str:
    """What the secrets of an endpoint are called; lanes and the names above are those of the others."""
    return f"webhook {ident}"


class Safe:
    """Keeps the secrets that are made here, of `SECRET_BYTES` each.

    Those without which nothing is served lie in plain where there is no key: `geo-offers doctor` says so. What is in
    plain opens as it is, until it is resealed.
    """

    def __init__(self, seals: Callable[[], Seals]) -> None:
        """seals: the keys, asked for at the first need."""
        self._seals = seals

    def keep(self, secret: bytes, workspace: UUID, name: str, *, plain: bool = False) -> bytes:
        """What is to lie in the database. Keyless where there is no key, unless it may be `plain`."""
        seals = self._seals()
        if not seals and not plain:
            raise Keyless(_NO_KEY)
        return seals.seal(secret, bound(workspace, name)) if seals else secret

    def open(self, kept: bytes, workspace: UUID, name: str) -> bytes:
        """Keyless where no key here opens it; the log names the one that would."""
        if len(kept) == SECRET_BYTES:
            return kept
        try:
            return self._seals().open(kept, bound(workspace, name))
        except Unopened as error:
            _log.error("a secret cannot be opened", workspace=str(workspace), name=name, key=sealed_by(kept))
            raise Keyless(f"{name}: {_SHUT}") from error


async def own_secret(connection: Connection, safe: Safe, workspace: UUID, name: str) -> bytes | None:
    """`USER_PROOF` or `INTERACTIONS` of a workspace; None where there is no such workspace. Keyless as `Safe.open`."""
    row = await connection.fetchrow(sql("workspace_secrets"), workspace)
    return None if row is None else safe.open(row[name], workspace, name)


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


def bound(workspace: UUID, name: str) -> bytes:
    """What a sealed secret belongs to; in another row it does not open. name: of a credential its lane."""
    return workspace.bytes + name.encode()


def _opened(seals: Seals, sealed: bytes, workspace: UUID, lane: str) -> Credential:
    return msgspec.json.decode(seals.open(sealed, bound(workspace, lane)), type=KINDS[lane])


def _told(row: Any) -> wire.PushCredential:
    named = {name: row[name] for name in ("lane", "version", "created_at", "created_by")}
    return msgspec.convert(named | msgspec.json.decode(row["facts"]), wire.PushCredential)


# ------------------------------------------------------------------------------------------------ for the operator
@dataclass(frozen=True, slots=True)
class Looked:
    """All secrets of an installation. plain: how many are not sealed; shut: those that no key here opens."""

    found: int
    plain: int
    shut: Sequence[str]


async def looked(pool: Pool, seals: Callable[[], Seals]) -> Looked:
    found, plain, shut = 0, 0, []
    for owners in await _owners(pool):
        async with transaction(pool, owners) as connection:
            rows = await connection.fetch(sql("secrets_all"), owners)
        found += len(rows)
        for row in rows:
            workspace, name, kept = row["workspace"], row["name"], row["kept"]
            if len(kept) == SECRET_BYTES:
                plain += 1
                continue
            try:
                seals().open(kept, bound(workspace, name))
            except Unopened:
                shut.append(f"{name} of {workspace}, sealed by the key {sealed_by(kept)}")
    return Looked(found, plain, shut)


async def reseal(pool: Pool, seals: Seals) -> tuple[int, int]:
    """Put all secrets under the first key: how many were not, and how many do not open and stay as they are."""
    if not seals:
        raise Keyless(_NO_KEY)
    done = shut = 0
    for owners in await _owners(pool):
        async with transaction(pool, owners) as connection:
            for row in await connection.fetch(sql("secrets_all"), owners):
                workspace, name, kept = row["workspace"], row["name"], row["kept"]
                plain = len(kept) == SECRET_BYTES
                if not plain and sealed_by(kept) == seals.first:
                    continue
                try:
                    secret = kept if plain else seals.open(kept, bound(workspace, name))
                except Unopened:
                    shut += 1
                    continue
                anew = seals.seal(secret, bound(workspace, name))
                done += await connection.fetchval(sql("secret_reseal"), workspace, name, kept, anew)
    return done, shut


async def _owners(pool: Pool) -> Sequence[Sequence[UUID]]:
    """The service itself and the workspaces, so many at a time."""
    async with transaction(pool, ()) as connection:
        owners = [NIL, *(row["id"] for row in await connection.fetch(sql("workspaces_all")))]
    return [owners[start : start + OWNERS] for start in range(0, len(owners), OWNERS)]
