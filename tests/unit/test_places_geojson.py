"""What a GeoJSON feature becomes, and for each bad one the place, the kind and what to do."""

import math
import random
import time

import numpy as np
import pytest

from geo_offers.places.fences import Detect
from geo_offers.places.geometry import Circle, contains
from geo_offers.places.importing import validity
from geo_offers.places.importing.geojson import FenceDraft, parse_collection, parse_feature

SQUARE = [[8.0, 53.0], [8.01, 53.0], [8.01, 53.01], [8.0, 53.01], [8.0, 53.0]]


def feature(geometry=None, properties=None, **members):
    geometry = geometry or {"type": "Point", "coordinates": [8.8, 53.1]}
    return {"type": "Feature", "id": "a", "geometry": geometry, "properties": properties or {}, **members}


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def read(obj, *, strict=True, radius_m=150, **options):
    return parse_feature(obj, radius_m=radius_m, strict=strict, **options)


def draft(obj, **options):
    result = read(obj, **options)
    assert isinstance(result, FenceDraft), result
    return result


def faults(obj, **options):
    result = read(obj, **options)
    assert isinstance(result, tuple)
    assert result
    return [(fault.pointer, fault.code) for fault in result]


def notes(obj, **options):
    return [note.code for note in draft(obj, **options).notes]


def ring(points, lat=53.0, lon=8.0, size=0.05):
    angles = [2 * math.pi * n / points for n in range(points)]
    corners = [[lon + size * math.cos(a), lat + size * math.sin(a)] for a in angles]
    return [*corners, corners[0]]


def test_a_point_with_its_properties_becomes_a_circle_fence():
    properties = {
        "name": "Harbour", "store": "s1", "radius_m": 200, "tags": ["food", "mall", "food"], "active": False,
        "detect": {"mode": "raw", "dwell_s": 60},
    }  # fmt: skip
    read_fence = draft(feature(properties=properties))
    assert read_fence.external_id == "a"
    assert (read_fence.name, read_fence.store, read_fence.active) == ("Harbour", "s1", False)
    assert read_fence.geometry == Circle(53.1, 8.8, 200.0)
    assert read_fence.tags == ("food", "mall")
    assert read_fence.detect == Detect("raw", 60.0)
    assert read_fence.detect_given == {"mode": "raw", "dwell_s": 60}
    assert read_fence.geojson_geometry == {"type": "Point", "coordinates": [8.8, 53.1]}
    assert read_fence.notes == ()


def test_absent_properties_take_their_defaults_and_are_not_taken_for_choices():
    read_fence = draft(feature(properties=None))
    assert read_fence.name == "a"
    assert (read_fence.store, read_fence.tags, read_fence.active) == (None, (), True)
    assert read_fence.detect == Detect("calibrated", 300.0, 10.0, 0.73, 0.0, 7.0)
    assert read_fence.detect_given == {}


def test_the_mode_of_an_import_counts_as_given_and_the_feature_own_wins_over_it():
    assert draft(feature(), mode="raw").detect_given == {"mode": "raw"}
    own = draft(feature(properties={"detect": {"mode": "calibrated"}}), mode="raw")
    assert (own.detect_given, own.detect.mode) == ({"mode": "calibrated"}, "calibrated")


def test_the_feature_own_radius_wins_over_that_of_the_import():
    assert draft(feature(properties={"radius_m": 300}), radius_m=100).geometry.radius_m == 300


def test_the_id_is_the_explicit_one_then_the_feature_own_then_the_named_property_then_the_name():
    properties = {"name": "N", "ref": 7}
    options = {"strict": False, "id_property": "ref"}
    assert draft(feature(properties=properties), external_id="x", **options).external_id == "x"
    assert draft(feature(properties=properties), **options).external_id == "a"
    assert draft(feature(properties=properties, id=12), **options).external_id == "12"
    assert draft(feature(properties=properties, id=None), **options).external_id == "7"
    assert draft(feature(properties=properties, id=None), strict=False).external_id == "N"
    assert faults(feature(id=None)) == [("/id", "missing")]


