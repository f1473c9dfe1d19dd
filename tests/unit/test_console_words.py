"""The page has plain words for all that a receipt says in codes."""

import re
from importlib.resources import files

import pytest

from geo_offers.offers.decisions import Reason
from geo_offers.offers.gates import GATES

WORDS = (files("geo_offers") / "web" / "console" / "pages" / "words.js").read_text("utf-8")
DECIDED_BY = {rule.gate for rule in GATES} | {"ranking", "experiment", "render"}


def _words(table: str) -> set[str]:
    """The codes that a table of words.js knows."""
    found = re.search(rf"const {table} = {{\n(.*?)\n}};", WORDS, re.DOTALL)
    assert found, table
    return set(re.findall(r"^  (\w+):", found[1], re.MULTILINE))


@pytest.mark.parametrize(
    ("table", "codes"),
    [
        ("REASONS", {reason.value for reason in Reason} | {"offer"}),
        ("GATES", DECIDED_BY),
        ("GATE_DETAILS", DECIDED_BY),
    ],
)
def test_every_code_has_its_words(table: str, codes: set[str]) -> None:
    assert codes <= _words(table)
