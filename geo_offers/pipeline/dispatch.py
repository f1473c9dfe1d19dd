"""The dispatcher: one runner a lane, each in a task of its own, and the calls by which the service reaches them."""

import asyncio
import random
from collections.abc import Callable, Iterable
from uuid import UUID

from geo_offers.pipeline.lanes import Lane
from geo_offers.pipeline.outbox import Observer, Outbox
from geo_offers.pipeline.runner import LaneRunner


class Dispatcher:
    """All lanes of this installation. Made once by the composition root; `wake` is what a commit calls."""

    def __init__(
        self,
        outbox: Outbox,
        lanes: Iterable[Lane],
        observer: Observer,
        *,
        lease_s: float = 10.0,
        sweep_s: float = 1.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        lanes = tuple(lanes)
        self._outbox = outbox
        self._observer = observer
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

    def start(self) -> None:
        """Start one named task a lane. They end only by `stop`; one that ends otherwise is a fault of the service."""
        self.tasks = tuple(
            asyncio.create_task(runner.run(), name=f"dispatch-{name}") for name, runner in self._runners.items()
        )

    async def stop(self, within_s: float = 8.0) -> None:
        """Claim no more, wait for the sends under way, record, give back the unsent; `within_s` + 2 s at most."""
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

    def wake(self, lane: str | None = None) -> None:
        """Look at once: something may be due on the lane, or on any of them. Costs nothing; never blocks."""
        for name, runner in self._runners.items():
            if lane is None or lane == name:
                runner.wake()

    def ring(self, workspace: UUID, device: UUID) -> None:
        """Serve a device that has a stream now: what waits for it is sent, what it may have missed is sent again."""
        for runner in self._repeating:
            runner.ring(workspace, device)

    async def shown(self, workspace: UUID, offer: UUID, device: UUID) -> bool:
        """Record that the device shows this offer; false when it is not this device's. Repeats are fine."""
        told = await self._outbox.shown(workspace, offer, device)
        if told == "news":
            self._observer.counted("inapp", "shown")
            self._observer.delivered(workspace, offer, "inapp", "shown")
        return told != "unknown"
