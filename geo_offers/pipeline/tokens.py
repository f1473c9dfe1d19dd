"""Keys and tokens: how they read, and how a presented one is checked.

Both carry their workspace, so that the database's row filter stands before the first read. A key is
`pk_<workspace>_<id>_<secret>`; only the SHA-256 of the secret is kept. An access token is opaque to the phone:
device, user, expiry, the device's token epoch and the number of the service key, under that key's HMAC-SHA256.
"""

import asyncio
import hmac
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

from geo_offers.errors import Keyless, Unauthenticated, Unavailable
from geo_offers.pipeline.callers import Kind

PREFIXES: Final[Mapping[str, Kind]] = {"pk": "app", "sk": "server", "mk": "manager"}
ACCESS: Final = "at"
LINK: Final = "pl"
REFRESH: Final = "rt"
ACCESS_S: Final = 900
LINK_S: Final = 3600
REFRESH_S: Final = 90 * 24 * 3600
RETIRED_GOOD_S: Final = 900
REREAD_US: Final = 5_000_000  # how long the service's keys are taken as read
FORGED_US: Final = 1_000_000  # a key that is not known is asked for this often: forged ids must not hammer the store
_PAYLOAD: Final = struct.Struct(">16s16sQIQ")
_MAC: Final = 32
_LIVES_S: Final[Mapping[str, int]] = {ACCESS: ACCESS_S, LINK: LINK_S}
_SEALS: Final[Mapping[str, bytes]] = {ACCESS: b"", LINK: b"link"}  # under the MAC: neither is good as the other


def workspace_id(name: str) -> UUID:
    """The id of a workspace is made from its name."""
    return uuid5(NAMESPACE_URL, f"urn:geo-offers:workspace:{name}")


def digest(secret: str) -> bytes:
    """What is kept of a secret: 256 random bits need no salt and no stretching."""
    return sha256(secret.encode()).digest()


def new_secret() -> str:
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key or refresh token as presented, taken apart."""

    prefix: str
    workspace: UUID
    id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.prefix}_{self.workspace.hex}_{self.id}_{self.secret}"


def parse_key(text: str) -> KeyText:
    """Raises Unauthenticated where the text is no key of ours."""
    parts = text.split("_")
    if text.isascii() and len(parts) == 4 and len(parts[1]) == 32 and parts[2] and parts[3]:
        try:
            return KeyText(parts[0], UUID(hex=parts[1]), parts[2], parts[3])
        except ValueError:
            pass  # falls through to the one refusal: a bad key says nothing of what is wrong with it
    raise Unauthenticated("this is no key or token of this service")


@dataclass(frozen=True, slots=True)
class ServiceKey:
    id: int
    secret: bytes
    retired_us: int | None


class ServiceKeys(Protocol):
    async def all(self) -> list[ServiceKey]:
        """The keys that are good or were until a quarter of an hour ago, oldest first; made where there is none yet."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token says."""

    workspace: UUID
    device: UUID
    user: UUID
    epoch: int
    expires_s: int


class AccessTokens:
    """Issues and checks access tokens with the service's keys, read again every few seconds.

    So a rotation made by another process is in force here soon: tokens are issued under the new key, and the old one
    ends a quarter of an hour after it was retired.
    """

    def __init__(self, store: ServiceKeys) -> None:
        self._store = store
        self._keys: dict[int, ServiceKey] = {}
        self._lock = asyncio.Lock()
        self._read_us = 0
        self._asked_us = 0

    async def refresh(self) -> None:
        self._keys = {key.id: key for key in await self._store.all()}

    async def issue(
        self, workspace: UUID, device: UUID, user: UUID, epoch: int, now_us: int, *, kind: str = ACCESS
    ) -> str:
        """A token under the newest key: for calls, good for 15 minutes, or for the hosted page, good for an hour."""
        await self._read_again(now_us)
        key = self._keys[max(self._keys)]
        payload = _PAYLOAD.pack(device.bytes, user.bytes, now_us // 1_000_000 + _LIVES_S[kind], epoch, key.id)
        mac = hmac.digest(key.secret, _SEALS[kind] + workspace.bytes + payload, "sha256")
        return f"{kind}_{workspace.hex}_{urlsafe_b64encode(payload + mac).decode().rstrip('=').replace('_', '.')}"

    async def check(self, text: str, now_us: int, kind: str = ACCESS) -> Access:
        """Raises Unauthenticated for a token that is forged, expired, or of a key that is retired for good."""
        parts = text[:512].split("_")
        try:
            given, owner, sealed = parts
            workspace = UUID(hex=owner)
            data = urlsafe_b64decode(sealed.replace(".", "_") + "=" * (-len(sealed) % 4))
            payload, mac = data[:-_MAC], data[-_MAC:]
            device, user, expires_s, epoch, key_id = _PAYLOAD.unpack(payload)
        except (ValueError, struct.error) as error:
            raise Unauthenticated("this is no token of this service") from error
        key = await self._key(key_id, now_us) if given == kind else None
        signed = _SEALS[kind] + workspace.bytes + payload
        if key is None or not hmac.compare_digest(hmac.digest(key.secret, signed, "sha256"), mac):
            raise Unauthenticated("this token is not good; rotate it with the refresh token")
        if expires_s * 1_000_000 <= now_us:
            raise Unauthenticated("this token has expired; rotate it with the refresh token")
        return Access(workspace, UUID(bytes=device), UUID(bytes=user), epoch, expires_s)

    async def _key(self, key_id: int, now_us: int) -> ServiceKey | None:
        await self._read_again(now_us)
        if key_id not in self._keys:
            async with self._lock:  # whoever reads now may bring it
                if key_id not in self._keys and now_us - self._asked_us > FORGED_US:
                    self._asked_us = now_us
                    await self.refresh()
        key = self._keys.get(key_id)
        if key is None or (key.retired_us is not None and key.retired_us + RETIRED_GOOD_S * 1_000_000 <= now_us):
            return None
        return key

    async def _read_again(self, now_us: int) -> None:
        """Reads the keys where what is held is old; others go on with what is held meanwhile, and while we cannot."""
        if now_us - self._read_us < REREAD_US:
            return
        self._read_us = now_us
        async with self._lock:
            try:
                await self.refresh()
            except (Keyless, Unavailable):
                if not self._keys:
                    raise
