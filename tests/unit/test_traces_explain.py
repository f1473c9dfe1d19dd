"""`replay --explain`: what it prints, compares, records and refuses; no server is anywhere."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from geo_offers import cli
from geo_offers.errors import Invalid
from geo_offers.places.geometry import border_distance_one
from geo_offers.traces import printing
from geo_offers.traces.explaining import Options, run_explain
from geo_offers.traces.moving import DAY_US, moved
from geo_offers.traces.trace import MAX_PINGS, Trace, index_of, read_fences, read_trace, run, sightings

TRACES = Path(__file__).parents[1] / "traces"
WALK = TRACES / "walks-in-and-stays.json"
HEADER = "device,at,lat,lon,accuracy_m,speed_mps"


def told(file: Path, fences: Path | None = None, **options: Any) -> tuple[int, list[str], list[str]]:
    out: list[str] = []
    err: list[str] = []
    return run_explain(file, fences, Options(**options), out=out.append, err=err.append), out, err


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command sends the log to what stands for its stderr, which is closed after the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def trip(tmp_path: Path) -> tuple[Path, Path]:
    """The walk as a .csv of one phone, and a .geojson of its fence and of one far away."""
    trace = json.loads(WALK.read_text())
    rows = [f"car,{p['at']},{p['lat']},{p['lon']},{p['accuracy_m']},{p['speed_mps']}" for p in trace["pings"]]
    csv, fences = tmp_path / "trip.csv", tmp_path / "fences.geojson"
    csv.write_text("\n".join([HEADER, *rows]) + "\n")
    far = {"type": "Feature", "id": "far", "geometry": {"type": "Point", "coordinates": [8, 53]}}
    trace["fences"]["features"].append({**far, "properties": {"radius_m": 50, "colour": "red"}})
    fences.write_text(json.dumps(trace["fences"]))
    return csv, fences


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """The walk with something changed in it."""

    def change(how: Callable[[dict[str, Any]], object]) -> Path:
        trace = json.loads(WALK.read_text())
        how(trace)
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(trace))
        return file

    return change


# ---------------------------------------------------------------------------------------------- what it says
def test_a_fix_is_a_line_with_the_probability_and_what_came_of_it() -> None:
    code, out, err = told(WALK)
    assert code == 0
    assert err == ["as expected: 4 transitions"]
    assert out[0].split() == ["at", "acc.", "m", "m/s", "fence", "border", "m", "P", "what", "came", "of", "it"]
    (enter,) = [line for line in out if "ENTER" in line]
    assert enter.split()[:7] == ["2026-01-05", "10:01:50", "7.2", "1.4", "corner-shop", "-35.3", "0.70"]
    assert enter.endswith("##############.:....  ENTER 0.70, not confirmed")
    assert [line.split("  ")[-1] for line in out if line.endswith(("CONFIRM 0.91", "DWELL 1.00", "stopped"))] == [
        "CONFIRM 0.91", "DWELL 1.00", "EXIT 0.96, stopped",
    ]  # fmt: skip
    assert out[1].endswith("no fence near")
    assert all(len(line) < 140 and line.isascii() for line in out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy_m": 350}, "left out: coarser than 200 m"),
        ({"accuracy_m": 1500}, "left out: beyond 1000 m nobody knows where the phone is"),
        ({"mock": True}, "left out: the phone says that the position is made up"),
        ({"lat": 47.2}, "left out: nobody travels so fast"),
        ({"lat": 46.204}, "doubted: farther off than the phone was moving"),
        ({"at": "2026-01-05T10:02:00Z"}, "left out: of the same instant as the last one"),
        ({"at": "2026-01-05T10:01:35Z"}, "late: older than the newest one"),
    ],
)
def test_a_fix_that_is_left_out_says_why(changed: Callable[..., Path], change: dict[str, Any], said: str) -> None:
    file = changed(lambda trace: trace["pings"][13].update(change))
    _, out, _ = told(file)
    assert [line for line in out if line.endswith(said) or f"  {said}; " in line]


def test_a_visit_that_never_becomes_certain_is_said_not_to_be(changed: Callable[..., Path]) -> None:
    wary = {"detect": {"max_speed_mps": 1, "min_confidence": 0.99, "confirm_s": 600}}
    _, out, _ = told(changed(lambda trace: trace["fences"]["features"][0]["properties"].update(wary)))
    assert sum(line.endswith("inside, not confirmed") for line in out) > 20
    assert not any("CONFIRM" in line for line in out)


def test_a_region_event_of_the_phone_is_told_as_its_own(changed: Callable[..., Path]) -> None:
    event = {"at": "2026-01-05T10:02:05Z", "region": "corner-shop", "event": "leave"}
    _, out, _ = told(changed(lambda trace: trace["pings"].insert(13, event)))
    assert any("the phone's own monitoring: out of the region" in line for line in out)


def test_the_bar_marks_where_a_visit_begins_and_where_an_offer_may_be_made() -> None:
    assert printing.bar(0.0, 0.73) == "..........:....:...."
    assert printing.bar(0.6, 0.95) == "############.......:"
    assert printing.bar(1.0, 0.73) == "#" * 20


def test_the_lines_in_the_documents_are_those_that_are_printed() -> None:
    text = (WALK.parents[2] / "docs" / "complaints.md").read_text()
    shown = next(block for block in text.split("```") if block.startswith("\nat  ")).strip().splitlines()
    assert set(shown) <= set(told(WALK)[1])
    assert len(shown) == 6


def test_json_is_an_object_a_fix_and_holds_no_position() -> None:
    code, out, _ = told(WALK, as_json=True)
    *rows, compared = map(json.loads, out)
    assert code == 0
    assert compared == {"missing": [], "unexpected": []}
    assert len(rows) == len(json.loads(WALK.read_text())["pings"])
    keys = {"device", "at", "taken", "worth", "accuracy_m", "speed_mps", "fences", "transitions"}
    assert all(set(row) == keys for row in rows)
    enter = next(row for row in rows if row["transitions"])
    assert enter["transitions"] == [{"at": "2026-01-05T10:01:50Z", "type": "enter", "fence": "corner-shop"}]
    assert enter["fences"][0]["probability"] == pytest.approx(0.70, abs=0.01)
    assert "46.2" not in "".join(out).replace("+46.2", "")


def test_trips_of_a_csv_are_explained_among_the_fences_of_a_geojson(trip: tuple[Path, Path]) -> None:
    code, out, err = told(*trip)
    assert (code, err) == (0, [])
    assert out == told(WALK)[1]


def test_each_phone_of_a_csv_is_told_by_itself_and_bad_rows_by_their_line(trip: tuple[Path, Path]) -> None:
    csv, fences = trip
    csv.write_text(csv.read_text() + "bus,2026-01-05T10:00:00Z,95,8,5,1\nbus,2026-01-05T10:00:05Z,46.2,-30.5,5,1\nx\n")
    code, out, err = told(csv, fences)
    assert code == 0
    assert [line for line in out if " " not in line] == ["car", "bus"]
    assert err == [
        "line 46 has 1 fields where the header has 6",
        "line 44 is refused by the service: out_of_range",
    ]


# ---------------------------------------------------------------------------------------------- as a test
def test_where_expected_and_told_differ_it_says_how_and_ends_with_1(changed: Callable[..., Path]) -> None:
    file = changed(lambda trace: trace["expected"][1].update(at="2026-01-05T10:01:59Z"))
    code, out, err = told(file)
    assert code == 1
    assert out[-2:] == [
        "expected, not told: 2026-01-05T10:01:59Z confirm corner-shop",
        "told, not expected: 2026-01-05T10:02:00Z confirm corner-shop",
    ]
    assert err == ["it differs from what is expected: 1 not told, 1 not expected"]
    code, out, _ = told(file, as_json=True)
    assert code == 1
    assert json.loads(out[-1])["missing"][0]["at"] == "2026-01-05T10:01:59Z"


def test_an_expectation_too_many_is_a_difference_by_itself(changed: Callable[..., Path]) -> None:
    more = {"at": "2026-01-05T10:12:00Z", "type": "enter", "fence": "corner-shop"}
    code, out, err = told(changed(lambda trace: trace["expected"].append(more)))
    assert (code, out[-1]) == (1, "expected, not told: 2026-01-05T10:12:00Z enter corner-shop")
    assert err == ["it differs from what is expected: 1 not told, 0 not expected"]


def test_an_instant_may_be_written_in_any_zone(changed: Callable[..., Path]) -> None:
    assert told(changed(lambda trace: trace["expected"][0].update(at="2026-01-05T11:01:50.0+01:00")))[0] == 0


def test_a_trace_that_expects_nothing_yet_is_explained_all_the_same(changed: Callable[..., Path]) -> None:
    code, _, err = told(changed(lambda trace: trace.pop("expected")))
    assert code == 0
    assert "--record" in err[0]


# ---------------------------------------------------------------------------------------------- recording
def test_a_complaint_becomes_a_test_in_one_command(trip: tuple[Path, Path], tmp_path: Path) -> None:
    to = tmp_path / "complaint.json"
    code, _, err = told(*trip, record=to)
    assert (code, err) == (0, [f"{to} holds the trace and the 4 transitions told"])
    recorded, walk = read_trace(to), read_trace(WALK)
    assert recorded.expected == walk.expected
    assert recorded.pings == walk.pings
    assert [feature["id"] for feature in recorded.fences["features"]] == ["corner-shop"], "none that no fix was near"
    assert told(to)[0] == 0


def test_a_trace_is_recorded_anew_in_its_place_and_reads_a_line_a_ping(changed: Callable[..., Path]) -> None:
    file = changed(lambda trace: trace["expected"].clear())
    assert told(file)[0] == 1
    assert told(file, record=file)[0] == 0
    assert told(file)[0] == 0
    assert file.read_text() == WALK.read_text()
    assert len(file.read_text().splitlines()) == len(read_trace(file).pings) + 4 + 1 + 7


def test_a_packed_trace_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "walk.json.gz"
    file.write_bytes(gzip.compress(WALK.read_bytes()))
    assert told(file)[0] == 0


def test_away_nothing_is_left_of_place_day_and_names_and_what_is_told_stays(
    trip: tuple[Path, Path], tmp_path: Path
) -> None:
    csv, fences = trip
    csv.write_text(
        csv.read_text().replace("2026-01-05T1", "2031-11-21T0").replace(",-30.", ",8.").replace(",46.", ",53.")
    )
    fences.write_text(fences.read_text().replace("[-30.", "[8.").replace(" 46.", " 53."))
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    told(csv, fences, record=here)
    told(csv, fences, record=there, away=True)
    text = there.read_text()
    assert not any(word in text for word in ("2031-", "orner", 'lat":53', 'lon":8', "[8"))
    kinds = [[(one.type, one.at[-4:]) for one in read_trace(file).expected or ()] for file in (here, there)]
    assert kinds[0] == kinds[1] != []


@pytest.mark.parametrize("turn_deg", [0.0, 33.0, 250.0])
def test_distances_to_every_border_are_kept_to_centimetres_when_a_trace_is_moved(turn_deg: float) -> None:
    ring = [[8.8, 53.08], [8.803, 53.0801], [8.8015, 53.083], [8.8, 53.08]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    features = [
        {"type": "Feature", "id": "town/a", "geometry": polygon, "properties": {"name": "A"}},
        {
            "type": "Feature",
            "id": "town/b",
            "geometry": {"type": "Point", "coordinates": [8.81, 53.09]},
            "properties": {"radius_m": 80},
        },
    ]
    places = [(53.08 + 0.004 * n, 8.78 + 0.006 * n) for n in range(8)]
    pings = [{"at": f"2020-01-01T00:00:{n:02}Z", "lat": lat, "lon": lon} for n, (lat, lon) in enumerate(places)]
    pings.append({"at": "2020-01-01T00:01:00Z", "region": "town/b", "event": "enter"})
    here = _trace(features, pings)
    there = moved(here, turn_deg)
    assert _distances(there) == [pytest.approx(away, abs=0.05) for away in _distances(here)]
    assert there.pings[-1].region == "fence-2"
    assert sightings(there, "x")[0].at_us == DAY_US


def _trace(features: list[dict[str, Any]], pings: list[dict[str, Any]]) -> Trace:
    fences = {"type": "FeatureCollection", "features": features}
    return msgspec.convert({"about": "x", "fences": fences, "pings": pings}, Trace)


def _distances(trace: Trace) -> list[float]:
    index = index_of(read_fences(trace.fences, "x", strict=True))
    placed = [ping for ping in trace.pings if ping.lat is not None and ping.lon is not None]
    fences = sorted(index, key=lambda fence: fence.id)
    return [border_distance_one(fence.geometry, ping.lat, ping.lon) for fence in fences for ping in placed]


# ---------------------------------------------------------------------------------------------- what it refuses
@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda t: t["pings"][3].update(lat="north"), "/pings/3/lat Expected `float | null`, got `str`"),
        (lambda t: t["pings"][3].update(lat=95), "/pings/3 is refused by the service: out_of_range"),
        (lambda t: t["pings"][3].update(at="noon"), "/pings/3 is refused by the service: bad_time"),
        (lambda t: t["pings"][3].pop("lon"), "/pings/3 has to have `lat` and `lon`, or `region` and `event`"),
        (lambda t: t["pings"][3].update(colour=1), "/pings/3 Object contains unknown field `colour`"),
        (lambda t: t["pings"].clear(), f"/pings holds 0 pings; a trace has 1 to {MAX_PINGS}"),
        (lambda t: t.update(pings=t["pings"] * 500), f"pings; a trace has 1 to {MAX_PINGS}"),
        (lambda t: t["expected"][1].update(type="arrive"), "/expected/1/type Invalid enum value 'arrive'"),
        (lambda t: t["pings"][3].update({"\x1b[2J": 1}), "/pings/3 Object contains unknown field `\\x1b[2J`"),
        (lambda t: t["expected"][1].update(at="noon"), "/expected/1/at is no RFC 3339 time"),
        (lambda t: t.pop("fences"), "/ Object missing required field `fences`"),
        (lambda t: t["fences"].update(features=[]), "/fences: there is no fence in it"),
        (
            lambda t: t["fences"]["features"][0]["properties"].update(radius_m=-1),
            "/fences/features/0/properties/radius_m: ",
        ),
        (
            lambda t: t["fences"]["features"][0]["properties"].update(radios_m=1),
            "/fences/features/0/properties/radios_m: a fence has no such property",
        ),
        (lambda t: t["fences"].update(type="Town"), "/fences: 'Town' is neither FeatureCollection nor Feature"),
    ],
)
def test_a_trace_with_a_fault_is_refused_with_its_place(
    changed: Callable[..., Path], how: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(Invalid) as refused:
        told(changed(how))
    assert said in refused.value.detail
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("text", ["", "{", "[" * 100, '{"about": "a", "about": "b"}', "\x00"])
def test_what_is_no_json_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(Invalid, match=r"x\.json: "):
        told(file)


def test_what_cannot_be_recorded_is_refused_before_anything_is_printed(trip: tuple[Path, Path], tmp_path: Path) -> None:
    csv, fences = trip
    there = tmp_path / "there.json"
    there.write_text("mine")
    with pytest.raises(Invalid, match="is there already"):
        told(csv, fences, record=there)
    assert there.read_text() == "mine"
    with pytest.raises(Invalid, match="cannot be written"):
        told(csv, fences, record=tmp_path / "no" / "folder.json")
    csv.write_text(csv.read_text() + "bus,2026-01-05T10:00:05Z,46.2,-30.5,5,1\n")
    with pytest.raises(Invalid, match=r"holds one phone; .* has 2"):
        told(csv, fences, record=tmp_path / "new.json")
    csv.write_text(f"{HEADER}\nbus,2026-01-05T10:00:05Z,20,20,5,1\n")
    with pytest.raises(Invalid, match="near any fence"):
        told(csv, fences, record=tmp_path / "new.json")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "the following arguments are required: --url, --key"),
        (("--url", "u", "--key", "k", "--fences", "f"), "only with --explain: --fences"),
        (("--url", "u", "--key", "k", "--record", "f", "--away"), "only with --explain: --record, --away"),
        (("--explain", "--fences", "f", "--url", "u"), "--explain asks no server; leave out --url"),
        (("--explain",), "--fences is for a .csv, which needs it; a trace (.json) has its own"),
        (("--explain", "--fences", "f", "--away"), "--away is for what --record writes"),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_usage(
    given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["replay", "trip.csv", *given])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"geo-offers replay: error: {said}"


def test_the_command_ends_with_0_1_and_a_line(changed: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(WALK), "--explain"]) == 0
    assert cli.main(["replay", str(changed(lambda trace: trace["expected"].pop())), "--explain"]) == 1
    capsys.readouterr()
    assert cli.main(["replay", "absent.json", "--explain"]) == 1
    assert capsys.readouterr() == ("", "geo-offers: there is no file absent.json\n")


def test_what_is_told_needs_no_expectations() -> None:
    assert run(read_trace(WALK), "x") == read_trace(WALK).expected
