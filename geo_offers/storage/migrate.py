"""Brings a database to the program's schema, and tells at start-up whether it is there.

`sql/migrations/NNNN_name.sql` are numbered from 0001 without a gap and never changed once released: the database keeps
the SHA-256 of each in `schema_history.migration` and a difference is refused. Each file runs in one transaction with
its history row, under an advisory lock, so that any number of programs may migrate at once. The rights of the program's
own role come from `sql/grants.sql`, applied anew each time.

The statements below stand here and not in `sql/queries/`: they must work before there is any schema.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from geo_offers.errors import Misconfigured
from geo_offers.storage.files import sql_folder

OLDEST_SERVER = 15
_COMMAND = "run geo-offers migrate"
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x67656F6F66666572  # "geooffer": one number that no other program is likely to lock

_HISTORY_TABLE = """
CREATE SCHEMA IF NOT EXISTS schema_history;
CREATE TABLE IF NOT EXISTS schema_history.migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,  -- SHA-256 of the file, hex
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""
_HISTORY = "SELECT number, name, checksum FROM schema_history.migration ORDER BY number"
_RECORD = "INSERT INTO schema_history.migration (number, name, checksum) VALUES ($1, $2, $3)"
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"  # a waiting ALTER TABLE would stop everybody behind it
_VERSION = "SELECT current_setting('server_version_num')::int / 10000"
_ROLE = """
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = $1) AS superuser,
       current_user AS owner"""
_RIGHTS = """
SELECT session_user AS name,
       EXISTS (SELECT FROM pg_roles WHERE rolsuper AND pg_has_role(session_user, oid, 'MEMBER')) AS superuser,
       EXISTS (SELECT FROM pg_roles WHERE rolbypassrls AND pg_has_role(session_user, oid, 'MEMBER')) AS bypasses,
       EXISTS (SELECT FROM pg_class WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('schema_history'))
               AND relkind IN ('r', 'p', 'v', 'm') AND pg_has_role(session_user, relowner, 'MEMBER'))
       OR EXISTS (SELECT FROM pg_database WHERE datname = current_database()
                  AND pg_has_role(session_user, datdba, 'MEMBER')) AS owner"""
_UNSAFE = """
SELECT name FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) WITH ORDINALITY t (name, place)
WHERE current_setting(name) = 'off' ORDER BY place"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `name` as the folder has it, `checksum` its SHA-256 in hex."""

    number: int
    name: str
    checksum: str
    text: str


def load(folder: Path) -> tuple[Migration, ...]:
    """All migrations of a folder in order. Raises Misconfigured on a strange name, a gap or a number used twice."""
    migrations = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        parts = _FILE.fullmatch(path.name)
        if parts is None:
            raise Misconfigured(f"{path} is not named as a migration: four digits, _, small letters, .sql")
        if int(parts[1]) != number:
            raise Misconfigured(f"{path} stands where migration {number:04} should: numbers run from 0001, each once")
        content = path.read_bytes()
        migrations.append(Migration(number, path.name, hashlib.sha256(content).hexdigest(), content.decode()))
    return tuple(migrations)


async def migrate(owner_dsn: str, app_role: str, sql: Path | None = None) -> list[str]:
    """Apply what is missing and grant `app_role` its rights; answers the names applied, in order.

    sql: a folder with `migrations/` and `grants.sql`, the program's own unless given.
    Raises Misconfigured when the database cannot be reached or is older, newer or other than the program allows.
    """
    folder = sql_folder() if sql is None else sql
    known, grants = load(folder / "migrations"), _read(folder / "grants.sql")
    async with _owner(owner_dsn) as connection:
        await _require_version(connection)
        await _require_separate_role(connection, app_role)
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)  # let go with the connection
        await connection.execute(_HISTORY_TABLE)
        missing = _missing(known, await connection.fetch(_HISTORY))
        for migration in missing:
            await _apply(connection, migration)
        await _grant(connection, grants, app_role)
    return [migration.name for migration in missing]


