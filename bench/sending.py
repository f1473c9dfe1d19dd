"""The sender: requests prepared ahead go out over a few connections, answers are counted by scanning for bytes.

One thread and epoll. A client with typed answers costs more than the server that it is to measure. `saturate` keeps so
many requests in flight on each connection and finds the highest rate (closed loop); `on_schedule` sends each when it is
due and counts latency from then (open loop): a server that stalls does not slow the schedule down, so its stall shows
in every request that was due meanwhile.
"""

import gc
import math
import os
import re
import select
import socket
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from geo_offers.places.earth import FloatArray

ACCEPTED: Final = b'"accepted"'
TRANSITION: Final = b'"confidence"'
PATIENCE_S: Final = 20.0
SPIN_S: Final = 0.0002
"""Waits are good to some ten microseconds; the last stretch before a request is due is spent asking the clock, which
takes the core from PostgreSQL."""
AT_ONCE: Final = 32
"""A sender that is behind lets answers in after this many."""
_CHUNK: Final = 1 << 20
_SEQ: Final = b'"seq":'
_DIGITS: Final = re.compile(rb"\d+")
_TOO_MUCH: Final = re.compile(rb'"status":(429|503)')
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


def schedule(rate: float, seconds: float, seed: int) -> FloatArray:
    """When each request is due, in seconds from the start: gaps are exponential, as those of strangers are."""
    gaps = np.random.default_rng([seed, 4]).exponential(1 / rate, math.ceil(rate * seconds * 1.2 + 50))
    due_s = np.cumsum(gaps)
    return due_s[due_s < seconds]


# ------------------------------------------------------------------------------------------------ what became of them
@dataclass(slots=True)
class Record:
    """What became of each request of `size` pings; times are of the sender's clock, in seconds."""

    size: int
    requests: int
    due_s: list[float] = field(init=False)
    sent_s: list[float] = field(init=False)
    done_s: list[float] = field(init=False)
    waiting: int = field(init=False)
    accepted: int = 0
    shed: int = 0
    """Pings that the server said it has too much to do for."""
    failed: int = 0
    """Pings that were not answered, or answered with anything but `accepted`."""
    transitions: int = 0
    cpu_s: float = 0.0
    """The sender's own."""

    def __post_init__(self) -> None:
        self.due_s, self.sent_s, self.done_s = ([math.nan] * self.requests for _ in range(3))
        self.waiting = self.requests

    def settle(self, number: int, now_s: float, answer: bytes) -> None:
        """The answer to a request has come."""
        self.done_s[number] = now_s
        self.waiting -= 1
        accepted = answer.count(ACCEPTED)
        self.accepted += accepted
        self.transitions += answer.count(TRANSITION)
        if accepted < self.size:
            if _TOO_MUCH.search(answer):
                self.shed += self.size - accepted
            else:
                self.failed += self.size - accepted

    def give_up(self) -> None:
        """Whatever has no answer by now has failed; its latency is without end."""
        for number, done_s in enumerate(self.done_s):
            if math.isnan(done_s):
                self.done_s[number] = math.inf
                self.failed += self.size
                self.waiting -= 1

    @property
    def sent(self) -> int:
        return self.requests * self.size

    def rate(self) -> float:
        """Accepted pings a second, from the first request sent to the last answer."""
        ended = max((done for done in self.done_s if done < math.inf), default=math.inf)
        return self.accepted / (ended - self.sent_s[0])

    def latency_ms(self) -> FloatArray:
        return (np.array(self.done_s) - np.array(self.due_s)) * 1e3

    def late_ms(self) -> FloatArray:
        """How long after they were due the sender sent them: its own share of the latency."""
        return (np.array(self.sent_s) - np.array(self.due_s)) * 1e3


