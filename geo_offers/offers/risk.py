"""What a campaign could do wrong, in points, and how many people other than its author have to agree to it.

A campaign of text alone that an owner hands in is risk 0 and runs at once. Anything else is weighed by the table
below: each fact that holds adds its points and says so. No point needs nobody, fewer than `TWO_FROM` need one approver,
more need two. The points are judgements, not measurements: what reaches far, costs much or cannot be taken back should
be seen by a second and a third person.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TWO_FROM: Final = 5
WIDE_REACH: Final = 1_000  # fences
NEW_AUTHOR_DAYS: Final = 30
DEEP_DISCOUNT: Final = 30.0  # per cent
HIGH_LIABILITY: Final = 10_000.0  # in the workspace's currency


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a campaign when it is handed in.

    reach: fences that it speaks at, counted up to a bound above `WIDE_REACH`. overlaps: other campaigns that may speak
    at the same fences. liability: the most that it may cost, None where that is not stated. author_days: how long the
    key that hands it in has been there.
    """

    by_owner: bool
    special: bool = False
    news: bool = False
    sensitive_place: bool = False
    sensitive_date: bool = False
    discount_percent: float = 0.0
    liability: float | None = None
    reach: int = 0
    overlaps: int = 0
    author_days: float = 0.0

    @property
    def text_alone(self) -> bool:
        promises = self.discount_percent > 0 or bool(self.liability)
        return not (promises or self.special or self.news or self.sensitive_place or self.sensitive_date)


@dataclass(frozen=True, slots=True)
class Assessment:
    """score: the points together. reasons: a sentence for each fact that gave some."""

    score: int
    reasons: tuple[str, ...]

    @property
    def approvers(self) -> int:
        return 0 if self.score == 0 else 1 if self.score < TWO_FROM else 2


@dataclass(frozen=True, slots=True)
class _Rule:
    points: int
    holds: Callable[[Facts], bool]
    sentence: str


_RULES: Final = (
    _Rule(5, lambda facts: facts.news, "It follows breaking news."),
    _Rule(5, lambda facts: facts.sensitive_place, "It speaks at a sensitive place."),
    _Rule(2, lambda facts: facts.sensitive_date, "It runs on a day that the workspace keeps free of offers."),
    _Rule(2, lambda facts: facts.special, "It may go past people's rhythm as a special offer."),
    _Rule(3, lambda facts: facts.discount_percent >= DEEP_DISCOUNT, f"It gives {DEEP_DISCOUNT:.0f} % off or more."),
    _Rule(1, lambda facts: 0 < facts.discount_percent < DEEP_DISCOUNT, "It gives a discount."),
    _Rule(3, lambda facts: (facts.liability or 0) >= HIGH_LIABILITY, f"It may cost {HIGH_LIABILITY:,.0f} or more."),
    _Rule(1, lambda facts: 0 < (facts.liability or 0) < HIGH_LIABILITY, "It may cost money."),
    _Rule(
        2,
        lambda facts: facts.discount_percent > 0 and facts.liability is None,
        "It gives a discount and does not say what that may cost at most.",
    ),
    _Rule(1, lambda facts: facts.reach >= WIDE_REACH, f"It speaks at {WIDE_REACH:,} geofences or more."),
    _Rule(1, lambda facts: facts.overlaps > 0, "Other campaigns speak at the same geofences."),
    _Rule(
        1, lambda facts: facts.author_days < NEW_AUTHOR_DAYS, f"Its author's key is newer than {NEW_AUTHOR_DAYS} days."
    ),
    _Rule(1, lambda facts: not facts.by_owner, "It was handed in by a key whose role is not owner."),
)


def assess(facts: Facts) -> Assessment:
    """Weigh a campaign."""
    if facts.by_owner and facts.text_alone:
        return Assessment(0, ())
    held = [rule for rule in _RULES if rule.holds(facts)]
    return Assessment(sum(rule.points for rule in held), tuple(rule.sentence for rule in held))