def test_the_name_is_read_from_the_named_property():
    properties = {"brand": "B", "name": "N"}
    assert draft(feature(properties=properties), name_property="brand", strict=False).name == "B"


def test_a_polygon_with_a_hole_keeps_both_rings():
    hole = ring(5, 53.005, 8.005, 0.002)[::-1]
    read_fence = draft(feature(polygon(SQUARE, hole)))
    lat, lon = np.array([53.005, 53.001, 53.02]), np.array([8.005, 8.001, 8.0])
    assert contains(read_fence.geometry, lat, lon).tolist() == [False, True, False]
    assert read_fence.geojson_geometry["coordinates"] == [SQUARE, hole]


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (None, ("", "type")),
        ([], ("", "type")),
        ({"type": "Polygon", "coordinates": []}, ("/type", "type")),
        (feature(extra=1), ("/extra", "unknown")),
        (feature(**{"a/b~c": 1}), ("/a~1b~0c", "unknown")),
        (feature(features=[]), ("/features", "unknown")),
        ({**feature(), "properties": [1]}, ("/properties", "type")),
        (feature(properties={"colour": "red"}), ("/properties/colour", "unknown")),
        (feature(properties={"name": 5}), ("/properties/name", "type")),
        (feature(properties={"name": "  "}), ("/properties/name", "empty")),
        (feature(properties={"name": "x" * 201}), ("/properties/name", "too_long")),
        (feature(properties={"name": "x" * 1_000_000}), ("/properties/name", "too_long")),
        (feature(properties={"name": "a\x00b"}), ("/properties/name", "unsafe_text")),
        (feature(properties={"name": "a\u202eb"}), ("/properties/name", "unsafe_text")),
        (feature(properties={"name": "a\u200bb"}), ("/properties/name", "unsafe_text")),
        (feature(properties={"name": "a\ud800"}), ("/properties/name", "unsafe_text")),
        (feature(properties={"name": "a\nb"}), ("/properties/name", "unsafe_text")),
        (feature(id="x" * 129), ("/id", "too_long")),
        (feature(id={}), ("/id", "type")),
        (feature(id=True), ("/id", "type")),
        (feature(id=10**400), ("/id", "too_long")),
        (feature(properties={"store": []}), ("/properties/store", "type")),
        (feature(properties={"tags": "food"}), ("/properties/tags", "type")),
        (feature(properties={"tags": ["a"] * 17}), ("/properties/tags", "too_many_tags")),
        (feature(properties={"tags": ["a", 1]}), ("/properties/tags/1", "type")),
        (feature(properties={"active": "yes"}), ("/properties/active", "type")),
        (feature(properties={"detect": "raw"}), ("/properties/detect", "type")),
        (feature(properties={"detect": {"mode": "psychic"}}), ("/properties/detect/mode", "mode")),
        (feature(properties={"detect": {"margin": 1}}), ("/properties/detect/margin", "unknown")),
        (feature(properties={"detect": {"dwell_s": 59}}), ("/properties/detect/dwell_s", "dwell_s")),
        (feature(properties={"detect": {"dwell_s": 3601}}), ("/properties/detect/dwell_s", "dwell_s")),
        (feature(properties={"detect": {"dwell_s": True}}), ("/properties/detect/dwell_s", "dwell_s")),
        (feature(properties={"radius_m": 0}), ("/properties/radius_m", "radius")),
        (feature(properties={"radius_m": -1}), ("/properties/radius_m", "radius")),
        (feature(properties={"radius_m": 1e9}), ("/properties/radius_m", "radius")),
        (feature(properties={"radius_m": math.nan}), ("/properties/radius_m", "radius")),
        (feature(properties={"radius_m": 24.9}), ("/properties/radius_m", "radius")),
        (feature(properties={"radius_m": "50"}), ("/properties/radius_m", "type")),
        (feature(polygon(SQUARE), {"radius_m": 50}), ("/properties/radius_m", "unknown")),
    ],
)
def test_a_bad_member_is_refused_at_its_place(obj, expected):
    assert faults(obj) == [expected]


