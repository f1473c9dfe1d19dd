"""A line for the SDK's streams, a device on it, and a state folder that is nobody's."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from geo_offers import wire
from geo_offers.client import Client, Device
from tests.support.lines import QUICK, FakeLine, answering_line


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's state folder, where streams keep what they have shown."""
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        yield home


@pytest.fixture
async def line() -> AsyncIterator[FakeLine]:
    async with answering_line() as fake:
        yield fake


@pytest.fixture
async def device(line: FakeLine) -> AsyncIterator[Device]:
    async with Client(line.url, "pk_key", patience=QUICK) as client:
        yield await client.enrol(wire.Enrolment(platform="ios"))
