"""Apple's push service on the loopback: HTTP/2 over TLS under an authority of its own, strict about every rule.

It keeps a ledger of what a phone would show: by device token and collapse id, never after its expiry. A script says
what goes wrong with the requests to come, one entry each; `random_script` makes one from a seed.
"""

import asyncio
import contextlib
import json
import random
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any, Final, cast

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, SettingsAcknowledged, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from geo_offers.gateways.http2 import tls_context
from geo_offers.pipeline.credentials import ApnsKey, Credential
from tests.support.gateways.common import Gateway, Shown

MOST_PAYLOAD: Final = 4096
HOUR_S: Final = 3600
CHANGE_S: Final = 20 * 60


def new_key(team: str = "TEAM123456", key_id: str = "KEY1234567", topic: str = "example.bakery") -> ApnsKey:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ApnsKey(team, key_id, pem.decode(), topic, sandbox=False)


@dataclass(frozen=True, slots=True)
class Push:
    """A request as it came."""

    device: str
    headers: dict[str, str]
    body: bytes
    line: int
    stream: int

    @property
    def ident(self) -> str:
        return self.headers.get("apns-id", "")

    @property
    def said(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Call:
    """One request in the hands of the script."""

    apns: "FakeApns"
    line: "_Line"
    push: Push

    def show(self) -> None:
        self.apns.show(self.push)

    def answer(self, status: int = 200, body: bytes = b"", *, named: bool = True, piece: int = 1 << 14) -> None:
        """Answer; the body in DATA frames of `piece` bytes."""
        headers = [(":status", str(status))]
        if named:
            headers.append(("apns-id", self.push.ident))
        pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
        self.line.headers(self.push.stream, headers, end=not pieces)
        for number, part in enumerate(pieces, 1):
            self.line.data(self.push.stream, part, end=number == len(pieces))

    def refuse(self, status: int, reason: str, *, piece: int = 1 << 14, **more: Any) -> None:
        self.answer(status, json.dumps({"reason": reason} | more).encode(), piece=piece)


Fault = Callable[[Call], Awaitable[None]]


# ------------------------------------------------------------------------------------------------ what goes wrong
def refusing(status: int, reason: str, **more: Any) -> Fault:
    async def fault(call: Call) -> None:
        call.refuse(status, reason, **more)

    return fault


def split(status: int, reason: str, **more: Any) -> Fault:
    """A body of which each byte has a DATA frame of its own."""

    async def fault(call: Call) -> None:
        call.refuse(status, reason, piece=1, **more)

    return fault


def bare(status: int) -> Fault:
    """An answer without a body and without an apns-id."""

    async def fault(call: Call) -> None:
        if status == 200:
            call.show()
        call.answer(status, named=False)

    return fault


def reset(code: ErrorCodes, *, shown: bool = False) -> Fault:
    async def fault(call: Call) -> None:
        if shown:
            call.show()
        call.line.reset(call.push.stream, code)

    return fault


def slow(seconds: float) -> Fault:
    async def fault(call: Call) -> None:
        call.show()
        await asyncio.sleep(seconds)
        call.answer()

    return fault


def goaway(reason: str | None = None, *, answered: bool = True) -> Fault:
    """A GOAWAY that has seen this stream: it is processed, and answered or not."""

    async def fault(call: Call) -> None:
        call.line.goaway(call.push.stream, reason)
        call.show()
        if answered:
            await asyncio.sleep(0.02)
            call.answer()
        else:
            call.line.close()

    return fault


async def goaway_unseen(call: Call) -> None:
    """A GOAWAY that has not seen this stream: neither it nor a later one is processed."""
    call.line.goaway(max(call.push.stream - 2, 0))


def goaway_unseen_for(reason: str) -> Fault:
    """The same, with words."""

    async def fault(call: Call) -> None:
        call.line.goaway(max(call.push.stream - 2, 0), reason)

    return fault


async def lost(call: Call) -> None:
    """Processed, and the connection ends before the answer."""
    call.show()
    call.line.close()


async def dropped(call: Call) -> None:
    """Not processed, and the connection ends."""
    call.line.close()


async def silent(call: Call) -> None:
    """Processed, and never answered."""
    call.show()


async def endless(call: Call) -> None:
    """An answer of 100 MB, as fast as it is taken."""
    call.line.headers(call.push.stream, [(":status", "400")])
    for _ in range(10_000):
        if not await call.line.room(call.push.stream, 10_000):
            return
        call.apns.poured += 10_000
        call.line.data(call.push.stream, b"x" * 10_000)


async def dripping(call: Call) -> None:
    """A status at once, and a body that never ends."""
    call.line.headers(call.push.stream, [(":status", "410")])
    while await call.line.room(call.push.stream, 1):
        call.line.data(call.push.stream, b" ")
        await asyncio.sleep(0.02)


async def garbage(call: Call) -> None:
    """Bytes that are no frame."""
    call.line.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(range(256)))


