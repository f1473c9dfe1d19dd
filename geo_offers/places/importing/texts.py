"""Names, ids and tags of fences: text that is safe to show, to log and to put in a path."""

import unicodedata

from geo_offers.places.importing.findings import Findings, echo

MAX_NAME_CHARS = 200
MAX_ID_CHARS = 128
MAX_TAG_CHARS = 64
MAX_TAGS = 16

UNSAFE = {"Cc": "a control", "Cf": "an invisible", "Cs": "a broken", "Zl": "a line break", "Zp": "a line break"}
"""By Unicode category. Cf holds all bidi marks and zero-width characters; Cs is half a surrogate pair."""


def read_text(value: object, pointer: str, limit: int, findings: Findings) -> str | None:
    """Take a value as text without the blanks around it, or add a fault and give None."""
    if not isinstance(value, str):
        findings.fault(pointer, "type", f"{echo(value)} is not text; write it as a string")
        return None
    text = value.strip(" ")
    if not text:
        findings.fault(pointer, "empty", "the text is empty; write something or leave the member out")
        return None
    if len(text) > limit:
        findings.fault(pointer, "too_long", f"the text has {len(text)} characters; shorten it to {limit}")
        return None
    if not text.isprintable():
        for place, character in enumerate(text):
            kind = UNSAFE.get(unicodedata.category(character))
            if kind is not None:
                hexadecimal = f"U+{ord(character):04X}"
                findings.fault(pointer, "unsafe_text", f"{kind} character {hexadecimal} is at {place}; remove it")
                return None
    return text


def read_tags(value: object, pointer: str, findings: Findings) -> tuple[str, ...]:
    """Take up to 16 short texts, each once, in the order given."""
    if not isinstance(value, list):
        findings.fault(pointer, "type", f"{echo(value)} is not a list; write tags as an array of strings")
        return ()
    if len(value) > MAX_TAGS:
        findings.fault(pointer, "too_many_tags", f"there are {len(value)} tags; keep {MAX_TAGS} at most")
        return ()
    tags = [read_text(tag, f"{pointer}/{number}", MAX_TAG_CHARS, findings) for number, tag in enumerate(value)]
    return tuple(dict.fromkeys(tag for tag in tags if tag is not None))
