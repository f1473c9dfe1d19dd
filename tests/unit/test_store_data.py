"""The invented town holds together: its files agree with each other, with their README and with the public contract."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from geo_offers import wire
from geo_offers.demo import town as town_files
from geo_offers.demo.walking import StreetMap, Walker, named_walk
from geo_offers.offers.proofreading import faults
from geo_offers.offers.rendering import Facts, render
from geo_offers.offers.texts import STANDARD, Text
from geo_offers.places import geometry
from geo_offers.places.importing.geojson import FenceDraft, parse_collection, parse_feature
from geo_offers.presence.explain import Explained
from geo_offers.presence.fixes import Fix
from geo_offers.traces.trace import index_of

FOLDER = Path(__file__).parents[2] / "store_data"
TOWN = town_files.read(FOLDER)
FEATURES = TOWN.map["features"]
KINDS = ("land", "beach", "park", "square", "river", "railway", "bridge", "street", "pier", "building", "label")
SHOP_KINDS = {"bakery", "cafe", "grocer", "books", "flowers", "home", "toys", "ices", "kiosk"}
QUARTERS = {"old-town", "grid", "harbour", "bay", "station", "seagate", "east"}
BRAND = "Kittiwell"
AT_THEIR_WORD = {"old-pier", "station-square"}
STEP_M = 0.5
NEAR_M = 60.0  # a walk that passes a fence comes so near


def _draft(feature: dict[str, Any]) -> FenceDraft:
    draft = parse_feature(feature, strict=True)
    assert isinstance(draft, FenceDraft), draft
    return draft


DRAFTS = {feature["id"]: _draft(feature) for feature in TOWN.fences["features"]}
NODES = {node.id: node for node in TOWN.streets.nodes}
INDEX = index_of(DRAFTS.values())
MAP = StreetMap(TOWN.streets, TOWN.shops, TOWN.walks)


def _inside(fence: str, lat: float, lon: float) -> bool:
    return bool(geometry.contains(DRAFTS[fence].geometry, np.array([lat]), np.array([lon]))[0])


def _metres(ring: list[list[float]]) -> list[tuple[float, float]]:
    points = (MAP.plane.point(lat, lon) for lon, lat in ring)
    return [(point.x, point.y) for point in points]


def _outline(fence: str) -> BaseGeometry:
    """The fence on the plane, in metres."""
    feature = next(feature for feature in TOWN.fences["features"] if feature["id"] == fence)
    given = feature["geometry"]
    if given["type"] == "Point":
        return shapely.Point(_metres([given["coordinates"]])[0]).buffer(feature["properties"]["radius_m"])
    return Polygon(_metres(given["coordinates"][0]))


def _rings() -> Iterator[tuple[str, str, list[list[float]]]]:
    """(id, kind, outer ring) of each polygon of both GeoJSON files."""
    for feature in FEATURES + TOWN.fences["features"]:
        if feature["geometry"]["type"] == "Polygon":
            rings = feature["geometry"]["coordinates"]
            assert len(rings) == 1, "no shape of the town has a hole"
            yield feature["id"], feature["properties"].get("kind", "fence"), rings[0]


def _matched(campaign: dict[str, Any]) -> list[FenceDraft]:
    """The fences that a campaign's selector means, read from the definition."""
    (way, wanted) = next(iter(campaign["trigger"]["fences"].items()))
    if way == "set":
        return list(DRAFTS.values()) if wanted == "town" else []
    if way == "ids":
        return [draft for draft in DRAFTS.values() if f"town/{draft.external_id}" in wanted]
    return [draft for draft in DRAFTS.values() if set(draft.tags) & set(wanted)]