def random_script(seed: int, length: int, *, share: float = 0.5) -> deque[Fault | None]:
    """A script of faults that an offer can survive, of which `share` are none."""
    rng = random.Random(seed)
    faults: Sequence[Fault] = (
        goaway(),
        goaway(answered=False),
        goaway_unseen,
        lost,
        dropped,
        bare(200),
        slow(0.05),
        reset(ErrorCodes.REFUSED_STREAM),
        reset(ErrorCodes.INTERNAL_ERROR),
        reset(ErrorCodes.CANCEL, shown=True),
        refusing(400, "IdleTimeout"),
        garbage,
    )
    return deque(None if rng.random() >= share else rng.choice(faults) for _ in range(length))


# ------------------------------------------------------------------------------------------------ the service
@dataclass
class FakeApns(Gateway):
    """One team's view of Apple. `clock`: seconds since the epoch, for tokens and expiry."""

    lane = "apns"
    key: ApnsKey
    clock: Callable[[], float] = time.time
    streams: int = 1000
    first_streams: int = 1
    """What a new connection is told; more than the one that its client may use shows whether it keeps to that."""
    window: int = 65_535
    script: deque[Fault | None] = field(default_factory=deque)
    dead_ms: dict[str, int] = field(default_factory=dict)
    posts: list[Push] = field(default_factory=list)
    processed: Counter[str] = field(default_factory=Counter)
    """How often each apns-id was taken for a phone, whatever was answered."""
    lines: list["_Line"] = field(default_factory=list)
    poured: int = 0
    unwelcome: str | None = None
    """For what reason new connections are said goodbye to at once, if they are."""
    url: str = ""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    offline: set[str] = field(default_factory=set)
    """Devices whose messages wait at Apple, the newest of each place, until they expire."""
    _waiting: dict[tuple[str, str], tuple[int, Shown]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {"apns_url": self.url}

    @property
    def authority(self) -> bytes:
        return authority_pem()

    @property
    def credentials(self) -> dict[str, Any]:
        key = self.key
        named = {"team": key.team, "key_id": key.key_id, "private_key": key.key, "topic": key.topic}
        return named | {"environment": "sandbox" if key.sandbox else "production"}

    def phone(self, name: str) -> dict[str, Any]:
        return {"platform": "ios", "push": {"lane": self.lane, "token": sha256(name.encode()).hexdigest()}}

    async def of(self, workspace: object, lane: str) -> Credential | None:
        """The vault of a workspace that has this key."""
        return self.key if lane == "apns" else None

    def context(self) -> ssl.SSLContext:
        return _trusting()

    @property
    def live(self) -> list["_Line"]:
        return [line for line in self.lines if line.open]

    def show(self, push: Push) -> None:
        expires_s = int(push.headers["apns-expiration"])
        if expires_s <= self.clock():
            self.faults.append(f"{push.ident} was sent after its expiry")
            return
        self.processed[push.ident] += 1
        said = push.said
        alert = said["aps"]["alert"]
        shown = Shown(push.ident, alert["title"], alert["body"], said.get("data", {}))
        place = push.headers["apns-collapse-id"]
        if push.device in self.offline:
            self._waiting[push.device, place] = expires_s, shown
        else:
            self.put(push.device, place, shown)

    def come_online(self, device: str) -> None:
        """What has not expired by now comes up."""
        self.offline.discard(device)
        for waiting in [key for key in self._waiting if key[0] == device]:
            expires_s, shown = self._waiting.pop(waiting)
            if self.clock() < expires_s:
                self.put(*waiting, shown)

    def forbidden(self, line: "_Line", authorization: str) -> tuple[int, str] | None:
        """Why this token is not taken on this connection."""
        token = authorization.removeprefix("bearer ")
        if not authorization.startswith("bearer "):
            return 403, "MissingProviderToken"
        claims = self.known.get(token)
        if claims is None:
            public = ec_public(self.key.key)
            try:
                claims = jwt.decode(token, public, ["ES256"], options={"verify_iat": False, "require": ["iss", "iat"]})
            except jwt.PyJWTError:
                return 403, "InvalidProviderToken"
            if claims["iss"] != self.key.team or jwt.get_unverified_header(token)["kid"] != self.key.key_id:
                return 403, "InvalidProviderToken"
            self.known[token] = claims
        now_s = self.clock()
        if claims["iat"] > now_s + 60:
            return 403, "InvalidProviderToken"
        if now_s - claims["iat"] > HOUR_S:
            return 403, "ExpiredProviderToken"
        if line.token is not None and line.token != token and now_s - line.token_at_s < CHANGE_S:
            line.spoiled_until_s = line.token_at_s + CHANGE_S
        if now_s < line.spoiled_until_s:
            return 429, "TooManyProviderTokenUpdates"
        if line.token != token:
            line.token, line.token_at_s = token, now_s
        return None

    def refused(self, line: "_Line", push: Push) -> tuple[int, dict[str, Any]] | None:
        """What Apple's rules say against a request."""
        headers = push.headers
        if (why := self.forbidden(line, headers.get("authorization", ""))) is not None:
            return why[0], {"reason": why[1]}
        line.prove()
        for wrong, status, reason in (
            (headers[":method"] != "POST", 405, "MethodNotAllowed"),
            (not headers[":path"].startswith("/3/device/"), 404, "BadPath"),
            ("apns-topic" not in headers, 400, "MissingTopic"),
            (headers.get("apns-topic") != self.key.topic, 400, "TopicDisallowed"),
            (headers.get("apns-push-type") != "alert", 400, "InvalidPushType"),
            (headers.get("apns-priority", "10") not in {"10", "5", "1"}, 400, "BadPriority"),
            (not headers.get("apns-expiration", "x").isdigit(), 400, "BadExpirationDate"),
            (not 1 <= len(headers.get("apns-collapse-id", "")) <= 64, 400, "BadCollapseId"),
            (
                headers.get("apns-id", "x").count("-") != 4 or headers["apns-id"].lower() != headers["apns-id"],
                400,
                "BadMessageId",
            ),
            (not push.body, 400, "PayloadEmpty"),
            (len(push.body) > MOST_PAYLOAD, 413, "PayloadTooLarge"),
        ):
            if wrong:
                self.faults.append(reason)
                return status, {"reason": reason}
        if not (len(push.device) == 64 and set(push.device) <= set("0123456789abcdef")):
            return 400, {"reason": "BadDeviceToken"}
        if push.device in self.dead_ms:
            return 410, {"reason": "Unregistered", "timestamp": self.dead_ms[push.device]}
        return None

    async def take(self, line: "_Line", push: Push) -> None:
        self.posts.append(push)
        call = Call(self, line, push)
        if line.last is not None and push.stream > line.last:
            return
        self.came(push.device, push.ident)
        if (refusal := self.refused(line, push)) is not None:
            status, said = refusal
            call.answer(status, json.dumps(said).encode())
            return
        fault = self.script.popleft() if self.script else self.trouble(push.device, push.ident)
        if fault is not None:
            await fault(call)
            return
        call.show()
        call.answer()


def ec_public(pem: str) -> ec.EllipticCurvePublicKey:
    key = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).prepare_key(pem)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.public_key()


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, apns: FakeApns) -> None:
        self.apns = apns
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        first = {
            SettingCodes.MAX_CONCURRENT_STREAMS: min(apns.first_streams, apns.streams),
            SettingCodes.INITIAL_WINDOW_SIZE: apns.window,
        }
        self.h2.local_settings = Settings(client=False, initial_values=first)
        self.proven = False
        self.token: str | None = None
        self.token_at_s = self.spoiled_until_s = float("-inf")
        self.requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.open = False
        self.gone: set[int] = set()
        self.pings = 0
        self.last: int | None = None
        self.answered = False
        self.deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.open = True
        self.apns.lines.append(self)
        self.h2.initiate_connection()
        self.flush()
        if self.apns.unwelcome is not None:
            self.goaway(0, self.apns.unwelcome)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            self.apns.faults.append(repr(error))
            self.flush()
            self.close()
            return
        for event in events:
            match event:
                case RequestReceived(stream_id=number, headers=headers):
                    self.requests[number] = {str(name): str(value) for name, value in headers}, bytearray()
                case DataReceived(stream_id=number, data=part, flow_controlled_length=length):
                    self.requests[number][1].extend(part)
                    self.h2.acknowledge_received_data(length, number)
                case StreamEnded(stream_id=number):
                    self.begin(number)
                case StreamReset(stream_id=number):
                    self.gone.add(number)
                case SettingsAcknowledged():
                    pass
                case _:
                    self.pings += type(event).__name__ == "PingReceived"
        self.flush()

    def begin(self, number: int) -> None:
        headers, body = self.requests.pop(number)
        if self.tasks and not self.answered:
            self.apns.faults.append("a second request before the first answer")
        device = headers[":path"].rpartition("/")[2]
        push = Push(device, headers, bytes(body), self.apns.lines.index(self), number)
        task = asyncio.get_running_loop().create_task(self.apns.take(self, push))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def prove(self) -> None:
        """A valid token was seen: more streams are allowed."""
        if not self.proven:
            self.proven = True
            self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.apns.streams})
            self.flush()

    def open_window(self, size: int = 65_535) -> None:
        """Let bodies in that were held back by a window of nothing."""
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
        self.flush()

    # -------------------------------------------------------------------------------------------- out
    def headers(self, number: int, headers: Iterable[tuple[str, str]], *, end: bool = False) -> None:
        self.answered = True
        with contextlib.suppress(ProtocolError):  # the client has reset it
            self.h2.send_headers(number, list(headers), end_stream=end)
        self.flush()

    def data(self, number: int, part: bytes, *, end: bool = False) -> None:
        with contextlib.suppress(ProtocolError):
            self.h2.send_data(number, part, end_stream=end)
        self.flush()

    async def room(self, number: int, size: int) -> bool:
        """Wait for the client's window; False where it wants no more."""
        while self.open and number not in self.gone:
            with contextlib.suppress(ProtocolError):
                if self.h2.local_flow_control_window(number) >= size:
                    return True
            await asyncio.sleep(0.001)
        return False

    def reset(self, number: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError):
            self.h2.reset_stream(number, code)
        self.flush()

    def goaway(self, last: int, reason: str | None = None) -> None:
        """Say so without h2, which would answer nothing after it; what comes above `last` is not looked at."""
        self.last = last
        frame = GoAwayFrame(0)
        frame.last_stream_id = last
        frame.additional_data = json.dumps({"reason": reason}).encode() if reason else b""
        self.write(frame.serialize())

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def flush(self) -> None:
        self.write(self.h2.data_to_send())

    def close(self) -> None:
        self.transport.abort()


@cache
def _authority() -> tuple[trustme.CA, trustme.LeafCert]:
    """One for all fakes of a process: making it is what takes time."""
    authority = trustme.CA()
    return authority, authority.issue_cert("127.0.0.1")


def authority_pem() -> bytes:
    """What a client in another process has to trust."""
    return _authority()[0].cert_pem.bytes()


@cache
def _trusting() -> ssl.SSLContext:
    """What trusts it."""
    with _authority()[0].cert_pem.tempfile() as ca_file:
        return tls_context(ca_file)


@asynccontextmanager
async def serving(
    key: ApnsKey | None = None, *, port: int = 0, spoken: str = "h2", **more: Any
) -> AsyncIterator[FakeApns]:
    """Serve on the loopback. `spoken`: what it offers in the handshake."""
    apns = FakeApns(key or new_key(), **more)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([spoken])
    _authority()[1].configure_cert(context)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Line(apns), "127.0.0.1", port, ssl=context, ssl_shutdown_timeout=0.1
    )
    apns.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield apns
    finally:
        server.close()
        for line in apns.live:
            line.close()
        await server.wait_closed()
