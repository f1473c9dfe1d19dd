"""One request to the server: who asks, how its answer is read, and when it is sent again.

A request is sent again after 429, 502, 503, 504, a 409 that names a time, and a lost connection. That is safe for
each of our calls: pings are idempotent, PUT and GET are by nature, and other writes carry an Idempotency-Key that
stays the same.
"""

import io
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from yarl import URL

from geo_offers import wire
from geo_offers.client.errors import ApiError, ClientError, ConnectionFailed, UnreadableAnswer
from geo_offers.client.retry import AGAIN_STATUS, Backoff, Patience, retry_after_s

T = TypeVar("T")
IN_ONE_PIECE_BYTES = 256 * 1024
LOST = (aiohttp.ClientError, OSError, TimeoutError)  # how a connection that fails shows itself

_KNOCK = Patience(attempts=3, longest_s=0.5)
_AGENT = {"User-Agent": "geo-offers-client"}


class Bearer(Protocol):
    """Who asks: an API key, or a device whose access token is renewed."""

    async def token(self) -> str | None:
        """Give what goes into the Authorization header now; None for no header."""
        ...

    async def renew(self, stale: str | None) -> bool:
        """Replace `stale`, which was refused; False where that cannot be done."""
        ...


@dataclass(frozen=True, slots=True)
class KeyBearer:
    """An API key, or nobody (None)."""

    key: str | None

    async def token(self) -> str | None:
        return self.key

    async def renew(self, stale: str | None) -> bool:  # noqa: ARG002 - a key has no successor
        return False


NOBODY = KeyBearer(None)


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `path` is already percent-encoded (see `path`)."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    idempotency_key: str | None = None
    timeout_s: float = 30.0


def path(*segments: object) -> str:
    """Make a path of `/v1` from its segments, each percent-encoded whole (a fence's id may hold a slash)."""
    return "/v1/" + "/".join(_segment(str(segment)) for segment in segments)


def _segment(text: str) -> str:
    # "." and ".." would be resolved away as steps between folders
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


class Caller:
    """The connections of one client. Requests and streams have separate ones: a stream holds its own for hours."""

    def __init__(self, url: str, patience: Patience) -> None:
        if not _is_address(url):
            raise ClientError(f"the server's address must look like http://host:port, not {url[:64]!r}")
        self._base = url.rstrip("/")
        self._patience = patience
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._requests = _session(100)
        self._streams = _session(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        self._requests = self._streams = None

    @property
    def requests(self) -> aiohttp.ClientSession:
        return _opened(self._requests)

    @property
    def streams(self) -> aiohttp.ClientSession:
        return _opened(self._streams)

    def url(self, where: str, query: Mapping[str, str] | None = None) -> URL:
        return URL(self._base + where + (f"?{urlencode(query)}" if query else ""), encoded=True)

    async def ask(self, call: Call, bearer: Bearer, kind: type[T]) -> T:
        """Send, and decode the answer. Raises ApiError, ConnectionFailed, UnreadableAnswer."""
        return decoded(await self.send(call, bearer), kind)

    async def send(self, call: Call, bearer: Bearer) -> bytes:
        """Send, and return the answer's body. Raises ApiError or, when every try was lost, ConnectionFailed."""
        backoff = Backoff(self._patience)
        renewed = False
        while True:
            token = await bearer.token()
            try:
                outcome = await self._once(call, token)
            except LOST as error:
                if not await backoff.again():
                    raise ConnectionFailed(f"{call.method} {call.path} had no answer: {reason(error)}") from error
                continue
            if not isinstance(outcome, ApiError):
                return outcome
            if outcome.status == 401 and not renewed and await bearer.renew(token):
                renewed = True
                continue
            if not _worth_another_try(outcome) or not await backoff.again(outcome.retry_after_s):
                raise outcome

    async def knock(self) -> None:
        """Find out within seconds whether a server is there; any answer will do. Raises ConnectionFailed."""
        backoff = Backoff(_KNOCK)
        while True:
            try:
                await self._once(Call("GET", "/livez", timeout_s=5.0), None)
            except LOST as error:
                if not await backoff.again():
                    raise ConnectionFailed(f"no server answers at {self._base}: {reason(error)}") from error
            else:
                return

    async def _once(self, call: Call, token: str | None) -> bytes | ApiError:
        headers = authorization(token)
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        async with self.requests.request(
            call.method,
            self.url(call.path, call.query),
            data=_sendable(call.body),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=call.timeout_s, sock_connect=5),
            allow_redirects=False,  # a redirect would carry the key to where nobody meant it to go
        ) as response:
            body = await response.read()
            return body if response.status < 300 else problem(response.status, body, response.headers, call.path)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0  # reading it raises ValueError where it is no port
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False


def _session(limit: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit), cookie_jar=aiohttp.DummyCookieJar(), headers=_AGENT
    )


def _sendable(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body as a file, which aiohttp writes piece by piece between other work; it warns of large bytes."""
    return io.BytesIO(body) if body is not None and len(body) > IN_ONE_PIECE_BYTES else body


def _opened(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise RuntimeError("the client is not open; use it as `async with Client(...) as client`")
    return session


def authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def given(body: msgspec.Struct) -> dict[str, object]:
    """Leave out the fields of a body that say nothing (null): a thousand phones then fit into one request."""
    values = ((name, getattr(body, name)) for name in body.__struct_fields__)
    return {name: value for name, value in values if value is not None}


def decoded(body: bytes | str, kind: type[T]) -> T:
    """Read the body as that type; raises UnreadableAnswer."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableAnswer(f"the server's answer is not what the contract says: {error}") from error


def problem(status: int, body: bytes, headers: Mapping[str, str], instance: str) -> ApiError:
    """Make the error of an answer; one that is no problem document (a proxy's page) gets the code `http_STATUS`."""
    wait_s = retry_after_s(headers.get("Retry-After"))
    try:
        return ApiError(msgspec.json.decode(body, type=wire.Problem), wait_s)
    except msgspec.MsgspecError:
        detail = f"the server answered {status} without saying why"
        made = wire.Problem(
            kind="about:blank", title=detail, status=status, detail=detail, instance=instance, code=f"http_{status}"
        )
        return ApiError(made, wait_s)


def _worth_another_try(error: ApiError) -> bool:
    # 409 with a time: the first try under the same Idempotency-Key is still at work
    return error.status in AGAIN_STATUS or (error.status == 409 and error.retry_after_s is not None)


def reason(error: BaseException) -> str:
    """Why a connection failed, in the system's words where it has any."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError | socket.gaierror):
        return cause.strerror or str(cause)  # their numbers are not the system's
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return str(cause) or ("it took too long" if isinstance(cause, TimeoutError) else type(cause).__name__)
