"""The device stream: pings up, answers and alerting offers down, over one WebSocket.

Every text frame of a connection has a number from 1; an answer or a problem names the number of its frame. Frames are
taken in order, a bounded count of them may wait for their commits at once, and a phone that does not read is let go.
What a phone has sent is taken also where it hangs up at once: an offer that it has shown must not be shown again.
"""

import asyncio
import contextlib
import re
from collections.abc import Collection, Iterator
from functools import partial
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from geo_offers import wire
from geo_offers.errors import Forbidden, GeoOffersError, TooManyRequests, Unauthenticated, Unavailable
from geo_offers.pipeline import signals
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.requests import Request, answered
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.streams import DeviceStreams, Stream
from geo_offers.pipeline.unbroken import unbroken
from geo_offers.web import bodies, pings, problems
from geo_offers.web.auth import Authenticator
from geo_offers.web.connections import most_connections
from geo_offers.web.edge import AUTH, SERVICES
from geo_offers.web.sockets import Socket

IN_FLIGHT: Final = 64
AUTH_S: Final = 5.0
STREAMS: Final = 50_000  # of phones and servers, of all workspaces: about a GB; fewer where the system grants less
UNNAMED: Final = 256  # streams that have not said yet who they are; an honest one says it at once
STREAMING: Final = frozenset({"device", "server"})
KEY_CHECK_S: Final = 1.0
SAID: Final = 512  # longer frames hold pings only
_TYPED: Final = re.compile(r'"type"\s*:')

ORIGINS: Final[web.AppKey[Collection[str]]] = web.AppKey("origins")
SOCKETS: Final[web.AppKey["Places"]] = web.AppKey("sockets")
STRANGERS: Final[web.AppKey["Places"]] = web.AppKey("strangers")

_log = structlog.get_logger()
_said = msgspec.json.Decoder(wire.StreamShown | wire.StreamAuth)
_encoder = msgspec.json.Encoder()


class Places:
    """So many at a time; the next one is asked to come later."""

    def __init__(self, most: int, full: str) -> None:
        self._free = most
        self._full = full

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Raises Unavailable where none is free."""
        if self._free <= 0:
            raise Unavailable(self._full, 5.0)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def mount(app: web.Application, origins: Collection[str]) -> None:
    """The route, with its bounds: a quarter of all connections is left for calls, however many streams are open."""
    app[ORIGINS] = origins
    app[SOCKETS] = Places(min(STREAMS, most_connections() * 3 // 4), "too many streams are open here")
    app[STRANGERS] = Places(UNNAMED, "too many streams wait for their first frame; name the token in the header")
    app.router.add_get("/v1/stream", stream)


async def stream(request: web.Request) -> web.StreamResponse:
    """`GET /v1/stream`, for a device's token or a server key; the key is in the header or the first frame."""
    try:
        return await unbroken(_stream(request))
    except GeoOffersError as error:
        refused = problems.response(error, request.path)
        refused.force_close()  # what may not be a stream keeps no connection from one
        return refused


async def _stream(request: web.Request) -> web.StreamResponse:
    origin = request.headers.get("Origin")
    if origin is not None and origin not in request.app[ORIGINS]:
        raise Forbidden("pages of this origin may not open a stream", "origin")
    services, auth, header = request.app[SERVICES], request.app[AUTH], request.headers.get("Authorization")
    socket = Socket()
    wish = bodies.convert(dict(request.query), wire.PingsQuery).next
    line = _Line(socket, services, auth, wish, refuses=signals.refuses(request.headers))
    with request.app[SOCKETS].take():
        caller = None if header is None else await line.admit(header)
        with contextlib.suppress(ConnectionError):  # the phone is gone, which is nobody's fault
            if caller is None:
                with request.app[STRANGERS].take():
                    await socket.prepare(request)
                    caller = await line.introduce()
            else:
                await socket.prepare(request)
            if caller is not None:
                await line.serve(caller, services.streams)
    return socket


