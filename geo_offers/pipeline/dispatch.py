"""The dispatcher: one runner a lane, each in a task of its own, and the calls by which the service reaches them."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable
from uuid import UUID

from geo_offers.errors import Unavailable
from geo_offers.pipeline.lanes import Lane
from geo_offers.pipeline.outbox import Observer, Outbox
from geo_offers.pipeline.runner import LaneRunner
from geo_offers.pipeline.settlement import FALLBACK_LANE


class Dispatcher:
    """All lanes of this installation. Made once by the composition root; `wake` is what a commit calls."""

    def __init__(
        self,
        outbox: Outbox,
        lanes: Iterable[Lane],
        observer: Observer,
        *,
        lease_s: float = 10.0,
        sweep_s: float = 0.6,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        lanes = tuple(lanes)
        self._outbox = outbox
        self._observer = observer
        self._lease_s = lease_s
        self._runners = {
            lane.name: LaneRunner(
                lane,
                outbox,
                observer,
                lease_s=lease_s,
                sweep_s=sweep_s,
                jitter=jitter,
                wake_lane=self.wake,
            )
            for lane in lanes
        }
        self._repeating = [self._runners[lane.name] for lane in lanes if lane.repeats]
        self.tasks: tuple[asyncio.Task[None], ...] = ()
        self._adopting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start one named task a lane, which ends by `stop` only, and one that adopts what lanes of old have left."""
        running = {f"dispatch-{name}": runner.run() for name, runner in self._runners.items()}
        self._adopting = asyncio.create_task(self._adopt(), name="dispatch-adopt")
        self.tasks = (*(asyncio.create_task(work, name=name) for name, work in running.items()), self._adopting)

    async def stop(self, within_s: float = 8.0) -> None:
        """Claim no more, wait for the sends under way, record, give back the unsent; `within_s` + 2 s at most."""
        if self._adopting is not None:
            self._adopting.cancel()
        for runner in self._runners.values():
            runner.stop()
        late = set(self.tasks)
        if late:
            _, late = await asyncio.wait(late, timeout=within_s)
        for runner in self._runners.values():
            runner.cut()
        if late:
            _, late = await asyncio.wait(late, timeout=2)
        for task in late:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _adopt(self) -> None:
        """Give the app what waits on lanes that are configured no more: what is leased there, when its lease ends."""
        done = FALLBACK_LANE not in self._runners
        while not done:
            with contextlib.suppress(Unavailable):
                done = await self._outbox.adopt(self._runners.keys(), FALLBACK_LANE)
                self.wake(FALLBACK_LANE)
            if not done:
                await asyncio.sleep(self._lease_s)

    def wake(self, lane: str | None = None) -> None:
        """Look at once: something may be due on the lane, or on any of them. Costs nothing; never blocks."""
        for name, runner in self._runners.items():
            if lane is None or lane == name:
                runner.wake()

    def ring(self, workspace: UUID, device: UUID) -> None:
        """Serve a device that has a stream now: what waits for it is sent, what it may have missed is sent again."""
        for runner in self._repeating:
            runner.ring(workspace, device)

    async def recall(self, workspace: UUID, *, campaign: UUID | None = None, store: str | None = None) -> None:
        """Look at once at what a switch has silenced, whenever its next try is due: the look ends it."""
        await self._outbox.recall([workspace], campaign=campaign, store=store)
        self.wake()

    async def shown(self, workspace: UUID, offer: UUID, device: UUID) -> bool:
        """Record that the device shows this offer; false when it may not say so. Repeats are fine."""
        told = await self._outbox.shown(workspace, offer, device)
        if told == "news":
            self.was_shown(workspace, offer)
        return told != "unknown"

    def was_shown(self, workspace: UUID, offer: UUID) -> None:
        """Count and tell, once, that an offer was seen, which is recorded already."""
        self._observer.counted("inapp", "shown")
        self._observer.delivered(workspace, offer, "inapp", "shown")

    def was_answered(self, workspace: UUID, offer: UUID, answer: str) -> None:
        """Tell, once, what the person did with an offer that they have seen, which is recorded already."""
        self._observer.under_way(workspace, offer, "inapp", answer)
