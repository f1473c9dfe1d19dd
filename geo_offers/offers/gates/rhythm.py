"""What the person allows: mutes, quiet hours, how many and how far apart."""

from geo_offers.offers.caps import free_at_us
from geo_offers.offers.gates.rule import Verdict, gap_until_us, said_at
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot
from geo_offers.people.quiet import quiet_until
from geo_offers.people.rhythm import Rolling, window


def muted(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    muted = candidate.campaign.id in snapshot.person.muted_campaigns
    return not muted, {"campaign": muted}


def quiet_hours(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    zone = snapshot.person.zone
    rules = snapshot.person.rhythm.quiet + snapshot.policy.quiet
    until_us = quiet_until(rules, snapshot.now_us, zone)
    return until_us is None, {"zone": zone.key, "until": said_at(until_us)}


def rhythm_max(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    rhythm, now_us = snapshot.person.rhythm, snapshot.now_us
    counting = window(rhythm.per, now_us, snapshot.person.zone)
    counted = counting.held(use.at_us for use in snapshot.uses)
    rolling = isinstance(rhythm.per, Rolling)
    per = {"hours": rhythm.per.hours} if isinstance(rhythm.per, Rolling) else rhythm.per
    until_us = None
    if 0 < rhythm.max <= len(counted):
        until_us = free_at_us(counted, rhythm.max, counting, now_us, rolling=rolling)
    detail = {"max": rhythm.max, "per": per, "used": len(counted), "until": said_at(until_us)}
    return len(counted) < rhythm.max, detail


def rhythm_gap(snapshot: Snapshot, _candidate: Candidate) -> Verdict:
    until_us = gap_until_us(snapshot.uses, snapshot.now_us, snapshot.person.rhythm.min_gap_us)
    return until_us is None, {"min_gap_h": snapshot.person.rhythm.min_gap_h, "until": said_at(until_us)}
