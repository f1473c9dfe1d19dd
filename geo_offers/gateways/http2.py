"""One HTTP/2 connection to a gateway, and what may be said of a request that it did not answer.

A request counts as sent once its last byte was handed to the connection: a server cannot act on a part of it. What it
refused (REFUSED_STREAM) or never looked at (a stream above the last one that a GOAWAY names) was not sent either. All
else that goes unanswered may have been acted on. Streams that a GOAWAY names as seen are still answered.

Its bounds: at most `MOST_READ` bytes of an answer, as many streams at once as the server allows (one, until the judge
has called an answer good), and deadlines that hold whatever windows the server opens.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hpack.struct import HeaderWeaklyTyped

from geo_offers.gateways.http2_frames import Frames, Goaway

MOST_READ: Final = 20_000
MOST_STREAMS: Final = 500
MOST_UNREAD: Final = 1 << 20  # bytes that wait for a server which does not read
_STATUS: Final = re.compile(r"[2-5][0-9]{2}")

Headers = Sequence[HeaderWeaklyTyped]
"""Names in small letters, those with a colon first; a NeverIndexedHeaderTuple stays out of the header table."""


class Unsent(Exception):
    """The server has not acted on the request."""


class Unanswered(Exception):
    """The request was sent, and nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and what came with it; the body may have been cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Standing(Enum):
    """What an answer says of the connection that it came by."""

    GOOD = "good"
    """As many streams as the server allows."""
    UNPROVEN = "unproven"
    """As before."""
    SPENT = "spent"
    """No more requests."""


Judge = Callable[[Answer], Standing]
Farewell = Callable[[bytes], Answer | None]
"""What a GOAWAY's words answer to the requests that it has not looked at; None where these may go again."""


@dataclass(eq=False, slots=True)
class _Stream:
    """A request under way. `rest` is what the server's windows have not let out yet, and do not after `start_by`."""

    rest: bytes
    start_by: float
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = False
    taken: bool = True
    """Whether the server may act on it, once it is whole."""
    ended: bool = False
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    why: str = "no answer in time"

    def end(self, why: str, *, taken: bool = True) -> None:
        self.why, self.taken, self.ended = why, taken, True
        self.sent.set()
        self.over.set()

    def answer(self) -> Answer:
        """What came; a status stands though its body was cut off."""
        if self.status is not None:
            return Answer(self.status, self.headers, bytes(self.body))
        if self.whole and self.taken:
            raise Unanswered(self.why)
        raise Unsent(self.why)


class _Encoder(Encoder):
    """Writes header fields as they are: Huffman coding takes half of their time and saves a fifth of their bytes."""

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        return super().encode(headers, huffman)


