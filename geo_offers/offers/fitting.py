"""How much of an offer's words a channel can carry, and where words that are too many are cut.

FCM and APNs carry 4,096 bytes a message, Web Push 3,993 before it is sealed. Keys and ids of the message, the link, the
image and the data take their part of that; the words get what is left. The webhook's gateway passes on to any of them.
On every channel a title has at most 100 characters and a body 400, as written and as rendered.

A cut falls between words where one ends near, else between characters as people count them: never inside an emoji, a
syllable, or between a letter and its marks. What was cut ends in an ellipsis.
"""

import unicodedata
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from geo_offers.offers.rendering import FSI, PDI, Said

MAX_TITLE: Final = 100
MAX_BODY: Final = 400
CHANNEL_BYTES: Final[Mapping[str, int | None]] = {
    "inapp": None,
    "log": None,
    "webhook": 3_993,
    "fcm": 4_096,
    "apns": 4_096,
    "webpush": 3_993,
}
NARROWEST: Final = 3_993
ENVELOPE_BYTES: Final = 512  # keys of the message, ids, times
LEAST_WORDS: Final = 1_000  # bytes that link, image and data leave to the words

ELLIPSIS: Final = "\u2026"


Part = Literal["title", "body"]


class Carried(msgspec.Struct, frozen=True):
    """What goes to the phone: words as cut for a channel, and the data beside them. cut: which of the two were."""

    title: str
    body: str
    data: Mapping[str, str]
    cut: tuple[Part, ...]


def carry(said: Said, data: Mapping[str, str], channel: str) -> Carried:
    """Cut what is said to what a channel carries; image and direction go along in the data."""
    data = said.data(data)
    most = CHANNEL_BYTES.get(channel, NARROWEST)
    if most is not None:
        most -= ENVELOPE_BYTES + weight(said.link, data)
    title, body = fit(said.title, said.body, most)
    cut_parts: list[Part] = ["title"] if title is not said.title else []
    if body is not said.body:
        cut_parts.append("body")
    return Carried(title, body, data, tuple(cut_parts))


def weight(*parts: object) -> int:
    """Bytes of these as JSON."""
    return len(msgspec.json.encode(parts))


def fit(title: str, body: str, most: int | None) -> tuple[str, str]:
    """Cut title and body to their lengths, and the body to what the title leaves of `most` bytes (None: no matter)."""
    title = cut(title, MAX_TITLE)
    if most is None or 6 * (len(title) + len(body)) <= most:  # no character takes more than six
        return title, cut(body, MAX_BODY)
    title = cut(title, MAX_TITLE, most)
    return title, cut(body, MAX_BODY, max(most - _bytes(title), 0))


def cut(words: str, most: int, most_bytes: int | None = None) -> str:
    """Shorten words to so many characters and bytes."""
    if len(words) <= most and (most_bytes is None or _bytes(words) <= most_bytes):
        return words
    isolated = FSI in words  # then what is cut may have to be closed
    end = min(len(words), most - 1 - isolated)
    if most_bytes is not None:
        left = most_bytes - _bytes(ELLIPSIS) - isolated * _bytes(PDI)
        while end > 0 and (over := _bytes(words[:end]) - left) > 0:
            end -= max(over // 6, 1)
    while end > 0 and _joined(words, end):
        end -= 1
    kept = words[: max(end, 0)]
    between = max(kept.rfind(" "), kept.rfind("\u3000"))
    if between > len(kept) * 2 // 3 and not words[len(kept) : len(kept) + 1].isspace():
        kept = kept[:between]
    kept = kept.rstrip().removesuffix(FSI)
    return kept + PDI * (kept.count(FSI) - kept.count(PDI)) + ELLIPSIS


def _bytes(words: str) -> int:
    return len(msgspec.json.encode(words)) - 2


def _joined(words: str, at: int) -> bool:
    """Whether what stands before and after belongs to one character as people count them; rather once too often."""
    if at >= len(words):
        return False
    before, after = words[at - 1], words[at]
    if before.isascii() and after.isascii():
        return False
    if after in "\u200c\u200d" or before == "\u200d" or after == PDI or unicodedata.category(after)[0] == "M":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":  # skin, flags by tags
        return True
    if "\u1100" <= before <= "\u11ff" and "\u1100" <= after <= "\u11ff":  # parts of one Korean syllable
        return True
    if unicodedata.combining(before) == 9:  # a virama binds the next letter
        return True
    return _is_flag(before) and _is_flag(after) and _flags_before(words, at) % 2 == 1


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flags_before(words: str, at: int) -> int:
    """Letters of flags right before: two make one flag."""
    start = at
    while start > 0 and _is_flag(words[start - 1]):
        start -= 1
    return at - start
