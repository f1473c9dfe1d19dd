"""What the dispatcher's observer tells the live feed, and that it tells nothing where nobody listens."""

import json
from uuid import UUID

import pytest

from geo_offers import clock
from geo_offers.app import Delivered
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed

HERE, OFFER = UUID(int=1), UUID(int=2)
NOW_US = 1_795_341_600_000_000


@pytest.fixture
def live() -> LiveFeed:
    return LiveFeed()


@pytest.fixture
def delivered(live: LiveFeed, monkeypatch: pytest.MonkeyPatch) -> Delivered:
    monkeypatch.setattr(clock, "now_us", lambda: NOW_US)
    return Delivered(Figures(), live)


def test_each_step_is_told_with_its_instant_and_an_end_with_its_reason(live: LiveFeed, delivered: Delivered) -> None:
    with live.reader(HERE, None) as reader:
        delivered.under_way(HERE, OFFER, "fcm", "sending")
        delivered.delivered(HERE, OFFER, "fcm", "cancelled", "left")
    told = [json.loads(event.data) for event in reader.events]
    assert {event.name for event in reader.events} == {"delivery"}
    step = {"offer": str(OFFER), "lane": "fcm", "at": "2026-11-22T10:00:00Z"}
    assert told == [step | {"outcome": "sending"}, step | {"outcome": "cancelled", "detail": "left"}]


def test_where_nobody_listens_a_row_costs_not_even_a_look_at_the_clock(
    delivered: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(clock, "now_us", lambda: looks.append(NOW_US) or NOW_US)
    delivered.under_way(HERE, OFFER, "fcm", "sending")
    delivered.delivered(HERE, OFFER, "fcm", "accepted")
    assert looks == []
