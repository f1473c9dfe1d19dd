"""Secrets at rest: open only under their key, and only for what they were sealed for."""

import base64
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_offers.errors import Misconfigured
from geo_offers.storage.sealing import KEY_FILE, Seals, Unopened, of_folder, sealed_by

OLD, NEW = (base64.b64encode(bytes([letter]) * 32).decode() for letter in (1, 2))


@given(plain=st.binary(max_size=4096), bound=st.binary(max_size=64))
def test_what_was_sealed_opens_again_and_does_not_show(plain, bound):
    seals = Seals(OLD)
    sealed = seals.seal(plain, bound)
    assert seals.open(sealed, bound) == plain
    assert len(plain) < 8 or plain not in sealed


def test_the_same_secret_never_looks_the_same_twice():
    seals = Seals(OLD)
    assert seals.seal(b"secret", b"here") != seals.seal(b"secret", b"here")


def test_moved_to_another_row_it_does_not_open():
    seals = Seals(OLD)
    with pytest.raises(Unopened):
        seals.open(seals.seal(b"secret", b"here"), b"there")


@given(st.data())
def test_a_changed_byte_is_noticed(data):
    seals = Seals(OLD)
    sealed = bytearray(seals.seal(b"secret", b"here"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Unopened):
        seals.open(bytes(sealed), b"here")


def test_a_new_key_before_the_old_one_seals_and_both_open():
    sealed = Seals(OLD).seal(b"secret", b"")
    both = Seals(f"{NEW} {OLD}")
    assert both.open(sealed, b"") == b"secret"
    assert sealed_by(both.seal(b"secret", b"")) == Seals(NEW).first != sealed_by(sealed)
    with pytest.raises(Unopened):
        Seals(NEW).open(sealed, b"")


@pytest.mark.parametrize("text", ["short", "not base64!", base64.b64encode(bytes(31)).decode()])
def test_a_key_that_is_none_is_refused_without_showing_it(text):
    with pytest.raises(Misconfigured) as refused:
        Seals(text)
    assert text not in refused.value.detail


def test_without_a_key_there_are_no_seals():
    assert not Seals()


def test_a_folder_gets_one_key_that_only_its_user_may_read(tmp_path):
    first, second = of_folder(tmp_path), of_folder(tmp_path)
    assert second.open(first.seal(b"secret", b""), b"") == b"secret"
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(Misconfigured, match="cannot be used"):
        of_folder(tmp_path / "absent")
