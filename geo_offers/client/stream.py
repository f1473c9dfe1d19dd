"""The open line of a device (`/v1/stream`): pings up, answers and offers down, over however many connections it takes.

One task reads and one writes each connection; a third makes the next connection when one is lost. Senders hand over
frames and wait for their answers, which come by the frame's number. A frame refused with 429 or 503 goes out again
after the time the server names, before any that was given later and has not been sent.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import UUID

import aiohttp
import msgspec

from geo_offers import wire
from geo_offers.client import pings as batches
from geo_offers.client.errors import ApiError, ClientError, ConnectionFailed
from geo_offers.client.frames import Frames
from geo_offers.client.http import LOST, Bearer, Caller, authorization, decoded, path, problem, reason
from geo_offers.client.retry import AGAIN_STATUS, Backoff, Patience
from geo_offers.client.seen import REMEMBERED, OfferBox, SeenStore

STREAM_PATIENCE = Patience(attempts=200, longest_s=15.0, total_s=900.0)
FLUSH_S = 1.0
CLOSE_S = 2.0  # for the server to read what was sent before, and to say so

_ENDS = {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}


class _Head(msgspec.Struct):
    """What every frame of the server is told apart by; an answer to pings has no type."""

    type: str | None = None
    seq: int | None = None
    problem: wire.Problem | None = None
    retry_after_s: float | None = None


class Stream:
    """Made by `Device.stream`. Entering it connects; leaving it sends what was shown, and closes once that was read.

    A stream that cannot be made again, or that a newer one of the same device has displaced, ends: senders and `offers`
    get the reason (ApiError, ConnectionFailed).
    """

    def __init__(
        self,
        caller: Caller,
        bearer: Bearer,
        *,
        seen: SeenStore,
        in_flight: int,
        auto_shown: bool,
        wish: wire.NextWish,
        heartbeat_s: float,
        patience: Patience,
    ) -> None:
        self._caller = caller
        self._bearer = bearer
        self._auto_shown = auto_shown
        self._wish: wire.NextWish = wish
        self._heartbeat_s = heartbeat_s
        self._patience = patience
        self._backoff = Backoff(patience)
        self._frames = Frames(Patience())
        self._box = OfferBox(seen)
        self._slots = asyncio.Semaphore(in_flight)
        self._shown: deque[UUID] = deque(maxlen=REMEMBERED)  # to be said
        self._confirmed: deque[UUID] = deque(maxlen=REMEMBERED)  # said before, so that it may be said again
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()  # no `shown` is unsaid
        self._flushed.set()
        self._paused_until_s = 0.0
        self._token: str | None = None  # what the connection was opened with
        self._stale: str | None = None  # it was refused since
        self._over: ClientError | None = None
        self._left = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._box.load()
        socket = await self._connect(Backoff(Patience()))  # a first failure is told soon
        self._task = asyncio.create_task(self._run(socket), name="geo-offers stream")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        if not self._task.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._flushed.wait()
        self._left = True
        self._end(ConnectionFailed("the stream is closed"))
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (failure := self._task.exception()) is not None and error is None:
            raise failure

    # ------------------------------------------------------------------------------------------ for the app
    async def send(self, pings: Sequence[wire.Ping]) -> wire.PingsAnswer:
        """Send pings, any number; waits for the answer, whose results stand in the order given.

        Those past 64 KB go in several frames, each after the answer to the one before: none overtakes one that failed.
        Raises ApiError where the server refused a frame, ConnectionFailed where the stream ended before an answer.
        """
        parts = batches.split(pings, batches.MAX_FRAME_BYTES)
        async with self._slots:
            return batches.merged(parts, [await self._send_frame(part.array.decode()) for part in parts])

    async def offers(self) -> AsyncIterator[wire.Offer]:
        """Offers to show now, each id once; ends when the stream is left, raises when it could not be kept up."""
        while (offer := await self._box.take()) is not None:
            if self._auto_shown:
                self.shown(offer.id)
            yield offer
        if self._over is not None and not self._left:
            raise self._over

    def shown(self, offer: UUID) -> None:
        """Say that the person has seen it, now or with the next connection. Done by itself with `auto_shown`."""
        if offer not in self._confirmed:
            self._confirmed.append(offer)
        if offer not in self._shown:
            self._shown.append(offer)
        self._flushed.clear()
        self._wake.set()

    # ------------------------------------------------------------------------------------------ frames
    async def _send_frame(self, text: str) -> wire.PingsAnswer:
        if self._over is not None:
            raise self._over
        frame = self._frames.add(text)
        self._wake.set()
        try:
            return await frame.answer
        finally:
            self._frames.forget(frame)

    def _received(self, text: str) -> None:
        head = decoded(text, _Head)
        if head.type == "offer":
            self._offered(decoded(text, wire.Offer))
        elif head.type == "problem" and head.problem is not None:
            self._refused(ApiError(head.problem, head.retry_after_s), head.seq)
        elif head.type is None and head.seq is not None:
            answer = decoded(text, wire.PingsAnswer)
            self._backoff.reset()
            frame = self._frames.settled(head.seq)
            if frame is not None and not frame.answer.done():
                frame.answer.set_result(answer)

    def _offered(self, offer: wire.Offer) -> None:
        if not self._box.arrived(offer) and (self._auto_shown or offer.id in self._confirmed):
            self.shown(offer.id)  # the server did not hear it the first time

    def _refused(self, error: ApiError, number: int | None) -> None:
        if number is None:  # about the connection, whose end comes next
            if error.status in AGAIN_STATUS or error.status in {401, 408, 500}:
                return  # a new connection tells whether it can go on
            raise error
        frame = self._frames.settled(number)
        if frame is None:
            return
        if error.status == 401 and not frame.reauthenticated:
            frame.reauthenticated = True
            self._frames.again(frame)
            self._stale = self._token  # the next connection comes with a new one
            return
        wait_s = frame.backoff.next_wait_s(error.retry_after_s) if error.status in AGAIN_STATUS else None
        if wait_s is None:
            frame.fail(error)
            return
        self._frames.again(frame)
        self._paused_until_s = max(self._paused_until_s, _now_s() + wait_s)
        self._wake.set()

    # ------------------------------------------------------------------------------------------ connections
    async def _run(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            while True:
                since_s = _now_s()
                await self._serve(socket)
                self._frames.connection_lost()
                if _now_s() - since_s > self._patience.longest_s:
                    self._backoff.reset()  # it was a good connection, only a silent one
                if not await self._backoff.again():
                    raise ConnectionFailed("the stream was lost, and every new connection too")
                socket = await self._connect(self._backoff)
        except ClientError as error:
            self._end(error)
        finally:
            self._end(ConnectionFailed("the stream ended by a fault of its own"))

    def _end(self, error: ClientError) -> None:
        if self._over is None:
            self._over = error
        self._frames.fail(self._over)
        self._box.close()

    async def _connect(self, backoff: Backoff) -> aiohttp.ClientWebSocketResponse:
        """Make a new connection; raises ApiError when refused for good, ConnectionFailed when patience is spent."""
        renewed = False
        while True:
            token: str | None = None
            try:
                if self._stale is not None and not renewed:
                    await self._bearer.renew(self._stale)
                    renewed, self._stale = True, None
                token = self._token = await self._bearer.token()
                return await self._open(token)
            except aiohttp.WSServerHandshakeError as error:
                failure: ClientError = problem(error.status, b"", error.headers or {}, "/v1/stream")
            except (ApiError, ConnectionFailed) as error:  # while renewing
                failure = error
            except LOST as error:
                failure = ConnectionFailed(f"the stream cannot be opened: {reason(error)}")
            if isinstance(failure, ApiError):
                if failure.status == 401 and token is not None and not renewed:
                    self._stale = token
                    continue
                if failure.status not in AGAIN_STATUS:
                    raise failure
            if not await backoff.again(failure.retry_after_s if isinstance(failure, ApiError) else None):
                raise failure

    async def _open(self, token: str | None) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(15):
            return await self._caller.streams.ws_connect(
                self._caller.url(path("stream"), batches.wished(self._wish)),
                headers=authorization(token),
                heartbeat=self._heartbeat_s,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Read and write until the connection is lost. Raises only what ends the stream."""
        self._wake.set()
        reading, writing = asyncio.create_task(self._read(socket)), asyncio.create_task(self._write(socket))
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writing.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await socket.close()  # with a reader still at it: a cancelled one would cut the handshake short
                    await asyncio.wait({reading})
            reading.cancel()
            ends = await asyncio.gather(reading, writing, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, LOST):
                raise end

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while self._stale is None:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._received(message.data)
            elif message.type is aiohttp.WSMsgType.CLOSE and _displaced(message):
                raise ConnectionFailed("a newer stream of this device took over")
            elif message.type in _ENDS:
                return

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            text = self._next_text()
            if text is not None:
                await socket.send_str(text)
                continue
            if not self._shown:
                self._flushed.set()
            await self._something_to_write()

    def _next_text(self) -> str | None:
        if self._shown:
            self._frames.count()
            return msgspec.json.encode(wire.StreamShown(offer=self._shown.popleft())).decode()
        if self._frames.has_unsent and _now_s() >= self._paused_until_s:
            return self._frames.take()
        return None

    async def _something_to_write(self) -> None:
        pause_s = max(self._paused_until_s - _now_s(), 0.0) if self._frames.has_unsent else None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        self._wake.clear()


def _displaced(message: aiohttp.WSMessage) -> bool:
    # coming back would push the newer one out, and so on for ever
    return message.data == aiohttp.WSCloseCode.POLICY_VIOLATION and "newer stream" in str(message.extra)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
