from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from geo_offers.presence._evidence cimport Trail

cdef int64_t NEVER  # in the place of an instant

cdef struct Newest:  # a device's newest fix
    int64_t at_us  # NEVER: there is none
    double lat  # NaN: unknown
    double lon

cdef struct Course:  # `Stay.log_odds` and `Stay.course`
    double log_odds  # NaN for None
    double confidence
    double accuracy_m
    double way_m
    int32_t fixes
    int32_t number  # of its fence, where that is calibrated and this is its filing; else -1
    uint8_t told  # there is one
    uint8_t confirmed
    uint8_t stopped

cdef struct OpenStay:
    PyObject* fence
    uint64_t serial
    int64_t entered_us
    int64_t due_us  # its dwell deadline; the last of all instants where none is to come
    uint64_t visit_high
    uint64_t visit_low
    Course* course  # NULL: its fence takes every fix at its word, and always did
    int32_t version
    uint8_t dwelt

cdef struct Arriving:
    PyObject* fence
    uint64_t serial
    double log_odds
    int32_t number  # as a course's

cdef struct Unusual:  # a trail that is not as the newest fix leaves it, and `elsewhere`
    int64_t at_us
    int64_t placed_us
    double lat
    double lon
    double stray_lat
    double stray_lon
    double elsewhere

cdef struct Aside:  # what few devices have; behind `arriving` stands what is unusual, where there is such
    int32_t count
    int32_t unusual
    Arriving[1] arriving

cdef struct Past:
    # What calibrated fences remember of a device: its trail, `elsewhere`, `arriving`. Usually the trail's newest place
    # is the device's newest fix, and nothing is lower than `elsewhere`: then neither is kept twice.
    double still_lat
    double still_lon
    int64_t still_us
    Aside* aside
    float accuracy_m
    float speed_mps
    float clear_m  # so far around where it kept still there is no border, and nothing to weigh; 0: that is not known
    uint32_t clear_at  # the last change of the fences then

cdef dict stays_of(const OpenStay* stays, int count)
cdef object course_of(const Course* course)
cdef Course* copied(const Course* course) noexcept
cdef void drop_stay(OpenStay* stay)

cdef Trail trail_of(const Past* past, const Newest* newest) noexcept nogil
cdef double elsewhere_of(const Past* past) noexcept nogil
cdef void keep(
    Past* past, const Newest* newest, const Trail* trail, double elsewhere, const Arriving* arriving, int count
) noexcept
cdef void set_apart(Past* past, const Newest* newest) noexcept
cdef void empty(Past* past)
cdef Past* copy_of(const Past* past)
cdef object trail_value(const Trail* one)
cdef Trail trail_from(value) except *
