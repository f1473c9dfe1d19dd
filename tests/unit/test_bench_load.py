"""The common load is what it says: shares of kinds, of pings inside and far away; and the same for the same seed."""

import math

import msgspec
import numpy as np
import pytest
import shapely

from bench.cities import CITIES
from bench.contenders import Ours, Rtree, Strtree
from bench.load import Devices, cities_for, collection, make_devices, make_fences, middles
from bench.lookup import agree
from geo_offers.places.geometry import Circle
from geo_offers.places.importing.geojson import parse_collection
from geo_offers.places.index import GeofenceIndex

FENCES = 500


@pytest.fixture(scope="module")
def fences():
    return make_fences(FENCES, seed=7)


@pytest.fixture(scope="module")
def positions():
    lat, lon = make_devices(3_000, FENCES, seed=7).walk(2)
    return lat.ravel(), lon.ravel()


def test_cities_are_on_earth_and_away_from_the_antimeridian():
    assert len({name for name, _, _ in CITIES}) == len(CITIES)
    assert all(abs(lat) < 70 and abs(lon) < 179 for _, lat, lon in CITIES)


def test_more_cities_than_the_table_has_are_towns_near_its_own():
    lat, lon = middles(len(CITIES) + 3, seed=7)
    away_km = np.hypot(lat[-3:] - lat[:3], (lon[-3:] - lon[:3]) * np.cos(np.radians(lat[:3]))) * 111.2
    assert np.all((away_km > 14) & (away_km < 31))


def test_fences_are_valid_and_of_the_kinds_and_sizes_asked_for(fences):
    circles = [fence.geometry for fence in fences if isinstance(fence.geometry, Circle)]
    areas = [fence.geometry.shape for fence in fences if not isinstance(fence.geometry, Circle)]
    assert 0.65 < len(circles) / FENCES < 0.75
    assert all(50 <= circle.radius_m <= 300 for circle in circles)
    assert all(shapely.is_valid(area) and 6 <= shapely.get_num_coordinates(area) <= 41 for area in areas)


def test_the_same_seed_makes_the_same_load(fences):
    assert make_fences(FENCES, seed=7)[:20] == fences[:20]
    assert np.array_equal(make_devices(9, FENCES, 7).walk(3), make_devices(9, FENCES, 7).walk(3))


def test_the_service_takes_all_of_it(fences):
    document = msgspec.json.decode(msgspec.json.encode(collection(fences)))
    rows = parse_collection(document, id_property=None, name_property=None, radius_m=None, mode=None).rows
    assert len(rows) == FENCES
    assert not [row for row in rows if row.faults]


def nearest_middle_km(lat, lon):
    middle = middles(cities_for(FENCES), 7)
    return np.min(np.hypot(middle[0] - lat, (middle[1] - lon) * math.cos(math.radians(lat)))) * 111.2


def test_about_a_ninth_of_the_pings_is_inside_and_a_third_far_away_and_all_indexes_agree(fences, positions):
    index = GeofenceIndex(fences)
    contenders = [Ours(index, fences), Strtree(fences), Rtree(fences)]
    inside, pairs = agree(contenders, fences, *positions)
    assert 0.09 < inside < 0.14
    assert pairs >= inside * len(positions[0])
    away_km = [nearest_middle_km(lat, lon) for lat, lon in zip(*positions, strict=True)]
    assert 0.25 < sum(km > 25 for km in away_km) / len(away_km) < 0.35


def test_a_contender_that_misses_a_fence_is_found_out(fences, positions):
    blind = Strtree(fences)
    found = blind.pairs(*positions)
    blind.pairs = lambda _lat, _lon: set(sorted(found)[1:])
    with pytest.raises(AssertionError, match="differ in 1 pairs"):
        agree([Ours(GeofenceIndex(fences), fences), blind], fences, *positions)


def test_devices_move_at_walking_and_driving_speed_and_stay_about_home():
    devices: Devices = make_devices(200, FENCES, seed=7)
    home = devices.home
    lat, lon = devices.walk(400)
    step_m = np.hypot(np.diff(lat, axis=0), np.diff(lon, axis=0) * np.cos(np.radians(home[0]))) * 111_200
    assert np.min(step_m) > 5
    assert np.max(step_m) < 140
    out_m = np.hypot(lat - home[0], (lon - home[1]) * np.cos(np.radians(home[0]))) * 111_200
    assert np.max(out_m) < 3_600