class Connection(asyncio.Protocol):
    """A protocol of one transport. Whoever sends by it has called `take`, and calls `release` when done."""

    def __init__(
        self, judge: Judge, farewell: Farewell, changed: Callable[[], None], *, ping_s: float, idle_s: float
    ) -> None:
        self._judge = judge
        self._farewell = farewell
        self._changed = changed
        self._ping_s = ping_s
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(
            H2Configuration(header_encoding="utf-8", normalize_outbound_headers=False, validate_outbound_headers=False)
        )
        self._h2.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self._h2.encoder = _Encoder()
        self._frames = Frames()
        self._streams: dict[int, _Stream] = {}
        self._transport: asyncio.Transport | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._taken = 0
        self._proven = False
        self._asked = False
        self._flushing = False
        self._heard_at = self._used_at = self._loop.time()
        self.retired = False
        self.greeted = asyncio.Event()
        """Set once the server has said what it allows, or the connection is lost."""
        self.lost = asyncio.Event()
        self.goodbye = ""
        """The server's last, if it has said one."""

    # ------------------------------------------------------------------------------------------ slots
    @property
    def free(self) -> bool:
        """Whether one more request may begin."""
        if self.retired or self._transport is None or self._transport.is_closing():
            return False
        most = min(self._h2.remote_settings.max_concurrent_streams, MOST_STREAMS) if self._proven else 1
        return self._taken < most

    def take(self) -> None:
        """Reserve a stream."""
        self._taken += 1

    def release(self) -> None:
        """Give a stream back."""
        self._taken -= 1
        self._used_at = self._loop.time()
        if self.retired and not self._taken:
            self.close()
        self._changed()

    def retire(self) -> None:
        """Begin nothing new; close once nothing is under way."""
        self.retired = True
        if not self._taken:
            self.close()
        self._changed()

    def close(self) -> None:
        """Say goodbye; what is under way goes unanswered."""
        self.retired = True
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(H2Error):
            self._h2.close_connection()
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Drop it as it stands."""
        self.retired = True
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ requests
    async def request(self, headers: Headers, body: bytes, *, start_by: float, deadline: float) -> Answer:
        """Send one request, whole by `start_by`, and await its answer; both are times of the loop.

        Raises Unsent or Unanswered.
        """
        began_at = self._loop.time()
        if began_at >= start_by:
            raise Unsent("too late to begin")
        stream = _Stream(body, start_by)
        number = self._begin(headers, stream)
        try:
            if not stream.whole:
                await _until(stream.sent, start_by)
            if stream.whole:
                await _until(stream.over, deadline)
        finally:
            self._forget(number, stream)
        if not stream.ended and self._heard_at < began_at:
            self.retire()  # not a byte in all that time: there may be nobody any more
        answer = stream.answer()
        match self._judge(answer):
            case Standing.GOOD:
                self._proven = True
            case Standing.SPENT:
                self.retire()
            case Standing.UNPROVEN:
                pass
        return answer

    def _begin(self, headers: Headers, stream: _Stream) -> int:
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, headers)
            self._push(number, stream)
        except ProtocolError as error:  # lost since, or out of numbers
            self.retire()
            raise Unsent(type(error).__name__) from error
        self._streams[number] = stream
        self._flush_soon()
        return number

    def _push(self, number: int, stream: _Stream) -> None:
        """Send as much of a body as the windows allow, in its time: a loop that was held up is late with its timers."""
        while not stream.whole and self._loop.time() < stream.start_by:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room <= 0 < len(stream.rest):
                return
            part, stream.rest = stream.rest[:room], stream.rest[room:]
            self._h2.send_data(number, part, end_stream=not stream.rest)
            if not stream.rest:
                stream.whole = True
                stream.sent.set()

    def _forget(self, number: int, stream: _Stream) -> None:
        self._streams.pop(number, None)
        if not stream.ended:
            with contextlib.suppress(H2Error):
                self._h2.reset_stream(number, ErrorCodes.CANCEL)
            self._flush_soon()

    # ------------------------------------------------------------------------------------------ the wire
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no such class
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self.abort()
            return
        self._h2.initiate_connection()
        self._flush()
        self._tick = self._loop.call_later(self._ping_s, self._look)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._asked = False
        try:
            for frame in self._frames.of(data):
                if isinstance(frame, Goaway):
                    self._goaway(frame)
                else:
                    for event in self._h2.receive_data(frame):
                        self._heard(event)
        except H2Error:
            self._flush()  # h2 has written down what is wrong
            self.abort()
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.retired = True
        if self._tick is not None:
            self._tick.cancel()
        why = "connection lost" if exc is None else f"connection lost: {type(exc).__name__}"
        for stream in self._streams.values():
            stream.end(f"{self.goodbye}, {why}" if self.goodbye else why)
        self._streams.clear()
        self.lost.set()
        self.greeted.set()
        self._changed()

    def _flush_soon(self) -> None:
        """Write what begins in one turn of the loop at once."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        assert self._transport is not None
        self._flushing = False
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > MOST_UNREAD:
                self.abort()

    def _heard(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=number, headers=headers):
                if (stream := self._streams.get(number)) is not None:
                    stream.headers = {str(name): str(value) for name, value in headers}
                    status = stream.headers.get(":status", "")
                    stream.status = int(status) if _STATUS.fullmatch(status) else None
            case DataReceived(stream_id=number, data=data, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length, number)
                if (stream := self._streams.get(number)) is not None:
                    stream.body += data[: MOST_READ - len(stream.body)]
                    if len(stream.body) >= MOST_READ:
                        stream.over.set()
            case StreamEnded(stream_id=number):
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.end("an answer without a status")
            case StreamReset(stream_id=number, error_code=code):
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.end(f"stream reset: {_named(code)}", taken=code != ErrorCodes.REFUSED_STREAM)
            case RemoteSettingsChanged() | WindowUpdated():
                self.greeted.set()
                for number, stream in self._streams.items():
                    self._push(number, stream)
                self._changed()
            case _:
                pass

    def _goaway(self, goaway: Goaway) -> None:
        """Give back what the server has not looked at, or answer it by the reason; the rest is still to be answered."""
        self.goodbye = f"goaway: {_named(goaway.code)} {goaway.said.decode('ascii', 'replace')}".rstrip()
        answer = self._farewell(goaway.said)
        for number in [number for number in self._streams if number > goaway.last]:
            stream = self._streams.pop(number)
            if answer is not None:
                stream.status, stream.body = answer.status, bytearray(answer.body)
            stream.end(self.goodbye, taken=False)
        self.retire()

    # ------------------------------------------------------------------------------------------ keeping it
    def _look(self) -> None:
        """Ask a connection of which nothing was heard for a while; drop it when it does not answer for as long."""
        now = self._loop.time()
        if not self._taken and now - self._used_at >= self._idle_s:
            self.close()
            return
        if now - self._heard_at >= self._ping_s * 0.9:
            if self._asked:
                self.abort()
                return
            self._asked = True
            with contextlib.suppress(H2Error):
                self._h2.ping(bytes(8))
            self._flush()
        self._tick = self._loop.call_later(self._ping_s, self._look)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """What a client of HTTP/2 says hello with; `ca_file` is trusted beside the system's authorities.

    Raises OSError where the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def _until(event: asyncio.Event, at: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(at):
            await event.wait()


def _named(code: ErrorCodes | int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {int(code)}"
