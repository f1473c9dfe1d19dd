"""The frames of a stream that wait for their answers: numbered as the server numbers them, and sent again when lost.

The server counts every text frame of a connection from 1 and answers with that number. A new connection starts again
at 1, and all that was unanswered goes out once more, in the order it was given.
"""

import asyncio
from bisect import insort
from dataclasses import dataclass

from geo_offers import wire
from geo_offers.client.errors import ClientError, ConnectionFailed
from geo_offers.client.retry import Backoff, Patience

MAX_SENDS = 50  # a frame over which the connection is lost this often is given back to its sender


@dataclass(slots=True, eq=False)
class Frame:
    ticket: int
    text: str
    answer: asyncio.Future[wire.PingsAnswer]
    backoff: Backoff
    sends: int = 0
    reauthenticated: bool = False

    def fail(self, error: ClientError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def _ticket(frame: Frame) -> int:
    return frame.ticket


class Frames:
    """Bookkeeping only: no socket is touched here."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._unsent: list[Frame] = []  # by ticket
        self._sent: dict[int, Frame] = {}  # by number on this connection
        self._tickets = 0
        self._number = 0

    def add(self, text: str) -> Frame:
        self._tickets += 1
        answer: asyncio.Future[wire.PingsAnswer] = asyncio.get_running_loop().create_future()
        frame = Frame(self._tickets, text, answer, Backoff(self._patience))
        self._unsent.append(frame)
        return frame

    def forget(self, frame: Frame) -> None:
        """Nobody waits for it any more; an answer still to come finds nothing."""
        if frame in self._unsent:
            self._unsent.remove(frame)
        self._sent = {number: sent for number, sent in self._sent.items() if sent is not frame}

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def count(self) -> None:
        """Another frame, which gets no answer, takes the next number."""
        self._number += 1

    def take(self) -> str:
        """Take the next frame to send, under the next number, and return its text."""
        frame = self._unsent.pop(0)
        self.count()
        frame.sends += 1
        self._sent[self._number] = frame
        return frame.text

    def settled(self, number: int) -> Frame | None:
        """Take the frame of that number out of the books; None for one that nobody waits for."""
        return self._sent.pop(number, None)

    def again(self, frame: Frame) -> None:
        insort(self._unsent, frame, key=_ticket)

    def connection_lost(self) -> None:
        lost, self._sent, self._number = list(self._sent.values()), {}, 0
        for frame in lost:
            if frame.sends >= MAX_SENDS:
                frame.fail(ConnectionFailed(f"the connection was lost {frame.sends} times over this frame"))
            else:
                self.again(frame)

    def fail(self, error: ClientError) -> None:
        """Every sender gets this."""
        for frame in [*self._sent.values(), *self._unsent]:
            frame.fail(error)
        self._sent.clear()
        self._unsent.clear()
