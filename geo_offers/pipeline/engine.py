"""The partition owner's engine: natural batching of pings into turns, and the queue of each user.

Quiet pings, those that cause nothing, are taken at once as they come (`Devices.settle`); the rest are stepped in turns.
A turn takes whatever has queued since the last one: at most one part (one request's points of one phone) a user. Parts
with transitions go to a commit of up to 128 users, the others are answered; until a part is through, all of that user's
later pings wait in the user's queue while other users' turns go on.
Presence is installed after the commit only; where the commit fails the user's devices are forgotten and loaded again
with the next ping, and the request is answered 503.

Consent, rhythm and erasure calls hold a user through the same queue (`exclusive`), so that no install overtakes a wipe.
Whether a person may be located is asked when a part is queued and again when its turn comes.

A part ends early where it has made many transitions; what is left of it is the user's next part, so that a phone which
hops in and out of fences takes turns with everybody else.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from traceback import format_tb
from typing import Final, Protocol, TypeGuard
from uuid import UUID

import structlog

from geo_offers import clock
from geo_offers.errors import GeoOffersError, NotFound, Unavailable
from geo_offers.pipeline import quick
from geo_offers.pipeline.admission import refusal
from geo_offers.pipeline.advice import Advice, advise
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.devices import Devices
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import DeviceStore, KnownDevice
from geo_offers.pipeline.requests import Code, Part, Points, Request, Seen, answered, counted
from geo_offers.pipeline.stepping import step_parts
from geo_offers.places.regions import Wish
from geo_offers.presence.fixes import Fix
from geo_offers.presence.states import TransitionType

TURN_USERS: Final = 128  # more gains nothing and holds locks longer (turns of 500 keep a withdrawal waiting 5 x longer)
TURN_PARTS: Final = 512
COMMITS: Final = 3
SPACING_S: Final = 0.01  # so long is a commit under way waited for, so that the next one takes more people along
HOG_S: Final = 0.005  # so long may a turn keep the sockets waiting

_ABSENT: Final = bytes([Code.ABSENT])

_log = structlog.get_logger()


class Turn(Protocol):
    """Decides and commits parts of distinct users; answers with those it had to refuse, and the points' reason."""

    def __call__(self, parts: Sequence[Part]) -> Awaitable[Mapping[UUID, str]]: ...


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
class _Queue:
    work: deque[Part | _Hold] = field(default_factory=deque)
    busy: bool = False


def _is_of(work: Part | _Hold, device: UUID) -> TypeGuard[Part]:
    return isinstance(work, Part) and work.device == device


