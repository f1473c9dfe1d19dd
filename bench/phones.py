"""Phones without a server between: one that sends every fix, and those that obey what `next` says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from geo_offers import wire
from geo_offers.client.saving import Place, Told, due
from geo_offers.pipeline.advice import WISHES, advise
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import step, view_of
from geo_offers.presence.states import NOWHERE, PresenceState, Transition
from geo_offers.web import regions

Heed = Callable[[Place, wire.Next], Told]
NOBODY = UUID(int=0)


@dataclass(slots=True)
class Phone:
    """What the server knows of one phone, and every transition that it has told."""

    index: GeofenceIndex
    state: PresenceState = NOWHERE
    told: list[Transition] = field(default_factory=list)
    sent: int = 0

    def send(self, fix: Fix) -> None:
        state, crossed = self.state, ()
        if state.lat is not None and state.lon is not None and (state.lat, state.lon) != (fix.lat, fix.lon):
            crossed = self.index.crossed(state.lat, state.lon, fix.lat, fix.lon)
        inside = self.index.locate_one(fix.lat, fix.lon)
        view = view_of(self.index)
        self.state, edges = step(state, fix, inside, crossed, workspace=NOBODY, device=NOBODY, view=view)
        self.told += edges
        self.sent += 1

    def next(self, fix: Fix, wish: str) -> wire.Next:
        return regions.told(advise(self.index, self.state, fix, WISHES[wish]), None)


def strictly(place: Place, said: wire.Next) -> Told:
    """What a phone makes of `next` that knows the safe radius only, and sends whenever it is to look."""
    return Told(place, said.safe_radius_m, said.check_after_s)


def send_all(index: GeofenceIndex, fixes: Sequence[Fix]) -> Phone:
    phone = Phone(index)
    for fix in fixes:
        phone.send(fix)
    return phone


def obey(index: GeofenceIndex, fixes: Sequence[Fix], wish: str = "ios", heed: Heed = Told.of) -> Phone:
    """Sends what is due only."""
    phone, told, before = Phone(index), None, None
    for fix in fixes:
        what = due(told, None if before is None else _place(before), _place(fix))
        if what == "nothing":
            before = fix
            continue
        if what == "both" and before is not None:
            phone.send(before)
        phone.send(fix)
        told, before = heed(_place(fix), phone.next(fix, wish)), None
    return phone


def _place(fix: Fix) -> Place:
    return Place(fix.at_us, fix.lat, fix.lon)
