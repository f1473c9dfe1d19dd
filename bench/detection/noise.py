"""What a phone makes of a true path: when it looks where it is, how far off it is, and what it says of that.

Errors come by phone. Each has its own interval, drift, quality, and a factor by which the accuracy that it reports is
wrong. On top of the drift, which is correlated over 20 to 60 s (never white noise alone), lie multipath jumps of one to
five fixes, some with falsely good accuracy, fixes by Wi-Fi and by cell, indoor stays that Wi-Fi misplaces as a whole,
gaps and tunnels. Two of a hundred phones report no accuracy; phones that share their approximate location only report
a place on a grid of a hundredth of a degree.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.detection.people import Path, Seconds
from bench.detection.sites import Site
from geo_offers.places.earth import BoolArray, FloatArray
from geo_offers.presence.fixes import Fix, usable_accuracy_m, usable_speed_mps

INTERVAL_S: Final = (5.0, 150.0)
DRIFT_S: Final = (20.0, 60.0)
INDOOR_M: Final = (15.0, 27.0)
"""68 % of a phone's indoor fixes are within so much of the truth."""
RADIAL_68: Final = 1.51
"""The radius that holds 68 % of a round normal scatter, in standard deviations of one axis."""
WHITE: Final = 0.2
"""Share of the variance that is not correlated."""
JUMP_M: Final = 80.0
JUMP_FIXES: Final = (0.6, 0.16, 0.1, 0.08, 0.06)
"""Shares of jumps of one fix, two, … five."""
MISPLACED: Final = 0.02
"""Of the indoor stays."""
GRID_DEG: Final = 0.01
APPROXIMATE: Final = 0.04
"""Of the phones."""
STILL_S: Final = 120
STILL_M: Final = 25.0


@dataclass(frozen=True, slots=True)
class Handset:
    """A phone's habits."""

    interval_s: float
    still_s: float
    """The interval once it has not moved for two minutes: what the system allows then."""
    batch_s: float
    """It sends what it has every so often; 0: at once."""
    drift_s: float
    quality: float
    """Its error is so many times a good phone's."""
    stated: float
    """Its reported accuracy is so many times what it should be."""
    indoor_m: float
    """Standard deviation on one axis."""
    jumps: float
    """Chance of each fix outdoors to begin a jump."""
    false_share: float
    """Of the jumps: those with falsely good accuracy."""
    coarse: float
    """Share of fixes by Wi-Fi; a tenth as many are by cell."""
    states_accuracy: bool
    states_speed: bool
    approximate: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """The fixes of one phone in the order of `at_s` (seconds since its path began), arrays of one length.

    lat, lon: degrees. accuracy_m: as the product reads it, so 50 where the phone reported none. speed_mps: NaN where
    it reported none. distance_m: signed metres to each fence of the site, negative inside, shape (fixes, fences).
    received_s: when the server got it; later than `at_s` where the phone sends in batches, in the same order.
    """

    at_s: FloatArray
    lat: FloatArray
    lon: FloatArray
    accuracy_m: FloatArray
    speed_mps: FloatArray
    distance_m: FloatArray
    received_s: FloatArray

    def fixes(self) -> Iterator[Fix]:
        """As the product takes them; the path began at 0."""
        for at_s, lat, lon, accuracy_m, mps in zip(
            self.at_s.tolist(),
            self.lat.tolist(),
            self.lon.tolist(),
            self.accuracy_m.tolist(),
            self.speed_mps.tolist(),
            strict=True,
        ):
            yield Fix(round(at_s * 1e6), lat, lon, accuracy_m, usable_speed_mps(mps))


