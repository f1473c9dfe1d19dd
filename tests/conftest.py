"""What tests of more than one folder share: one PostgreSQL a session, one fresh database a test."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from geo_offers.storage import embedded
from geo_offers.storage.embedded import EmbeddedServer
from tests.support.databases import Database, fresh_database
from tests.support.running import Served, Service, running, serving

T = TypeVar("T")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is required, a test that was skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("GEO_OFFERS_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped where GEO_OFFERS_REQUIRE_ALL=1: {report.longrepr}"
    return report


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
    async with fresh_database(postgres_server) as made:
        yield made


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Run the real service in this process over the test's database. With other settings: `tests.support.running`."""
    async with running(database) as made:
        yield made


@pytest.fixture
async def served(database: Database) -> AsyncIterator[Served]:
    """Run `python -m geo_offers serve` over the test's database, to be killed and started again."""
    async with serving(database) as made:
        yield made
