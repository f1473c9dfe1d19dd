"""Ids, stores, and the covers and advice that need no property to state."""

import pytest
import shapely
from h3.api import basic_int as h3

from geo_offers.places.cells import COARSE, FINE, cover, estimate, square_of, squares
from geo_offers.places.fences import Detect, FenceId, Geofence, fence_id, split_fence_id, store_key
from geo_offers.places.geometry import Area, Circle, bounds
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.regions import advise, look
from geo_offers.places.table import BestTable


def fence(name, geometry, store=None, *, active=True):
    return Geofence(FenceId(name), 1, name, geometry, store, (), active, Detect())


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


def advised(index, lat, lon, speed_mps, deadlines_s):
    return advise(look(index, lat, lon), lat, lon, speed_mps, deadlines_s)


def test_what_was_found_nearby_serves_on_and_gives_no_more_than_what_is_left_of_it():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 300))])
    outlook = look(index, 53.02, 8)
    for lat in (53.02, 53.0195, 53.0205, 53.017):
        fresh = advised(index, lat, 8, None, ()).safe_radius_m
        assert outlook.holds(index, lat, 8)
        assert 0.4 * fresh < advise(outlook, lat, 8, None, ()).safe_radius_m <= fresh / 0.998


def test_what_was_found_is_looked_at_anew_near_the_border_and_after_any_change_of_fences():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 300))])
    outlook = look(index, 53.02, 8)
    assert not outlook.holds(index, 53.015, 8)
    index.put(fence("s/b", Circle(54, 8, 300)))
    assert not outlook.holds(index, 53.02, 8)
    outlook = look(index, 53.02, 8)
    index.remove("s/b")
    assert not outlook.holds(index, 53.02, 8)


def test_a_phone_far_from_everything_may_sleep_long_and_is_given_all_fences_in_order():
    index = GeofenceIndex([fence("s/far", Circle(55, 8, 100)), fence("s/near", Circle(54, 8, 100))])
    advice = advised(index, 53, 8, None, ())
    assert (advice.safe_radius_m, advice.check_after_s) == (10_000, 600)
    assert [region.fence for region in advice.regions] == ["s/near", "s/far"]
    assert advised(GeofenceIndex(), 53, 8, None, ()).safe_radius_m == 10_000


def test_the_safe_radius_ends_at_the_nearest_border_from_inside_and_outside():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 300))])
    assert advised(index, 53, 8, None, ()).safe_radius_m == pytest.approx(300, rel=2e-3)
    assert advised(index, 53 + 1_300 / 111_280, 8, None, ()).safe_radius_m == pytest.approx(1_000, rel=2e-3)


def test_the_check_is_due_when_the_border_could_be_reached_or_at_the_first_deadline():
    index = GeofenceIndex([fence("s/a", Circle(53, 8, 300))])
    assert advised(index, 53, 8, None, ()).check_after_s == pytest.approx(200, rel=2e-3)
    assert advised(index, 53, 8, 0.1, ()).check_after_s == pytest.approx(200, rel=2e-3)
    assert advised(index, 53, 8, 30, ()).check_after_s == pytest.approx(10, rel=2e-3)
    assert advised(index, 53, 8, 30, (90.0, 4.0)).check_after_s == 4
    assert advised(index, 53, 8, 3_000, ()).check_after_s == 1
    assert advised(index, 53, 8, 30, (-5.0,)).check_after_s == 1


def test_twenty_regions_are_advised_at_most_and_an_area_gets_a_circle_around_it():
    area = Area(shapely.box(8, 53, 8.001, 53.001))
    others = [fence(f"s/{n:02d}", Circle(53.1, 8 + n / 100, 100)) for n in range(25)]
    regions = advised(GeofenceIndex([fence("s/area", area), *others]), 53, 8, None, ()).regions
    assert len(regions) == 20
    assert regions[0].fence == "s/area"
    assert (regions[0].lat, regions[0].lon) == pytest.approx((53.0005, 8.0005))
    assert regions[0].radius_m == pytest.approx(65, abs=1)


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
