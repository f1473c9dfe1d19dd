"""What a phone may do until its next ping: how far and how long it can sleep, and which regions to watch itself."""

from uuid import UUID

from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.regions import Next, Outlook
from geo_offers.places.regions import advise as advise_place
from geo_offers.presence.fixes import Fix

NOTHING_LIVE_S = 600.0


def advise(index: GeofenceIndex, device: KnownDevice, fix: Fix, outlook: Outlook) -> Next:
    """For a device where it was last seen; open dwell deadlines bound the time."""
    deadlines: list[float] = []
    for stay in device.state.inside.values():
        fence = index.get(stay.fence)
        if fence is not None and not stay.dwelt:
            deadlines.append(max(0.0, (stay.entered_us - fix.at_us) / 1e6 + fence.detect.dwell_s))
    return advise_place(outlook, fix.lat, fix.lon, fix.speed_mps, deadlines)


def pause_s(catalog: Catalog, workspace: UUID, now_us: int) -> float | None:
    """A hint to stay silent while no campaign is live; pings sent anyway are taken."""
    policies = catalog.policies.get(workspace)
    if policies is None or policies.policy.killed:
        return None
    live = any(campaign.running(now_us) for campaign in policies.campaigns)
    return None if live else NOTHING_LIVE_S
