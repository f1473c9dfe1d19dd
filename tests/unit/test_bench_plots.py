"""The benches' plots: well-formed, every point inside the frame, axes that hold what they show."""

import re
from xml.etree import ElementTree as ET

import pytest

from bench.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Plot, Series

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*series, log_y=True):
    return ET.fromstring(Plot("A < B & C", "by a command", "fences", "ns a ping", series, log_y).svg())


def texts(root):
    return [text.text for text in root.iter(SVG + "text")]


@pytest.mark.parametrize("log_y", [True, False])
def test_every_point_is_drawn_within_the_frame(log_y):
    points = [(1_000, 300.0), (31_623, 45.0), (1_000_000, 9_999.0)]
    root = drawn(Series("one", points), Series("two", [(1_000, 0.4)]), log_y=log_y)
    marks = [(float(mark.get("cx")), float(mark.get("cy"))) for mark in root.iter(SVG + "circle")]
    assert len(marks) == 4
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in marks)
    assert marks[1][0] == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 2, abs=0.1)


def test_units_title_and_legend_stand_on_it():
    said = texts(drawn(Series("one", [(1, 2)]), Series("two", [(10, 30)])))
    assert {"A < B & C", "by a command", "fences", "ns a ping", "one", "two", "1", "10", "100"} <= set(said)


def test_a_linear_axis_begins_at_zero_and_reaches_past_the_highest():
    root = drawn(Series("one", [(1_000, 1_250.0), (10_000, 3_300.0)]), log_y=False)
    assert {"0", "1k", "2k", "3k", "4k"} <= set(texts(root))
    highest = min(float(mark.get("cy")) for mark in root.iter(SVG + "circle"))
    assert highest > TOP


def test_it_is_the_same_each_time_and_names_no_machine():
    plot = Plot("a", "b", "c", "d", [Series("one", [(1, 2), (10, 20)])])
    assert plot.svg() == plot.svg()
    assert not re.search(r"/(home|root|tmp)/", plot.svg())