# ------------------------------------------------------------------------------------------------ connections
class Line:
    """One connection; requests go out in the order of the calls, whole."""

    def __init__(self, url: str, token: str) -> None:
        self.host, self.token = urlsplit(url).netloc, token
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._unsent = b""
        self.open()
        self.socket.setblocking(False)

    def open(self) -> None:
        """What is said before the first request, while the socket still blocks."""

    @classmethod
    def wrap(cls, url: str, token: str, pings: Sequence[bytes]) -> bytes:
        """A request of these pings, ready to be sent."""
        raise NotImplementedError

    def send(self, requests: Sequence[bytes]) -> None:
        self._write(b"".join(requests))

    def flush(self) -> None:
        """The socket takes more."""
        self._write(b"")

    def _write(self, data: bytes) -> None:
        self._unsent += data
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass

    def answers(self) -> Iterator[tuple[int, bytes]]:
        """What has come meanwhile: number of the request on this line, and its answer."""
        try:
            while chunk := self.socket.recv(_CHUNK):
                yield from self._parsed(self._unread + chunk if self._unread else chunk)
                if len(chunk) < _CHUNK:
                    return
        except BlockingIOError:
            return
        raise ConnectionError("the server hung up")

    def _parsed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The whole answers in the data; the rest is kept."""
        raise NotImplementedError


class StreamLine(Line):
    """`GET /v1/stream`: a text frame a request, answers told apart by their frame's number."""

    def open(self) -> None:
        key = b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/stream HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        said = b""
        while b"\r\n\r\n" not in said:
            chunk = self.socket.recv(4096)
            if not chunk:
                break
            said += chunk
        if said[9:12] != b"101":
            raise ConnectionError(f"the stream was refused: {said[:200]!r}")
        self._unread = said.partition(b"\r\n\r\n")[2]

    @classmethod
    def wrap(cls, url: str, token: str, pings: Sequence[bytes]) -> bytes:  # noqa: ARG003 - the same for all lines
        return frame(_TEXT, pings[0] if len(pings) == 1 else b"[" + b",".join(pings) + b"]")

    def _parsed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The server's frames; it never masks and never cuts a text."""
        at, have = 0, len(data)
        while have - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : start], "big")
            end = start + size
            if end > have or start > have:
                break
            kind, payload = data[at] & 15, data[start:end]
            at = end
            if kind == _TEXT:
                named = payload.rfind(_SEQ)
                number = _DIGITS.match(payload, named + len(_SEQ)) if named >= 0 else None
                if number is not None:
                    yield int(number[0]) - 1, payload
            elif kind == _PING:
                self._write(frame(_PONG, payload))
            elif kind == _CLOSE:
                raise ConnectionError(f"the server closed the stream: {payload!r}")
        self._unread = data[at:]


