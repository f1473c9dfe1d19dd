"""A trace file: `{about, fences, pings, expected}`, one phone's pings in the order in which they came.

`fences` is a FeatureCollection as `geo-offers import` takes it; here a fence is called what its Feature's id says.
`pings` are those of the public contract. `expected` are the transitions `{at, type, fence}` in their order; beside
those that are told outside, `confirm` is the moment from which an offer may be made. Without it none are expected yet.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from geo_offers import instants, wire
from geo_offers.client.http import given
from geo_offers.client.importing import UnreadableFileError, read_document
from geo_offers.client.terminal import printable
from geo_offers.documents import values
from geo_offers.errors import Fault, Invalid, Malformed
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.importing.geojson import FenceDraft, parse_collection
from geo_offers.places.importing.rows import feature_of
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.explain import Explained, RegionEvent, Sighting, Step
from geo_offers.presence.fixes import Fix, check, usable_accuracy_m, usable_speed_mps
from geo_offers.presence.states import Transition, TransitionType

MAX_PINGS: Final = 20_000
_PLACE: Final = re.compile(r" - at `\$(.*)`$")
_INDEX: Final = re.compile(r"\[(\d+)\]")


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transition as a trace expects it. at: RFC 3339."""

    at: str
    type: Literal["enter", "confirm", "dwell", "exit", "cross"]
    fence: str


class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    fences: dict[str, Any]
    pings: list[wire.Ping]
    expected: list[Told] | None = None


def read_trace(file: Path) -> Trace:
    """Read a .json or .json.gz file. Raises Invalid, whose one sentence names the place of the fault."""
    data = read_file(file)
    try:
        trace = msgspec.convert(values(data), Trace)
    except Malformed as error:
        raise Invalid(f"{file}: {error.detail}") from error
    except msgspec.ValidationError as error:
        what, place = str(error), _PLACE.search(str(error))
        pointer = "/" if place is None else _INDEX.sub(r"/\1", place[1]).replace(".", "/") or "/"
        raise Invalid(printable(f"{file}: {pointer} {_PLACE.sub('', what)}")) from error
    if not 1 <= len(trace.pings) <= MAX_PINGS:
        raise Invalid(f"{file}: /pings holds {len(trace.pings)} pings; a trace has 1 to {MAX_PINGS}")
    for number, told in enumerate(trace.expected or ()):
        if instants.parse(told.at) is None:
            raise Invalid(f"{file}: /expected/{number}/at is no RFC 3339 time")
    return trace


def read_file(file: Path) -> bytes:
    """All of it, unpacked. Raises Invalid, also past 32 MB."""
    try:
        return read_document(file)
    except UnreadableFileError as error:
        raise Invalid(str(error)) from error


def read_fences(collection: object, where: str, *, strict: bool) -> list[FenceDraft]:
    """Read the fences. Raises Invalid with the place of the first fault. strict: unknown members are faults."""
    parsed = parse_collection(collection, strict=strict)
    for fault in parsed.faults:
        raise Invalid(f"{where}{fault.pointer}: {fault.detail}")
    found = []
    for row in parsed.rows:
        if row.draft is None:
            raise Invalid(f"{where}/features/{row.number}{row.faults[0].pointer}: {row.faults[0].detail}")
        found.append(row.draft)
    if not found:
        raise Invalid(f"{where}: there is no fence in it")
    return found


def index_of(drafts: Iterable[FenceDraft]) -> GeofenceIndex:
    return GeofenceIndex(
        Geofence(
            FenceId(draft.external_id),
            1,
            draft.name,
            draft.geometry,
            draft.store,
            draft.tags,
            draft.active,
            draft.detect,
        )
        for draft in drafts
    )


def collection_of(drafts: Iterable[FenceDraft]) -> dict[str, Any]:
    features = [msgspec.json.decode(feature_of(draft)) for draft in drafts]
    return {"type": "FeatureCollection", "features": features}


