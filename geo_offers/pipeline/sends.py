"""What one lane has under way: the slots, which scope holds them, what bounds each scope, and what a send comes to.

A send ends in an outcome whatever its lane does: one that raises or is cut off may have been shown. Where nothing is
tried, because its scope's share of the slots is taken, the scope is slowed down, or the loop was held up past its time
to start, it comes to seconds to be held for.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from geo_offers import clock
from geo_offers.pipeline.lanes import Ambiguous, Lane, Outcome, TokenDead
from geo_offers.pipeline.outbox import Observer, Ready
from geo_offers.pipeline.shares import Shares
from geo_offers.pipeline.throttle import DOUBTED, Throttle

MOST_SCOPES: Final = 10_000
_LOG = structlog.stdlib.get_logger("geo_offers.dispatch")


class Sends:
    """The sends of one lane; made within a running loop, whose times are meant throughout."""

    def __init__(
        self,
        lane: Lane,
        observer: Observer,
        *,
        jitter: Callable[[], float],
        ended: Callable[[Ready, Outcome | float], None],
    ) -> None:
        """`ended` is called once for each send that was begun, with what it came to."""
        self._lane = lane
        self._observer = observer
        self._jitter = jitter
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[asyncio.Task[Outcome | float], tuple[Ready, str | None, asyncio.TimerHandle]] = {}
        self._throttles: dict[str, Throttle] = {}
        self._shares = Shares(lane.concurrency, alone=lane.name)
        self._name = f"send-{lane.name}"
        self._cut = "no answer within the lease"

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def any_stranded(self) -> bool:
        """Whether one is under way that was under way when its process ended."""
        return any(ready.claim.stranded for ready, _, _ in self._under_way.values())

    @property
    def breakers(self) -> int:
        """How many scopes are held altogether."""
        return sum(throttle.open for throttle in self._throttles.values())

    def worth_claiming(self, slots: int) -> int:
        """How many rows to claim for so many slots: their scopes' shares may be taken."""
        return self._shares.worth_claiming(slots, self._loop.time())

    def begin(self, ready: Ready, *, start_by: float, until: float) -> float:
        """Send, so that nothing leaves after `start_by`; what has no answer `until` then is cut off.

        Seconds instead of 0: it was not begun, and is to be held for so long.
        """
        scope = self._lane.scope(ready.message)
        if scope is not None and (hold_s := self._shares.take(scope, self._loop.time())) > 0:
            return hold_s * (0.75 + self._jitter() / 2)
        task = self._loop.create_task(self._send(ready, scope, start_by), name=self._name)
        self._under_way[task] = ready, scope, self._loop.call_at(until, task.cancel)
        task.add_done_callback(self._over)
        return 0.0

    def cut(self) -> None:
        """Give up on what is under way: it counts as unanswered."""
        self._cut = "cut off at the stop"
        for task in self._under_way:
            task.cancel()

    def _over(self, task: "asyncio.Task[Outcome | float]") -> None:
        ready, scope, too_late = self._under_way.pop(task)
        if scope is not None:
            self._shares.give_back(scope, self._loop.time())
        too_late.cancel()
        self._ended(ready, Ambiguous(self._cut) if task.cancelled() else task.result())

    async def _send(self, ready: Ready, scope: str | None, start_by: float) -> Outcome | float:
        if self._loop.time() >= start_by:
            return 0.0
        throttle = None if scope is None else self._throttle(scope)
        if throttle is not None and (hold_s := throttle.hold_s(self._loop.time(), self._jitter())) > 0:
            return hold_s
        self._observer.under_way(ready.claim.workspace, ready.claim.offer, self._lane.name, "sending")
        outcome: Outcome = Ambiguous("cut off")
        began_us = clock.now_us()
        try:
            outcome = await self._lane.send(ready.message, start_by)
            if isinstance(outcome, TokenDead) and outcome.at_us is None:  # what is registered from here on is another
                outcome = replace(outcome, at_us=began_us)
        except Exception:  # noqa: BLE001  a lane's fault is its message's alone; a byte may have left
            _LOG.exception("lane_raised", lane=self._lane.name, offer=str(ready.claim.offer))
            outcome = Ambiguous("the lane raised")
        finally:
            if throttle is not None:
                outcome = self._believed(throttle, outcome)
                throttle.heard(outcome, self._loop.time(), self._jitter())
        return outcome

    def _throttle(self, scope: str) -> Throttle:
        """Find what bounds this scope. Of too many scopes those that bound nothing are forgotten."""
        throttle = self._throttles.get(scope)
        if throttle is None:
            if len(self._throttles) >= MOST_SCOPES:
                self._throttles = {name: one for name, one in self._throttles.items() if not one.idle}
            if len(self._throttles) >= MOST_SCOPES:
                del self._throttles[next(iter(self._throttles))]
            throttle = self._throttles[scope] = Throttle(self._lane.rate_per_s)
        return throttle

    def _believed(self, throttle: Throttle, outcome: Outcome) -> Outcome:
        """What is taken for true of an outcome; that a gateway is doubted is counted, for somebody to look."""
        believed = throttle.believed(outcome, self._loop.time())
        if believed is not outcome:
            self._observer.counted(self._lane.name, DOUBTED)
        return believed
