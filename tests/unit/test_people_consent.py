from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import pytest

from geo_offers.people.consent import (
    GENESIS,
    NONE_GIVEN,
    ChainBreak,
    Consent,
    LedgerEntry,
    LedgerRow,
    Purpose,
    Shown,
    chain_hash,
    sealed,
    verify_chain,
)


def entry(seq: int, **changed: Any) -> LedgerEntry:
    said = LedgerEntry(
        workspace=UUID(int=7),
        seq=seq,
        subject=b"pseudonym",
        purpose=Purpose.LOCATE,
        granted=True,
        text_version="2026-01",
        surface="device",
        at_us=1_760_000_000_000_000 + seq,
    )
    return replace(said, **changed)


def ledger(length: int) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    for seq in range(1, length + 1):
        rows.append(sealed(rows[-1].hash if rows else GENESIS, entry(seq)))
    return rows


ALTERED: list[dict[str, Any]] = [
    {"workspace": UUID(int=8)},
    {"seq": 9},
    {"subject": b"pseudonyn"},
    {"purpose": Purpose.OFFERS},
    {"granted": False},
    {"text_version": "2026-02"},
    {"surface": "enrol"},
    {"at_us": 0},
    {"shown": Shown(locale="de")},
    {"shown": Shown(proof=b"\x01" * 32)},
    {"shown": Shown(said_us=1)},
    {"form": 1},
]


def test_what_was_never_said_is_a_no() -> None:
    assert [purpose for purpose in Purpose if NONE_GIVEN.granted(purpose)] == []


def test_the_newest_word_on_a_purpose_counts_for_that_purpose_alone() -> None:
    given = NONE_GIVEN.having(Purpose.LOCATE, Consent(granted=True, text_version="1", at_us=1))
    withdrawn = given.having(Purpose.LOCATE, Consent(granted=False, text_version="1", at_us=2))
    assert given.granted(Purpose.LOCATE)
    assert not given.granted(Purpose.OFFERS)
    assert not withdrawn.granted(Purpose.LOCATE)
    assert not NONE_GIVEN.granted(Purpose.LOCATE)


def test_a_whole_ledger_holds_together() -> None:
    rows = ledger(4)
    assert verify_chain(rows) is None
    assert verify_chain(rows, head=rows[-1].hash) is None
    assert verify_chain(rows[2:], start=rows[1].hash) is None
    assert verify_chain([]) is None
    assert verify_chain([], head=GENESIS) is None


@pytest.mark.parametrize("changed", ALTERED, ids=lambda changed: next(iter(changed)))
@pytest.mark.parametrize("place", [0, 1, 3])
def test_altering_any_field_of_any_row_breaks_the_chain(place: int, changed: dict[str, Any]) -> None:
    rows = ledger(4)
    rows[place] = replace(rows[place], entry=replace(rows[place].entry, **changed))
    broken = verify_chain(rows)
    assert broken is not None
    assert broken.place == place


def test_every_field_of_an_entry_is_under_the_hash() -> None:
    assert {name for changed in ALTERED for name in changed} == set(LedgerEntry.__dataclass_fields__)
    told = {name for one in ALTERED if "shown" in one for name, value in asdict(one["shown"]).items() if value}
    assert told == set(Shown.__dataclass_fields__)
    hashes = {chain_hash(GENESIS, replace(entry(1), **changed)) for changed in ALTERED} | {
        chain_hash(GENESIS, entry(1))
    }
    assert len(hashes) == len(ALTERED) + 1


def test_the_row_before_is_under_the_hash() -> None:
    assert chain_hash(GENESIS, entry(1)) != chain_hash(b"\x01" + GENESIS[1:], entry(1))


def test_a_row_sealed_anew_after_a_change_no_longer_links_to_the_next() -> None:
    rows = ledger(3)
    rows[1] = sealed(rows[0].hash, entry(2, granted=False))
    assert verify_chain(rows) == ChainBreak(2, "link")


def test_a_row_left_out_moved_or_put_in_shows() -> None:
    rows = ledger(4)
    assert verify_chain([*rows[:1], *rows[2:]]) == ChainBreak(1, "seq")
    assert verify_chain(rows[1:]) == ChainBreak(0, "seq")
    assert verify_chain([rows[0], rows[2], rows[1], rows[3]]) == ChainBreak(1, "seq")
    assert verify_chain([rows[0], rows[0], *rows[1:]]) == ChainBreak(1, "seq")


def test_a_cut_end_shows_against_a_head_kept_elsewhere() -> None:
    rows = ledger(4)
    assert verify_chain(rows[:3]) is None
    assert verify_chain(rows[:3], head=rows[-1].hash) == ChainBreak(3, "head")
    assert verify_chain([], head=rows[-1].hash) == ChainBreak(0, "head")


def test_text_moved_from_one_field_to_the_next_is_another_row() -> None:
    assert chain_hash(GENESIS, entry(1, text_version="12", surface="3")) != chain_hash(
        GENESIS, entry(1, text_version="1", surface="23")
    )


def test_the_canonical_bytes_stay_what_they_are() -> None:
    """A ledger written by one release is checked by all later ones."""
    old = "ffa98c96dbba11b212678eac61a67afe5265894c4faeef27f06a531e01ead0cf"
    told = Shown(locale="de-AT", proof=bytes(range(32)), said_us=1_760_000_000_000_000)
    assert chain_hash(GENESIS, entry(1, form=1)).hex() == old
    assert chain_hash(GENESIS, entry(1)).hex() == "1a63284ad9f715baa6538017cb7b628c1e74c7e7712c4ddeabbb28ed3a684401"
    assert (
        chain_hash(GENESIS, entry(1, shown=told)).hex()
        == "df338b8c93d1ae8d6b0681b641744335b7a33914d6fcd9ea23ad8558d2edc6de"
    )


@pytest.mark.parametrize("told", [Shown(locale=""), Shown(proof=b""), Shown(said_us=0)])
def test_what_is_put_into_a_row_of_the_first_form_later_shows(told: Shown) -> None:
    row = sealed(GENESIS, entry(1, form=1))
    assert verify_chain([row]) is None
    assert verify_chain([replace(row, entry=replace(row.entry, shown=told))]) == ChainBreak(0, "hash")


def test_rows_of_both_forms_are_one_chain() -> None:
    rows: list[LedgerRow] = []
    for seq, form in enumerate((1, 1, 2, 1, 2), 1):
        rows.append(sealed(rows[-1].hash if rows else GENESIS, entry(seq, form=form)))
    assert verify_chain(rows, head=rows[-1].hash) is None
