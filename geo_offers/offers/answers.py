"""What the gates answer to the candidates of one decision: what several of them share is asked once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from geo_offers.offers.decisions import Gate, Reason
from geo_offers.offers.gates import GATES
from geo_offers.offers.gates.rule import GateRule, Verdict
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

_ALL: Final = len(GATES)
_TABLE: Final = [(place, rule.gate, rule.judge, rule.tell) for place, rule in enumerate(GATES)]
_OF_PERSON: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "person"]
_OF_ARRIVAL: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "arrival"]
_OF_CANDIDATE: Final = [(place, rule) for place, rule in enumerate(GATES) if rule.of == "candidate"]
_Asked = tuple[Sequence[tuple[Callable[[Snapshot, Candidate], Verdict], Reason]], Reason | None]
"""Gates at which a candidate may fail, and why it is silent where it passes them."""


class _Shared(msgspec.Struct, frozen=True):
    """Answers by the gate's place in the table, and why none of the candidates is heard, if one of those failed.

    own: the candidates' own gates before that one; whether any campaign may fail there, or only who asks for something.
    """

    verdicts: Mapping[int, Verdict]
    reason: Reason | None
    own: Sequence[tuple[GateRule, bool]]


class Answers:
    """The answers of one decision."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._personal: dict[int, Verdict] = {}
        self._shared: dict[tuple[int, bool], _Shared] = {}
        self._asked: dict[tuple[int, bool, frozenset[str]], _Asked] = {}

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

    def refusal(self) -> Reason:
        """Why a person who has not agreed hears nothing: the first of their gates that failed."""
        return next(GATES[place].reason for place, (passed, _) in self._personal.items() if not passed)

    def first_failure(self, candidate: Candidate) -> Reason | None:
        """Why this candidate stays silent, and nothing more of it."""
        key = id(candidate.arrival), candidate.campaign.special, candidate.asks
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = self._asked_of(candidate)
        snapshot = self._snapshot
        for judge, reason in asked[0]:
            if not judge(snapshot, candidate)[0]:
                return reason
        return asked[1]

    def _asked_of(self, candidate: Candidate) -> _Asked:
        shared, asks = self._known(candidate), candidate.asks
        return [
            (rule.judge, rule.reason) for rule, any_may in shared.own if any_may or rule.gate in asks
        ], shared.reason

    def gates(self, candidate: Candidate, *, passing: bool = False) -> list[Gate]:
        """All gates with their inputs, in the table's order. passing: it is known that none of them fails."""
        snapshot, known = self._snapshot, self._known(candidate).verdicts
        told: list[Gate] = []
        for place, gate, judge, tell in _TABLE:
            if place in known:
                passed, detail = known[place]
            elif tell is None:
                passed, detail = judge(snapshot, candidate)
            else:
                passed = passing or judge(snapshot, candidate)[0]
                detail = tell(snapshot, candidate, passed=passed)
            told.append(Gate(gate, passed, detail))
        return told

    def _known(self, candidate: Candidate) -> _Shared:
        """What all candidates of an arrival share; the special ones may be excused from what holds for the others."""
        key = id(candidate.arrival), candidate.campaign.special
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = self._ask_shared(candidate)
        return shared

    def _ask_shared(self, candidate: Candidate) -> _Shared:
        snapshot, arrival, verdicts = self._snapshot, candidate.arrival, self._personal.copy()
        for place, rule in _OF_PERSON:
            if rule.excuse is not None and not verdicts[place][0]:
                verdicts[place] = _excused(verdicts[place], rule.excuse(snapshot, candidate))
        for place, rule in _OF_ARRIVAL:
            verdicts[place] = rule.judge(snapshot, candidate)
        failing = min([place for place, verdict in verdicts.items() if not verdict[0]], default=_ALL)
        return _Shared(
            verdicts,
            reason=None if failing == _ALL else GATES[failing].reason,
            own=[
                (rule, rule.here is not None and rule.here(snapshot, arrival))
                for place, rule in _OF_CANDIDATE
                if place < failing
            ],
        )


def _excused(verdict: Verdict, excuse: Verdict | None) -> Verdict:
    if excuse is None:
        return verdict
    detail: dict[str, Any] = {**verdict[1], **excuse[1]}
    return excuse[0], detail
