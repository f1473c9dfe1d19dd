# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The formulas of `evidence.py` and `trail.py`, compiled: the same results to the last bit.

So the operations stand in the same order, and a minimum or maximum picks the same one of two equal values. All numbers
are taken from there (tests/property/test_quick.py holds both against each other).
"""

from libc.math cimport INFINITY, NAN, cos, exp, isfinite, isnan, log, sqrt
from libc.stdint cimport INT64_MIN

from math import pi

from geo_offers.presence import evidence, trail
from geo_offers.presence.fixes import DEFAULT_ACCURACY_M

NO_TRAIL = INT64_MIN

cdef double DEFAULT_M = DEFAULT_ACCURACY_M
cdef double COARSE_M = trail.COARSE_M, UNKNOWN_M = trail.UNKNOWN_M, SILENCE_S = trail.SILENCE_S
cdef double LEAP_MPS = trail.LEAP_MPS, LEAP_M = trail.LEAP_M, LEAP_S = trail.LEAP_S
cdef double STRAY_MPS = trail.STRAY_MPS, STRAY_FACTOR = trail.STRAY_FACTOR, STRAY_M = trail.STRAY_M
cdef double STILL_M = trail.STILL_M, DEGREE_M = trail.DEGREE_M, RADIANS = pi / 180

cdef double LOWEST = evidence.LOWEST, HIGHEST = evidence.HIGHEST
cdef double SHARE = evidence.INSIDE_S / (evidence.INSIDE_S + evidence.OUTSIDE_S)
cdef double RATE = 1.0 / evidence.INSIDE_S + 1.0 / evidence.OUTSIDE_S
cdef double AXIS = evidence.AXIS, LEAST_SCALE_M = evidence.LEAST_SCALE_M, LOGISTIC = evidence.LOGISTIC
cdef double BROAD_M = evidence.BROAD_M, NARROW_M = evidence.NARROW_M
cdef double DOUBT = evidence.DOUBT, DOUBT_STRAY = evidence.DOUBT_STRAY, DOUBT_M = evidence.DOUBT_M
cdef double FAR = evidence.far(evidence.DOUBT), FAR_STRAY = evidence.far(evidence.DOUBT_STRAY)
cdef double ALIKE_S = evidence.ALIKE_S, LEAST_WEIGHT = evidence.LEAST_WEIGHT, REACH = evidence.REACH

if list(trail.Worth) != [trail.Worth[name] for name in ("MOCKED", "UNKNOWN", "COARSE", "SAME", "LEAP", "STRAY", "SOUND")]:
    raise ImportError("the worths of a fix are others by now")


# ------------------------------------------------------------------------------------------------ fixes
cdef double usable_accuracy_m(double given_m) noexcept nogil:
    return given_m if isfinite(given_m) and given_m > 0.0 else DEFAULT_M


cdef double usable_speed_mps(double given_mps) noexcept nogil:
    return given_mps if isfinite(given_mps) and given_mps >= 0.0 else NAN


cdef inline double distance_m(double lat0, double lon0, double lat1, double lon1) noexcept nogil:
    cdef double turn = lon1 - lon0, north_m, east_m
    if turn > 180:
        lon1 = lon1 - 360
    elif turn < -180:
        lon1 = lon1 + 360
    north_m = (lat1 - lat0) * DEGREE_M
    east_m = (lon1 - lon0) * DEGREE_M * cos((lat0 + lat1) / 2 * RADIANS)
    return sqrt(north_m * north_m + east_m * east_m)


cdef inline double usual_mps(const Trail* trail, const Fix* fix) noexcept nogil:
    cdef double measured_mps = fix.speed_mps if fix.speed_mps > 0 else trail.speed_mps
    return STRAY_FACTOR * measured_mps if STRAY_FACTOR * measured_mps > STRAY_MPS else STRAY_MPS


cdef Judged judged(const Trail* trail, const Fix* fix) noexcept nogil:
    """As `trail.judge`, with what it has measured."""
    cdef Judged found
    found.silent, found.waited_s, found.way_m, found.still_m = False, 0.0, 0.0, INFINITY
    if fix.mock:
        found.worth = MOCKED
        return found
    if fix.accuracy_m > COARSE_M:
        found.worth = UNKNOWN if fix.accuracy_m > UNKNOWN_M else COARSE
        return found
    found.worth = SOUND
    if trail.at_us == NO_TRAIL:
        return found
    found.waited_s = (fix.at_us - trail.at_us) / 1e6
    if found.waited_s <= 0:
        found.worth = SAME
        return found
    found.silent = found.waited_s > SILENCE_S
    if not (isnan(trail.lat) or found.silent):
        found.worth = worth_after(trail, fix, &found)
        if found.worth == SOUND:
            found.still_m = distance_m(trail.still_lat, trail.still_lon, fix.lat, fix.lon)
    return found


cdef inline Worth worth_after(const Trail* trail, const Fix* fix, Judged* found) noexcept nogil:
    cdef double gone_s = (fix.at_us - trail.placed_us) / 1e6
    cdef double slack_m = fix.accuracy_m + trail.accuracy_m, usual, from_stray_m
    found.way_m = distance_m(trail.lat, trail.lon, fix.lat, fix.lon)
    if gone_s <= LEAP_S and found.way_m > LEAP_MPS * gone_s + LEAP_M + slack_m:
        return LEAP
    usual = usual_mps(trail, fix)
    if found.way_m <= usual * gone_s + STRAY_M + slack_m:
        return SOUND
    if isnan(trail.stray_lat):
        return STRAY
    from_stray_m = distance_m(trail.stray_lat, trail.stray_lon, fix.lat, fix.lon)
    return SOUND if from_stray_m <= usual * found.waited_s + STRAY_M + slack_m else STRAY


cdef void follow(Trail* trail, const Fix* fix, const Judged* judged) noexcept nogil:
    """As `trail.follow`, in place."""
    cdef double speed_mps = fix.speed_mps
    if trail.at_us == NO_TRAIL or isnan(trail.lat) or judged.silent:
        speed_mps = 0.0 if isnan(speed_mps) else speed_mps
    elif judged.worth == STRAY:
        trail.at_us, trail.stray_lat, trail.stray_lon = fix.at_us, fix.lat, fix.lon
        return
    elif isnan(speed_mps):
        speed_mps = (trail.speed_mps + judged.way_m / ((fix.at_us - trail.placed_us) / 1e6)) / 2
    if judged.still_m > STILL_M + fix.accuracy_m:
        trail.still_lat, trail.still_lon, trail.still_us = fix.lat, fix.lon, fix.at_us
    trail.at_us, trail.placed_us, trail.lat, trail.lon = fix.at_us, fix.at_us, fix.lat, fix.lon
    trail.accuracy_m, trail.speed_mps = <float>fix.accuracy_m, <float>speed_mps
    trail.stray_lat, trail.stray_lon = NAN, NAN


# ------------------------------------------------------------------------------------------------ evidence
cdef inline double scale_m(double accuracy_m) noexcept nogil:
    cdef double axis_m = accuracy_m / AXIS
    return sqrt(axis_m * axis_m + LEAST_SCALE_M * LEAST_SCALE_M)


cdef double reach_m(double accuracy_m) noexcept nogil:
    """Of a fix with this accuracy."""
    return REACH * scale_m(accuracy_m)


cdef inline double predict(double log_odds, double faded) noexcept nogil:
    """faded: 1 less the exponential of the time."""
    cdef double inside = 1.0 / (1.0 + exp(-log_odds))
    inside += (SHARE - inside) * faded
    return log(inside / (1.0 - inside))


cdef inline double bounded(double log_odds) noexcept nogil:
    log_odds = log_odds if log_odds > LOWEST else LOWEST
    return log_odds if log_odds < HIGHEST else HIGHEST


cdef inline double beyond(double z) noexcept nogil:
    if z < -40.0:
        return 0.0
    return 1.0 if z > 40.0 else 1.0 / (1.0 + exp(-LOGISTIC * z))


cdef inline double likelihood(
    double away_m, double breadth_m, double scale, double doubt, double outside_m
) noexcept nogil:
    cdef double outside = beyond(away_m / scale)
    cdef double inside = beyond((away_m + breadth_m) / scale) - outside
    cdef double spread_m = breadth_m if breadth_m > NARROW_M else NARROW_M
    cdef double floor = doubt / DOUBT_M
    spread_m = spread_m if spread_m < BROAD_M else BROAD_M
    return log(((1.0 - doubt) * inside / spread_m + floor) / ((1.0 - doubt) * outside / outside_m + floor))


cdef double probability(double log_odds) noexcept nogil:
    return 1.0 / (1.0 + exp(-log_odds))


cdef Sight sight_of(const Trail* trail, double elsewhere, const Fix* fix, const Judged* judged) noexcept nogil:
    """As `calibrated._sight`. trail: before the fix."""
    cdef Sight sight
    cdef bint stray = judged.worth == STRAY
    sight.first = trail.at_us == NO_TRAIL
    sight.doubt, sight.scale = DOUBT_STRAY if stray else DOUBT, scale_m(fix.accuracy_m)
    sight.weight, sight.faded, sight.before = 1.0, 0.0, elsewhere
    if not sight.first:
        sight.weight = 1.0 - exp(-judged.waited_s / ALIKE_S)
        sight.faded = 1.0 - exp(-judged.waited_s * RATE)
        sight.before = predict(elsewhere, sight.faded)
    sight.elsewhere = bounded(sight.before + sight.weight * (FAR_STRAY if stray else FAR))
    return sight


cdef Weighed weigh(
    const Sight* sight, double log_odds, double away_m, double breadth_m, double outside_m
) noexcept nogil:
    """As `calibrated._Sight.weigh`."""
    cdef Weighed weighed
    cdef double news = likelihood(away_m, breadth_m, sight.scale, sight.doubt, outside_m)
    if not sight.first:
        log_odds = predict(log_odds, sight.faded)
    weighed.now = log_odds + (sight.weight if sight.weight > LEAST_WEIGHT else LEAST_WEIGHT) * news
    weighed.kept = bounded(log_odds + sight.weight * news)
    return weighed