# ------------------------------------------------------------------------------------------------ the files as such
def test_the_readme_describes_every_file_and_the_files_stay_small() -> None:
    files = [file for file in FOLDER.iterdir() if file.name != "README.md"]
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"## {file.name}" in text for file in files)
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 420_000


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("streets.json", {"nodes", "edges"}),
        ("stores.json", {"id", "name", "street", "hours", "lat", "lon", "kind", "door"}),
        ("people.json", {"key", "name", "share", "locale", "consents", "rhythm", "speed_mps", "habits"}),
        ("walks.json", {"key", "name", "shows", "fence", "stops"}),
        ("workspace.json", {"name", "patch"}),
    ],
)
def test_every_entry_has_just_the_members_that_the_readme_names(name: str, members: set[str]) -> None:
    entries = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    for entry in entries if isinstance(entries, list) else [entries]:
        assert set(entry) == members


def test_ids_are_unique_and_written_plainly() -> None:
    groups = [
        [feature["id"] for feature in FEATURES],
        list(NODES),
        [shop.id for shop in TOWN.shops],
        [feature["id"] for feature in TOWN.fences["features"]],
        [campaign["key"] for campaign in TOWN.campaigns],
        [campaign["name"] for campaign in TOWN.campaigns],
        [person.key for person in TOWN.people],
        [walk.key for walk in TOWN.walks],
    ]
    for group in groups:
        assert [name for name, count in Counter(group).items() if count > 1] == []
    for group in (*groups[:5], *groups[6:]):
        assert [name for name in group if not re.fullmatch(r"[a-z0-9]+([-+][a-z0-9]+)*", name)] == []


# ------------------------------------------------------------------------------------------------ the map
def test_every_feature_of_the_map_has_what_its_kind_needs_in_painting_order() -> None:
    kinds = [feature["properties"]["kind"] for feature in FEATURES]
    assert [kind for kind, _ in itertools.groupby(kinds)] == list(KINDS)
    for feature in FEATURES:
        given = feature["properties"]
        if given["kind"] == "street":
            assert given["class"] in {"avenue", "road", "street", "lane", "path", "promenade", "arcade"}
            assert 2 <= given["width_m"] <= 20
        if given["kind"] == "label":
            assert given["of"] in {"town", "quarter", "water", "park", "place"}
        if given["kind"] not in {"land", "building"}:
            assert given["name"]


def test_buildings_stand_apart_on_dry_land_and_never_on_a_street() -> None:
    outlines = {
        feature["id"]: (feature["properties"], Polygon(_metres(feature["geometry"]["coordinates"][0])))
        for feature in FEATURES
        if feature["geometry"]["type"] == "Polygon"
    }
    houses = [shape for given, shape in outlines.values() if given.get("use") == "house"]
    assert len(houses) >= 300
    tree = shapely.STRtree(houses)
    left, right = tree.query(houses, predicate="intersects")
    assert (left == right).all(), "houses overlap"
    river = outlines["river-pell"][1]
    land = outlines["land"][1]
    assert not any(river.intersects(house) or not land.contains(house) for house in houses)
    solid = [(given, shape) for given, shape in outlines.values() if given.get("use") in {"house", "store"}]
    tree = shapely.STRtree([shape for _, shape in solid])
    for feature in FEATURES:
        given = feature["properties"]
        if given["kind"] == "street" and given["class"] not in {"path", "arcade"}:
            line = shapely.LineString(_metres(feature["geometry"]["coordinates"])).buffer(given["width_m"] / 2 - 1)
            blocked = [solid[i][0] for i in tree.query(line, predicate="intersects")]
            assert blocked == [], given["name"]


def test_every_polygon_is_valid_closed_counter_clockwise_and_simple_enough_to_read() -> None:
    for name, kind, ring in _rings():
        assert ring[0] == ring[-1], name
        assert shapely.is_valid(Polygon(ring)), name
        assert shapely.is_ccw(shapely.LinearRing(ring)), name
        if kind in {"fence", "building", "square", "pier"}:
            assert len(ring) <= 30, name


