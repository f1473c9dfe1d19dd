"""Recorded files of other people through `import`: each row is taken or refused with its place and reason."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from geo_offers.client.importing import Options, run_import
from tests.support.commands import command
from tests.support.running import Service

POINTS: dict[str, Any] = {"radius_m": 150.0, "mode": "raw"}
CROSSING = "self_intersection: the outline crosses or touches itself at lon"

FILES = {
    "stores/lidl_germany_osm.geojson.gz": (POINTS, 3204, []),
    "stores/osm_helsinki_center_pois.geojson.gz": (POINTS, 937, []),
    "stores/osm_andorra_shops.geojson.gz": (POINTS, 127, []),
    "stores/osm_monaco_pois.geojson.gz": (POINTS, 80, []),
    "stores/osm_habay_shops.geojson": (POINTS, 36, []),
    "stores/osm_patras_supermarkets.geojson": (POINTS, 89, []),
    "stores/alltheplaces_dunkin_suffolk.geojson": (POINTS | {"id_property": "id"}, 212, []),
    "polygons/neighborhoods_bremen.geojson.gz": ({}, 88, []),
    "polygons/neighborhoods_san-francisco.geojson.gz": (
        {},
        33,
        [
            f"row 1: /geometry/coordinates/0 {CROSSING} -122.44678, lat 37.805405; ",
            f"row 5: /geometry/coordinates/0 {CROSSING} -122.408797, lat 37.790161; ",
            f"row 10: /geometry/coordinates/0 {CROSSING} -122.407869, lat 37.808202; ",
            "row 18: /geometry/coordinates too_many_vertices: the shape has 4523 vertices; ",
        ],
    ),
}


async def imported(service: Service, key: str, file: Path, **options: Any) -> tuple[int, list[str], list[str]]:
    out: list[str] = []
    err: list[str] = []
    code = await run_import(
        file, Options("recorded", **options), url=service.url, key=key, out=out.append, err=err.append
    )
    return code, out, err


@pytest.mark.parametrize("name", FILES)
async def test_a_recorded_file_is_taken_row_by_row(service: Service, real_data: Path, name: str) -> None:
    options, taken, refused = FILES[name]
    code, out, err = await imported(service, await service.make_key(), real_data / name, **options)
    assert (code, err) == (0, [])
    told = [line for line in out if line.startswith("row ")]
    assert [line.startswith(start) for line, start in zip(told, refused, strict=True)] == [True] * len(refused)
    assert f"new {taken}, changed 0, unchanged 0, refused {len(refused)}" in out


async def test_stores_without_an_id_are_refused_each_with_what_to_do(service: Service, real_data: Path) -> None:
    file = real_data / "stores" / "alltheplaces_dunkin_suffolk.geojson"
    code, out, err = await imported(service, await service.make_key(), file, **POINTS)
    assert (code, err) == (1, ["nothing to apply: every row was refused"])
    reason = "/id missing: the feature has neither id nor name; give it one, or name an id_property"
    assert [line for line in out if line.startswith("row ")] == [f"row {row}: {reason}" for row in range(212)]


async def test_a_linters_collection_of_bad_files_is_refused_with_reasons(
    service: Service, real_data: Path, tmp_path: Path
) -> None:
    key = await service.make_key()
    with zipfile.ZipFile(real_data / "malformed" / "geojsonhint.zip") as packed:
        files = {name: packed.read(name) for name in packed.namelist() if name.endswith(".geojson")}
    assert len(files) == 62
    for name, content in files.items():
        file = tmp_path / "file.geojson"
        file.write_bytes(content)
        code, out, err = await imported(service, key, file, **POINTS)
        if name in {"good/good-feature-with-id.geojson", "good/good-feature-with-string-id.geojson"}:
            assert (code, err) == (0, []), name
            continue
        assert (code, len(err)) == (1, 1), name  # the rest is no Feature, or has no id
        refused = [line for line in out if line.startswith("row ")]
        assert refused or err[0].startswith(("422 invalid: /", "400 malformed: ", "the file is not a GeoJSON object: "))


async def test_a_table_that_holds_no_trip_is_refused_by_replay_in_one_line(real_data: Path) -> None:
    file = real_data / "stores" / "sf_mobile_food_permits.csv"
    ended = await command("replay", file, "--url", "http://127.0.0.1:9", "--key", "pk_x")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "the file has no device column; name it device_id or device or vehicle_id or id\n"
