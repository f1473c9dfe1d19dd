"""What stays is kept from the collector, and what is free is given back."""

import gc

import pytest

from geo_offers.pipeline import heap


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()


def test_while_much_is_made_that_stays_nothing_is_collected_and_afterwards_it_is_left_alone():
    with heap.filling():
        assert not gc.isenabled()
        kept = [[number] for number in range(1_000)]
        before = gc.get_freeze_count()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_a_c_library_that_cannot_give_back_does_no_harm(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: object())
    heap.settle()
    assert gc.get_freeze_count() > 0