def test_a_point_without_any_radius_is_refused():
    assert faults(feature(), radius_m=None) == [("/properties/radius_m", "missing")]


def nested(depth):
    inner = {"type": "Point", "coordinates": [0, 0]}
    for _ in range(depth):
        inner = {"type": "GeometryCollection", "geometries": [inner]}
    return inner


def point(*coordinates):
    return {"type": "Point", "coordinates": list(coordinates)}


C = "/geometry/coordinates"


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        ({}, ("/geometry/type", "type")),
        ([1], ("/geometry", "type")),
        (nested(50), ("/geometry/type", "unsupported")),
        ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, ("/geometry/type", "unsupported")),
        ({"type": "Circle", "coordinates": [0, 0]}, ("/geometry/type", "type")),
        ({"type": "Point"}, (C, "missing")),
        ({**point(1, 2), "radius": 5}, ("/geometry/radius", "unknown")),
        ({**point(1, 2), "properties": {}}, ("/geometry/properties", "unknown")),
        (point(), (C, "type")),
        (point(1), (C, "type")),
        (point("1", 2), (f"{C}/0", "type")),
        (point(1, True), (f"{C}/1", "type")),
        (point(1, None), (f"{C}/1", "type")),
        (point(0, 90.0001), (f"{C}/1", "out_of_range")),
        (point(0, -90.0001), (f"{C}/1", "out_of_range")),
        (point(181, 0), (f"{C}/0", "out_of_range")),
        (point(math.nan, 0), (f"{C}/0", "out_of_range")),
        (point(0, math.inf), (f"{C}/1", "out_of_range")),
        (point(10**400, 0), (f"{C}/0", "out_of_range")),
        (point(1, 2, 3), (C, "dimensions")),
        (point(*range(10)), (C, "dimensions")),
        (polygon(), (C, "type")),
        (polygon("ring"), (f"{C}/0", "type")),
        (polygon(SQUARE[:-1]), (f"{C}/0/3", "not_closed")),
        (polygon([[0, 0], [1, 1], [0, 0]]), (f"{C}/0", "too_few_points")),
        (polygon([[8, 53]] * 5), (f"{C}/0", "zero_area")),
        (polygon([[8, 53], [8.1, 53.1], [8.2, 53.2], [8, 53]]), (f"{C}/0", "zero_area")),
        (polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]), (C, "self_intersection")),
        (polygon(SQUARE, ring(5, 53.1, 8.1, 0.002)), (C, "hole_outside")),
        (polygon(SQUARE, ring(9, 53.005, 8.005, 0.004), ring(9, 53.005, 8.005, 0.002)), (C, "holes_overlap")),
        (polygon(SQUARE, ring(9, 53.005, 8.005, 0.002), ring(9, 53.006, 8.005, 0.002)), (C, "self_intersection")),
        (polygon(ring(2_001)), (C, "too_many_vertices")),
        (polygon(*[SQUARE] * 101), (C, "too_many_rings")),
        (polygon([[170, 40], [-170, 40], [-170, 50], [170, 50], [170, 40]]), (f"{C}/0/1", "antimeridian")),
        (polygon([[0, 80], [120, 80], [-120, 80], [0, 80]]), (f"{C}/0", "pole")),
        (polygon([[0, 80], [10, 90], [20, 80], [0, 80]]), (f"{C}/0", "pole")),
        (
            polygon(
                [*([x, -80] for x in range(-150, 151, 50)), *([x, 80] for x in range(150, -151, -50)), [-150, -80]]
            ),
            ("/geometry", "hemisphere"),
        ),
        (polygon([[8, 53], [10.5, 53], [10.5, 53.0000001], [8, 53]]), (C, "sliver")),
        (polygon([[8, 53], [10, 54.4], [10.001, 54.4], [8, 53]]), (C, "sliver")),
        ({"type": "MultiPolygon", "coordinates": []}, (C, "type")),
        ({"type": "MultiPolygon", "coordinates": [SQUARE]}, (f"{C}/0/0", "type")),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [ring(9, 53.0, 8.0, 0.001)]]}, (C, "parts_overlap")),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [SQUARE]]}, (C, "parts_overlap")),
    ],
)
def test_a_bad_geometry_is_refused_at_its_place(geometry, expected):
    assert faults({**feature(), "geometry": geometry}) == [expected]


