"""An open-loop sender: pings go out on a schedule, and latency counts from the time a ping was due.

A server that stalls does not slow the schedule down, so its stall shows in every ping that was due meanwhile; a sender
that waits for answers would have left those out.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

import numpy as np

from geo_offers.places.earth import FloatArray

SPIN_S: Final = 0.002
"""Timers are good to a millisecond; the last stretch before a ping is due is spent asking the clock."""
AT_ONCE: Final = 32
"""A sender that is behind lets answers in after this many."""


class Outcome(IntEnum):
    WAITING = 0
    OK = 1
    SHED = 2
    """The server said that it has too much to do."""
    FAILED = 3


class Pace(Protocol):
    """A clock and how to wait by it."""

    def now(self) -> float: ...

    def wait(self, seconds: float) -> Awaitable[None]: ...


class WallPace:
    """The real one; the loop's timers, then asking again and again."""

    def now(self) -> float:
        return time.perf_counter()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds - SPIN_S))


def schedule(rate: float, seconds: float, seed: int) -> FloatArray:
    """When each ping is due, in seconds from the start: gaps are exponential, as those of strangers are."""
    gaps = np.random.default_rng([seed, 4]).exponential(1 / rate, math.ceil(rate * seconds * 1.2 + 50))
    due_s = np.cumsum(gaps)
    return due_s[due_s < seconds]


@dataclass(slots=True)
class Record:
    """What became of each ping, by its number in the schedule."""

    due_s: FloatArray
    pace: Pace
    outcomes: list[Outcome] = field(init=False)
    latency_s: list[float] = field(init=False)
    late_s: list[float] = field(init=False)
    """How long after it was due the sender sent it: the sender's own share of the latency."""
    transitions: int = 0
    sent: int = 0
    waiting: int = field(init=False)
    started: float = 0.0
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.outcomes = [Outcome.WAITING] * len(self.due_s)
        self.latency_s = [math.inf] * len(self.due_s)
        self.late_s = [0.0] * len(self.due_s)
        self.waiting = len(self.due_s)

    def settle(self, number: int, outcome: Outcome, transitions: int = 0) -> None:
        """The answer to a ping has come, or will not."""
        if self.outcomes[number] is not Outcome.WAITING:
            return
        self.ended = self.pace.now()
        self.outcomes[number] = outcome
        self.latency_s[number] = self.ended - self.started - float(self.due_s[number])
        self.transitions += transitions
        self.waiting -= 1

    def give_up(self) -> None:
        """Whatever has no answer by now has failed."""
        for number, outcome in enumerate(self.outcomes):
            if outcome is Outcome.WAITING:
                self.settle(number, Outcome.FAILED)

    def count(self, outcome: Outcome) -> int:
        return self.outcomes.count(outcome)

    def ok_latency_ms(self) -> list[float]:
        answered = zip(self.outcomes, self.latency_s, strict=True)
        return [latency * 1e3 for outcome, latency in answered if outcome is Outcome.OK]

    def p99_ms(self) -> float:
        """Over all that was due: what was shed or failed has no latency, so it counts as one without end."""
        taken = zip(self.outcomes, self.latency_s, strict=True)
        ranked = sorted(latency if outcome is Outcome.OK else math.inf for outcome, latency in taken)
        return ranked[math.ceil(0.99 * len(ranked)) - 1] * 1e3 if ranked else math.inf

    def rate(self) -> float:
        """Answered pings a second, from the start to the last answer."""
        return self.count(Outcome.OK) / max(self.ended - self.started, 1e-9)


async def send_on_schedule(record: Record, send: Callable[[int], None], most_open: float = math.inf) -> None:
    """Call `send` for each ping when it is due, never before; one after the other when behind.

    Ends early, with the rest unsent, once more than `most_open` pings are sent and not answered.
    """
    pace = record.pace
    record.started = pace.now()
    number, burst = 0, 0
    due_s: Sequence[float] = record.due_s.tolist()
    while number < len(due_s):
        early_s = due_s[number] - (pace.now() - record.started)
        if early_s > 0 or burst == AT_ONCE:
            burst = 0
            await pace.wait(max(early_s, 0.0))
            continue
        record.late_s[number] = -early_s
        send(number)
        number += 1
        record.sent = number
        if number - (len(due_s) - record.waiting) > most_open:
            return
        burst += 1


async def drain(record: Record, patience_s: float) -> None:
    """Wait for the last answers, that long at most."""
    until = record.pace.now() + patience_s
    while record.waiting and record.pace.now() < until:
        await record.pace.wait(0.005)
    record.give_up()


async def climb(
    holds: Callable[[float], Awaitable[bool]], first: float, *, doublings: int = 7, halvings: int = 2
) -> float:
    """The highest rate that holds, to a fifth: double (or halve) until between a good and a bad one, then go between.

    0 when none was found to hold. A rate that fails is tried once more before it counts: machines are shared.
    """

    async def tried(rate: float) -> bool:
        return await holds(rate) or await holds(rate)

    good, bad, rate = 0.0, math.inf, first
    for _ in range(doublings):
        if await tried(rate):
            good, rate = rate, rate * 2
            if rate >= bad:
                break
        elif good:
            bad = rate
            break
        else:
            bad, rate = rate, rate / 2
    for _ in range(halvings if good and bad < math.inf else 0):
        middle = math.sqrt(good * bad)
        if await tried(middle):
            good = middle
        else:
            bad = middle
    return good