async def check(connection: Any, sql: Path | None = None) -> tuple[str, ...]:
    """Whether the program may serve from this database, asked over the program's own role.

    connection: an asyncpg connection or one borrowed from a pool. Answers warnings, one sentence each, of settings that
    can lose acknowledged data. Raises Misconfigured on a server too old, a role that row-level security does not bind,
    and a schema that is behind, ahead or altered.
    """
    await _require_version(connection)
    await _require_bound_role(connection)
    folder = sql_folder() if sql is None else sql
    try:
        applied = await connection.fetch(_HISTORY)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError) as error:
        raise Misconfigured(f"the database has no schema of geo-offers that this role may use: {_COMMAND}") from error
    missing = _missing(load(folder / "migrations"), applied)
    if missing:
        behind = f"{len(missing)} migration{'s' if len(missing) > 1 else ''}"
        raise Misconfigured(f"the database is {behind} behind this program, next is {missing[0].name}: {_COMMAND}")
    return tuple(
        f"the PostgreSQL server runs with {row['name']} off: a crash can lose what was acknowledged"
        for row in await connection.fetch(_UNSAFE)
    )


def _read(grants: Path) -> str:
    return grants.read_text(encoding="utf-8")


def _missing(known: Sequence[Migration], applied: Sequence[Any]) -> list[Migration]:
    """List the known migrations not applied yet. Raises Misconfigured when the applied ones are no beginning."""
    for place, row in enumerate(applied, start=1):
        if row["number"] != place:
            raise Misconfigured(f"the database's history lacks migration {place:04}: restore it from a backup")
        if place > len(known):
            raise Misconfigured(
                f"the database is newer than this program (it has {row['name']}): install the newer geo-offers"
            )
        if row["checksum"] != known[place - 1].checksum:
            raise Misconfigured(
                f"migration {known[place - 1].name} is not the one this database was made with ({row['name']}): "
                "put the released file back and write a new migration for the change"
            )
    return list(known[len(applied) :])


@asynccontextmanager
async def _owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect as the owner; a failure of that or of what runs on it becomes Misconfigured, without the password."""
    try:
        connection = await asyncpg.connect(
            dsn, timeout=10, server_settings={"application_name": "geo-offers migrate", "search_path": "public"}
        )
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Misconfigured(f"cannot connect to PostgreSQL as the owner: {error}") from error
    try:
        yield connection
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Misconfigured(f"the migration stopped: {error}") from error
    finally:
        await connection.close()


async def _apply(connection: Any, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(_LOCK_TIMEOUT)
            await connection.execute(migration.text)
            if not connection.is_in_transaction():
                raise Misconfigured(f"{migration.name} ends its own transaction: a file is applied whole or not at all")
            await connection.execute(_RECORD, migration.number, migration.name, migration.checksum)
    except asyncpg.PostgresError as error:
        raise Misconfigured(f"{migration.name} failed and changed nothing: {error}") from error


async def _grant(connection: Any, grants: str, app_role: str) -> None:
    async with connection.transaction():
        await connection.execute(_LOCK_TIMEOUT)
        await connection.execute("SELECT set_config('geo_offers.app_role', $1, true)", app_role)
        await connection.execute(grants)


async def _require_version(connection: Any) -> None:
    version = await connection.fetchval(_VERSION)
    if version < OLDEST_SERVER:
        raise Misconfigured(
            f"the server is PostgreSQL {version}, geo-offers needs {OLDEST_SERVER} or newer: upgrade it"
        )


async def _require_separate_role(connection: Any, app_role: str) -> None:
    role = await connection.fetchrow(_ROLE, app_role)
    if role["superuser"] is None:
        raise Misconfigured(f"there is no role {app_role} on this server: make it with CREATE ROLE … LOGIN PASSWORD …")
    if role["owner"] == app_role:
        raise Misconfigured(
            f"{app_role} owns the schema, so row-level security could be switched off by it: "
            "use two roles in GEO_OFFERS_MIGRATE_URL and GEO_OFFERS_DATABASE_URL"
        )


async def _require_bound_role(connection: Any) -> None:
    rights = await connection.fetchrow(_RIGHTS)
    faults = {
        "superuser": "is a superuser or may become one",
        "bypasses": "has BYPASSRLS or may become a role that has",
        "owner": "owns the database or its tables, or may become their owner",
    }
    for right, fault in faults.items():
        if rights[right]:
            raise Misconfigured(
                f"role {rights['name']} {fault}, so row-level security does not bind it: "
                "name an ordinary role in GEO_OFFERS_DATABASE_URL"
            )
