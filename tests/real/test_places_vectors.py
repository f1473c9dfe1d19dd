"""Geometry and GeoJSON against what others published: points in areas, good and bad files, shapes at +-180 degrees."""

import gzip
import json
import zipfile

import msgspec
import numpy as np
import pytest
import shapely

from geo_offers.places.earth import ecef
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, border_distance, contains, contains_one
from geo_offers.places.importing.geojson import parse_collection, parse_feature
from geo_offers.places.index import GeofenceIndex

BORDER_M = 0.01


def features(path, **options):
    with gzip.open(path) as file:
        return parse_collection(msgspec.json.decode(file.read()), **options)


def fence(geometry):
    return Geofence(FenceId("set/a"), 1, "a", geometry, None, (), True, Detect("raw"))


def vector_geometry(vector):
    if "circle" in vector:
        return Circle(**vector["circle"])
    if "geometry" in vector:
        return Area(shapely.from_geojson(json.dumps(vector["geometry"])))
    corners = [tuple(map(float, corner.split())) for corner in vector["geometry_source_latlon"].split(",")]
    whole = shapely.Polygon([(lon % 360, lat) for lat, lon in corners])
    east = shapely.intersection(whole, shapely.box(0, -90, 180, 90))
    west = shapely.intersection(whole, shapely.box(180, -90, 360, 90))
    return Area(shapely.MultiPolygon([east, shapely.transform(west, lambda xy: xy - (360, 0))]))


def test_points_in_areas_are_where_others_say(real_data):
    vectors = json.loads((real_data / "vectors" / "point_in_area.json").read_text())
    for vector in vectors:
        geometry = vector_geometry(vector)
        lon, lat = vector["point"]
        lon = (lon + 180) % 360 - 180
        one = np.array([lat]), np.array([lon])
        assert contains(geometry, *one)[0] == (vector["expect"] != "outside"), vector
        assert contains_one(geometry, lat, lon, ecef(lat, lon)) == (vector["expect"] != "outside"), vector
        assert (abs(border_distance(geometry, *one)[0]) < BORDER_M) == (vector["expect"] == "boundary"), vector
        assert bool(GeofenceIndex([fence(geometry)]).locate_one(lat, lon)) == (vector["expect"] != "outside"), vector
    assert len(vectors) == 52


# What of geojsonhint's bad files is bad for its style only: we mend or drop it, or never look.
MENDED = {
    "bad-polygon-interiorring-rhr",
    "bbox-4or6elements",
    "bbox-contains-string",
    "bbox-string",
    "different-first-size",  # the ring closes but for an altitude
    "polygon_winding_order",
}
# What of its good files is good GeoJSON and no fence.
NO_FENCE = {
    "good-featurecollection",  # one of its three features is a line
    "good-featurecollection-extensions",
    "good-geometrycollection",
    "good-linestring",
    "good-multilinestring",
    "good-multipoint",
    "issue82",  # latitudes below -100
    "nullgeometry",
}


def parsed_rows(raw):
    """The rows of any GeoJSON text; a bare geometry is given a Feature. None: refused as a whole."""
    try:
        obj = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(obj, dict) and obj.get("type") not in ("Feature", "FeatureCollection"):
        obj = {"type": "Feature", "geometry": obj, "properties": {}}
    if isinstance(obj, dict) and isinstance(obj.get("features"), list):
        for number, each in enumerate(obj["features"]):
            if isinstance(each, dict):
                each.setdefault("id", number)
    elif isinstance(obj, dict):
        obj.setdefault("id", 1)
    parsed = parse_collection(obj, radius_m=100)
    return None if parsed.faults else parsed.rows


