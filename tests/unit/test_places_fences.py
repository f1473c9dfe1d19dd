"""Ids, stores, and the covers and advice that need no property to state."""

import pytest
import shapely
from h3.api import basic_int as h3
from pyproj import Geod

from geo_offers.places.cells import COARSE, FINE, cover, estimate, square_of, squares
from geo_offers.places.fences import Detect, FenceId, Geofence, fence_id, split_fence_id, store_key
from geo_offers.places.geometry import Area, Circle, bounds, crosses
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.regions import Wish, check_after_s, look, send_after_s
from geo_offers.places.table import BestTable


def fence(name, geometry, store=None, *, active=True):
    return Geofence(FenceId(name), 1, name, geometry, store, (), active, Detect("raw"))


def test_the_first_slash_splits_a_fence_id():
    assert fence_id("lidl", "node/162") == "lidl/node/162"
    assert split_fence_id(fence_id("lidl", "node/162")) == ("lidl", "node/162")


@pytest.mark.parametrize("parts", [("", "a"), ("a/b", "c"), ("a", "")])
def test_a_set_with_a_slash_or_an_empty_part_is_no_fence_id(parts):
    with pytest.raises(ValueError, match="set/external_id"):
        fence_id(*parts)


def test_a_fence_without_a_store_counts_as_its_own():
    assert store_key(fence("s/a", Circle(0, 0, 100), "shop")) == "shop"
    assert store_key(fence("s/a", Circle(0, 0, 100))) == "s/a"


@pytest.mark.parametrize(
    ("geometry", "in_squares"),
    [
        (Circle(53, 8, 100), False),
        (Circle(53, 8, 100_000), False),
        (Circle(53, 8, 400_000), True),
        (Circle(89.99, 8, 100), True),
        (Area(shapely.box(-60, -60, 60, 60)), True),
        (
            Area(shapely.MultiPolygon([shapely.box(8, 53, 8.001, 53.001), shapely.box(-70, -20, -69.999, -19.999)])),
            False,
        ),
    ],
)
def test_only_huge_and_polar_fences_are_left_to_squares(geometry, in_squares):
    places = cover(geometry).places
    assert places
    assert {h3.is_valid_cell(place) for place in places} == {not in_squares}


def test_both_names_of_a_meridian_are_one_square_and_every_square_of_a_box_is_found():
    assert square_of(-17, 180) == square_of(-17, -180) != square_of(-17, 179.99)
    assert squares([(-1, 179, 1, 181)]) == {square_of(lat, lon) for lat in (-1, 1) for lon in (179, -179)}
    assert len(squares([(-90, -180, 90, 180)])) == 37 * 72


def test_a_thread_across_a_country_costs_few_cells():
    cells = cover(Area(shapely.Polygon([(8, 53), (10, 54.4), (10.0001, 54.4)])))
    assert 50 < len(cells.partial) < 400


def test_the_estimate_is_near_the_truth():
    box = bounds(Area(shapely.box(8, 53, 8.1, 53.1)))
    cells = cover(Area(shapely.box(8, 53, 8.1, 53.1)))
    assert estimate(box, COARSE) == pytest.approx(len(cells.full) + len(cells.partial) / 2, rel=0.7)
    assert estimate(box, FINE) == pytest.approx(343 * estimate(box, COARSE), rel=0.01)


def test_an_inactive_fence_is_kept_and_never_matched():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 100), active=False)])
    assert len(index) == 1
    assert index.get(FenceId("s/a")) is not None
    assert index.locate_one(53, 8) == ()
    assert index.crossed(52.99, 8, 53.01, 8) == ()
    assert index.nearest(53, 8, 5) == []


def test_a_short_way_over_the_corner_of_a_huge_fence_crosses_it():
    index = GeofenceIndex([fence("s/huge", Area(shapely.box(-60, -60, 60, 60)))])
    assert [found.id for found in index.crossed(59.9997, 60.0001, 60.0001, 59.9997)] == ["s/huge"]
    assert index.crossed(59.9999, 60.0003, 60.0003, 59.9999) == ()


def test_a_fence_on_the_way_is_crossed_and_one_around_an_end_is_not():
    on_way, at_start, aside = Circle(53.005, 8, 100), Circle(53, 8, 100), Circle(53.005, 8.1, 100)
    index = GeofenceIndex([fence("s/b", on_way), fence("s/a", at_start), fence("s/c", aside)])
    assert [each.id for each in index.crossed(53, 8, 53.01, 8)] == ["s/b"]
    assert index.crossed(53.005, 8, 53.005, 8) == ()


@pytest.mark.parametrize("way", [(179.0, -179.8), (-179.8, 179.0), (179.2, 179.9), (-179.2, 179.9)])
def test_a_fence_over_the_antimeridian_that_holds_an_end_of_the_way_is_not_crossed(way):
    index = GeofenceIndex(
        [
            fence(
                "s/a",
                Area(shapely.MultiPolygon([shapely.box(179.5, -18, 180, -17), shapely.box(-180, -18, -179.5, -17)])),
            )
        ]
    )
    assert index.crossed(-17.5, way[0], -17.5, way[1]) == ()
    assert [each.id for each in index.crossed(-17.5, 179.0, -17.5, -179.0)] == ["s/a"]


ALL = Wish(20)


