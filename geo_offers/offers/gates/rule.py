"""What a gate is, and the words that gates share."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
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
    """One row of the table: the gate's name, the silence that its failure means, and how it judges."""

    gate: str
    reason: Reason
    judge: Callable[[Snapshot, Candidate], Verdict]
    personal: bool = False
    final: bool = False

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
