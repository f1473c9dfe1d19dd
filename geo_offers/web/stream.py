"""The device stream: pings up, answers and alerting offers down, over one WebSocket.

Every text frame of a connection has a number from 1; an answer or a problem names the number of its frame. Frames are
taken in order, a bounded count of them may wait for their commits at once, and a phone that does not read is let go.
"""

import asyncio
import contextlib
import re
from collections.abc import Collection
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from geo_offers import wire
from geo_offers.errors import Forbidden, GeoOffersError, TooManyRequests, Unauthenticated, Unavailable
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.engine import answered
from geo_offers.pipeline.requests import Request
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.streams import DeviceStreams, Stream
from geo_offers.web import bodies, pings, problems
from geo_offers.web.auth import Authenticator
from geo_offers.web.edge import AUTH, SERVICES

FRAME: Final = 64 * 1024
IN_FLIGHT: Final = 64
AUTH_S: Final = 5.0
SEND_S: Final = 10.0
HEARTBEAT_S: Final = 30.0
STREAMS: Final = 50_000
KEY_CHECK_S: Final = 5.0
SAID: Final = 512  # longer frames hold pings only
_TYPED: Final = re.compile(r'"type"\s*:')

ORIGINS: Final[web.AppKey[Collection[str]]] = web.AppKey("origins")

_log = structlog.get_logger()
_frames = msgspec.json.Decoder(wire.Ping | list[wire.Ping])
_said = msgspec.json.Decoder(wire.StreamShown | wire.StreamAuth)
_encoder = msgspec.json.Encoder()


async def stream(request: web.Request) -> web.StreamResponse:
    """`GET /v1/stream`, for a device's token or a server key; the key is in the header or the first frame."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in request.app[ORIGINS]:
        raise Forbidden("pages of this origin may not open a stream", "origin")
    streams = request.app[SERVICES].streams
    if len(streams) >= STREAMS:
        raise Unavailable("too many streams are open here", 5.0)
    auth, header = request.app[AUTH], request.headers.get("Authorization")
    caller = await auth.caller(header) if header is not None else None
    socket = web.WebSocketResponse(
        max_msg_size=FRAME, compress=False, heartbeat=HEARTBEAT_S, autoping=True, timeout=2.0
    )
    await socket.prepare(request)
    line = _Line(socket, request.transport, request.app[SERVICES], auth, (header or "").partition(" ")[2].strip())
    if caller is None:
        caller = await line.introduce()
        if caller is None:
            return socket
    await line.serve(caller, streams)
    return socket


class _Line:
    """One open connection."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        services: Services,
        auth: Authenticator,
        bearer: str,
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._services = services
        self._auth = auth
        self._bearer = bearer
        self._checked_s = monotonic()
        self._seq = 0
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def introduce(self) -> Caller | None:
        """The first frame carries the token; without one in time the line is closed."""
        try:
            message = await asyncio.wait_for(self._socket.receive(), AUTH_S)
            self._seq += 1
            if message.type is WSMsgType.TEXT:
                said = bodies.decode(_said, message.data.encode())
                if isinstance(said, wire.StreamAuth):
                    caller = await self._auth.bearer(said.token)
                    self._bearer = said.token
                    if caller.kind in {"device", "server"}:
                        return caller
        except (TimeoutError, GeoOffersError):
            pass  # answered by the close below: it says no more to a stranger
        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"authenticate first")
        return None

    async def serve(self, caller: Caller, streams: DeviceStreams) -> None:
        if caller.kind not in {"device", "server"}:
            raise Forbidden("a stream takes a device's token or a server key")
        if caller.device is None:
            await self._read(caller)
            return
        with streams.attach(caller.workspace, caller.device, user=caller.user) as offers:
            writer = asyncio.create_task(self._write(offers), name="stream offers")
            try:
                await self._read(caller)
            finally:
                writer.cancel()
                await asyncio.gather(writer, *self._tasks, return_exceptions=True)

    async def _write(self, offers: Stream) -> None:
        try:
            async for frame in offers:
                await self._send(frame.encode())
        except ConnectionError:
            return  # the phone is gone: the reading end hears of it as well
        code, reason = _farewell(offers)
        await self._socket.close(code=code, message=reason)

    async def _read(self, caller: Caller) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"send text frames")
                return
            self._seq += 1
            try:
                await self._frame(caller, message.data)
            except GeoOffersError as error:
                await self._problem(error, self._seq)
                if isinstance(error, Unauthenticated):
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"authenticate again")
                    return

    async def _frame(self, caller: Caller, data: str) -> None:
        if len(data) < SAID and _TYPED.search(data):
            await self._heard(caller, data.encode())
            return
        raw = data.encode()
        sent = bodies.decode(_frames, raw)
        batch: list[wire.Ping] = sent if isinstance(sent, list) else [sent]
        if pings.suspicious(raw, len(batch)):
            bodies.refuse_duplicates(raw)
        pings.bound(batch)
        await self._still_good(caller)
        points = pings.points(caller, batch)
        await self._slots.acquire()
        try:
            request = await self._services.engine.submit(caller.workspace, points, caller=caller.device)
        except BaseException:
            self._slots.release()
            raise
        task = asyncio.create_task(self._answer(caller, request, self._seq), name="stream answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _still_good(self, caller: Caller) -> None:
        """An open line ends with what it was opened by: a device's tokens, or a key."""
        if caller.device is not None:
            known = await self._services.engine.known_or_gone(caller.workspace, caller.device)
            if known is None or known.user != caller.user or known.token_epoch != caller.epoch:
                raise Unauthenticated("this device is not enrolled any more, or its tokens were revoked")
        elif monotonic() - self._checked_s > KEY_CHECK_S:
            await self._auth.bearer(self._bearer)
            self._checked_s = monotonic()

    async def _heard(self, caller: Caller, data: bytes) -> None:
        said = bodies.decode(_said, data)
        if isinstance(said, wire.StreamShown) and caller.device is not None:
            await self._services.dispatcher.shown(caller.workspace, said.offer, caller.device)

    async def _answer(self, caller: Caller, request: Request, seq: int) -> None:
        try:
            await answered(request)
            await self._send(_encoder.encode(pings.answer(self._services, caller, request, seq)))
        except GeoOffersError as error:
            with contextlib.suppress(ConnectionError):
                await self._problem(error, seq)
        except ConnectionError:
            return  # the phone is gone; it sends the frame again over its next connection
        finally:
            self._slots.release()

    async def _problem(self, error: GeoOffersError, seq: int) -> None:
        problem, _ = problems.problem(error, "/v1/stream")
        told: dict[str, Any] = {"type": "problem", "seq": seq, "problem": problem}
        if isinstance(error, TooManyRequests | Unavailable):
            told["retry_after_s"] = error.retry_after_s
        await self._send(_encoder.encode(told))

    async def _send(self, frame: bytes) -> None:
        """A phone that takes nothing for 10 s is let go, without a word that it would not read either.

        What it missed is still due.
        """
        try:
            await asyncio.wait_for(self._socket.send_frame(frame, WSMsgType.TEXT), SEND_S)
        except TimeoutError as error:
            if self._transport is not None:
                self._transport.abort()
            raise ConnectionResetError("the phone does not read") from error


def _farewell(offers: Stream) -> tuple[WSCloseCode, bytes]:
    if offers.displaced:
        return WSCloseCode.POLICY_VIOLATION, b"a newer stream of this device took over"
    if offers.revoked:
        return WSCloseCode.POLICY_VIOLATION, b"authenticate again"
    return WSCloseCode.GOING_AWAY, b"the service stops"
