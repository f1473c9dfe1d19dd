"""The lane `webhook`: the operator's own push gateway, called as Standard Webhooks.

What counts is whether the body has begun to leave: before that a failure is NotSent, from then on it is Ambiguous until
a status comes back. The status alone is the answer; of the body at most 20 kB are read, only to keep the connection.
"""

import asyncio
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from geo_offers import clock, instants, signing, wire
from geo_offers.gateways import exchange
from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    Later,
    Message,
    NotSent,
    Outcome,
    Refused,
    TokenDead,
    TooLate,
    Transient,
)

SLOWED_S: Final = 5.0  # a 429 that does not say how long


class WebhookLane:
    """Posts to one address. `secrets`, both while one is replaced, are asked anew at each send."""

    name: Final = "webhook"
    repeats: Final = False
    rate_per_s: Final = inf

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secrets: Iterable[str],
        *,
        concurrency: int = 256,
        timeout_s: float = exchange.TIMEOUT_S,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        for secret in secrets:
            signing.key(secret)  # a bad one is found at the start, not at the first offer
        self.concurrency = concurrency
        self._session = session
        self._url = URL(url)
        self._secrets = secrets
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._now_us = now_us

    def scope(self, message: Message) -> str:  # noqa: ARG002  the port's signature: there is one gateway
        return self.name

    async def send(self, message: Message, start_by: float) -> Outcome:
        now_us = self._now_us()
        left_us = message.expires_us - now_us
        if left_us < 1_000_000:
            return TooLate()
        if message.push_token is None:  # the phone takes its push elsewhere now, or nowhere
            return TokenDead(detail="no token", by_us=True)
        raw = _event(message, now_us, left_us // 1_000_000)
        headers = signing.signed_headers(self._secrets, str(message.offer), now_us // 1_000_000, raw)
        start_by = min(start_by, asyncio.get_running_loop().time() + left_us / 1e6)
        body = exchange.Body(raw, content_type="application/json", start_by=start_by)
        try:
            return await self._post(body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            detail = type(error).__name__
            return Ambiguous(detail) if body.begun else NotSent(detail)

    async def close(self) -> None:
        """The session is the caller's."""

    async def _post(self, body: exchange.Body, headers: dict[str, str]) -> Outcome:
        async with self._session.post(
            self._url,
            data=body,
            headers={**headers, "accept-encoding": "identity"},
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            outcome = _outcome(response.status, response.headers.get("retry-after"), self._now_us())
            await exchange.read(response)
            return outcome


def _event(message: Message, now_us: int, ttl_s: int) -> bytes:
    return msgspec.json.encode(
        wire.PushEvent(
            timestamp=instants.from_us(now_us),
            data=wire.PushData(
                offer=message.offer,
                user=message.user,
                device=message.device,
                platform=message.platform,
                push_token=message.push_token,
                title=message.title,
                body=message.body,
                link=message.link,
                data=dict(message.data) if message.data else None,
                replace_key=message.replace_key,
                expires_at=instants.from_us(message.expires_us),
                ttl_s=ttl_s,
            ),
        )
    )


def _outcome(status: int, retry_after: str | None, now_us: int) -> Outcome:
    """Read the status as the contract has it; a redirect is never followed and counts as a refusal."""
    after_s = exchange.retry_after_s(retry_after, now_us)
    if 200 <= status < 300:
        return Accepted()
    if status == 410:
        return TokenDead()
    if status == 429:
        return Later(SLOWED_S if after_s is None else after_s, whole_lane=True)
    if status >= 500:
        return Transient(f"http {status}", asked_s=(after_s or 0.0) if status == 503 else 0.0)
    return Refused(f"http {status}")
