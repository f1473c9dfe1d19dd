"""When it is morning for the crowd, and how its tokens are kept."""

import stat
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from geo_offers.demo.crowd import TokenFile, zone_where_it_is
from geo_offers.demo.names import pseudonyms
from geo_offers.demo.private import read_private, write_private


@pytest.mark.parametrize("minutes", range(0, 24 * 60, 17))
def test_at_any_hour_the_crowd_has_mid_morning(minutes):
    now = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(minutes=minutes)
    local = now.astimezone(ZoneInfo(zone_where_it_is(10.0, int(now.timestamp() * 1_000_000))))
    assert 9.5 * 60 <= local.hour * 60 + local.minute <= 10.5 * 60


def test_a_private_file_is_read_by_its_owner_alone(tmp_path):
    file = tmp_path / "keys.json"
    write_private(file, {"a": "b"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_private(file, dict[str, str]) == {"a": "b"}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_a_private_file_that_cannot_be_read_counts_as_none(tmp_path, content):
    file = tmp_path / "keys.json"
    assert read_private(file, dict[str, str]) is None
    file.write_bytes(content)
    assert read_private(file, dict[str, str]) is None


def test_people_of_an_earlier_run_stay_in_the_file_until_they_are_erased(tmp_path):
    file = tmp_path / "crowd.json"
    device = uuid4()
    write_private(file, {device: "token"})
    tokens = TokenFile(file)
    tokens.keep([])
    assert TokenFile(file).earlier == {device: "token"}
    tokens.earlier.clear()
    tokens.keep([])
    assert TokenFile(file).earlier == {}


def test_a_pseudonym_comes_back_only_after_a_thousand_others():
    names = pseudonyms(Random(1))
    assert len({next(names) for _ in range(1000)}) == 1000
