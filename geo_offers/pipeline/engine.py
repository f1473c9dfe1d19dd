"""The partition owner's engine: natural batching of pings into turns, and the queue of each user.

A turn takes whatever has queued since the last one: at most one part (one request's points of one phone) a user.
Points that make no transition touch memory only and are answered at once. Parts with transitions go to a commit of up
to 128 users; until it is through, that user's later parts wait in the user's queue while other users' turns go on.
Presence is installed after the commit only; where the commit fails the user's devices are forgotten and loaded again
with the next ping, and the request is answered 503.

Consent, rhythm and erasure calls hold a user through the same queue (`exclusive`), so that no install overtakes a wipe.
Whether a person may be located is asked when a part is queued and again when its turn comes.

A part ends early where it has made many transitions; what is left of it is the user's next part, so that a phone which
hops in and out of fences takes turns with everybody else.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from traceback import format_tb
from typing import Final, Protocol
from uuid import UUID

import structlog

from geo_offers import clock
from geo_offers.errors import Forbidden, GeoOffersError, NotFound, TooManyRequests, Unavailable
from geo_offers.pipeline.advice import advise
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.ports import DeviceStore, KnownDevice
from geo_offers.pipeline.rates import Bucket
from geo_offers.pipeline.requests import Part, Point, Request, Result, Seen
from geo_offers.pipeline.stepping import step_parts
from geo_offers.places.regions import Next, Outlook, look
from geo_offers.presence.fixes import Fix, check

TURN_USERS: Final = 128  # more gains nothing and holds locks longer (turns of 500 keep a withdrawal waiting 5 x longer)
TURN_PARTS: Final = 512
COMMITS: Final = 3
HOG_S: Final = 0.005  # so long may a turn keep the sockets waiting
IDLE_US: Final = 3_600 * 1_000_000
SILENT_US: Final = 22 * IDLE_US  # before the stale-visit close ends the visits of a phone that fell silent

_FORBIDDEN: Final = {
    "consent_required": "this person has not agreed to be located; ask for the purpose `locate` first",
    "age": "this person may not be located: their age is not given as adult",
}

_log = structlog.get_logger()


class Turn(Protocol):
    """Decides and commits parts of distinct users; answers with the users whose rows are gone (erased meanwhile)."""

    def __call__(self, parts: Sequence[Part]) -> Awaitable[Collection[UUID]]: ...


@dataclass(frozen=True, slots=True)
class Limits:
    queued_points: int = 100_000
    devices: int = 1_000_000
    rate_per_s: float = 1.0
    burst: float = 20.0


@dataclass(slots=True, eq=False)
class _Hold:
    """A place in a user's queue that is kept for a consent, rhythm or erasure call."""

    granted: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class _Tracked:
    device: KnownDevice
    heard_us: int
    bucket: Bucket | None = None
    outlook: Outlook | None = None


@dataclass(slots=True, eq=False)
class _Load:
    """A read of devices that is under way, with the users forgotten since it began: what it finds of them is old."""

    forgotten: set[UUID] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Queue:
    work: deque[Part | _Hold] = field(default_factory=deque)
    busy: bool = False


def _unlocatable(device: KnownDevice) -> str | None:
    """Why the device's person may not be located, or None."""
    if not device.locate:
        return "consent_required"
    return None if device.of_age else "age"


async def answered(request: Request) -> None:
    """Waits until every point is answered. Who stops waiting leaves the request as it is: its points stay counted."""
    await asyncio.shield(request.done)