def test_a_feature_without_geometry_is_refused():
    assert faults({**feature(), "geometry": None}) == [("/geometry", "missing")]
    without = feature()
    del without["geometry"]
    assert faults(without) == [("/geometry", "missing")]


def details(obj, **options):
    result = read(obj, **options)
    assert isinstance(result, tuple)
    return [fault.detail for fault in result]


def test_a_crossing_is_told_with_its_place_even_when_the_signed_area_is_zero():
    (detail,) = details(feature(polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]])))
    assert "lon 0.5, lat 0.5" in detail


def test_swapped_coordinates_are_hinted_at_and_never_swapped():
    (detail,) = details(feature(point(53.1, 120.8)))
    assert "swapped" in detail
    (detail,) = details(feature(point(200, 120.8)))
    assert "swapped" not in detail


def test_several_faults_are_told_at_once_and_twenty_at_most():
    properties = {"name": 1, "tags": 2, "active": 3}
    assert len(faults(feature(point(0, 91), properties))) == 4
    assert len(faults(feature(properties={f"p{n}": n for n in range(1_000)}))) == 20


def test_input_is_echoed_in_at_most_64_ascii_characters():
    long = "\u202e" * 5_000
    for obj in (feature(properties={"active": long}), feature(id=[long]), {**feature(), "type": long}):
        for detail in details(obj):
            assert detail.isascii()
            assert len(detail) < 64 + 80


def test_wrong_winding_is_turned_and_noted():
    read_fence = draft(feature(polygon(SQUARE[::-1])))
    assert read_fence.geojson_geometry["coordinates"] == [SQUARE]
    assert [note.code for note in read_fence.notes] == ["rewound"]
    assert notes(feature(polygon(SQUARE))) == []


def test_repeated_points_are_taken_out_and_noted():
    doubled = [position for position in SQUARE for _ in range(2)]
    read_fence = draft(feature(polygon(doubled)))
    assert read_fence.geojson_geometry["coordinates"] == [SQUARE]
    assert [note.code for note in read_fence.notes] == ["repeated_points"]


def test_an_altitude_is_left_out_of_an_import_and_refused_in_a_put():
    assert draft(feature(point(8, 53, 12.5)), strict=False).geojson_geometry["coordinates"] == [8.0, 53.0]
    assert notes(feature(point(8, 53, 12.5)), strict=False) == ["altitude_dropped"]
    assert faults(feature(point(8, 53, 12.5, 1)), strict=False) == [(C, "dimensions")]


def test_unknown_properties_are_counted_in_an_import():
    read_fence = draft(feature(properties={"shop": "bakery", "phone": "1"}), strict=False)
    assert [(note.code, note.detail[0]) for note in read_fence.notes] == [("dropped_properties", "2")]


def test_a_small_circle_and_a_fine_outline_are_warned_about():
    assert notes(feature(properties={"radius_m": 99})) == ["small_radius"]
    assert notes(feature(properties={"radius_m": 100})) == []
    assert notes(feature(polygon(ring(501)))) == ["many_vertices"]
    assert notes(feature(polygon(ring(500)))) == []


