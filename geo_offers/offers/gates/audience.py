"""Whether the campaign is for this person."""

from typing import Any

from geo_offers.offers.gates.rule import NO_DETAIL, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot
from geo_offers.people.segments import Moment


def audience(snapshot: Snapshot, candidate: Candidate) -> Verdict:
    """Ask the campaign's clauses; without the `profile` consent only those that need no profile.

    The detail names the clause that failed and the person's stage, never another value.
    """
    wanted, person = candidate.campaign.audience, snapshot.person
    if not wanted.clauses:
        return True, NO_DETAIL
    facts = person.facts
    if wanted.personal and not facts.profiled:
        return False, {"profile": False}
    detail: dict[str, Any] = {"stage": facts.stage, "why": facts.reason} if facts.profiled else {}
    failing = wanted.failing(Moment(facts, person.locale, snapshot.now_us, candidate.wanted.store))
    if failing is not None:
        detail["failed"] = failing.part
        if failing.of:
            detail["segment"] = failing.of
    return failing is None, detail
