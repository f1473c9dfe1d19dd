"""Kept visits told again as transitions, and the invented people who make visits where there are none."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from geo_offers.instants import to_us
from geo_offers.offers.walkers import visits, walker
from geo_offers.people.wall import wall
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.retelling import KeptVisit, transitions
from geo_offers.presence.states import TransitionType

FENCE = FenceId("town/a")
NEW_YORK = ZoneInfo("America/New_York")
NOW_US = to_us(datetime(2026, 6, 1, 12, tzinfo=NEW_YORK))
ENTER, CONFIRM, DWELL, EXIT = (TransitionType(name) for name in ("enter", "confirm", "dwell", "exit"))


def told(**known: float | None) -> list[tuple[TransitionType, int]]:
    visit = KeptVisit(UUID(int=1), FENCE, 100, **known)  # type: ignore[arg-type]
    return [(transition.type, transition.at_us) for transition in transitions(visit)]


def test_a_visit_at_a_plain_fence_is_an_enter_a_dwell_and_an_exit():
    assert told(dwelt_us=400, left_us=900) == [(ENTER, 100), (DWELL, 400), (EXIT, 900)]
    assert told() == [(ENTER, 100)]


def test_a_calibrated_visit_begins_for_campaigns_when_it_is_confirmed():
    assert told(confidence=0.9, left_us=900) == []
    assert told(confidence=0.9, confirmed_us=200, dwelt_us=400) == [(CONFIRM, 200), (DWELL, 400)]
    assert told(confidence=0.9, confirmed_us=500, dwelt_us=400) == [(CONFIRM, 500)]
    (only,) = transitions(KeptVisit(UUID(int=1), FENCE, 100, confirmed_us=500, dwelt_us=400, confidence=0.9))
    assert (only.triggers, only.confidence) == ((ENTER, DWELL), 0.9)


def fence(name: str) -> Geofence:
    circle = Circle(40.0, -74.0, 99.0)
    return Geofence(FenceId(f"town/{name}"), 1, name, circle, None, (), active=True, detect=Detect("raw"))


def test_invented_people_come_by_day_to_a_place_of_their_own_and_the_same_way_each_time():
    places = [(fence(name), NEW_YORK) for name in "abcd"]
    came = {number: list(visits(walker(number), places, 28, NOW_US)) for number in range(200)}
    assert came[7] == list(visits(walker(7), places, 28, NOW_US))
    everyone = [visit for found in came.values() for visit in found]
    assert 0.25 < len(everyone) / (200 * 28) < 0.34
    assert {wall(visit.entered_us, NEW_YORK).hour for visit in everyone} == set(range(9, 20))
    assert all(visit.entered_us + 180_000_000 <= (visit.left_us or 0) < NOW_US for visit in everyone)
    assert all(visit.dwelt_us is None or visit.dwelt_us < (visit.left_us or 0) for visit in everyone)
    assert len({visit.id for visit in everyone}) == len(everyone)
    favourite = [max(map([one.fence for one in found].count, {one.fence for one in found})) for found in came.values()]
    assert sum(favourite) / len(everyone) > 0.7
    sundays = sum(wall(visit.entered_us, NEW_YORK).weekday() == 6 for visit in everyone)
    saturdays = sum(wall(visit.entered_us, NEW_YORK).weekday() == 5 for visit in everyone)
    assert sundays * 2 < saturdays
