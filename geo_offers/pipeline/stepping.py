"""From a turn's points to states and transitions: in the compiled memory of devices, else by the machine, fix by fix.

Nothing here waits or touches the outside, save a stopwatch: new states are kept in the part and installed by the
engine, after the commit where there were transitions.
"""

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from uuid import UUID

import numpy as np

from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.devices import Devices
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.requests import Arrival, Code, Part, Point
from geo_offers.pipeline.tracks import LEAP_DEG
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.geometry import short_way
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence import machine
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import view_of
from geo_offers.presence.states import PresenceState, Transition
from geo_offers.presence.trail import Worth, judge

LEAPS = 16  # in one request; beyond them no cross is told
ENOUGH = 64  # transitions of one part: the points after them are the next part's, with a turn of its own
SINGLE = 8  # up to here one scalar look-up each is faster than one vectorised call

_RECEIPTS = {"accepted": Code.ACCEPTED, "late": Code.LATE, "duplicate": Code.DUPLICATE}


def _in_order(numbered: tuple[int, Point]) -> tuple[int, float, float, int]:
    """In order of `at`; at equal times the place decides, so that a shuffled request steps the same."""
    index, point = numbered
    return (point.at_us or 0, point.lat or 0.0, point.lon or 0.0, index)


def step_parts(
    parts: Iterable[Part], catalog: Catalog, devices: Devices, figures: Figures
) -> Iterator[tuple[Part, Exception | None]]:
    """Fills each part's results, what it leaves and its arrivals, and hands it back; leaves the devices as they are.

    A part that cannot be stepped comes back with its error and takes nobody along.
    """
    for part in parts:
        index = catalog.index(part.request.workspace)
        try:
            devices.seclude(part)
            moved = devices.step(part, index)
            if moved is None:
                _step_part(part, devices.state(part.device), index, figures)
            else:
                part.state, part.arrivals = moved, moved.arrivals
        except Exception as error:  # noqa: BLE001 - answered and logged by the engine
            yield part, error
        else:
            yield part, None


def _locate(index: GeofenceIndex, points: Sequence[Point], figures: Figures) -> Sequence[tuple[Geofence, ...]]:
    """The fences that hold each point; none for a point without a position."""
    started = perf_counter()
    if len(points) <= SINGLE:
        found = [
            () if point.lat is None or point.lon is None else index.locate_one(point.lat, point.lon) for point in points
        ]
    else:
        nowhere = float("nan")
        lat = np.array([nowhere if point.lat is None else point.lat for point in points])
        lon = np.array([nowhere if point.lon is None else point.lon for point in points])
        placed = ~np.isnan(lat)
        hits = index.locate(lat[placed], lon[placed])
        found = [()] * len(points)
        for at, hit in zip(np.flatnonzero(placed), hits, strict=True):
            found[at] = hit
    figures.looked_up(len(points), perf_counter() - started)
    return found


def _step_part(part: Part, state: PresenceState, index: GeofenceIndex, figures: Figures) -> None:
    workspace, codes = part.request.workspace, part.request.codes
    points = sorted([(number, part.request.points[number]) for number in part.numbers], key=_in_order)
    located = _locate(index, [point for _, point in points], figures)
    for done, ((number, point), inside) in enumerate(zip(points, located, strict=True)):
        if len(part.arrivals) >= ENOUGH:
            part.numbers, part.rest = [n for n, _ in points[:done]], [n for n, _ in points[done:]]
            break
        if point.region is not None:
            codes[number], state, edges = _step_region(point, state, index, workspace)
        else:
            before = state.trail
            codes[number], state, edges = _step_fix(part, point, state, inside, index)
            if index.calibrated and codes[number] == Code.ACCEPTED:
                _count_worth(judge(before, point.fix()), figures)
        part.arrivals += [Arrival(point.device, edge, index.get(edge.fence)) for edge in edges]
    part.state = state


def _count_worth(worth: Worth, figures: Figures) -> None:
    if worth is not Worth.SOUND:
        figures.left_out({worth: 1})


def _step_fix(
    part: Part, point: Point, state: PresenceState, inside: tuple[Geofence, ...], index: GeofenceIndex
) -> tuple[Code, PresenceState, tuple[Transition, ...]]:
    fix = point.fix()
    receipt = machine.receive(state, fix)
    if receipt != "accepted":
        return _RECEIPTS[receipt], state, ()
    crossed: tuple[Geofence, ...] = ()
    if state.lat is not None and state.lon is not None and _may_cross(part, state.lat, state.lon, fix):
        crossed = index.crossed(state.lat, state.lon, fix.lat, fix.lon)
    state, edges = machine.step(
        state,
        fix,
        inside,
        crossed,
        workspace=part.request.workspace,
        device=point.device,
        view=view_of(index),
    )
    return Code.ACCEPTED, state, edges


def _may_cross(part: Part, lat: float, lon: float, fix: Fix) -> bool:
    """Whether to look for crosses: the phone moved, and has not leapt about the globe too often in this request."""
    north, east = abs(fix.lat - lat), abs(short_way(lon, fix.lon) - lon)
    if max(north, east) > LEAP_DEG:
        part.leaps += 1
        return part.leaps <= LEAPS
    return bool(north or east)


def _step_region(
    point: Point, state: PresenceState, index: GeofenceIndex, workspace: UUID
) -> tuple[Code, PresenceState, tuple[Transition, ...]]:
    assert point.at_us is not None
    assert point.region is not None
    fence = index.get(FenceId(point.region))
    if fence is None or not fence.active:
        return Code.UNKNOWN_REGION, state, ()
    if machine.is_late(state, point.at_us):
        return Code.LATE, state, ()
    state, edges = machine.step_region(
        state,
        point.at_us,
        fence,
        entered=point.entered,
        workspace=workspace,
        device=point.device,
        view=view_of(index),
    )
    return Code.ACCEPTED, state, edges
