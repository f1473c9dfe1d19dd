"""What the gates answer to the candidates of one decision: what several of them share is asked once."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from geo_offers.offers.decisions import Gate, Reason
from geo_offers.offers.gates import GATES
from geo_offers.offers.gates.rule import Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

_ALL: Final = len(GATES)
_OF_PERSON: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "person"]
_OF_ARRIVAL: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "arrival"]
_OF_CANDIDATE: Final = [(place, rule.judge, rule.reason) for place, rule in enumerate(GATES) if rule.of == "candidate"]


class _Shared(msgspec.Struct, frozen=True):
    """Answers by the gate's place in the table, and the place of the first that fails, `_ALL` where none does."""

    verdicts: Mapping[int, Verdict]
    failing: int


class Answers:
    """The answers of one decision."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._personal: dict[int, Verdict] = {}
        self._shared: dict[tuple[int, bool], _Shared] = {}

    def agreed(self, candidate: Candidate) -> bool:
        """Ask the person's gates, once; False when a final one failed, and then nothing after it was read."""
        for place, rule in _OF_PERSON:
            verdict = self._personal[place] = rule.judge(self._snapshot, candidate)
            if rule.final and not verdict[0]:
                return False
        return True

    def personal(self) -> list[Gate]:
        """The person's gates as far as they were asked."""
        return [Gate(GATES[place].gate, passed, detail) for place, (passed, detail) in self._personal.items()]

    def first_failure(self, candidate: Candidate) -> Reason | None:
        """Why this candidate stays silent, and nothing more of it."""
        snapshot, failing = self._snapshot, self._known(candidate).failing
        for place, judge, reason in _OF_CANDIDATE:
            if place > failing:
                break
            if not judge(snapshot, candidate)[0]:
                return reason
        return None if failing == _ALL else GATES[failing].reason

    def gates(self, candidate: Candidate) -> list[Gate]:
        """All gates with their inputs, in the table's order."""
        snapshot, known = self._snapshot, self._known(candidate).verdicts
        told: list[Gate] = []
        for place, rule in enumerate(GATES):
            passed, detail = known[place] if place in known else rule.judge(snapshot, candidate)
            told.append(Gate(rule.gate, passed, detail if rule.tell is None else rule.tell(snapshot, candidate)))
        return told

    def _known(self, candidate: Candidate) -> _Shared:
        """What all candidates of an arrival share; the special ones may be excused from what holds for the others."""
        key = id(candidate.arrival), candidate.campaign.special
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = self._ask_shared(candidate)
        return shared

    def _ask_shared(self, candidate: Candidate) -> _Shared:
        verdicts = self._personal.copy()
        for place, rule in _OF_PERSON:
            if rule.excuse is not None and not verdicts[place][0]:
                verdicts[place] = _excused(verdicts[place], rule.excuse(self._snapshot, candidate))
        for place, rule in _OF_ARRIVAL:
            verdicts[place] = rule.judge(self._snapshot, candidate)
        return _Shared(verdicts, min([place for place, verdict in verdicts.items() if not verdict[0]], default=_ALL))


def _excused(verdict: Verdict, excuse: Verdict | None) -> Verdict:
    if excuse is None:
        return verdict
    detail: dict[str, Any] = {**verdict[1], **excuse[1]}
    return excuse[0], detail
