"""Recorded data: outside of the repository, so its tests are skipped with a word where it is missing."""

import os
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded data."""
    root = Path(os.environ.get("GEO_OFFERS_REAL_DATA") or _PROJECT.parent / "shared" / "data")
    if not root.is_dir():
        missing = f"recorded data is missing: no folder {root}; GEO_OFFERS_REAL_DATA says where it lies"
        if os.environ.get("GEO_OFFERS_REQUIRE_ALL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return root
