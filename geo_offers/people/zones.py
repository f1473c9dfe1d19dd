"""The time zones that there are: the IANA database as this process finds it."""

from functools import cache
from zoneinfo import available_timezones


@cache
def zone_names() -> frozenset[str]:
    """All names; read once, since the whole database is walked for it."""
    return frozenset(available_timezones())
