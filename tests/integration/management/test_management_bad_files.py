"""Files and outlines made to cost much: refused with their place, nothing of them applied, others unharmed."""

import json
import math
import sys

import pytest

MARKET = "/v1/geofences/town/market"
NEVER_ENDING = """
import sys
from geo_offers.sandbox import child
def read_rows(data, manner, at):
    at(7)
    while True: pass
child.CPU_S = 1
child.read_rows = read_rows
child.main(int(sys.argv[1]))
"""


def star(corners, skip):
    """A star that crosses itself everywhere."""
    turns = [2 * math.pi * (number * skip % corners) / corners for number in range(corners)]
    ring = [[8 + math.cos(turn), 52 + math.sin(turn)] for turn in turns]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def sliver(length_deg, width_deg):
    ring = [[8, 52], [8 + length_deg, 52], [8 + length_deg, 52 + width_deg], [8, 52 + width_deg], [8, 52]]
    return {"type": "Polygon", "coordinates": [ring]}


BAD = [
    (star(200_001, 100_000), "too_many_vertices"),
    (star(1_999, 999), "self_intersection"),
    (sliver(3, 1e-7), "sliver"),
    ({"type": "Point", "coordinates": [8, 999]}, "out_of_range"),
    ({"type": "MultiPolygon", "coordinates": [[[[0, 0]]]] * 20_000}, "too_many_rings"),
]


@pytest.mark.parametrize(("geometry", "code"), BAD, ids=[code for _, code in BAD])
async def test_a_bad_outline_is_refused_at_its_place_alone_and_as_a_row(site, geometry, code):
    feature = {"type": "Feature", "geometry": geometry, "properties": {"name": "Market"}}
    answered = await site.call("PUT", MARKET, feature)
    assert (answered.status, code in answered.codes) == (422, True)
    assert all(pointer.startswith(("/geometry", "/properties/radius_m")) for pointer in answered.pointers)
    good = site.with_id("good", site.point(20, 10))
    query = {"set": "town", "format": "geojson", "radius_m": "100", "dry_run": "false"}
    answered = await site.call("POST", "/v1/imports", site.collection(good, site.with_id("bad", feature)), query=query)
    assert answered.status == 201
    assert [(row["row"], row["status"]) for row in answered.body["rows"]] == [(0, "new"), (1, "refused")]
    assert answered.body["rows"][1]["code"] == code
    assert answered.body["rows"][1]["pointer"].startswith("/geometry")


@pytest.mark.parametrize("text", [b"[],", b'{"":0},', b"1.5,", b"[[[[[[[[[[]]]]]]]]]],"], ids=str)
async def test_a_file_of_nothing_but_values_is_refused(site, text):
    body = b'{"type": "FeatureCollection", "features": [' + text * (2_000_000 // len(text)) + b"{}]}"
    answered = await site.call("POST", "/v1/imports", body, query={"set": "town", "format": "geojson"})
    assert (answered.status, answered.codes) == (422, ["too_many_features"])


async def test_a_large_text_that_is_no_json_is_refused(site):
    for raw in (b"[" * 300_000, b'{"type": 1e999}' + b" " * 300_000, b'{"a": 1, "a": 2}' + b" " * 300_000):
        for method, path in (("PUT", MARKET), ("POST", "/v1/imports?set=town&format=geojson")):
            assert (await site.call(method, path, raw)).status == 400


async def test_a_large_text_of_a_small_outline_is_taken(site):
    raw = json.dumps(site.square(20, 10, 0.01, tags=["a"])).encode() + b" " * 300_000
    assert (await site.call("PUT", MARKET, raw)).status == 201
    (fence,) = (await site.get("/v1/geofences")).body["items"]
    assert fence["feature"]["properties"]["tags"] == ["a"]


async def test_a_file_that_takes_too_long_is_refused_at_the_row_under_work(site, reader):
    reader._command = (sys.executable, "-c", NEVER_ENDING)
    large = json.dumps(site.collection(site.point(20, 10))).encode() + b" " * 300_000
    answered = await site.call("POST", "/v1/imports", large, query={"set": "town", "format": "geojson"})
    assert (answered.status, answered.codes, answered.pointers) == (422, ["too_costly"], ["/features/7"])
    answered = await site.call("PUT", MARKET, json.dumps(site.point(20, 10)).encode() + b" " * 300_000)
    assert (answered.status, answered.codes, answered.pointers) == (422, ["too_costly"], ["/geometry"])
    assert (await site.get("/v1/geofences")).body["items"] == []
