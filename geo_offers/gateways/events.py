"""Posts one event to an endpoint of the company's own, as Standard Webhooks: signed anew on each attempt."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

import aiohttp

from geo_offers import clock, hosts, signing
from geo_offers.gateways import exchange
from geo_offers.pipeline.notifying import Answer, Post

TIMEOUT_S: Final = 15.0


class EventSender:
    """`pipeline.notifying.Notifier`'s `send`. The session is the caller's, and keeps to public addresses."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout_s: float = TIMEOUT_S,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._now_us = now_us

    async def __call__(self, post: Post) -> Answer:
        started = perf_counter()
        try:
            status, retry_after = await self._post(post)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: no address at all
            return Answer(None, _ms(started), _why(error), slow=isinstance(error, TimeoutError))
        detail = None if 200 <= status < 300 else f"http {status}"
        return Answer(status, _ms(started), detail, exchange.retry_after_s(retry_after, self._now_us()))

    async def _post(self, post: Post) -> tuple[int, str | None]:
        headers = signing.signed_headers(post.secrets, post.id, self._now_us() // 1_000_000, post.body)
        async with self._session.post(
            post.url,
            data=post.body,
            headers={**headers, "content-type": "application/json", "accept-encoding": "identity"},
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            await exchange.read(response)
            return response.status, response.headers.get("retry-after")


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, hosts.ForbiddenAddress):
        return "forbidden address"
    return type(error).__name__


def _ms(started: float) -> int:
    return round((perf_counter() - started) * 1e3)
