"""The gates between an arrival and an offer, in the order in which they are asked.

A gate is a pure function of the snapshot and one candidate: whether the candidate passes, and the inputs it looked
at. Gates of the person look at no candidate and are asked once a decision, those of the arrival once for each; what a
gate of the person refuses to all, its excuse may grant to special campaigns, out of a budget of their own. One that is
`final` ends the asking when it fails: who has not agreed is not looked at further. Ranking and rendering come after
these and are `decide`'s.
"""

from typing import Final

from geo_offers.offers.decisions import Reason
from geo_offers.offers.gates import audience, budget, caps, context, gaps, moment, rhythm, standing, words
from geo_offers.offers.gates.rule import GateRule

__all__ = ["GATES", "GateRule"]

GATES: Final = (
    GateRule("kill_switch", Reason.KILL_SWITCH, standing.kill_switch, of="person"),
    GateRule("consent", Reason.NO_CONSENT, standing.consent, of="person", final=True),
    GateRule("live", Reason.NOT_LIVE, standing.live, tell=standing.told_live, alike=standing.live_alike),
    GateRule("schedule", Reason.SCHEDULE, moment.schedule, tell=moment.told_schedule),
    GateRule("opening_hours", Reason.SCHEDULE, context.opening_hours, of="arrival"),
    GateRule("context", Reason.SCHEDULE, context.context, alike=context.context_alike, plain={"events": 0}),
    GateRule("embargo", Reason.SCHEDULE, context.embargo, of="arrival"),
    GateRule("stale", Reason.STALE, standing.stale, of="arrival"),
    GateRule("user_inside", Reason.USER_INSIDE, standing.user_inside, of="arrival"),
    GateRule("audience", Reason.AUDIENCE, audience.audience, plain={}),
    GateRule("words", Reason.AUDIENCE, words.words, plain={}),
    GateRule("muted", Reason.MUTED, rhythm.muted, alike=rhythm.muted_alike, plain={"by": None}),
    GateRule("quiet_hours", Reason.QUIET_HOURS, rhythm.quiet_hours, of="person"),
    GateRule("rhythm_max", Reason.RHYTHM_MAX, rhythm.rhythm_max, of="person", excuse=rhythm.special),
    GateRule("rhythm_gap", Reason.RHYTHM_GAP, rhythm.rhythm_gap, of="person"),
    GateRule("place_gap", Reason.PLACE_GAP, gaps.place_gap, of="arrival"),
    GateRule("store_gap", Reason.STORE_GAP, gaps.store_gap, of="arrival"),
    GateRule("cap", Reason.CAP, caps.cap, tell=caps.told_cap, alike=caps.cap_alike),
    GateRule("budget", Reason.BUDGET, budget.budget, alike=budget.budget_alike, plain={}),
)
