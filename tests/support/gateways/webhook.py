"""The push gateway of an operator's own: it verifies what it gets and answers as it is told."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import standardwebhooks
from aiohttp import web

from geo_offers.clock import now_us
from geo_offers.instants import from_us
from tests.support.gateways.common import Gateway, Shown
from tests.support.loopback import answering

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not taken; `after_s`: when to come back."""

    status: int
    after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """It is shown, and answered so much later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection breaks without an answer; `shown`: after it was."""

    shown: bool


@dataclass
class Webhook(Gateway):
    """Keeps what a phone would show: by replace key, never when expired."""

    lane = "webhook"
    bodies: list[str] = field(default_factory=list)
    url: str = ""
    before_answer: Callable[[str], Awaitable[None]] | None = None
    answer_with: Callable[[], web.Response] = web.Response
    under_way: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        return {"webhook_url": self.url, "webhook_secret": SECRET}

    def phone(self, name: str) -> dict[str, Any]:
        return {"platform": "ios", "push": {"lane": self.lane, "token": f"token-{name}"}}

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.bodies.append(raw.decode())
        try:
            event = standardwebhooks.Webhook(SECRET).verify(raw, dict(request.headers))
        except Exception as error:  # noqa: BLE001  whatever is wrong with it is the test's to see
            self.faults.append(repr(error))
            return web.Response(status=400)
        data, ident = event["data"], request.headers["webhook-id"]
        if ident != data["offer"]:
            self.faults.append(f"webhook-id {ident} names another offer than {data['offer']}")
        if datetime.fromisoformat(data["expires_at"]) <= from_us(now_us()):
            self.faults.append(f"{ident} was sent after its expiry")
        self.came(data["push_token"], ident)
        match self.trouble(data["push_token"], ident):
            case Refused(status, after_s):
                return web.Response(status=status, headers={} if after_s is None else {"Retry-After": str(after_s)})
            case Late(seconds):
                self._show(data)
                await asyncio.sleep(seconds)
                return web.Response()
            case Lost(shown):
                if shown:
                    self._show(data)
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        self._show(data)
        self.under_way += 1
        try:
            if self.before_answer is not None:
                await self.before_answer(ident)
        finally:
            self.under_way -= 1
        return self.answer_with()

    def _show(self, data: dict[str, Any]) -> None:
        shown = Shown(data["offer"], data["title"], data["body"], data.get("data") or {})
        self.put(data["push_token"], data["replace_key"], shown)


@asynccontextmanager
async def gateway() -> AsyncIterator[Webhook]:
    made = Webhook()
    app = web.Application()
    app.router.add_post("/push", made.take)
    async with answering(app) as url:
        made.url = f"{url}/push"
        yield made
