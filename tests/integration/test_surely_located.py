"""Who may be located by what the database itself says: never more than the program reads in the same bytes."""

from uuid import uuid4

import asyncpg
import pytest

from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.storage import rows

WORD = b'{"purpose":"locate","granted":true,"text_version":"v1","at":"2026-01-01T00:00:00Z"}'
SAID = b'{"locate":' + WORD + b"}"
TOLD = SAID.replace(b'Z"', b'Z","seq":12')  # with the number of its row in the ledger
UNSURE = {
    "no JSON": b"locate",
    "a list": b"[" + WORD + b"]",
    "no object within": b'{"locate":true}',
    "null": b'{"locate":null}',
    "no letters": SAID.replace(b"v1", b"\xff"),
    "half a letter": SAID.replace(b"v1", rb"\ud800"),
    "a purpose that there is not": SAID[:-1] + b',"guess":' + WORD + b"}",
    "a purpose twice": SAID[:-1] + b',"locate":' + WORD + b"}",
    "a word twice": SAID.replace(b"true", b'1,"granted":true'),
    "a word less": SAID.replace(b'"text_version":"v1",', b""),
    "granted in letters": SAID.replace(b"true", b'"true"'),
    "another purpose within": SAID.replace(b'"purpose":"locate"', b'"purpose":"guess"'),
    "an instant without its offset": SAID.replace(b"Z", b""),
    "an instant without its offset elsewhere": SAID[:-1]
    + b',"offers":'
    + WORD.replace(b"locate", b"offers").replace(b"Z", b"")
    + b"}",
    "no such day": SAID.replace(b"01-01", b"02-30"),
    "no such hour": SAID.replace(b"T00", b"T24"),
    "no such second": SAID.replace(b"00Z", b"60Z"),
    "no instant": SAID.replace(b"2026-01-01T00:00:00Z", b"infinity"),
    "two values": SAID + SAID,
    "more behind it": SAID + b" ",
    "the end cut off": SAID[:-1],
    "a letter that JSON has not": SAID.replace(b"v1", b"\x01"),
    "a mark that JSON has not": SAID.replace(b"v1", rb"\q"),
    "another order": b'{"offers":' + WORD.replace(b"locate", b"offers") + b"," + SAID[1:],
    "nothing": b"",
    "a number in letters": TOLD.replace(b"12", b'"12"'),
    "a number below one": TOLD.replace(b"12", b"-1"),
    "no number": TOLD.replace(b"12", b"null"),
    "half a number": TOLD.replace(b"12", b"1.5"),
    "a number in other digits": TOLD.replace(b"12", b"012"),
    "a number too large": TOLD.replace(b"12", b"9" * 19),
    "a number twice": TOLD.replace(b"12", b'12,"seq":12'),
    "a number in another place": SAID.replace(b'"text', b'"seq":12,"text'),
    "more behind a number": TOLD.replace(b"12", b'12,"more":1'),
}


@pytest.fixture
async def located(database):
    connection = await asyncpg.connect(database.superuser_dsn)

    async def ask(consents):
        return await connection.fetchval("SELECT surely_located($1)", consents)

    yield ask
    await connection.close()


@pytest.mark.parametrize("name", UNSURE)
async def test_what_is_not_as_the_program_writes_it_is_not_sure(located, name):
    assert await located(SAID) is await located(TOLD) is True
    assert await located(UNSURE[name]) is False


@pytest.mark.parametrize("version", ["v1", "täglich 2 €, }", "a/b: {c}", "😀" * 64])
@pytest.mark.parametrize("located_too", [True, False, None])
@pytest.mark.parametrize("others", [[], [Purpose.OFFERS], [Purpose.OFFERS, Purpose.PROFILE, Purpose.MEASURE]])
@pytest.mark.parametrize("seqs", [(None, None), (1, None), (None, 7), (10**18 - 1, 3)])
async def test_what_the_program_writes_is_read_by_the_database_as_it_reads_it(
    located, version, located_too, others, seqs
):
    said = {purpose: Consent(True, version, 1_700_000_000_123_400, seqs[0]) for purpose in others}
    if located_too is not None:
        said[Purpose.LOCATE] = Consent(located_too, version, 1_700_000_000_000_000, seqs[1])
    column = rows.consents_column(Consents(said))
    assert await located(column) is rows.may_locate(column, uuid4()) is (located_too is True)
