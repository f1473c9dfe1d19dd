"""What a gate is, and the words that gates share."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from geo_offers.instants import text
from geo_offers.offers.caps import Use, past_of
from geo_offers.offers.decisions import Reason
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

Verdict = tuple[bool, dict[str, Any]]
Of = Literal["person", "arrival", "candidate"]


@dataclass(frozen=True, slots=True)
class GateRule:
    """One row of the table: the gate's name, the silence that its failure means, and how it judges.

    of: what it looks at; what looks at no campaign is asked once for the person, or once for each arrival.
    excuse: whether a special campaign may pass though a gate of the person has failed, and what is to be added to its
    detail; None where there is no excuse. It looks at the person, and at whether the campaign is special.
    tell: the detail, where that costs more than the answer: of most candidates the answer alone is wanted.
    """

    gate: str
    reason: Reason
    judge: Callable[[Snapshot, Candidate], Verdict]
    of: Of = "candidate"
    final: bool = False
    excuse: Callable[[Snapshot, Candidate], Verdict | None] | None = None
    tell: Callable[[Snapshot, Candidate], dict[str, Any]] | None = None


def gap_until_us(uses: Sequence[Use], now_us: int, gap_us: int) -> int | None:
    """When the gap around the uses near now is over, None when none is near. Two-sided, see `people/rhythm.py`."""
    return gap_over_us(past_of(uses).instants, now_us, gap_us)


def gap_over_us(instants_us: Sequence[int], now_us: int, gap_us: int) -> int | None:
    """The same of instants that ascend."""
    after = bisect_left(instants_us, now_us + gap_us)
    return instants_us[after - 1] + gap_us if after and instants_us[after - 1] > now_us - gap_us else None


def said_at(instant_us: int | None) -> str | None:
    return None if instant_us is None else text(instant_us)
