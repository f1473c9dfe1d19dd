"""What goes on around an arrival: the store is open, the campaign's events are on, and no embargo is."""

from typing import Final

from geo_offers.offers.context import UNKNOWN, State, purchase_until_us
from geo_offers.offers.gates.rule import PASSED, Judge, Verdict, said_at
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

_HOURS_UNTOLD: Final[Verdict] = True, {"open": None}


def opening_hours(_snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Pass where the store is open, or has told no hours."""
    opening = candidate.arrival.moment.opening
    if opening is None:
        return _HOURS_UNTOLD
    return opening.open, {"open": opening.open, "until": said_at(opening.until_us)}


def context(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Pass where all events that the campaign waits for are on, none that it keeps out of, and nothing was bought."""
    campaign, events = candidate.campaign, candidate.arrival.moment.events
    interactions = snapshot.person.interactions
    bought_us = purchase_until_us(interactions, campaign.id, snapshot.now_us) if interactions else None
    if bought_us is not None:
        return False, {"why": "purchased", "until": said_at(bought_us)}
    for name in campaign.when.events:
        state = events.get(name, UNKNOWN)
        if not state.on:
            return _not(name, state, state.why)
    for name in campaign.when.unless:
        state = events.get(name, UNKNOWN)
        if state.on is not False:
            return _not(name, state, state.why or "on")
    return True, {"events": len(campaign.when.events)}


def context_alike(snapshot: Snapshot, candidate: Candidate) -> bool | Judge:
    return context if "context" in candidate.kind.asks or snapshot.person.interactions else True


def _not(name: str, state: State, why: str | None) -> Verdict:
    return False, {"event": name, "why": why, "until": said_at(state.until_us)}


def embargo(_snapshot: Snapshot, candidate: Candidate) -> Verdict:
    state = candidate.arrival.moment.embargo
    return (False, {"on": state.why, "until": said_at(state.until_us)}) if state.on else PASSED
