"""API keys, the service's own keys, and the workspaces that come into being with their first key."""

import secrets
from base64 import b64encode
from uuid import UUID

from geo_offers.errors import Invalid
from geo_offers.instants import to_us
from geo_offers.pipeline.callers import Caller, Kind, Role
from geo_offers.pipeline.tokens import PREFIXES, RETIRED_GOOD_S, KeyText, ServiceKey, digest, new_secret, workspace_id
from geo_offers.storage.auditing import CLI, note
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.queries import sql


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
    """`pipeline.tokens.ServiceKeys`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self) -> list[ServiceKey]:
        async with transaction(self._pool, [NIL]) as connection:
            found = await connection.fetch(sql("service_keys"), RETIRED_GOOD_S)
            if all(row["retired_at"] is not None for row in found):
                await connection.execute(sql("service_keys_lock"))
                found = await connection.fetch(sql("service_keys"), RETIRED_GOOD_S)
                if all(row["retired_at"] is not None for row in found):
                    await connection.execute(sql("service_key_add"), secrets.token_bytes(32))
                    found = await connection.fetch(sql("service_keys"), RETIRED_GOOD_S)
        return [
            ServiceKey(row["id"], row["secret"], None if row["retired_at"] is None else to_us(row["retired_at"]))
            for row in found
        ]

    async def rotate(self) -> None:
        """A new key from now on; the old ones stay good for a quarter of an hour."""
        async with transaction(self._pool, [NIL]) as connection:
            await connection.execute(sql("service_keys_lock"))
            await connection.execute(sql("service_keys_retire"))
            await connection.execute(sql("service_key_add"), secrets.token_bytes(32))
            await connection.execute(sql("service_keys_forget"), RETIRED_GOOD_S)


async def create_key(pool: Pool, workspace: str, kind: Kind, role: Role | None, *, replay: bool) -> str:
    """Makes a key, and the workspace where it is new; the text is shown this once and not kept."""
    if not 0 < len(workspace) <= 200 or not workspace.isprintable():
        raise Invalid("a workspace's name has 1 to 200 printable characters")
    prefix = next(prefix for prefix, meant in PREFIXES.items() if meant == kind)
    key = KeyText(prefix, workspace_id(workspace), secrets.token_hex(8), new_secret())
    async with transaction(pool, [key.workspace]) as connection:
        await _open_workspace(connection, key.workspace, workspace)
        await connection.execute(sql("api_key_add"), key.id, key.workspace, kind, role, replay, digest(key.secret))
        await note(connection, key.workspace, CLI, "key.create", key.id)
    return str(key)


async def _open_workspace(connection: Connection, workspace: UUID, name: str) -> None:
    await connection.execute(sql("workspace_make"), workspace, name)
    await connection.execute(sql("workspace_secret_make"), workspace, secrets.token_bytes(32))


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


async def proof_secret(pool: Pool, workspace: str) -> str:
    """The hex secret by which an app's backend makes `user_proof`."""
    owner = workspace_id(workspace)
    async with transaction(pool, [owner]) as connection:
        secret: bytes | None = await connection.fetchval(sql("user_proof_secret"), owner)
    if secret is None:
        raise Invalid(f"there is no workspace {workspace!r} yet; make a key for it first")
    return secret.hex()


async def signing_secret(pool: Pool, workspace: str) -> str:
    """The secret by which a workspace signs its interactions, as Standard Webhooks write it."""
    owner = workspace_id(workspace)
    async with transaction(pool, [owner]) as connection:
        secret: bytes | None = await connection.fetchval(sql("interactions_secret"), owner)
    if secret is None:
        raise Invalid(f"there is no workspace {workspace!r} yet; make a key for it first")
    return "whsec_" + b64encode(secret).decode()
