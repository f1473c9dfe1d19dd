"""A system of the company's own: verifies as the reference library does, answers by a script, keeps what it is told."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from standardwebhooks import Webhook

from tests.support.loopback import answering

Fault = int | Literal["drop", "hang"]


def script(seed: int, faults: Mapping[Fault, float], length: int) -> Iterable[Fault]:
    """Answers by chance that are the same for the same seed; what is left of 1 is answered 200."""
    chance = random.Random(seed)
    kinds, weights = [*faults, 200], [*faults.values(), 1 - sum(faults.values())]
    return chance.choices(kinds, weights, k=length)


@dataclass
class Receiver:
    """`answers` are taken one by one, then every one is 200. `taken`: by webhook-id, what was answered well.

    A repeat of what was taken is counted in `repeats`: a receiver that remembers ids acts on it no more.
    """

    secrets: list[str] = field(default_factory=list)
    answers: list[Fault] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    posts: list[tuple[str, int]] = field(default_factory=list)
    unsigned: int = 0
    most_under_way: int = 0
    url: str = ""
    _under_way: int = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.taken.values() if event["type"] == kind]

    async def until(self, kind: str, count: int = 1, within_s: float = 10.0) -> list[dict[str, Any]]:
        async with asyncio.timeout(within_s):
            while len(self.of(kind)) < count:
                await asyncio.sleep(0.01)
        return self.of(kind)

    async def take(self, request: web.Request) -> web.Response:
        body, ident = await request.read(), request.headers["webhook-id"]
        self.posts.append((ident, int(request.headers["webhook-timestamp"])))
        event = self._verified(body, request)
        if event is None:
            self.unsigned += 1
            return web.Response(status=401)
        answer = self.answers.pop(0) if self.answers else 200
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            if answer == "hang":
                await asyncio.sleep(3600)
        finally:
            self._under_way -= 1
        if answer == "drop" and request.transport is not None:
            request.transport.abort()
            return web.Response()
        assert isinstance(answer, int)
        if answer == 200:
            self.repeats[ident] += ident in self.taken
            self.taken.setdefault(ident, event)
        return web.Response(status=answer, headers=self.headers)

    def _verified(self, body: bytes, request: web.Request) -> dict[str, Any] | None:
        for secret in self.secrets:
            try:
                event: dict[str, Any] = Webhook(secret).verify(body, dict(request.headers))
            except Exception:  # noqa: BLE001  the library raises its own and ValueError: neither is a signature
                continue
            return event
        return None


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with answering(app) as url:
        receiver.url = f"{url}/hook"
        yield receiver
