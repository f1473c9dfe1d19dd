"""Events for the company's own systems: what is told, and the loop that posts it to each endpoint.

Every endpoint has a queue of its own: a slow one has so many posts under way and no more, one that fails has a single
one until it answers well again, and none holds another; nor does a host, which has half of all at most. An event is
tried for three days (`SLOTS_S`); an endpoint that has answered nothing well for five, or that too much waits for, is
disabled. What is told is written by the transaction that does it.
"""

import asyncio
import contextlib
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from geo_offers import wire
from geo_offers.errors import Unavailable
from geo_offers.pipeline.callers import Caller

TEST: Final = "webhook.test"
EVENTS: Final = "events"  # what the lane is called in figures

SLOTS_S: Final = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""When an event is tried: so long after the try before. Standard Webhooks' own schedule."""
JITTER: Final = 0.2
LEAST_REST_S: Final = 60.0  # after a time-out or a 429
FAILING_S: Final = 5 * 86_400.0
SLOWED: Final = frozenset({429, 502, 504})
GONE: Final = 410

EACH: Final = 32  # posts under way to one endpoint
MOST: Final = 512  # and to all
MOST_HOST: Final = MOST // 2  # and to all that are at one host: it may hang as one
MOST_WAITING: Final = 100_000  # events for one endpoint; looked at once a minute
BATCH: Final = 256
_PAUSE_S: Final = (1.0, 60.0)
_HELD_S: Final = 1.0  # what its host has no room for asks again after that
_BOUND_S: Final = 60.0
_LOG = structlog.stdlib.get_logger("geo_offers.notifying")


@dataclass(frozen=True, slots=True)
class Told:
    """An event as the turn tells it; `data` is JSON."""

    type: wire.WebhookType
    workspace: UUID
    user: UUID
    at_us: int
    data: bytes


@lru_cache(maxsize=1_024)
def _host(url: str) -> str:
    """However it is spelled."""
    return (urlsplit(url).hostname or "").removesuffix(".")


@dataclass(frozen=True, slots=True)
class Post:
    """One event that is due at one endpoint, claimed. `secrets`: both while one is being replaced."""

    endpoint: UUID
    event: UUID
    token: int
    attempts: int
    workspace: UUID
    url: str
    secrets: Sequence[str]
    body: bytes

    @property
    def host(self) -> str:
        return _host(self.url)

    @property
    def id(self) -> str:
        """By which the receiver knows a repeat: the same on every attempt, and another at another endpoint."""
        return f"{self.event}_{self.endpoint}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one post. status: None where no answer came; slow: the time was over."""

    status: int | None
    ms: int
    detail: str | None = None
    retry_after_s: float | None = None
    slow: bool = False

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == GONE


@dataclass(frozen=True, slots=True)
class Done:
    """What is to be recorded. answer: None where nothing was tried; after_s: until it is due again."""

    post: Post
    state: Literal["due", "delivered", "failed"]
    answer: Answer | None
    after_s: float = 0.0


class EventQueue(Protocol):
    """What is due; every call is a transaction or two, and may raise Unavailable."""

    async def claim(self, room: Mapping[UUID, int], each: int, most: int, lease_s: float) -> Sequence[Post]:
        """Lease what is due: `room` says how many of some endpoints, `each` how many of any other, `most` of all."""
        ...

    async def finish(self, done: Sequence[Done]) -> None:
        """Record under the posts' tokens; disable the endpoints that are gone, or have failed for too long."""
        ...

    async def bound(self, most: int) -> None:
        """Disable the endpoints that more events than so many wait for; claims give those up."""
        ...

    async def oldest_due_s(self) -> float: ...


class Webhooks(Protocol):
    """The endpoints, as managers keep them; all but the first two raise NotFound where there is none of that id."""

    async def add(self, caller: Caller, ident: UUID, body: wire.WebhookBody) -> wire.WebhookMade:
        """Conflict past the workspace's bound. A repeat under the same id answers with a new secret."""
        ...

    async def page(self, workspace: UUID, cursor: str | None, limit: int) -> wire.WebhookPage: ...

    async def get(self, workspace: UUID, ident: UUID) -> wire.Webhook: ...

    async def change(self, caller: Caller, ident: UUID, patch: wire.WebhookPatch) -> wire.Webhook: ...

    async def delete(self, caller: Caller, ident: UUID) -> None:
        """With its log, and what waits for it."""
        ...

    async def rotate(self, caller: Caller, ident: UUID) -> wire.WebhookSecret: ...

    async def log(self, workspace: UUID, ident: UUID, cursor: str | None, limit: int) -> wire.WebhookDeliveryPage: ...

    async def replay(self, caller: Caller, ident: UUID, event: UUID) -> None:
        """NotFound also where the event is not kept any more, or is none that it was to be told.

        Conflict, here and below, where it is disabled.
        """
        ...

    async def replay_since(self, caller: Caller, ident: UUID, since: datetime) -> int:
        """Make due again what it has not taken since then, of its types; of how many."""
        ...

    async def test(self, caller: Caller, ident: UUID, event: UUID) -> None:
        """Queue an event that tells nothing, under this id; once."""
        ...