class Engine:
    """See the module. One instance owns all partitions of this process."""

    def __init__(
        self,
        catalog: Catalog,
        store: DeviceStore,
        turn: Turn,
        figures: Figures,
        *,
        limits: Limits = Limits(),
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._commit_turn = turn
        self._figures = figures
        self._limits = limits
        self._now_us = now_us
        self._tracked: dict[UUID, _Tracked] = {}
        self._of_user: dict[UUID, set[UUID]] = {}
        self._queues: dict[UUID, _Queue] = {}
        self._ready: deque[UUID] = deque()
        self._wake = asyncio.Event()
        self._due: deque[Part] = deque()
        self._commits: set[asyncio.Task[None]] = set()
        self._reloads: set[asyncio.Task[None]] = set()
        self._queued = 0
        self._loads: set[_Load] = set()

    # ------------------------------------------------------------------------------------------ requests
    async def submit(self, workspace: UUID, points: Sequence[Point], *, caller: UUID | None) -> Request:
        """Queues the points in the order of the calls; `done` of the request resolves when each is answered.

        What a point caused is committed by then.

        caller: the device whose token sent them, or None for a server key. Raises TooManyRequests for a device over
        its rate, Forbidden for one that may not be located, Unavailable where the queue is full; `done` raises
        Unavailable where points could not be taken now: what of them was applied answers duplicate or late next time.
        """
        if self._queued + len(points) > self._limits.queued_points:
            raise Unavailable("too many pings are waiting; send the same request again", 1.0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = Request(workspace, self._now_us(), [None] * len(points), done)
        self._queued += len(points)  # from here on: those whose devices are being loaded wait as well
        done.add_done_callback(lambda _: self._answered(request))
        try:
            await self._know(workspace, {point.device for point in points})
            parts = self._sort_out(request, points, caller)
        except BaseException:
            done.cancel()
            raise
        self._figures.received(workspace, len(points))
        if not parts:
            done.set_result(None)
        for part in parts:
            self._push(part.user, part)
        return request

    def _answered(self, request: Request) -> None:
        self._queued -= len(request.results)
        for status, count in Counter(result.status for result in request.results if result is not None).items():
            self._figures.points.labels(status).inc(count)

    async def take(self, workspace: UUID, points: Sequence[Point], *, caller: UUID | None) -> Request:
        """`submit`, and wait until every point is answered."""
        request = await self.submit(workspace, points, caller=caller)
        await answered(request)
        return request

    async def known_or_gone(self, workspace: UUID, device: UUID) -> KnownDevice | None:
        """As `known`, None where there is no such device."""
        tracked = self._tracked.get(device)
        if tracked is None:
            await self._know(workspace, {device})
            tracked = self._tracked.get(device)
        return tracked.device if tracked is not None and tracked.device.workspace == workspace else None

    def advise(self, device: UUID, fix: Fix) -> Next | None:
        """What the phone may do until its next ping; what was found around it before serves while it holds."""
        tracked = self._tracked.get(device)
        if tracked is None:
            return None
        index, outlook = self._catalog.index(tracked.device.workspace), tracked.outlook
        if outlook is None or not outlook.holds(index, fix.lat, fix.lon):
            outlook = tracked.outlook = look(index, fix.lat, fix.lon)
        return advise(index, tracked.device, fix, outlook)

    def _device_of(self, device: UUID) -> KnownDevice:
        return self._tracked[device].device

    async def known(self, workspace: UUID, device: UUID) -> KnownDevice:
        """The device as the owner knows it, loaded if need be; NotFound where there is none."""
        found = await self.known_or_gone(workspace, device)
        if found is None:
            raise NotFound("no such device")
        return found

    def _sort_out(self, request: Request, points: Sequence[Point], caller: UUID | None) -> list[Part]:
        """Refuses what is refused for good, and gathers the rest by device: who arrives is who gets the offer."""
        parts: dict[UUID, Part] = {}
        rated: dict[UUID, bool] = {}
        for number, point in enumerate(points):
            tracked = self._tracked.get(point.device)
            reason = self._refusal(request, point, tracked, caller, rated)
            if reason is not None or tracked is None:
                request.results[number] = Result("refused", reason or "unknown_device")
                continue
            device = tracked.device
            part = parts.get(device.id)
            if part is None:
                part = parts[device.id] = Part(request, device.user, device.partition, [])
            part.points.append((number, point))
        request.parts = len(parts)
        return list(parts.values())

    def _refusal(
        self, request: Request, point: Point, tracked: _Tracked | None, caller: UUID | None, rated: dict[UUID, bool]
    ) -> str | None:
        if tracked is None or tracked.device.workspace != request.workspace:
            return "unknown_device"
        device = tracked.device
        reason = _unlocatable(device)
        if reason is not None:
            if caller is not None:
                raise Forbidden(_FORBIDDEN[reason], reason)
            return reason
        if point.device not in rated:
            rated[point.device] = device.replay or self._within_rate(tracked, request.received_us)
        if not rated[point.device]:
            if caller is not None:
                raise TooManyRequests("one request a second is enough", 1.0 / self._limits.rate_per_s)
            return "rate"
        tracked.heard_us = request.received_us
        lat, lon = (0.0, 0.0) if point.region is not None else (point.lat, point.lon)
        if lat is None or lon is None:
            return "out_of_range"
        return check(point.at_us, lat, lon, now_us=request.received_us, replay=device.replay)

    def _within_rate(self, tracked: _Tracked, now_us: int) -> bool:
        if tracked.bucket is None:
            tracked.bucket = Bucket(self._limits.rate_per_s, self._limits.burst, now_us)
        return tracked.bucket.take(now_us)

    # ------------------------------------------------------------------------------------------ what the owner knows
    async def _know(self, workspace: UUID, devices: Collection[UUID]) -> None:
        """Loads the devices that are not in memory. A user forgotten meanwhile (consent, erasure) is loaded again."""
        strangers: set[UUID] = set()
        while missing := [device for device in devices if device not in self._tracked and device not in strangers]:
            if len(self._tracked) + len(missing) > self._limits.devices:
                self.forget_idle()
                if len(self._tracked) + len(missing) > self._limits.devices:
                    raise Unavailable("too many devices are live here", 5.0)
            load = _Load()
            self._loads.add(load)
            try:
                found = await self._store.load(workspace, missing)
            finally:
                self._loads.discard(load)
            strangers.update(set(missing) - {device.id for device in found})
            self._install(device for device in found if device.user not in load.forgotten)

    def _install(self, devices: Iterable[KnownDevice]) -> None:
        now_us = self._now_us()
        for device in devices:
            if device.id not in self._tracked:
                self._tracked[device.id] = _Tracked(device, now_us)
                self._of_user.setdefault(device.user, set()).add(device.id)

    def _forget(self, user: UUID) -> None:
        for load in self._loads:
            load.forgotten.add(user)
        for device in self._of_user.pop(user, ()):
            del self._tracked[device]

    def forget_idle(self) -> None:
        """Drops devices not heard of for an hour; those inside a fence for most of a day."""
        now_us = self._now_us()
        for user in [user for user in self._of_user if user not in self._queues]:
            devices = self._of_user[user]
            for device in [device for device in devices if self._is_idle(self._tracked[device], now_us)]:
                del self._tracked[device]
                devices.remove(device)
            if not devices:
                del self._of_user[user]

    def _is_idle(self, tracked: _Tracked, now_us: int) -> bool:
        return tracked.heard_us < now_us - (SILENT_US if tracked.device.state.inside else IDLE_US)

    def heard(self) -> dict[UUID, int]:
        """When each device that is inside something was last heard of, for the stale-visit close."""
        return {d: tracked.heard_us for d, tracked in self._tracked.items() if tracked.device.state.inside}

    # ------------------------------------------------------------------------------------------ queues
    def _push(self, user: UUID, work: Part | _Hold) -> None:
        queue = self._queues.setdefault(user, _Queue())
        queue.work.append(work)
        if not queue.busy and len(queue.work) == 1:
            self._ready.append(user)
            self._wake.set()

    def _release(self, user: UUID) -> None:
        queue = self._queues[user]
        queue.busy = False
        if queue.work:
            self._ready.append(user)
            self._wake.set()
        else:
            del self._queues[user]

    @asynccontextmanager
    async def exclusive(self, user: UUID) -> AsyncIterator[None]:
        """Holds one user: no turn of theirs runs inside, and their devices are loaded anew after it."""
        hold = _Hold(asyncio.get_running_loop().create_future())
        self._push(user, hold)
        try:
            await hold.granted
        except BaseException:
            if hold.granted.done() and not hold.granted.cancelled():
                self._release(user)
            raise
        try:
            yield
        finally:
            self._forget(user)
            self._release(user)

    async def run(self) -> None:
        """Takes turns until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready:
                await self._take_turn()
                await asyncio.sleep(0)  # lets the sockets in: what they bring makes the next turn larger

    async def _take_turn(self) -> None:
        parts: list[Part] = []
        while self._ready and len(parts) < TURN_PARTS:
            user = self._ready.popleft()
            queue = self._queues[user]
            work = queue.work.popleft()
            queue.busy = True
            if isinstance(work, Part):
                if self._may_step(work):
                    parts.append(work)
            elif work.granted.cancelled():
                self._release(user)
            else:
                work.granted.set_result(None)
        if parts:
            await self._step(parts)
            self._launch()

    def _may_step(self, part: Part) -> bool:
        """Asks again what may have changed while the part waited: its devices may be forgotten, its person withdrawn.

        A part whose devices were forgotten goes round again, to be loaded first.
        """
        devices = {point.device for _, point in part.points}
        if not devices <= self._tracked.keys():
            task = asyncio.create_task(self._reload(part, devices), name="reload")
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)
            return False
        reasons = {device: _unlocatable(self._tracked[device].device) for device in devices}
        part.refuse({device: reason for device, reason in reasons.items() if reason is not None})
        if not part.points:
            part.request.part_done()
            self._release(part.user)
        return bool(part.points)

    async def _reload(self, part: Part, devices: Collection[UUID]) -> None:
        """Loads the part's devices anew and puts it back where it was, first in its user's queue."""
        try:
            await self._know(part.request.workspace, devices)
        except Exception as error:  # noqa: BLE001 - whatever failed, the request must be answered
            self._fail(part, error)
            return
        part.refuse({device: "unknown_device" for device in devices if device not in self._tracked})
        self._queues[part.user].work.appendleft(part)
        self._release(part.user)

    async def _step(self, parts: Sequence[Part]) -> None:
        """Steps the parts; those without a transition are answered at once, the others are due for a commit."""
        taken_us, since = self._now_us(), perf_counter()
        for part in parts:
            part.taken_us = taken_us
        for part, error in step_parts(parts, self._device_of, self._catalog, self._figures):
            if error is not None:
                trace = "".join(format_tb(error.__traceback__))  # without the message: it may name the place
                _log.error("a request could not be stepped", error=type(error).__name__, trace=trace)
                self._fail(part, error)
            elif part.arrivals:
                self._due.append(part)
            else:
                self._finish(part)
            if perf_counter() - since > HOG_S:
                await asyncio.sleep(0)
                since = perf_counter()

    # ------------------------------------------------------------------------------------------ commits
    def _launch(self) -> None:
        while self._due and len(self._commits) < COMMITS:
            batch = [self._due.popleft() for _ in range(min(TURN_USERS, len(self._due)))]

            task = asyncio.create_task(self._commit(batch), name="commit")
            self._commits.add(task)
            task.add_done_callback(self._committed)

    def _committed(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        self._launch()

    async def _commit(self, batch: Sequence[Part]) -> None:
        try:
            gone = await self._commit_turn(batch)
        except Exception as error:  # noqa: BLE001 - every part of the batch must be answered, whatever failed
            await self._commit_failed(batch, error)
            return
        for part in batch:
            if part.user in gone:
                self._refuse_gone(part)
            else:
                self._finish(part)

    async def _commit_failed(self, batch: Sequence[Part], error: Exception) -> None:
        """A fault of ours in a batch is tried again one by one, so that one bad row takes nobody along."""
        if len(batch) > 1 and not isinstance(error, GeoOffersError):
            _log.warning("a turn failed and is taken apart", users=len(batch), error=repr(error))
            for part in batch:
                await self._commit([part])
            return
        if not isinstance(error, GeoOffersError):
            _log.error("a turn failed", error=repr(error), exc_info=error)
        for part in batch:
            self._fail(part, error)

    def _finish(self, part: Part) -> None:
        """Installs the part's states and lets the user's next part in."""
        for device, state in part.states.items():
            tracked = self._tracked[device]
            tracked.device = replace(tracked.device, state=state)
        part.request.transitions += [Seen(arrival.device, arrival.transition) for arrival in part.arrivals]
        for arrival in part.arrivals:
            self._figures.transitions.labels(arrival.transition.type.value).inc()
        if part.rest:
            part.request.parts += 1
            self._queues[part.user].work.appendleft(part.next())
        part.request.part_done()
        self._release(part.user)

    def _refuse_gone(self, part: Part) -> None:
        for number, _ in (*part.points, *part.rest):
            part.request.results[number] = Result("refused", "unknown_device")
        self._forget(part.user)
        part.request.part_done()
        self._release(part.user)

    def _fail(self, part: Part, error: Exception) -> None:
        if not isinstance(error, GeoOffersError):
            error = Unavailable("something failed here; send the same request again", 1.0)
        part.request.failure = error
        self._forget(part.user)
        part.request.part_done()
        self._release(part.user)

    async def drain(self) -> None:
        """Waits until nothing is queued; the caller has stopped new requests and bounds the wait."""
        while self._queues:  # noqa: ASYNC110 - once, at the end: an event for it would have to be kept at every turn
            await asyncio.sleep(0.01)

    def sizes(self) -> dict[str, int]:
        """How much is held, for the live feed."""
        return {"devices": len(self._tracked), "queued": self._queued}

    def observe(self) -> None:
        """Sets the gauges."""
        self._figures.queued.set(self._queued)
        self._figures.devices.set(len(self._tracked))
        self._figures.fences.set(self._catalog.size())
