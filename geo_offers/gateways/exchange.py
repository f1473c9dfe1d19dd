"""What lanes over HTTP/1.1 share: whether a body has begun to leave, how much is read, and when to come back."""

import asyncio
import email.utils
from datetime import UTC
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter

from geo_offers import instants

TIMEOUT_S: Final = 5.0  # of a whole send: shorter than any lease
MOST_READ: Final = 20_000
LONGEST_LATER_S: Final = 3600.0
# What reading a stranger's JSON may raise.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class TooLateToBegin(TimeoutError):
    """A body had no connection in its time to start: not one byte of it has left, nor will."""


class Body(aiohttp.BytesPayload):
    """A body that remembers whether any of it has been handed to the connection; not after `start_by` is it begun."""

    def __init__(self, value: bytes, *, content_type: str, start_by: float) -> None:
        super().__init__(value, content_type=content_type)
        self.begun = False
        self._start_by = start_by

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if asyncio.get_running_loop().time() >= self._start_by:
            raise TooLateToBegin
        self.begun = True
        await super().write_with_length(writer, content_length)


async def read(response: aiohttp.ClientResponse) -> bytes | None:
    """Read the answer to its end; None where it was too long, too slow, or broken off, and the connection is closed."""
    if response.content.at_eof():
        return b""
    said = b""
    try:
        while len(said) <= MOST_READ:
            piece = await response.content.read(MOST_READ + 1 - len(said))
            if not piece:
                return said
            said += piece
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    response.close()
    return None


def retry_after_s(value: str | None, now_us: int) -> float | None:
    """Seconds of a Retry-After header, as a number or an HTTP date, 1 to 3600; None where it says nothing readable.

    A date without a zone, as C's asctime writes it, is of UTC.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        after_s = float(text[:9]) if len(text) < 10 else LONGEST_LATER_S
    else:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        after_s = (instants.to_us(at) - now_us) / 1_000_000
    return min(max(after_s, 1.0), LONGEST_LATER_S)
