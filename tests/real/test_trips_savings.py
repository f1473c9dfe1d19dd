"""Recorded trips of a phone that keeps silent as far as `next` allows: the same transitions, at the same fixes."""

from collections import Counter
from pathlib import Path

from bench.phones import obey, send_all
from bench.savings import WAYS, recorded

EVENTS = {
    "car in hamm, stores of 100 m": {"enter": 5, "exit": 5},
    "car in hamm, stores of 300 m": {"enter": 5, "exit": 5, "cross": 1},
    "car in bremen, stores of 100 m": {"enter": 6, "exit": 6},
    "car in bremen, stores of 300 m": {"enter": 7, "exit": 7, "cross": 1},
    "car in bremen, districts": {"enter": 56, "exit": 55, "cross": 33, "dwell": 1},
}
"""As the oracle counts them; see test_trips_transitions.py."""


def test_a_phone_that_obeys_next_is_told_the_same_at_the_same_fixes_of_every_recorded_trip(real_data: Path) -> None:
    for name, (index, trips) in recorded(real_data):
        whole = [send_all(index, trip) for trip in trips]
        counted = Counter(edge.type.value for phone in whole for edge in phone.told)
        assert counted == EVENTS.get(name, counted), name
        for wish, heed in WAYS.values():
            saved = [obey(index, trip, wish, heed) for trip in trips]
            assert [phone.told for phone in saved] == [phone.told for phone in whole], (name, wish)
            assert sum(phone.sent for phone in saved) < sum(map(len, trips))
