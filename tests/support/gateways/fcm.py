"""A double of FCM HTTP v1 and of Google's token endpoint, as strict as they are, and the phones behind it.

It believes nothing: the signed word of a service account is verified, bearers run out, and a message is read by FCM's
own rules, not by those of the lane. Faults come from a script, one a call, or by a seed. The ledger is of what phones
have shown: a message that replaces another takes its place on the screen, and one that waited for a phone beyond its
time to live never came.
"""

import asyncio
import itertools
import json
import random
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from hashlib import sha256
from typing import Any, Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from geo_offers.pipeline.credentials import FcmAccount
from tests.support.gateways.common import Gateway, Shown
from tests.support.loopback import answering

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
EMAIL: Final = "sender@town.iam.gserviceaccount.example"
MOST_TTL_S: Final = 2_419_200
STATUS: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


@cache
def key_pem(which: int = 0) -> str:
    """Make a key once; another number is another key."""
    made = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@cache
def _public(pem: str) -> Any:
    return serialization.load_pem_private_key(pem.encode(), None).public_key()


# ------------------------------------------------------------------------------------------------ faults
@dataclass(frozen=True, slots=True)
class Answer:
    """Said instead of taking the message. `code`: of an FcmError; `fields`: of a BadRequest; `raw`: the whole body."""

    status: int
    code: str | None = None
    fields: tuple[str, ...] = ()
    retry_after: str | float | None = None  # a float: so many seconds from now, as an HTTP date
    status_text: str | None = None
    raw: bytes | None = None
    location: str | None = None

    def response(self) -> web.Response:
        headers = {}
        if isinstance(self.retry_after, float):
            headers["Retry-After"] = formatdate(time.time() + self.retry_after, usegmt=True)
        elif self.retry_after is not None:
            headers["Retry-After"] = self.retry_after
        if self.location is not None:
            headers["Location"] = self.location
        return web.Response(status=self.status, headers=headers, body=self.body(), content_type="application/json")

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        details: list[dict[str, Any]] = []
        if self.code is not None:
            details.append({"@type": FCM_ERROR, "errorCode": self.code})
        if self.fields:
            violations = [{"field": name, "description": "Invalid value"} for name in self.fields]
            details.append({"@type": BAD_REQUEST, "fieldViolations": violations})
        status = self.status_text or STATUS.get(self.status, "UNKNOWN")
        error = {"code": self.status, "message": "What went wrong.", "status": status, "details": details}
        return json.dumps({"error": error}).encode()


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks: before the message is looked at, or after it was taken."""

    taken: bool = False


@dataclass(frozen=True, slots=True)
class TakeThenClose:
    """It is taken and answered, and the connection is closed behind the answer."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing is said for so long; it is taken first, or never."""

    seconds: float = 30.0
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Trickle:
    """It is taken, and the body of the answer comes in pieces so many seconds apart, without end or to that length."""

    piece: bytes = b"x"
    every_s: float = 1.0
    status: int = 200
    length: int | None = None


Fault = Answer | Drop | TakeThenClose | Hang | Trickle


def faults(seed: int, count: int) -> list[Fault | None]:
    """A script that the seed replays: half of the calls pass."""
    drawn = random.Random(seed)
    bad: list[Fault] = [
        Answer(500, "INTERNAL"),
        Answer(503, "UNAVAILABLE", retry_after="1"),
        Answer(502, raw=b"<html>"),
        Answer(401),
        Drop(),
        Drop(taken=True),
        TakeThenClose(),
        Trickle(b"x" * 65_536, 0.0),
    ]
    return [drawn.choice(bad) if drawn.random() < 0.5 else None for _ in range(count)]


