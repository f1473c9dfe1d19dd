"""The last look before a send: whether this message may still be shown to this person, now.

A second or half an hour may lie between the decision and the send. Whatever the person, the manager or the clock
changed since then counts, in this order: expiry, kill switch, consent, campaign and fence, mute, hours and events,
quiet hours, and for what an arrival triggered whether the person is still there. A message that fails is finished, not
kept for later.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.people.consent import Consents, Purpose
from geo_offers.people.mutes import Mutes
from geo_offers.people.quiet import QuietRule, quiet_until
from geo_offers.people.rhythm import Channel

GRACE_US: Final = 120 * 1_000_000  # an offer may still be on its way to somebody who has just stepped out

_NEEDED: Final = (Purpose.LOCATE, Purpose.OFFERS)
_ARRIVALS: Final = ("enter", "dwell")


class Standing(msgspec.Struct, frozen=True):
    """What is true of one due offer, read under the lock of its person."""

    expires_us: int
    trigger: str
    replay: bool
    consents: Consents
    mute: Mutes
    channels: Collection[Channel]
    quiet: tuple[QuietRule, ...]  # the person's and the workspace's: the union holds
    zone: ZoneInfo
    channel: Channel  # of the lane that it is due on
    campaign: UUID
    store: str
    categories: AbstractSet[str]
    campaign_state: str | None  # absent: the campaign is gone
    fence_live: bool  # it is there and active
    tripped: bool  # the breaker of its store or fence is open, or the store is paused
    paused: bool  # its workspace is, or the whole installation
    visit_known: bool
    left_us: int | None
    silenced: bool = False  # by hours, events, an embargo or a purchase


@dataclass(frozen=True, slots=True)
class Objection:
    """Why it may not be sent any more; `detail` is the silence's public name where it has one."""

    state: Literal["expired", "cancelled"]
    detail: str


def objection(standing: Standing, now_us: int) -> Objection | None:
    """Find the first reason against sending at this instant of the server's clock, or None."""
    if standing.expires_us <= now_us:
        return Objection("expired", "expired")
    reason = _reason(standing, now_us)
    return Objection("cancelled", reason) if reason else None


def _reason(standing: Standing, now_us: int) -> str | None:
    if standing.paused:
        return "kill_switch"
    if not all(standing.consents.granted(purpose) for purpose in _NEEDED):
        return "no_consent"
    if standing.campaign_state != "approved" or not standing.fence_live or standing.tripped:
        return "not_live"
    if standing.channel not in standing.channels:
        return "muted"
    if standing.mute.by(standing.campaign, standing.store, standing.categories) is not None:
        return "muted"
    # A replayed phone lives in its recording's time: there the decision has looked at quiet hours and presence.
    if standing.replay:
        return None
    if standing.silenced:
        return "schedule"
    if quiet_until(standing.quiet, now_us, standing.zone) is not None:
        return "quiet_hours"
    if standing.trigger in _ARRIVALS and not _still_there(standing, now_us):
        return "left"
    return None


def _still_there(standing: Standing, now_us: int) -> bool:
    """Tell whether the visit is open or just closed; one that is gone was wiped, so nobody is there."""
    if not standing.visit_known:
        return False
    return standing.left_us is None or now_us - standing.left_us < GRACE_US
