"""A phone that walks over fences by the machine itself: metres east and north of a corner, seconds since a start."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import shapely

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, Geometry
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.calibrated import View
from geo_offers.presence.evidence import probability
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import receive, step, step_region, view_of
from geo_offers.presence.states import NOWHERE, PresenceState, Transition

WORKSPACE, DEVICE = UUID(int=1), UUID(int=2)
LAT, LON = 53.0, 8.0
NORTH_M = 111_300.0
EAST_M = NORTH_M * math.cos(math.radians(LAT))
T0_US = 1_760_000_000_000_000


def place(east_m: float, north_m: float) -> tuple[float, float]:
    return LAT + north_m / NORTH_M, LON + east_m / EAST_M


def circle(name: str, east_m: float, north_m: float, radius_m: float, **detect: object) -> Geofence:
    return fence(name, Circle(*place(east_m, north_m), radius_m), **detect)


def box(name: str, west_m: float, south_m: float, east_m: float, north_m: float, **detect: object) -> Geofence:
    (south, west), (north, east) = place(west_m, south_m), place(east_m, north_m)
    return fence(name, Area(shapely.box(west, south, east, north)), **detect)


def fence(name: str, geometry: Geometry, version: int = 1, **detect: object) -> Geofence:
    return Geofence(FenceId(f"town/{name}"), version, name, geometry, None, (), active=True, detect=Detect(**detect))


@dataclass
class Phone:
    """Told: every edge so far."""

    fences: Iterable[Geofence]
    state: PresenceState = NOWHERE
    told: list[Transition] = field(default_factory=list)
    index: GeofenceIndex = field(init=False)

    def __post_init__(self) -> None:
        self.index = GeofenceIndex(self.fences)

    @property
    def view(self) -> View:
        return view_of(self.index)

    def fix(
        self,
        second: float,
        east_m: float,
        north_m: float = 0.0,
        accuracy_m: float = 8.0,
        speed_mps: float | None = None,
        *,
        mock: bool = False,
    ) -> list[str]:
        """The edges of one fix, as words; `late` and `duplicate` as such."""
        at_us, (lat, lon) = T0_US + round(second * 1e6), place(east_m, north_m)
        return self.take(Fix(at_us, lat, lon, accuracy_m, speed_mps, mock))

    def take(self, fix: Fix) -> list[str]:
        received = receive(self.state, fix)
        if received != "accepted":
            return [received]
        inside = self.index.locate_one(fix.lat, fix.lon)
        crossed: Sequence[Geofence] = ()
        if self.state.lat is not None and self.state.lon is not None:
            crossed = self.index.crossed(self.state.lat, self.state.lon, fix.lat, fix.lon)
        self.state, edges = step(self.state, fix, inside, crossed, workspace=WORKSPACE, device=DEVICE, view=self.view)
        self.told += edges
        return [f"{edge.type} {edge.fence.removeprefix('town/')}" for edge in edges]

    def region(self, second: float, of: Geofence, *, entered: bool) -> list[str]:
        at_us = T0_US + round(second * 1e6)
        self.state, edges = step_region(
            self.state, at_us, of, entered=entered, workspace=WORKSPACE, device=DEVICE, view=self.view
        )
        self.told += edges
        return [f"{edge.type} {edge.fence.removeprefix('town/')}" for edge in edges]

    def stand(
        self, seconds: Iterable[float], east_m: float, north_m: float = 0.0, accuracy_m: float = 8.0
    ) -> list[str]:
        return [word for second in seconds for word in self.fix(second, east_m, north_m, accuracy_m)]

    def likely(self, name: str) -> float:
        """The probability that the phone is inside, after its newest usable fix."""
        fence_id = FenceId(f"town/{name}")
        stay = self.state.inside.get(fence_id)
        if stay is not None and stay.log_odds is not None:
            return probability(stay.log_odds)
        return probability(self.state.arriving.get(fence_id, self.state.elsewhere))