# ------------------------------------------------------------------------------------------------ phones
@dataclass(slots=True)
class Quota:
    """A bucket of messages; what is over it is refused."""

    per_s: float
    burst: float
    left: float = field(init=False)
    at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.at_s = self.burst, time.monotonic()

    def take(self) -> bool:
        now_s = time.monotonic()
        self.left = min(self.burst, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Fcm(Gateway):
    """One project. Tokens are alive unless `tokens` says otherwise: unregistered, mismatch, malformed."""

    lane = "fcm"

    def __init__(self, project: str = "town", *, now_s: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.project = project
        self.url = ""
        self.key = key_pem()
        self._now_s = now_s
        # what it is told
        self.script: deque[Fault | None] = deque()
        self.oauth_script: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.tokens: dict[str, str] = {}
        self.quota: Quota | None = None
        self.latency_s: Callable[[], float] | None = None
        self.bearer_lasts_s: Any = 3599
        self.offline: set[str] = set()
        # what it has seen
        self.grants = 0
        self.bearers: dict[str, float] = {}  # until when each is good, of the monotonic clock
        self.calls: list[dict[str, Any]] = []
        self.keeps_calls = True
        self.taken = 0
        self.validated = 0
        self.most_at_once = 0
        self.connections: set[Any] = set()
        self.alerts: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[str, list[tuple[float, str, Shown]]] = {}  # until when, and where on the screen
        self._at_once = 0

    @property
    def settings(self) -> dict[str, Any]:
        return {"fcm_url": self.url, "fcm_token_url": f"{self.url}/token"}

    @property
    def credentials(self) -> dict[str, Any]:
        account = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": "a" * 40,
            "private_key": self.key,
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
        }
        return {"service_account": account}

    def phone(self, name: str) -> dict[str, Any]:
        """A token is as long as FCM's are."""
        token = f"{sha256(name.encode()).hexdigest()[:22]}:APA91b".ljust(163, "x")
        return {"platform": "android", "push": {"lane": self.lane, "token": token}}

    def account(self) -> FcmAccount:
        return FcmAccount(self.project, EMAIL, "key-1", self.key, f"{self.url}/token")

    def expire_bearers(self) -> None:
        """All that were given out are good no more, though they were promised to be."""
        self.bearers.clear()

    def play(self, *script: Fault | None) -> None:
        """Meet the next calls with these; None takes the message."""
        self.script.extend(script)

    def come_online(self, token: str) -> None:
        """The phone fetches what waits for it and has not run out."""
        self.offline.discard(token)
        for until_s, place, shown in self._waiting.pop(token, ()):
            self._show(token, place, shown, until_s)

    # -------------------------------------------------------------------------------------------- OAuth
    async def grant(self, request: web.Request) -> web.StreamResponse:
        self.grants += 1
        form = await request.post()
        fault = self.oauth_script.popleft() if self.oauth_script else None
        if fault is not None:
            return await self._misbehave(request, fault, lambda: None)
        if form.get("grant_type") != GRANT:
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        try:
            claims = jwt.decode(
                str(form["assertion"]), _public(self.key), algorithms=["RS256"], audience=f"{self.url}/token",
                issuer=EMAIL, options={"require": ["iss", "aud", "iat", "exp", "scope"]},
            )  # fmt: skip
        except (jwt.PyJWTError, KeyError):
            return web.json_response({"error": "invalid_grant", "error_description": "Bad JWT"}, status=400)
        if claims["scope"] != SCOPE:
            return web.json_response({"error": "invalid_scope"}, status=400)
        if claims["exp"] - claims["iat"] > 3600:
            return web.json_response({"error": "invalid_grant"}, status=400)
        bearer = f"ya29.{uuid.uuid4().hex}"
        lasts_s = self.bearer_lasts_s
        self.bearers[bearer] = time.monotonic() + (lasts_s if isinstance(lasts_s, int | float) else 3599)
        return web.json_response({"access_token": bearer, "expires_in": lasts_s, "token_type": "Bearer"})

    # -------------------------------------------------------------------------------------------- sending
    async def send(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.connections.add(request.transport)
        try:
            raw = await request.read()
            if self.latency_s is not None:
                await asyncio.sleep(self.latency_s())
            return await self._sent(request, raw)
        finally:
            self._at_once -= 1

    async def _sent(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        document = json.loads(raw)
        if self.keeps_calls:
            self.calls.append(document)
        fault = self._fault(document)
        if fault is not None:
            return await self._misbehave(request, fault, lambda: self._take(document))
        return (self._refusal(request, document) or self._taken(document)).response()

    def _fault(self, document: Any) -> Fault | None:
        """What goes wrong with it. Only what is meant for a phone has come to one."""
        message = document.get("message", {})
        address, offer = message.get("token", ""), message.get("data", {}).get("offer", "")
        if not document.get("validate_only"):
            self.came(address, offer)
        if self.script:
            return self.script.popleft()
        return self.always or self.trouble(address, offer)

    async def _misbehave(self, request: web.Request, fault: Fault, take: Callable[[], object]) -> web.StreamResponse:
        assert request.transport is not None
        match fault:
            case Answer():
                return fault.response()
            case Drop(taken):
                if taken:
                    take()
                request.transport.abort()
                return web.Response()
            case TakeThenClose():
                take()
                response = web.json_response({"name": f"projects/{self.project}/messages/closed"})
                response.force_close()
                return response
            case Hang(seconds, taken):
                if taken:
                    take()
                await asyncio.sleep(seconds)
                return web.Response()
            case Trickle(piece, every_s, status, length):
                take()
                trickling = web.StreamResponse(status=status)
                trickling.content_length = length
                await trickling.prepare(request)
                for _ in itertools.count() if length is None else range(length // len(piece)):
                    await trickling.write(piece)
                    await asyncio.sleep(every_s)
                return trickling

    def _refusal(self, request: web.Request, document: Any) -> Answer | None:
        """Why the call is refused, in the order in which FCM looks."""
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or self.bearers.get(bearer, 0.0) < time.monotonic():
            return Answer(401)
        if request.match_info["project"] != self.project:
            return Answer(403)
        if self.quota is not None and not self.quota.take():
            return Answer(429, "QUOTA_EXCEEDED")
        if bad := fields_at_fault(document):
            self.faults.append(f"bad fields: {', '.join(bad)}")
            return Answer(400, fields=tuple(bad))
        message = document["message"]
        if _bytes_of(message) > (4096 if "token" in message else 2048):
            return Answer(400, "INVALID_ARGUMENT")
        match self.tokens.get(message.get("token", "")):
            case "unregistered":
                return Answer(404, "UNREGISTERED")
            case "mismatch":
                return Answer(403, "SENDER_ID_MISMATCH")
            case "malformed":
                return Answer(400, "INVALID_ARGUMENT")
        return None

    def _taken(self, document: Any) -> Answer:
        self._take(document)
        return Answer(200, raw=json.dumps({"name": f"projects/{self.project}/messages/{self.taken}"}).encode())

    def _take(self, document: Any) -> None:
        if document.get("validate_only"):
            self.validated += 1
            return
        self.taken += 1
        message = document["message"]
        token, place = message["token"], place_of(message)
        notification, data = message["notification"], message.get("data", {})
        until_s = self._now_s() + ttl_s_of(message, self._now_s())
        shown = Shown(data.get("offer", ""), notification["title"], notification["body"], data)
        if token in self.offline:
            self._waiting.setdefault(token, []).append((until_s, place, shown))
        else:
            self._show(token, place, shown, until_s)

    def _show(self, token: str, place: str, shown: Shown, until_s: float) -> None:
        if self._now_s() < until_s:
            self.put(token, place, shown)
            self.alerts[token, place] += 1


def place_of(message: Mapping[str, Any]) -> str:
    """The place on the screen that a later message of the same name takes; without one each has its own."""
    places = (
        message.get("android", {}).get("notification", {}).get("tag"),
        message.get("apns", {}).get("headers", {}).get("apns-collapse-id"),
        message.get("webpush", {}).get("notification", {}).get("tag"),
    )
    return next((place for place in places if place), uuid.uuid4().hex)


def ttl_s_of(message: Mapping[str, Any], now_s: float) -> float:
    """How long it may wait for its phone."""
    if ttl := message.get("android", {}).get("ttl"):
        return float(ttl[:-1])
    if expires := message.get("apns", {}).get("headers", {}).get("apns-expiration"):
        return int(expires) - now_s
    if ttl := message.get("webpush", {}).get("headers", {}).get("TTL"):
        return float(ttl)
    return MOST_TTL_S


def fields_at_fault(document: Any) -> Iterable[str]:
    """What FCM would name in a BadRequest."""
    message = document.get("message")
    if not isinstance(message, dict):
        return ["message"]
    bad = []
    if sum(target in message for target in ("token", "topic", "condition")) != 1:
        bad.append("message.token")
    for name, value in message.get("data", {}).items():
        reserved = name in {"from", "message_type"} or name.startswith(("google.", "gcm."))
        if reserved or not isinstance(value, str):
            bad.append("message.data")
    android = message.get("android", {})
    ttl = android.get("ttl", "0s")
    if not re.fullmatch(r"\d+(\.\d{1,9})?s", ttl) or float(ttl[:-1]) > MOST_TTL_S:
        bad.append("message.android.ttl")
    if android.get("priority", "HIGH") not in {"NORMAL", "HIGH"}:
        bad.append("message.android.priority")
    apns = message.get("apns", {}).get("headers", {})
    if len(apns.get("apns-collapse-id", "").encode()) > 64 or not re.fullmatch(r"\d*", apns.get("apns-expiration", "")):
        bad.append("message.apns.headers")
    web_push = message.get("webpush", {})
    topic = web_push.get("headers", {}).get("Topic", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,32}", topic) or not re.fullmatch(
        r"\d*", web_push.get("headers", {}).get("TTL", "")
    ):
        bad.append("message.webpush.headers")
    if not web_push.get("fcm_options", {}).get("link", "https://").startswith("https://"):
        bad.append("message.webpush.fcm_options.link")
    return bad


def _bytes_of(message: Mapping[str, Any]) -> int:
    told = [*message.get("notification", {}).items(), *message.get("data", {}).items()]
    return sum(len(name.encode()) + len(value.encode()) for name, value in told)


@asynccontextmanager
async def running(fcm: Fcm) -> AsyncIterator[Fcm]:
    """Serve it on the loopback address."""
    app = web.Application()
    app.router.add_post("/token", fcm.grant)
    app.router.add_post("/v1/projects/{project}/messages:send", fcm.send)
    async with answering(app) as fcm.url:
        yield fcm
