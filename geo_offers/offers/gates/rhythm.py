"""What the person allows: mutes, channels, quiet hours, how many and how far apart; the gap grows by back-off.

A special campaign draws on the person's ordinary budget as long as that has room, then on the special one, which is
counted by itself: what was drawn from it does not count against `max`. The gap is kept by every offer from every other.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.caps import WINDOW_DAYS, free_at_us, past_of
from geo_offers.offers.gates.rule import Judge, Verdict, gap_until_us, said_at
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot
from geo_offers.people.backoff import step
from geo_offers.people.mutes import NOTHING_MUTED
from geo_offers.people.public_days import VERSION
from geo_offers.people.quiet import quiet_until
from geo_offers.people.rhythm import Per, Rolling, window
from geo_offers.people.wall import DAY_US

LONGEST_GAP_US: Final = WINDOW_DAYS * DAY_US  # further back nothing is read


def muted(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """By campaign, store or category; or by having no channel that reaches the device."""
    rhythm, wanted = snapshot.person.rhythm, candidate.wanted
    by = rhythm.mute.by(wanted.campaign, wanted.store, wanted.categories) or _channel(snapshot)
    return by is None, {"by": by}


def muted_alike(snapshot: Snapshot, _candidate: Candidate) -> bool | Judge:
    if _channel(snapshot) is not None:
        return False
    mute = snapshot.person.rhythm.mute
    return True if mute is NOTHING_MUTED or mute == NOTHING_MUTED else muted


def _channel(snapshot: Snapshot) -> str | None:
    """The silence of a device that none of the person's channels reaches; the app is always there."""
    channels = snapshot.person.rhythm.channels
    if "inapp" in channels or ("push" in channels and any(able != "inapp" for able in snapshot.device.lanes)):
        return None
    return "channel"


def quiet_hours(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    zone = snapshot.person.zone
    rules = snapshot.person.rhythm.quiet + snapshot.policy.quiet
    until_us = quiet_until(rules, snapshot.now_us, zone)
    detail: dict[str, Any] = {"zone": zone.key, "until": said_at(until_us)}
    if regions := [rule.holidays for rule in rules if rule.holidays is not None]:
        detail |= {"holidays": regions, "holidays_version": VERSION}
    return until_us is None, detail


def rhythm_max(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    rhythm = snapshot.person.rhythm
    return _room(snapshot, rhythm.max, rhythm.per, past_of(snapshot.uses).ordinary)


def rhythm_gap(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    on, until_us = _gap(snapshot)
    detail = {"min_gap_h": snapshot.person.rhythm.min_gap_h, "step": on, "until": said_at(until_us)}
    return until_us is None, detail


def _gap(snapshot: Snapshot) -> tuple[int, int | None]:
    """The person's step of back-off, and when the gap that it makes is over; None when it is."""
    past = past_of(snapshot.uses)
    on = step(past.told, snapshot.policy.back_off)
    gap_us = min(snapshot.person.rhythm.min_gap_us << on, LONGEST_GAP_US)
    return on, gap_until_us(past.instants, snapshot.now_us, gap_us)


def special(snapshot: Snapshot, candidate: Candidate) -> Verdict | None:
    """Whether the special budget has room for a special campaign; None for the others, and who allows none."""
    budget = snapshot.person.rhythm.special
    if not (candidate.campaign.special and budget.allow):
        return None
    drawn = [use.at_us for use in past_of(snapshot.uses).in_order if use.special]
    room, detail = _room(snapshot, budget.max, budget.per, drawn)
    return room, {"special": detail}


def draws_special(snapshot: Snapshot, campaign: Campaign) -> bool:
    """Whether an offer of this campaign, which has passed all gates, is one out of the special budget."""
    if not campaign.special:
        return False
    rhythm = snapshot.person.rhythm
    room, _ = _room(snapshot, rhythm.max, rhythm.per, past_of(snapshot.uses).ordinary)
    return not room


def _room(snapshot: Snapshot, most: int, per: Per, instants_us: Sequence[int]) -> Verdict:
    """Whether fewer than `most` of these instants, ascending, stand in the window of an offer made now."""
    rolling, used, until_us = isinstance(per, Rolling), 0, None
    if instants_us:
        counting = window(per, snapshot.now_us, snapshot.person.zone)
        first, after = bisect_left(instants_us, counting.start_us), bisect_left(instants_us, counting.end_us)
        used = after - first
        if 0 < most <= used:
            until_us = free_at_us(instants_us[first:after], most, counting, snapshot.now_us, rolling=rolling)
    said: Any = {"hours": per.hours} if isinstance(per, Rolling) else per
    return used < most, {"max": most, "per": said, "used": used, "until": said_at(until_us)}
