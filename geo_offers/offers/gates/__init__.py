"""The gates between an arrival and an offer, in the order in which they are asked.

A gate is a pure function of the snapshot and one candidate: whether the candidate passes, and the inputs it looked
at. Gates marked personal look at no candidate and are asked once a decision; what such a gate refuses to all, its
excuse may grant to one candidate: a special offer goes past the rhythm out of a budget of its own. A gate that is
`final` ends the asking when it fails: who has not agreed is not looked at further. Ranking and rendering come after
these and are `decide`'s.
"""

from typing import Final

from geo_offers.offers.decisions import Reason
from geo_offers.offers.gates import audience, budget, caps, context, gaps, moment, rhythm, standing, words
from geo_offers.offers.gates.rule import GateRule

__all__ = ["GATES", "GateRule"]

GATES: Final = (
    GateRule("kill_switch", Reason.KILL_SWITCH, standing.kill_switch, personal=True),
    GateRule("consent", Reason.NO_CONSENT, standing.consent, personal=True, final=True),
    GateRule("live", Reason.NOT_LIVE, standing.live),
    GateRule("schedule", Reason.SCHEDULE, moment.schedule),
    GateRule("opening_hours", Reason.SCHEDULE, context.opening_hours),
    GateRule("context", Reason.SCHEDULE, context.context),
    GateRule("embargo", Reason.SCHEDULE, context.embargo),
    GateRule("stale", Reason.STALE, standing.stale),
    GateRule("user_inside", Reason.USER_INSIDE, standing.user_inside),
    GateRule("audience", Reason.AUDIENCE, audience.audience),
    GateRule("words", Reason.AUDIENCE, words.words),
    GateRule("muted", Reason.MUTED, rhythm.muted),
    GateRule("quiet_hours", Reason.QUIET_HOURS, rhythm.quiet_hours, personal=True),
    GateRule("rhythm_max", Reason.RHYTHM_MAX, rhythm.rhythm_max, personal=True, excuse=rhythm.special),
    GateRule("rhythm_gap", Reason.RHYTHM_GAP, rhythm.rhythm_gap, personal=True, excuse=rhythm.special),
    GateRule("place_gap", Reason.PLACE_GAP, gaps.place_gap),
    GateRule("store_gap", Reason.STORE_GAP, gaps.store_gap),
    GateRule("cap", Reason.CAP, caps.cap),
    GateRule("budget", Reason.BUDGET, budget.budget),
)
