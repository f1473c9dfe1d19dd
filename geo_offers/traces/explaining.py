"""`replay --explain`: recorded trips or a trace, explained fix by fix on this machine; no server is asked.

A trace that says what it expects is a test: where what is told differs, the command says how and ends with 1.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from geo_offers import wire
from geo_offers.client.terminal import Console, Say, printable, to_stderr, to_stdout
from geo_offers.client.trips import Row, UnreadableTripsError, read_trips
from geo_offers.documents import values
from geo_offers.errors import Invalid, Malformed
from geo_offers.places.importing.geojson import FenceDraft
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.explain import Sighting, Step
from geo_offers.traces import printing
from geo_offers.traces.moving import moved
from geo_offers.traces.trace import (
    MAX_PINGS,
    Told,
    Trace,
    collection_of,
    differences,
    explained,
    fences_of,
    index_of,
    read_fences,
    read_file,
    read_trace,
    run,
    sighting,
    sightings,
    told_of,
    written,
)

ABOUT: Final = "To be written: what happened, what was complained of, and what is right."


@dataclass(frozen=True, slots=True)
class Options:
    """record: the trace file to write, with what was told as what it expects. away: without place, day and names."""

    as_json: bool = False
    record: Path | None = None
    away: bool = False


class Ping(NamedTuple):
    sent: wire.Ping
    seen: Sighting


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to explain: each phone's pings, and what the machine takes of each; of a trace the trace itself."""

    drafts: list[FenceDraft]
    phones: Mapping[str, list[Ping]]
    trace: Trace | None = None


def is_trace(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith(".json")


def run_explain(
    file: Path, fences: Path | None, options: Options, *, out: Say = to_stdout, err: Say = to_stderr
) -> int:
    """Explain a trace, or the trips of a .csv file among the fences of a GeoJSON file.

    Returns 0 when done, 1 where a trace's expectations and what is told differ. Raises Invalid for what cannot be read.
    """
    console = Console(out, err)
    found = _trace(file) if fences is None else _trips(file, fences, console)
    if options.record is not None:
        _may_write(options.record, file, found)
    index = index_of(found.drafts)
    if not options.as_json:
        out(printing.HEADING)
    steps: list[Step] = []
    for name, pings in found.phones.items():
        if not options.as_json and len(found.phones) > 1:
            out(printable(name))
        for step in explained(index, (ping.seen for ping in pings)):
            _tell(name, step, index, options, out)
            if found.trace is not None or options.record is not None:
                steps.append(step)
    if options.record is not None:
        recorded = _recorded(found, steps, away=options.away)
        _write(options.record, recorded)
        err(f"{options.record} holds the trace and the {len(recorded.expected or ())} transitions told")
        return 0
    return 0 if found.trace is None else _compare(found.trace, _told(steps), options, console)


def _trace(file: Path) -> _Found:
    trace = read_trace(file)
    drafts = fences_of(trace, str(file))
    pings = [Ping(sent, seen) for sent, seen in zip(trace.pings, sightings(trace, str(file)), strict=True)]
    return _Found(drafts, {"trace": pings}, trace)


def _trips(file: Path, fences: Path, console: Console) -> _Found:
    try:
        collection = values(read_file(fences))
        trips = read_trips(file)
    except Malformed as error:
        raise Invalid(f"{fences}: {error.detail}") from error
    except UnreadableTripsError as error:
        raise Invalid(str(error)) from error
    drafts = read_fences(collection, f"{fences}: ", strict=False)
    for line, reason in trips.faults:
        console.err(printable(f"line {line} {reason}"))
    phones = {name: list(_readable(rows, console)) for name, rows in trips.devices.items()}
    if not any(phones.values()):
        raise Invalid("nothing to explain: the file has no readable row")
    return _Found(drafts, phones)


def _readable(rows: Iterable[Row], console: Console) -> Iterator[Ping]:
    for row in rows:
        try:
            yield Ping(row.ping, sighting(row.ping))
        except Invalid as error:
            console.err(f"line {row.line} {error.detail}")


def _tell(name: str, step: Step, index: GeofenceIndex, options: Options, out: Say) -> None:
    if options.as_json:
        out(msgspec.json.encode(printing.row(name, step)).decode())
        return
    for line in printing.lines(step, index):
        out(line)


def _told(steps: Iterable[Step]) -> list[Told]:
    return [told for step in steps for told in told_of(step.edges)]


def _compare(trace: Trace, told: list[Told], options: Options, console: Console) -> int:
    if trace.expected is None:
        console.err("the trace expects nothing yet; --record writes what was told into it")
        return 0
    missing, unexpected = differences(trace.expected, told)
    if options.as_json:
        console.out(msgspec.json.encode({"missing": missing, "unexpected": unexpected}).decode())
    for what, transitions in (("expected, not told", missing), ("told, not expected", unexpected)):
        for one in transitions if not options.as_json else ():
            console.out(printable(f"{what}: {one.at} {one.type} {one.fence}"))
    if missing or unexpected:
        console.err(f"it differs from what is expected: {len(missing)} not told, {len(unexpected)} not expected")
        return 1
    console.err(f"as expected: {len(told)} transitions")
    return 0


# ---------------------------------------------------------------------------------------------- recording
def _may_write(to: Path, file: Path, found: _Found) -> None:
    if len(found.phones) != 1:
        raise Invalid(f"a trace holds one phone; {file} has {len(found.phones)}: cut it to the one that it is about")
    (pings,) = found.phones.values()
    if len(pings) > MAX_PINGS:
        raise Invalid(f"a trace holds {MAX_PINGS} pings at most; {file} has {len(pings)}: cut it to what matters")
    if to.exists() and to.resolve() != file.resolve():
        raise Invalid(f"{to} is there already; name a new file")


def _recorded(found: _Found, steps: list[Step], *, away: bool) -> Trace:
    """The trace with what was told, and of the fences those alone that any fix was near."""
    near = {standing.fence for step in steps for standing in step.standings}
    near |= {edge.fence for step in steps for edge in step.edges}
    if not near:
        raise Invalid("no ping is near any fence: there is nothing to record")
    (pings,) = found.phones.values()
    trace = Trace(
        about=ABOUT if found.trace is None else found.trace.about,
        fences=collection_of(draft for draft in found.drafts if draft.external_id in near),
        pings=[ping.sent for ping in pings],
        expected=_told(steps),
    )
    if not away:
        return trace
    trace = moved(trace, secrets.randbelow(3_600) / 10)
    return replace(trace, expected=run(trace, "the moved trace"))


def _write(to: Path, trace: Trace) -> None:
    try:
        to.write_bytes(written(trace))
    except OSError as error:
        raise Invalid(f"{to} cannot be written: {error.strerror}") from error
