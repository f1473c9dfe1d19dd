"""How long to wait before the same request goes out again, and when to stop.

Waits double from `first_s` to `longest_s` and are drawn evenly from the upper half of that, so that phones which lost
the same server do not return at the same instant. A server that names a time (`Retry-After`) is never asked earlier.
"""

import asyncio
import math
import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from geo_offers import instants
from geo_offers.clock import now_us

AGAIN_STATUS = frozenset({429, 502, 503, 504})  # nothing was applied, or the request may be sent again all the same

_JITTER = random.Random()  # noqa: S311 - spreads load; nothing secret comes of it


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of trying again: tries in all, and seconds of waiting in all."""

    attempts: int = 8
    first_s: float = 0.2
    longest_s: float = 10.0
    total_s: float = 60.0


class Backoff:
    """The waits of one request, or of one stream's connection."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tries = 1
        self._waited_s = 0.0

    def reset(self) -> None:
        self._tries = 1
        self._waited_s = 0.0

    def next_wait_s(self, retry_after_s: float | None = None) -> float | None:
        """Seconds to wait before the next try, None when patience is spent."""
        patience = self._patience
        if self._tries >= patience.attempts:
            return None
        ceiling_s = min(patience.longest_s, patience.first_s * 2.0 ** min(self._tries - 1, 30))
        if retry_after_s is None:
            wait_s = ceiling_s * _JITTER.uniform(0.5, 1.0)
        else:
            wait_s = retry_after_s + min(ceiling_s, 0.1 + retry_after_s) * _JITTER.uniform(0.0, 0.5)
        if self._waited_s + wait_s > patience.total_s:
            return None
        self._tries += 1
        self._waited_s += wait_s
        return wait_s

    async def again(self, retry_after_s: float | None = None) -> bool:
        """Wait for the next try; False, at once, when patience is spent."""
        wait_s = self.next_wait_s(retry_after_s)
        if wait_s is None:
            return False
        await asyncio.sleep(wait_s)
        return True


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header in either form (seconds, HTTP date); None where it is absent or unreadable."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        return _until(header)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(date: str) -> float | None:
    try:
        return max((instants.to_us(parsedate_to_datetime(date)) - now_us()) / 1e6, 0.0)
    except (ValueError, TypeError):
        return None
