"""Bearers for Google's calls: a service account's signed word is exchanged for one, which is good for an hour.

- One bearer an account, and one exchange under way at most, whoever waits for it.
- A bearer is renewed in the last tenth of its life, beside the sends: while that fails, the old one is used to its end.
- After an exchange that failed the endpoint is left alone for some seconds; without a bearer its failure is the answer.
- A bearer that is refused is thrown away, once a minute at most: credentials that never work make no storm.
- Lives are counted by a steady clock from before the exchange, so that a wall clock which is set changes nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final
from urllib.parse import urlencode

import aiohttp
import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from geo_offers.gateways import exchange
from geo_offers.pipeline.credentials import FcmAccount
from geo_offers.pipeline.lanes import AuthBroken, NotSent

TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
LONGEST_S: Final = 3600
SKEW_S: Final = 60  # our clock may be so far ahead
RENEWED_AT: Final = 0.9  # of its life
LEFT_ALONE_S: Final = 5.0
THROWN_AWAY_EVERY_S: Final = 60.0
MOST_ACCOUNTS: Final = 1_000

_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept-encoding": "identity"}


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float


class _Denied(msgspec.Struct):
    error: str


@dataclass(slots=True)
class _Held:
    """What is known of one account; instants are of the steady clock."""

    bearer: str = ""
    renew_s: float = -inf
    until_s: float = -inf
    failure: NotSent | AuthBroken | None = None
    not_before_s: float = -inf
    thrown_away_s: float = -inf
    renewal: "asyncio.Task[None] | None" = None


class Bearers:
    """Bearers by account. `token_url` is called; an account may name it or Google's own, and no other."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token_url: str,
        *,
        now_us: Callable[[], int],
        steady_s: Callable[[], float],
        timeout_s: float,
    ) -> None:
        self._session = session
        self._token_url = token_url
        self._now_us = now_us
        self._steady_s = steady_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._held: dict[FcmAccount, _Held] = {}

    async def of(self, account: FcmAccount, within_s: float) -> str | NotSent | AuthBroken:
        """Give a bearer that is good now, waiting for so many seconds where there is none yet; or why there is none."""
        if account.token_uri not in {TOKEN_URL, self._token_url}:
            return AuthBroken("oauth token_uri")
        held = self._of(account)
        now_s = self._steady_s()
        if held.renewal is None and now_s >= max(held.renew_s, held.not_before_s):
            held.renewal = asyncio.create_task(self._renew(account, held), name="fcm-oauth")
        if now_s < held.until_s:
            return held.bearer
        if held.renewal is not None:
            await asyncio.wait({held.renewal}, timeout=within_s)
        if self._steady_s() < held.until_s:
            return held.bearer
        return held.failure or NotSent("oauth: no answer in time")

    def refused(self, account: FcmAccount, bearer: str) -> bool:
        """Throw this bearer away, which a call was refused with; whether it is worth asking for another."""
        held = self._of(account)
        now_s = self._steady_s()
        if held.bearer != bearer or now_s >= held.until_s:
            return True
        if now_s < held.thrown_away_s + THROWN_AWAY_EVERY_S:
            return False
        held.thrown_away_s = now_s
        held.renew_s = held.until_s = -inf
        return True

    async def close(self) -> None:
        """End the exchanges under way."""
        renewals = [held.renewal for held in self._held.values() if held.renewal is not None]
        for renewal in renewals:
            renewal.cancel()
        await asyncio.gather(*renewals, return_exceptions=True)

    def _of(self, account: FcmAccount) -> _Held:
        held = self._held.get(account)
        if held is None:
            if len(self._held) >= MOST_ACCOUNTS:
                del self._held[next(iter(self._held))]  # the one that was first seen longest ago; it may come again
            held = self._held[account] = _Held()
        return held

    async def _renew(self, account: FcmAccount, held: _Held) -> None:
        began_s = self._steady_s()
        try:
            got, rest_s = await self._exchanged(account)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            got, rest_s = NotSent(f"oauth {type(error).__name__}"), None
        finally:
            held.renewal = None
        if isinstance(got, _Granted):
            lasts_s = min(got.expires_in, LONGEST_S)
            held.bearer, held.until_s, held.failure = got.access_token, began_s + lasts_s, None
            held.renew_s = began_s + lasts_s * RENEWED_AT
        else:
            held.failure = got
            held.not_before_s = self._steady_s() + (rest_s or LEFT_ALONE_S)

    async def _exchanged(self, account: FcmAccount) -> tuple[_Granted | NotSent | AuthBroken, float | None]:
        """Ask the endpoint once; beside what it said, for how long it wants to be left alone."""
        try:
            assertion = await asyncio.to_thread(
                _assertion, account, self._now_us() // 1_000_000
            )  # it checks an RSA key
        except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
            return AuthBroken("oauth: the account's key cannot be used"), None
        form = urlencode({"grant_type": _GRANT, "assertion": assertion})
        async with self._session.post(
            self._token_url, data=form, headers=_FORM, timeout=self._timeout, allow_redirects=False
        ) as response:
            rest_s = exchange.retry_after_s(response.headers.get("retry-after"), self._now_us())
            return _read(response.status, await exchange.read(response)), rest_s


def _assertion(account: FcmAccount, now_s: int) -> str:
    issued_s = now_s - SKEW_S
    claims = {
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": issued_s,
        "exp": issued_s + LONGEST_S,
    }
    return jwt.encode(claims, account.key, algorithm="RS256", headers={"kid": account.key_id})


def _read(status: int, said: bytes | None) -> _Granted | NotSent | AuthBroken:
    if status == 200:
        try:
            granted = msgspec.json.decode(said or b"", type=_Granted)
        except exchange.UNREADABLE:
            return NotSent("oauth: an answer that cannot be read")
        good = granted.expires_in > 0 and granted.access_token.isascii() and granted.access_token.isprintable()
        return granted if good and granted.access_token else NotSent("oauth: an answer that cannot be used")
    if status in {400, 401, 403}:
        try:
            error = msgspec.json.decode(said or b"", type=_Denied).error
        except exchange.UNREADABLE:
            error = ""
        return AuthBroken(f"oauth {error if error.isidentifier() and error.isascii() else status}")
    return NotSent(f"oauth http {status}")