class HttpLine(Line):
    """`POST /v1/pings` on a kept connection: one request at a time, what is due meanwhile waits its turn."""

    def open(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._busy = False
        self._answered = 0

    @classmethod
    def wrap(cls, url: str, token: str, pings: Sequence[bytes]) -> bytes:
        body = b'{"pings":[' + b",".join(pings) + b"]}"
        head = (
            f"POST /v1/pings HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def send(self, requests: Sequence[bytes]) -> None:
        self._waiting.extend(requests)
        self._next()

    def _next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            self._write(self._waiting.popleft())

    def _parsed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        while (head := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if end > len(data):
                break
            answer, data = data[head + 4 : end], data[end:]
            self._busy = False
            self._next()
            self._answered += 1
            yield self._answered - 1, answer
        self._unread = data


def frame(kind: int, payload: bytes) -> bytes:
    """A client's frame must be masked; under a mask of zeros the server does the same work and the sender none."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((0x80 | kind,)) + length + b"\x00\x00\x00\x00" + payload


# ------------------------------------------------------------------------------------------------ sending
def saturate(
    lines: Sequence[Line],
    requests: Sequence[Sequence[bytes]],
    size: int,
    window: int,
    *,
    patience_s: float = PATIENCE_S,
) -> Record:
    """Send each line's requests with `window` of them unanswered at a time. Request n of line l is number n·lines + l.

    requests: as many for each line. size: pings of each. patience_s: so long without any answer, and the rest failed.
    """
    with _run(lines, requests, size) as run:
        for line in range(len(lines)):
            run.send(line, window)
        while run.record.waiting and (answered := run.hear(patience_s)):
            for line, count in answered:
                run.send(line, count)
        for number, sent_s in enumerate(run.record.sent_s):
            run.record.due_s[number] = sent_s
    return run.record


def on_schedule(
    lines: Sequence[Line],
    requests: Sequence[Sequence[bytes]],
    size: int,
    due_s: Sequence[float],
    *,
    patience_s: float = PATIENCE_S,
) -> Record:
    """Send the first of the requests, the lines taking turns, each when it is due and never before.

    due_s: seconds from the start, rising; no more than there are requests.
    """
    with _run(lines, requests, size, len(due_s)) as run:
        record, started = run.record, perf_counter()
        record.due_s = [started + due for due in due_s]
        number, heard_s = 0, started
        while record.waiting:
            now = perf_counter()
            burst = min(number + AT_ONCE, len(due_s))
            while number < burst and record.due_s[number] <= now:
                run.send(number % len(lines), 1)
                number += 1
            left_s = record.due_s[number] - perf_counter() if number < len(due_s) else 0.05
            if run.hear(max(0.0, left_s - SPIN_S)) or number < len(due_s):
                heard_s = perf_counter()
            elif perf_counter() - heard_s > patience_s:
                break
    return run.record


class _Run:
    """The lines under way, and what became of their requests."""

    def __init__(self, lines: Sequence[Line], requests: Sequence[Sequence[bytes]], size: int, most: int | None) -> None:
        assert len({len(of_line) for of_line in requests}) == 1, "each line has as many requests"
        self._lines, self._requests = lines, requests
        self._next = [0] * len(lines)
        self._places = {line.socket.fileno(): place for place, line in enumerate(lines)}
        self.record = Record(size, len(requests[0]) * len(lines) if most is None else most)
        self._poll = select.epoll(len(lines))
        for descriptor in self._places:
            self._poll.register(descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def send(self, line: int, count: int) -> None:
        """The next so many requests of a line, as far as there are any."""
        start = self._next[line]
        batch = self._requests[line][start : start + count]
        if not batch:
            return
        now, lines = perf_counter(), len(self._lines)
        for number in range(start, start + len(batch)):
            self.record.sent_s[number * lines + line] = now
        self._next[line] = start + len(batch)
        self._lines[line].send(batch)

    def hear(self, wait_s: float) -> list[tuple[int, int]]:
        """Wait so long for answers and take them; the lines they came on and how many. Empty: none came."""
        answered, until = list[tuple[int, int]](), perf_counter() + wait_s
        while True:
            select.select([self._poll], [], [], max(0.0, until - perf_counter()))  # epoll's own wait is in milliseconds
            events = self._poll.poll(0)
            for descriptor, event in events:
                place = self._places[descriptor]
                if event & select.EPOLLOUT:
                    self._lines[place].flush()
                if event & ~select.EPOLLOUT:
                    answered.append((place, self._take(place)))
            if answered or not events or perf_counter() >= until:
                return answered

    def _take(self, place: int) -> int:
        now, lines, settle, count = perf_counter(), len(self._lines), self.record.settle, 0
        for number, answer in self._lines[place].answers():
            settle(number * lines + place, now, answer)
            count += 1
        return count

    def close(self) -> None:
        self._poll.close()


@contextmanager
def _run(
    lines: Sequence[Line], requests: Sequence[Sequence[bytes]], size: int, most: int | None = None
) -> Iterator[_Run]:
    run = _Run(lines, requests, size, most)
    gc.collect()
    gc.disable()  # the sender's own pauses are not the server's
    cpu_s = process_time()
    try:
        yield run
    finally:
        run.record.cpu_s = process_time() - cpu_s
        gc.enable()
        run.close()
        run.record.give_up()
