"""Large files are read in children: few, bounded, and dead once they cannot answer. Real processes."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

import pytest

from geo_offers.errors import Invalid, Malformed, Unavailable
from geo_offers.places.importing.rows import EASY_BODY, Manner, read_rows
from geo_offers.sandbox import child, reader
from geo_offers.sandbox.reader import CHILDREN, WAITING, ChildReader

POINT = {"type": "Point", "coordinates": [8.8, 53.1]}


def file_of(features, *, padding=EASY_BODY):
    features = [{"type": "Feature", "geometry": POINT, "properties": {}} | feature for feature in features]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode() + b" " * padding


@asynccontextmanager
async def children(work="", deadline_s=60.0):
    """A reader whose children do `work` instead of reading rows; `data`, `manner` and `at` are there for it."""
    script = f"""
import os, sys, time
from geo_offers.errors import Malformed
from geo_offers.sandbox import child
def read_rows(data, manner, at):
    {work}
    return ()
child.CPU_S = 1
child.read_rows = read_rows
child.main(int(sys.argv[1]))
"""
    command = (sys.executable, "-c", script) if work else ()
    async with ChildReader(deadline_s, command) as made:
        yield made


async def refused(made, kind=Invalid, **manner):
    with pytest.raises(kind) as caught:
        await made.read(file_of([]), Manner(**manner))
    return caught.value


def processes(made):
    return [child._process for child in made._idle]


async def test_a_child_reads_what_would_be_read_here():
    data = file_of([{"id": "a"}, {"id": "b", "geometry": None}, {"id": "c", "properties": {"ref": "dropped"}}])
    manner = Manner(radius_m=100.0)
    async with children() as made:
        rows = await made.read(data, manner)
    assert tuple(rows) == read_rows(data, manner)
    assert [row.external_id for row in rows] == ["a", None, "c"]
    assert [row.faults[0].pointer for row in rows if row.faults] == ["/geometry"]


async def test_what_is_no_file_of_features_is_refused_as_it_would_be_here():
    async with children() as made:
        with pytest.raises(Malformed, match="twice"):
            await made.read(b'{"type": 1, "type": 2}' + b" " * EASY_BODY, Manner())
        with pytest.raises(Invalid, match="FeatureCollection"):
            await made.read(b'{"type": "Topology"}' + b" " * EASY_BODY, Manner())


async def test_a_small_text_needs_no_child():
    async with ChildReader(command=["/does/not/exist"]) as made:
        rows = await made.read(file_of([{"id": "a"}], padding=0), Manner(radius_m=100.0))
    assert [row.external_id for row in rows] == ["a"]


async def test_a_child_is_used_again():
    async with children("pass") as made:
        await made.read(file_of([]), Manner())
        first = processes(made)
        await made.read(file_of([]), Manner())
        assert processes(made) == first


async def test_a_child_is_not_kept_after_a_very_large_text(monkeypatch):
    monkeypatch.setattr(reader, "KEPT_BODY", EASY_BODY)
    async with children("pass") as made:
        await made.read(file_of([]), Manner())
        assert processes(made) == []


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("at(3)\n    while True: pass", id="too long"),
        pytest.param("at(3); bytearray(3 << 30)", id="too much memory"),
        pytest.param("at(3); os._exit(0)", id="it ends"),
    ],
)
async def test_a_file_that_costs_too_much_is_refused_at_the_row_where_it_did(work):
    if "bytearray" in work and sys.platform == "darwin":
        pytest.skip("this system has no bound of address space")
    async with children(work) as made:
        error = await refused(made)
        assert [(fault.pointer, fault.code) for fault in error.faults] == [("/features/3", "too_costly")]
        assert processes(made) == []


async def test_a_feature_that_costs_too_much_is_refused_at_its_geometry():
    async with children("at(0); os._exit(0)") as made:
        error = await refused(made, external_id="a")
    assert [(fault.pointer, fault.code) for fault in error.faults] == [("/geometry", "too_costly")]


async def test_a_text_that_costs_too_much_before_its_first_row_is_refused_as_a_whole():
    async with children("os._exit(0)") as made:
        await refused(made)  # a row that an earlier text was at is not this one's
        assert [fault.pointer for fault in (await refused(made)).faults] == [""]


async def test_a_child_that_does_nothing_is_killed_at_the_deadline():
    async with children("time.sleep(60)", deadline_s=0.3) as made:
        error = await refused(made)
    assert error.faults[0].code == "too_costly"


async def test_after_one_was_killed_the_next_file_is_read():
    async with children("len(data) % 2 and os._exit(0)") as made:
        odd, even = sorted((file_of([]), file_of([]) + b" "), key=lambda data: len(data) % 2, reverse=True)
        with pytest.raises(Invalid):
            await made.read(odd, Manner())
        assert await made.read(even, Manner()) == ()


async def test_a_child_has_a_bound_of_all_that_it_may_use():
    kinds = "[getattr(resource, 'RLIMIT_' + name) for name in ('CORE', 'FSIZE', 'NOFILE', 'AS', 'CPU')]"
    work = f"import resource; raise Malformed(str([resource.getrlimit(kind)[0] for kind in {kinds}]))"
    async with children(work) as made:
        core, written, files, memory, cpu_s = json.loads((await refused(made, Malformed)).detail)
    assert core == 0
    assert max(written, files) <= 64
    assert 1 <= cpu_s <= 5  # what loading took, and the second that these tests give a text
    assert memory == child.MEMORY_BYTES or sys.platform == "darwin"


async def test_a_child_knows_nothing_of_the_services_settings(monkeypatch):
    monkeypatch.setenv("GEO_OFFERS_WEBHOOK_SECRET", "whsec_known")
    async with children("raise Malformed(' '.join(os.environ))") as made:
        error = await refused(made, Malformed)
    assert "PATH" in error.detail
    assert "GEO_OFFERS" not in error.detail


async def test_a_child_ends_when_its_caller_hangs_up(tmp_path):
    marker = tmp_path / "began"
    async with children(f"os.mkdir({str(marker)!r}); time.sleep(60)") as made:
        call = asyncio.create_task(made.read(file_of([]), Manner()))
        while not marker.exists():
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert processes(made) == []
        assert made._free._value == CHILDREN


async def test_only_so_many_files_are_read_and_wait_at_once():
    async with children("time.sleep(60)") as made:
        calls = [asyncio.create_task(made.read(file_of([]), Manner())) for _ in range(WAITING)]
        await asyncio.sleep(0)
        await refused(made, Unavailable)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert made._waiting == 0


@pytest.mark.parametrize("work", ["raise SystemExit(1)", "import time; time.sleep(60)"], ids=["ends", "hangs"])
async def test_a_child_that_does_not_start_is_not_the_files_fault(work, monkeypatch):
    monkeypatch.setattr(reader, "START_S", 0.3)
    async with ChildReader(command=(sys.executable, "-c", work)) as made:
        with pytest.raises(RuntimeError):
            await made.read(file_of([]), Manner())


async def test_children_end_with_their_reader():
    async with children("pass") as made:
        await made.read(file_of([]), Manner())
        (process,) = processes(made)
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
