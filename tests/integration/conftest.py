"""Folders and databases for the tests of the supervisor and of the migrations."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from geo_offers.storage import embedded
from geo_offers.storage.embedded import OWNER, EmbeddedServer
from geo_offers.storage.files import sql_folder

NOTE_TABLE = "CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL);\n"


def _open_folder(prefix: str, parent: Path | None = None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    folder.chmod(0o711)  # PostgreSQL's user passes through
    return folder


@pytest.fixture
def fresh_root(server_folders: Path) -> Iterator[Path]:
    """An empty data folder."""
    root = _open_folder("geo-offers-test-", server_folders)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def disk_folder() -> Iterator[Path]:
    """An empty folder on a disk, where programs may be run from: memory may not allow that."""
    folder = _open_folder("geo-offers-test-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def small_sql() -> Iterator[Path]:
    """Migrations of our own: one table `note`, so that these tests do not move with the product's schema."""
    folder = _open_folder("geo-offers-sql-")
    folder.chmod(0o755)
    (folder / "migrations").mkdir()
    (folder / "migrations" / "0001_note.sql").write_text(NOTE_TABLE)
    shutil.copy(sql_folder() / "grants.sql", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _made_root(small_sql: Path, server_folders: Path) -> Iterator[Path]:
    root = _open_folder("geo-offers-test-", server_folders)

    async def make() -> None:
        async with await embedded.start(root, sql=small_sql):
            pass

    loop = asyncio.new_event_loop()
    loop.run_until_complete(make())
    loop.close()
    yield root
    shutil.rmtree(root)


@pytest.fixture
def data_root(_made_root: Path) -> Iterator[Path]:
    """The data folder of a server that has stopped. All tests share it: its rows are told apart by `mark`."""
    yield _made_root
    for path in _made_root.iterdir():
        if path.name not in {"lock", "pgdata-18", "postgres.log"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def own_root(_made_root: Path, fresh_root: Path) -> Path:
    """A copy of that data folder, for a test that changes what others would see; it takes half a second."""
    subprocess.run(["cp", "-a", f"{_made_root}/.", str(fresh_root)], check=True)  # keeps the owner
    return fresh_root


@pytest.fixture
def mark() -> str:
    """A text that no other test writes."""
    return uuid.uuid4().hex


@pytest.fixture
async def empty_database(postgres_server: EmbeddedServer) -> AsyncIterator[Callable[[str], str]]:
    """A database with nothing in it, as the function from a role to its DSN."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administrator = await asyncpg.connect(postgres_server.superuser_dsn)
    try:
        await administrator.execute(f'CREATE DATABASE "{name}" OWNER {OWNER}')
        yield lambda role: postgres_server.endpoint.dsn(role, name)
        await administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await administrator.close()


@pytest.fixture
def sql_copy(tmp_path: Path) -> Path:
    """A folder for migrations of the test's own, with the product's grants."""
    (tmp_path / "migrations").mkdir()
    shutil.copy(sql_folder() / "grants.sql", tmp_path)
    return tmp_path


@pytest.fixture
def is_root() -> bool:
    return os.geteuid() == 0
