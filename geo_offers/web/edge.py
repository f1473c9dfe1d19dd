"""Every call's way in and out.

Authenticate, bound, decode, answer once per Idempotency-Key, and turn errors into problems.

A call that may change something runs to its end once its body is here, whoever hangs up: memory follows what was
committed, and a person who asked to be erased is. Pings have the engine for that.

A device makes 60 calls at once and 10 a second after that; over it, 429. Pings have a rate of their own, and so has
what a person consents to. Withdrawal and erasure are never refused for a rate.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from traceback import format_tb
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
import structlog
from aiohttp import web

from geo_offers import clock
from geo_offers.errors import Fault, Forbidden, GeoOffersError, Invalid, Malformed, TooManyRequests
from geo_offers.pipeline import signals
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.idempotency import Idempotency, Kept, Running
from geo_offers.pipeline.rates import CALLS_PER_S
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.tokens import digest
from geo_offers.pipeline.unbroken import unbroken
from geo_offers.web import bodies, problems
from geo_offers.web.auth import Authenticator
from geo_offers.web.calls import Call, Given, NoQuery, Reply

AUTH: Final = web.AppKey("auth", Authenticator)
SERVICES: Final = web.AppKey("services", Services)
IDEMPOTENCY: Final = web.AppKey("idempotency", Idempotency)
BODY_S: Final = 10.0
LARGE: Final = 256 * 1024
KEY_LIMIT: Final = 255
_NOT_RATED: Final = frozenset(
    {("DELETE", "/v1/me"), ("PUT", "/v1/me/consents/{purpose}")}
)  # a person may always say no
_MAY_CHANGE: Final = frozenset({401, 429, 503})  # not kept: the same request may succeed when it is sent again

_log = structlog.get_logger()
_encoder = msgspec.json.Encoder()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def handler(call: Call) -> Handler:
    """The aiohttp handler of one row of the table."""
    return _Endpoint(call).handle


class _Endpoint:
    """One call, ready to be made."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._decoder = None if call.body is None or call.elsewhere else msgspec.json.Decoder(call.body)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = self._call
        caller = await request.app[AUTH].caller(request.headers.get("Authorization")) if call.who else _NOBODY
        _allow(call, caller)
        if not call.hot and (call.method, call.path) not in _NOT_RATED:
            _within_rate(request.app[SERVICES], caller)
        async with asyncio.timeout(BODY_S):
            data = await bodies.read(request, call.max_body) if request.can_read_body else b""
        answering = self._keyed(request, caller, data)
        return await (answering if call.hot or call.method == "GET" else unbroken(answering))

    async def _keyed(self, request: web.Request, caller: Caller, data: bytes) -> web.StreamResponse:
        if caller.device is not None and signals.refuses(request.headers):
            services = request.app[SERVICES]
            await services.signals.hear(services.people, services.engine, caller)
        key = _idempotency_key(self._call, request)
        if key is None:
            return respond(await self._answer(request, caller, data, None))
        return await self._once(request, caller, data, key)

    async def _answer(self, request: web.Request, caller: Caller, data: bytes, key_id: UUID | None) -> Reply:
        body: Any = None if self._call.plain is None else self._call.plain(data)
        if self._decoder is not None and body is None:
            body = await self._decode(self._decoder, data)
        elif data and self._decoder is None and not self._call.elsewhere:
            raise Malformed("this call takes no body")
        query = bodies.convert(_query(request), self._call.query or NoQuery)
        given = Given(caller, request.match_info, query, body, data, key_id, request.headers)
        return await self._call.handle(request.app[SERVICES], given)

    async def _decode(self, decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
        """A large body is decoded beside the loop."""
        if len(data) > LARGE:
            return await asyncio.to_thread(bodies.decode, decoder, data, unique=True)
        return bodies.decode(decoder, data, unique=not self._call.hot)

    async def _once(self, request: web.Request, caller: Caller, data: bytes, key: str) -> web.StreamResponse:
        """A repeat of the same request is answered from what is kept; secrets never are, such a call is made again."""
        call, store = self._call, request.app[IDEMPOTENCY]
        mark = digest(f"{request.method} {request.raw_path}\n") + sha256(data).digest()
        kept = await store.begin(caller, key, mark)
        if isinstance(kept, Running):
            detail = "the first request under this Idempotency-Key still runs"
            return problems.plain(409, detail, request.path, {"Retry-After": "1"})
        if kept is not None and call.keeps_answer:
            headers = {"Idempotency-Replayed": "true"}
            return web.Response(
                status=kept.status, body=kept.body or None, content_type=kept.content_type, headers=headers
            )
        try:
            key_id = uuid5(caller.workspace, f"{caller.id}\n{key}")
            answer = respond(await self._answer(request, caller, data, key_id))
        except GeoOffersError as error:
            if problems.STATUS[type(error)][0] in _MAY_CHANGE:
                await store.forget(caller, key)
                raise
            answer = problems.response(error, request.path)
        except BaseException:
            await store.forget(caller, key)
            raise
        body = answer.body if call.keeps_answer and isinstance(answer.body, bytes) else b""
        await store.finish(caller, key, Kept(answer.status, answer.content_type, body))
        return answer


_NOBODY = Caller(workspace=UUID(int=0), kind="app", id="")


def _allow(call: Call, caller: Caller) -> None:
    if call.who and caller.kind not in call.who:
        raise Forbidden(f"a key or token of kind {caller.kind!r} may not call this; it takes {' or '.join(call.who)}")
    if caller.kind == "manager" and not caller.may(call.role):
        raise Forbidden(f"this needs a manager key of role {call.role!r} or above", "role")


def _within_rate(services: Services, caller: Caller) -> None:
    """Raises TooManyRequests for a device over its rate; keys have none."""
    if caller.device is not None and not services.calls.take(caller.device, clock.now_us()):
        raise TooManyRequests(f"a device makes {CALLS_PER_S:.0f} calls a second at most; wait a second")


def _query(request: web.Request) -> dict[str, str]:
    found = dict(request.query)
    if len(found) != len(request.query):
        raise Invalid("a query parameter stands twice", (Fault("", "duplicate", "name each parameter once"),))
    return found


def respond(reply: Reply) -> web.Response:
    """The reply as JSON; no body where there is no value. What comes as bytes or in pieces of them goes as it is."""
    if reply.value is None:
        return web.Response(status=reply.status, headers=reply.headers)
    body = reply.value if isinstance(reply.value, bytes | AsyncIterator) else _encoder.encode(reply.value)
    return web.Response(status=reply.status, body=body, content_type="application/json", headers=reply.headers)


# ------------------------------------------------------------------------------------------------ idempotency
def _idempotency_key(call: Call, request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None or not call.keyed:
        return None
    if not (0 < len(key) <= KEY_LIMIT and key.isascii() and key.isprintable()):
        raise Malformed(f"an Idempotency-Key has 1 to {KEY_LIMIT} printable ASCII characters")
    return key


# ------------------------------------------------------------------------------------------------ errors
@web.middleware
async def errors_to_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The one place where an error becomes an answer."""
    try:
        return await handler(request)
    except GeoOffersError as error:
        return problems.response(error, request.path)
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return problems.plain(error.status, _HTTP_DETAIL.get(error.status, error.reason), request.path, headers)
    except TimeoutError:
        return problems.plain(408, "the body did not arrive in time", request.path, {"Connection": "close"})
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours becomes a 500 here and nowhere else
        trace = "".join(format_tb(error.__traceback__))  # without the message: it may name a place
        what = {"method": request.method, "route": _route(request), "error": type(error).__name__}
        _log.error("a call failed", **what, trace=trace)
        return problems.plain(500, "this is our fault; it is logged", request.path)


_HTTP_DETAIL: Final = {404: "there is no such path", 405: "this path does not take this method"}


def _route(request: web.Request) -> str:
    """The path's pattern: a path itself may hold an id."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
