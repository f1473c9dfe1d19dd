"""A WebSocket server for the SDK's streams that drops, refuses and repeats as a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from aiohttp import WSMsgType, web

from geo_offers import instants, wire
from geo_offers.client import Device, Patience, Stream
from geo_offers.clock import now_us
from tests.support.loopback import answering

QUICK = Patience(attempts=20, first_s=0.01, longest_s=0.02, total_s=5.0)
Act = Callable[["FakeLine", web.WebSocketResponse, int, Any], Awaitable[None]]


class FakeLine:
    """Takes streams, answers each ping frame by its number as the contract says; `act` replaces what a frame causes."""

    def __init__(self) -> None:
        self.connections = 0
        self.received: list[list[str]] = []  # times of the pings of each frame that was read, over all connections
        self.shown: list[UUID] = []
        self.tokens: list[str] = []
        self.pace = asyncio.Event()  # `shown` is taken in when it is set
        self.pace.set()
        self.erased = 0
        self.good_token: str | None = None
        self.renewals = 0
        self.refuse_with: list[int] = []
        self.act: Act = FakeLine.answer
        self.on_connect: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.url = ""

    async def enrol(self, _request: web.Request) -> web.Response:
        return _json(
            wire.Enrolled(device=uuid4(), user=uuid4(), access_token="t0", expires_in=900, refresh_token="r0"), 201
        )

    async def renew(self, _request: web.Request) -> web.Response:
        self.renewals += 1
        return _json(wire.Tokens(access_token=f"t{self.renewals}", expires_in=900, refresh_token=f"r{self.renewals}"))

    async def erase(self, _request: web.Request) -> web.Response:
        self.erased += 1
        return web.Response(status=204)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.tokens.append(token)
        if self.refuse_with:
            return web.Response(status=self.refuse_with.pop(0))
        if self.good_token not in (None, token):
            return web.Response(status=401)
        socket = web.WebSocketResponse(max_msg_size=64 * 1024)
        await socket.prepare(request)
        self.connections += 1
        self.sockets.append(socket)
        for frame in self.on_connect:
            await socket.send_str(msgspec.json.encode(frame).decode())
        number = 0
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            number += 1
            frame = msgspec.json.decode(message.data)
            if isinstance(frame, dict) and frame.get("type") == "shown":
                self.shown.append(UUID(frame["offer"]))
                await self.pace.wait()
                continue
            self.received.append([point["at"] for point in frame])
            await self.act(self, socket, number, frame)
        return socket

    async def answer(self, socket: web.WebSocketResponse, number: int, frame: Any, **more: Any) -> None:
        results = [{"status": "accepted"} for _ in frame]
        body = {"seq": number, "results": results, "transitions": [], "offers": [], **more}
        await socket.send_str(msgspec.json.encode(body).decode())

    async def push(self, offer: wire.Offer) -> None:
        await self.sockets[-1].send_str(msgspec.json.encode(offer_frame(offer)).decode())


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def problem_frame(number: int | None, status: int, code: str, **more: Any) -> str:
    problem = {"type": f"urn:{code}", "title": code, "status": status, "detail": code, "instance": "/", "code": code}
    return msgspec.json.encode({"type": "problem", "seq": number, "problem": problem, **more}).decode()


def an_offer(*, lives_s: float = 1800) -> wire.Offer:
    now = instants.from_us(now_us())
    return wire.Offer(
        id=uuid4(), campaign=uuid4(), fence="town/1", title="Tea", body="for two", lane="inapp", alert=True,
        created_at=now, expires_at=now + timedelta(seconds=lives_s),
    )  # fmt: skip


def offer_frame(offer: wire.Offer) -> dict[str, Any]:
    return {"type": "offer", **msgspec.to_builtins(offer)}


def ping(second: int, **more: Any) -> wire.Ping:
    return wire.Ping(at=instants.text(1_700_000_000_000_000 + second * 1_000_000), lat=53.0, lon=8.8, **more)


def times(*seconds: int) -> list[str]:
    return [ping(second).at for second in seconds]


@asynccontextmanager
async def answering_line() -> AsyncIterator[FakeLine]:
    """A line that answers on the loopback address."""
    fake = FakeLine()
    app = web.Application()
    app.router.add_post("/v1/devices", fake.enrol)
    app.router.add_post("/v1/devices/token", fake.renew)
    app.router.add_delete("/v1/me", fake.erase)
    app.router.add_get("/v1/stream", fake.stream)
    async with answering(app) as fake.url:
        yield fake


@asynccontextmanager
async def streaming(device: Device, **options: Any) -> AsyncIterator[Stream]:
    async with asyncio.timeout(8), device.stream(patience=QUICK, **options) as stream:
        yield stream


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.005)
