"""Instants are whole microseconds since the Unix epoch, UTC; this converts them to and from the other spellings."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Microseconds of an instant that carries its zone."""
    return (instant - EPOCH) // _MICROSECOND


def from_us(instant_us: int) -> datetime:
    return EPOCH + instant_us * _MICROSECOND


def parse(text: str) -> int | None:
    """Microseconds of an RFC 3339 text, or None where it is none or names no zone."""
    try:
        instant = datetime.fromisoformat(text)
        return None if instant.tzinfo is None else to_us(instant)
    except (ValueError, OverflowError):
        return None


def text(instant_us: int) -> str:
    """RFC 3339 in UTC, ending in Z."""
    return from_us(instant_us).isoformat().replace("+00:00", "Z")