def test_two_thousand_vertices_and_a_hundred_rings_are_not_too_many():
    assert notes(feature(polygon(ring(2_000)))) == ["many_vertices"]
    holes = [ring(3, 53.001 + 0.0008 * (n // 10), 8.001 + 0.0008 * (n % 10), 0.0003)[::-1] for n in range(99)]
    assert notes(feature(polygon(SQUARE, *holes))) == []


def test_a_shape_split_at_the_antimeridian_is_taken():
    parts = [
        [[[179, 0], [180, 0], [180, 1], [179, 1], [179, 0]]],
        [[[-180, 0], [-179, 0], [-179, 1], [-180, 1], [-180, 0]]],
    ]
    read_fence = draft(feature({"type": "MultiPolygon", "coordinates": parts}))
    assert contains(read_fence.geometry, np.array([0.5, 0.5]), np.array([179.5, -179.5])).all()


@pytest.mark.parametrize("vertices", [2_000, 200_000])
def test_a_bait_for_slow_repairs_is_refused_at_once(vertices):
    shuffled = random.Random(7)
    corners = [[shuffled.uniform(8, 9), shuffled.uniform(53, 54)] for _ in range(vertices)]
    began = time.process_time()
    assert len(faults(feature(polygon([*corners, corners[0]])))) == 1
    assert time.process_time() - began < 1


def test_counts_are_looked_at_before_any_position_or_shape(monkeypatch):
    for name in ("_ring", "_position", "build_shape", "Area"):
        monkeypatch.setattr(validity, name, None)  # whoever calls it fails
    many = polygon([[0, 0]] * 2_002)
    assert faults(feature(many)) == [("/geometry/coordinates", "too_many_vertices")]
    assert faults(feature(polygon(*[[[0, 0]]] * 101))) == [("/geometry/coordinates", "too_many_rings")]
    parts = {"type": "MultiPolygon", "coordinates": [many["coordinates"]] * 50}
    assert faults(feature(parts)) == [("/geometry/coordinates", "too_many_vertices")]


def collection(*features, **members):
    return {"type": "FeatureCollection", "features": list(features), **members}


def test_a_collection_is_read_row_by_row():
    parsed = parse_collection(collection(feature(), feature(point(0, 91), id="b"), None, feature(id="c")), radius_m=100)
    assert parsed.faults == ()
    assert [row.number for row in parsed.rows] == [0, 1, 2, 3]
    assert [row.draft.external_id if row.draft else row.faults[0].code for row in parsed.rows] == [
        "a", "out_of_range", "type", "c",
    ]  # fmt: skip


def test_of_two_features_with_one_id_the_later_is_refused():
    parsed = parse_collection(collection(feature(), feature(id="b"), feature()), radius_m=100)
    assert [row.draft is not None for row in parsed.rows] == [True, True, False]
    assert (parsed.rows[2].faults[0].pointer, parsed.rows[2].faults[0].code) == ("/id", "duplicate_id")
    assert "row 0" in parsed.rows[2].faults[0].detail


def test_a_bare_feature_is_a_collection_of_one():
    assert [row.draft.external_id for row in parse_collection(feature(), radius_m=100).rows] == ["a"]


@pytest.mark.parametrize(
    ("obj", "pointer", "code"),
    [
        (None, "", "type"),
        (5, "", "type"),
        (point(1, 2), "", "type"),
        ({"type": {}}, "", "type"),
        ({"type": "FeatureCollection"}, "/features", "type"),
        ({"type": "FeatureCollection", "features": {}}, "/features", "type"),
        (collection(properties={}), "/properties", "unknown"),
        (collection(*[None] * 10_001), "/features", "too_many_features"),
        (collection(crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}), "/crs", "crs"),
        (collection(crs="EPSG:3857"), "/crs", "crs"),
    ],
)
def test_a_file_that_cannot_be_read_has_one_fault_and_no_rows(obj, pointer, code):
    parsed = parse_collection(obj)
    assert parsed.rows == ()
    assert [(fault.pointer, fault.code) for fault in parsed.faults] == [(pointer, code)]


def test_an_old_file_that_names_wgs84_is_read():
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    assert len(parse_collection(collection(feature(), crs=crs), radius_m=100).rows) == 1


def test_a_mode_that_is_not_there_refuses_the_file_once_and_not_each_row():
    parsed = parse_collection(collection(*[feature()] * 5), mode="guessed")
    assert parsed.rows == ()
    assert [fault.code for fault in parsed.faults] == ["mode"]


def test_three_thousand_features_are_read_in_under_two_seconds():
    features = [feature(polygon(ring(20, lat=40 + n / 1_000)), id=n) for n in range(3_000)]
    began = time.process_time()
    assert all(row.draft for row in parse_collection(collection(*features)).rows)
    assert time.process_time() - began < 2
