"""Token buckets: how often a device may ask."""

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """`rate_per_s` tokens flow in, up to `burst`; a request takes one."""

    rate_per_s: float
    burst: float
    filled_us: int
    tokens: float = -1.0

    def take(self, now_us: int) -> bool:
        """Takes a token; False where there is none."""
        have = self.burst if self.tokens < 0 else self.tokens
        have = min(self.burst, have + max(0, now_us - self.filled_us) / 1e6 * self.rate_per_s)
        self.filled_us = now_us
        granted = have >= 1.0
        self.tokens = have - 1.0 if granted else have
        return granted
