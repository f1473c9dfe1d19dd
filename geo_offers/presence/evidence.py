"""What a fix says about being inside a fence: a two-state forward filter, in log-odds.

For each fence near a device the filter keeps one number, L = ln(p / (1 - p)), p the probability that the phone is
inside given all its fixes so far. It is the forward recursion of a hidden Markov model with the states inside and
outside (L. R. Rabiner, A Tutorial on Hidden Markov Models, Proc. IEEE 77, 1989, section III.A):

- Predict. People come and go: over the time since the last fix p relaxes towards the share of time spent inside.
- Weigh. A fix adds its log-likelihood ratio. The reported accuracy is the radius that holds 68 % of the errors
  (Android; iOS says much the same), so the error along one axis is accuracy / 1.51 (the 68 % radius of two equal
  normal axes, sqrt(-2 ln 0.32)). Its distribution is taken as logistic, whose tails are heavier.
  Inside, the phone is anywhere across the fence's breadth; outside, anywhere within `OUTSIDE_M` beyond its border.
- Doubt. With a small probability a fix means nothing, however accurate it says it is. That floor bounds what any one
  fix can say: a fix 200 m off which claims 1.7 m moves nothing by itself.
- Discount. The errors of fixes close in time are alike (drift lasts 20 to 60 s), so that five fixes within 25 s are
  about one piece of evidence: a fix weighs 1 - exp(-dt / 25 s).

The decision looks at the newest fix a little harder than what is remembered of it (`LEAST_WEIGHT`). The numbers are
tuned on synthetic people whose true paths are known and judged on others: docs/detection.md.
"""

from math import exp, log, sqrt
from typing import Final

PRIOR: Final = log(0.1 / 0.9)
"""At a fence before anything was heard: one phone in ten is inside of what it is near."""
LOWEST: Final = -3.0
HIGHEST: Final = 6.0
"""Log-odds are kept within these, so that a few fixes can always turn them."""
INSIDE_S: Final = 2_400.0
OUTSIDE_S: Final = 1_800.0
"""How long people stay inside, and away, in the mean."""
AXIS: Final = 1.51
LEAST_SCALE_M: Final = 3.0
"""No phone is better than this in a street, whatever it says."""
LOGISTIC: Final = 1.7
"""A logistic distribution of scale s / 1.7 is nearest to a normal one of deviation s."""
OUTSIDE_M: Final = 100.0
BROAD_M: Final = 120.0
NARROW_M: Final = 25.0
"""In a fence broader than this, people are no more thinly spread; in one narrower than that, no more densely."""
DOUBT: Final = 0.05
DOUBT_STRAY: Final = 0.9
DOUBT_M: Final = 400.0
"""A fix that means nothing may be anywhere within so many metres."""
ALIKE_S: Final = 25.0
LEAST_WEIGHT: Final = 0.4
REACH: Final = 3.5
BREADTH: Final = 0.4
BREADTH_M: Final = 80.0


def scale_m(accuracy_m: float) -> float:
    """Standard deviation of the error along one axis, metres, of a fix with this reported accuracy."""
    axis_m = accuracy_m / AXIS
    return sqrt(axis_m * axis_m + LEAST_SCALE_M * LEAST_SCALE_M)


def reach_m(scale: float) -> float:
    """Farther outside than this from the border, a fix speaks against a fence so clearly that nothing is left to weigh.

    From `LOWEST`, however long the pause before it, such a fix leads back to `LOWEST`: fences about which nothing is
    known need not be looked at.
    """
    return REACH * scale


def predict(log_odds: float, waited_s: float) -> float:
    """The log-odds after so much time without a fix."""
    inside = 1.0 / (1.0 + exp(-log_odds))
    share = INSIDE_S / (INSIDE_S + OUTSIDE_S)
    inside += (share - inside) * (1.0 - exp(-waited_s * (1.0 / INSIDE_S + 1.0 / OUTSIDE_S)))
    return log(inside / (1.0 - inside))


def weight(waited_s: float) -> float:
    """How much of a fix is news when the last one was so long ago, 0 to 1."""
    return 1.0 - exp(-waited_s / ALIKE_S)


def likelihood(away_m: float, breadth_m: float, scale: float, doubt: float, outside_m: float = OUTSIDE_M) -> float:
    """Log-likelihood ratio, inside over outside, of a fix at this signed distance from a fence's border.

    away_m: metres, negative inside. breadth_m: of the fence. scale: of the fix. doubt: that it means nothing.
    outside_m: over how much breadth people outside are spread where the fix is.
    """
    outside = beyond(away_m / scale)
    inside = beyond((away_m + breadth_m) / scale) - outside
    spread_m = min(BROAD_M, max(NARROW_M, breadth_m))
    floor = doubt / DOUBT_M
    return log(((1.0 - doubt) * inside / spread_m + floor) / ((1.0 - doubt) * outside / outside_m + floor))


def far(doubt: float) -> float:
    """`likelihood` of a fix that is nowhere near the fence."""
    floor = doubt / DOUBT_M
    return log(floor / ((1.0 - doubt) / OUTSIDE_M + floor))


def bounded(log_odds: float) -> float:
    return min(HIGHEST, max(LOWEST, log_odds))


def breadth_term(breadth_m: float) -> float:
    """What a fence asks for beyond the common threshold: a broad one holds passers-by for longer."""
    return BREADTH * log(max(NARROW_M, breadth_m) / BREADTH_M)


def probability(log_odds: float) -> float:
    return 1.0 / (1.0 + exp(-log_odds))


def beyond(z: float) -> float:
    """How likely an error is less than `z` deviations, of a logistic distribution; exactly 0 and 1 far out."""
    if z < -40.0:
        return 0.0
    return 1.0 if z > 40.0 else 1.0 / (1.0 + exp(-LOGISTIC * z))
