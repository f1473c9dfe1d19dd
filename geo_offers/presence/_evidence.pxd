from libc.stdint cimport int64_t

cdef enum Worth:  # in the order of `trail.Worth`
    MOCKED
    UNKNOWN
    COARSE
    SAME
    LEAP
    STRAY
    SOUND
    WORTHS

cdef int64_t NO_TRAIL  # in the place of `at_us`

cdef struct Fix:
    int64_t at_us
    double lat
    double lon
    double accuracy_m
    double speed_mps  # NaN: not measured
    bint mock

cdef struct Trail:  # as `trail.Trail`; NaN for None
    int64_t at_us
    int64_t placed_us
    double lat
    double lon
    double accuracy_m
    double speed_mps
    double stray_lat
    double stray_lon
    double still_lat
    double still_lon
    int64_t still_us

cdef struct Judged:
    Worth worth
    bint silent  # nothing is left of the trail
    double waited_s  # since its newest fix
    double way_m  # since its place; 0 where there is none
    double still_m  # from where the phone kept still; infinite where that is not known

cdef struct Sight:  # as `calibrated._Sight`
    bint first
    double faded  # how much of what was known has gone since the last fix, 0 to 1
    double weight
    double scale
    double doubt
    double before  # `elsewhere`, with what time makes of it; after this fix it is `elsewhere`
    double elsewhere

cdef struct Weighed:
    double now
    double kept

cdef double usable_accuracy_m(double given_m) noexcept nogil
cdef double usable_speed_mps(double given_mps) noexcept nogil
cdef Judged judged(const Trail* trail, const Fix* fix) noexcept nogil
cdef void follow(Trail* trail, const Fix* fix, const Judged* judged) noexcept nogil
cdef Sight sight_of(const Trail* trail, double elsewhere, const Fix* fix, const Judged* judged) noexcept nogil
cdef double reach_m(double accuracy_m) noexcept nogil
cdef Weighed weigh(
    const Sight* sight, double log_odds, double away_m, double breadth_m, double outside_m
) noexcept nogil
cdef double probability(double log_odds) noexcept nogil
