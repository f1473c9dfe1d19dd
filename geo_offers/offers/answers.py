"""What the gates answer to the candidates of one decision: what several of them share is asked once."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from geo_offers.offers.decisions import Gate, Reason
from geo_offers.offers.gates import GATES
from geo_offers.offers.gates.rule import GateRule, Judge, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

_ALL: Final = len(GATES)
_OF_PERSON: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "person"]
_OF_ARRIVAL: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "arrival"]
_OF_CANDIDATE: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "candidate"]
_PLAIN: Final = {
    place: Gate(rule.gate, passed=True, detail=rule.plain) for place, rule in _OF_CANDIDATE if rule.plain is not None
}
"""Gates of a candidate that passes them as all of its kind do, where they tell nothing else of it."""


class _Shared(msgspec.Struct, frozen=True):
    """The gates that all candidates of an arrival share, by their place in the table, and the first that failed."""

    gates: dict[int, Gate]
    failing: int


class _Kin(msgspec.Struct, frozen=True):
    """What the candidates of one kind share at an arrival.

    asked: what each of them is asked by itself; reason: why it is silent where it passes that; passed: places of the
    gates that all of them pass.
    """

    asked: Sequence[tuple[Judge, Reason]]
    reason: Reason | None
    passed: Sequence[int]


class Answers:
    """The answers of one decision."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._personal: dict[int, Gate] = {}
        self._shared: dict[tuple[int, bool], _Shared] = {}
        self._kin: dict[tuple[int, int], _Kin] = {}

    def agreed(self, candidate: Candidate) -> bool:
        """Ask the person's gates, once; False when a final one failed, and then nothing after it was read."""
        for place, rule in _OF_PERSON:
            passed, detail = rule.judge(self._snapshot, candidate)
            self._personal[place] = Gate(rule.gate, passed, detail)
            if rule.final and not passed:
                return False
        return True

    def personal(self) -> list[Gate]:
        """The person's gates as far as they were asked."""
        return list(self._personal.values())

    def refusal(self) -> Reason:
        """Why a person who has not agreed hears nothing: the first of their gates that failed."""
        return next(GATES[place].reason for place, gate in self._personal.items() if not gate.passed)

    def first_failure(self, candidate: Candidate) -> Reason | None:
        """Why this candidate stays silent, and nothing more of it."""
        kin = self._kin.get((id(candidate.arrival), id(candidate.kind))) or self._ask_kin(candidate)
        for judge, reason in kin.asked:
            if not judge(self._snapshot, candidate)[0]:
                return reason
        return kin.reason

    def gates(self, candidate: Candidate, *, passing: bool = False) -> list[Gate]:
        """All gates with their inputs, in the table's order. passing: it is known that none of them fails."""
        kin = self._kin.get((id(candidate.arrival), id(candidate.kind))) or self._ask_kin(candidate)
        told = self._of_arrival(candidate).gates.copy()
        for place, rule in _OF_CANDIDATE:
            passed = place in kin.passed
            told[place] = (
                _PLAIN[place] if passed and place in _PLAIN else self._told(rule, candidate, passing or passed)
            )
        return [told[place] for place in range(_ALL)]

    def _told(self, rule: GateRule, candidate: Candidate, passing: bool) -> Gate:
        if rule.tell is None:
            return Gate(rule.gate, *rule.judge(self._snapshot, candidate))
        passed = passing or rule.judge(self._snapshot, candidate)[0]
        return Gate(rule.gate, passed, rule.tell(self._snapshot, candidate, passed=passed))

    def _ask_kin(self, candidate: Candidate) -> _Kin:
        """Ask what its kind answers up to the first gate that none of it passes."""
        failing, asks = self._of_arrival(candidate).failing, candidate.kind.asks
        reason = None if failing == _ALL else GATES[failing].reason
        asked: list[tuple[Judge, Reason]] = []
        passed: list[int] = []
        for place, rule in _OF_CANDIDATE:
            if place > failing:
                break
            if rule.alike is not None:
                answer = rule.alike(self._snapshot, candidate)
            else:
                answer = rule.judge if rule.gate in asks else True
            if answer is True:
                passed.append(place)
            elif answer is False:
                reason = rule.reason
                break
            else:
                asked.append((answer, rule.reason))
        kin = self._kin[id(candidate.arrival), id(candidate.kind)] = _Kin(asked, reason, passed)
        return kin

    def _of_arrival(self, candidate: Candidate) -> _Shared:
        """What all candidates of an arrival share; the special ones may be excused from what holds for the others."""
        key = id(candidate.arrival), candidate.kind.special
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = self._ask_arrival(candidate)
        return shared

    def _ask_arrival(self, candidate: Candidate) -> _Shared:
        snapshot, gates, failing = self._snapshot, self._personal.copy(), _ALL
        for place, rule in _OF_PERSON:
            gate = gates[place]
            if rule.excuse is not None and not gate.passed:
                gate = gates[place] = _excused(gate, rule.excuse(snapshot, candidate))
            if place < failing and not gate.passed:
                failing = place
        for place, rule in _OF_ARRIVAL:
            passed, detail = rule.judge(snapshot, candidate)
            gates[place] = Gate(rule.gate, passed, detail)
            if place < failing and not passed:
                failing = place
        return _Shared(gates, failing)


def _excused(gate: Gate, excuse: Verdict | None) -> Gate:
    if excuse is None:
        return gate
    detail: dict[str, Any] = {**gate.detail, **excuse[1]}
    return Gate(gate.gate, excuse[0], detail)
