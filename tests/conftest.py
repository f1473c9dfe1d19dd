"""What tests of more than one folder share: one PostgreSQL a session, one fresh database a test."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from geo_offers.storage import embedded
from geo_offers.storage.embedded import APP, OWNER, EmbeddedServer
from geo_offers.storage.supervisor import SUPERUSER

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Database:
    """A test's own database: the schema is in place, it is empty, and nobody else uses it."""

    name: str
    owner_dsn: str
    app_dsn: str
    superuser_dsn: str


def _run(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.new_event_loop()  # not asyncio.run, which would unset the loop of the test plugin
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@pytest.fixture(scope="session")
def server_folders() -> Path:
    """Choose where servers keep their data: in memory where there is room, since a new database is 300 small files.

    Durability is not lost by it: the tests end processes, never the machine.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 2**30
    return memory if roomy else Path(tempfile.gettempdir())


@pytest.fixture(scope="session")
def postgres_root(server_folders: Path) -> Iterator[Path]:
    """Make a folder that a dropped user may enter: tmp_path is closed to it."""
    root = Path(tempfile.mkdtemp(prefix="geo-offers-test-", dir=server_folders))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def postgres_server(postgres_root: Path) -> Iterator[EmbeddedServer]:
    """Start the PostgreSQL of the session. Its database `geo_offers` is the template of the others: leave it be."""
    server = _run(embedded.start(postgres_root))
    yield server
    _run(server.stop())


@pytest.fixture
async def database(postgres_server: EmbeddedServer) -> AsyncIterator[Database]:
    """Clone a fresh migrated database for one test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administrator = await asyncpg.connect(postgres_server.superuser_dsn)
    try:
        await administrator.execute(f'CREATE DATABASE "{name}" TEMPLATE {embedded.DATABASE} OWNER {OWNER}')
        dsn = postgres_server.endpoint.dsn
        yield Database(name, dsn(OWNER, name), dsn(APP, name), dsn(SUPERUSER, name))
        await administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await administrator.close()
