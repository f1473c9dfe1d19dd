"""Secrets that the product must be able to read again, sealed at rest: AES-256-GCM under a key of the operator's.

A sealed text is bound to what it belongs to (workspace and name): moved to another row it does not open. The keys are
given from outside the database (`GEO_OFFERS_CREDENTIALS_KEY`), or lie in the data folder of an embedded one. The first
key seals; the others still open what they sealed, so that a key is replaced by putting a new one before it.
"""

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from geo_offers.errors import Misconfigured

KEY_FILE: Final = "credentials.key"
SECRET_BYTES: Final = 32
"""Of each secret that is made here. What is kept and no longer than this lies in plain: sealing adds 36 bytes."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Unopened(Exception):
    """No key opens it, or it was sealed for something else."""


class Seals:
    """The keys of this installation; none means that nothing can be sealed or opened."""

    def __init__(self, text: str = "") -> None:
        """text: keys, each the base64 of 32 bytes, by spaces. Misconfigured where one is not."""
        keys = [_key(word) for word in text.split()]
        self._ciphers = {_name(key): AESGCM(key) for key in keys}

    def __bool__(self) -> bool:
        return bool(self._ciphers)

    @property
    def first(self) -> str:
        """The name of the key that seals."""
        return next(iter(self._ciphers))

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        """Key's name (8 B), nonce, ciphertext and tag. Only where there is a key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return bytes.fromhex(self.first) + nonce + self._ciphers[self.first].encrypt(nonce, plain, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        """Raise Unopened where it does not open."""
        cipher = self._ciphers.get(sealed_by(sealed))
        if cipher is None:
            raise Unopened
        try:
            return cipher.decrypt(sealed[8 : 8 + _NONCE_BYTES], sealed[8 + _NONCE_BYTES :], bound)
        except (InvalidTag, ValueError) as error:
            raise Unopened from error


def sealed_by(sealed: bytes) -> str:
    """Name the key: what tells which rows are still under an old one."""
    return sealed[:8].hex()


def of_folder(root: Path) -> Seals:
    """The key of an embedded database's folder, made where there is none yet. The file appears whole or not at all."""
    file = root / KEY_FILE
    try:
        if not file.exists():
            fresh = root / f"{KEY_FILE}.{secrets.token_hex(4)}"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                out.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n")
            try:
                os.link(fresh, file)
            except FileExistsError:
                pass  # another process was first
            finally:
                fresh.unlink()
        return Seals(file.read_text(encoding="ascii"))
    except OSError as error:
        raise Misconfigured(f"{file} cannot be used: {error.strerror}") from error


def _key(word: str) -> bytes:
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise Misconfigured("GEO_OFFERS_CREDENTIALS_KEY: give keys of 32 random bytes in base64, by spaces")
    return key


def _name(key: bytes) -> str:
    return hashlib.sha256(b"geo-offers credentials key" + key).digest()[:8].hex()
