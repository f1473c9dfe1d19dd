# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""How the compiled memory of devices keeps what presence remembers: open visits, and the past at calibrated fences.

There are many small blocks, so all are Python's own: malloc puts a head before each.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport NAN, isnan
from libc.stdint cimport INT64_MIN
from libc.string cimport memcpy, memset

from geo_offers.pipeline._batch cimport uuid_of
from geo_offers.presence import evidence, trail
from geo_offers.presence._evidence cimport NO_TRAIL
from geo_offers.presence.states import Course as CourseValue
from geo_offers.presence.states import Stay

NEVER = INT64_MIN

cdef double PRIOR = evidence.PRIOR, LOWEST = evidence.LOWEST


# ------------------------------------------------------------------------------------------------ open visits
cdef dict stays_of(const OpenStay* stays, int count):
    cdef int k
    cdef dict inside = {}
    for k in range(count):
        fence = <object>stays[k].fence
        inside[fence] = Stay(
            fence,
            stays[k].version,
            uuid_of(stays[k].visit_high, stays[k].visit_low),
            stays[k].entered_us,
            bool(stays[k].dwelt),
            None if stays[k].course == NULL or isnan(stays[k].course.log_odds) else stays[k].course.log_odds,
            course_of(stays[k].course),
        )
    return inside


cdef object course_of(const Course* course):
    if course == NULL or not course.told:
        return None
    return CourseValue(
        bool(course.confirmed), course.confidence, course.fixes, course.accuracy_m, course.way_m, bool(course.stopped)
    )


cdef Course* copied(const Course* course) noexcept:
    """A copy; of none one that nothing is told of."""
    cdef Course* copy = <Course*>PyMem_Calloc(1, sizeof(Course))
    if course == NULL:
        copy.log_odds = NAN
    else:
        copy[0] = course[0]
    return copy


cdef void drop_stay(OpenStay* stay):
    Py_DECREF(<object>stay.fence)
    PyMem_Free(stay.course)


# ------------------------------------------------------------------------------------------------ the past of a device
cdef inline Unusual* unusual_of(const Past* past) noexcept nogil:
    """NULL where there is nothing unusual."""
    if past.aside == NULL or not past.aside.unusual:
        return NULL
    return <Unusual*>(past.aside.arriving + past.aside.count)


cdef Trail trail_of(const Past* past, const Newest* newest) noexcept nogil:
    """newest: the device's."""
    cdef Trail trail
    cdef const Unusual* unusual
    if past == NULL:
        memset(&trail, 0, sizeof(Trail))
        trail.at_us, trail.lat, trail.stray_lat = NO_TRAIL, NAN, NAN
        return trail
    trail.accuracy_m, trail.speed_mps = past.accuracy_m, past.speed_mps
    trail.still_lat, trail.still_lon, trail.still_us = past.still_lat, past.still_lon, past.still_us
    unusual = unusual_of(past)
    if unusual == NULL:
        trail.at_us = trail.placed_us = newest.at_us
        trail.lat, trail.lon, trail.stray_lat, trail.stray_lon = newest.lat, newest.lon, NAN, NAN
    else:
        trail.at_us, trail.placed_us, trail.lat, trail.lon = unusual.at_us, unusual.placed_us, unusual.lat, unusual.lon
        trail.stray_lat, trail.stray_lon = unusual.stray_lat, unusual.stray_lon
    return trail


cdef double elsewhere_of(const Past* past) noexcept nogil:
    cdef const Unusual* unusual
    if past == NULL:
        return PRIOR
    unusual = unusual_of(past)
    return LOWEST if unusual == NULL else unusual.elsewhere


cdef inline bint is_usual(const Trail* trail, const Newest* newest) noexcept nogil:
    """Of a place that is not known it is never so."""
    return (
        trail.at_us == newest.at_us and trail.placed_us == newest.at_us
        and trail.lat == newest.lat and trail.lon == newest.lon and isnan(trail.stray_lat)
    )


