"""What a gate is, and the words that gates share."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geo_offers.instants import text
from geo_offers.offers.caps import Use, past_of
from geo_offers.offers.decisions import Gate, Reason
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

Verdict = tuple[bool, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class GateRule:
    """One row of the table: the gate's name, the silence that its failure means, and how it judges.

    excuse: whether a candidate may pass though a personal gate has failed, and what is to be added to its detail;
    None for a candidate that has no excuse.
    """

    gate: str
    reason: Reason
    judge: Callable[[Snapshot, Candidate], Verdict]
    personal: bool = False
    final: bool = False
    excuse: Callable[[Snapshot, Candidate], Verdict | None] | None = None

    def known(self, personal: Mapping[str, Gate], snapshot: Snapshot, candidate: Candidate) -> Gate | None:
        """What was answered once for all candidates, as it holds for this one; None where each is asked itself."""
        answer = personal.get(self.gate)
        if answer is None or answer.passed or self.excuse is None:
            return answer
        excused = self.excuse(snapshot, candidate)
        return answer if excused is None else Gate(self.gate, excused[0], {**answer.detail, **excused[1]})

    def ask(self, snapshot: Snapshot, candidate: Candidate) -> Gate:
        passed, detail = self.judge(snapshot, candidate)
        return Gate(self.gate, passed, detail)


def gap_until_us(uses: Sequence[Use], now_us: int, gap_us: int) -> int | None:
    """When the gap around the uses near now is over, None when none is near. Two-sided, see `people/rhythm.py`."""
    return gap_over_us(past_of(uses).instants, now_us, gap_us)


def gap_over_us(instants_us: Sequence[int], now_us: int, gap_us: int) -> int | None:
    """The same of instants that ascend."""
    after = bisect_left(instants_us, now_us + gap_us)
    return instants_us[after - 1] + gap_us if after and instants_us[after - 1] > now_us - gap_us else None


def said_at(instant_us: int | None) -> str | None:
    return None if instant_us is None else text(instant_us)
