"""The webhook's secrets in a file of the operator's, which may be replaced while the service runs."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from geo_offers import signing
from geo_offers.errors import Misconfigured

FRESH_S: Final = 5.0
_MOST_BYTES: Final = 4096
_log = structlog.get_logger()


class SecretsFile:
    """Iterates over the secrets that stand in the file, as of `FRESH_S` ago at most; both while one is being replaced.

    A file that is gone or holds something else for a while changes nothing: what was read before signs on.
    """

    def __init__(self, path: Path, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """Misconfigured where it cannot be read, or holds no secrets."""
        self._path = path
        self._now_s = now_s
        self._held = self._read()
        self._until_s = now_s() + FRESH_S

    def __iter__(self) -> Iterator[str]:
        if self._now_s() >= self._until_s:
            self._until_s = self._now_s() + FRESH_S
            try:
                self._held = self._read()
            except Misconfigured as error:
                _log.error("the webhook's secrets cannot be read; the former ones sign on", why=str(error))
        return iter(self._held)

    def _read(self) -> tuple[str, ...]:
        try:
            with self._path.open(encoding="ascii") as file:
                secrets = file.read(_MOST_BYTES).split()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{self._path} cannot be read: {error}") from error
        if not signing.are_secrets(secrets):
            raise Misconfigured(f"{self._path} holds something else than Standard Webhooks secrets (whsec_…)")
        return tuple(secrets)
