"""Whatever is done to a ledger of whatever rows, its chain tells."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from geo_offers.people.consent import GENESIS, LedgerEntry, LedgerRow, Purpose, Shown, chain_hash, sealed, verify_chain

instants = st.integers(0, 2**52)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "seq": st.integers(1, 9),
    "subject": st.binary(max_size=3),
    "purpose": st.sampled_from(Purpose),
    "granted": st.booleans(),
    "text_version": st.text(max_size=3),
    "surface": st.text(max_size=3),
    "at_us": instants,
    "form": st.sampled_from([1, 2]),
}
SHOWN: dict[str, st.SearchStrategy[Any]] = {
    "locale": st.none() | st.text(max_size=1),
    "proof": st.none() | st.binary(max_size=1),
    "said_us": st.none() | instants,
}


@st.composite
def entries(draw: st.DrawFn, seq: int) -> LedgerEntry:
    said = {name: draw(values) for name, values in FIELDS.items()} | {"seq": seq}
    told = Shown(**{name: draw(values) for name, values in SHOWN.items()}) if said["form"] == 2 else Shown()
    return LedgerEntry(workspace=UUID(int=7), shown=told, **said)


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    for seq in range(1, draw(st.integers(1, 5)) + 1):
        rows.append(sealed(rows[-1].hash if rows else GENESIS, draw(entries(seq))))
    return rows


def altered(entry: LedgerEntry, data: st.DataObject) -> LedgerEntry:
    """The entry with one field anew."""
    name = data.draw(st.sampled_from([*FIELDS, *SHOWN]))
    if name in FIELDS:
        return replace(entry, **{name: data.draw(FIELDS[name])})
    return replace(entry, shown=replace(entry.shown, **{name: data.draw(SHOWN[name])}))


@given(ledgers(), st.data())
def test_a_ledger_with_any_row_altered_left_out_doubled_or_moved_does_not_hold(
    rows: list[LedgerRow], data: st.DataObject
) -> None:
    head = rows[-1].hash
    assert verify_chain(rows, head=head) is None
    place = data.draw(st.integers(0, len(rows) - 1))
    before, row, after = rows[:place], rows[place], rows[place + 1 :]
    anew = replace(row, entry=altered(row.entry, data))
    for changed in ([*before, anew, *after], [*before, *after], [*rows, row], data.draw(st.permutations(rows))):
        assert (verify_chain(changed, head=head) is None) == (changed == rows)


@given(entries(1), st.data())
def test_rows_that_differ_in_one_field_have_different_seals(entry: LedgerEntry, data: st.DataObject) -> None:
    other = altered(entry, data)
    assume(other != entry)
    assert chain_hash(GENESIS, entry) != chain_hash(GENESIS, other)
