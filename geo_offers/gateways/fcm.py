"""The lane `fcm`: Firebase Cloud Messaging, HTTP v1, one call a message.

FCM takes no idempotency key: what makes a second copy harmless is the name of its place on the screen (the tag, the
collapse id), and what makes it right is the offer's own end, which goes along as the time to live. Answers are judged
by the FcmError's code, then by the status, then by the HTTP code, as push services say what they mean in that order.

- A bearer that is refused is renewed once and the message sent once more: it was not taken. A second refusal is ours.
- `INVALID_ARGUMENT` of an FcmError is the token's fault or the message's, and does not say whose. The same message to a
  topic, to be validated only, tells: where that is good, the token is not. Nothing is delivered by it.
- A project over its quota is left alone as a whole, whatever platform and workspace: as long as it asks, else for a
  minute, then two, then four. A platform whose own key is broken in the project stops alone: so goes `scope`.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal
from urllib.parse import quote

import aiohttp
import msgspec

from geo_offers import clock
from geo_offers.errors import Unavailable
from geo_offers.gateways import exchange
from geo_offers.gateways.fcm_oauth import TOKEN_URL, Bearers
from geo_offers.pipeline.credentials import FcmAccount, Vault
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

BASE_URL: Final = "https://fcm.googleapis.com"
CONCURRENCY: Final = 256
RATE_PER_S: Final = 3_000.0  # of one platform: a project's quota is 10,000 a second, and others may send for it too
MOST_BYTES: Final = 4096  # of keys and values, as FCM counts a message
LONGEST_TTL_S: Final = 28 * 86_400
SOONEST_S: Final = 10.0  # Google's own word for the least wait
BACK_OFF_S: Final = 13.5  # so that the first one, a quarter of it less at most, is no sooner
OVER_QUOTA_S: Final = (60.0, 3600.0)
TOPIC: Final = "geo-offers-validation"  # nobody is on it, and nothing is sent to it

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_CODE: Final = re.compile(r"[A-Z_]{1,40}")
_FIELD: Final = re.compile(r"[A-Za-z0-9_.\[\]]{1,40}")
_OURS: Final = frozenset({"offer", "campaign", "link"})
_RESERVED: Final = ("google.", "gcm.")

Meaning = Literal["dead", "theirs", "ours", "quota", "down", "doubtful", "never"]
_BY_CODE: Final[Mapping[str, Meaning]] = {
    "UNREGISTERED": "dead",
    "SENDER_ID_MISMATCH": "dead",
    "THIRD_PARTY_AUTH_ERROR": "theirs",
    "QUOTA_EXCEEDED": "quota",
    "INTERNAL": "down",
    "UNAVAILABLE": "down",
    "INVALID_ARGUMENT": "doubtful",
}
_BY_STATUS: Final[Mapping[str, Meaning]] = {
    "INVALID_ARGUMENT": "never",
    "UNAUTHENTICATED": "ours",
    "PERMISSION_DENIED": "ours",
    "RESOURCE_EXHAUSTED": "quota",
    "INTERNAL": "down",
    "UNAVAILABLE": "down",
}


class _Detail(msgspec.Struct, rename={"type": "@type", "code": "errorCode", "violations": "fieldViolations"}):
    type: str = ""
    code: Any = None
    violations: Any = None


class _Error(msgspec.Struct):
    status: str = ""
    details: tuple[_Detail, ...] = ()


class _Answer(msgspec.Struct):
    name: Any = None
    error: _Error | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


@dataclass(slots=True)
class _Call:
    """What the calls of one send share; `bearer` and `sent_us` are those of the newest. Times are the loop's."""

    account: FcmAccount
    start_by: float
    ends_s: float
    bearer: str = ""
    sent_us: int = 0


@dataclass(frozen=True, slots=True)
class _Heard:
    """One answer, judged. `detail` names the code, and the field where one is; `name` is what FCM calls a message."""

    http: int
    meaning: Meaning | None  # None: it was taken
    detail: str
    field: str | None = None
    name: str | None = None
    retry_after_s: float | None = None


