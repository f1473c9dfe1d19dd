"""The live feed: what happens now, fanned out to whoever looks, without coordinates.

A slow reader loses its own oldest events and nothing else; how many were dropped is told with the next event that it
gets. Once nobody has read for as many events as are remembered, the workspace costs nothing again. Events are numbered
by workspace: gaps would tell one how busy the others are.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

QUEUE: Final = 1_000
HISTORY: Final = 500
READERS: Final = 100


@dataclass(frozen=True, slots=True)
class Event:
    seq: int
    name: str
    data: bytes


@dataclass(slots=True, eq=False)
class Reader:
    """One open feed: a bounded queue and the count of what it lost."""

    events: deque[Event] = field(default_factory=deque)
    dropped: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, event: Event) -> None:
        if len(self.events) >= QUEUE:
            self.events.popleft()
            self.dropped += 1
        self.events.append(event)
        self.woken.set()


class LiveFeed:
    """Events by workspace, the newest kept for readers that come back with the last number they saw."""

    def __init__(self) -> None:
        self._readers: dict[UUID, set[Reader]] = {}
        self._history: dict[UUID, deque[Event]] = {}
        self._seq: Counter[UUID] = Counter()
        self._unread: Counter[UUID] = Counter()

    def heard(self, workspace: UUID) -> bool:
        """Whether an event would be kept or read: who publishes many asks before making them."""
        return workspace in self._readers

    def publish(self, workspace: UUID, name: str, data: dict[str, Any], *, keep: bool = True) -> None:
        """Tells all readers of the workspace; costs next to nothing when nobody has looked yet."""
        readers = self._readers.get(workspace)
        if readers is None:
            return
        self._seq[workspace] += 1
        event = Event(self._seq[workspace], name, msgspec.json.encode(data))
        if keep:
            self._history[workspace].append(event)
        for reader in readers:
            reader.push(event)
        if not readers:
            self._leave_alone(workspace)

    def _leave_alone(self, workspace: UUID) -> None:
        """Counts what nobody has read. Who comes back later sees by the numbers that events are missing."""
        self._unread[workspace] += 1
        if self._unread[workspace] >= HISTORY:
            del self._readers[workspace], self._history[workspace], self._unread[workspace]

    def forget(self, workspace: UUID, name: str) -> None:
        """Drops what is remembered of a person; their device's events name them too."""
        history = self._history.get(workspace)
        if history is not None:
            kept = [event for event in history if name.encode() not in event.data]
            history.clear()
            history.extend(kept)

    def watched(self) -> list[UUID]:
        """Workspaces with an open feed."""
        return [workspace for workspace, readers in self._readers.items() if readers]

    @contextmanager
    def reader(self, workspace: UUID, after: int | None) -> Iterator[Reader]:
        """An open feed; with `after`, what is still remembered since that event comes first."""
        reader = Reader()
        readers = self._readers.setdefault(workspace, set())
        history = self._history.setdefault(workspace, deque(maxlen=HISTORY))
        if after is not None:
            for event in history:
                if event.seq > after:
                    reader.push(event)
        readers.add(reader)
        self._unread.pop(workspace, None)
        try:
            yield reader
        finally:
            readers.discard(reader)

    def full(self, workspace: UUID) -> bool:
        return len(self._readers.get(workspace, ())) >= READERS