class _Line:
    """One open connection."""

    def __init__(
        self,
        socket: Socket,
        services: Services,
        auth: Authenticator,
        wish: wire.NextWish,
        *,
        refuses: bool,
    ) -> None:
        self._refuses = refuses
        self._socket = socket
        self._services = services
        self._auth = auth
        self._wish = wish
        self._bearer = ""
        self._good_until_s = monotonic() + KEY_CHECK_S
        self._seq = 0
        self._begun: Request | None = None
        self._fault: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def admit(self, header: str) -> Caller:
        """Who the Authorization header names; raises Forbidden where it is nobody who has a stream."""
        caller = await self._auth.caller(header)
        if caller.kind not in STREAMING:
            raise Forbidden("a stream takes a device's token or a server key")
        self._bearer = header.partition(" ")[2].strip()
        await self._hear(caller)
        return caller

    async def _hear(self, caller: Caller) -> None:
        if self._refuses:
            await self._services.signals.hear(self._services.people, self._services.engine, caller)

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
                    if caller.kind in STREAMING:
                        await self._hear(caller)
                        return caller
        except (TimeoutError, GeoOffersError):
            pass  # answered by the close below: it says no more to a stranger
        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"authenticate first")
        return None

    async def serve(self, caller: Caller, streams: DeviceStreams) -> None:
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
                await self._socket.send(frame.encode())
        except ConnectionError:
            return  # the phone is gone: the reading end hears of it as well
        code, reason = _farewell(offers)
        await self._socket.close(code=code, message=reason)

    async def _read(self, caller: Caller) -> None:
        at_once = partial(self._at_once, caller)
        while (message := await self._socket.receive_or(at_once)).type is WSMsgType.TEXT:
            self._seq += 1
            try:
                await self._frame(caller, message.data)
            except GeoOffersError as error:
                await self._socket.send(_problem(error, self._seq))
                if isinstance(error, Unauthenticated):
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"authenticate again")
                    return
        if message.type is WSMsgType.BINARY:
            await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"send text frames")

    def _at_once(self, caller: Caller, text: str) -> bool:
        """Takes a frame of plain pings where nothing about it has to be waited for, as it is with nearly all of them.

        What is begun and turns out to need devices loaded goes on in `_frame`, and a fault of ours is raised there.
        """
        if len(self._tasks) >= IN_FLIGHT or self._socket.is_full or not self._is_good(caller):
            return False
        seq = self._seq + 1
        try:
            points = pings.plain_frame(caller, text)
            if points is None:
                return False
            request = self._services.engine.begin(caller.workspace, points, caller=caller.device)
            if request.loading:
                self._begun = request
                return False
            self._reply(caller, request, seq)
        except GeoOffersError as error:
            self._socket.put(_problem(error, seq))
        except Exception as error:  # noqa: BLE001 - here only the transport would hear of it
            self._fault = error
            return False
        self._seq = seq
        return True

    async def _frame(self, caller: Caller, text: str) -> None:
        if self._fault is not None:
            raise self._fault
        engine = self._services.engine
        request, self._begun = self._begun, None
        if request is None:
            points = pings.plain_frame(caller, text)
            if points is None:
                if len(text) < SAID and _TYPED.search(text):
                    await self._heard(caller, text.encode())
                    return
                points = pings.read_frame(caller, text)
            await self._check(caller)
            if len(self._tasks) >= IN_FLIGHT:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            request = engine.begin(caller.workspace, points, caller=caller.device)
        if request.loading:
            await engine.load(request, caller=caller.device)
        self._reply(caller, request, self._seq)
        await self._socket.room()

    def _is_good(self, caller: Caller) -> bool:
        """Whether what the line was opened by is known to be good without asking."""
        if caller.device is None or caller.user is None:
            return monotonic() < self._good_until_s
        return self._services.engine.devices.is_of(caller.device, caller.workspace, caller.user, caller.epoch)

    async def _check(self, caller: Caller) -> None:
        """An open line ends with what it was opened by: a device's tokens, or a key."""
        if caller.device is not None:
            known = await self._services.engine.known_or_gone(caller.workspace, caller.device)
            if known is None or known.user != caller.user or known.token_epoch != caller.epoch:
                raise Unauthenticated("this device is not enrolled any more, or its tokens were revoked")
        elif monotonic() >= self._good_until_s:
            await self._auth.bearer(self._bearer)
            self._good_until_s = monotonic() + KEY_CHECK_S

    async def _heard(self, caller: Caller, data: bytes) -> None:
        said = bodies.decode(_said, data)
        if isinstance(said, wire.StreamShown) and caller.device is not None:
            await self._services.dispatcher.shown(caller.workspace, said.offer, caller.device)

    def _reply(self, caller: Caller, request: Request, seq: int) -> None:
        """Answers a request: at once where nothing of it is under way."""
        if not request.parts:
            self._socket.put(pings.answer(self._services, caller, request, self._wish, seq))
            return
        task = asyncio.create_task(self._answer(caller, request, seq), name="stream answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, caller: Caller, request: Request, seq: int) -> None:
        try:
            await answered(request)
            answer = pings.answer(self._services, caller, request, self._wish, seq)
        except GeoOffersError as error:
            answer = _problem(error, seq)
        with contextlib.suppress(ConnectionError):  # the phone is gone; it sends the frame again over its next line
            await self._socket.send(answer)


def _problem(error: GeoOffersError, seq: int) -> bytes:
    problem, _ = problems.problem(error, "/v1/stream")
    told: dict[str, Any] = {"type": "problem", "seq": seq, "problem": problem}
    if isinstance(error, TooManyRequests | Unavailable):
        told["retry_after_s"] = error.retry_after_s
    return _encoder.encode(told)


def _farewell(offers: Stream) -> tuple[WSCloseCode, bytes]:
    if offers.displaced:
        return WSCloseCode.POLICY_VIOLATION, b"a newer stream of this device took over"
    if offers.revoked:
        return WSCloseCode.POLICY_VIOLATION, b"authenticate again"
    return WSCloseCode.GOING_AWAY, b"the service stops"
