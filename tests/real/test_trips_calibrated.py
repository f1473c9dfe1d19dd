"""Recorded trips over real fences by calibrated presence: a car among stores and along the borders of districts."""

from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.savings import recorded
from geo_offers.places.fences import Detect, Geofence
from geo_offers.presence.fixes import Fix
from geo_offers.presence.states import Transition, TransitionType
from tests.walks import Phone

SOON_US = 60 * 1_000_000


@pytest.fixture(scope="module")
def played(real_data: Path) -> dict[str, list[tuple[list[Fix], Phone, Phone]]]:
    """By data set, of each trip: its fixes, and what the same fences tell of it calibrated and raw."""
    return {
        name: [(trip, *(drive(list(index), trip, Detect(mode)) for mode in ("calibrated", "raw"))) for trip in trips]
        for name, (index, trips) in recorded(real_data)
    }


def drive(fences: list[Geofence], trip: list[Fix], detect: Detect) -> Phone:
    phone = Phone([replace(fence, detect=detect) for fence in fences])
    for fix in trip:
        phone.take(fix)
    return phone


def back_soon(told: list[Transition]) -> int:
    """How often a fence is entered again within a minute of having been left: nobody does that, least of all a car."""
    left: dict[str, int] = {}
    count = 0
    for edge in sorted(told, key=lambda edge: edge.at_us):
        if edge.type is TransitionType.EXIT:
            left[edge.fence] = edge.at_us
        elif edge.type is TransitionType.ENTER and edge.at_us - left.get(edge.fence, -SOON_US) < SOON_US:
            count += 1
    return count


def test_a_car_along_the_borders_of_districts_flutters_less_than_by_plain_edges(played) -> None:
    ((_, calibrated, raw),) = played["car in bremen, districts"]
    assert back_soon(raw.told) > 0
    assert back_soon(calibrated.told) == 0


def test_every_visit_of_a_recorded_trip_begins_once_and_ends_at_most_once(played) -> None:
    for trips in played.values():
        for _, calibrated, _ in trips:
            kinds = Counter((edge.visit, edge.type) for edge in calibrated.told if edge.visit is not None)
            assert set(kinds.values()) <= {1}
            begun = {visit for visit, kind in kinds if kind is TransitionType.ENTER}
            assert begun == {visit for visit, _ in kinds}


def test_nobody_is_offered_anything_at_speed(played) -> None:
    offered = 0
    for trips in played.values():
        for trip, calibrated, _ in trips:
            speeds = {fix.at_us: fix.speed_mps for fix in trip}
            for edge in calibrated.told:
                if TransitionType.ENTER in edge.triggers:
                    offered += 1
                    assert (speeds[edge.at_us] or 0.0) <= 7.0
    assert offered > 0


def test_a_stay_of_minutes_by_plain_edges_is_a_visit_by_evidence_too_where_fixes_are_good(played) -> None:
    long = 0
    for trips in played.values():
        for trip, calibrated, raw in trips:
            begun = [(edge.fence, edge.at_us) for edge in calibrated.told if edge.type is TransitionType.ENTER]
            for edge in raw.told:
                since_us = edge.entered_us or 0
                good = [fix for fix in trip if since_us <= fix.at_us <= edge.at_us and fix.accuracy_m <= 30]
                if edge.type is TransitionType.EXIT and edge.at_us - since_us >= 2 * SOON_US and len(good) >= 5:
                    long += 1
                    assert any(fence == edge.fence and since_us <= at_us <= edge.at_us for fence, at_us in begun)
    assert long > 0
