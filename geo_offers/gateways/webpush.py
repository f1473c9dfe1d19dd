"""The lane `webpush`: RFC 8030, encrypted for the browser (RFC 8291), signed by the workspace (RFC 8292).

The endpoint is what a browser said it is: it is judged before each send, and the session opens connections to public
addresses only. Sealing and signing take a thread of their own, so that the loop stays free. A message is bound to its
topic: at the push service a second copy replaces the first, on the screen its tag does.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Final
from uuid import UUID

import aiohttp
import msgspec
import structlog
from yarl import URL

from geo_offers import clock, hosts, instants, wire
from geo_offers.errors import Unavailable
from geo_offers.gateways import exchange
from geo_offers.gateways.beside import Beside
from geo_offers.gateways.vapid import MOST_KEPT, BadVapidKey, VapidTokens
from geo_offers.gateways.webpush_sealing import MAX_PLAIN, BadKeys, read_keys, sealed
from geo_offers.pipeline.credentials import VapidKey, Vault
from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    AuthBroken,
    Later,
    Message,
    NotSent,
    Outcome,
    Refused,
    TokenDead,
    TooLate,
    Transient,
)

SLOWED_S: Final = 10.0  # a 429 that does not say how long
GOOD_S: Final = 60  # for so long a signature that was taken is known to be good

_log = structlog.stdlib.get_logger("geo_offers.webpush")


class _Said(msgspec.Struct):
    """Of an error's body: Mozilla's number for it, `errno`."""

    errno: int


_said: Final = msgspec.json.Decoder(_Said)


class _Plain(msgspec.Struct):
    """A message before it is sealed and signed."""

    text: bytes
    push_keys: str
    key: VapidKey
    origin: str
    now_s: int
    start_by: float


class _Letter(msgspec.Struct):
    """The body, and who sends it."""

    body: exchange.Body
    authorization: str


class WebPushLane:
    """Posts to the endpoints that browsers name. The session is the caller's, and a guarded one.

    networks: where endpoints may lead beside public addresses. push_hosts: where alone they may lead, if given.
    """

    name: Final = "webpush"
    repeats: Final = False
    rate_per_s: Final = inf

    def __init__(
        self,
        session: aiohttp.ClientSession,
        vault: Vault,
        *,
        networks: Sequence[hosts.Network] = (),
        push_hosts: Sequence[str] = (),
        concurrency: int = 200,
        timeout_s: float = exchange.TIMEOUT_S,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self.concurrency = concurrency
        self._session = session
        self._vault = vault
        self._networks = tuple(networks)
        self._push_hosts = tuple(push_hosts)
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._tokens = VapidTokens()
        self._taken: dict[tuple[UUID, str], tuple[str, int]] = {}  # by origin: the last signature taken, and when
        self._sealer = Beside(self._seal, name="webpush")

    async def close(self) -> None:
        await self._sealer.close()

    def scope(self, message: Message) -> str | None:
        origin = hosts.origin(message.push_token or "")
        return origin and f"{message.workspace} {origin}"

    async def send(self, message: Message, start_by: float) -> Outcome:
        text = _payload(message)
        fault = self._fault(message, text)
        if fault is not None:
            return fault
        origin = hosts.origin(message.push_token or "") or ""
        now_s = asyncio.get_running_loop().time()
        until_s = now_s + self._timeout_s
        start_by = min(start_by, now_s + (message.expires_us - self._now_us()) / 1e6)
        try:
            async with asyncio.timeout_at(min(until_s, start_by)):
                key = await self._vault.of(message.workspace, self.name)
                if not isinstance(key, VapidKey):
                    return AuthBroken("the workspace has no VAPID key")
                plain = _Plain(text, message.push_keys or "", key, origin, self._now_us() // 1_000_000, start_by)
                letter = await self._sealer.made(plain)
        except BadKeys:
            return TokenDead(detail="keys", by_us=True)
        except BadVapidKey:
            return AuthBroken("the workspace's VAPID key cannot sign")
        except (Unavailable, TimeoutError, RuntimeError) as error:  # the last where it could not be sealed at all
            return NotSent(type(error).__name__)
        outcome = await self._posted(message, letter, until_s)
        return self._judged(outcome, (message.workspace, origin), key, letter.authorization)

    def _judged(self, outcome: Outcome, scope: tuple[UUID, str], key: VapidKey, authorization: str) -> Outcome:
        """Note a signature that was taken, forget one that was not.

        Where others' messages pass with it, a refusal means that this subscription is bound to another key.
        """
        now_s = self._now_us() // 1_000_000
        if isinstance(outcome, Accepted):
            self._taken.pop(scope, None)
            self._taken[scope] = authorization, now_s
            if len(self._taken) > MOST_KEPT:
                del self._taken[next(iter(self._taken))]
        elif isinstance(outcome, AuthBroken):
            taken, at_s = self._taken.get(scope, ("", 0))
            if outcome.of_one and taken == authorization and now_s - at_s < GOOD_S:
                return TokenDead(detail=outcome.detail)
            self._tokens.forget(key, scope[1])
        return outcome

    def _fault(self, message: Message, plain: bytes) -> Outcome | None:
        """What keeps a message from being sent at all."""
        if self._left_s(message) < 1:
            return TooLate()
        endpoint = message.push_token or ""
        if hosts.url_fault(endpoint, self._networks) is not None:
            return Refused("the endpoint is no https address of a public host", by_us=True)
        if self._push_hosts and not hosts.is_under(URL(endpoint, encoded=True).host or "", self._push_hosts):
            return TokenDead(detail="its host is no push service that may be called", by_us=True)
        if len(plain) > MAX_PLAIN:
            return Refused(f"longer than {MAX_PLAIN} bytes", by_us=True)
        return None

    def _left_s(self, message: Message) -> int:
        return (message.expires_us - self._now_us()) // 1_000_000

    def _seal(self, plain: _Plain) -> _Letter:
        """In the thread."""
        browser = read_keys(plain.push_keys)
        authorization = self._tokens.authorization(plain.key, plain.origin, plain.now_s)
        body = sealed(plain.text, browser)
        return _Letter(
            exchange.Body(body, content_type="application/octet-stream", start_by=plain.start_by), authorization
        )

    async def _posted(self, message: Message, letter: _Letter, until_s: float) -> Outcome:
        ttl_s = self._left_s(message)
        if ttl_s < 1:
            return TooLate()
        try:
            async with self._session.post(
                URL(message.push_token or "", encoded=True),
                data=letter.body,
                headers={
                    "authorization": letter.authorization,
                    "content-encoding": "aes128gcm",
                    "ttl": str(ttl_s),
                    "topic": message.replace_key,
                    "urgency": "high",
                    "accept-encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(total=max(until_s - asyncio.get_running_loop().time(), 0.001)),
                allow_redirects=False,
            ) as response:
                outcome = _outcome(response, await exchange.read(response), self._now_us())
                _tell_shorter(response, ttl_s)
                return outcome
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, hosts.ForbiddenAddress):
                _log.warning("a push endpoint leads to an address that is not public", offer=str(message.offer))
                return Refused("the endpoint's name leads to an address that is not public", by_us=True)
            detail = type(error).__name__
            return Ambiguous(detail) if letter.body.begun else NotSent(detail)


def _payload(message: Message) -> bytes:
    return msgspec.json.encode(
        wire.WebPushOffer(
            offer=message.offer,
            title=message.title,
            body=message.body,
            tag=message.replace_key,
            expires_at=instants.from_us(message.expires_us),
            link=message.link,
            data=dict(message.data) if message.data else None,
        )
    )


def _outcome(response: aiohttp.ClientResponse, said: bytes | None, now_us: int) -> Outcome:
    """Read the status as the table of push services has it; a redirect is never followed and counts as a refusal."""
    status, detail = response.status, _detail(response.status, said)
    after_s = exchange.retry_after_s(response.headers.get("retry-after"), now_us)
    if 200 <= status < 300:
        return Accepted(response.headers.get("location"))
    if status in {404, 410}:
        return TokenDead(detail=detail)
    if status in {401, 403}:
        return AuthBroken(detail, of_one=status == 403)
    if status == 429:
        return Later(SLOWED_S if after_s is None else after_s)
    if status == 503 and after_s is not None:
        return Later(after_s, whole_lane=True)
    if status >= 500:
        return Transient(detail)
    return Refused(detail)


def _detail(status: int, said: bytes | None) -> str:
    try:
        return f"http {status} errno {_said.decode(said or b'').errno}"
    except exchange.UNREADABLE:
        return f"http {status}"


def _tell_shorter(response: aiohttp.ClientResponse, asked_s: int) -> None:
    """A push service may keep a message for less than it was asked to; whoever wonders why it never came can see it."""
    given = response.headers.get("ttl", "")
    if response.status < 300 and given.isascii() and given.isdigit() and int(given[:9]) < asked_s:
        _log.debug(
            "the push service keeps it for less", host=response.url.host, asked_s=asked_s, given_s=int(given[:9])
        )