def draw_handset(random: np.random.Generator, *, hostile: bool) -> Handset:
    """A phone as they come; hostile: five times the jumps, nine of ten with falsely good accuracy."""
    interval_s = float(np.exp(random.uniform(*np.log(INTERVAL_S))))
    throttled, batching = random.random(2) < (0.4, 0.25)
    stated = random.lognormal(0.0, 0.35) * (0.5 if random.random() < 0.1 else 1.0)
    return Handset(
        interval_s=interval_s,
        still_s=max(interval_s, random.uniform(45.0, INTERVAL_S[1])) if throttled else interval_s,
        batch_s=random.uniform(60.0, 300.0) if batching else 0.0,
        drift_s=random.uniform(*DRIFT_S),
        quality=random.lognormal(0.0, 0.3),
        stated=stated,
        indoor_m=random.uniform(*INDOOR_M) / RADIAL_68,
        jumps=0.01 * random.lognormal(0.0, 0.7) * (5.0 if hostile else 1.0),
        false_share=0.9 if hostile else 0.4,
        coarse=random.uniform(0.0, 0.08),
        states_accuracy=random.random() >= 0.02,
        states_speed=random.random() < 0.7,
        approximate=random.random() < APPROXIMATE,
    )


def observe(random: np.random.Generator, handset: Handset, site: Site, path: Path) -> Trace:
    """The fixes of a phone that is carried along a path."""
    at_s = _times(random, handset, path)
    true_x, true_y = _between(at_s, path.x), _between(at_s, path.y)
    second = at_s.astype(np.int64)
    indoors = path.indoors[second]
    sd_m = np.where(indoors, handset.indoor_m, site.open_m * handset.quality)
    off_m = sd_m * _wander(random, at_s, handset.drift_s)
    said_m = np.maximum(3.0, RADIAL_68 * sd_m * handset.stated * random.lognormal(0.0, 0.25, len(at_s)))
    _coarse(random, handset, off_m, said_m)
    _misplace(random, path.stay[second], off_m, said_m)
    _jump(random, handset, indoors, off_m, said_m)
    lat, lon = site.fenced.frame.degrees(true_x + off_m[0], true_y + off_m[1])
    x, y = true_x + off_m[0], true_y + off_m[1]
    if handset.approximate:
        lat, lon = np.round(lat / GRID_DEG) * GRID_DEG, np.round(lon / GRID_DEG) * GRID_DEG
        x, y = site.fenced.frame.metres(lat, lon)
        said_m = random.uniform(2_000.0, 5_000.0, len(at_s))
    if not (handset.states_accuracy or handset.approximate):
        said_m = np.full(len(at_s), usable_accuracy_m(None))
    return Trace(
        at_s=at_s,
        lat=lat,
        lon=lon,
        accuracy_m=said_m,
        speed_mps=_speeds(random, handset, path, second, indoors),
        distance_m=site.distances(x, y),
        received_s=np.ceil(at_s / handset.batch_s) * handset.batch_s if handset.batch_s else at_s + 0.5,
    )


def _times(random: np.random.Generator, handset: Handset, path: Path) -> FloatArray:
    """Every interval or so, seldom while still, never in a gap or tunnel."""
    seconds = len(path.x)
    moved_m = np.hypot(path.x[STILL_S:] - path.x[:-STILL_S], path.y[STILL_S:] - path.y[:-STILL_S])
    still = np.concatenate((np.zeros(STILL_S, dtype=np.bool_), moved_m < STILL_M)).tolist()
    awake = _awake(random, path).tolist()
    most = int(seconds / (0.8 * handset.interval_s)) + 2
    times, at = list[float](), handset.interval_s * random.random()
    for sway in random.uniform(0.8, 1.25, most).tolist():
        if at >= seconds - 1:
            break
        if awake[int(at)]:
            times.append(at)
        at += sway * (handset.still_s if still[int(at)] else handset.interval_s)
    return np.round(times, 3)


def _awake(random: np.random.Generator, path: Path) -> BoolArray:
    """Without gaps, one in three hours, of 3 to 15 minutes, and tunnels, on every fourth ride, of 20 to 90 s."""
    seconds = len(path.x)
    awake = np.ones(seconds, dtype=np.bool_)
    for start in random.uniform(0, seconds, random.poisson(seconds / 3600.0 / 3.0)).tolist():
        awake[int(start) : int(start + random.uniform(180.0, 900.0))] = False
    for start in np.flatnonzero(path.driving[1:] & ~path.driving[:-1]).tolist():
        if random.random() < 0.25:
            into = start + int(random.uniform(0.0, 60.0))
            awake[into : into + int(random.uniform(20.0, 90.0))] = False
    return awake


