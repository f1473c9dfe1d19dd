"""What a gate is, and the words that gates share."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from geo_offers.instants import text
from geo_offers.offers.decisions import Reason
from geo_offers.offers.ranking import Candidate
from geo_offers.offers.snapshot import Snapshot

Verdict = tuple[bool, Mapping[str, Any]]
Judge = Callable[[Snapshot, Candidate], Verdict]
NO_DETAIL: Final[Mapping[str, Any]] = {}
PASSED: Final[Verdict] = True, NO_DETAIL
FAILED: Final[Verdict] = False, NO_DETAIL
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
    alike: of a gate of the candidate, its answer to all campaigns of one `campaigns.Kind` at one arrival, of which it
    looks at nothing else: they pass, they fail, or what each of them is asked. None: they pass where they ask nothing.
    plain: the detail where they pass alike.
    """

    gate: str
    reason: Reason
    judge: Judge
    of: Of = "candidate"
    final: bool = False
    excuse: Callable[[Snapshot, Candidate], Verdict | None] | None = None
    tell: Tell | None = None
    alike: Callable[[Snapshot, Candidate], bool | Judge] | None = None
    plain: Mapping[str, Any] | None = None


def gap_until_us(instants_us: Sequence[int], now_us: int, gap_us: int) -> int | None:
    """When the gap around these instants, ascending, is over; None when none is near. Two-sided: `people/rhythm.py`."""
    after = bisect_left(instants_us, now_us + gap_us)
    return instants_us[after - 1] + gap_us if after and instants_us[after - 1] > now_us - gap_us else None


def said_at(instant_us: int | None) -> str | None:
    return None if instant_us is None else text(instant_us)
