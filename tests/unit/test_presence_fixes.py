from math import inf, nan

import pytest

from geo_offers.presence.fixes import (
    DEFAULT_ACCURACY_M,
    LATEST_US,
    PointRefusal,
    check,
    usable_accuracy_m,
    usable_speed_mps,
)

NOW_US = 1_760_000_000_000_000
MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US


@pytest.mark.parametrize(("lat", "lon"), [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0)])
def test_the_edges_of_the_earth_are_places(lat: float, lon: float) -> None:
    assert check(NOW_US, lat, lon, now_us=NOW_US, replay=False) is None


@pytest.mark.parametrize(
    ("lat", "lon"),
    [(90.0001, 0.0), (-90.0001, 0.0), (0.0, 180.0001), (0.0, -181.0), (nan, 0.0), (0.0, nan), (inf, 0.0)],
)
@pytest.mark.parametrize("replay", [False, True])
def test_a_place_off_the_earth_is_refused(lat: float, lon: float, replay: bool) -> None:
    assert check(NOW_US, lat, lon, now_us=NOW_US, replay=replay) is PointRefusal.OUT_OF_RANGE


@pytest.mark.parametrize("at_us", [None, -1, LATEST_US + 1])
@pytest.mark.parametrize("replay", [False, True])
def test_a_time_that_cannot_be_read_or_kept_is_refused(at_us: int | None, replay: bool) -> None:
    assert check(at_us, 1.0, 2.0, now_us=NOW_US, replay=replay) is PointRefusal.BAD_TIME


@pytest.mark.parametrize(
    ("offset_us", "refusal"),
    [
        (5 * MINUTE_US, None),
        (5 * MINUTE_US + 1, PointRefusal.FUTURE),
        (-30 * DAY_US, None),
        (-30 * DAY_US - 1, PointRefusal.TOO_OLD),
    ],
)
def test_a_live_fix_lies_between_thirty_days_ago_and_five_minutes_ahead(
    offset_us: int, refusal: PointRefusal | None
) -> None:
    assert check(NOW_US + offset_us, 1.0, 2.0, now_us=NOW_US, replay=False) is refusal


@pytest.mark.parametrize("at_us", [0, NOW_US + 400 * DAY_US, LATEST_US])
def test_a_recorded_track_may_be_of_any_age(at_us: int) -> None:
    assert check(at_us, 1.0, 2.0, now_us=NOW_US, replay=True) is None


@pytest.mark.parametrize("given", [None, 0.0, -1.0, nan, inf])
def test_an_unknown_accuracy_is_reckoned_with_the_default(given: float | None) -> None:
    assert usable_accuracy_m(given) == DEFAULT_ACCURACY_M


def test_a_known_accuracy_and_speed_are_taken_as_they_are() -> None:
    assert usable_accuracy_m(4.5) == 4.5
    assert usable_speed_mps(0.0) == 0.0


@pytest.mark.parametrize("given", [None, -1.0, nan])
def test_an_unknown_speed_stays_unknown(given: float | None) -> None:
    assert usable_speed_mps(given) is None
