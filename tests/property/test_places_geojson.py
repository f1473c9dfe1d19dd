"""Whatever JSON comes in: a draft that holds, or faults that can be shown; never an exception."""

import json

import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.places.geometry import Area
from geo_offers.places.importing.geojson import FenceDraft, parse_collection, parse_feature

numbers = st.integers(-200, 200) | st.floats() | st.integers(-(10**320), 10**320)
texts = st.text(max_size=5) | st.sampled_from(["Point", "Polygon", "raw", "calibrated"])
scalars = st.none() | st.booleans() | numbers | texts
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
positions = st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(list)
odd_positions = positions | st.lists(numbers, max_size=4) | anything
rings = st.lists(positions | odd_positions, max_size=6).map(lambda ring: ring + ring[:1])
polygons = st.lists(rings, max_size=3)
geometries = st.one_of(
    anything,
    st.fixed_dictionaries({"type": st.just("Point"), "coordinates": odd_positions}),
    st.fixed_dictionaries({"type": st.just("Polygon"), "coordinates": polygons}),
    st.fixed_dictionaries({"type": st.just("MultiPolygon"), "coordinates": st.lists(polygons, max_size=3)}),
)
properties = st.dictionaries(
    st.sampled_from(["name", "store", "radius_m", "tags", "active", "detect", "ref"]) | texts, anything, max_size=4
)
features = st.fixed_dictionaries(
    {"type": st.just("Feature"), "geometry": geometries, "properties": properties | anything},
    optional={"id": anything, "bbox": anything, "note": anything},
)


def shown_well(fault):
    return (
        (fault.pointer == "" or fault.pointer.startswith("/"))
        and fault.code
        and len(fault.detail) < 300
        and fault.detail.isprintable()
        and (fault.pointer + fault.detail).isascii()
    )


@given(features | anything, st.booleans(), st.sampled_from([None, 100.0]))
@settings(max_examples=500, deadline=None)
def test_any_json_becomes_a_sound_draft_or_faults_that_can_be_shown(obj, strict, radius_m):
    result = parse_feature(obj, id_property="ref", radius_m=radius_m, strict=strict)
    if isinstance(result, tuple):
        assert result
        assert all(shown_well(fault) for fault in result)
        return
    assert all(shown_well(note) for note in result.notes)
    if isinstance(result.geometry, Area):
        assert shapely.is_valid(result.geometry.shape)
    again = parse_feature(
        {"type": "Feature", "id": result.external_id, "geometry": json.loads(json.dumps(result.geojson_geometry))},
        radius_m=getattr(result.geometry, "radius_m", None),
        strict=True,
    )
    assert isinstance(again, FenceDraft)
    assert again.geometry == result.geometry


@given(st.lists(features, max_size=4).map(lambda each: {"type": "FeatureCollection", "features": each}) | anything)
@settings(max_examples=200, deadline=None)
def test_any_json_has_a_row_for_each_feature_or_a_fault_of_the_file(obj):
    parsed = parse_collection(obj, radius_m=100)
    if parsed.faults:
        assert parsed.rows == ()
        assert all(shown_well(fault) for fault in parsed.faults)
    else:
        expected = len(obj["features"]) if "features" in obj else 1
        assert [row.number for row in parsed.rows] == list(range(expected))
        assert all((row.draft is None) == bool(row.faults) for row in parsed.rows)
