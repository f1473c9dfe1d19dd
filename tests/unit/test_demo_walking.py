"""How invented people walk: along streets, into shops, and out of town again."""

import itertools
import math
from random import Random

import pytest

from geo_offers.demo.town import Habits, Node, Shop, Stop, Streets, Walk
from geo_offers.demo.walking import Plane, Point, StreetMap, Walker, named_walk, next_leg, shop_visit

LAT, LON = 46.2, -30.5
DEGREE_M = 111_195.0


def _node(name: str, east_m: float, north_m: float, door: str | None = None) -> Node:
    lon = LON + east_m / (DEGREE_M * math.cos(math.radians(LAT)))
    return Node(id=name, lat=LAT + north_m / DEGREE_M, lon=lon, door=door)


def _shop(name: str, kind: str, east_m: float, north_m: float) -> Shop:
    middle = _node(name, east_m, north_m)
    return Shop(
        id=name,
        name=name,
        street="High Street",
        hours=[],
        lat=middle.lat,
        lon=middle.lon,
        kind=kind,
        door=f"door-{name}",
    )


SHOPS = [_shop("bakery", "bakery", 100, 20), _shop("toys", "toys", 200, 20)]
NODES = [
    _node("west", 0, 0),
    _node("a", 100, 0),
    _node("b", 200, 0),
    _node("detour", 150, 400),
    _node("east", 300, 0),
    _node("door-bakery", 100, 10, "bakery"),
    _node("door-toys", 200, 10, "toys"),
]
EDGES = [
    ("west", "a", "High Street"),
    ("a", "b", "High Street"),
    ("a", "detour", "Hill"),
    ("detour", "b", "Hill"),
    ("b", "east", "High Street"),
    ("a", "door-bakery", "High Street"),
    ("b", "door-toys", "High Street"),
]
WALK = Walk(key="stroll", name="Stroll", shows="pass", stops=[Stop("a"), Stop("b", 30.0)])
SHOPPER = Habits(walks={}, roam=1.0, likes=[], stay_s=(20, 40), legs=(1, 1))


@pytest.fixture
def town() -> StreetMap:
    return StreetMap(Streets(NODES, EDGES), SHOPS, [WALK])


def test_the_plane_gives_back_the_degrees_it_was_given():
    plane = Plane(LAT, LON)
    lat, lon = plane.degrees(plane.point(LAT + 0.005, LON - 0.007))
    assert (lat, lon) == pytest.approx((LAT + 0.005, LON - 0.007), abs=1e-12)


def test_the_shortest_way_leaves_the_detour_aside(town):
    assert town.path("west", "east") == ("west", "a", "b", "east")
    assert town.path("a", "a") == ("a",)


def test_people_leave_over_the_ends_of_roads_and_never_through_a_door(town):
    assert set(town.ways_out) == {"west", "east"}


def test_a_visit_goes_through_the_door_to_the_middle_of_the_shop_and_back(town):
    leg = shop_visit(town, "west", SHOPS[0], 25.0)
    places = [
        (round(goal.point.x - town.points["west"].x), round(goal.point.y - town.points["west"].y)) for goal in leg.goals
    ]
    assert places == [(100, 0), (100, 10), (100, 20), (100, 10)]
    assert [goal.pause_s for goal in leg.goals] == [0, 0, 25.0, 0]
    assert leg.end == "door-bakery"


def test_a_named_walk_pauses_where_it_says(town):
    leg = named_walk(town, "west", WALK)
    assert leg.end == "b"
    assert [goal.pause_s for goal in leg.goals] == [0, 30.0]


def test_a_liked_kind_of_shop_is_drawn_about_three_times_as_often(town):
    chance = Random(5)
    habits = Habits(walks={}, roam=1.0, likes=["toys"], stay_s=(1, 2), legs=(1, 1))
    ends = [next_leg(town, habits, "west", chance).end for _ in range(800)]
    assert 2.2 < ends.count("door-toys") / ends.count("door-bakery") < 4.2


def test_who_never_roams_takes_a_named_walk(town):
    habits = Habits(walks={"stroll": 1.0}, roam=0.0, likes=[], stay_s=(1, 2), legs=(1, 1))
    assert next_leg(town, habits, "west", Random(1)) == named_walk(town, "west", WALK)


def _track(town: StreetMap, walker: Walker, step_s: float, limit_s: float = 3_000) -> list[Point]:
    track = [walker.place]
    for _ in range(round(limit_s / step_s)):
        if walker.gone:
            break
        walker.step(step_s)
        track.append(walker.place)
    return track


@pytest.mark.parametrize("step_s", [0.5, 1.0, 2.0])
def test_nobody_is_faster_than_their_own_pace(town, step_s):
    walker = Walker(town, SHOPPER, 1.4, Random(3), start="west")
    track = _track(town, walker, step_s)
    longest_m = max(one.distance_m(other) for one, other in itertools.pairwise(track))
    assert longest_m <= 1.4 * step_s + 1e-9


def test_a_shopper_stands_in_the_shop_and_then_leaves_the_town(town):
    walker = Walker(town, SHOPPER, 1.4, Random(3), start="west")
    track = _track(town, walker, 1.0)
    assert walker.gone
    stood = max(sum(place == middle for place in track) for middle in town.middles.values())
    assert 18 <= stood <= 41
    assert track[-1] in {town.points[node] for node in town.ways_out}


def test_the_same_seed_walks_the_same_way(town):
    one, other = (Walker(town, SHOPPER, 1.4, Random(9), start="west") for _ in range(2))
    for _ in range(200):
        one.step(1.0)
        other.step(1.0)
        assert one.seen == other.seen


def test_the_phone_reports_a_place_within_some_metres_of_the_truth(town):
    walker = Walker(town, SHOPPER, 1.4, Random(2), start="west")
    errors_m = []
    for _ in range(200):
        walker.step(1.0)
        errors_m.append(town.plane.point(*walker.seen).distance_m(walker.place))
    assert 0.2 < sum(errors_m) / len(errors_m) < 5
    assert max(errors_m) < 10


def test_skipping_ahead_starts_on_the_way_and_not_at_its_end(town):
    for seed in range(20):
        walker = Walker(town, SHOPPER, 1.4, Random(seed), start="west")
        walker.skip_ahead(0.5)
        assert 20 < walker.place.distance_m(town.points["west"]) < 280
        walker.step(1.0)
        assert not walker.gone
