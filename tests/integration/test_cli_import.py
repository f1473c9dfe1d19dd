"""`geo-offers import` as users run it: a child process that speaks to a running server."""

import json
from pathlib import Path
from typing import Any

import pytest

from geo_offers.client import Client
from tests.support.commands import command, command_on_a_terminal
from tests.support.running import Service

RADIUS = ("--set", "shops", "--radius-m", 100)
BOW_TIE = [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]


def point(ident: str | None, lon: float, lat: float) -> dict[str, Any]:
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": {}}
    return feature if ident is None else feature | {"id": ident}


def collection(tmp_path: Path, *features: object) -> Path:
    file = tmp_path / "shops.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return file


MIXED = (
    point("a", 8, 53),
    point("b", 8, 95),
    point(None, 8, 53),
    {"type": "Feature", "id": "d", "geometry": {"type": "Polygon", "coordinates": BOW_TIE}, "properties": {}},
    point("a", 9, 53),
    "nonsense",
    point("c", 8.1, 53),
)
REFUSALS = [
    "row 1: /geometry/coordinates/1 out_of_range: lat 95 is outside -90..90; ",
    "row 2: /id missing: the feature has neither id nor name; ",
    "row 3: /geometry/coordinates self_intersection: the outline crosses or touches itself at lon 0.5, lat 0.5; ",
    "row 4: /id duplicate_id: the id 'a' is taken by row 0; ",
    "row 5: / type: 'nonsense' is not a Feature; ",
]


async def fences(service: Service, key: str) -> list[str]:
    async with Client(service.url, key) as client:
        return [fence.fence async for fence in client.manager.geofences()]


async def test_without_apply_each_row_is_told_and_nothing_is_written(service: Service, tmp_path: Path) -> None:
    key = await service.make_key()
    ended = await command("import", collection(tmp_path, *MIXED), *RADIUS, "--url", service.url, "--key", key)
    assert (ended.code, ended.err) == (0, "")
    *refused, counts, last = ended.lines
    assert [line[: len(told)] for line, told in zip(refused, REFUSALS, strict=True)] == REFUSALS
    assert counts == "new 2, changed 0, unchanged 0, refused 5"
    assert last == "nothing is applied yet; --apply does it"
    assert await fences(service, key) == []


async def test_with_apply_the_valid_rows_are_written_once(service: Service, tmp_path: Path) -> None:
    key = await service.make_key()
    given = (collection(tmp_path, *MIXED), *RADIUS, "--mode", "raw", "--apply", "--url", service.url, "--key", key)
    first = await command("import", *given)
    assert first.code == 0
    assert len(first.lines) == len(REFUSALS) + 2
    assert first.lines[-1].startswith("applied as version ")
    assert sorted(await fences(service, key)) == ["shops/a", "shops/c"]
    again = await command("import", *given)
    assert again.code == 0
    assert again.lines[-2:] == [
        "new 0, changed 0, unchanged 2, refused 5",
        "nothing to change: the set holds all of it already",
    ]


async def test_a_file_of_bad_rows_only_is_refused(service: Service, tmp_path: Path) -> None:
    key = await service.make_key()
    file = collection(tmp_path, point("b", 8, 95))
    ended = await command("import", file, *RADIUS, "--apply", "--url", service.url, "--key", key)
    assert (ended.code, ended.err) == (1, "nothing to apply: every row was refused\n")
    assert ended.lines[0].startswith(REFUSALS[0].replace("row 1", "row 0"))


@pytest.mark.parametrize(
    ("content", "set_id", "said"),
    [
        (None, "shops", "there is no file {file}"),
        ("{nope", "shops", "the file is not a GeoJSON object: JSON is malformed: object keys must be strings (byte 1)"),
        (
            '{"type": "Topology"}',
            "shops",
            "422 invalid: / 'Topology' is neither FeatureCollection nor Feature; wrap the geometries in Features",
        ),
        (
            '{"type": "FeatureCollection", "features": []}',
            "a/b",
            "422 invalid: /set a set's name holds no slash: the first one ends it in set/id",
        ),
    ],
)
async def test_what_cannot_be_imported_is_refused_in_one_line(
    service: Service, tmp_path: Path, content: str | None, set_id: str, said: str
) -> None:
    file = tmp_path / "file.geojson"
    if content is not None:
        file.write_text(content)
    key = await service.make_key()
    ended = await command("import", file, "--set", set_id, "--url", service.url, "--key", key)
    assert (ended.code, ended.out, ended.err) == (1, "", said.format(file=file) + "\n")


async def test_a_key_that_may_not_import_is_refused_in_one_line(service: Service, tmp_path: Path) -> None:
    file = collection(tmp_path, point("a", 8, 53))
    good, app = await service.make_key(), await service.make_key("app")
    told = {
        good[:-1] + ("0" if good[-1] != "0" else "1"): "401 unauthenticated: this key is not good",
        app: "403 forbidden: a key or token of kind 'app' may not call this; it takes manager",
    }
    for key, said in told.items():
        ended = await command("import", file, *RADIUS, "--url", service.url, "--key", key)
        assert (ended.code, ended.out, ended.err) == (1, "", said + "\n")


async def test_wrong_usage_is_told_with_the_usage_and_code_2(tmp_path: Path) -> None:
    ended = await command(
        "import", tmp_path / "file", "--set", "shops", "--radius-m", "wide", "--url", "u", "--key", "k"
    )
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("usage: geo-offers import ")
    assert ended.complaints[-1].endswith("argument --radius-m: invalid float value: 'wide'")


async def test_progress_is_shown_on_a_terminal_and_nowhere_else(service: Service, tmp_path: Path) -> None:
    key = await service.make_key()
    file = collection(tmp_path, point("a", 8, 53), point("b", 9, 53))
    given = ("import", file, *RADIUS, "--url", service.url, "--key", key)
    shown = await command_on_a_terminal(*given)
    assert "checking:   0%|" in shown.err
    assert "checking: 100%|" in shown.err
    assert "2/2" in shown.err
    piped = await command(*given)
    assert piped.err == ""
    assert shown.out == piped.out