def test_published_good_and_bad_files_are_told_apart(real_data):
    with zipfile.ZipFile(real_data / "malformed" / "geojsonhint.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".geojson")]
        verdicts = {name.removesuffix(".geojson"): parsed_rows(archive.read(name)) for name in names}
    taken = {name for name, rows in verdicts.items() if rows is not None and all(row.draft for row in rows)}
    bad_taken = {name.removeprefix("bad/") for name in taken if name.startswith("bad/")}
    good_refused = {name.removeprefix("good/") for name in verdicts if name.startswith("good/") and name not in taken}
    assert bad_taken == MENDED
    assert good_refused == NO_FENCE
    assert len(verdicts) > 50


def antimeridian(real_data):
    with zipfile.ZipFile(real_data / "malformed" / "antimeridian.zip") as archive:
        return {
            name.removesuffix(".json"): json.loads(archive.read(name))
            for name in archive.namelist()
            if name.endswith(".json")
        }


def code(geometry):
    read = parse_feature({"type": "Feature", "id": "a", "geometry": geometry}, strict=True)
    return read[0].code if isinstance(read, tuple) else "taken"


def test_a_shape_over_the_antimeridian_is_refused_whole_and_taken_split(real_data):
    shapes = antimeridian(real_data)
    verdicts = {name: code(shape) for name, shape in shapes.items()}
    unsplit = {name for name, verdict in verdicts.items() if verdict in ("antimeridian", "pole", "out_of_range")}
    assert {name for name in unsplit if name.startswith("output/")} == {
        "output/flat/cw-only-no-fix",  # the whole Earth with a hole
        "output/flat/cw-split-no-fix",
        "output/flat/extra-crossing",  # holds a pole
        "output/flat/latitude-band",
    }
    # In place of a split, an input is refused; what needs none is taken as it is.
    assert {name for name, verdict in verdicts.items() if name.startswith("input/") and verdict == "taken"} == {
        "input/cw-only",
        "input/multi-no-antimeridian",
        "input/simple",
        "input/simple-with-ccw-hole",
    }
    assert verdicts["input/over-180"] == "out_of_range"
    lines = {name for name in shapes if name.endswith("line")}
    assert {verdicts[name] for name in lines} == {"unsupported"}


@pytest.mark.parametrize("name", ["split", "crossing-latitude", "great-circle", "one-hole", "two-holes", "multi-split"])
def test_a_published_split_has_no_border_at_the_cut(real_data, name):
    geojson = antimeridian(real_data)[f"output/flat/{name}"]
    area = Area(shapely.from_geojson(json.dumps(geojson)))
    lat = np.linspace(-70, 65, 400)
    on_cut = contains(area, lat, np.full(400, 180.0))
    assert (on_cut == contains(area, lat, np.full(400, -180.0))).all()
    beside = contains(area, lat, np.full(400, 179.9999)) & contains(area, lat, np.full(400, -179.9999))
    away_m = border_distance(area, lat, np.full(400, 180.0))
    assert beside.any()
    assert np.median(-away_m[beside]) > 1_000


def test_the_stores_of_a_chain_all_become_circles(real_data):
    parsed = features(real_data / "stores" / "lidl_germany_osm.geojson.gz", radius_m=100)
    assert parsed.faults == ()
    assert len(parsed.rows) == 3_204
    assert all(row.draft for row in parsed.rows)
    assert parsed.rows[0].draft.external_id == "node/16257496"
    assert parsed.rows[0].draft.geometry == Circle(49.5502832, 8.6543267, 100.0)


def test_the_districts_of_a_city_all_become_areas(real_data):
    parsed = features(real_data / "polygons" / "neighborhoods_bremen.geojson.gz", id_property="cartodb_id")
    assert len(parsed.rows) == 88
    assert all(row.draft and isinstance(row.draft.geometry, Area) for row in parsed.rows)
    assert parsed.rows[0].draft.external_id == "25"


def test_contradictory_districts_are_refused_with_the_place_of_the_crossing(real_data):
    parsed = features(real_data / "polygons" / "neighborhoods_san-francisco.geojson.gz")
    refused = {row.number: row.faults[0] for row in parsed.rows if row.draft is None}
    assert {number: (fault.code, fault.pointer) for number, fault in refused.items()} == {
        1: ("self_intersection", "/geometry/coordinates/0"),
        5: ("self_intersection", "/geometry/coordinates/0"),
        10: ("self_intersection", "/geometry/coordinates/0"),
        18: ("too_many_vertices", "/geometry/coordinates"),  # 4,523 of them
    }
    assert "lon -122.44678, lat 37.805405" in refused[1].detail


def test_the_index_finds_the_same_districts_and_stores_as_a_scan_along_a_recorded_trip(real_data):
    stores = features(real_data / "stores" / "lidl_germany_osm.geojson.gz", radius_m=300)
    districts = features(real_data / "polygons" / "neighborhoods_bremen.geojson.gz")
    drafts = [row.draft for row in (*stores.rows, *districts.rows)]
    fences = [
        Geofence(FenceId(f"set/{n:05d}"), 1, draft.name, draft.geometry, None, (), True, Detect("raw"))
        for n, draft in enumerate(drafts)
    ]
    index = GeofenceIndex(fences)
    with gzip.open(real_data / "trajectories" / "envirocar_bremen_pings.csv.gz", "rt") as file:
        rows = np.genfromtxt(file, delimiter=",", names=True, usecols=(3, 4))
    lat, lon = rows["lat"].copy(), rows["lon"].copy()
    found = index.locate(lat, lon)
    held = {each.id: contains(each.geometry, lat, lon) for each in fences}
    assert found == [tuple(each for each in fences if held[each.id][n]) for n in range(len(lat))]
    assert len(set().union(*found)) > 15