def _between(at_s: FloatArray, each_second: FloatArray) -> FloatArray:
    between: FloatArray = np.interp(at_s, np.arange(len(each_second)), each_second)
    return between


def _wander(random: np.random.Generator, at_s: FloatArray, drift_s: float) -> FloatArray:
    """Two axes of unit variance, shape (2, n): an AR(1) process seen at these times, and some white noise."""
    if not len(at_s):
        return np.empty((2, 0))
    kept = np.exp(-np.diff(at_s, prepend=at_s[0]) / drift_s)
    fresh = np.sqrt(1.0 - kept * kept)
    steps = random.standard_normal((2, len(at_s)))
    drift = np.empty_like(steps)
    for axis, (first, *_) in enumerate(steps.tolist()):
        value, drifted = first, list[float]()
        for keep, new, step in zip(kept.tolist(), fresh.tolist(), steps[axis].tolist(), strict=True):
            value = keep * value + new * step
            drifted.append(value)
        drift[axis] = drifted
    white = random.standard_normal(drift.shape)
    return math.sqrt(1.0 - WHITE) * drift + math.sqrt(WHITE) * white


def _coarse(random: np.random.Generator, handset: Handset, off_m: FloatArray, said_m: FloatArray) -> None:
    """Wi-Fi says 65 m and is about that far off; a cell says kilometres."""
    chance = random.random(len(said_m))
    wifi = chance < handset.coarse
    cell = chance > 1.0 - handset.coarse / 10.0
    off_m[:, wifi] = random.normal(0.0, 30.0, (2, wifi.sum()))
    said_m[wifi] = 65.0
    said_m[cell] = random.uniform(1_000.0, 17_000.0, cell.sum())
    off_m[:, cell] = random.standard_normal((2, cell.sum())) * said_m[cell] / 3.0


def _misplace(random: np.random.Generator, stay: Seconds, off_m: FloatArray, said_m: FloatArray) -> None:
    """Some indoor stays are elsewhere from beginning to end."""
    for number in range(1, int(stay.max(initial=0)) + 1):
        if random.random() < MISPLACED:
            within = stay == number
            off_m[:, within] += (random.uniform(40.0, 150.0) * _direction(random))[:, None]
            said_m[within] = random.uniform(15.0, 40.0)


def _jump(
    random: np.random.Generator, handset: Handset, indoors: BoolArray, off_m: FloatArray, said_m: FloatArray
) -> None:
    """Multipath: the next fixes lie beside the truth by one offset, a little apart."""
    begins = random.random(len(said_m)) < np.where(indoors, 0.3, 1.0) * handset.jumps
    for start in np.flatnonzero(begins).tolist():
        within = slice(start, start + 1 + int(random.choice(len(JUMP_FIXES), p=JUMP_FIXES)))
        away_m = min(JUMP_M * random.lognormal(0.0, 0.6), 400.0)
        count = len(said_m[within])
        off_m[:, within] += (away_m * _direction(random))[:, None] + random.normal(0.0, 4.0, (2, count))
        false = random.random() < handset.false_share
        said_m[within] = random.uniform(1.7, 12.0, count) if false else away_m * random.uniform(0.5, 1.2, count)


def _direction(random: np.random.Generator) -> FloatArray:
    angle = random.uniform(0.0, 2 * np.pi)
    return np.array((np.cos(angle), np.sin(angle)))


def _speeds(
    random: np.random.Generator,
    handset: Handset,
    path: Path,
    second: Seconds,
    indoors: BoolArray,
) -> FloatArray:
    """Doppler speed, known outdoors to half a metre a second; indoors every other fix has none."""
    if not handset.states_speed:
        return np.full(len(second), np.nan)
    true_mps = np.hypot(np.gradient(path.x), np.gradient(path.y))[second]
    mps = np.abs(true_mps + random.normal(0.0, 0.5, len(second)))
    return np.where(indoors & (random.random(len(second)) < 0.5), np.nan, mps)
