"""Who sends: VAPID (RFC 8292), a token signed with the workspace's key, one for each push service.

A token is used again until it is old, as the RFC asks: to check one is dear for the push service.
"""

from collections import OrderedDict
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from geo_offers.gateways.webpush_sealing import point, to_base64url
from geo_offers.pipeline.credentials import VapidKey

LASTS_S: Final = 12 * 3600  # half of what the RFC allows: our clock or theirs may be off
RENEWED_S: Final = 3600  # before its end
MOST_KEPT: Final = 1_000  # origins are named by browsers: whoever invents them pushes out others' tokens, no more


class BadVapidKey(Exception):
    """The workspace's key cannot sign."""


class VapidTokens:
    """The tokens in use. For one thread at a time; another may `forget` meanwhile, in vain while one is asked for."""

    def __init__(self) -> None:
        self._kept = OrderedDict[tuple[VapidKey, str], tuple[int, str]]()

    def authorization(self, key: VapidKey, origin: str, now_s: int) -> str:
        """Give the header's value for a push service, `https://host` with a port that is not the usual one.

        Raises BadVapidKey.
        """
        until_s, made = self._kept.pop((key, origin), (0, ""))
        if not RENEWED_S < until_s - now_s <= LASTS_S:  # more than that is left where the clock was set back
            until_s, made = now_s + LASTS_S, _signed(key, origin, now_s + LASTS_S)
        self._kept[key, origin] = until_s, made
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return made

    def forget(self, key: VapidKey, origin: str) -> None:
        """Sign anew the next time: this one was not taken."""
        self._kept.pop((key, origin), None)


def _signed(key: VapidKey, origin: str, until_s: int) -> str:
    try:
        private = load_pem_private_key(key.key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadVapidKey from error
    if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(private.curve, SECP256R1):
        raise BadVapidKey
    token = jwt.encode({"aud": origin, "exp": until_s, "sub": key.subject}, private, algorithm="ES256")
    return f"vapid t={token}, k={to_base64url(point(private.public_key()))}"