def test_positions_have_at_most_seven_decimals() -> None:
    for name in ("town.geojson", "fences.geojson", "streets.json", "stores.json"):
        assert re.search(r"\d\.\d{8,}", (FOLDER / name).read_text(encoding="utf-8")) is None, name


def test_the_town_lies_in_the_open_ocean_where_its_readme_says() -> None:
    west, south, east, north = TOWN.map["view"]
    assert 46.19 < south < north < 46.22
    assert -30.51 < west < east < -30.47
    margin = 0.003  # roads leave the view a little
    for node in NODES.values():
        assert south - margin < node.lat < north + margin
        assert west - margin < node.lon < east + margin


# ------------------------------------------------------------------------------------------------ streets and stores
def test_one_can_walk_from_anywhere_to_anywhere() -> None:
    neighbours: dict[str, set[str]] = {name: set() for name in NODES}
    for one, other, street in TOWN.streets.edges:
        assert one != other
        assert street
        neighbours[one].add(other)
        neighbours[other].add(one)
    seen, due = {next(iter(NODES))}, [next(iter(NODES))]
    while due:
        fresh = neighbours[due.pop()] - seen
        seen |= fresh
        due.extend(fresh)
    assert set(NODES) - seen == set()


def test_edges_are_short_straight_and_named_after_a_street_of_the_map() -> None:
    named = {feature["properties"]["name"] for feature in FEATURES if feature["properties"]["kind"] == "street"}
    for one, other, street in TOWN.streets.edges:
        assert street in named
        assert MAP.points[one].distance_m(MAP.points[other]) <= 220


def test_nobody_walks_on_water_except_over_bridges_and_piers() -> None:
    shapes: dict[str, list[BaseGeometry]] = {}
    for feature in FEATURES:
        given = feature["properties"]
        if feature["geometry"]["type"] == "Polygon":
            shapes.setdefault(given["kind"], []).append(Polygon(_metres(feature["geometry"]["coordinates"][0])))
        elif given["kind"] == "bridge":
            line = shapely.LineString(_metres(feature["geometry"]["coordinates"]))
            shapes.setdefault("bridge", []).append(line.buffer(given["width_m"] / 2))
    dry = shapely.union_all(shapes["land"]).difference(shapely.union_all(shapes["river"]))
    dry = shapely.union_all([dry, *shapes["bridge"], *shapes["pier"]]).buffer(1.0)
    for one, other, street in TOWN.streets.edges:
        ends = [(MAP.points[name].x, MAP.points[name].y) for name in (one, other)]
        assert dry.covers(shapely.LineString(ends)), (one, other, street)


def test_at_least_forty_stores_each_with_a_fence_and_a_door_just_inside_it() -> None:
    assert len(TOWN.shops) >= 40
    doors = {node.door: node for node in NODES.values() if node.door is not None}
    assert set(doors) == {shop.id for shop in TOWN.shops}
    for shop in TOWN.shops:
        assert shop.door == doors[shop.id].id == f"door-{shop.id}"
        draft = DRAFTS[shop.id]
        assert (draft.store, draft.name) == (shop.id, shop.name)
        assert _inside(shop.id, doors[shop.id].lat, doors[shop.id].lon), shop.id
        links = [edge for edge in TOWN.streets.edges if shop.door in edge[:2]]
        assert len(links) == 1, "a door is a dead end"
        assert links[0][2] == shop.street


def test_stores_are_of_known_kinds_and_the_service_takes_them_as_they_are() -> None:
    assert {shop.kind for shop in TOWN.shops} == SHOP_KINDS
    for shop in TOWN.shops:
        body = {"name": shop.name, "street": shop.street, "hours": msgspec.to_builtins(shop.hours)}
        assert msgspec.convert(body, wire.StoreBody).hours, shop.id
        assert all(hours.start < hours.end for hours in shop.hours), "no shop of the town is open over midnight"


