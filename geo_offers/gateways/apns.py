"""The lane `apns`: Apple's push service for iOS, with provider tokens over HTTP/2.

Apple takes no idempotency key: `apns-id` only names a message. What makes a second copy harmless is
`apns-collapse-id`, by which it overwrites the first; what makes it right is `apns-expiration`, the offer's own end.
A request that Apple has not looked at goes again at once; one that it left unanswered is for the dispatcher to judge.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

import msgspec
from hpack import NeverIndexedHeaderTuple as Changing

from geo_offers import clock
from geo_offers.errors import Unavailable
from geo_offers.gateways.apns_tokens import BadKey, Identity, ProviderTokens, identity
from geo_offers.gateways.http2 import Answer, Headers, Standing, Unanswered, Unsent
from geo_offers.gateways.http2_pool import Pool
from geo_offers.pipeline.credentials import ApnsKey, Vault
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

PRODUCTION: Final = "https://api.push.apple.com"
SANDBOX: Final = "https://api.sandbox.push.apple.com"
TIMEOUT_S: Final = 5.0
MOST_PAYLOAD: Final = 4096
TROUBLE_S: Final = 900.0  # what Apple asks for after 500 and 503, at least; an offer seldom lives that long
CROWDED_S: Final = 60.0  # Apple names no time

_TOKEN: Final = re.compile(r"[0-9A-Fa-f]{1,200}")
_DEAD: Final = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
_FAREWELLS: Final[Mapping[str, int]] = {
    "ExpiredProviderToken": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "Forbidden": 403,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "UnrelatedKeyIdInToken": 403,
    "TooManyProviderTokenUpdates": 429,
}
_SPENT: Final = frozenset({"IdleTimeout", "Shutdown", "TooManyProviderTokenUpdates"})


class ApnsLane:
    """Sends with each workspace's own key. `url` stands in for Apple's hosts; `context` speaks HTTP/2."""

    name: Final = "apns"
    repeats: Final = False
    rate_per_s: Final = inf

    def __init__(
        self,
        vault: Vault,
        context: ssl.SSLContext,
        url: str | None = None,
        *,
        concurrency: int = 200,
        timeout_s: float = TIMEOUT_S,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self.concurrency = concurrency
        self._vault = vault
        self._context = context
        self._url = url
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._tokens = ProviderTokens(now_us)
        self._pools: dict[tuple[str, Identity], Pool] = {}

    def scope(self, message: Message) -> str:
        """A workspace has one team."""
        return str(message.workspace)

    async def send(self, message: Message, start_by: float) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        device = message.push_token
        if device is None or not _TOKEN.fullmatch(device):
            return TokenDead(detail="BadDeviceToken", by_us=True)
        payload = _payload(message)
        if len(payload) > MOST_PAYLOAD:
            return Refused("PayloadTooLarge", by_us=True)
        try:
            async with asyncio.timeout_at(min(deadline, start_by)):
                key = await self._vault.of(message.workspace, self.name)
        except (Unavailable, TimeoutError):
            return NotSent("credentials cannot be read now")
        if not isinstance(key, ApnsKey):
            return AuthBroken("no credentials")
        try:
            return await self._deliver(message, key, payload, start_by, deadline)
        except BadKey:
            return AuthBroken("the key cannot sign")
        except Unsent as error:
            return NotSent(str(error))
        except Unanswered as error:
            return Ambiguous(str(error))

    async def close(self) -> None:
        """Close all connections; what is under way goes unanswered."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def _deliver(
        self, message: Message, key: ApnsKey, payload: bytes, start_by: float, deadline: float
    ) -> Outcome:
        """Send; once more where Apple wants a newer token, or had given the connection up."""
        loop = asyncio.get_running_loop()
        pool = self._pool(key)
        for resends in (1, 0):
            token = self._tokens.of(key)
            left_s = (message.expires_us - self._now_us()) / 1e6
            if left_s < 1:
                return TooLate()
            headers = _headers(message, pool.authority, key.topic, token)
            whole_by = min(start_by, deadline, loop.time() + left_s)
            answer = await pool.request(headers, payload, start_by=whole_by, deadline=deadline)
            if not (resends and self._mended(key, token, _reason(answer))):
                break
        return _outcome(answer, self._now_us())

    def _mended(self, key: ApnsKey, token: str, reason: str) -> bool:
        """Whether the same request may do better at once."""
        match reason:
            case "ExpiredProviderToken":
                return self._tokens.renew(key, token)
            case "IdleTimeout":
                return True
            case _:
                return False

    def _pool(self, key: ApnsKey) -> Pool:
        """Find the connections of a key: no other key shares them, whatever names it goes by."""
        url = self._url or (SANDBOX if key.sandbox else PRODUCTION)
        whose = url, identity(key)
        pool = self._pools.get(whose)
        if pool is None:
            self._pools = {known: one for known, one in self._pools.items() if not one.empty}
            pool = self._pools[whose] = Pool(url, self._context, _standing, _farewell)
        return pool