class Engine:
    """See the module. One instance owns all partitions of this process."""

    def __init__(
        self,
        catalog: Catalog,
        store: DeviceStore,
        turn: Turn,
        figures: Figures,
        ownership: Ownership,
        *,
        limits: Limits = Limits(),
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self.devices = Devices(
            store,
            ownership,
            catalog,
            bound=limits.devices,
            rate_per_s=limits.rate_per_s,
            burst=limits.burst,
            now_us=now_us,
        )
        self._catalog = catalog
        self._ownership = ownership
        self._commit_turn = turn
        self._figures = figures
        self._limits = limits
        self._now_us = now_us
        self._queues: dict[UUID, _Queue] = {}
        self._ready: deque[UUID] = deque()
        self._wake = asyncio.Event()
        self._due: deque[Part] = deque()
        self._commits: set[asyncio.Task[None]] = set()
        self._reloads: set[asyncio.Task[None]] = set()
        self._queued: Counter[UUID] = Counter()
        self._all_queued = 0
        self._launched_s = 0.0
        self._next_launch: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------ requests
    async def submit(self, workspace: UUID, points: Points, *, caller: UUID | None) -> Request:
        """Takes what can be taken at once and queues the rest in the order of the calls; `answered` waits for that.

        What a point caused is committed by then. points: as `quick.read` gives them, or any.

        caller: the device whose token sent them, or None for a server key. Raises TooManyRequests for a device over
        its rate, Forbidden for one that may not be located, Unavailable where the queue is full; `answered` raises
        Unavailable where points could not be taken now: what of them was applied answers duplicate or late next time.
        """
        request = self.begin(workspace, points, caller=caller)
        if request.loading:
            await self.load(request, caller=caller)
        return request

    def begin(self, workspace: UUID, points: Points, *, caller: UUID | None) -> Request:
        """As `submit`, for a caller that cannot wait. Of a request that is `loading` after it `load` takes the rest.

        Until then nothing else of the same sender may be taken.
        """
        count = len(points)
        if self._all_queued + count > self._limits.queued_points:
            raise Unavailable("too many pings are waiting; send the same request again", 1.0)
        if isinstance(points, list):
            points = quick.batch_of(points)
        request = Request(workspace, self._now_us(), points, bytearray(_ABSENT * count))
        settled = self._settled(request, caller)
        self._figures.received(workspace, counted(request.codes))
        if settled:
            self._figures.answered(request.codes)
            return request
        request.parts = 1  # until all parts are queued
        self._count(workspace, count)  # from here on: those whose devices are being loaded wait as well
        self._push_parts(request, range(count))
        if not request.loading:
            self._part_done(request)
        return request

    async def load(self, request: Request, *, caller: UUID | None) -> None:
        """Loads the devices that are not in memory, and takes their points."""
        absent = [number for number, code in enumerate(request.codes) if code == Code.ABSENT]
        try:
            await self.devices.know(
                request.workspace, {request.points[number].device for number in absent}, busy=self._queues
            )
            self._settled(request, caller)
            for number in absent:
                if request.codes[number] == Code.ABSENT:
                    request.codes[number] = Code.UNKNOWN_DEVICE
            self._figures.received(request.workspace, counted(bytearray(request.codes[number] for number in absent)))
            self._push_parts(request, absent)
        except BaseException as error:
            if isinstance(error, Exception):
                request.failure = error
            raise
        finally:
            self._part_done(request)

    def _settled(self, request: Request, caller: UUID | None) -> bool:
        left = self.devices.settle(request)
        self._figures.looked_up(*self.devices.looked)
        error = None if caller is None else refusal(request.codes, self._limits.rate_per_s)
        if error is not None:
            raise error
        return not left

    def _push_parts(self, request: Request, numbers: Iterable[int]) -> None:
        """A part for each device: who arrives is who gets the offer."""
        parts = [Part(request, *share) for share in self.devices.shares(request, numbers)]
        request.parts += len(parts)
        for part in parts:
            self._push(part.user, part)

    def _count(self, workspace: UUID, points: int) -> None:
        self._all_queued += points
        self._queued[workspace] += points
        if not self._queued[workspace]:
            del self._queued[workspace]

    def _part_done(self, request: Request) -> None:
        if request.part_done():
            self._count(request.workspace, -len(request.codes))
            if request.failure is None:
                self._figures.answered(request.codes)

    async def take(self, workspace: UUID, points: Points, *, caller: UUID | None) -> Request:
        """`submit`, and wait until every point is answered."""
        request = await self.submit(workspace, points, caller=caller)
        await answered(request)
        return request

    async def known_or_gone(self, workspace: UUID, device: UUID) -> KnownDevice | None:
        """As `known`, None where there is no such device."""
        track = self.devices.get(device)
        if track is None:
            await self.devices.know(workspace, {device}, busy=self._queues)
            track = self.devices.get(device)
        return track.device if track is not None and track.device.workspace == workspace else None

    def advise(self, device: UUID, fix: Fix, wish: Wish) -> Advice | None:
        """What the phone may do until its next ping; None where it is not known any more."""
        track = self.devices.get(device)
        if track is None:
            return None
        return advise(self._catalog.index(track.device.workspace), track.device.state, fix, wish)

    async def known(self, workspace: UUID, device: UUID) -> KnownDevice:
        """The device as the owner knows it, loaded if need be; NotFound where there is none."""
        found = await self.known_or_gone(workspace, device)
        if found is None:
            raise NotFound("no such device")
        return found

    # ------------------------------------------------------------------------------------------ queues
    def _push(self, user: UUID, work: Part | _Hold) -> None:
        queue = self._queues.get(user)
        if queue is None:
            queue = self._queues[user] = _Queue()
            self.devices.hold(user, held=True)
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
            self.devices.hold(user, held=False)

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
            self.devices.forget(user)
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
        """Asks again what may have changed while the part waited: device forgotten, partition lost, consent withdrawn.

        A part whose device is not known, or known from an earlier ownership, goes round again, to be loaded first.
        """
        gate = self.devices.gate(part.device)
        if gate == Code.ABSENT:
            task = asyncio.create_task(self._reload(part), name="reload")
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)
            return False
        part.epoch = self._ownership.epochs[part.partition]
        if gate != Code.STEP:
            self._refuse(part, Code(gate).name.lower())
        return gate == Code.STEP

    async def _reload(self, part: Part) -> None:
        """Loads the part's device anew and puts it back where it was, first in its user's queue."""
        self.devices.forget(part.user)
        if part.partition not in self._ownership.epochs:
            self._fail(part, Unavailable("another process owns this user's partition now; send the same request again"))
            return
        try:
            await self.devices.know(part.request.workspace, [part.device], busy=self._queues)
        except Exception as error:  # noqa: BLE001 - whatever failed, the request must be answered
            self._fail(part, error)
            return
        track = self.devices.get(part.device)
        if track is None:
            self._refuse(part, "unknown_device")
            return
        if track.device.user != part.user:  # it has logged in while the part waited
            self._fail(part, Unavailable("this device has become another person's; send the same request again"))
            return
        self._queues[part.user].work.appendleft(part)
        self._release(part.user)

    async def _step(self, parts: Sequence[Part]) -> None:
        """Steps the parts; those without a transition are answered at once, the others are due for a commit."""
        taken_us, since = self._now_us(), perf_counter()
        for part in parts:
            part.taken_us = taken_us
        for part, error in step_parts(parts, self._catalog, self.devices, self._figures):
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
        """Starts the next commits: one alone at once, further ones where a turn is full or those before take long."""
        while self._due and len(self._commits) < COMMITS:
            wait_s = self._launched_s + SPACING_S - perf_counter()
            if self._commits and len(self._due) < TURN_USERS and wait_s > 0:
                if self._next_launch is None:
                    self._next_launch = asyncio.get_running_loop().call_later(wait_s, self._launch_late)
                return
            self._launched_s = perf_counter()
            batch = [self._due.popleft() for _ in range(min(TURN_USERS, len(self._due)))]
            task = asyncio.create_task(self._commit(batch), name="commit")
            self._commits.add(task)
            task.add_done_callback(self._committed)

    def _launch_late(self) -> None:
        self._next_launch = None
        self._launch()

    def _committed(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        self._launch()

    async def _commit(self, batch: Sequence[Part]) -> None:
        try:
            refused = await self._commit_turn(batch)
        except Exception as error:  # noqa: BLE001 - every part of the batch must be answered, whatever failed
            await self._commit_failed(batch, error)
            return
        for part in batch:
            if part.user in refused:
                self._refuse(part, refused[part.user])
            else:
                self._finish(part)

    async def _commit_failed(self, batch: Sequence[Part], error: Exception) -> None:
        """A fault of ours in a batch is tried again one by one, so that one bad row takes nobody along."""
        if len(batch) > 1 and not isinstance(error, GeoOffersError):
            _log.warning("a turn failed and is taken apart", users=len(batch), error=type(error).__name__)
            for part in batch:
                await self._commit([part])
            return
        if not isinstance(error, GeoOffersError):
            _log.error("a turn failed", error=type(error).__name__, exc_info=error)
        for part in batch:
            self._fail(part, error)

    def _finish(self, part: Part) -> None:
        """Installs the part's state and lets the user's next part in."""
        if part.state is not None:
            self.devices.install(part.request.workspace, part.device, part.state)
        part.request.transitions += [
            Seen(arrival.device, arrival.transition)
            for arrival in part.arrivals
            if arrival.transition.type is not TransitionType.CONFIRM
        ]
        for arrival in part.arrivals:
            self._figures.moved(arrival.transition.type)
        if part.rest:
            part.request.parts += 1
            self._queues[part.user].work.appendleft(part.next())
        self._part_done(part.request)
        self._release(part.user)

    def _refuse(self, part: Part, reason: str) -> None:
        part.refuse(reason)
        self.devices.forget(part.user)
        self._part_done(part.request)
        self._release(part.user)

    def _fail(self, part: Part, error: Exception) -> None:
        """Fails the part and what its phone has sent since: were that taken, the part would come again too late."""
        if not isinstance(error, GeoOffersError):
            error = Unavailable("something failed here; send the same request again", 1.0)
        self.devices.forget(part.user)
        queue = self._queues[part.user]
        later = [work for work in queue.work if _is_of(work, part.device)]
        queue.work = deque(work for work in queue.work if not _is_of(work, part.device))
        for failed in (part, *later):
            failed.request.failure = error
            self._part_done(failed.request)
        self._release(part.user)

    async def drain(self) -> None:
        """Waits until nothing is queued; the caller has stopped new requests and bounds the wait."""
        while self._queues:  # noqa: ASYNC110 - once, at the end: an event for it would have to be kept at every turn
            await asyncio.sleep(0.01)

    async def forget_idle(self) -> None:
        """Drops devices that nobody has heard of for long."""
        await self.devices.forget_idle()

    def sizes(self, workspace: UUID) -> dict[str, int]:
        """How much is held of a workspace, for its live feed."""
        return {"devices": self.devices.count(workspace), "queued": self._queued[workspace]}

    def observe(self) -> None:
        """Sets the gauges, and counts what the memory of devices has counted."""
        self._figures.queued.set(self._all_queued)
        self._figures.devices.set(len(self.devices))
        self._figures.fences.set(self._catalog.size())
        self._figures.left_out(self.devices.take_left_out())
