"""What the page is told of a phone's last minutes, and which phone it is shown by itself."""

import json

import pytest

from geo_offers.demo.witness import ARRIVED_S, COMING_S, WINDOW_S, Witness
from geo_offers.presence.explain import PRESENCE
from geo_offers.presence.fixes import Fix

LAT, LON, METRE = 46.2, -30.5, 1 / 77_040
START_US = 1_767_607_200_000_000


def _circle(name: str, east_m: float, **detect: str) -> dict:
    geometry = {"type": "Point", "coordinates": [LON + east_m * METRE, LAT]}
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": {"radius_m": 30, "detect": detect}}


def _fix(at_s: float, east_m: float) -> Fix:
    return Fix(START_US + round(at_s * 1e6), LAT, LON + east_m * METRE, 6.0, 1.4)


def _walk(witness: Witness, n: int, until_s: float, *, from_m: float = -120.0, start_s: float = 0.0) -> None:
    """Eastwards at a walk, and then still in the middle."""
    at_s = start_s
    while at_s <= until_s:
        witness.saw(n, _fix(at_s, min(0.0, from_m + 1.4 * (at_s - start_s))))
        at_s += 2.0


@pytest.fixture
def witness() -> Witness:
    return Witness([_circle("town/shop", 0.0), _circle("town/cafe", 60.0), _circle("town/square", 0.0, mode="raw")])


def test_a_phones_way_its_probabilities_and_what_came_of_them_are_told(witness: Witness) -> None:
    _walk(witness, 7, 120)
    told = witness.tell(7)
    assert (told["n"], told["presence"]) == (7, PRESENCE)
    assert len(told["path"]) == 61
    assert told["path"][0] == [START_US // 1000, LAT, LON - 120 * METRE]
    assert [fence["id"] for fence in told["fences"]] == ["town/shop", "town/cafe"], "a raw fence has no probability"
    shop = told["fences"][0]
    assert (shop["offer"], shop["inside"], shop["confirmed"], shop["away_m"]) == (0.73, True, True, -30.0)
    assert shop["line"][-1] == (told["path"][-1][0], shop["probability"])
    assert [mark["type"] for mark in told["marks"]] == ["enter", "confirm"]
    enter, confirm = told["marks"]
    assert enter["probability"] >= PRESENCE
    assert confirm["probability"] >= shop["offer"]
    line = dict(shop["line"])
    assert line[enter["at"]] == pytest.approx(enter["probability"], abs=1e-3)
    json.dumps(told)


def test_only_the_last_minutes_are_kept_and_who_has_left_is_forgotten(witness: Witness) -> None:
    _walk(witness, 7, 600)
    assert len(witness.tell(7)["path"]) == WINDOW_S / 2 + 1
    assert witness.tell(7)["marks"] == []
    witness.forget(7)
    assert witness.tell(7) is None
    assert witness.tell(None) is None
    witness.forget(8)


def test_by_itself_it_shows_the_phone_that_is_likeliest_about_to_arrive_and_stays_with_it(witness: Witness) -> None:
    assert witness.tell(None) is None
    _walk(witness, 1, 90, from_m=-60.0)  # inside since a while
    _walk(witness, 2, 90, from_m=-158.0)  # at the border now
    _walk(witness, 3, 90, from_m=-900.0)  # far off
    assert witness.tell(1)["fences"][0]["inside"]
    assert witness.tell(None)["n"] == 2
    _walk(witness, 4, 90 + COMING_S, from_m=-60.0, start_s=60.0)
    _walk(witness, 2, 90 + ARRIVED_S - 2, from_m=-32.0, start_s=92.0)
    assert witness.tell(2)["fences"][0]["inside"]
    assert witness.tell(None)["n"] == 2
    _walk(witness, 3, 90 + ARRIVED_S, from_m=-40.0, start_s=92.0 + ARRIVED_S - 4)
    assert witness.tell(None)["n"] == 3


def test_a_phone_that_only_came_near_is_left_for_another_one_soon(witness: Witness) -> None:
    witness.saw(1, _fix(0, -33.0))
    assert witness.tell(None)["n"] == 1
    witness.saw(1, _fix(COMING_S, -200.0))
    witness.saw(2, _fix(COMING_S, -31.0))
    assert witness.tell(None)["n"] == 2
    witness.forget(2)
    assert witness.tell(None)["n"] == 1
