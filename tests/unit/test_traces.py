"""Each file of tests/traces is a test: what is told of its pings is what it expects."""

from pathlib import Path

import pytest

from geo_offers.traces.trace import differences, read_trace, run

FILES = sorted((Path(__file__).parents[1] / "traces").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_trace_is_told_as_it_expects(file: Path) -> None:
    trace = read_trace(file)
    assert trace.about.endswith("."), "a sentence or two say what happened and what is right"
    assert trace.expected is not None, "geo-offers replay FILE --explain --record FILE records it"
    assert differences(trace.expected, run(trace, file.name)) == ([], [])


def test_there_are_traces() -> None:
    assert len(FILES) >= 4
