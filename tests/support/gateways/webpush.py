"""A push service and the browsers behind it, strict as RFC 8030, 8291 and 8292 are, on the loopback address over TLS.

A browser decrypts with code of its own and keeps what a person would see: `shown`, every notification that came up, and
`screen`, what the ledger has there after each tag's later ones have replaced the earlier. Messages for a browser that
is not there are stored by topic until their TTL has run out.
"""

import asyncio
import json
import random
import re
import ssl
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from os import urandom
from typing import Any

import jwt
import trustme
from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from geo_offers import clock
from tests.support.gateways.common import Gateway, Shown
from tests.support.loopback import answering

LONGEST_TTL_S = 30 * 86_400
MOST_BYTES = 4096
URGENCIES = {"very-low", "low", "normal", "high"}
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


def text_of(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_bytes(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def opened(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """Decrypt as a browser does: one record, its own delimiter, padding of zeros."""
    salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    theirs, sealed = body[21 : 21 + length], body[21 + length :]
    assert length == 65
    assert size >= 18
    assert len(sealed) <= size
    agreed = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
    secret = _derived(auth, agreed, b"WebPush: info\x00" + public_bytes(key) + theirs, 32)
    content_key = _derived(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _derived(salt, secret, b"Content-Encoding: nonce\x00", 12)
    plain = AESGCM(content_key).decrypt(nonce, sealed, None).rstrip(b"\x00")
    assert plain[-1:] == b"\x02"
    return plain[:-1]


@dataclass
class Browser:
    """One subscription and the screen it leads to."""

    endpoint: str
    bound_to: str  # the VAPID key it was made with, base64url
    here: bool = True
    gone: int | None = None  # 404 or 410
    screen: dict[str, Shown] = field(default_factory=dict)
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    auth: bytes = field(default_factory=lambda: urandom(16))
    shown: list[dict] = field(default_factory=list)
    pending: dict[str, tuple[int, dict]] = field(default_factory=dict)  # by topic: until when, and what

    @property
    def keys(self) -> str:
        return json.dumps({"p256dh": text_of(public_bytes(self.key)), "auth": text_of(self.auth)})

    def opened(self, body: bytes) -> dict | None:
        """What a message says; none where it is not for this browser."""
        try:
            return json.loads(opened(body, self.key, self.auth))
        except (AssertionError, ValueError, IndexError, InvalidTag):
            return None


@dataclass(frozen=True)
class Answer:
    """An answer in place of the service's own; the message is lost."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after_s: float = 0.0


@dataclass(frozen=True)
class Lost:
    """The connection is cut before an answer; `taken`: after the message was."""

    taken: bool


@dataclass(frozen=True)
class Late:
    """It is taken, and answered so much later."""

    seconds: float


@dataclass(frozen=True)
class Dripping:
    """A status, and then a body that does not end."""

    status: int
    chunk: bytes = b"x"
    every_s: float = 0.01


Fault = Answer | Lost | Late | Dripping | None


def drawn_faults(seed: int, shares: Sequence[tuple[Fault, float]]) -> Callable[[str, str], Fault]:
    """A script without end: each fault with its share, none with the rest. The same seed gives the same one."""
    chance = random.Random(seed)
    faults, weights = zip(*shares, (None, 1 - sum(share for _, share in shares)), strict=True)
    return lambda _address, _offer: chance.choices(faults, weights)[0]


class PushService(Gateway):
    """Answers at `/push/{token}`; each request is met by the next fault of the script, if there is one."""

    lane = "webpush"

    def __init__(self, now_us: Callable[[], int], *, keeps: bool) -> None:
        """`keeps`: what was requested and shown; a long run is counted only."""
        super().__init__()
        self.sender = new_key()
        self.origin = ""
        self.tls, self.certificate = _trusting(), _authority()[0].cert_pem.bytes()
        self.browsers: dict[str, Browser] = {}
        self.script: deque[Fault] = deque()
        self.requests: list[Mapping[str, str]] = []
        self.taken = 0
        self._now_us = now_us
        self._keeps = keeps
        self._checked: dict[tuple[str, str], float] = {}  # until when a token is good: to check one is dear

    @property
    def settings(self) -> dict[str, Any]:
        return {"egress_allow": "127.0.0.0/8"}

    @property
    def authority(self) -> bytes:
        return self.certificate

    @property
    def credentials(self) -> dict[str, Any]:
        return {"subject": "mailto:push@town.example", "private_key": pem_of(self.sender)}

    def phone(self, name: str) -> dict[str, Any]:
        browser = self.subscribe(self.sender)
        return {
            "platform": "web",
            "push": {"lane": self.lane, "token": browser.endpoint, "keys": json.loads(browser.keys)},
        }

    def subscribe(self, bound_to: ec.EllipticCurvePrivateKey, **options) -> Browser:
        token = text_of(urandom(24))
        endpoint = f"{self.origin}/push/{token}"
        made = Browser(endpoint, text_of(public_bytes(bound_to)), screen=self.screens[endpoint], **options)
        self.browsers[token] = made
        return made

    def arrive(self, browser: Browser) -> None:
        """The browser is back: what has not run out comes up."""
        browser.here = True
        now_us = self._now_us()
        for until_us, note in browser.pending.values():
            if now_us < until_us:
                self._show(browser, note)
        browser.pending.clear()

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._keeps:
            self.requests.append(request.headers)
        browser = self.browsers.get(request.match_info["token"])
        note = None if browser is None else browser.opened(body)
        fault = self._fault(browser, note)
        if isinstance(fault, Answer):
            await asyncio.sleep(fault.after_s)
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        if isinstance(fault, Lost):
            if fault.taken:
                self._taken(request, body, browser, note)
            request.transport.abort()
            raise web.HTTPInternalServerError
        if isinstance(fault, Dripping):
            response = web.StreamResponse(status=fault.status)
            await response.prepare(request)
            while True:
                await response.write(fault.chunk)
                await asyncio.sleep(fault.every_s)
        answer = self._taken(request, body, browser, note)
        if isinstance(fault, Late):
            await asyncio.sleep(fault.seconds)
        return answer

    def _fault(self, browser: Browser | None, note: dict | None) -> Fault:
        address, offer = browser.endpoint if browser else "", note["offer"] if note else ""
        self.came(address, offer)
        return self.script.popleft() if self.script else self.trouble(address, offer)

    def _taken(self, request: web.Request, body: bytes, browser: Browser | None, note: dict | None) -> web.Response:
        if browser is None:
            return _refusal(404, 102)
        if browser.gone is not None:
            return _refusal(browser.gone, 103 if browser.gone == 404 else 106)
        refused = self._sender_fault(request, browser) or _form_fault(request, body)
        if refused is not None:
            self.faults.append(refused.text or "")
            return refused
        ttl_s = min(int(request.headers["ttl"]), LONGEST_TTL_S)
        self.taken += 1
        if note is None:  # nobody else can tell: the browser drops it
            self.faults.append("it cannot be opened")
        elif browser.here:
            self._show(browser, note)
        elif ttl_s:
            topic = request.headers.get("topic") or text_of(urandom(24))
            browser.pending[topic] = self._now_us() + ttl_s * 1_000_000, note
        location = f"{self.origin}/m/{text_of(urandom(12))}"
        return web.Response(status=201, headers={"location": location, "ttl": str(ttl_s)})

    def _show(self, browser: Browser, note: dict) -> None:
        if self._keeps:
            browser.shown.append(note)
        self.put(browser.endpoint, note["tag"], Shown(note["offer"], note["title"], note["body"], note.get("data", {})))

    def _sender_fault(self, request: web.Request, browser: Browser) -> web.Response | None:
        given = re.fullmatch(r"vapid t=([\w.-]+), ?k=([\w-]+)", request.headers.get("authorization", ""))
        if given is None:
            return _refusal(401, 109)
        token, key = given.groups()
        now_s = self._now_us() / 1e6
        if now_s < self._checked.get((token, key), 0.0):
            return None if key == browser.bound_to else _refusal(403, 109)
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes_of(key))
            unchecked_time = {"verify_exp": False, "require": ["exp", "aud", "sub"]}
            claims = jwt.decode(token, public, algorithms=["ES256"], audience=self.origin, options=unchecked_time)
        except (ValueError, jwt.InvalidTokenError):
            return _refusal(401, 109)
        known = claims["sub"].startswith(("mailto:", "https:"))
        if not known or not now_s < claims["exp"] <= now_s + 86_400:
            return _refusal(401, 109)
        self._checked[token, key] = claims["exp"]
        return None if key == browser.bound_to else _refusal(403, 109)


def _form_fault(request: web.Request, body: bytes) -> web.Response | None:
    headers = request.headers
    if len(body) > MOST_BYTES:
        return _refusal(413, 104)
    if headers.get("content-encoding") != "aes128gcm":
        return _refusal(400, 110)
    if "ttl" not in headers:
        return _refusal(400, 111)
    if not headers["ttl"].isdigit():
        return _refusal(400, 112)
    if any(not TOPIC.fullmatch(topic) for topic in headers.getall("topic", [])) or len(headers.getall("topic", [])) > 1:
        return _refusal(400, 113)
    urgencies = headers.getall("urgency", [])
    if len(urgencies) > 1 or not URGENCIES.issuperset(urgencies):
        return _refusal(400, 114)
    return None


def _refusal(status: int, errno: int) -> web.Response:
    return web.json_response({"code": status, "errno": errno, "error": "refused", "more_info": ""}, status=status)


@cache
def _authority() -> tuple[trustme.CA, trustme.LeafCert]:
    """One for all services of a process: making it, and what trusts it, is what takes time."""
    authority = trustme.CA()
    return authority, authority.issue_cert("127.0.0.1", "localhost", "push.example")


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority()[0].configure_trust(context)
    return context


@asynccontextmanager
async def push_service(now_us: Callable[[], int] = clock.now_us, *, keeps: bool = True) -> AsyncIterator[PushService]:
    """Run one; `tls` is what a client trusts it by."""
    service = PushService(now_us, keeps=keeps)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority()[1].configure_cert(context)
    app = web.Application(client_max_size=1 << 20)
    app.router.add_post("/push/{token}", service.take)
    async with answering(app, context) as service.origin:
        yield service