class NotifyingObserver(Protocol):
    def counted(self, lane: str, outcome: str) -> None: ...

    def oldest_due(self, lane: str, age_s: float) -> None: ...


def settled(post: Post, answer: Answer, jitter: float) -> Done:
    """Judge one answer. `jitter` is a random number from 0 to 1."""
    if answer.good:
        return Done(post, "delivered", answer)
    if answer.gone or post.attempts >= len(SLOTS_S):
        return Done(post, "failed", answer)
    slot_s = SLOTS_S[post.attempts]
    rest_s = slot_s * (1 + JITTER * (2 * jitter - 1))
    if answer.slow or answer.status == 429:
        rest_s = max(rest_s, LEAST_REST_S)
    if answer.retry_after_s is not None:
        rest_s = max(rest_s, min(max(answer.retry_after_s, slot_s), 2 * slot_s))
    return Done(post, "due", answer, rest_s)


@dataclass(slots=True)
class _Line:
    """One endpoint, as this process finds it."""

    under_way: int = 0
    failed: int = 0
    not_before_s: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is lost by forgetting it."""
        return not self.under_way and not self.failed

    def room(self, now_s: float) -> int:
        if now_s < self.not_before_s:
            return 0
        return max((1 if self.failed else EACH) - self.under_way, 0)

    def heard(self, answer: Answer, now_s: float) -> None:
        if answer.good:
            self.failed, self.not_before_s = 0, 0.0
            return
        self.failed += 1
        if answer.slow or answer.status is None or answer.status in SLOWED:
            pause_s = min(_PAUSE_S[0] * 2.0 ** min(self.failed - 1, 6), _PAUSE_S[1])
            self.not_before_s = max(self.not_before_s, now_s + pause_s)


class Notifier:
    """The loop; `turn` is one round of it. `send` posts one; `lease_s` is longer than that may take."""

    def __init__(
        self,
        queue: EventQueue,
        send: Callable[[Post], Awaitable[Answer]],
        observer: NotifyingObserver,
        *,
        lease_s: float = 40.0,
        sweep_s: float = 0.5,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._send = send
        self._observer = observer
        self._lease_s = lease_s
        self._sweep_s = sweep_s
        self._jitter = jitter
        self._lines: dict[UUID, _Line] = {}
        self._hosts: Counter[str] = Counter()  # posts under way
        self._crowded: dict[str, set[UUID]] = {}  # hosts that had no room, and the endpoints that asked for it
        self._sends: dict[asyncio.Task[Answer], Post] = {}
        self._ended: list[Done] = []
        self._event = asyncio.Event()
        self._due = True
        self._stopping = False
        self._look_at = self._bound_at = 0.0
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------ from outside
    def wake(self) -> None:
        """Look at once: something may be due. Costs nothing; never blocks."""
        self._due = True
        self._event.set()

    async def run(self) -> None:
        """Work until `stop`."""
        try:
            while not (self._stopping and not self._sends and not self._ended):
                await self._rest(await self._guarded_turn())
        finally:
            self._cut()

    def start(self) -> asyncio.Task[None]:
        """Start the one task, which ends by `stop` only."""
        self._task = asyncio.create_task(self.run(), name="events")
        return self._task

    async def stop(self, within_s: float) -> None:
        """Claim no more, wait for what is under way, record it; 2 s longer than `within_s` at most."""
        if self._task is None:
            return
        self._stopping = True
        self._event.set()
        await asyncio.wait([self._task], timeout=within_s)
        self._cut()
        await asyncio.wait([self._task], timeout=2)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # ------------------------------------------------------------------------------------------ one round
    async def turn(self) -> None:
        """Record what ended, then claim and send."""
        await self._record()
        if self._stopping:
            return
        if self._now >= self._look_at:
            self._look_at, self._due = self._now + self._sweep_s, True
            self._observer.oldest_due(EVENTS, await self._queue.oldest_due_s())
        if self._now >= self._bound_at:
            await self._queue.bound(MOST_WAITING)
            self._bound_at = self._now + _BOUND_S
        if self._due and self._free > 0:
            await self._fetch()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def _free(self) -> int:
        return min(BATCH, MOST - len(self._sends) - len(self._ended))

    async def _guarded_turn(self) -> float:
        """Make one round that raises nothing; return how many seconds to keep away from the database."""
        try:
            await self.turn()
        except Unavailable as error:
            self._due = True
            return error.retry_after_s * (0.2 + 0.3 * self._jitter())
        except Exception:  # noqa: BLE001  whatever fails, the loop goes on; the log has it
            self._due = True
            _LOG.exception("notifying_failed")
            return self._sweep_s
        return 0.0

    async def _rest(self, away_s: float) -> None:
        if away_s > 0:
            await asyncio.sleep(away_s)
        elif not self._ended and (self._stopping or not (self._due and self._free > 0)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._look_at - self._now, 0)):
                    await self._event.wait()
        self._event.clear()

    async def _fetch(self) -> None:
        """Claim for those that have room; a full batch, or room that was full, means that there may be more."""
        limit, now_s = self._free, self._now
        self._due = False
        posts = await self._queue.claim(self._room(now_s), EACH, limit, self._lease_s)
        self._due = self._due or len(posts) == limit
        for post in posts:
            if post.attempts > len(SLOTS_S):  # whoever tried it the last times has ended without a record
                self._ended.append(Done(post, "failed", None))
                continue
            if self._hosts[post.host] >= MOST_HOST:
                self._crowded.setdefault(post.host, set()).add(post.endpoint)
                self._ended.append(Done(post, "due", None, _HELD_S))
                continue
            task = asyncio.create_task(self._post(post), name=f"event-{post.event}")
            self._sends[task] = post
            self._lines.setdefault(post.endpoint, _Line()).under_way += 1
            self._hosts[post.host] += 1
            task.add_done_callback(self._sent)

    def _room(self, now_s: float) -> Mapping[UUID, int]:
        """How much those take of whom that is known; what a crowded host has room for is divided, in any order."""
        room = {endpoint: line.room(now_s) for endpoint, line in self._lines.items()}
        self._crowded = {host: them for host, them in self._crowded.items() if self._hosts[host] > MOST_HOST // 2}
        for host, endpoints in self._crowded.items():
            left = MOST_HOST - self._hosts[host]
            for others, endpoint in enumerate(random.sample(sorted(endpoints), len(endpoints))):
                share = math.ceil(left / (len(endpoints) - others))
                room[endpoint] = min(room.get(endpoint, EACH), share)
                left -= room[endpoint]
        return room

    async def _post(self, post: Post) -> Answer:
        try:
            return await self._send(post)
        except Exception:  # noqa: BLE001  one post's fault is its own
            _LOG.exception("post_failed", endpoint=str(post.endpoint), event_id=str(post.event))
            return Answer(None, 0, "fault")

    def _sent(self, task: asyncio.Task[Answer]) -> None:
        post = self._sends.pop(task)
        line = self._lines[post.endpoint]
        line.under_way -= 1
        self._hosts[post.host] -= 1
        if not self._hosts[post.host]:
            del self._hosts[post.host]
        self._due = True  # its endpoint has room again
        self._event.set()
        if task.cancelled():
            self._ended.append(Done(post, "due", None))
            return
        answer = task.result()
        line.heard(answer, self._now)
        if line.idle:
            del self._lines[post.endpoint]
        self._ended.append(settled(post, answer, self._jitter()))

    def _cut(self) -> None:
        """Give up on what is under way: it is due again, and the receiver knows a repeat."""
        for task in self._sends:
            task.cancel()

    async def _record(self) -> None:
        if not self._ended:
            return
        batch = tuple(self._ended)
        try:
            await self._queue.finish(batch)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  one row's fault must not hold the others'
            _LOG.exception("events_unrecorded", count=len(batch))
            await self._record_singly(batch)
        del self._ended[: len(batch)]
        for done in batch:
            if done.answer is not None:
                self._observer.counted(EVENTS, "retry" if done.state == "due" else done.state)

    async def _record_singly(self, batch: Sequence[Done]) -> None:
        """What cannot be recorded keeps its lease, and is claimed again after it."""
        for done in batch:
            try:
                await self._queue.finish([done])
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001  as above
                _LOG.exception("event_unrecorded", endpoint=str(done.post.endpoint), event_id=str(done.post.event))
