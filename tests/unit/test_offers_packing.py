"""Receipts as they are stored: a fraction of their size, and read again whichever release wrote them."""

import zlib
from base64 import b64decode
from hashlib import sha256
from uuid import uuid4

import msgspec
import pytest

from bench.deciding import CASES, STAGES, snapshots
from geo_offers.offers.decide import decide, receipt
from geo_offers.offers.packing import TABLES, WORDS, packed, unpacked
from tests.support.replacing import replace


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.name)
def test_a_usual_receipt_takes_at_most_six_hundred_bytes(case):
    for snapshot in snapshots(case, 20, 7):
        campaigns = [replace(campaign, id=uuid4()) for campaign in snapshot.campaigns]
        told = receipt(decide(replace(snapshot, campaigns=campaigns)), STAGES)
        assert len(packed(told)) <= 600
        assert unpacked(packed(told)) == told


@pytest.mark.parametrize("value", [{}, {"a": "ü" * 100_000}, {"gates": [{"gate": "new", "passed": True}] * 500}])
def test_whatever_is_packed_is_read_again(value):
    told = msgspec.json.encode(value)
    assert unpacked(packed(told)) == told


def test_what_an_older_release_wrote_plainly_is_read_as_it_is():
    assert unpacked(b'{"gates":[]}') == b'{"gates":[]}'


@pytest.mark.parametrize("told", [b"{}", b'{"gates":[]}', WORDS[-2_000:]])
def test_what_an_older_release_deflated_is_read_by_its_words(told):
    deflate = zlib.compressobj(1, zlib.DEFLATED, -14, 6, zlib.Z_DEFAULT_STRATEGY, WORDS)
    assert unpacked(b"\x01" + deflate.compress(told) + deflate.flush()) == told


def test_one_row_does_not_depend_on_the_rows_before_it():
    alone = packed(b'{"a":"what nobody else says"}')
    packed(b'{"b":"what nobody else says"}')
    assert packed(b'{"a":"what nobody else says"}') == alone


@pytest.mark.parametrize(
    "column",
    [
        b"",
        b"\x02abc",
        b"\x01",
        b"\x01\xff\xff\xff",
        b"\x28abc",
        packed(b"{}")[:1],
        packed(b"{}")[:-1],
        packed(WORDS[:500])[:-3],
    ],
)
def test_anything_else_is_refused(column):
    with pytest.raises(ValueError, match=r"does not know|not as it was written"):
        unpacked(column)


def test_the_words_are_those_by_which_stored_rows_were_written():
    assert sha256(WORDS).hexdigest() == "fca122b4dd9867c08396e1bd319c24e0737b5b9438b5fe41ce688614a19d1388"
    assert sha256(TABLES).hexdigest() == "4b98ded81f4ec8b24a6a4fed39c71a28aedc700751bf8c351b261fee5e8dc27c"


def test_a_row_that_this_release_wrote_is_read_by_those_after_it():
    written = b"KLUv/QAAbQAAEF19AgzIgAm8Dj4IBA=="
    assert unpacked(b64decode(written)) == b'{"outcome":"suppressed","reason":"cap","gates":[]}'
