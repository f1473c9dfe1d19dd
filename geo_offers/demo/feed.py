"""From the simulator to the browsers: events in order and bounded; of positions and figures only the newest counts.

A browser that reads slowly hurts only itself: its oldest events are dropped and counted, and it never makes the
simulator wait. Each message is encoded once, however many browsers watch.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

_BACKLOG = 256  # events that a browser may be behind; at a few events a second this is a minute


def encode(event: str, data: object) -> bytes:
    """One server-sent event."""
    return b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class Watcher:
    """What one browser has yet to be sent."""

    def __init__(self, backlog: int = _BACKLOG) -> None:
        self._events: deque[bytes] = deque(maxlen=backlog)
        self._newest: dict[str, bytes] = {}
        self._ready = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def put(self, message: bytes) -> None:
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(message)
        self._ready.set()

    def replace(self, event: str, message: bytes) -> None:
        self._newest[event] = message
        self._ready.set()

    def close(self) -> None:
        self._closed = True
        self._ready.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All that waits, as one piece of bytes each time; ends when the feed closes."""
        while True:
            await self._ready.wait()
            if self._closed:
                return
            self._ready.clear()
            chunk = b"".join((*self._events, *self._newest.values()))
            self._events.clear()
            self._newest.clear()
            yield chunk


class Feed:
    """Fans messages out to the browsers that watch; `most` of them at a time."""

    def __init__(self, most: int = 16) -> None:
        self._watchers: set[Watcher] = set()
        self._most = most

    @property
    def full(self) -> bool:
        return len(self._watchers) >= self._most

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def publish(self, event: str, data: object) -> None:
        """To everybody, in order."""
        if self._watchers:
            message = encode(event, data)
            for watcher in self._watchers:
                watcher.put(message)

    def replace(self, event: str, data: object) -> None:
        """To everybody; whoever has not read the one before gets only this one."""
        if self._watchers:
            message = encode(event, data)
            for watcher in self._watchers:
                watcher.replace(event, message)

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
