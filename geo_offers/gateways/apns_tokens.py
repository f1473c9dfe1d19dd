"""Provider tokens: what an APNs key signs so that Apple knows the team. One a key, shared by all its connections.

Apple refuses a token older than an hour, and a connection on which tokens change more often than every 20 minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import jwt

from geo_offers.pipeline.credentials import ApnsKey

RENEW_S: Final = 50 * 60
EARLIEST_S: Final = 20 * 60
_BACK_S: Final = 60  # a clock that was put back by more has made the token one of the future


Identity = tuple[str, str, bytes]


class BadKey(Exception):
    """The credentials hold no key that could sign."""


@dataclass(frozen=True, slots=True)
class _Minted:
    token: str
    at_s: int


class ProviderTokens:
    """Tokens by key; times are of the wall clock, since Apple compares them with its own."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._minted: dict[Identity, _Minted] = {}

    def of(self, key: ApnsKey) -> str:
        """Give the token in force. Raises BadKey."""
        now_s = self._now_us() // 1_000_000
        minted = self._minted.get(identity(key))
        if minted is None or not -_BACK_S <= now_s - minted.at_s < RENEW_S:
            return self._mint(key, now_s)
        return minted.token

    def renew(self, key: ApnsKey, refused: str) -> bool:
        """Forget a token that was refused as too old; False where a newer one may not be made yet."""
        minted = self._minted.get(identity(key))
        if minted is not None and minted.token == refused:
            if self._now_us() // 1_000_000 - minted.at_s < EARLIEST_S:
                return False
            del self._minted[identity(key)]
        return True

    def _mint(self, key: ApnsKey, now_s: int) -> str:
        try:
            token = jwt.encode({"iss": key.team, "iat": now_s}, key.key, "ES256", {"kid": key.key_id})
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise BadKey from error
        fresh = {known: minted for known, minted in self._minted.items() if now_s - minted.at_s < RENEW_S}
        self._minted = fresh | {identity(key): _Minted(token, now_s)}
        return token


def identity(key: ApnsKey) -> Identity:
    """Tell one key from another, whatever names they go by."""
    return key.team, key.key_id, sha256(key.key.encode()).digest()
