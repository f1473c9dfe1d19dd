"""Token buckets: how often a device may ask."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

CALLS_BURST: Final = 60.0
CALLS_PER_S: Final = 10.0


@dataclass(slots=True)
class Bucket:
    """`rate_per_s` tokens flow in, up to `burst`; a request takes one. filled_us: when one was last taken."""

    rate_per_s: float
    burst: float
    filled_us: int
    tokens: float = -1.0

    def take(self, now_us: int) -> bool:
        """Takes a token; False where there is none."""
        have = self.burst if self.tokens < 0 else self.tokens
        have = min(self.burst, have + max(0, now_us - self.filled_us) / 1e6 * self.rate_per_s)
        if have < 1.0:
            self.filled_us = min(self.filled_us, now_us)  # the clock may have been set back
            return False
        self.filled_us, self.tokens = now_us, have - 1.0
        return True


@dataclass(slots=True)
class Buckets:
    """A bucket for each device that asked lately; the `most` last ones are kept, and a forgotten one is full again."""

    rate_per_s: float
    burst: float
    most: int = 10_000
    _of: OrderedDict[UUID, Bucket] = field(default_factory=OrderedDict)

    def take(self, device: UUID, now_us: int) -> bool:
        bucket = self._of.setdefault(device, Bucket(self.rate_per_s, self.burst, now_us))
        self._of.move_to_end(device)
        if len(self._of) > self.most:
            self._of.popitem(last=False)
        return bucket.take(now_us)


def call_rates() -> Buckets:
    """What bounds a device's calls: 60 at once, then 10 a second."""
    return Buckets(CALLS_PER_S, CALLS_BURST)
