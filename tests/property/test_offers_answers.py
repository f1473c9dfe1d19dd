"""Answers that candidates share, against every gate asked of each candidate alone, whatever the campaigns ask for."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.offers import ranking
from geo_offers.offers.answers import Answers
from geo_offers.offers.breakers import NONE_TRIPPED
from geo_offers.offers.campaigns import Campaigns
from geo_offers.offers.caps import CapRule, Scope
from geo_offers.offers.context import ALWAYS, ORDINARY
from geo_offers.offers.gates import GATES
from geo_offers.offers.snapshot import Snapshot
from geo_offers.offers.stores import NO_RULES
from geo_offers.offers.texts import Field
from geo_offers.people.audience import EVERYBODY
from tests.property.test_offers_keeping import AGREED, FIELDS, snapshots
from tests.support.replacing import replace

NAME = Field("name", "text", source="profile", attribute="first")
NOTHING: dict[str, Any] = {
    "until_us": None,
    "caps": (),
    "fields": (),
    "budget": None,
    "hours": (),
    "when": ALWAYS,
    "audience": EVERYBODY,
}
ASKED = {
    "fields": tuple(NAME if one.name == "name" else one for one in FIELDS),
    "caps": (CapRule(1, 4, "week", scope=Scope.USER),),
}
REASONS = {rule.gate: rule.reason for rule in GATES}


@st.composite
def mixed(draw: st.DrawFn) -> Snapshot:
    """People who agreed, and have no quiet hours and no rhythm to speak of: so that it is for the campaigns to fail."""
    snapshot = draw(snapshots())
    easy = replace(snapshot.person.rhythm, max=1_000, min_gap_h=0.0, quiet=())
    asking = []
    for campaign in snapshot.campaigns:
        kept = draw(st.sets(st.sampled_from(sorted(NOTHING)), max_size=1))
        asked = draw(st.sets(st.sampled_from(sorted(ASKED)), max_size=1))
        plain = {name: nothing for name, nothing in NOTHING.items() if name not in kept}
        asking.append(replace(campaign, **plain | {name: ASKED[name] for name in asked}))
    return replace(
        snapshot,
        campaigns=Campaigns(asking),
        arrivals=tuple(replace(arrival, moment=ORDINARY, rules=NO_RULES) for arrival in snapshot.arrivals),
        others_inside=frozenset(),
        person=replace(snapshot.person, consents=AGREED, rhythm=replace(easy, mute=snapshot.person.rhythm.mute)),
        policy=replace(
            snapshot.policy,
            place_gap_s=0,
            store_gap_s=0,
            quiet=(),
            tripped=draw(st.sampled_from([NONE_TRIPPED, snapshot.policy.tripped])),
            paused_stores=draw(st.sampled_from([frozenset[str](), frozenset({"s0"})])),
        ),
    )


@given(snapshots() | mixed())
@settings(max_examples=150, deadline=None)
def test_each_candidate_fails_first_where_all_gates_asked_of_it_alone_tell(snapshot: Snapshot) -> None:
    answers, candidates = Answers(snapshot), ranking.shortlisted(snapshot, ranking.found(snapshot))
    if not candidates or not answers.agreed(candidates[0]):
        return
    for candidate in candidates:
        alone = Answers(snapshot)
        assert alone.agreed(candidate)
        gates = alone.gates(candidate)
        failed = [REASONS[gate.gate] for gate in gates if not gate.passed]
        assert answers.first_failure(candidate) == (failed[0] if failed else None)
        if not failed:
            assert answers.gates(candidate, passing=True) == gates
