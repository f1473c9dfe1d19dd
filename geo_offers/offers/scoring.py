"""What a candidate is worth against the others of its priority: one number, from five terms of 0 to 1.

    score = value * V + margin * M + fit * F + expiry * E - fatigue * T

The lower-case factors are the workspace's `Weights`. The terms:

- V, value: v / (v + 10), where v is what its manager says an answered offer is worth;
- M, margin: the share of the price that is left, as its manager says;
- F, fit: how surely and how closely the person is at this fence: the transition's confidence / (1 + metres to the
  border / 50);
- E, expiry: 1 / (1 + days until the campaign ends), 0 where it has no end;
- T, fatigue: n / (n + 2), where n counts the person's offers of the last 32 days: each of the same campaign as one,
  each other of the same store as a half.

Scores are kept to six decimals: what differs less is a tie.
"""

from dataclasses import dataclass
from typing import Final

from geo_offers.offers.rounding import rounded
from geo_offers.people.wall import DAY_US

HALF_VALUE: Final = 10.0
HALF_NEAR_M: Final = 50.0
HALF_TIRED: Final = 2.0


@dataclass(frozen=True, slots=True)
class Worth:
    """What a campaign's manager says of it: value of an answered offer, in any currency; margin: a share, 0 to 1."""

    value: float = 0.0
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each term counts in a workspace."""

    value: float = 1.0
    margin: float = 1.0
    fit: float = 1.0
    expiry: float = 0.5
    fatigue: float = 1.0


NO_WORTH: Final = Worth()
EVEN: Final = Weights()


Terms = tuple[float, float, float, float, float]
"""Value, margin, fit, expiry and fatigue: plain, since every candidate has some and few are looked at again."""


def terms(worth: Worth, confidence: float, distance_m: float | None, left_us: int | None, told: float) -> Terms:
    """Make the terms of one candidate.

    distance_m: to the border, either side; None: unknown, which fits like far away. left_us: until the campaign ends.
    told: the person's offers of late, weighted as above.
    """
    return (
        worth.value / (worth.value + HALF_VALUE),
        worth.margin,
        0.0 if distance_m is None else confidence / (1 + abs(distance_m) / HALF_NEAR_M),
        0.0 if left_us is None else 1 / (1 + max(left_us, 0) / DAY_US),
        told / (told + HALF_TIRED),
    )


def score(by: Weights, of: Terms) -> float:
    value, margin, fit, expiry, fatigue = of
    return rounded(by.value * value + by.margin * margin + by.fit * fit + by.expiry * expiry - by.fatigue * fatigue, 6)


def told_terms(of: Terms) -> dict[str, float]:
    """As a receipt tells them."""
    value, margin, fit, expiry, fatigue = of
    return {
        "value": rounded(value, 3),
        "margin": rounded(margin, 3),
        "fit": rounded(fit, 3),
        "expiry": rounded(expiry, 3),
        "fatigue": rounded(fatigue, 3),
    }