class FcmLane:
    """Sends by the project of the message's workspace. Made within a running loop; `close` ends its connections.

    token_url: where bearers are asked for. base_url: where messages go, without a slash at the end.
    """

    name: Final = "fcm"
    repeats: Final = False
    rate_per_s: Final = RATE_PER_S

    def __init__(
        self,
        vault: Vault,
        *,
        base_url: str = BASE_URL,
        token_url: str = TOKEN_URL,
        concurrency: int = CONCURRENCY,
        timeout_s: float = exchange.TIMEOUT_S,
        now_us: Callable[[], int] = clock.now_us,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.concurrency = concurrency
        self._vault = vault
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=concurrency + 1),  # and one for bearers
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._bearers = Bearers(self._session, token_url, now_us=now_us, steady_s=steady_s, timeout_s=timeout_s)
        self._quotas = _Quotas(steady_s)

    def scope(self, message: Message) -> str:
        return f"{message.workspace}/{message.platform}"

    async def close(self) -> None:
        """End what is under way and close the connections."""
        await self._bearers.close()
        await self._session.close()

    async def send(self, message: Message, start_by: float) -> Outcome:
        ends_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(min(ends_s, start_by)):
                account = await self._vault.of(message.workspace, self.name)
        except (Unavailable, TimeoutError):
            return NotSent("no look at the credentials")
        if not isinstance(account, FcmAccount):
            return AuthBroken("no credentials")
        if message.push_token is None:
            return TokenDead(detail="no token", by_us=True)
        if _size(message) > MOST_BYTES:
            return Refused("too large", by_us=True)
        return await self._sent(_Call(account, start_by, ends_s), message, message.push_token)

    async def _sent(self, call: _Call, message: Message, token: str) -> Outcome:
        heard = await self._tried(call, message, token)
        if isinstance(heard, _Heard) and heard.meaning == "ours" and self._bearers.refused(call.account, call.bearer):
            heard = await self._tried(call, message, token)
        if not isinstance(heard, _Heard):
            return heard
        if heard.meaning == "doubtful":
            return await self._judged(call, message, heard)
        return self._outcome(call, heard)

    async def _tried(self, call: _Call, message: Message, token: str) -> _Heard | Outcome:
        """Send it once, with the time that is left now; or why it was not sent, or not answered."""
        bearer = await self._bearers.of(call.account, _left_s(min(call.ends_s, call.start_by)))
        if not isinstance(bearer, str):
            return bearer
        call.bearer, call.sent_us = bearer, self._now_us()
        left_us = message.expires_us - call.sent_us
        if left_us < 1_000_000:
            return TooLate()
        rest_s = self._quotas.rest_s(call.account.project)
        if rest_s > 0:
            return Later(rest_s, whole_lane=True)
        start_by = min(call.start_by, asyncio.get_running_loop().time() + left_us / 1e6)
        return await self._post(call, _payload(message, call.sent_us, token=token), start_by)

    async def _judged(self, call: _Call, message: Message, heard: _Heard) -> Outcome:
        """Find out whose fault an INVALID_ARGUMENT is: by the field that is named, else by validating the message."""
        if heard.field is not None:
            return TokenDead(call.sent_us, heard.detail) if heard.field == "message.token" else Refused(heard.detail)
        validated = await self._post(call, _payload(message, call.sent_us, topic=TOPIC), inf)
        if not isinstance(validated, _Heard):
            return Transient("INVALID_ARGUMENT, not validated")
        if validated.meaning is None:
            return TokenDead(call.sent_us, heard.detail)
        return Refused(heard.detail) if validated.http == 400 else Transient("INVALID_ARGUMENT, not validated")

    def _outcome(self, call: _Call, heard: _Heard) -> Outcome:
        match heard.meaning:
            case None:
                self._quotas.passed(call.account.project)
                return Accepted(heard.name)
            case "dead":
                return TokenDead(call.sent_us, heard.detail)
            case "theirs" | "ours":
                return AuthBroken(heard.detail)
            case "quota":
                return Later(self._quotas.over(call.account.project, heard.retry_after_s), whole_lane=True)
            case "down":
                return Transient(heard.detail, BACK_OFF_S, heard.retry_after_s or 0.0)
            case _:
                return Refused(heard.detail)

    async def _post(self, call: _Call, raw: bytes, start_by: float) -> _Heard | Ambiguous | NotSent:
        body = exchange.Body(raw, content_type="application/json", start_by=start_by)
        try:
            async with self._session.post(
                f"{self._base_url}/v1/projects/{quote(call.account.project, safe='')}/messages:send",
                data=body,
                headers={"authorization": f"Bearer {call.bearer}", "accept-encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=_left_s(call.ends_s)),
                allow_redirects=False,
            ) as response:
                after_s = exchange.retry_after_s(response.headers.get("retry-after"), self._now_us())
                return _heard(response.status, await exchange.read(response), after_s)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            detail = type(error).__name__
            return Ambiguous(detail) if body.begun else NotSent(detail)


class _Quotas:
    """Until when each project that was over its quota is left alone."""

    def __init__(self, steady_s: Callable[[], float]) -> None:
        self._steady_s = steady_s
        self._rests: dict[str, tuple[float, float]] = {}  # project to: until when, and the next wait

    def rest_s(self, project: str) -> float:
        """Seconds for which nothing may be sent; 0 or less: it may."""
        rest = self._rests.get(project)
        return 0.0 if rest is None else rest[0] - self._steady_s()

    def over(self, project: str, asked_s: float | None) -> float:
        """Note a refusal, and give the seconds to wait. Those that were under way with it make it no longer."""
        now_s = self._steady_s()
        until_s, wait_s = self._rests.get(project, (now_s, OVER_QUOTA_S[0]))
        if now_s >= until_s:
            until_s, wait_s = now_s + (asked_s or wait_s), min(wait_s * 2, OVER_QUOTA_S[1])
        until_s = max(until_s, now_s + (asked_s or 0.0), now_s + SOONEST_S)
        self._rests[project] = until_s, wait_s
        return until_s - now_s

    def passed(self, project: str) -> None:
        """Note that one was taken, unless it was under way since before the refusal."""
        if project in self._rests and self.rest_s(project) <= 0:
            del self._rests[project]


def _left_s(ends_s: float) -> float:
    return max(ends_s - asyncio.get_running_loop().time(), 0.001)  # for aiohttp 0 is without end


def _heard(status: int, said: bytes | None, after_s: float | None) -> _Heard:
    """Judge an answer; one that cannot be read counts by its HTTP code."""
    try:
        answer = _ANSWER.decode(said or b"")
    except exchange.UNREADABLE:
        answer = _Answer()
    if 200 <= status < 300:
        return _Heard(status, None, "", name=answer.name if isinstance(answer.name, str) else None)
    error = answer.error or _Error()
    code = next((detail.code for detail in error.details if detail.type == _FCM_ERROR), None)
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(error.status) or _by_http(status)
    field = next((field for detail in error.details if (field := _field(detail.violations))), None)
    named = code or (error.status if _CODE.fullmatch(error.status) else f"http {status}")
    return _Heard(status, meaning, f"{named} {field}" if field else named, field, retry_after_s=after_s)


def _field(violations: object) -> str | None:
    """Name the first field that is found fault with, where it is a name: what else stands there may be anybody's."""
    match violations:
        case [{"field": str(field)}, *_] if _FIELD.fullmatch(field):
            return field
    return None


def _by_http(status: int) -> Meaning:
    if status in {401, 403}:
        return "ours"
    if status == 429:
        return "quota"
    return "down" if status >= 500 else "never"


# ------------------------------------------------------------------------------------------------ the message
def _data(message: Message) -> dict[str, str]:
    """Give the app what it joins by, and the offer's own data; names that are FCM's or ours get `data.` before them."""
    data = {"offer": str(message.offer), "campaign": str(message.campaign)}
    if message.link is not None:
        data["link"] = message.link
    for name, value in (message.data or {}).items():
        taken = name in _OURS or name in {"from", "message_type"} or name.startswith(_RESERVED)
        data[f"data.{name}" if taken else name] = value
    return data


def _size(message: Message) -> int:
    """Count the bytes of keys and values."""
    told = {"title": message.title, "body": message.body} | _data(message)
    return sum(len(name.encode()) + len(value.encode()) for name, value in told.items())


def _payload(message: Message, now_us: int, *, token: str | None = None, topic: str | None = None) -> bytes:
    """Write the call's body, to a token to be sent, to a topic to be validated only."""
    left_ms = min((message.expires_us - now_us) // 1_000, LONGEST_TTL_S * 1_000)
    body = {
        **({"token": token} if token is not None else {"topic": topic}),
        "notification": {"title": message.title, "body": message.body},
        "data": _data(message),
        **_for_platform(message, left_ms),
    }
    return msgspec.json.encode({"message": body, "validate_only": token is None})


def _for_platform(message: Message, left_ms: int) -> dict[str, Any]:
    """Say in the platform's own words until when it is good, that it is urgent, and what it replaces on the screen."""
    key = message.replace_key
    match message.platform:
        case "ios":
            headers = {
                "apns-collapse-id": key,
                "apns-expiration": str(message.expires_us // 1_000_000),
                "apns-priority": "10",
            }
            return {"apns": {"headers": headers}}
        case "web":
            headers = {"TTL": str(left_ms // 1_000), "Topic": key, "Urgency": "high"}
            secure = message.link is not None and message.link.startswith("https://")
            link = {"fcm_options": {"link": message.link}} if secure else {}
            return {"webpush": {"headers": headers, "notification": {"tag": key}, **link}}
        case _:
            ttl = f"{left_ms // 1_000}.{left_ms % 1_000:03d}s"
            return {"android": {"ttl": ttl, "priority": "HIGH", "notification": {"tag": key}}}
