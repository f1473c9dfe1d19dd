"""An explanation as text: a line a fix and fence, in columns; or a JSON object a fix. No position is printed."""

from collections.abc import Iterator
from typing import Any, Final

from geo_offers import instants
from geo_offers.client.terminal import printable
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.explain import PRESENCE, RegionEvent, Standing, Step
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.presence.trail import COARSE_M, UNKNOWN_M, Worth
from geo_offers.traces.trace import told_of

BAR: Final = 20
FENCE: Final = 24
_WORTH: Final = {
    Worth.MOCKED: "left out: the phone says that the position is made up",
    Worth.UNKNOWN: f"left out: beyond {UNKNOWN_M:.0f} m nobody knows where the phone is",
    Worth.COARSE: f"left out: coarser than {COARSE_M:.0f} m",
    Worth.SAME: "left out: of the same instant as the last one",
    Worth.LEAP: "left out: nobody travels so fast",
    Worth.STRAY: "doubted: farther off than the phone was moving",
    Worth.SOUND: "",
}
_TAKEN: Final = {
    "late": "late: older than the newest one",
    "duplicate": "a duplicate: it was taken before",
    "unknown_region": "left out: no such fence here",
}
HEADING: Final = (
    f"{'at':<23} {'acc. m':>6} {'m/s':>5}  {'fence':<{FENCE}} {'border m':>9} {'P':>5}  {'':<{BAR}}  what came of it"
)


def lines(step: Step, index: GeofenceIndex) -> Iterator[str]:
    """A line for each fence near; one at least."""
    head = f"{_clock(step.sighting.at_us):<23} {_measured(step)}  "
    remark = _remark(step)
    standings = step.standings or (None,)
    for number, standing in enumerate(standings):
        cells = " " * (FENCE + BAR + 18) if standing is None else _cells(standing, index)
        said = [remark] if number == 0 and remark else []
        said += [_said(edge, step) for edge in step.edges if standing is not None and edge.fence == standing.fence]
        if standing is None:
            said += [_said(edge, step) for edge in step.edges] or ([] if remark else ["no fence near"])
        elif standing.inside and not any(edge.fence == standing.fence for edge in step.edges):
            said.append("inside" if standing.confirmed else "inside, not confirmed")
        yield f"{head if number == 0 else ' ' * len(head)}{cells}  {'; '.join(said)}".rstrip()


def row(device: str, step: Step) -> dict[str, Any]:
    """The same for programs."""
    return {
        "device": device,
        "at": instants.text(step.sighting.at_us),
        "taken": step.taken,
        "worth": step.worth,
        "accuracy_m": None if isinstance(step.sighting, RegionEvent) else step.sighting.accuracy_m,
        "speed_mps": step.speed_mps,
        "fences": step.standings,
        "transitions": list(told_of(step.edges)),
    }


def bar(probability: float, confidence: float) -> str:
    """A bar of the probability; `:` where a visit begins and where an offer may be made, as far as they lie beyond."""
    filled = round(probability * BAR)
    marks = {round(PRESENCE * BAR), round(confidence * BAR)}
    return "".join("#" if place < filled else ":" if place in marks else "." for place in range(BAR))


def _cells(standing: Standing, index: GeofenceIndex) -> str:
    name = printable(standing.fence)
    name = name if len(name) <= FENCE else f"{name[: FENCE - 2]}.."
    away = "" if standing.away_m is None else f"{standing.away_m:+.1f}"
    if standing.probability is None:
        return f"{name:<{FENCE}} {away:>9} {'raw':>5}  {'':<{BAR}}"
    shown = bar(standing.probability, _confidence(index.get(FenceId(standing.fence))))
    return f"{name:<{FENCE}} {away:>9} {standing.probability:5.2f}  {shown}"


def _confidence(fence: Geofence | None) -> float:
    return 1.0 if fence is None else fence.detect.min_confidence


def _clock(at_us: int) -> str:
    return instants.from_us(at_us).strftime("%Y-%m-%d %H:%M:%S.%f")[:23].removesuffix(".000")


def _measured(step: Step) -> str:
    speed = "" if step.speed_mps is None else f"{step.speed_mps:.1f}"
    if isinstance(step.sighting, RegionEvent):
        return f"{'':>6} {speed:>5}"
    return f"{step.sighting.accuracy_m:6.1f} {speed:>5}"


def _remark(step: Step) -> str:
    if step.taken != "accepted":
        return _TAKEN[step.taken]
    if isinstance(step.sighting, RegionEvent):
        return f"the phone's own monitoring: {'in' if step.sighting.entered else 'out of'} the region"
    return "" if step.worth is None else _WORTH[step.worth]


def _said(edge: Transition, step: Step) -> str:
    """One edge in words; its time where it is not the fix's."""
    said = edge.type.value.upper()
    if edge.course is not None:
        said += f" {edge.confidence:.2f}"
        if edge.type is TransitionType.ENTER:
            said += ", CONFIRM" if edge.course.confirmed else ", not confirmed"
        if edge.type is TransitionType.EXIT and edge.label is not None:
            said += f", {edge.label.replace('_', ' ')}"
    return said if edge.at_us == step.sighting.at_us else f"{said} as of {_clock(edge.at_us)}"
