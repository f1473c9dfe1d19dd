"""What a workspace's lanes sign in with, and the ports to where that is kept.

A lane asks for it at each send and holds nothing of its own, so that what is replaced is in force within seconds. What
a manager gives is checked here, once: the lanes take it as good. A key is held as PKCS #8, however it was written.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol, assert_never
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from geo_offers import wire
from geo_offers.errors import Fault, Invalid
from geo_offers.pipeline.callers import Caller

TENANT_LANES: Final = frozenset({"fcm", "apns", "webpush"})
"""Lanes that a workspace brings its own credentials for; the others are the operator's."""

GOOGLE_OAUTH: Final = "https://oauth2.googleapis.com/token"
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class FcmAccount:
    """A Google service account, as its JSON file has it. `key` is PEM, RSA."""

    project: str
    email: str
    key_id: str
    key: str = field(repr=False)
    token_uri: str


@dataclass(frozen=True, slots=True)
class ApnsKey:
    """An APNs authentication key. `key` is PEM, P-256; `topic` is the app's bundle id."""

    team: str
    key_id: str
    key: str = field(repr=False)
    topic: str
    sandbox: bool


@dataclass(frozen=True, slots=True)
class VapidKey:
    """What a web app's subscriptions are bound to. `key` is PEM, P-256; `subject` a mailto: or https: address."""

    key: str = field(repr=False)
    subject: str


Credential = FcmAccount | ApnsKey | VapidKey

KINDS: Final[Mapping[str, type[Credential]]] = {"fcm": FcmAccount, "apns": ApnsKey, "webpush": VapidKey}


class Vault(Protocol):
    """Credentials by workspace and lane."""

    async def of(self, workspace: UUID, lane: str) -> Credential | None:
        """Give what is in force, as of some seconds ago at most; None where there is none. May raise Unavailable."""
        ...


class Credentials(Protocol):
    """The managers' side: what is kept, and what may be told of it."""

    async def all(self, workspace: UUID) -> list[wire.PushCredential]: ...

    async def put(
        self, caller: Caller, lane: wire.LaneName, credential: Credential, *, keep_key: bool = False
    ) -> tuple[wire.PushCredential, bool]:
        """What may be told of it, and whether there was none before; in force within seconds.

        keep_key: the key that is there stays. Keyless where the operator has given no key to seal it by.
        """
        ...

    async def delete(self, caller: Caller, lane: wire.LaneName) -> None:
        """NotFound where there are none."""
        ...


# ------------------------------------------------------------------------------------------------ what is given
def fcm_account(given: wire.FcmCredentials, token_url: str) -> FcmAccount:
    """Invalid where the key is none, or tokens would be asked for elsewhere than at `token_url`."""
    account = given.service_account
    if account.token_uri != token_url:
        raise _invalid("/service_account/token_uri", "token_uri", f"tokens are asked for at {token_url} alone")
    key = _key(account.private_key, "/service_account/private_key", _is_rsa, f"an RSA key of {_RSA_BITS} bits or more")
    return FcmAccount(account.project_id, account.client_email, account.private_key_id, key, token_url)


def apns_key(given: wire.ApnsCredentials) -> ApnsKey:
    """Invalid where the key is none."""
    key = _key(given.private_key, "/private_key", _is_p256, "an EC key on P-256, as Apple's .p8 file holds one")
    return ApnsKey(given.team, given.key_id, key, given.topic, given.environment == "sandbox")


def vapid_key(given: wire.WebPushCredentials) -> VapidKey:
    """With a new key where none is given; Invalid where it is no key."""
    if given.private_key is None:
        return VapidKey(_pem(generate_private_key(SECP256R1())), given.subject)
    return VapidKey(_key(given.private_key, "/private_key", _is_p256, "an EC key on P-256"), given.subject)


def _key(text: str, pointer: str, good: Callable[[PrivateKeyTypes], bool], wanted: str) -> str:
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _invalid(pointer, "private_key", f"give {wanted}, in PEM and without a password") from error
    if not good(key):
        raise _invalid(pointer, "private_key", f"this is another kind of key; give {wanted}")
    return _pem(key)


def _is_rsa(key: PrivateKeyTypes) -> bool:
    return isinstance(key, RSAPrivateKey) and key.key_size >= _RSA_BITS


def _is_p256(key: PrivateKeyTypes) -> bool:
    return isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)


def _pem(key: PrivateKeyTypes) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _invalid(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(detail, (Fault(pointer, code, detail),))


# ------------------------------------------------------------------------------------------------ what may be told
def facts(credential: Credential) -> dict[str, str]:
    """What `wire.PushCredential` tells of it."""
    public = load_pem_private_key(credential.key.encode(), None).public_key()
    fingerprint = sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    match credential:
        case FcmAccount(project, email, key_id):
            told = {"project": project, "client_email": email, "key_id": key_id}
        case ApnsKey(team, key_id, _, topic, sandbox):
            environment = "sandbox" if sandbox else "production"
            told = {"team": team, "key_id": key_id, "topic": topic, "environment": environment}
        case VapidKey(_, subject):
            point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            told = {"subject": subject, "application_server_key": urlsafe_b64encode(point).rstrip(b"=").decode()}
        case _:
            assert_never(credential)
    return {"fingerprint": fingerprint, **told}
