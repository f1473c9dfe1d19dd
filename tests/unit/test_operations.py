"""What docs/operations.md says to watch is there to be watched."""

import re
from pathlib import Path
from typing import get_args

import pytest

from geo_offers.pipeline import lanes
from geo_offers.pipeline.figures import Figures

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
OUTCOMES = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Delivery: what each outcome means")[1], re.MULTILINE))


def test_every_metric_that_the_page_names_is_one_of_the_services() -> None:
    told = {family.name for family in Figures().registry.collect()}
    named = {name.removesuffix("_total") for name in re.findall(r"geo_offers_[a-z_]*[a-z]", PAGE)}
    assert len(named) >= 4
    assert named <= told


@pytest.mark.parametrize("kind", get_args(lanes.Outcome))
def test_what_every_outcome_means_is_told(kind: type) -> None:
    detailed = kind in {lanes.AuthBroken, lanes.Refused}
    outcome = kind("") if detailed else kind(1) if kind is lanes.Later else kind()
    assert lanes.outcome_name(outcome) in OUTCOMES


def test_every_outcome_that_an_alert_counts_is_in_the_table() -> None:
    counted = re.findall(r'outcome=~?"([\w|]+)"', PAGE)
    assert counted
    assert {one for outcomes in counted for one in outcomes.split("|")} <= OUTCOMES


def test_every_runbook_that_an_alert_names_is_on_the_page() -> None:
    runbooks = re.findall(r"See '([^']+)'", PAGE)
    assert runbooks
    for runbook in runbooks:
        assert f"### {runbook}\n" in PAGE
