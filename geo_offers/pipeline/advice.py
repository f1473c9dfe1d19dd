"""What a phone may do until its next ping: how far and how long it can sleep, and which regions to watch itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from geo_offers.pipeline.catalog import Catalog
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.regions import Outlook, Wish, check_after_s, look, send_after_s
from geo_offers.presence.calibrated import settling_s
from geo_offers.presence.fixes import Fix
from geo_offers.presence.states import PresenceState

NOTHING_LIVE_S = 600.0
WISHES: Final[Mapping[str, Wish]] = {
    "regions": Wish(20),
    "radius": Wish(0),
    "ios": Wish(18, refresh=True),
    "android": Wish(99, refresh=True),
}
"""By the name an app asks with. iOS watches 20 regions for an app, of which one is left to it; Android 100."""


@dataclass(frozen=True, slots=True)
class Advice:
    """`outlook` is of the fix's place, the seconds count from its time."""

    outlook: Outlook
    check_after_s: float
    send_after_s: float


def advise(index: GeofenceIndex, state: PresenceState, fix: Fix, wish: Wish) -> Advice:
    """For a device in this state after this fix, its newest."""
    outlook = look(index, fix.lat, fix.lon, wish)
    near = state.inside or state.arriving
    due_s = _deadlines_s(index, state, fix.at_us) if near else ()
    send_s = send_after_s(wait_s for wait_s in due_s if wait_s > 0)  # one that a coarse fix let pass waits for a better
    return Advice(outlook, check_after_s(outlook.safe_radius_m, fix.speed_mps, fix.accuracy_m, send_s), send_s)


def _deadlines_s(index: GeofenceIndex, state: PresenceState, at_us: int) -> Iterator[float]:
    """Seconds until each dwell and confirm that is still to come, and until a fix would settle what is in doubt.

    Plain edges know no deadline of an exit.
    """
    for stay in state.inside.values():
        fence = index.get(stay.fence)
        if fence is None:
            continue
        since_s = (at_us - stay.entered_us) / 1e6
        if not stay.dwelt:
            yield fence.detect.dwell_s - since_s
        if stay.course is not None and not stay.course.confirmed and since_s < fence.detect.confirm_s:
            yield fence.detect.confirm_s - since_s
    settling = settling_s(state)
    if state.trail is not None and settling is not None:
        yield (state.trail.at_us - at_us) / 1e6 + settling


def pause_s(catalog: Catalog, workspace: UUID, now_us: int) -> float | None:
    """A hint to stay silent while no campaign is live; pings sent anyway are taken."""
    policies = catalog.policies.get(workspace)
    if policies is None or policies.policy.killed:
        return None
    live = any(campaign.running(now_us) for campaign in policies.campaigns)
    return None if live else NOTHING_LIVE_S
