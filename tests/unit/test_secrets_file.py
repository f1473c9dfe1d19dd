"""Secrets of a file: what is replaced is in force soon, and what is broken changes nothing."""

import os

import pytest

from geo_offers.errors import Misconfigured
from geo_offers.gateways.secrets_file import FRESH_S, SecretsFile

OLD = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
NEW = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(OLD + "\n")
    return path


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_what_is_written_is_in_force_within_seconds_and_not_read_at_each_send(file):
    clock = Clock()
    secrets = SecretsFile(file, now_s=clock)
    assert list(secrets) == [OLD]
    file.write_text(f"{NEW} {OLD}")
    clock.now_s = FRESH_S - 0.1
    assert list(secrets) == [OLD]
    clock.now_s = FRESH_S
    assert list(secrets) == [NEW, OLD]
    assert list(secrets) == [NEW, OLD]


@pytest.mark.parametrize("content", ["", "whsec_", "hello", f"{NEW} whsec_AAAA", "\xff", None])
def test_what_is_broken_is_told_at_the_start_and_changes_nothing_later(file, content):
    clock = Clock()
    secrets = SecretsFile(file, now_s=clock)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    clock.now_s = FRESH_S
    assert list(secrets) == [OLD]
    with pytest.raises(Misconfigured) as caught:
        SecretsFile(file)
    assert os.fspath(file) in str(caught.value)
    assert "MDEy" not in str(caught.value)
    assert NEW not in str(caught.value)
