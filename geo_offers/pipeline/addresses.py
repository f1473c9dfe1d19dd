"""Where a phone takes push: what a lane puts into an address or a calculation has to be of the right shape."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from geo_offers import hosts, wire
from geo_offers.errors import Fault

_AUTH_BYTES: Final = 16
_SHAPES: Final = {
    "fcm": (re.compile(r"[A-Za-z0-9:_-]+"), "a registration token has letters, digits and : _ - alone"),
    "apns": (re.compile(r"(?:[0-9A-Fa-f]{2}){32,100}"), "a device token is 32 to 100 bytes in hexadecimal digits"),
}


def address_faults(
    push: wire.PushAddress, pointer: str, networks: Sequence[hosts.Network] = (), push_hosts: Sequence[str] = ()
) -> tuple[Fault, ...]:
    """What is wrong with it, at its place in the request; nothing of it is repeated.

    networks: of the operator's own, into which an endpoint may lead; push_hosts: where alone it may lead, if any.
    """
    return tuple(Fault(f"{pointer}/{at}", code, detail) for at, code, detail in _faults(push, networks, push_hosts))


def _faults(
    push: wire.PushAddress, networks: Sequence[hosts.Network], push_hosts: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    if push.at is not None and not 1970 < push.at.year < 2100:
        yield "at", "at", "this is no day of ours; leave it out where the phone does not know"
    if push.lane in _SHAPES and not _SHAPES[push.lane][0].fullmatch(push.token):
        yield "token", "token", _SHAPES[push.lane][1]
    if push.lane != "webpush":
        if push.keys is not None:
            yield "keys", "keys", "only a browser's subscription has keys; leave them out"
        return
    if fault := hosts.url_fault(push.token, networks):
        yield "token", "link", fault
    elif push_hosts and not hosts.is_under(urlsplit(push.token).hostname or "", push_hosts):
        yield "token", "link", "this service sends to other push services; the operator names them"
    if push.keys is None:
        yield "keys", "missing", "give the subscription's keys; nothing can be sent to it without them"
        return
    if not _is_point(_bytes(push.keys.p256dh)):
        yield "keys/p256dh", "keys", "give a point on P-256, uncompressed, in base64url"
    if len(_bytes(push.keys.auth)) != _AUTH_BYTES:
        yield "keys/auth", "keys", f"give {_AUTH_BYTES} bytes in base64url"


def _bytes(text: str) -> bytes:
    """Base64url, padded or not; nothing where it is none."""
    bare = text.rstrip("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", bare) or len(bare) % 4 == 1:
        return b""
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def _is_point(raw: bytes) -> bool:
    if len(raw) != 65:
        return False
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
    except ValueError:
        return False
    return True
