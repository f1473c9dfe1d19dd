"""The stage turns what the service says of devices into what the page shows of people."""

import json
from uuid import UUID, uuid4

import pytest

from geo_offers.demo.feed import Feed
from geo_offers.demo.stage import Stage

VIEW = (-30.5, 46.2, -30.48, 46.21)


class Recorder(Feed):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, object]] = []

    @property
    def watched(self) -> bool:
        return True

    def publish(self, event, data):
        self.said.append((event, data))

    replace = publish


@pytest.fixture
def feed() -> Recorder:
    return Recorder()


@pytest.fixture
def stage(feed) -> Stage:
    return Stage(feed, "Pellhaven", VIEW)


def _hello(stage: Stage) -> dict:
    return json.loads(stage.hello().decode().split("data: ", 1)[1])


def _join(stage: Stage) -> tuple[int, UUID]:
    device = uuid4()
    return stage.join("Amber Heron", "Shopper", device, locale="en", dark=False), device


def test_positions_are_small_whole_numbers_from_the_corner_of_the_view(stage, feed):
    n, _ = _join(stage)
    stage.move({n: (46.200123, -30.499)})
    assert feed.said[-1] == ("at", [n, 123, 1000])


def test_a_transition_of_a_device_is_told_of_its_person(stage, feed):
    n, device = _join(stage)
    stage.service_says("transition", {"device": str(device), "fence": "town/pier", "type": "enter", "at": "…"})
    assert feed.said[-1] == ("moved", {"n": n, "fence": "town/pier", "type": "enter"})
    assert _hello(stage)["inside"] == {"town/pier": [n]}


def test_who_left_a_fence_or_the_town_is_inside_nothing(stage):
    first, one = _join(stage)
    _, other = _join(stage)
    for device in (one, other):
        stage.service_says("transition", {"device": str(device), "fence": "town/pier", "type": "enter"})
    stage.service_says("transition", {"device": str(other), "fence": "town/pier", "type": "exit"})
    assert _hello(stage)["inside"] == {"town/pier": [first]}
    stage.leave(first, one)
    assert _hello(stage)["inside"] == {}


def test_a_decision_names_the_pseudonym_and_neither_user_nor_device(stage, feed):
    n, device = _join(stage)
    said = {"id": str(uuid4()), "device": str(device), "user": "u", "outcome": "suppressed", "reason": "rhythm_gap"}
    stage.service_says("decision", said)
    event, told = feed.said[-1]
    assert event == "decided"
    assert told == {"id": said["id"], "outcome": "suppressed", "reason": "rhythm_gap", "n": n, "name": "Amber Heron"}
    assert stage.last_decision(n)["id"] == said["id"]


@pytest.mark.parametrize("device", [str(UUID(int=7)), "no uuid", None])
def test_what_belongs_to_nobody_in_town_is_not_shown(stage, feed, device):
    stage.service_says("decision", {"id": str(uuid4()), "device": device, "outcome": "offer"})
    assert feed.said == []


def test_a_page_opened_later_starts_with_what_happened_lately(stage):
    n, device = _join(stage)
    for _ in range(50):
        stage.service_says("decision", {"id": str(uuid4()), "device": str(device), "outcome": "offer"})
    stage.service_says("stats", {"pings_per_s": 120})
    hello = _hello(stage)
    assert len(hello["recent"]) == 40
    assert hello["stats"] == {"pings_per_s": 120}
    assert hello["people"] == [{"n": n, "name": "Amber Heron", "kind": "Shopper", "locale": "en", "dark": False}]


OFFER = {"id": str(UUID(int=5)), "lane": "fcm", "created_at": "2026-11-22T10:00:00Z", "title": "Buns"}


def _offered(stage: Stage, **offer) -> None:
    _, device = _join(stage)
    said = {"id": str(uuid4()), "device": str(device), "outcome": "offer", "offer": OFFER | offer}
    stage.service_says("decision", said)


def _delivery(stage: Stage, outcome: str, at: str = "2026-11-22T10:00:01Z", **told: str) -> None:
    stage.service_says("delivery", {"offer": OFFER["id"], "lane": "fcm", "outcome": outcome, "at": at, **told})


def _lives(feed: Recorder) -> list[list[str]]:
    return [[step.step for step in life.steps] for event, life in feed.said if event == "life"]


def test_an_offers_life_is_told_anew_with_each_step(stage, feed):
    _offered(stage)
    for outcome in ("sending", "accepted", "shown"):
        _delivery(stage, outcome)
    assert _lives(feed) == [
        ["decided"],
        ["decided", "sending"],
        ["decided", "sending", "accepted"],
        ["decided", "sending", "accepted", "shown"],
    ]
    (life,) = _hello(stage)["lives"]
    assert life["offer"] == OFFER["id"]
    assert life["steps"][0] == {"step": "decided", "lane": "fcm", "at": OFFER["created_at"]}


def test_an_end_says_why(stage):
    _offered(stage)
    _delivery(stage, "cancelled", detail="quiet_hours")
    (life,) = _hello(stage)["lives"]
    assert life["steps"][-1]["detail"] == "quiet_hours"


def test_what_is_sent_again_by_the_same_lane_is_one_step_and_by_another_lane_a_second(stage, feed):
    _offered(stage)
    for lane in ("fcm", "fcm", "inapp", "inapp"):
        _delivery(stage, "sending", lane=lane)
    assert _lives(feed)[-1] == ["decided", "sending", "sending"]


def test_an_offer_that_belongs_to_nobody_in_town_has_no_life(stage, feed):
    _delivery(stage, "shown")
    assert feed.said == []


def test_of_many_offers_the_last_sixty_have_their_lives_kept(stage):
    for number in range(100, 170):
        _offered(stage, id=str(UUID(int=number)))
    lives = _hello(stage)["lives"]
    assert [life["offer"] for life in lives] == [str(UUID(int=number)) for number in range(110, 170)]
