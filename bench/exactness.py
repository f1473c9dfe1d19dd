"""Whether the index answers what the definition says, at points where it is likeliest not to; wrong pairs are counted.

The definition is computed by others: a circle by pyproj's geodesics on WGS 84, an area by shapely's exact predicates.
All pairs of a point and a fence count; where the point is not in a box about the fence, it is outside by that. Pairs
within `BAND_M` of a circle's border are left out, as no two geodesics agree to the last bit; of areas none is.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from msgspec.structs import replace

from bench.borders import GEOD, telling_points
from bench.load import make_fences
from bench.report import Report, Row, Yardstick
from geo_offers.places.earth import BoolArray, FloatArray
from geo_offers.places.fences import Geofence
from geo_offers.places.geometry import Area, Circle, Geometry
from geo_offers.places.index import GeofenceIndex

Pairs: TypeAlias = npt.NDArray[np.int64]
"""Sorted numbers, each point * fences + fence. A fence's version is its number here."""
Ask: TypeAlias = Callable[[GeofenceIndex, FloatArray, FloatArray], Pairs]

BAND_M: Final = 0.01
LEAST_NORTH_M: Final = 110_500.0
"""No degree of latitude is as short: boxes made with it are never too small."""
AT_ONCE: Final = 250_000


@dataclass(frozen=True, slots=True)
class Truth:
    """`held` are the pairs inside, `unsure` those within the band; `looked_at` were near enough to compute."""

    held: Pairs
    unsure: Pairs
    looked_at: int

    def up_to(self, pair: int) -> "Truth":
        """Of the first points alone: pairs below this number."""
        return Truth(self.held[self.held < pair], self.unsure[self.unsure < pair], self.looked_at)


class Definition:
    """What holds what, without any index of ours."""

    def __init__(self, fences: Sequence[Geofence]) -> None:
        self._count = len(fences)
        geometries = [fence.geometry for fence in fences]
        corners = np.array([_box(geometry) for geometry in geometries])
        boxes, owners = [corners], [np.arange(len(fences))]
        for beyond, turn in ((corners[:, 0] < -180, 360.0), (corners[:, 2] > 180, -360.0)):
            boxes.append(corners[beyond] + (turn, 0, turn, 0))
            owners.append(owners[0][beyond])
        self._tree = shapely.STRtree(shapely.box(*np.concatenate(boxes).T))
        self._owner = np.concatenate(owners)
        self._shapes = np.array([geometry.shape if isinstance(geometry, Area) else None for geometry in geometries])
        self._circles = np.array(
            [(each.lon, each.lat, each.radius_m) if isinstance(each, Circle) else (0, 0, -1) for each in geometries]
        )

    def of(self, lat: FloatArray, lon: FloatArray) -> Truth:
        """The truth about points, degrees, shape (n,)."""
        at, box = self._tree.query(shapely.points(lon, lat))
        pairs = np.unique(at.astype(np.int64) * self._count + self._owner[box])
        at, fence = np.divmod(pairs, self._count)
        held, unsure = np.zeros(len(pairs), np.bool_), np.zeros(len(pairs), np.bool_)
        rounds = self._circles[fence, 2] >= 0
        held[rounds], unsure[rounds] = self._in_circles(fence[rounds], lat[at[rounds]], lon[at[rounds]])
        held[~rounds] = self._in_areas(fence[~rounds], lat[at[~rounds]], lon[at[~rounds]])
        return Truth(pairs[held], pairs[unsure], len(pairs))

    def _in_circles(self, fence: Pairs, lat: FloatArray, lon: FloatArray) -> tuple[BoolArray, BoolArray]:
        centre_lon, centre_lat, radius_m = self._circles[fence].T
        away_m = GEOD.inv(centre_lon, centre_lat, lon, lat)[2]
        return away_m <= radius_m, np.abs(away_m - radius_m) <= BAND_M

    def _in_areas(self, fence: Pairs, lat: FloatArray, lon: FloatArray) -> BoolArray:
        held: BoolArray = shapely.intersects_xy(self._shapes[fence], lon, lat)
        seam = np.abs(lon) == 180  # one meridian, two names
        held[seam] |= shapely.intersects_xy(self._shapes[fence[seam]], -lon[seam], lat[seam])
        return held


def _box(geometry: Geometry) -> tuple[float, float, float, float]:
    """min_lon, min_lat, max_lon, max_lat, a little too large; longitudes may pass 180."""
    if isinstance(geometry, Area):
        min_lon, min_lat, max_lon, max_lat = geometry.shape.bounds
        return min_lon - 1e-6, min_lat - 1e-6, max_lon + 1e-6, max_lat + 1e-6
    high = geometry.radius_m / LEAST_NORTH_M + 1e-6
    top = abs(geometry.lat) + high
    wide = 360.0 if top > 89 else high * 1.02 / math.cos(math.radians(top))
    return geometry.lon - wide, geometry.lat - high, geometry.lon + wide, geometry.lat + high


# ------------------------------------------------------------------------------------------------ the index
def in_batches(index: GeofenceIndex, lat: FloatArray, lon: FloatArray) -> Pairs:
    """What `locate` says."""
    return _pairs(index.locate(lat, lon), len(index))


def one_by_one(index: GeofenceIndex, lat: FloatArray, lon: FloatArray) -> Pairs:
    """What `locate_one` says."""
    return _pairs(map(index.locate_one, lat.tolist(), lon.tolist()), len(index))


def _pairs(found: Iterable[tuple[Geofence, ...]], fences: int) -> Pairs:
    return np.sort(np.array([at * fences + fence.version for at, each in enumerate(found) for fence in each], np.int64))


def wrong(truth: Truth, answered: Pairs) -> Pairs:
    """The pairs on which the two differ, those in the band left out."""
    return np.setdiff1d(np.setxor1d(truth.held, answered), truth.unsure)


# ------------------------------------------------------------------------------------------------ the bench
SHORT: Final = None


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fences", type=int, default=100_000, metavar="N", help="of the common load")
    parser.add_argument("--points", type=int, default=1_000_000, metavar="N", help="along their borders and around")
    parser.add_argument("--seed", type=int, default=7)


def reports(given: argparse.Namespace) -> Iterable[Report]:
    """The common load against the definition, both ways of asking."""
    made = make_fences(given.fences, given.seed)
    fences = [replace(fence, version=number) for number, fence in enumerate(made)]
    index, definition = GeofenceIndex(fences), Definition(fences)
    random, yardstick = np.random.default_rng([given.seed, 9]), Yardstick(time.process_time)
    counts = dict.fromkeys(("points", "near_pairs", "held", "in_band", "wrong"), 0)
    started = time.process_time()
    while counts["points"] < given.points:
        yardstick.spin()
        lat, lon = telling_points(fences, min(AT_ONCE, given.points), random)
        truth = definition.of(lat, lon)
        missed = sum(len(wrong(truth, ask(index, lat, lon))) for ask in (in_batches, one_by_one))
        found = (len(lat), truth.looked_at, len(truth.held), len(truth.unsure), missed)
        counts = {name: had + more for (name, had), more in zip(counts.items(), found, strict=True)}
    rate = counts["points"] / (time.process_time() - started)
    row = Row("asked twice and computed", rate, "points/CPU-s", yardstick, more=counts)
    yield Report("exact", {"fences": given.fences, "points": given.points, "seed": given.seed}, [row])