def test_every_shop_is_open_from_late_morning_to_the_afternoon_on_each_day_of_the_week() -> None:
    for shop in TOWN.shops:
        open_then = {
            day for hours in shop.hours if hours.start <= "11:00" and hours.end >= "16:00" for day in hours.days
        }
        assert len(open_then) == 7, shop.id


def test_every_store_bears_the_invented_brand_and_nobody_elses() -> None:
    assert all(shop.name.startswith(f"{BRAND} ") for shop in TOWN.shops)
    assert TOWN.workspace.name == BRAND
    real = "lidl aldi tesco rewe edeka carrefour auchan starbucks costa greggs ikea spar boots migros thalia fnac kamps"
    others = {*real.split(), "hugendubel", "waterstones", "mcdonald", "nespresso", "leclerc", "monoprix", "sainsbury"}
    for file in FOLDER.iterdir():
        words = set(re.findall(r"[a-zà-ÿ']+", file.read_text(encoding="utf-8").lower()))
        assert words.isdisjoint(others), file.name


# ------------------------------------------------------------------------------------------------ fences
def test_the_service_takes_the_fences_as_they_are_and_repairs_nothing() -> None:
    parsed = parse_collection(TOWN.fences, strict=True)
    assert parsed.faults == ()
    assert [row.draft and row.draft.external_id for row in parsed.rows] == list(DRAFTS)
    advice = {note.code for draft in DRAFTS.values() for note in draft.notes}
    assert advice == {"small_radius"}, "a town on one screen has small circles; nothing else is remarked on"


def test_fences_are_a_shop_or_a_place_wide_and_tagged_with_kind_and_quarter() -> None:
    for name, draft in DRAFTS.items():
        if isinstance(draft.geometry, geometry.Circle):
            assert 25 <= draft.geometry.radius_m <= 60, name
        west, south, east, north = _outline(name).bounds
        assert max(east - west, north - south) <= 130, name
        kind, quarter = draft.tags
        assert quarter in QUARTERS, name
        assert kind in (SHOP_KINDS if draft.store else {"place"}), name
        assert draft.detect.mode == ("raw" if name in AT_THEIR_WORD else "calibrated")
        assert draft.detect.dwell_s in {60, 300}


def test_both_circles_and_building_like_polygons_occur() -> None:
    shapes = Counter(type(draft.geometry) for draft in DRAFTS.values())
    assert min(shapes[geometry.Circle], shapes[geometry.Area]) >= 15


def test_the_fences_of_the_mall_overlap() -> None:
    mall = [name for name, draft in DRAFTS.items() if "seagate" in draft.tags]
    pairs = list(itertools.combinations(mall, 2))
    overlapping = [pair for pair in pairs if _outline(pair[0]).intersection(_outline(pair[1])).area > 1]
    assert len(mall) >= 6
    assert len(overlapping) >= 10
    door = NODES["door-seagate-cafe"]
    assert sum(_inside(name, door.lat, door.lon) for name in mall) >= 3, "one step, three fences"


# ------------------------------------------------------------------------------------------------ campaigns
def test_the_service_takes_every_campaign_as_it_is() -> None:
    assert len(TOWN.campaigns) >= 8
    for campaign in TOWN.campaigns:
        body = {name: value for name, value in campaign.items() if name != "key"}
        assert msgspec.convert(body, wire.CampaignBody).name == campaign["name"]
        assert len(campaign["trigger"]["fences"]) == 1
    assert {campaign["trigger"]["on"] for campaign in TOWN.campaigns} == {"enter", "dwell", "exit"}


def test_every_campaign_finds_a_fence_and_a_dwell_can_be_seen_after_a_minute() -> None:
    for campaign in TOWN.campaigns:
        matched = _matched(campaign)
        assert matched, campaign["key"]
        wanted = campaign["trigger"]["fences"]
        assert len(wanted.get("ids", matched)) == len(matched), campaign["key"]
        assert all(any(tag in draft.tags for draft in matched) for tag in wanted.get("tags", ())), campaign["key"]
        if campaign["trigger"]["on"] == "dwell":
            assert {draft.detect.dwell_s for draft in matched} == {60}, campaign["key"]


