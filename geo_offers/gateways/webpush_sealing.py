"""Encryption of one Web Push message for one browser: RFC 8291 over the single-record form of RFC 8188.

The browser's public key and ours, made anew for each message, agree on a secret; with the browser's `auth` and a salt
it gives the key and the nonce of AES-128-GCM.
"""

import binascii
import os
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_PLAIN: Final = 3993  # bytes; what seals to the 4096 that every push service takes
RECORD: Final = 4096

_SHA256: Final = hashes.SHA256()
_LAST: Final = b"\x02"  # the delimiter of the last record
_URL_SAFE: Final = str.maketrans("-_", "+/")


class BadKeys(Exception):
    """What is kept of the browser's keys is none: nothing can be sent to it, ever."""


class _Given(msgspec.Struct):
    p256dh: str
    auth: str


_given: Final = msgspec.json.Decoder(_Given)


@dataclass(frozen=True, slots=True)
class BrowserKeys:
    """A subscription's keys, as `PushSubscription.toJSON()` gives them."""

    public: EllipticCurvePublicKey
    auth: bytes


def read_keys(text: str) -> BrowserKeys:
    """Read JSON of `p256dh` and `auth`, base64url with padding or without. Raises BadKeys."""
    try:
        given = _given.decode(text)
        public = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), from_base64url(given.p256dh))
        auth = from_base64url(given.auth)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadKeys from error
    if len(auth) != 16:
        raise BadKeys
    return BrowserKeys(public, auth)


def sealed(
    plain: bytes, keys: BrowserKeys, *, salt: bytes | None = None, sender: EllipticCurvePrivateKey | None = None
) -> bytes:
    """Encrypt at most MAX_PLAIN bytes; gives 103 bytes more. `salt` and `sender` are random where not given."""
    assert len(plain) <= MAX_PLAIN
    salt = os.urandom(16) if salt is None else salt
    sender = generate_private_key(SECP256R1()) if sender is None else sender
    ours, theirs = point(sender.public_key()), point(keys.public)
    agreed = _mac(keys.auth, sender.exchange(ECDH(), keys.public))
    secret = _mac(salt, _expanded(agreed, b"WebPush: info\x00" + theirs + ours, 32))
    key = _expanded(secret, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _expanded(secret, b"Content-Encoding: nonce\x00", 12)
    head = salt + RECORD.to_bytes(4, "big") + bytes((len(ours),)) + ours
    return head + AESGCM(key).encrypt(nonce, plain + _LAST, None)


def _expanded(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869, for as much as one hash gives."""
    return _mac(key, info + b"\x01")[:length]


def _mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256; not the interpreter's own, which lets go of its lock each time, and the loop would take it."""
    mac = HMAC(key, _SHA256)
    mac.update(data)
    return mac.finalize()


def point(key: EllipticCurvePublicKey) -> bytes:
    """A public key as 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def to_base64url(raw: bytes) -> str:
    """Without padding, as all of Web Push has it."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Raises ValueError where it is none."""
    bare = text.rstrip("=")
    if not bare.isascii() or "+" in bare or "/" in bare:
        raise ValueError("not base64url")
    try:
        return b64decode(bare.translate(_URL_SAFE) + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
