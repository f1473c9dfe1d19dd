"""What a TC string of the IAB's Transparency and Consent Framework, version 2, says of precise location.

A string is segments of base64url without padding, joined by dots; the core comes first. Its fields have fixed places up
to the vendors': version in bits 0 to 5, one bit for each special feature from bit 140 on, of which the first is "use
precise geolocation data". Source: IAB Tech Lab, "Consent string and vendor list formats v2", "TC String Format".
"""

import re
from base64 import urlsafe_b64decode
from typing import Final

VERSION: Final = 2
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{44,}(\.[A-Za-z0-9_-]+)*")  # no core has less than 259 bits
_HEAD: Final = 44  # characters: 264 bits
_SPECIAL_FEATURE_1: Final = 140


def precise_location(tc_string: str) -> bool:
    """Whether the person has opted in to it; raises ValueError for what is no TC string of version 2."""
    if _FORM.fullmatch(tc_string) is None:
        raise ValueError("not the form of a TC string")
    core = urlsafe_b64decode(tc_string[:_HEAD])
    if core[0] >> 2 != VERSION:
        raise ValueError("a TC string of another version")
    place, bit = divmod(_SPECIAL_FEATURE_1, 8)
    return bool(core[place] & 0x80 >> bit)