def test_a_fence_waits_for_a_short_dwell_only_where_a_campaign_does() -> None:
    waiting = {
        draft.external_id
        for campaign in TOWN.campaigns
        if campaign["trigger"]["on"] == "dwell"
        for draft in _matched(campaign)
    }
    assert {name for name, draft in DRAFTS.items() if draft.detect.dwell_s == 60} == waiting


def test_every_campaign_speaks_english_and_german_and_some_speak_french() -> None:
    spoken = Counter(locale for campaign in TOWN.campaigns for locale in campaign["texts"])
    assert spoken["en"] == spoken["de"] == len(TOWN.campaigns)
    assert spoken["fr"] >= 3
    assert set(spoken) == {"en", "de", "fr"}


@pytest.mark.parametrize("campaign", TOWN.campaigns, ids=lambda campaign: campaign["key"])
def test_texts_fit_on_a_phone_wherever_they_are_sent(campaign: dict[str, Any]) -> None:
    for locale, given in campaign["texts"].items():
        text = Text(given["title"], given["body"])
        assert faults({locale: text}, (), {}, ends=False) == ()
        assert set(re.findall(r"\{(.*?)\}", text.title + text.body)) <= set(STANDARD)
        for draft in _matched(campaign):
            said = render({locale: text}, (), Facts(draft.name, draft.name, TOWN.workspace.name, ZoneInfo("UTC")))
            assert len(said.title) <= 40, (locale, said.title)
            assert len(said.body) <= 120, (locale, said.body)
            assert not said.title.endswith((".", " ")), "a title is no sentence"


def test_texts_about_a_store_are_sent_at_stores_alone() -> None:
    for campaign in TOWN.campaigns:
        words = json.dumps(campaign["texts"])
        if "{store}" in words:
            assert all(draft.store for draft in _matched(campaign)), campaign["key"]


# ------------------------------------------------------------------------------------------------ people and walks
def test_a_third_of_the_people_never_touched_their_rhythm() -> None:
    shares = sum(person.share for person in TOWN.people)
    untouched = sum(person.share for person in TOWN.people if person.rhythm is None)
    assert (untouched, shares) == (20, 60)
    assert wire.Rhythm() == msgspec.convert({"max": 2, "per": "week", "min_gap_h": 24}, wire.Rhythm)


def test_people_differ_in_consent_rhythm_language_and_habits() -> None:
    without = {purpose: [p for p in TOWN.people if purpose not in p.consents] for purpose in ("locate", "offers")}
    assert all(0 < sum(person.share for person in people) <= 6 for people in without.values())
    assert {person.locale for person in TOWN.people} == {"en", "de", "fr"}
    assert len({msgspec.json.encode(person.rhythm) for person in TOWN.people}) >= 6
    often = [p for p in TOWN.people if p.rhythm and p.rhythm.max >= 6 and "offers" in p.consents]
    assert sum(person.share for person in often) >= 24, "offers land often only if many allow it"
    walks = {walk.key for walk in TOWN.walks}
    for person in TOWN.people:
        habits = person.habits
        assert set(habits.walks) <= walks
        assert set(habits.likes) <= SHOP_KINDS
        assert 0 <= habits.roam <= 1
        assert 0 < habits.stay_s[0] <= habits.stay_s[1]
        assert 1 <= habits.legs[0] <= habits.legs[1]
        assert 0.7 <= person.speed_mps[0] <= person.speed_mps[1] <= 2.0


