"""The compiled parts of the ping path where they are built, else the plain ones; both answer the same."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

from geo_offers.pipeline.requests import Point, Points
from geo_offers.pipeline.tracks import PlainTracks, Tracks

_batch: Any = None
_tracks: Any = None
try:
    _batch = import_module("geo_offers.pipeline._batch")
    _tracks = import_module("geo_offers.pipeline._tracks")
except ImportError:  # no compiler where it was installed
    _batch = _tracks = None


class Batch(Points, Protocol):
    """Pings of one request as columns."""

    def sent_by(self, device: UUID) -> bool:
        """Take the pings as this device's. False where one names another."""
        ...


def is_compiled() -> bool:
    return _tracks is not None


def tracks(rate_per_s: float, burst: float) -> Tracks:
    """The memory of devices; `rate_per_s` and `burst` are a device's requests, save those of a replay."""
    made: Tracks = PlainTracks(rate_per_s, burst) if _tracks is None else _tracks.Tracks(rate_per_s, burst)
    return made


def batch_of(points: Sequence[Point]) -> Points:
    """The points in the form that the memory of devices takes."""
    found: Points = points if _batch is None else _batch.batch_of(points)
    return found


def read(data: bytes | str, most: int, *, wrapped: bool) -> Batch | None:
    """The pings of `[…]` or `{…}`, or where they are wrapped of `{"pings": […]}`, at most so many.

    None where they are not plain JSON of the plain kind, or nothing is compiled: then the general reader has to look.
    """
    found: Batch | None = None if _batch is None else _batch.read(data, most, wrapped)
    return found