def _headers(message: Message, authority: str, topic: str, token: str) -> Headers:
    """Apple keeps a small header table and wants those that change out of it."""
    return (
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", authority),
        Changing(":path", f"/3/device/{message.push_token}"),
        Changing("authorization", f"bearer {token}"),
        Changing("apns-id", str(message.offer)),
        Changing("apns-expiration", str(message.expires_us // 1_000_000)),
        Changing("apns-collapse-id", message.replace_key),
        ("apns-topic", topic),
        ("apns-push-type", "alert"),
        ("apns-priority", "10"),
    )


def _payload(message: Message) -> bytes:
    """What the phone shows, and beside it what the app reads; no sound: whether it rings is the person's choice."""
    said: dict[str, Any] = {
        "aps": {"alert": {"title": message.title, "body": message.body}},
        "offer": message.offer,
        "campaign": message.campaign,
    }
    if message.link is not None:
        said["link"] = message.link
    if message.data:
        said["data"] = dict(message.data)
    return msgspec.json.encode(said)


def _outcome(answer: Answer, now_us: int) -> Outcome:
    """Read Apple's table: the reason decides, else the status."""
    status, reason = answer.status, _reason(answer)
    detail = f"{status} {reason}".rstrip()
    if status < 300:
        return Accepted(answer.headers.get("apns-id"))
    if status == 410 or reason in _DEAD:
        return TokenDead(_dead_at_us(answer, now_us), detail)
    if status == 403:
        return Transient(detail) if reason == "ExpiredProviderToken" else AuthBroken(detail)
    if status == 429:
        return Later(CROWDED_S, whole_lane=reason == "TooManyProviderTokenUpdates")
    if status in {500, 503}:
        return Transient(detail, TROUBLE_S, TROUBLE_S)
    if status > 500 or reason == "IdleTimeout":
        return Transient(detail)
    return Refused(detail)


def _standing(answer: Answer) -> Standing:
    """Only an answer to a token that was taken proves a connection."""
    if _reason(answer) in _SPENT:
        return Standing.SPENT
    return Standing.UNPROVEN if answer.status == 403 or answer.status >= 500 else Standing.GOOD


def _farewell(said: bytes) -> Answer | None:
    """Read a goodbye for what is wrong with us, which another connection would hear too."""
    status = _FAREWELLS.get(_reason(Answer(0, {}, said)))
    return None if status is None else Answer(status, {}, said)


def _reason(answer: Answer) -> str:
    reason = _said(answer).get("reason") if answer.body else None
    return reason if isinstance(reason, str) else ""


def _dead_at_us(answer: Answer, now_us: int) -> int | None:
    """Since when a token is dead, which is not after now: one that is registered from now on is another."""
    at_ms = _said(answer).get("timestamp")
    return min(at_ms * 1000, now_us) if isinstance(at_ms, int) and at_ms > 0 else None


def _said(answer: Answer) -> dict[str, Any]:
    """The body of a refusal, which may be empty, cut off or anything."""
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