cdef void make_aside(Past* past, int count, bint unusual) noexcept:
    cdef size_t size = sizeof(Aside) - sizeof(Arriving) + count * sizeof(Arriving)
    past.aside = <Aside*>PyMem_Realloc(past.aside, size + (sizeof(Unusual) if unusual else 0))
    past.aside.count, past.aside.unusual = count, unusual


cdef void put_unusual(Past* past, const Trail* trail, double elsewhere) noexcept:
    cdef Unusual* unusual = unusual_of(past)
    unusual.at_us, unusual.placed_us, unusual.lat, unusual.lon = trail.at_us, trail.placed_us, trail.lat, trail.lon
    unusual.stray_lat, unusual.stray_lon, unusual.elsewhere = trail.stray_lat, trail.stray_lon, elsewhere


cdef void keep(
    Past* past, const Newest* newest, const Trail* trail, double elsewhere, const Arriving* arriving, int count
) noexcept:
    """Takes a trail, `elsewhere` and `arriving` in the place of what was there; the names are its own from now on.

    newest: the device's, from now on.
    """
    cdef bint unusual = elsewhere != LOWEST or not is_usual(trail, newest)
    past.accuracy_m, past.speed_mps = <float>trail.accuracy_m, <float>trail.speed_mps
    past.still_lat, past.still_lon, past.still_us = trail.still_lat, trail.still_lon, trail.still_us
    past.clear_m = 0
    if count == 0 and not unusual:
        PyMem_Free(past.aside)
        past.aside = NULL
        return
    make_aside(past, count, unusual)
    memcpy(past.aside.arriving, arriving, count * sizeof(Arriving))
    if unusual:
        put_unusual(past, trail, elsewhere)


cdef void set_apart(Past* past, const Newest* newest) noexcept:
    """Keeps the trail as it is, though another fix becomes the device's newest in the place of this one."""
    cdef Trail trail
    if unusual_of(past) == NULL:
        trail = trail_of(past, newest)
        make_aside(past, 0 if past.aside == NULL else past.aside.count, True)
        put_unusual(past, &trail, LOWEST)


cdef void empty(Past* past):
    """Gives back what hangs on it."""
    cdef int k
    if past.aside != NULL:
        for k in range(past.aside.count):
            Py_DECREF(<object>past.aside.arriving[k].fence)
        PyMem_Free(past.aside)
        past.aside = NULL


cdef Past* copy_of(const Past* past):
    cdef Past* copy = <Past*>PyMem_Malloc(sizeof(Past))
    cdef int k
    copy[0] = past[0]
    if past.aside != NULL:
        copy.aside = NULL
        make_aside(copy, past.aside.count, past.aside.unusual)
        memcpy(copy.aside.arriving, past.aside.arriving, past.aside.count * sizeof(Arriving))
        for k in range(copy.aside.count):
            Py_INCREF(<object>copy.aside.arriving[k].fence)
        if past.aside.unusual:
            unusual_of(copy)[0] = unusual_of(past)[0]
    return copy


cdef object trail_value(const Trail* one):
    if one.at_us == NO_TRAIL:
        return None
    return trail.Trail(
        one.at_us,
        one.placed_us,
        None if isnan(one.lat) else one.lat,
        None if isnan(one.lat) else one.lon,
        one.accuracy_m,
        one.speed_mps,
        None if isnan(one.stray_lat) else one.stray_lat,
        None if isnan(one.stray_lat) else one.stray_lon,
        one.still_lat,
        one.still_lon,
        one.still_us,
    )


cdef Trail trail_from(value) except *:
    cdef Trail one
    memset(&one, 0, sizeof(Trail))
    one.at_us, one.lat, one.stray_lat = NO_TRAIL, NAN, NAN
    if value is not None:
        one.at_us, one.placed_us = value.at_us, value.placed_us
        one.lat, one.lon = (NAN, NAN) if value.lat is None else (value.lat, value.lon)
        one.accuracy_m, one.speed_mps = value.accuracy_m, value.speed_mps
        one.stray_lat, one.stray_lon = (NAN, NAN) if value.stray_lat is None else (value.stray_lat, value.stray_lon)
        one.still_lat, one.still_lon, one.still_us = value.still_lat, value.still_lon, value.still_us
    return one
