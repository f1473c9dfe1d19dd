"""An answer is given once per Idempotency-Key: the port behind it."""

from dataclasses import dataclass
from typing import Protocol

from geo_offers.pipeline.callers import Caller


@dataclass(frozen=True, slots=True)
class Kept:
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Running:
    """The first request under this key is not answered yet."""


class Idempotency(Protocol):
    async def begin(self, caller: Caller, key: str, request_hash: bytes) -> Kept | Running | None:
        """None where the call is to be made now. Raises Invalid where the key was used for another request."""
        ...

    async def finish(self, caller: Caller, key: str, kept: Kept) -> None: ...

    async def forget(self, caller: Caller, key: str) -> None: ...
