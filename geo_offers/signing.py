"""Signatures of webhooks as Standard Webhooks 1.0 has them: HMAC-SHA256 over `id.timestamp.body`, the raw body as sent.

The id stays the same on every attempt (it is the receiver's idempotency key), the timestamp is of the attempt. A header
may carry several signatures, space-separated: while a secret is being replaced both are sent, and one match is enough.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from geo_offers.errors import Misconfigured, Unauthenticated

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_S: Final = 300

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_KEYED: Final = 256
_MOST_SIGNATURES: Final = 16  # a header is a stranger's; more than a few secrets in rotation is nobody's


def key(secret: str) -> bytes:
    """Read the bytes of a secret: base64, with or without `whsec_` before it and padding behind it.

    Raises Misconfigured where it is empty or not base64.
    """
    encoded = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        raw = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured("a webhook secret is base64, with or without whsec_ before it; this one is not") from error
    if not raw:
        raise Misconfigured("a webhook secret may not be empty; give 24 to 64 random bytes as base64")
    return raw


def are_secrets(texts: Sequence[str]) -> bool:
    """Whether these are secrets as Standard Webhooks writes them: `whsec_` and the base64 of 24 to 64 bytes."""
    return bool(texts) and all(_is_secret(text) for text in texts)


def _is_secret(text: str) -> bool:
    try:
        return text.startswith(_PREFIX) and 24 <= len(key(text)) <= 64
    except Misconfigured:
        return False


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Make one signature, `v1,<base64>`.

    Raises ValueError where `message_id` holds a full stop: what was signed could then be read in two ways.
    """
    if "." in message_id:
        raise ValueError("the id of a signed message holds no full stop")
    return f"{_VERSION},{b64encode(_mac(secret, message_id, str(timestamp_s), body)).decode()}"


def signed_headers(secrets: Iterable[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Make the three headers of one attempt, signed by each of the secrets."""
    return {
        ID: message_id,
        TIMESTAMP: str(timestamp_s),
        SIGNATURE: " ".join(sign(secret, message_id, timestamp_s, body) for secret in secrets),
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, *, now_s: int) -> None:
    """Return where one signature is good by one of the secrets and the timestamp within 5 min of `now_s`.

    Raises Unauthenticated otherwise. Header names are compared without case; signatures of other versions are skipped.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signatures = given.get(ID), given.get(TIMESTAMP), given.get(SIGNATURE)
    if not (message_id and timestamp and signatures):
        raise Unauthenticated(f"a signed call carries {ID}, {TIMESTAMP} and {SIGNATURE}")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Unauthenticated(f"{TIMESTAMP} is a number of seconds since the Unix epoch")
    if abs(int(timestamp) - now_s) > TOLERANCE_S:
        raise Unauthenticated(f"{TIMESTAMP} is more than 5 minutes from now")
    expected = [_mac(secret, message_id, timestamp, body) for secret in secrets]
    if not any(hmac.compare_digest(given, good) for given in _candidates(signatures) for good in expected):
        raise Unauthenticated("no signature of this call is good")


def _mac(secret: str, message_id: str, timestamp: str, body: bytes) -> bytes:
    made = _keyed(secret).copy()
    made.update(f"{message_id}.{timestamp}.".encode() + body)
    return made.digest()


@lru_cache(maxsize=_KEYED)  # the library looks the digest up anew for each new key: several times the work of copying
def _keyed(secret: str) -> hmac.HMAC:
    return hmac.new(key(secret), digestmod=sha256)


def _candidates(signatures: str) -> list[bytes]:
    """Take the readable signatures of our version; the rest is no fault: a caller may send several versions."""
    found = []
    for entry in signatures.split(" ", _MOST_SIGNATURES)[:_MOST_SIGNATURES]:
        version, comma, encoded = entry.partition(",")
        if not comma or version != _VERSION:
            continue
        try:
            found.append(b64decode(encoded, validate=True))
        except (binascii.Error, ValueError):
            continue
    return found