def safe_m(index, lat, lon):
    return look(index, lat, lon, ALL).safe_radius_m


def test_a_phone_far_from_everything_may_sleep_long_and_is_given_all_fences_in_order():
    index = GeofenceIndex([fence("s/far", Circle(55, 8, 100)), fence("s/near", Circle(54, 8, 100))])
    outlook = look(index, 53, 8, ALL)
    assert 0.998 * 10_000 < outlook.safe_radius_m <= 10_000
    assert [fence for fence, _ in outlook.regions] == ["s/near", "s/far"]
    assert safe_m(GeofenceIndex(), 53, 8) == 10_000


def test_the_safe_radius_ends_at_the_nearest_border_from_inside_and_outside():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 300))])
    assert safe_m(index, 53, 8) == pytest.approx(300, rel=2e-3)
    assert safe_m(index, 53 + 1_300 / 111_280, 8) == pytest.approx(1_000, rel=2e-3)
    assert safe_m(index, 53 + 300 / 111_280, 8) < 1


def test_no_way_between_two_places_in_the_safe_circle_leads_over_a_border_near_a_pole_either():
    km = 1 / 111.69
    beside = Circle(90 - km, 90, 300)
    index = GeofenceIndex([fence("s/a", beside)])
    walk = Geod(ellps="WGS84").fwd
    radius_m = safe_m(index, 90 - km, 0)
    ends = [walk(0, 90 - km, azimuth, radius_m)[:2] for azimuth in range(0, 360, 5)]
    for lon0, lat0 in ends:
        assert not any(crosses(beside, lat0, lon0, lat1, lon1) for lon1, lat1 in ends)


def test_the_check_is_due_when_the_border_could_be_reached():
    assert check_after_s(300, None, 0, 600) == 200
    assert check_after_s(300, 0.1, 0, 600) == 200
    assert check_after_s(300, 30, 0, 600) == 10
    assert check_after_s(300, 30, 90, 600) == 7
    assert check_after_s(300, 30, 400, 600) == 1
    assert check_after_s(300, 3_000, 0, 600) == 1
    assert check_after_s(10_000, None, 10, 600) == 600


def test_a_fix_is_sent_at_the_first_deadline_however_near_that_is_and_no_check_is_later():
    assert send_after_s(()) == 600
    assert send_after_s((90.0, 4.07)) == 4.0
    assert send_after_s((0.25,)) == 0.2
    assert send_after_s((-5.0, 90.0)) == 0
    assert check_after_s(300, 30, 0, 4.0) == 4
    assert check_after_s(300, 30, 400, 0.2) == 0.2


def test_twenty_regions_are_advised_at_most_and_an_area_gets_a_circle_around_it():
    area = Area(shapely.box(8, 53, 8.001, 53.001))
    others = [fence(f"s/{n:02d}", Circle(53.1, 8 + n / 100, 100)) for n in range(25)]
    regions = look(GeofenceIndex([fence("s/area", area), *others]), 53, 8, ALL).regions
    assert len(regions) == 20
    name, (lat, lon, radius_m, _) = regions[0]
    assert name == "s/area"
    assert (lat, lon) == pytest.approx((53.0005, 8.0005))
    assert radius_m == pytest.approx(65, abs=1)
    assert [around[-1] for _, around in regions] == [False, *[True] * 19]


def test_the_refresh_circle_reaches_to_the_first_fence_that_is_not_watched():
    index = GeofenceIndex([fence(f"s/{n:02d}", Circle(53 + n / 1_000, 8, 30)) for n in range(1, 31)])
    outlook = look(index, 53, 8, Wish(18, refresh=True))
    assert [fence for fence, _ in outlook.regions] == [f"s/{n:02d}" for n in range(1, 19)]
    assert outlook.refresh is not None
    assert (outlook.refresh.lat, outlook.refresh.lon) == (53, 8)
    assert outlook.refresh.radius_m == pytest.approx(19 * 111.28 - 30, rel=2e-3)
    crowd = GeofenceIndex([fence(f"s/{n:02d}", Circle(53, 8, 49 + n)) for n in range(1, 31)])
    assert look(crowd, 53, 8, Wish(18, refresh=True)).refresh.radius_m == pytest.approx(68, abs=1)
    few = look(index, 53, 8, Wish(99, refresh=True))
    assert len(few.regions) == 30
    assert few.refresh.radius_m == 10_000


def test_an_app_that_wants_no_regions_is_told_the_radius_alone():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 300))])
    outlook = look(index, 53, 8, Wish(0))
    assert (outlook.regions, outlook.refresh) == ([], None)
    assert outlook.safe_radius_m == safe_m(index, 53, 8)


SIZES = [100, 20_000, 400_000]


@pytest.mark.parametrize("radius_m", SIZES)
def test_a_place_counts_the_active_fences_filed_under_it(radius_m):
    circle = Circle(53, 8, radius_m)
    index = GeofenceIndex([fence(f"s/{number}", circle) for number in range(3)])
    places = BestTable.cover(circle).places
    assert {index.count(place) for place in places} == {3}
    index.put(fence("s/0", circle))
    index.put(fence("s/1", circle, active=False))
    index.remove(FenceId("s/2"))
    assert {index.count(place) for place in places} == {1}
    index.remove(FenceId("s/0"))
    assert {index.count(place) for place in places} == {0}
