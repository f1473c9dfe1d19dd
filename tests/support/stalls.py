"""How long the machine kept this process from running, so that a bound in seconds judges the product alone."""

import threading
import time
from types import TracebackType
from typing import Self

BEAT_S = 0.01
LATE_S = 0.05  # less is the interpreter's lock changing hands


class Stalls:
    """A thread that does nothing but sleep, and how much too long in all: `seconds` since it was entered.

    A loop that works or waits without letting others in lets this thread run: that is no stall.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="stalls", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, raised: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        before = time.monotonic()
        while not self._over.wait(BEAT_S):
            now = time.monotonic()
            late_s, before = now - before - BEAT_S, now
            if late_s > LATE_S:
                self.seconds += late_s
