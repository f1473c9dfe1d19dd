"""What a gate is, and the words that gates share."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from geo_offers.instants import text
from geo_offers.offers.caps import Use, past_of
from geo_offers.offers.decisions import Reason
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Arrival, Snapshot

Verdict = tuple[bool, Mapping[str, Any]]
NO_DETAIL: Final[Mapping[str, Any]] = {}
Of = Literal["person", "arrival", "candidate"]


class Tell(Protocol):
    def __call__(self, snapshot: Snapshot, candidate: Candidate, *, passed: bool) -> Mapping[str, Any]:
        """Make the detail of a gate whose answer is known."""
        ...


@dataclass(frozen=True, slots=True)
class GateRule:
    """One row of the table: the gate's name, the silence that its failure means, and how it judges.

    of: what it looks at; what looks at no campaign is asked once for the person, or once for each arrival.
    excuse: whether a special campaign may pass though a gate of the person has failed, and what is to be added to its
    detail; None where there is no excuse. It looks at the person, and at whether the campaign is special.
    tell: the detail, where that costs more than the answer: of most candidates the answer alone is wanted.
    here: of a gate of the candidate, whether a campaign that asks nothing at it (`Standing.asks`) may fail at it; it
    looks at no campaign. None where it may not.
    """

    gate: str
    reason: Reason
    judge: Callable[[Snapshot, Candidate], Verdict]
    of: Of = "candidate"
    final: bool = False
    excuse: Callable[[Snapshot, Candidate], Verdict | None] | None = None
    tell: Tell | None = None
    here: Callable[[Snapshot, Arrival], bool] | None = None


def gap_until_us(uses: Sequence[Use], now_us: int, gap_us: int) -> int | None:
    """When the gap around the uses near now is over, None when none is near. Two-sided, see `people/rhythm.py`."""
    return gap_over_us(past_of(uses).instants, now_us, gap_us)


def gap_over_us(instants_us: Sequence[int], now_us: int, gap_us: int) -> int | None:
    """The same of instants that ascend."""
    after = bisect_left(instants_us, now_us + gap_us)
    return instants_us[after - 1] + gap_us if after and instants_us[after - 1] > now_us - gap_us else None


def said_at(instant_us: int | None) -> str | None:
    return None if instant_us is None else text(instant_us)
