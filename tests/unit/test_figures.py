"""What operators scrape."""

from uuid import UUID

from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.requests import Code
from geo_offers.presence.trail import Worth


def _points(figures):
    lines = figures.page().decode().splitlines()
    found = (line.split() for line in lines if line.startswith("geo_offers_points_total{"))
    return {name.partition('"')[2].rstrip('"}'): float(count) for name, count in found}


def test_points_are_counted_by_what_became_of_them_over_all_scrapes():
    figures = Figures()
    figures.answered(bytearray([Code.ACCEPTED, Code.LATE, Code.RATE, Code.AGE, Code.ACCEPTED]))
    figures.answered(bytearray([Code.ACCEPTED]))
    assert _points(figures) == {"accepted": 3, "late": 1, "refused": 2}
    assert _points(figures) == {"accepted": 3, "late": 1, "refused": 2}
    figures.answered(bytearray([Code.ACCEPTED, Code.DUPLICATE]))
    assert _points(figures) == {"accepted": 4, "late": 1, "refused": 2, "duplicate": 1}


def test_decisions_are_counted_by_reason_over_all_scrapes():
    figures = Figures()
    for reason in ("offer", "cap", "offer"):
        figures.decided(UUID(int=1), reason, 5.0)
    for _ in range(2):
        assert 'geo_offers_decisions_total{reason="offer"} 2.0' in figures.page().decode()
    figures.decided(UUID(int=2), "cap", 5.0)
    assert 'geo_offers_decisions_total{reason="cap"} 2.0' in figures.page().decode()


def test_a_workspace_is_told_of_its_own_decisions_alone():
    figures, here, there = Figures(), UUID(int=1 << 70), UUID(int=2)
    figures.decided(here, "offer", 5.0)
    figures.decided(here, "cap", 7.0)
    assert figures.stats(here)["decisions"] == {"offer": 1, "cap": 1}
    assert figures.stats(here)["decision_ms"] == {"p50": 5.0, "p99": 7.0}
    assert (figures.stats(there)["decisions"], figures.stats(there)["decision_ms"]) == ({}, {})


def test_a_workspace_is_told_of_its_own_pings_alone():
    figures, here, there = Figures(), UUID(int=1 << 70), UUID(int=2)
    figures.received(here, 3)
    figures.received(here, 4)
    assert (figures.pings(here), figures.pings(there)) == (7, 0)


def test_a_sweep_is_counted_and_what_it_left_shows_until_it_is_gone():
    figures = Figures()
    figures.swept({"visits": 3, "offers": 0}, {"offers": 60.0}, 100.0)
    figures.swept({"visits": 2, "offers": 0}, None, 200.0)
    page = figures.page().decode()
    assert 'geo_offers_retention_rows_total{kind="visits"} 5.0' in page
    assert 'geo_offers_retention_overdue_seconds{kind="offers"} 60.0' in page
    assert "geo_offers_retention_last_run_timestamp_seconds 100.0" in page
    figures.swept({"visits": 0, "offers": 9}, {}, 300.0)
    page = figures.page().decode()
    assert 'geo_offers_retention_overdue_seconds{kind="offers"} 0.0' in page
    assert "geo_offers_retention_last_run_timestamp_seconds 300.0" in page


def test_fixes_that_say_nothing_are_counted_by_why():
    figures = Figures()
    figures.left_out({Worth.MOCKED: 2, Worth.STRAY: 1})
    figures.left_out({Worth.MOCKED: 1})
    page = figures.page().decode()
    assert 'geo_offers_fixes_left_out_total{worth="mocked"} 3.0' in page
    assert 'geo_offers_fixes_left_out_total{worth="stray"} 1.0' in page
