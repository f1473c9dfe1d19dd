"""Memory of devices of which all is kept that may be: 64 marks each, one of nine inside a fence.

At calibrated fences all have a trail, and one of five is near a fence. To be measured in a process of its own, which
takes nothing that was used before.
"""

import gc
from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

from msgspec.structs import replace

from bench import lookup
from bench.doubles import WORKSPACE, known
from bench.load import make_fences
from geo_offers.pipeline import quick
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.places.fences import Detect, FenceId
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence import evidence, machine
from geo_offers.presence.fixes import Fix
from geo_offers.presence.states import Course, PresenceState, Stay
from geo_offers.presence.trail import Trail

Mode = Literal["raw", "calibrated"]
MODES: Final[Sequence[Mode]] = ("raw", "calibrated")
_FENCES: Final = 100
_MARKS: Final = machine.fingerprint(Fix(1, 1.0, 1.0)) * machine.REMEMBERED


def device_bytes(size: int, mode: Mode) -> float:
    """Resident bytes a device of so many."""
    index = GeofenceIndex(replace(fence, detect=Detect(mode)) for fence in make_fences(_FENCES, 7))
    gc.collect()
    before = lookup.resident_bytes()
    held = quick.tracks(1.0, 20.0)
    for number in range(size):
        held.add(_full(number, mode, index.ids()), 1, 1, index, held=False)
    gc.collect()
    return (lookup.resident_bytes() - before) / len(held)


def _full(number: int, mode: Mode, fences: Sequence[FenceId]) -> KnownDevice:
    device, fence = UUID(int=(number + 1) << 64), fences[number % len(fences)]
    stay, state = Stay(fence, 1, device, 0), PresenceState(1, 1.0, 1.0, {}, _MARKS)
    if mode == "calibrated":
        stay = replace(stay, log_odds=1.0, course=Course(confirmed=True))
        trail = Trail(1, 1, 1.0, 1.0, 8.0, 1.0, still_lat=1.0, still_lon=1.0, still_us=1)
        arriving = {fence: -2.0} if number % 5 == 0 else {}
        state = replace(state, trail=trail, elsewhere=evidence.LOWEST, arriving=arriving)
    return known(WORKSPACE, device, replace(state, inside={fence: stay} if number % 9 == 0 else {}))
