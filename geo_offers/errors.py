"""Every error of ours says whose fault it is; `web/problems.py` turns each class into one reply."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (RFC 6901 pointer), which kind, and what to do about it."""

    pointer: str
    code: str
    detail: str


class GeoOffersError(Exception):
    """Root of all errors raised on purpose; `detail` is one sentence for the caller."""

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class Malformed(GeoOffersError):
    """The request cannot be read at all."""


class Invalid(GeoOffersError):
    """The request was read, and a field of it is wrong."""


class Unauthenticated(GeoOffersError):
    """No key or token, or one that is not good any more."""


class Forbidden(GeoOffersError):
    """The caller is known and may not do this."""

    def __init__(self, detail: str, code: str = "forbidden", faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail, faults)
        self.code = code


class NotFound(GeoOffersError):
    """There is nothing here for this caller."""


class Gone(GeoOffersError):
    """There may have been something here; what was is not kept any more."""


class Conflict(GeoOffersError):
    """The thing's present state does not allow it."""


class Keyless(GeoOffersError):
    """A secret cannot be kept or read: the operator's key for it is not here."""


class Crowded(GeoOffersError):
    """Too many geofences would lie at one spot."""


class TooLarge(GeoOffersError):
    """A body, batch or geometry is over its bound."""


class TooManyRequests(GeoOffersError):
    """The caller is over its rate; it may come back after `retry_after_s`."""

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(GeoOffersError):
    """We cannot do it now: a queue is full or the database is away. Nothing of it was applied."""

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Misconfigured(GeoOffersError):
    """The operator's settings or files do not allow a start; the sentence says what to do."""
