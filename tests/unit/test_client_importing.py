"""The import command against a server of the test's own, which takes names that are not "bad"."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import web

from geo_offers import wire
from geo_offers.client import importing
from geo_offers.client.importing import Options, UnreadableFileError, read_document, run_import, split_collection
from geo_offers.client.retry import Patience
from tests.support.loopback import answering

QUICK = Patience(attempts=2, first_s=0.01, longest_s=0.02, total_s=1.0)


class FakeServer:
    """Keeps fences by id; a feature named "bad" is refused, one with a foreign property is noted."""

    def __init__(self) -> None:
        self.fences: dict[str, Any] = {}
        self.previews: dict[UUID, list[Any]] = {}
        self.applied: list[UUID] = []
        self.queries: list[dict[str, str]] = []
        self.url = ""
        self.refuse_apply_after = 100

    async def create(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        document = await request.json()
        if request.headers["Authorization"] != "Bearer mk_good":
            return _problem(403, "forbidden", "not with this key")
        features = document["features"] if document["type"] == "FeatureCollection" else [document]
        rows = [self._row(place, feature) for place, feature in enumerate(features)]
        counts = {status: sum(row.status == status for row in rows) for status in ("new", "changed", "unchanged")}
        import_id = uuid4()
        self.previews[import_id] = features
        refused = sum(row.status == "refused" for row in rows)
        made = wire.Import(
            id=import_id, set=request.query["set"], state="previewed", rows=rows,
            counts=wire.ImportCounts(**counts, refused=refused),
        )  # fmt: skip
        return web.Response(status=201, body=msgspec.json.encode(made), content_type="application/json")

    def _row(self, place: int, feature: dict[str, Any]) -> wire.ImportRow:
        name = feature["id"]
        if name == "bad":
            detail = "the ring crosses itself\x1b[2J; draw it anew"
            return wire.ImportRow(row=place, status="refused", pointer="/geometry", code="crossing", detail=detail)
        notes = [wire.ProblemFault(pointer="/properties/x", code="unknown", detail="left out")] * ("x" in feature)
        known = self.fences.get(name)
        status = "new" if known is None else "unchanged" if known == feature else "changed"
        return wire.ImportRow(row=place, status=status, external_id=name, notes=notes)  # type: ignore[arg-type]

    async def apply(self, request: web.Request) -> web.Response:
        import_id = UUID(request.match_info["id"])
        if len(self.applied) >= self.refuse_apply_after:
            return _problem(409, "conflict", "the set has changed since; make the import again")
        self.applied.append(import_id)
        self.fences |= {feature["id"]: feature for feature in self.previews[import_id] if feature["id"] != "bad"}
        counts = wire.ImportCounts(new=0, changed=0, unchanged=0, refused=0)
        made = wire.Import(id=import_id, set="s", state="applied", rows=[], counts=counts, version=len(self.applied))
        return web.Response(body=msgspec.json.encode(made), content_type="application/json")


def _problem(status: int, code: str, detail: str) -> web.Response:
    body = wire.Problem(kind="urn:x", title=code, status=status, detail=detail, instance="/", code=code)
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/problem+json")


class Said:
    def __init__(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/imports", fake.create)
    app.router.add_post("/v1/imports/{id}/apply", fake.apply)
    async with answering(app) as fake.url:
        yield fake


def feature(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "geometry": {"type": "Point", "coordinates": [8, 53]}, **more}


def collection(tmp_path: Path, *features: dict[str, Any], **members: Any) -> Path:
    file = tmp_path / "fences.geojson"
    file.write_bytes(msgspec.json.encode({"type": "FeatureCollection", **members, "features": list(features)}))
    return file


async def ran(server: FakeServer, file: Path, *, key: str = "mk_good", **more: Any) -> tuple[int, Said]:
    said = Said()
    options = Options("town", radius_m=100)
    code = await run_import(
        file, options, url=server.url, key=key, out=said.out.append, err=said.err.append, patience=QUICK, **more
    )
    return code, said


async def test_a_file_is_checked_and_nothing_is_applied_unless_asked(server: FakeServer, tmp_path: Path) -> None:
    file = collection(tmp_path, feature("a"), feature("bad"), feature("b", x=1))
    code, said = await ran(server, file)
    assert code == 0
    assert said.out == [
        "row 1: /geometry crossing: the ring crosses itself\\x1b[2J; draw it anew",
        "note unknown: 1 times, first in row 2: /properties/x left out",
        "new 2, changed 0, unchanged 0, refused 1",
        "nothing is applied yet; --apply does it",
    ]
    assert said.err == []
    assert server.applied == []
    assert server.queries == [{"format": "geojson", "set": "town", "radius_m": "100", "dry_run": "true"}]


async def test_apply_applies_and_a_second_time_finds_nothing_to_change(server: FakeServer, tmp_path: Path) -> None:
    file = collection(tmp_path, feature("a"), feature("b"))
    code, said = await ran(server, file, apply=True)
    assert code == 0
    assert said.out[0] == "new 2, changed 0, unchanged 0, refused 0"
    assert said.out[1].startswith("applied as version 1")
    code, said = await ran(server, file, apply=True)
    assert code == 0
    assert said.out == [
        "new 0, changed 0, unchanged 2, refused 0",
        "nothing to change: the set holds all of it already",
    ]
    assert len(server.applied) == 1


async def test_a_packed_file_is_unpacked(server: FakeServer, tmp_path: Path) -> None:
    packed = tmp_path / "fences.geojson.gz"
    packed.write_bytes(gzip.compress(collection(tmp_path, feature("a")).read_bytes()))
    code, said = await ran(server, packed)
    assert (code, said.out[0]) == (0, "new 1, changed 0, unchanged 0, refused 0")


@pytest.mark.parametrize("rows", [[], ["bad", "bad"]])
async def test_a_file_of_which_nothing_can_be_taken_is_refused(
    server: FakeServer, tmp_path: Path, rows: list[str]
) -> None:
    code, said = await ran(server, collection(tmp_path, *map(feature, rows)), apply=True)
    assert code == 1
    assert len(said.err) == 1
    assert said.err[0].startswith("nothing to apply")
    assert server.applied == []


async def test_the_servers_no_is_one_line(server: FakeServer, tmp_path: Path) -> None:
    code, said = await ran(server, collection(tmp_path, feature("a")), key="mk_bad")
    assert (code, said.out, said.err) == (1, [], ["403 forbidden: not with this key"])


async def test_a_server_that_is_away_is_one_line(server: FakeServer, tmp_path: Path) -> None:
    server.url = "http://127.0.0.1:9"
    code, said = await ran(server, collection(tmp_path, feature("a")))
    assert code == 1
    assert len(said.err) == 1
    assert said.err[0].startswith("no server answers at http://127.0.0.1:9: ")


async def test_a_large_collection_goes_in_parts_with_the_rows_of_the_file(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "split_collection", lambda document: split_collection(document, 2))
    names = ["a", "b", "c", "bad", "a", "d", "e"]
    file = collection(tmp_path, *map(feature, names), name="kept")
    code, said = await ran(server, file, apply=True)
    assert code == 0
    assert said.out[:3] == [
        "row 3: /geometry crossing: the ring crosses itself\\x1b[2J; draw it anew",
        "row 4: /id duplicate_id: row 0 of this file has the same id; give each feature its own",
        "new 5, changed 0, unchanged 0, refused 2",
    ]
    assert set(server.fences) == {"a", "b", "c", "d", "e"}
    assert len(server.applied) == 4


async def test_parts_applied_before_a_refusal_are_named(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "split_collection", lambda document: split_collection(document, 1))
    server.refuse_apply_after = 1
    code, said = await ran(server, collection(tmp_path, feature("a"), feature("b")), apply=True)
    assert code == 1
    assert said.err[0].startswith("1 of the file's imports are applied")
    assert said.err[1].startswith("409 conflict")


def test_a_split_keeps_the_other_members_and_every_feature_as_it_is() -> None:
    document = b'{"type": "FeatureCollection", "crs": {"a": 1.50}, "features": [{"n": 1.10}, {"n": 2}, {"n": 3}]}'
    parts = split_collection(document, 2)
    assert [part.rows for part in parts] == [(0, 1), (2,)]
    assert parts[0].document == b'{"type":"FeatureCollection","crs":{"a": 1.50},"features":[{"n": 1.10},{"n": 2}]}'
    assert split_collection(document)[0].document == document


def test_what_is_json_and_no_collection_is_left_to_the_server() -> None:
    for document in (b'{"type": "Feature"}', b'{"features": 7}', b"{}"):
        (part,) = split_collection(document)
        assert part.document == document


@pytest.mark.parametrize("document", [b"", b"[]", b"{", b"\x00", b'{"features": [NaN]}'])
def test_what_is_no_json_object_is_refused(document: bytes) -> None:
    with pytest.raises(UnreadableFileError, match="not a GeoJSON object"):
        split_collection(document)


def test_a_file_past_32_mb_unpacked_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b"0" * (importing.MAX_BYTES + 1), 1))
    with pytest.raises(UnreadableFileError, match="more than 32 MB"):
        read_document(bomb)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    torn = tmp_path / "torn.json.gz"
    torn.write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    plain = tmp_path / "plain.json.gz"
    plain.write_bytes(b"{}")
    for file in (torn, plain, tmp_path / "absent.json", tmp_path):
        with pytest.raises(UnreadableFileError):
            read_document(file)
