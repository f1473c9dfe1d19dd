"""A phone that keeps silent as far as `next` allows is told what one that sends everything is told, fix by fix."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.phones import Phone, obey, send_all, strictly
from geo_offers.client.saving import Circle as Known
from geo_offers.client.saving import Place, Told, due
from geo_offers.places.earth import ecef
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.fixes import Fix

PLACES = [(52.0, 8.0), (0.0, 0.0), (-17.0, 179.999), (79.0, 20.0)]
EVERY_S = [1, 5, 8, 30]


def turned(lon):
    return (lon + 180) % 360 - 180


def moved(lat, lon, heading, by_m):
    turn = by_m / 6_371_000
    return lat + math.degrees(turn * math.cos(heading)), turned(
        lon + math.degrees(turn * math.sin(heading) / math.cos(math.radians(lat)))
    )


def fence(number, geometry, dwell_s):
    return Geofence(
        FenceId(f"s/{number}"), 1, "a", geometry, None, (), active=True, detect=Detect("raw", dwell_s=dwell_s)
    )


def some_fences(random, lat, lon):
    """Stores, a district or two, and a long sliver that a step can lead through."""
    for number in range(25):
        at = moved(lat, lon, random.uniform(0, 2 * math.pi), random.uniform(0, 3_000))
        yield fence(number, Circle(*at, random.uniform(25, 300)), float(random.choice([60, 61.5, 300])))
    for number in range(25, 30):
        y, x = moved(lat, lon, random.uniform(0, 2 * math.pi), random.uniform(0, 3_000))
        high, wide = random.uniform(2e-4, 0.02, 2)
        if x + wide < 180:
            yield fence(number, Area(shapely.box(x, y, x + wide, y + high)), 60.0)


def a_trip(random, lat, lon, every_s, count):
    """Walks, drives and stops, by turns; steps vary, now and then the phone has slept."""
    at_us, heading, speed_mps, left, fixes = 0, 0.0, 1.0, 0, []
    for _ in range(count):
        if left == 0:
            left, speed_mps = int(random.integers(5, 60)), float(random.choice([0, 0, 0.3, 1.4, 12]))
            heading += random.normal(0, 1)
        left -= 1
        heading += random.normal(0, 0.3)
        lat, lon = moved(lat, lon, heading, speed_mps * every_s * random.uniform(0.5, 1.5))
        at_us += int(every_s * 1e6 * (20 if random.random() < 0.01 else random.uniform(0.9, 1.1)))
        given_mps = None if random.random() < 0.2 else speed_mps
        fixes.append(Fix(at_us, lat, lon, float(random.choice([5, 10, 50])), given_mps))
    return fixes


WAYS = [("ios", Told.of), ("android", Told.of), ("regions", Told.of), ("radius", Told.of), ("radius", strictly)]


@given(st.sampled_from(PLACES), st.sampled_from(EVERY_S), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_silent_phone_is_told_the_same_at_the_same_fixes(place, every_s, seed):
    random = np.random.default_rng(seed)
    index = GeofenceIndex(some_fences(random, *place))
    fixes = a_trip(random, *place, every_s, 400)
    whole = send_all(index, fixes)
    for wish, heed in WAYS:
        saved = obey(index, fixes, wish, heed)
        assert saved.told == whole.told
        assert saved.sent <= whole.sent


def test_of_a_days_walk_with_stops_nine_pings_of_ten_are_kept_back_and_dwells_come_in_time():
    random = np.random.default_rng(7)
    index = GeofenceIndex(some_fences(random, 52.0, 8.0))
    fixes = []
    lat, lon, heading = 52.0, 8.0, 0.0
    for number in range(6_000):
        if number % 200 < 120:
            heading += random.normal(0, 0.2)
            lat, lon = moved(lat, lon, heading + math.radians(number / 10), 8.0)
        fixes.append(Fix(number * 5_000_000, lat, lon, 8.0, 1.6 if number % 200 < 120 else 0.0))
    whole, saved = send_all(index, fixes), obey(index, fixes)
    assert saved.told == whole.told
    assert {"enter", "exit", "dwell"} <= {edge.type.value for edge in whole.told}
    assert saved.sent <= 0.1 * len(fixes)
    assert obey(index, fixes, "radius", strictly).told == whole.told


def test_the_fix_before_goes_along_where_the_next_one_leads_out_all_the_same():
    """From 900 m away straight through a fence, in one step that nobody could foresee."""
    index = GeofenceIndex([fence(0, Circle(52.0, 8.0, 100), 60.0)])
    lats = [52.0 - 900 / 111_250 + metres / 111_250 for metres in (0, 5, 10, 2_000)]
    fixes = [Fix(number * 8_000_000, lat, 8.0, 5.0, 0.6) for number, lat in enumerate(lats)]
    aside = [*fixes[:2], Fix(fixes[2].at_us, fixes[2].lat, 8.006, 5.0, 0.6), fixes[3]]
    for way in (fixes, aside):
        for wish in ("ios", "radius"):
            assert obey(index, way, wish).told == send_all(index, way).told
    assert [edge.type.value for edge in send_all(index, fixes).told] == ["cross"]
    assert obey(index, fixes).sent == 3


SLIVER = Area(shapely.box(8.0, 52.0, 8.03, 52.0002))
"""2 km long and 22 m wide: nearly all of the circle around it is outside."""


def test_inside_of_a_circle_around_an_area_a_phone_goes_by_the_safe_radius_alone():
    index = GeofenceIndex([fence(0, SLIVER, 60.0)])
    fixes = [Fix(number * 8_000_000, 52.004 - number * 1e-4, 8.015, 5.0, 1.4) for number in range(80)]
    whole = send_all(index, fixes)
    assert [edge.type.value for edge in whole.told] == ["enter", "exit"]
    for wish, heed in WAYS:
        assert obey(index, fixes, wish, heed).told == whole.told
    phone = Phone(index)
    phone.send(fixes[0])
    assert Told.of(Place(0, fixes[0].lat, fixes[0].lon), phone.next(fixes[0], "ios")).clear_m == 0


@pytest.mark.parametrize(("exact", "what"), [(True, "nothing"), (False, "this")])
def test_only_a_region_that_is_the_fence_itself_tells_that_a_phone_is_still_inside(exact, what):
    told = Told(Place(0, 52.0, 8.0), 10.0, 600.0, (Known(ecef(52.0, 8.0), 2_000.0, exact=exact),), 5_000.0)
    assert due(told, None, Place(8_000_000, 52.001, 8.0)) == what


@pytest.mark.parametrize("dwell_s", [60.0, 60.05, 61.0])
def test_a_dwell_is_told_at_the_first_fix_at_or_after_its_deadline(dwell_s):
    index = GeofenceIndex([fence(0, Circle(52.0, 8.0, 5_000), dwell_s)])
    fixes = [Fix(number * 100_000, 52.0, 8.0, 5.0, 0.0) for number in range(800)]
    (enter, dwell) = obey(index, fixes).told
    assert (dwell.at_us - enter.at_us) / 1e6 == pytest.approx(math.ceil(dwell_s * 10) / 10)
