"""A database of its own for whoever asks: the schema is in place, it is empty, and nobody else uses it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from geo_offers.storage import embedded
from geo_offers.storage.embedded import APP, OWNER, EmbeddedServer
from geo_offers.storage.supervisor import SUPERUSER


@dataclass(frozen=True, slots=True)
class Database:
    """One database, as each role reaches it."""

    name: str
    owner_dsn: str
    app_dsn: str
    superuser_dsn: str


@asynccontextmanager
async def fresh_database(server: EmbeddedServer) -> AsyncIterator[Database]:
    """Clone the server's migrated template; dropped at the end, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administrator = await asyncpg.connect(server.superuser_dsn)
    try:
        await administrator.execute(f'CREATE DATABASE "{name}" TEMPLATE {embedded.DATABASE} OWNER {OWNER}')
        dsn = server.endpoint.dsn
        yield Database(name, dsn(OWNER, name), dsn(APP, name), dsn(SUPERUSER, name))
        await administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await administrator.close()
