"""API keys, the service's own keys, and the workspaces that come into being with their first key."""

import secrets
from base64 import b64encode
from typing import Any, Final
from uuid import UUID

from geo_offers.errors import Invalid, Keyless
from geo_offers.instants import to_us
from geo_offers.pipeline.callers import Caller, Kind, Role
from geo_offers.pipeline.tokens import PREFIXES, RETIRED_GOOD_S, KeyText, ServiceKey, digest, new_secret, workspace_id
from geo_offers.storage.auditing import CLI, note
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.sealing import SECRET_BYTES, Seals
from geo_offers.storage.vault import INTERACTIONS, SERVICE_KEY, USER_PROOF, Safe, own_secret

UNSEALED: Final = Safe(Seals)
"""Of an installation without a key."""


class PostgresKeys:
    """`pipeline.callers.Keys`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, workspace: UUID, key: str, secret_hash: bytes) -> Caller | None:
        async with transaction(self._pool, [workspace]) as connection:
            row = await connection.fetchrow(sql("api_key_find"), workspace, key, secret_hash)
        if row is None:
            return None
        return Caller(workspace=workspace, kind=row["kind"], id=row["id"], role=row["role"], replay=row["replay"])


class PostgresServiceKeys:
    """`pipeline.tokens.ServiceKeys`. The newest must open; a retired one that does not is left out."""

    def __init__(self, pool: Pool, safe: Safe) -> None:
        self._pool = pool
        self._safe = safe

    async def all(self) -> list[ServiceKey]:
        async with transaction(self._pool, [NIL]) as connection:
            found = await connection.fetch(sql("service_keys"), RETIRED_GOOD_S)
            if all(row["retired_at"] is not None for row in found):
                await connection.execute(sql("service_keys_lock"))
                found = await connection.fetch(sql("service_keys"), RETIRED_GOOD_S)
                if all(row["retired_at"] is not None for row in found):
                    await self._add(connection)
                    found = await connection.fetch(sql("service_keys"), RETIRED_GOOD_S)
        return [key for row in found if (key := self._opened(row)) is not None]

    def _opened(self, row: Any) -> ServiceKey | None:
        try:
            secret = self._safe.open(row["secret"], NIL, SERVICE_KEY)
        except Keyless:
            if row["retired_at"] is None:
                raise
            return None
        return ServiceKey(row["id"], secret, None if row["retired_at"] is None else to_us(row["retired_at"]))

    async def rotate(self) -> None:
        """A new key from now on; the old ones stay good for a quarter of an hour."""
        async with transaction(self._pool, [NIL]) as connection:
            await connection.execute(sql("service_keys_lock"))
            await connection.execute(sql("service_keys_retire"))
            await self._add(connection)
            await connection.execute(sql("service_keys_forget"), RETIRED_GOOD_S)

    async def _add(self, connection: Connection) -> None:
        secret = self._safe.keep(_new(), NIL, SERVICE_KEY, plain=True)
        await connection.execute(sql("service_key_add"), secret)


async def create_key(
    pool: Pool, workspace: str, kind: Kind, role: Role | None, *, replay: bool, safe: Safe = UNSEALED
) -> str:
    """Makes a key, and the workspace where it is new; the text is shown this once and not kept."""
    if not 0 < len(workspace) <= 200 or not workspace.isprintable():
        raise Invalid("a workspace's name has 1 to 200 printable characters")
    prefix = next(prefix for prefix, meant in PREFIXES.items() if meant == kind)
    key = KeyText(prefix, workspace_id(workspace), secrets.token_hex(8), new_secret())
    async with transaction(pool, [key.workspace]) as connection:
        await _open_workspace(connection, key.workspace, workspace, safe)
        await connection.execute(sql("api_key_add"), key.id, key.workspace, kind, role, replay, digest(key.secret))
        await note(connection, key.workspace, CLI, "key.create", key.id)
    return str(key)


async def _open_workspace(connection: Connection, workspace: UUID, name: str, safe: Safe) -> None:
    await connection.execute(sql("workspace_make"), workspace, name)
    made = [safe.keep(_new(), workspace, what, plain=True) for what in (USER_PROOF, INTERACTIONS)]
    await connection.execute(sql("workspace_secret_make"), workspace, *made)


def _new() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


async def revoke_key(pool: Pool, workspace: str, key: str) -> bool:
    """False where there is no such good key."""
    owner = workspace_id(workspace)
    async with transaction(pool, [owner]) as connection:
        revoked = await connection.fetchval(sql("api_key_revoke"), owner, key) is not None
        if revoked:
            await note(connection, owner, CLI, "key.revoke", key)
        return revoked


async def list_keys(pool: Pool, workspace: str) -> list[str]:
    """One line a key, without secrets."""
    owner = workspace_id(workspace)
    async with transaction(pool, [owner]) as connection:
        return [
            " ".join(
                [
                    row["id"],
                    row["kind"],
                    row["role"] or ("replay" if row["replay"] else "-"),
                    f"{row['created_at']:%Y-%m-%d}",
                    "good" if row["revoked_at"] is None else f"revoked {row['revoked_at']:%Y-%m-%d}",
                ]
            )
            for row in await connection.fetch(sql("api_keys_list"), owner)
        ]


async def proof_secret(pool: Pool, workspace: str, safe: Safe = UNSEALED, *, new: bool = False) -> str:
    """The hex secret by which an app's backend makes `user_proof`; a `new` one is in force at once, instead."""
    return (await _own_secret(pool, workspace, safe, USER_PROOF, new=new)).hex()


async def signing_secret(pool: Pool, workspace: str, safe: Safe = UNSEALED, *, new: bool = False) -> str:
    """The secret by which a workspace signs its interactions and receipts, as Standard Webhooks write it."""
    return "whsec_" + b64encode(await _own_secret(pool, workspace, safe, INTERACTIONS, new=new)).decode()


async def _own_secret(pool: Pool, workspace: str, safe: Safe, name: str, *, new: bool) -> bytes:
    owner = workspace_id(workspace)
    async with transaction(pool, [owner]) as connection:
        if new:
            secret = _new()
            kept = safe.keep(secret, owner, name, plain=True)
            given = (kept, None) if name == USER_PROOF else (None, kept)
            if await connection.fetchval(sql("workspace_secret_replace"), owner, *given) is not None:
                await note(connection, owner, CLI, "secret.replace", name)
                return secret
        found = await own_secret(connection, safe, owner, name)
    if found is None:
        raise Invalid(f"there is no workspace {workspace!r} yet; make a key for it first")
    return found
