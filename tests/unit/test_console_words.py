"""The page has plain words for all that a receipt says in codes."""

import re
from importlib.resources import files
from typing import get_args

import pytest

from geo_offers import wire
from geo_offers.offers.decisions import Reason
from geo_offers.offers.gates import GATES
from geo_offers.pipeline import lanes
from geo_offers.pipeline.lanes import outcome_name

WORDS = (files("geo_offers") / "web" / "console" / "pages" / "words.js").read_text("utf-8")
OUTCOMES = [
    lanes.Accepted(),
    lanes.TokenDead(),
    lanes.Later(1),
    lanes.Transient(),
    lanes.AuthBroken(""),
    lanes.TooLate(),
    lanes.Refused(""),
    lanes.Ambiguous(),
    lanes.NotSent(),
    lanes.Offered(),
    lanes.Waiting(),
]
STEPS = {"sending", "held", "unreadable", "moved"}  # what no send comes to
DECIDED_BY = {rule.gate for rule in GATES} | {"ranking", "experiment", "render"}


def _words(table: str) -> set[str]:
    """The codes that a table of words.js knows."""
    found = re.search(rf"const {table} = {{\n(.*?)\n}};", WORDS, re.DOTALL)
    assert found, table
    return set(re.findall(r"^  (\w+):", found[1], re.MULTILINE))


def test_every_outcome_of_a_send_is_looked_at_here() -> None:
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(lanes.Outcome))


@pytest.mark.parametrize(
    ("table", "codes"),
    [
        ("REASONS", {reason.value for reason in Reason} | {"offer"}),
        ("GATES", DECIDED_BY),
        ("GATE_DETAILS", DECIDED_BY),
        ("STEPS", set(get_args(wire.StepName)) | {outcome_name(outcome) for outcome in OUTCOMES} | STEPS),
        ("ENDINGS", {"left", "withdrawn", "erased", "expired", "poison", "unanswered"}),
    ],
)
def test_every_code_has_its_words(table: str, codes: set[str]) -> None:
    assert codes <= _words(table)
