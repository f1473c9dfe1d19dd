"""How fast one scope of a lane may be used: a token bucket, the pause that its gateway asked for, and a breaker.

A scope is what shares one quota and one set of credentials: an FCM project, an APNs team, a push service's origin, the
operator's own gateway. One scope in trouble holds no other.

The breaker opens after `TRIPS_AFTER` sends in a row that came to nothing (no answer, 5xx, no connection), or at once
where the credentials were refused. While it is open nothing is sent; then one send tries, and its outcome closes the
breaker or opens it for twice as long, a minute at most. What is held keeps its attempts. What waits for a pause to end
comes back spread out, and what is over the rate comes back as the rate has room: a turn each, in the order of asking.

A gateway that says of more than `MOST_DEATHS` tokens and of more than a fifth of all sends in a minute that they are
dead is broken or hostile: from there on it is not believed, no token is buried on its word, and the breaker opens.
"""

from collections import deque
from math import inf
from typing import Final

from geo_offers.pipeline.lanes import Ambiguous, AuthBroken, Later, NotSent, Outcome, TokenDead, Transient, unasked
from geo_offers.pipeline.rates import Bucket

TRIPS_AFTER: Final = 10
OPEN_S: Final = (2.0, 60.0)
TRIAL_S: Final = 1.0  # how long others wait while one send tries
MOST_DEATHS: Final = 20
DEATHS_SHARE: Final = 0.2  # of all sends of the last minute
DOUBTED: Final = "deaths_doubted"
_MINUTE_S: Final = 60
SPREAD_S: Final = 5.0  # over which what waited for the end of a pause comes back, at most
LONGEST_TURN_S: Final = 60.0  # what is over the rate for longer asks again
_BURST_S: Final = 0.2  # of the rate: what may leave at once


class Deaths:
    """Of how many tokens it was said in the last minute, to the second, that they are dead; times as of `Throttle`."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # second, sends, deaths
        self._sends = 0
        self._deaths = 0

    def doubtful(self, now_s: float, *, dead: bool) -> bool:
        """Count a send; say whether its death is one too many to be believed."""
        self._forget(now_s)
        if not self._seconds or self._seconds[-1][0] != int(now_s):
            self._seconds.append([int(now_s), 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += dead
        self._sends += 1
        self._deaths += dead
        return dead and self._deaths > max(MOST_DEATHS, DEATHS_SHARE * self._sends)

    @property
    def any(self) -> bool:
        """Whether one was said, as of the last send."""
        return self._deaths > 0

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] <= now_s - _MINUTE_S:
            _, sends, deaths = self._seconds.popleft()
            self._sends -= sends
            self._deaths -= deaths


class Throttle:
    """The state of one scope; times are seconds of one steady clock."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._bucket = None if rate_per_s == inf else Bucket(rate_per_s, max(rate_per_s * _BURST_S, 1.0), 0)
        self._not_before = 0.0
        self._booked_until = 0.0
        self._failed = 0
        self._opened = 0
        self._trying = False
        self._deaths = Deaths()

    @property
    def open(self) -> bool:
        """Whether the breaker is open, or one send is trying to close it."""
        return self._opened > 0

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost by forgetting it, but for what is left in the bucket."""
        return not self._opened and not self._failed and not self._not_before and not self._deaths.any

    def hold_s(self, now_s: float, jitter: float) -> float:
        """Seconds until it is worth asking again; 0 where a send may begin now, which it then must.

        `jitter` is a random number from 0 to 1.
        """
        if now_s < self._not_before:
            return _spread(self._not_before - now_s, jitter)
        if self._opened:
            if self._trying:
                return _spread(TRIAL_S, jitter)
            self._trying = True
            return 0.0
        if self._bucket is not None and not self._bucket.take(round(now_s * 1e6)):
            self._booked_until = min(max(self._booked_until, now_s) + 1.0 / self._rate_per_s, now_s + LONGEST_TURN_S)
            return self._booked_until - now_s
        return 0.0

    def believed(self, outcome: Outcome, now_s: float) -> Outcome:
        """The outcome, once for each send; of a death too many, that this gateway cannot be relied on."""
        if not unasked(outcome) and self._deaths.doubtful(now_s, dead=isinstance(outcome, TokenDead)):
            return AuthBroken(DOUBTED)
        return outcome

    def heard(self, outcome: Outcome, now_s: float, jitter: float) -> None:
        """Learn from what a send came to. `jitter` is a random number from 0 to 1."""
        if unasked(outcome):
            self._trying = False
            return
        match outcome:
            case Later(after_s, whole_lane):
                self._trying = False
                if whole_lane:
                    self._not_before = max(self._not_before, now_s + after_s)
            case AuthBroken():
                self._open(now_s, jitter)
            case Transient() | Ambiguous() | NotSent():
                self._failed += 1
                if self._trying or self._failed >= TRIPS_AFTER:
                    self._open(now_s, jitter)
            case _:
                self._failed = self._opened = 0
                self._trying = False
                self._not_before = 0.0 if self._not_before <= now_s else self._not_before

    def _open(self, now_s: float, jitter: float) -> None:
        """Open, or stay open: of many sends that were under way together the first one counts."""
        if self._trying or now_s >= self._not_before:
            self._opened += 1
            lasts_s = min(OPEN_S[0] * 2.0 ** (self._opened - 1), OPEN_S[1]) * (0.75 + jitter / 2)
            self._not_before = max(self._not_before, now_s + lasts_s)
        self._trying = False
        self._failed = 0


def _spread(rest_s: float, jitter: float) -> float:
    return rest_s + jitter * min(rest_s, SPREAD_S)