def _trace(walk: town_files.Walk) -> Iterator[tuple[float, float, float]]:
    """(x, y, seconds there) in metres on the plane, a step of half a metre at 1.4 m/s each."""
    for stop, following in itertools.pairwise([*walk.stops, walk.stops[-1]]):
        here = MAP.points[stop.node]
        yield here.x, here.y, stop.pause_s
        way = MAP.path(stop.node, following.node)
        for one, other in itertools.pairwise(MAP.points[name] for name in way):
            steps = math.ceil(one.distance_m(other) / STEP_M)
            for i in range(1, steps + 1):
                part = i / steps
                yield one.x + (other.x - one.x) * part, one.y + (other.y - one.y) * part, STEP_M / 1.4


@pytest.mark.parametrize("walk", TOWN.walks, ids=lambda walk: walk.key)
def test_a_walk_shows_what_it_says(walk: town_files.Walk) -> None:
    assert len(walk.stops) >= 2
    assert walk.fence is not None
    trace = list(_trace(walk))
    fence = _outline(walk.fence)
    away = shapely.distance(shapely.points([(x, y) for x, y, _ in trace]), fence)
    inside_s = sum(spent_s for (_, _, spent_s), gap_m in zip(trace, away, strict=True) if gap_m == 0)
    if walk.shows == "pass":
        assert 3 < away.min() <= NEAR_M, "near, but further off than a kerb and a phone's error"
    else:
        assert away[0] > 0, "it starts outside"
        assert away[-1] > 0, "it ends outside"
        assert inside_s >= 120 if walk.shows == "dwell" else 0 < inside_s < 120


def _visited(walk: town_files.Walk, chance: Random) -> bool:
    """Whether the phone of somebody on this walk comes to have a visit that is certain enough for an offer."""
    assert walk.fence is not None
    start = walk.stops[0].node
    walker = Walker(MAP, TOWN.people[0].habits, 1.4, chance, start=start)
    walker._goals.extend(named_walk(MAP, start, walk).goals)
    walker._leaving = True
    explained = Explained(INDEX)
    for at_s in itertools.count(step=2):
        walker.step(2.0)
        if walker.gone:
            break
        step = explained.take(Fix(at_s * 1_000_000, *walker.seen, walker.accuracy_m, 1.4 if walker.moving else 0.0))
        if any(standing.fence == walk.fence and standing.confirmed for standing in step.standings):
            return True
    return False


@pytest.mark.parametrize("walk", TOWN.walks, ids=lambda walk: walk.key)
def test_a_phone_on_a_walk_has_its_visit_and_one_that_passes_has_none(walk: town_files.Walk) -> None:
    assert [_visited(walk, Random(seed)) for seed in range(3)] == [walk.shows != "pass"] * 3


def test_walks_pass_enter_and_dwell_and_each_is_somebodys() -> None:
    assert {walk.shows for walk in TOWN.walks} == {"pass", "enter", "dwell"}
    assert {key for person in TOWN.people for key in person.habits.walks} == {walk.key for walk in TOWN.walks}


def test_the_streets_lead_through_fences_often_enough_to_see_somebody_arrive_every_second() -> None:
    """200 walkers at 1.4 m/s on every street alike: how often one of them crosses a border inwards."""
    outlines = [_outline(name) for name in DRAFTS]
    tree = shapely.STRtree(outlines)
    length_m, entries = 0.0, 0
    for one, other, _street in TOWN.streets.edges:
        line = shapely.LineString([(MAP.points[name].x, MAP.points[name].y) for name in (one, other)])
        length_m += line.length
        for i in tree.query(line, predicate="intersects"):
            entries += len(shapely.get_parts(shapely.intersection(shapely.boundary(outlines[i]), line)))
    assert 200 * 1.4 / length_m * entries / 2 >= 0.5


def test_the_demos_workspace_is_one_that_the_service_takes() -> None:
    patch = msgspec.convert(TOWN.workspace.patch, wire.WorkspacePatch)
    assert isinstance(patch.place_gap_s, int)
    assert patch.place_gap_s < 300
