"""The geofence as everything downstream sees it: a frozen value with its place, its store and how arrivals are told."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NewType, TypeVar

import msgspec
from msgspec.structs import force_setattr

from geo_offers.places.geometry import Geometry
from geo_offers.places.outline import Drawn, geometry_of, outline_of

T = TypeVar("T")

SHARED: Final = 4_096

FenceId = NewType("FenceId", str)
"""`set/external_id`: the first `/` splits; a set's name has none, an external id may."""


def fence_id(set_id: str, external_id: str) -> FenceId:
    """Join the two names; raises ValueError when the set is empty or has a `/`, or the external id is empty."""
    if not set_id or "/" in set_id or not external_id:
        raise ValueError("a fence id is set/external_id, neither empty, and a set has no slash")
    return FenceId(f"{set_id}/{external_id}")


def split_fence_id(fence: FenceId) -> tuple[str, str]:
    """Set and external id."""
    set_id, _, external_id = fence.partition("/")
    return set_id, external_id


@dataclass(frozen=True, slots=True)
class Detect:
    """How presence at a fence is told: `raw` takes every fix at its word, `calibrated` weighs the evidence.

    dwell_s: after so long inside a visit has its dwell. Of calibrated fences: exit_margin_m, so far beyond the border a
    phone may still be inside; min_confidence, what an offer asks for; confirm_s, so long after the enter it waits;
    max_speed_mps, faster than this nobody arrives.
    """

    mode: Literal["raw", "calibrated"] = "calibrated"
    dwell_s: float = 300.0
    exit_margin_m: float = 10.0
    min_confidence: float = 0.73
    confirm_s: float = 0.0
    max_speed_mps: float = 7.0


class Geofence(msgspec.Struct, frozen=True, gc=False):
    """One version of an area of interest. An inactive one is kept and never matched.

    Memory holds a million of them: of the geometry it holds the outline, whichever of the two was given, and tags and
    settings that many fences have in common it holds once. No circle leads back to one, so the collector passes it by.
    """

    id: FenceId
    version: int
    name: str
    outline: Drawn
    store: str | None
    tags: tuple[str, ...]
    active: bool
    detect: Detect

    def __post_init__(self) -> None:
        force_setattr(self, "outline", outline_of(self.outline))
        force_setattr(self, "tags", _shared(self.tags))
        force_setattr(self, "detect", _shared(self.detect))

    @property
    def geometry(self) -> Geometry:
        """Made from the outline; the newest are kept."""
        return geometry_of(outline_of(self.outline))


@lru_cache(maxsize=SHARED)
def _shared(value: T) -> T:
    """The first of equal values."""
    return value


def store_key(fence: Geofence) -> str:
    """Name what gaps and caps per store count by: a fence without a store counts as its own."""
    return fence.store if fence.store is not None else fence.id
