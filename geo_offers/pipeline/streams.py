"""Open device streams, and the lane that sends over them.

A device has one stream: the newest wins, and the older one ends, marked as displaced. Each holds a bounded queue, so
that a phone that does not read costs only itself. What is due waits in the outbox, not here: a queue holds only what is
about to be written, and lets go of it when it expires or when the person withdraws.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Final, Self
from uuid import UUID

import msgspec

from geo_offers import clock, instants, wire
from geo_offers.pipeline.lanes import Message, Offered, Outcome, Transient, Waiting

QUEUE: Final = 16


class Stream:
    """One open stream; iterate for the text frames to send. Ends when it is closed or displaced by a newer one."""

    def __init__(
        self,
        workspace: UUID,
        device: UUID,
        user: UUID | None,
        *,
        queue: int,
        now_us: Callable[[], int],
        closed: Callable[["Stream"], None],
    ) -> None:
        self.workspace = workspace
        self.device = device
        self.user = user
        self.displaced = False
        self.revoked = False
        self._queue = queue
        self._now_us = now_us
        self._on_close = closed
        self._waiting: deque[tuple[int, str]] = deque()
        self._event = asyncio.Event()
        self._closed = False

    def put(self, payload: str, until_us: int) -> bool:
        """Queue a frame, not to be sent from `until_us` on; false where the queue is full or the stream is over."""
        if self._closed or len(self._waiting) >= self._queue:
            return False
        self._waiting.append((until_us, payload))
        self._event.set()
        return True

    def clear(self) -> None:
        """Drop what has not been sent."""
        self._waiting.clear()

    def close(self) -> None:
        """End the iteration at once; what has not been sent stays due."""
        if not self._closed:
            self._closed = True
            self.clear()
            self._event.set()
            self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._closed:
            while self._waiting:
                until_us, payload = self._waiting.popleft()
                if until_us > self._now_us():
                    return payload
            self._event.clear()
            await self._event.wait()
        raise StopAsyncIteration


class DeviceStreams:
    """The registry. `on_attach` (workspace, device) is the dispatcher's `ring`, set by the composition root."""

    def __init__(self, *, queue: int = QUEUE, now_us: Callable[[], int] = clock.now_us) -> None:
        self.on_attach: Callable[[UUID, UUID], None] = lambda _workspace, _device: None
        self._queue = queue
        self._now_us = now_us
        self._open: dict[UUID, Stream] = {}
        self._of_user: dict[UUID, set[Stream]] = {}
        self._of_workspace: Counter[UUID] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def count(self, workspace: UUID) -> int:
        """How many of them are of that workspace."""
        return self._of_workspace[workspace]

    def attach(self, workspace: UUID, device: UUID, *, user: UUID | None = None) -> Stream:
        """Open a stream of the device, to be closed by its holder (`with`); an older one of the device ends.

        user: whose withdrawal empties it (`clear`).
        """
        older = self._open.get(device)
        if older is not None:
            older.displaced = True
            older.close()
        stream = Stream(workspace, device, user, queue=self._queue, now_us=self._now_us, closed=self._forget)
        self._open[device] = stream
        self._of_workspace[workspace] += 1
        if user is not None:
            self._of_user.setdefault(user, set()).add(stream)
        self.on_attach(workspace, device)
        return stream

    def is_open(self, device: UUID) -> bool:
        return device in self._open

    def offer(self, device: UUID, payload: str, *, until_us: int) -> bool:
        """Put a frame on the device's stream; false where there is none or its queue is full."""
        stream = self._open.get(device)
        return stream is not None and stream.put(payload, until_us)

    def clear(self, user: UUID) -> None:
        """Drop what waits to be written to the person's phones: they have withdrawn."""
        for stream in self._of_user.get(user, ()):
            stream.clear()

    def end(self, user: UUID, device: UUID | None = None) -> None:
        """End the person's streams, or that of one device: what they were opened by is good no more."""
        for stream in tuple(self._of_user.get(user, ())):
            if device is None or stream.device == device:
                stream.revoked = True
                stream.close()

    def close(self) -> None:
        """End all streams; the service stops."""
        for stream in tuple(self._open.values()):
            stream.close()

    def _forget(self, stream: Stream) -> None:
        del self._open[stream.device]  # a displaced one is closed before its successor is put in
        self._of_workspace[stream.workspace] -= 1
        if not self._of_workspace[stream.workspace]:
            del self._of_workspace[stream.workspace]
        if stream.user is not None:
            streams = self._of_user[stream.user]
            streams.remove(stream)
            if not streams:
                del self._of_user[stream.user]


class InAppLane:
    """Sends over the device's open stream; the phone shows an id once and answers `shown`."""

    name: Final = "inapp"
    concurrency: Final = 200
    repeats: Final = True
    rate_per_s: Final = inf

    def __init__(self, streams: DeviceStreams) -> None:
        self._streams = streams

    def scope(self, message: Message) -> None:
        """A phone that does not read is its own fault alone."""

    async def send(self, message: Message, start_by: float) -> Outcome:  # noqa: ARG002  it is handed on at once
        if not self._streams.is_open(message.device):
            return Waiting()
        if self._streams.offer(message.device, frame(message), until_us=message.expires_us):
            return Offered()
        return Transient("the stream's queue is full")

    async def close(self) -> None:
        """The streams are the server's, and end with its connections."""


def frame(message: Message) -> str:
    """Write the text frame `{"type": "offer", …, "alert": true}`."""
    offer = wire.Offer(
        id=message.offer,
        campaign=message.campaign,
        fence=message.fence,
        title=message.title,
        body=message.body,
        lane=InAppLane.name,
        alert=True,
        created_at=instants.from_us(message.created_us),
        expires_at=instants.from_us(message.expires_us),
        link=message.link,
        data=dict(message.data) if message.data else None,
    )
    return msgspec.json.encode({"type": "offer", **msgspec.to_builtins(offer)}).decode()
