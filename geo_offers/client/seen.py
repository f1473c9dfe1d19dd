"""Which offers this phone has shown: each once, however often the server sends it, across reconnects and restarts.

Unless the app says otherwise a device's newest 256 ids are kept in a file of its own in the user's state folder.
"""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self
from uuid import UUID

from platformdirs import user_state_path

from geo_offers import instants, wire
from geo_offers.clock import now_us

REMEMBERED = 256
WAITING = 256  # offers that nobody has taken; the oldest gives way, and the server sends it again


class SeenStore(Protocol):
    """Keeps ids across restarts of the app. Called off the event loop; a failing `save` keeps the offer unshown."""

    def load(self) -> Sequence[UUID]:
        """Return the ids kept last, oldest first; empty at the first start."""
        ...

    def save(self, ids: Sequence[UUID]) -> None:
        """Keep these, at most 256, oldest first, instead of what was kept."""
        ...


class MemorySeenStore:
    """Keeps them no longer than itself: for devices that live no longer than the program."""

    def __init__(self) -> None:
        self._ids: tuple[UUID, ...] = ()

    def load(self) -> Sequence[UUID]:
        return self._ids

    def save(self, ids: Sequence[UUID]) -> None:
        self._ids = tuple(ids)


class FileSeenStore:
    """A text file with one id a line, replaced whole; lines that are no ids are passed over. Its folder may be absent.

    A program killed at any moment leaves the file as it was or as it was to be.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of(cls, device: UUID) -> Self:
        """Make the store that a device has by default."""
        return cls(user_state_path("geo-offers") / "seen" / str(device))

    def load(self) -> Sequence[UUID]:
        try:
            lines = self._file.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return ()
        return [found for line in lines if (found := _uuid(line)) is not None]

    def save(self, ids: Sequence[UUID]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._file.with_name(self._file.name + ".new")
        with beside.open("w", encoding="ascii") as out:
            out.writelines(f"{offer}\n" for offer in ids)
            out.flush()
            os.fsync(out.fileno())  # else a power cut may leave the new name with nothing under it
        beside.replace(self._file)

    def forget(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


class OfferBox:
    """Offers between the socket and the app."""

    def __init__(self, store: SeenStore) -> None:
        self._store = store
        self._seen: deque[UUID] = deque(maxlen=REMEMBERED)
        self._waiting: OrderedDict[UUID, wire.Offer] = OrderedDict()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False

    async def load(self) -> None:
        self._seen.extend(await asyncio.to_thread(self._store.load))

    def arrived(self, offer: wire.Offer) -> bool:
        """Whether it is new here; False for one that was handed over before."""
        if offer.id in self._seen:
            return False
        self._waiting[offer.id] = offer
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        self._changed.set()
        return True

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def take(self) -> wire.Offer | None:
        """Wait for the next offer to show, remembered before it is returned; None once closed. Expired ones drop."""
        async with self._turn:
            while not self._closed:
                offer = next(iter(self._waiting.values()), None)
                if offer is None:
                    self._changed.clear()
                    await self._changed.wait()
                elif instants.to_us(offer.expires_at) <= now_us():
                    self._waiting.pop(offer.id)
                else:
                    await self._remember(offer.id)
                    return offer
        return None

    async def _remember(self, offer: UUID) -> None:
        # kept before it is shown: a crash in between loses one offer, the other order would show it twice
        await asyncio.to_thread(self._store.save, [*self._seen, offer][-REMEMBERED:])
        self._seen.append(offer)
        self._waiting.pop(offer, None)
