"""The benches' report format: what it states, and that its two forms say the same."""

import json
import math

from bench.report import Report, Row, Tail, Yardstick, publish

MACHINE = {"commit": "1a2b3c4", "python": "3.12.1", "cores": 4}


def yardstick() -> Yardstick:
    return Yardstick(samples=[10.0, 30.0, 20.0])


def row(**more) -> Row:
    return Row("HTTP", 4_567.8, "pings/s", yardstick(), Tail.of("ms", range(1, 1001)), more)


def report() -> Report:
    return Report("pings", {"fences": 20_000, "seed": 7}, [row(sent=300, failed=0)], {"upload_s": 1.25})


def test_a_tail_names_values_that_were_measured_and_never_rounds_down_to_a_better_one():
    assert Tail.of("ms", [5.0]).values == dict.fromkeys(("p50", "p95", "p99", "p99.9", "max"), 5.0)
    assert Tail.of("ms", range(1, 1001)).values == {"p50": 500, "p95": 950, "p99": 990, "p99.9": 999, "max": 1000}
    assert Tail.of("ms", [1.0] * 98 + [70.0] * 2).values["p99"] == 70.0


def test_a_tail_of_nothing_is_not_a_number_rather_than_fast():
    assert all(math.isnan(value) for value in Tail.of("ms", []).values.values())


def test_the_block_states_load_machine_counts_and_tail():
    load, machine, line, found = report().text(MACHINE).split("\n")
    assert load == "pings  fences 20,000  seed 7"
    assert machine == "commit 1a2b3c4  python 3.12.1  cores 4"
    assert line == (
        "HTTP       4,568 pings/s  yardstick 20.0 (10.0-30.0)  |  sent 300  failed 0"
        "  |  ms  p50 500  p95 950  p99 990  p99.9 999  max 1,000"
    )
    assert found == "upload_s 1.25"


def test_many_counts_go_on_a_line_of_their_own():
    long = row(sent=300_000, ok=299_000, shed=900, failed=100, transitions=9_000)
    assert long.text(4).split("\n")[1] == "    sent 300,000  ok 299,000  shed 900  failed 100  transitions 9,000"


def test_the_json_line_holds_the_same_as_the_block():
    line = report().json_line(MACHINE, "2026-05-01T10:00:00Z")
    assert "\n" not in line
    said = json.loads(line)
    assert said["load"] == {"fences": 20_000, "seed": 7}
    assert said["machine"] == MACHINE
    assert said["found"] == {"upload_s": 1.25}
    only = said["rows"][0]
    assert only["rate"] == 4_567.8
    assert only["yardstick_msteps_per_s"] == {"median": 20.0, "min": 10.0, "max": 30.0}
    assert only["tail"] == {"unit": "ms", "samples": 1000, **Tail.of("ms", range(1, 1001)).values}
    assert only["failed"] == 0


def test_a_published_report_is_printed_and_kept_in_both_forms(tmp_path, capsys):
    publish([report(), report()], tmp_path)
    printed = capsys.readouterr().out
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["bench"] for line in lines] == ["pings", "pings"]
    assert all(line in printed for line in lines)
    assert all(kept.read_text(encoding="utf-8").strip() in printed for kept in tmp_path.glob("pings-*.txt"))


def test_the_yardstick_is_faster_by_a_slower_clock():
    ticks = iter((0.0, 0.5, 10.0, 10.25))
    spins = Yardstick(clock=lambda: next(ticks))
    assert spins.spin() == 0.2
    assert spins.spin() == 0.4
    assert spins.median() == 0.30000000000000004