def sighting(ping: wire.Ping) -> Sighting:
    """What the machine takes of a ping. Raises Invalid with the reason for which the service refuses it."""
    at_us = instants.parse(ping.at)
    if ping.region is not None and ping.event is not None and ping.lat is None and ping.lon is None:
        if at_us is None:
            raise _refused("bad_time")
        return RegionEvent(at_us, FenceId(ping.region), ping.event == "enter")
    if ping.lat is None or ping.lon is None or ping.region is not None or ping.event is not None:
        raise Invalid("has to have `lat` and `lon`, or `region` and `event`")
    refusal = check(at_us, ping.lat, ping.lon, now_us=0, replay=True)
    if refusal is not None or at_us is None:
        raise _refused(refusal or "bad_time")
    accuracy_m, speed_mps = usable_accuracy_m(ping.accuracy_m), usable_speed_mps(ping.speed_mps)
    return Fix(at_us, ping.lat, ping.lon, accuracy_m, speed_mps, bool(ping.mock))


def _refused(reason: str) -> Invalid:
    return Invalid(f"is refused by the service: {reason}", (Fault("", reason, reason),))


def sightings(trace: Trace, where: str) -> list[Sighting]:
    """All of a trace's. Raises Invalid with the place of the first ping that is none."""
    found = []
    for number, ping in enumerate(trace.pings):
        try:
            found.append(sighting(ping))
        except Invalid as error:
            raise Invalid(f"{where}: /pings/{number} {error.detail}") from error
    return found


def explained(index: GeofenceIndex, seen: Iterable[Sighting]) -> Iterator[Step]:
    device = Explained(index)
    return (device.take(one) for one in seen)


def told_of(edges: Iterable[Transition]) -> Iterator[Told]:
    """The transitions as a trace has them: an enter that is certain at once is confirmed by the same fix."""
    for edge in edges:
        at = instants.text(edge.at_us)
        yield Told(at, edge.type.value, edge.fence)
        if edge.type is TransitionType.ENTER and edge.course is not None and edge.course.confirmed:
            yield Told(at, TransitionType.CONFIRM.value, edge.fence)


def fences_of(trace: Trace, where: str) -> list[FenceDraft]:
    """The fences of a trace. Raises Invalid; in a file of ours a member that means nothing is a mistake."""
    return read_fences(trace.fences, f"{where}: /fences", strict=True)


def run(trace: Trace, where: str) -> list[Told]:
    """What is told of a trace now."""
    index = index_of(fences_of(trace, where))
    return [told for step in explained(index, sightings(trace, where)) for told in told_of(step.edges)]


def differences(expected: Sequence[Told], told: Sequence[Told]) -> tuple[list[Told], list[Told]]:
    """What was expected and not told, and what was told and not expected."""
    missing, unexpected = list(expected), []
    for one in told:
        same = next((other for other in missing if _same(one, other)), None)
        if same is None:
            unexpected.append(one)
        else:
            missing.remove(same)
    return missing, unexpected


def _same(one: Told, other: Told) -> bool:
    return (instants.parse(one.at), one.type, one.fence) == (instants.parse(other.at), other.type, other.fence)


def written(trace: Trace) -> bytes:
    """The file of a trace: a feature, a ping and a transition a line each, so that a change of one reads as one."""
    pings = [given(ping) for ping in trace.pings]
    lines = [
        '{"about": ' + _text(trace.about) + ",",
        '"fences": {"type": "FeatureCollection", "features": [',
        _rows(trace.fences["features"]),
        "]},",
        '"pings": [',
        _rows(pings),
        "]" if trace.expected is None else '],\n"expected": [',
    ]
    if trace.expected is not None:
        lines += [*([_rows(trace.expected)] if trace.expected else []), "]"]
    return ("\n".join(lines) + "}\n").encode()


def _rows(entries: Iterable[object]) -> str:
    return ",\n".join(map(_text, entries))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
