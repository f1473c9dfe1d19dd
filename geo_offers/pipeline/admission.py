"""What a phone is told whose pings are refused whole; a server's are refused one by one, by their codes."""

from typing import Final

from geo_offers.errors import Forbidden, GeoOffersError, TooManyRequests
from geo_offers.pipeline.requests import Code

_FORBIDDEN: Final = {
    Code.CONSENT_REQUIRED: "this person has not agreed to be located; ask for the purpose `locate` first",
    Code.AGE: "this person may not be located: their age is not given as adult",
}


def refusal(codes: bytearray, rate_per_s: float) -> GeoOffersError | None:
    """Why a phone's request is refused whole; the first code says it, since what is asked is asked of the device."""
    code = codes[0] if codes else Code.ACCEPTED
    if code in _FORBIDDEN:
        return Forbidden(_FORBIDDEN[Code(code)], Code(code).name.lower())
    if code == Code.RATE:
        return TooManyRequests("one request a second is enough", 1.0 / rate_per_s)
    return None
