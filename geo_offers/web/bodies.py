"""Bytes to typed values: size, UTF-8, duplicate keys, then msgspec; each fault with its RFC 6901 pointer."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.http import HttpProcessingError

from geo_offers.documents import refuse_duplicates, refuse_unreadable
from geo_offers.errors import Fault, Invalid, Malformed, TooLarge
from geo_offers.web.sentences import sentence

__all__ = ["ENCODINGS", "convert", "decode", "invalid", "read", "refuse_duplicates"]

_PATH: Final = re.compile(r" - at (?:`key` in )?`\$?([^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")
_BATCH: Final = re.compile(r"`array` of length <= [0-9]{4,}$")
ENCODINGS: Final = frozenset({"", "identity", "gzip", "deflate"})
_OF_KEY: Final = " - at `key` in "
_SEARCHED: Final = 1_000_000  # bytes that are read again at most to find whose fault it is
_ECHO: Final = 64
_NUMBER: Final = re.compile(r"^(Number|Integer value) out of range")


async def read(request: web.Request, bound: int) -> bytes:
    """The body, unpacked, at most `bound` bytes of it; TooLarge past that, whatever the headers said.

    Malformed where it is not packed as it says; 415 where it is packed in a way that is not taken.
    """
    packed = ", ".join(request.headers.getall("Content-Encoding", ())).strip().lower()
    if packed not in ENCODINGS:
        raise web.HTTPUnsupportedMediaType(reason="send the body plain, or with Content-Encoding gzip or deflate")
    if request.content_length is not None and request.content_length > bound:
        raise TooLarge(f"the body is larger than {bound} bytes")
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > bound:
                raise TooLarge(f"the body is larger than {bound} bytes")
            chunks.append(chunk)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        # aiohttp would look for what is left and log that it cannot read it, or wait for ever for the next request.
        request.content.feed_eof()
        request.protocol.close()
        raise Malformed(f"the body is not what its headers say ({packed or 'plain'}); send it again") from error
    return b"".join(chunks)


def decode(decoder: msgspec.json.Decoder[Any], data: bytes, *, unique: bool = False) -> Any:
    """The typed value. Malformed where it is no JSON, Invalid with the fault's place where it is of another shape.

    unique: also refuse an object that names a key twice.
    """
    refuse_unreadable(data)
    try:
        value = decoder.decode(data)
    except msgspec.ValidationError as error:
        message, steps = _taken_apart(str(error))
        wrong = invalid(error, decoder.type, _named(steps, str(error), decoder, data))
        if _NUMBER.search(message):
            raise Malformed("the body holds a number that is too large", wrong.faults) from error
        raise TooLarge(wrong.detail, wrong.faults) if _BATCH.search(message) else wrong from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {str(error)[:100]}") from error
    if unique:
        refuse_duplicates(data)
    return value


def convert(value: Mapping[str, str], kind: type[Any]) -> Any:
    """Query parameters as a struct; numbers and booleans may be text there."""
    try:
        return msgspec.convert(dict(value), kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, kind) from error


def invalid(error: msgspec.ValidationError, kind: Any, named: Sequence[str] | None = None) -> Invalid:
    """The fault that kept an input from being read as `kind`, with its place: `named`, else as msgspec tells it."""
    message, steps = _taken_apart(str(error))
    unknown = _UNKNOWN.search(message)
    code = "unknown_field" if unknown else "missing" if "missing required" in message else "invalid"
    place = [*(named or steps), *((unknown.group(1)[:_ECHO],) if unknown else ())]
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in place)
    detail = sentence(message, kind, steps)[:200]
    return Invalid(f"{pointer}: {detail}" if pointer else detail, (Fault(pointer, code, detail),))


def _taken_apart(error: str) -> tuple[str, list[str]]:
    """A message of msgspec's and the way to what it is about: names of members, numbers of entries."""
    found = _PATH.search(error)
    steps = _STEP.findall(found.group(1)) if found else []
    return _PATH.sub("", error), [name or number for name, number in steps]


def _named(steps: Sequence[str], told: str, decoder: msgspec.json.Decoder[Any], data: bytes) -> list[str]:
    """The way with the free keys, which msgspec leaves out: of each object the first that makes the same fault."""
    of_key = _OF_KEY in told
    if "..." not in steps and not of_key:
        return list(steps)
    root = here = msgspec.json.decode(data)
    most = 1 + _SEARCHED // len(data)
    named = []
    for step in (*steps, "...") if of_key else steps:
        name = _culprit(root, here, told, decoder, most) if step == "..." else step
        named.append(name[:_ECHO])
        here = here[int(name)] if isinstance(here, list) else here.get(name, {})
    return named


def _culprit(root: Any, here: dict[str, Any], told: str, decoder: msgspec.json.Decoder[Any], most: int) -> str:
    """Which key of `here` it is; that alone is left there. `...` where none of the first `most` is."""
    all_of_them = dict(here)
    for key in islice(all_of_them, most):
        here.clear()
        here[key] = all_of_them[key]
        try:
            decoder.decode(msgspec.json.encode(root))
        except msgspec.ValidationError as error:
            if str(error) == told:
                return key
    here.update(all_of_them)
    return "..."
