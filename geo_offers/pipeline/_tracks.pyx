# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled memory of devices, and the short way of pings that cause nothing.

All of a device stands in one record; what it is inside of and the marks of its newest pings hang on it. `settle` looks
at every ping of a request once: it refuses what is refused for good, and takes the quiet ones, those of which the
machine (`presence/machine.py`) would say "accepted, no edge, nothing due". All others it leaves as they are, to be
stepped by the machine. So the rules of presence stand in one place, and what is here may only be too careful.

`step` takes the pings of a device that do cause something, by the same rules as the machine, whose word for word double
it is (tests/property/test_quick.py); where a case is rare it leaves all of them to the machine.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.math cimport INFINITY, NAN, fabs, isnan
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import sys
from hashlib import sha256

from geo_offers.pipeline._batch cimport Batch, Ping, uuid_of
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.requests import Arrival
from geo_offers.pipeline.seclusion import secluded
from geo_offers.pipeline.tracks import LEAP_DEG as LEAP
from geo_offers.pipeline.tracks import Track
from geo_offers.places._kernel cimport Table
from geo_offers.places._nearest cimport Borders
from geo_offers.places.index import AROUND_MOST
from geo_offers.presence import calibrated, evidence, trail
from geo_offers.presence._evidence cimport (
    NO_TRAIL, SOUND, STRAY, WORTHS, Fix, Judged, Sight, Trail, Weighed, follow, judged, probability, reach_m, sight_of,
    usable_accuracy_m, usable_speed_mps, weigh,
)
from geo_offers.presence.fixes import FUTURE_US as FUTURE
from geo_offers.presence.fixes import LATEST_US as LATEST
from geo_offers.presence.fixes import TOO_OLD_US as TOO_OLD
from geo_offers.presence.machine import breadth_of
from geo_offers.presence.states import Course as CourseValue
from geo_offers.presence.states import PresenceState, Stay, Transition, TransitionType, in_order

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define GO_PREFETCH(p) __builtin_prefetch(p)
    #else
    #define GO_PREFETCH(p)
    #endif
    """
    void GO_PREFETCH(const void*) nogil

cdef enum:
    REPLAY = 1
    LOCATE = 2
    OF_AGE = 4
    PROVEN = 8
    HELD = 16
    VEILED = 64  # its person has said something of being located: it is in `wheres`
    WAITS = 32  # a ping of the request that is looked at waits for the look-up
    KEY = 3  # bytes of a mark
    MARKS = 64
    LINE = 64
    FEW = 64  # points of a part, fences around a point, stays, edges: of more the machine takes care
    LOOKS = 256  # calibrated fences of which one fix may say something
    EXITS = 1  # what a fix makes at one of them
    ENTERS = 2
    CONFIRMS = 4
    DWELLS = 8

# What became of a ping; the same numbers as in tracks.py.
cdef enum Code:
    ACCEPTED = 0
    ABSENT = 1
    STEP = 2
    UNKNOWN = 3
    NO_CONSENT = 4
    AGE = 5
    RATE = 6
    OUT_OF_RANGE = 7
    BAD_TIME = 8
    IN_FUTURE = 9
    IS_TOO_OLD = 10
    LATE = 11
    DUPLICATE = 12
    PRIVATE = 14

cdef int64_t NEVER = INT64_MIN
cdef int64_t FUTURE_US = FUTURE
cdef int64_t LATEST_US = LATEST
cdef int64_t TOO_OLD_US = TOO_OLD
cdef double LEAP_DEG = LEAP
cdef int32_t MOST_AROUND = AROUND_MOST
cdef double PRIOR = evidence.PRIOR, LOWEST = evidence.LOWEST
cdef double PRESENT = calibrated.PRESENT, ABSENT_AT = calibrated.ABSENT, PLAIN = calibrated.PLAIN
cdef double NARROW_M = evidence.NARROW_M, OUTSIDE_M = evidence.OUTSIDE_M
cdef double STILL_S = trail.STILL_S
cdef double STRETCH = 1.02  # a distance on the plane is never so much too short
cdef double SLACK_M = 1.0
cdef double STRAIGHT_M = 2000.0  # of a longer way the straight line of degrees may stray by metres
cdef double FLAT_DEG = 85.0  # nearer to a pole a shorter one may
cdef double WIDE_M = 100000.0
cdef list LEFT_OUT = list(trail.Worth)[:<int>SOUND]
cdef object EXIT = TransitionType.EXIT
cdef object CROSS = TransitionType.CROSS
cdef object ENTER = TransitionType.ENTER
cdef object CONFIRM = TransitionType.CONFIRM
cdef object DWELL = TransitionType.DWELL

cdef struct Course:  # `Stay.log_odds` and `Stay.course`
    double log_odds  # NaN for None
    double confidence
    double accuracy_m
    double way_m
    int32_t fixes
    int32_t number  # of its fence, where that is calibrated and this is its filing; else -1
    bint told  # there is one
    bint confirmed
    bint stopped

cdef struct OpenStay:
    PyObject* fence
    uint64_t serial
    int64_t entered_us
    uint64_t visit_high
    uint64_t visit_low
    Course* course  # NULL: its fence takes every fix at its word, and always did
    int32_t version
    bint dwelt

cdef struct Arriving:
    PyObject* fence
    uint64_t serial
    double log_odds
    int32_t number  # as a course's

cdef struct Aside:  # what few trails have
    int64_t placed_us
    double stray_lat
    double stray_lon
    int32_t count
    int32_t room
    Arriving[1] arriving

cdef struct Past:
    # What calibrated fences remember of a device: its trail, `elsewhere`, `arriving`.
    int64_t at_us
    double lat
    double lon
    double accuracy_m
    double speed_mps
    double still_lat
    double still_lon
    int64_t still_us
    double elsewhere
    Aside* aside
    float clear_m  # so far around where it kept still there is no border, and nothing to weigh; 0: that is not known
    uint32_t clear_at  # the last change of the fences then

cdef struct Rule:
    uint64_t serial  # of the filing of which it is
    double breadth_m
    double term  # `breadth_term`
    int32_t detect

cdef struct Detect:
    double margin_m
    double min_confidence
    double max_speed_mps
    int64_t confirm_us
    int64_t dwell_us

cdef struct Look:  # what a fix says of one fence
    int32_t number
    int32_t stay  # of the device there, or -1
    int32_t arriving  # where the fence stands there, or -1
    int32_t makes
    double away_m
    double now
    double kept
    double confidence
    bint certain

cdef struct Record:
    uint64_t high  # of the device's id; both halves 0: a free record
    uint64_t low
    uint64_t user_high
    uint64_t user_low
    int64_t newest_us
    double lat  # NaN: unknown
    double lon
    int64_t due_us  # the first dwell deadline of what it is inside of
    int64_t heard_us
    int64_t filled_us
    float tokens
    int32_t epoch  # less than 0: not ours when it was loaded
    int32_t token_epoch
    int32_t workspace
    int32_t next_of_user
    uint32_t request  # the last one that it was in, and its time there
    int64_t request_us
    OpenStay* stays
    Past* past
    uint8_t* marks
    uint16_t n_stays
    uint8_t n_marks
    uint8_t next_mark
    uint8_t room
    uint8_t partition
    uint8_t flags
    uint8_t code  # in that request


cdef uint32_t[256] CRC


cdef void _make_crc() noexcept:
    cdef uint32_t value
    cdef int k, bit
    for k in range(256):
        value = k
        for bit in range(8):
            value = (value >> 1) ^ (<uint32_t>0xEDB88320 if value & 1 else 0)
        CRC[k] = value


_make_crc()


cdef inline uint32_t mark_of(int64_t at_us, double lat, double lon) noexcept nogil:
    """As `machine.fingerprint`: the low 24 bits of CRC-32 over the three, each of eight bytes."""
    cdef uint8_t[24] data
    cdef uint32_t value = <uint32_t>0xFFFFFFFF
    cdef int k
    memcpy(data, &at_us, 8)
    memcpy(data + 8, &lat, 8)
    memcpy(data + 16, &lon, 8)
    for k in range(24):
        value = (value >> 8) ^ CRC[(value ^ data[k]) & 0xFF]
    return ~value & <uint32_t>0xFFFFFF


cdef inline uint64_t mix(uint64_t high, uint64_t low) noexcept nogil:
    cdef uint64_t x = (high ^ (low << 17) ^ (low >> 47)) * <uint64_t>0x9E3779B97F4A7C15
    return x ^ (x >> 29)


cdef inline (uint64_t, uint64_t) halves(object ident):
    cdef bytes name = ident.bytes
    cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(name)
    cdef uint64_t high = 0, low = 0
    cdef int k
    for k in range(8):
        high, low = (high << 8) | text[k], (low << 8) | text[k + 8]
    return high, low


cdef class Moved:
    """What `Tracks.step` would leave a device in: see `tracks.Left`. `arrivals`: of its edges, in order."""

    cdef OpenStay[FEW] stays
    cdef uint32_t[FEW] marks  # of the fixes taken
    cdef int n_stays, n_marks
    cdef int64_t due_us
    cdef readonly int64_t newest_us
    cdef double lat, lon
    cdef Past* past
    cdef int64_t[<int>WORTHS] worths  # of the fixes taken, how many
    cdef readonly list arrivals

    def __cinit__(self):
        self.arrivals = []

    def __dealloc__(self):
        cdef int k
        for k in range(self.n_stays):
            drop_stay(self.stays + k)
        forget(&self.past)

    def kept(self):
        """As `PresenceState.kept`."""
        newest_us = None if self.newest_us == NEVER else self.newest_us
        inside = stays_of(self.stays, self.n_stays)
        return PresenceState(newest_us, None, None, inside, b"", trail_value(self.past)).kept()

    cdef OpenStay* add(self, fence, uint64_t serial, int64_t entered_us, bytes workspace, bytes device) except NULL:
        cdef OpenStay* stay = self.stays + self.n_stays
        name = sys.intern(fence.id)
        stay.visit_high, stay.visit_low = visit_of(workspace, device, name, entered_us)
        Py_INCREF(name)
        stay.fence, stay.serial, stay.entered_us = <PyObject*>name, serial, entered_us
        stay.version, stay.dwelt, stay.course = fence.version, False, NULL
        self.n_stays += 1
        return stay

    cdef object remove(self, int at):
        drop_stay(self.stays + at)
        self.n_stays -= 1
        if at != self.n_stays:
            self.stays[at] = self.stays[self.n_stays]

    cdef object tell(
        self, device, kind, OpenStay* stay, Ping* ping, fence, away_m, double confidence=1.0, bint dwelt=False
    ):
        """An edge of an open visit."""
        edge = Transition(
            kind, <object>stay.fence, stay.version, ping.at_us, uuid_of(stay.visit_high, stay.visit_low),
            stay.entered_us, usable_accuracy_m(ping.accuracy_m), away_m, confidence, course_of(stay.course), bool(dwelt),
        )
        self.arrivals.append(Arrival(device, edge, fence))

    cdef object tell_cross(self, device, fence, Ping* ping, away_m, confidence=1.0):
        edge = Transition(
            CROSS, fence.id, fence.version, ping.at_us, None, None, usable_accuracy_m(ping.accuracy_m), away_m, confidence
        )
        self.arrivals.append(Arrival(device, edge, fence))


cdef dict stays_of(OpenStay* stays, int count):
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
    cdef Course* copy = <Course*>calloc(1, sizeof(Course))
    if course == NULL:
        copy.log_odds = NAN
    else:
        copy[0] = course[0]
    return copy


cdef void drop_stay(OpenStay* stay):
    Py_DECREF(<object>stay.fence)
    free(stay.course)


# ---------------------------------------------------------------------------------------------- the past of a device
cdef Trail trail_of(const Past* past) noexcept nogil:
    cdef Trail trail
    if past == NULL:
        memset(&trail, 0, sizeof(Trail))
        trail.at_us, trail.lat, trail.stray_lat = NO_TRAIL, NAN, NAN
        return trail
    trail.at_us, trail.lat, trail.lon = past.at_us, past.lat, past.lon
    trail.accuracy_m, trail.speed_mps = past.accuracy_m, past.speed_mps
    trail.still_lat, trail.still_lon, trail.still_us = past.still_lat, past.still_lon, past.still_us
    trail.placed_us, trail.stray_lat, trail.stray_lon = usual_placed_us(&trail), NAN, NAN
    if past.aside != NULL:
        trail.placed_us = past.aside.placed_us
        trail.stray_lat, trail.stray_lon = past.aside.stray_lat, past.aside.stray_lon
    return trail


cdef inline int64_t usual_placed_us(const Trail* trail) noexcept nogil:
    """Of a trail that has nothing aside."""
    return 0 if isnan(trail.lat) else trail.at_us


cdef void keep(Past** where, const Trail* trail, double elsewhere, const Arriving* arriving, int count) noexcept:
    """Takes a trail, `elsewhere` and `arriving` in the place of what was there; the names are its own from now on."""
    cdef Past* past = where[0]
    cdef Aside* aside
    cdef int room = 1
    if past == NULL:
        past = where[0] = <Past*>calloc(1, sizeof(Past))
    past.at_us, past.lat, past.lon = trail.at_us, trail.lat, trail.lon
    past.accuracy_m, past.speed_mps = trail.accuracy_m, trail.speed_mps
    past.still_lat, past.still_lon, past.still_us = trail.still_lat, trail.still_lon, trail.still_us
    past.elsewhere, past.clear_m = elsewhere, 0
    if count == 0 and isnan(trail.stray_lat) and trail.placed_us == usual_placed_us(trail):
        free(past.aside)
        past.aside = NULL
        return
    if past.aside == NULL or past.aside.room < count:
        while room < count:
            room *= 2
        past.aside = <Aside*>realloc(past.aside, sizeof(Aside) + (room - 1) * sizeof(Arriving))
        past.aside.room = room
    aside = past.aside
    aside.placed_us, aside.stray_lat, aside.stray_lon = trail.placed_us, trail.stray_lat, trail.stray_lon
    aside.count = count
    memcpy(aside.arriving, arriving, count * sizeof(Arriving))


cdef void forget(Past** where):
    cdef Past* past = where[0]
    cdef int k
    if past == NULL:
        return
    if past.aside != NULL:
        for k in range(past.aside.count):
            Py_DECREF(<object>past.aside.arriving[k].fence)
        free(past.aside)
    free(past)
    where[0] = NULL


cdef Past* copy_of(const Past* past):
    cdef Past* copy
    cdef int k
    cdef size_t size
    if past == NULL:
        return NULL
    copy = <Past*>malloc(sizeof(Past))
    copy[0] = past[0]
    if past.aside != NULL:
        size = sizeof(Aside) + (past.aside.room - 1) * sizeof(Arriving)
        copy.aside = <Aside*>malloc(size)
        memcpy(copy.aside, past.aside, size)
        for k in range(copy.aside.count):
            Py_INCREF(<object>copy.aside.arriving[k].fence)
    return copy


cdef object trail_value(const Past* past):
    if past == NULL:
        return None
    cdef Trail one = trail_of(past)
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


cdef inline bint is_current(Table table, int32_t number, uint64_t serial) noexcept nogil:
    """Whether this is still how a calibrated fence is filed."""
    return 0 <= number < table.filed_room and table.filed[number].serial == serial


cdef (int32_t, uint64_t) filing_of(fences, fence):
    """Number and serial of a calibrated fence; of any other -1 and its serial."""
    cdef Table table = fences.kernel
    cdef uint64_t serial = fences.serial(fence)
    cdef int32_t number
    if serial == 0:
        return -1, 0
    number = fences.numbers[fence]
    return number if table.filed[number].calibrated else -1, serial


cdef class Rules:
    """What is to be known of a workspace's calibrated fences, by number; each is asked for once."""

    cdef Rule* rules
    cdef Detect* detects
    cdef int32_t room
    cdef dict seen  # number of a `fences.Detect`

    def __cinit__(self):
        self.seen = {}

    def __dealloc__(self):
        free(self.rules)
        free(self.detects)

    cdef const Rule* find(self, Table table, int32_t number, index) except NULL:
        cdef int32_t room
        if number >= self.room:
            room = number + number // 8 + 16
            self.rules = <Rule*>realloc(self.rules, room * sizeof(Rule))
            memset(self.rules + self.room, 0, (room - self.room) * sizeof(Rule))
            self.room = room
        if self.rules[number].serial != table.filed[number].serial:
            self._ask(self.rules + number, index.by_number[number])
            self.rules[number].serial = table.filed[number].serial
        return self.rules + number

    cdef object _ask(self, Rule* rule, fence):
        cdef Detect* detect
        rule.breadth_m = breadth_of(fence)
        rule.term = evidence.breadth_term(rule.breadth_m)
        known = self.seen.get(fence.detect)
        if known is None:
            known = self.seen[fence.detect] = len(self.seen)
            self.detects = <Detect*>realloc(self.detects, len(self.seen) * sizeof(Detect))
            detect = self.detects + <int>known
            detect.margin_m, detect.min_confidence = fence.detect.exit_margin_m, fence.detect.min_confidence
            detect.max_speed_mps = fence.detect.max_speed_mps
            detect.confirm_us = round(fence.detect.confirm_s * 1e6)
            detect.dwell_us = round(fence.detect.dwell_s * 1e6)
        rule.detect = known


cdef (uint64_t, uint64_t) visit_of(bytes workspace, bytes device, fence, int64_t entered_us):
    """The halves of `visits.visit_id`."""
    cdef bytes name = fence.encode()
    cdef bytes digest = sha256(
        b"\0\0\0\x10" + workspace + b"\0\0\0\x10" + device + len(name).to_bytes(4, "big") + name
        + b"\0\0\0\x08" + entered_us.to_bytes(8, "big")
    ).digest()
    cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(digest)
    cdef uint64_t high = <uint64_t>(entered_us // 1000) << 16, low = 0
    cdef int k
    high |= (<uint64_t>text[0] << 8) | text[1]
    for k in range(2, 10):
        low = (low << 8) | text[k]
    return high, low


cdef inline int64_t due_us(OpenStay* stay, fence):
    return stay.entered_us + <int64_t>round(fence.detect.dwell_s * 1000000)


cdef inline double turned_deg(double turn) noexcept nogil:
    """How far apart two longitudes are whose difference this is."""
    turn = fabs(turn)
    return 360 - turn if turn > 180 else turn


cdef inline bint is_before(Ping* one, int32_t number, Ping* other, int32_t others) noexcept nogil:
    """As `stepping` orders the points of a part."""
    if one.at_us != other.at_us:
        return one.at_us < other.at_us
    if one.lat != other.lat:
        return one.lat < other.lat
    if one.lon != other.lon:
        return one.lon < other.lon
    return number < others


def by_edge(arrival):
    return in_order(arrival.transition)


cdef class Tracks:
    """See `tracks.Tracks`."""

    cdef Record* records
    cdef int32_t room, used, spare
    cdef int32_t live
    cdef int32_t* by_device  # number of a record, -1: none
    cdef int32_t* by_user  # of the first of a user's records
    cdef uint64_t mask
    cdef uint32_t requests
    cdef double rate_per_s, burst
    cdef readonly double looked_s  # how long the look-up of the last `settle` took
    cdef readonly Py_ssize_t looked  # and of how many points it was
    cdef list workspaces
    cdef dict workspace_numbers
    cdef dict wheres  # `KnownDevice.where` by the number of a record, of those who have one
    cdef int64_t[256] epochs
    cdef object epochs_seen
    cdef int32_t* slots
    cdef int32_t* placed
    cdef int32_t* counts
    cdef double* lat
    cdef double* lon
    cdef Py_ssize_t scratch
    cdef Look[LOOKS] looks  # of the fix that is looked at: what it says
    cdef int n_looks
    cdef bint edges  # it makes some
    cdef Fix fix
    cdef Judged judged
    cdef Sight sight
    cdef Trail trail  # before it
    cdef double clear_m  # no border is nearer
    cdef int64_t[<int>WORTHS] worths

    def __cinit__(self, double rate_per_s, double burst):
        self.rate_per_s, self.burst = rate_per_s, burst
        self.room, self.mask, self.spare = 64, 127, -1
        self.records = <Record*>calloc(self.room, sizeof(Record))
        self.by_device = <int32_t*>malloc(128 * sizeof(int32_t))
        self.by_user = <int32_t*>malloc(128 * sizeof(int32_t))
        memset(self.by_device, 0xFF, 128 * sizeof(int32_t))
        memset(self.by_user, 0xFF, 128 * sizeof(int32_t))
        self.workspaces, self.workspace_numbers, self.wheres = [], {}, {}
        self._scratch(LINE)

    def __dealloc__(self):
        cdef int32_t k
        for k in range(self.used):
            self._clear(self.records + k)
            free(self.records[k].marks)
        free(self.records)
        free(self.by_device)
        free(self.by_user)
        self._free_scratch()

    def __len__(self):
        return self.live

    cdef void _free_scratch(self) noexcept:
        free(self.slots)
        free(self.placed)
        free(self.counts)
        free(self.lat)
        free(self.lon)

    cdef void _scratch(self, Py_ssize_t count) noexcept:
        self._free_scratch()
        self.scratch = count
        self.slots = <int32_t*>malloc(count * sizeof(int32_t))
        self.placed = <int32_t*>malloc(count * sizeof(int32_t))
        self.counts = <int32_t*>malloc(count * sizeof(int32_t))
        self.lat = <double*>malloc(count * sizeof(double))
        self.lon = <double*>malloc(count * sizeof(double))

    # ------------------------------------------------------------------------------------------ finding
    cdef inline int32_t _find(self, uint64_t high, uint64_t low) noexcept nogil:
        cdef uint64_t at = mix(high, low) & self.mask
        cdef int32_t slot = self.by_device[at]
        while slot >= 0 and (self.records[slot].low != low or self.records[slot].high != high):
            at = (at + 1) & self.mask
            slot = self.by_device[at]
        return slot

    cdef int64_t _user_at(self, uint64_t high, uint64_t low) noexcept nogil:
        """Where a user stands, or would."""
        cdef uint64_t at = mix(high, low) & self.mask
        cdef int32_t slot = self.by_user[at]
        while slot >= 0 and (self.records[slot].user_low != low or self.records[slot].user_high != high):
            at = (at + 1) & self.mask
            slot = self.by_user[at]
        return <int64_t>at

    cdef uint64_t _home(self, int32_t slot, bint user) noexcept nogil:
        cdef Record* one = self.records + slot
        return (mix(one.user_high, one.user_low) if user else mix(one.high, one.low)) & self.mask

    cdef void _take_out(self, int32_t* table, uint64_t at, bint user) noexcept:
        """Closes the gap, so that a search never stops short of what stands behind it."""
        cdef uint64_t hole = at, next = at
        while True:
            next = (next + 1) & self.mask
            if table[next] < 0:
                break
            if ((next - self._home(table[next], user)) & self.mask) >= ((next - hole) & self.mask):
                table[hole] = table[next]
                hole = next
        table[hole] = -1

    cdef void _enlarge(self) noexcept:
        cdef int32_t slot
        cdef uint64_t at
        cdef int32_t room = self.room + (self.room >> 1)
        self.records = <Record*>realloc(self.records, room * sizeof(Record))
        memset(self.records + self.room, 0, (room - self.room) * sizeof(Record))
        self.room = room
        if <uint64_t>room * 3 < (self.mask + 1) * 2:
            return
        self.mask = 2 * self.mask + 1
        self.by_device = <int32_t*>realloc(self.by_device, (self.mask + 1) * sizeof(int32_t))
        self.by_user = <int32_t*>realloc(self.by_user, (self.mask + 1) * sizeof(int32_t))
        memset(self.by_device, 0xFF, (self.mask + 1) * sizeof(int32_t))
        memset(self.by_user, 0xFF, (self.mask + 1) * sizeof(int32_t))
        for slot in range(self.used):
            if self.records[slot].high or self.records[slot].low:
                self._enter(slot)

    cdef void _enter(self, int32_t slot) noexcept:
        """Makes a record findable; its `next_of_user` becomes who stood first for its user."""
        cdef uint64_t at = self._home(slot, False)
        cdef int64_t of_user = self._user_at(self.records[slot].user_high, self.records[slot].user_low)
        while self.by_device[at] >= 0:
            at = (at + 1) & self.mask
        self.by_device[at] = slot
        self.records[slot].next_of_user = self.by_user[of_user]
        self.by_user[of_user] = slot

    # ------------------------------------------------------------------------------------------ coming and going
    def add(self, device, epoch, int64_t heard_us, fences, held):
        """Hold a device (`KnownDevice`) that is not held. held: something of its user's is queued."""
        cdef int32_t slot
        cdef Record* one
        if self.spare >= 0:
            slot = self.spare
            self.spare = self.records[slot].next_of_user
        else:
            if self.used == self.room:
                self._enlarge()
            slot = self.used
            self.used += 1
        one = self.records + slot
        memset(one, 0, sizeof(Record))
        one.high, one.low = halves(device.id)
        one.user_high, one.user_low = halves(device.user)
        one.workspace = self._workspace(device.workspace)
        one.partition = device.partition
        one.flags = (
            (REPLAY if device.replay else 0) | (LOCATE if device.locate else 0) | (OF_AGE if device.of_age else 0)
            | (PROVEN if device.proven else 0) | (HELD if held else 0) | (VEILED if device.where is not None else 0)
        )
        if device.where is not None:
            self.wheres[slot] = device.where
        one.token_epoch = device.token_epoch
        one.epoch = -1 if epoch is None else epoch
        one.heard_us = heard_us
        one.tokens = -1
        self._enter(slot)
        self.live += 1
        self._install(slot, device.state, fences)

    cdef int32_t _workspace(self, workspace):
        number = self.workspace_numbers.get(workspace)
        if number is None:
            number = self.workspace_numbers[workspace] = len(self.workspaces)
            self.workspaces.append(workspace)
        return number

    def drop(self, device):
        """Hold a device no more."""
        cdef uint64_t high, low
        high, low = halves(device)
        self._drop(self._find(high, low))

    cdef void _drop(self, int32_t slot):
        cdef Record* one = self.records + slot
        cdef uint64_t at = self._home(slot, False)
        cdef int64_t of_user = self._user_at(one.user_high, one.user_low)
        cdef int32_t before = self.by_user[of_user]
        while self.by_device[at] != slot:
            at = (at + 1) & self.mask
        if before != slot:
            while self.records[before].next_of_user != slot:
                before = self.records[before].next_of_user
            self.records[before].next_of_user = one.next_of_user
        elif one.next_of_user >= 0:
            self.by_user[of_user] = one.next_of_user
        else:
            self._take_out(self.by_user, <uint64_t>of_user, True)
        self._take_out(self.by_device, at, False)
        self._clear(one)
        free(one.marks)
        if one.flags & VEILED:
            del self.wheres[slot]
        memset(one, 0, sizeof(Record))
        one.next_of_user = self.spare
        self.spare = slot
        self.live -= 1

    cdef void _clear(self, Record* one):
        """Forgets stays and past."""
        cdef int k
        for k in range(one.n_stays):
            drop_stay(one.stays + k)
        free(one.stays)
        one.stays, one.n_stays = NULL, 0
        forget(&one.past)

    def of_user(self, user):
        """Ids of the user's devices that are held."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(user)
        slot = self.by_user[self._user_at(high, low)]
        found = []
        while slot >= 0:
            found.append(uuid_of(self.records[slot].high, self.records[slot].low))
            slot = self.records[slot].next_of_user
        return found

    def hold(self, user, bint held):
        """From now on all of the user's pings are to be stepped; or no more."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(user)
        slot = self.by_user[self._user_at(high, low)]
        while slot >= 0:
            if held:
                self.records[slot].flags |= HELD
            else:
                self.records[slot].flags &= ~HELD
            slot = self.records[slot].next_of_user

    # ------------------------------------------------------------------------------------------ values
    def __contains__(self, device):
        cdef uint64_t high, low
        high, low = halves(device)
        return self._find(high, low) >= 0

    def get(self, device):
        """The device as it is now (`Track`), None where it is not held."""
        cdef uint64_t high, low
        cdef int32_t slot
        cdef Record* one
        high, low = halves(device)
        slot = self._find(high, low)
        if slot < 0:
            return None
        one = self.records + slot
        known = KnownDevice(
            device,
            uuid_of(one.user_high, one.user_low),
            self.workspaces[one.workspace],
            one.partition,
            bool(one.flags & REPLAY),
            bool(one.flags & LOCATE),
            bool(one.flags & OF_AGE),
            bool(one.flags & PROVEN),
            one.token_epoch,
            self._state(one),
            self.wheres.get(slot),
        )
        return Track(known, None if one.epoch < 0 else one.epoch, one.heard_us)

    def where(self, device):
        """`KnownDevice.where` of a device that is held."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(device)
        slot = self._find(high, low)
        return self.wheres.get(slot) if self.records[slot].flags & VEILED else None

    def is_of(self, device, workspace, user, int64_t token_epoch):
        """Whether the device is held, and is that person's under that epoch of its tokens."""
        cdef uint64_t high, low, user_high, user_low
        cdef int32_t slot
        cdef Record* one
        high, low = halves(device)
        slot = self._find(high, low)
        if slot < 0:
            return False
        one = self.records + slot
        user_high, user_low = halves(user)
        if one.user_high != user_high or one.user_low != user_low or one.token_epoch != token_epoch:
            return False
        return self.workspaces[one.workspace] == workspace

    def shares(self, Batch batch, bytearray codes, numbers):
        """Of these points those to be stepped, by device: user, device, partition, numbers."""
        cdef Py_ssize_t number
        cdef int32_t slot
        cdef unsigned char* code = codes
        cdef Record* one
        cdef Ping* ping
        cdef dict found = {}
        for number in numbers:
            if code[number] == STEP:
                ping = batch.pings + number
                slot = self._find(ping.device_high, ping.device_low)
                share = found.get(slot)
                if share is None:
                    one = self.records + slot
                    share = found[slot] = (
                        uuid_of(one.user_high, one.user_low), uuid_of(one.high, one.low), one.partition, []
                    )
                (<list>(<tuple>share)[3]).append(number)
        return found.values()

    cdef object _state(self, Record* one):
        cdef Past* past = one.past
        cdef dict arriving = {}
        cdef int k
        if past != NULL and past.aside != NULL:
            for k in range(past.aside.count):
                arriving[<object>past.aside.arriving[k].fence] = past.aside.arriving[k].log_odds
        return PresenceState(
            None if one.newest_us == NEVER else one.newest_us,
            None if isnan(one.lat) else one.lat,
            None if isnan(one.lon) else one.lon,
            stays_of(one.stays, one.n_stays),
            self._marks(one),
            trail_value(past),
            PRIOR if past == NULL else past.elsewhere,
            arriving,
        )

    def gate(self, device, epochs):
        """STEP where the device may be stepped, else why not."""
        cdef uint64_t high, low
        cdef int32_t slot
        cdef Record* one
        high, low = halves(device)
        slot = self._find(high, low)
        if epochs is not self.epochs_seen:
            self._see(epochs)
        if slot < 0:
            return ABSENT
        one = self.records + slot
        if one.epoch < 0 or one.epoch != self.epochs[one.partition]:
            return ABSENT
        return NO_CONSENT if not one.flags & LOCATE else AGE if not one.flags & OF_AGE else STEP

    cdef bytes _marks(self, Record* one):
        """Newest last."""
        cdef bytes found = PyBytes_FromStringAndSize(NULL, one.n_marks * KEY)
        cdef char* to = PyBytes_AS_STRING(found)
        cdef int first = 0 if one.n_marks < MARKS else one.next_mark, k
        for k in range(one.n_marks):
            memcpy(to + k * KEY, one.marks + ((first + k) % MARKS) * KEY, KEY)
        return found

    def install(self, device, state, fences):
        """Take the state that a part left the device in. fences: the index that its stays are of."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(device)
        slot = self._find(high, low)
        if isinstance(state, Moved):
            self._move(self.records + slot, state)
        else:
            self._install(slot, state, fences)

    cdef object _move(self, Record* one, Moved moved):
        cdef int k
        for k in range(<int>WORTHS):
            self.worths[k] += moved.worths[k]
        one.newest_us, one.lat, one.lon, one.due_us = moved.newest_us, moved.lat, moved.lon, moved.due_us
        for k in range(moved.n_marks):
            self._push_mark(one, moved.marks[k])
        self._clear(one)
        if moved.n_stays:
            one.stays = <OpenStay*>malloc(moved.n_stays * sizeof(OpenStay))
            memcpy(one.stays, moved.stays, moved.n_stays * sizeof(OpenStay))
            one.n_stays = moved.n_stays
            moved.n_stays = 0  # the names are the record's now
        one.past, moved.past = moved.past, NULL

    cdef object _install(self, int32_t slot, state, fences):
        cdef Record* one = self.records + slot
        cdef bytes recent = state.recent
        cdef OpenStay* stay
        cdef int k = 0, count = <int>(len(recent) // KEY)
        one.newest_us = NEVER if state.newest_us is None else state.newest_us
        one.lat = NAN if state.lat is None or state.lon is None else state.lat
        one.lon = NAN if state.lat is None or state.lon is None else state.lon
        self._make_room(one, count)
        memcpy(one.marks, PyBytes_AS_STRING(recent), count * KEY)
        one.n_marks = count
        one.next_mark = count % MARKS
        self._clear(one)
        one.due_us = INT64_MAX
        if state.inside:
            one.stays = <OpenStay*>calloc(len(state.inside), sizeof(OpenStay))
            for value in state.inside.values():
                stay = one.stays + k
                name = sys.intern(value.fence)
                Py_INCREF(name)
                stay.fence = <PyObject*>name
                k += 1
                one.n_stays = k
                stay.entered_us, stay.version, stay.dwelt = value.entered_us, value.fence_version, value.dwelt
                stay.visit_high, stay.visit_low = halves(value.visit)
                number, stay.serial = filing_of(fences, value.fence)
                if number >= 0 or value.log_odds is not None or value.course is not None:
                    self._install_course(stay, value, number)
                if not value.dwelt:
                    fence = fences.get(value.fence)
                    if fence is not None:
                        one.due_us = min(one.due_us, due_us(stay, fence))
        if state.trail is not None or state.arriving or state.elsewhere != PRIOR:
            self._install_past(one, state, fences)

    cdef object _install_course(self, OpenStay* stay, value, int32_t number):
        cdef Course* course = copied(NULL)
        stay.course = course
        course.number, course.log_odds = number, NAN if value.log_odds is None else value.log_odds
        if value.course is not None:
            course.told, course.confirmed, course.stopped = True, value.course.confirmed, value.course.stopped
            course.confidence, course.accuracy_m = value.course.confidence, value.course.accuracy_m
            course.fixes, course.way_m = value.course.fixes, value.course.way_m

    cdef object _install_past(self, Record* one, state, fences):
        cdef Trail trail = trail_from(state.trail)
        cdef int count = <int>len(state.arriving), k = 0
        cdef Arriving* arriving = <Arriving*>malloc(max(count, 1) * sizeof(Arriving))
        for fence, log_odds in state.arriving.items():
            name = sys.intern(fence)
            arriving[k].number, arriving[k].serial = filing_of(fences, fence)
            arriving[k].log_odds, arriving[k].fence = log_odds, <PyObject*>name
            Py_INCREF(name)
            k += 1
        keep(&one.past, &trail, state.elsewhere, arriving, count)
        free(arriving)

    cdef void _make_room(self, Record* one, int count) noexcept:
        cdef int room = 4
        if count <= one.room:
            return
        while room < count:
            room *= 4
        one.marks = <uint8_t*>realloc(one.marks, room * KEY)
        one.room = room

    cdef inline void _push_mark(self, Record* one, uint32_t mark) noexcept:
        cdef uint8_t* to
        if one.n_marks < MARKS:
            self._make_room(one, one.n_marks + 1)
            one.n_marks += 1
        to = one.marks + one.next_mark * KEY
        to[0], to[1], to[2] = mark & 0xFF, (mark >> 8) & 0xFF, mark >> 16
        one.next_mark = (one.next_mark + 1) % MARKS

    cdef bint _is_marked(self, Record* one, uint32_t mark, int more=0) noexcept nogil:
        """more: marks that have come since, for which the oldest are forgotten."""
        cdef int k, first = 0 if one.n_marks < MARKS else one.next_mark
        cdef uint8_t* at
        for k in range(max(0, one.n_marks + more - MARKS), one.n_marks):
            at = one.marks + ((first + k) % MARKS) * KEY
            if at[0] == (mark & 0xFF) and at[1] == ((mark >> 8) & 0xFF) and at[2] == mark >> 16:
                return True
        return False

    # ------------------------------------------------------------------------------------------ pings
    def settle(self, Batch batch, bytearray codes, workspace, int64_t received_us, *, epochs, index, private=None):
        """Tell what becomes of each ping whose code is ABSENT. True where some are absent or to be stepped.

        Of one device the pings up to the first that is to be stepped are taken, all after it are to be stepped too.
        """
        cdef Py_ssize_t n = batch.count, k, first = 0, many
        cdef int32_t number = self.workspace_numbers.get(workspace, -1), slot
        cdef unsigned char* code = codes
        cdef Record* one
        cdef Ping* ping
        cdef bint left = False
        cdef int64_t heard_us
        cdef bint asked = False
        cdef Table table = None if index is None else index.kernel
        cdef Borders borders = None if table is None else index.borders
        cdef timespec began, ended
        if epochs is not self.epochs_seen:
            self._see(epochs)
        if n > self.scratch:
            self._scratch(n)
        self.requests += 1
        self.looked = 0
        if private is not None:
            asked = self._find_private(batch, private)
        for k in range(n):
            GO_PREFETCH(self.by_device + (mix(batch.pings[k].device_high, batch.pings[k].device_low) & self.mask))
        for k in range(n):
            slot = self.by_device[mix(batch.pings[k].device_high, batch.pings[k].device_low) & self.mask]
            if slot >= 0:  # nearly always it is this one
                GO_PREFETCH(self.records + slot)
                GO_PREFETCH(&self.records[slot].heard_us)
                GO_PREFETCH(&self.records[slot].code)
        for k in range(n):
            ping = batch.pings + k
            self.slots[k] = slot = self._find(ping.device_high, ping.device_low) if code[k] == ABSENT else -1
            if slot >= 0:
                GO_PREFETCH(self.records[slot].marks + self.records[slot].next_mark * KEY)
                if self.records[slot].n_stays:
                    GO_PREFETCH(self.records[slot].stays)
                if self.records[slot].past != NULL:
                    GO_PREFETCH(self.records[slot].past)
                    GO_PREFETCH(&self.records[slot].past.elsewhere)
                one = self.records + slot
                heard_us = one.heard_us
                code[k] = self._admit(one, batch.pings + k, number, received_us)
                if code[k] == STEP and (private is not None or one.flags & VEILED):
                    code[k] = self._seclude(slot, batch, k, private, index, asked)
                    if code[k] != STEP:
                        one.heard_us = heard_us
        many = 0
        for k in range(n):
            if self.slots[k] < 0 or code[k] != STEP or table is None:
                continue
            one = self.records + self.slots[k]
            if one.code != ACCEPTED:
                continue
            if not one.flags & WAITS and one.past != NULL and self._takes_far_off(one, batch.pings + k, table):
                code[k] = ACCEPTED
                continue
            one.flags |= WAITS
            self.placed[many] = k
            self.lat[many], self.lon[many] = batch.pings[k].lat, batch.pings[k].lon
            many += 1
        if many:
            self.looked = many
            clock_gettime(CLOCK_MONOTONIC, &began)
            table.find(self.lat, self.lon, many, self.counts)
            clock_gettime(CLOCK_MONOTONIC, &ended)
            self.looked_s = ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) * 1e-9
            for k in range(many):
                one = self.records + self.slots[self.placed[k]]
                one.flags &= ~WAITS
                if one.code == ACCEPTED:
                    code[self.placed[k]] = self._take(
                        one, batch.pings + self.placed[k], table, borders, index, table.hits + first, self.counts[k]
                    )
                    if code[self.placed[k]] == STEP:
                        one.code = STEP
                first += self.counts[k]
        for k in range(n):
            if code[k] == STEP or code[k] == ABSENT:
                left = True
        return left

    cdef bint _find_private(self, Batch batch, private) noexcept:
        """Leaves in `placed` of each ping whether private places hold it: 0 for none, else 1, 2 where one may.

        False where no table knows.
        """
        cdef Table table = None if private is None else private.kernel
        cdef Py_ssize_t k
        cdef int32_t j, *hits
        cdef bint known
        if table is None:
            return False
        for k in range(batch.count):
            known = -90 <= batch.pings[k].lat <= 90 and -180 <= batch.pings[k].lon <= 180
            self.lat[k], self.lon[k] = (batch.pings[k].lat, batch.pings[k].lon) if known else (0.0, 0.0)
        table.find(self.lat, self.lon, batch.count, self.counts)
        hits = table.hits
        for k in range(batch.count):
            self.placed[k] = 0
            for j in range(self.counts[k]):
                self.placed[k] = 1 if hits[j] >= 0 or self.placed[k] == 1 else 2
            hits += self.counts[k]
        return True

    cdef int _seclude(self, int32_t slot, Batch batch, Py_ssize_t number, private, index, bint asked) except -1:
        """As `seclusion.secluded`, STEP for None. asked: the table of private places was, and knows but rare cases."""
        if asked and not batch.pings[number].region and not self.records[slot].flags & VEILED:
            if self.placed[number] < 2:
                return PRIVATE if self.placed[number] else STEP
        hidden = secluded(batch[number], self.wheres.get(slot), private, index)
        return STEP if hidden is None else hidden

    cdef void _see(self, epochs):
        cdef int k
        for k in range(256):
            self.epochs[k] = epochs.get(k, -2)
        self.epochs_seen = epochs

    cdef int _admit(self, Record* one, Ping* ping, int32_t workspace, int64_t received_us) noexcept:
        """STEP where the ping may go on. Of the device's later pings in this request the first one decides."""
        if one.workspace != workspace:
            return UNKNOWN
        if one.request == self.requests:
            if one.code != ACCEPTED and one.code != STEP:
                return one.code
            if ping.at_us <= one.request_us:  # of one request the earlier is stepped first, whatever the order given
                one.code = STEP
        else:
            one.request = self.requests
            one.code = self._gate(one, received_us)
            if one.code != ACCEPTED and one.code != STEP:
                return one.code
        one.request_us = ping.at_us
        one.heard_us = received_us
        if not (-90 <= ping.lat <= 90 and -180 <= ping.lon <= 180):
            return OUT_OF_RANGE
        if not 0 <= ping.at_us <= LATEST_US:
            return BAD_TIME
        if not one.flags & REPLAY:
            if ping.at_us > received_us + FUTURE_US:
                return IN_FUTURE
            if ping.at_us < received_us - TOO_OLD_US:
                return IS_TOO_OLD
        if ping.region:
            one.code = STEP
        return STEP

    cdef int _gate(self, Record* one, int64_t received_us) noexcept:
        cdef double have
        if not one.flags & LOCATE:
            return NO_CONSENT
        if not one.flags & OF_AGE:
            return AGE
        if not one.flags & REPLAY:
            have = self.burst if one.tokens < 0 else one.tokens
            have = min(self.burst, have + max(0, received_us - one.filled_us) / 1e6 * self.rate_per_s)
            one.filled_us = received_us
            if have < 1:
                one.tokens = have
                return RATE
            one.tokens = have - 1
        return STEP if one.flags & HELD or one.epoch < 0 or one.epoch != self.epochs[one.partition] else ACCEPTED

    cdef bint _takes_far_off(self, Record* one, Ping* ping, Table table) noexcept:
        """Takes a ping that stays where no border is near, by what is remembered of there: no fence is looked up.

        The fences that hold it are those that held the last one, no way in there crosses any, and of calibrated ones
        it has nothing to say: at the lowest they are, and a sound fix leaves them there (`evidence.reach_m`).
        """
        cdef Past* past = one.past
        cdef double left_m, clear_m = past.clear_m
        if past.clear_m == 0 or past.clear_at != <uint32_t>table.changed:
            return False
        if ping.at_us <= one.newest_us or ping.at_us >= one.due_us or one.lat != past.lat or one.lon != past.lon:
            return False
        self._judge(past, ping)
        left_m = clear_m - self.judged.still_m * STRETCH
        if self.judged.worth != SOUND or not self._is_straight() or reach_m(self.fix.accuracy_m) > left_m:
            return False
        follow(&self.trail, &self.fix, &self.judged)
        keep(&one.past, &self.trail, LOWEST, NULL, 0)
        past.clear_m = <float>(left_m if past.still_us == ping.at_us else clear_m)
        self._accept(one, ping, mark_of(ping.at_us, ping.lat, ping.lon))
        return True

    cdef inline void _accept(self, Record* one, Ping* ping, uint32_t mark) noexcept:
        one.newest_us = ping.at_us
        one.lat, one.lon = ping.lat, ping.lon
        self._push_mark(one, mark)

    cdef int _take(
        self, Record* one, Ping* ping, Table table, Borders borders, index, const int32_t* hits, int32_t count
    ) except -1:
        """Takes a ping that causes nothing."""
        cdef uint32_t mark = mark_of(ping.at_us, ping.lat, ping.lon)
        cdef int32_t[FEW] within
        cdef int k, j, plain = 0, inside = 0, worth
        if one.newest_us != NEVER and ping.at_us <= one.newest_us:
            if self._is_marked(one, mark):
                return DUPLICATE
            return LATE if ping.at_us < one.newest_us else STEP
        if ping.at_us >= one.due_us or count > FEW:
            return STEP
        for k in range(count):
            if hits[k] < 0:
                return STEP
            if table.filed[hits[k]].calibrated:
                within[inside] = hits[k]
                inside += 1
                continue
            plain += 1
            for j in range(one.n_stays):
                if one.stays[j].serial == table.filed[hits[k]].serial:
                    break
            else:
                return STEP
        for j in range(one.n_stays):
            if one.stays[j].course == NULL or one.stays[j].course.number < 0:
                plain -= 1
            elif not is_current(table, one.stays[j].course.number, one.stays[j].serial):
                return STEP
        if plain:
            return STEP
        if table.calibrated:
            worth = self._look(one.past, one.stays, one.n_stays, ping, table, borders, index, within, inside)
            if worth == WORTHS or self.edges:
                return STEP
        if not isnan(one.lat) and (one.lat != ping.lat or one.lon != ping.lon):
            if not (table.calibrated and self._is_clear(one)):
                if table.may_cross(one.lat, one.lon, ping.lat, ping.lon):
                    return STEP
        if not table.calibrated:
            forget(&one.past)
        else:
            self.worths[worth] += 1
            if worth >= STRAY:
                self._follow(&one.past, one.stays, table, index)
        self._accept(one, ping, mark)
        return ACCEPTED

    cdef bint _is_clear(self, const Record* one) noexcept:
        """Whether the way to the fix that was looked at last is shorter than that to any border."""
        if self.trail.lat != one.lat or self.trail.lon != one.lon:
            return False
        return self._is_straight() and self.judged.way_m * STRETCH + SLACK_M < self.clear_m

    cdef inline bint _is_straight(self) noexcept:
        """Whether the way to it is about the straight line of degrees."""
        return self.judged.way_m <= STRAIGHT_M and fabs(self.fix.lat) <= FLAT_DEG

    # ------------------------------------------------------------------------------------------ evidence
    cdef void _judge(self, const Past* past, Ping* ping) noexcept:
        self.fix.at_us, self.fix.lat, self.fix.lon, self.fix.mock = ping.at_us, ping.lat, ping.lon, ping.mock
        self.fix.accuracy_m, self.fix.speed_mps = usable_accuracy_m(ping.accuracy_m), usable_speed_mps(ping.speed_mps)
        self.trail = trail_of(past)
        self.judged = judged(&self.trail, &self.fix)

    cdef int _look(
        self, const Past* past, const OpenStay* stays, int n_stays, Ping* ping, Table table, Borders borders, index,
        const int32_t* within, int inside, bint filed_anew=False,
    ) except -1:
        """What a fix is worth, and what it says of each calibrated fence (`calibrated.step`); nothing is changed.

        WORTHS where the machine has to look. within: the calibrated fences that hold the fix. filed_anew: what is known
        of fences is of how they are filed now.
        """
        cdef int32_t[FEW + 1] numbers
        cdef double[FEW + 1] away_m
        cdef const Aside* aside = NULL if past == NULL else past.aside
        cdef const Arriving* arriving
        cdef double elsewhere_m = INFINITY if inside else OUTSIDE_M
        cdef int k, at, found
        self.n_looks, self.edges, self.clear_m = 0, False, 0.0
        self._judge(past, ping)
        if self.judged.worth < STRAY:
            return self.judged.worth
        if self.judged.silent:
            return WORTHS
        self.sight = sight_of(&self.trail, PRIOR if past == NULL else past.elsewhere, &self.fix, &self.judged)
        found = borders.find_around(
            table, ping.lat, ping.lon, reach_m(self.fix.accuracy_m), numbers, away_m, MOST_AROUND + 1, &self.clear_m
        )
        if found > MOST_AROUND:
            return WORTHS
        if found:
            self.clear_m = fabs(away_m[0])
        for k in range(found):
            if table.filed[numbers[k]].calibrated:
                self._add_look(numbers[k], away_m[k])
        for k in range(inside):
            if self._look_at(within[k], table) < 0:
                return WORTHS
        for k in range(n_stays):
            if stays[k].course != NULL and stays[k].course.number >= 0:
                at = self._look_at(stays[k].course.number, table)
                if at < 0:
                    return WORTHS
                self.looks[at].stay = k
        for k in range(0 if aside == NULL else aside.count):
            arriving = aside.arriving + k
            if not is_current(table, arriving.number, arriving.serial):
                if filed_anew and arriving.number < 0:
                    continue  # the fence is none that weighs evidence by now
                return WORTHS
            at = self._look_at(arriving.number, table)
            if at < 0:
                return WORTHS
            self.looks[at].arriving = k
        if table.memo is None:
            table.memo = Rules()
        for k in range(inside):
            elsewhere_m = min(elsewhere_m, (<Rules>table.memo).find(table, within[k], index).breadth_m)
        elsewhere_m = max(elsewhere_m, NARROW_M)
        for k in range(self.n_looks):
            self._weigh(self.looks + k, past, stays, elsewhere_m, table, index)
        return self.judged.worth

    cdef int _look_at(self, int32_t number, Table table) noexcept:
        """Where a fence stands among those looked at; less than 0 where it cannot."""
        cdef int k
        cdef double away_m
        for k in range(self.n_looks):
            if self.looks[k].number == number:
                return k
        away_m = table.away_m(number, self.fix.lat, self.fix.lon)
        if isnan(away_m) or self.n_looks == LOOKS:
            return -1
        self._add_look(number, away_m)
        return self.n_looks - 1

    cdef inline void _add_look(self, int32_t number, double away_m) noexcept:
        cdef Look* look = self.looks + self.n_looks
        look.number, look.away_m, look.stay, look.arriving, look.makes = number, away_m, -1, -1, 0
        self.n_looks += 1

    cdef object _weigh(
        self, Look* look, const Past* past, const OpenStay* stays, double elsewhere_m, Table table, index
    ):
        """As `calibrated._looked`: what a fix makes at one fence. elsewhere_m: as in `calibrated.step`."""
        cdef const Rule* rule = (<Rules>table.memo).find(table, look.number, index)
        cdef const Detect* detect = (<Rules>table.memo).detects + rule.detect
        cdef const OpenStay* stay = <const OpenStay*>NULL if look.stay < 0 else stays + look.stay
        cdef double before = PRIOR if past == NULL else past.elsewhere, lowered_m = 0.0, outside_m = OUTSIDE_M, standing
        cdef Weighed weighed
        cdef bint present
        if stay != NULL:
            before = PLAIN if isnan(stay.course.log_odds) else stay.course.log_odds
            lowered_m = detect.margin_m
            if look.away_m > 0.0 and elsewhere_m < outside_m:
                outside_m, lowered_m = elsewhere_m, 0.0
        elif look.arriving >= 0:
            before = past.aside.arriving[look.arriving].log_odds
        weighed = weigh(&self.sight, before, look.away_m - lowered_m, rule.breadth_m, outside_m)
        look.now, look.kept = weighed.now, weighed.kept
        standing = weighed.now - rule.term
        present = look.away_m <= 0.0 and standing >= PRESENT
        if stay == NULL:
            if not present:
                return
            look.makes = ENTERS
        elif not present and look.away_m > detect.margin_m and look.now <= ABSENT_AT:
            look.makes, look.confidence, look.certain = EXITS, 0.0, False
            self.edges = True
            return
        elif not stay.dwelt and self.fix.at_us >= stay.entered_us + detect.dwell_us:
            look.makes = DWELLS
        look.confidence = probability(standing)
        look.certain = (
            present and look.confidence >= detect.min_confidence
            and self._speed_mps() <= detect.max_speed_mps
            and self.fix.at_us >= (self.fix.at_us if stay == NULL else stay.entered_us) + detect.confirm_us
        )
        if stay != NULL and look.certain and stay.course.told and not stay.course.confirmed:
            look.makes |= CONFIRMS
        if look.makes:
            self.edges = True

    cdef double _speed_mps(self) noexcept:
        """After the fix."""
        cdef Trail trail = self.trail
        follow(&trail, &self.fix, &self.judged)
        return trail.speed_mps

    cdef object _follow(self, Past** past, OpenStay* stays, Table table, index):
        """Takes the fix that was looked at last; its edges are another's to tell, whose the stays are until then."""
        cdef Arriving[LOOKS] arriving
        cdef Aside* aside = NULL if past[0] == NULL else past[0].aside
        cdef double way_m = self.judged.way_m if self.judged.worth == SOUND else 0.0
        cdef int k, count = 0
        cdef Look* look
        follow(&self.trail, &self.fix, &self.judged)
        for k in range(self.n_looks):
            look = self.looks + k
            if look.stay >= 0:
                self._go_on(stays + look.stay, look, way_m)
            if (look.stay < 0 or look.makes & EXITS) and not look.makes & ENTERS and look.kept != self.sight.elsewhere:
                if look.arriving >= 0:
                    arriving[count] = aside.arriving[look.arriving]
                    aside.arriving[look.arriving].fence = NULL
                else:
                    name = sys.intern(index.by_number[look.number].id)
                    Py_INCREF(name)
                    arriving[count].fence, arriving[count].number = <PyObject*>name, look.number
                    arriving[count].serial = table.filed[look.number].serial
                arriving[count].log_odds = look.kept
                count += 1
        if aside != NULL:
            for k in range(aside.count):
                if aside.arriving[k].fence != NULL:
                    Py_DECREF(<object>aside.arriving[k].fence)
        keep(past, &self.trail, self.sight.elsewhere, arriving, count)
        if self.n_looks == 0 and self.judged.worth == SOUND and self.sight.elsewhere == LOWEST:
            self._remember_clear(past[0], table)

    cdef void _remember_clear(self, Past* past, Table table) noexcept:
        """Where the phone kept still is the middle of what is clear around it."""
        cdef double moved_m = 0.0 if past.still_us == past.at_us else self.judged.still_m * STRETCH
        cdef double clear_m = min(self.clear_m, WIDE_M) - moved_m - SLACK_M
        past.clear_m, past.clear_at = <float>(clear_m if clear_m > 0 else 0.0), <uint32_t>table.changed

    cdef void _go_on(self, OpenStay* stay, const Look* look, double way_m) noexcept:
        """As `calibrated._gone_on`; `trail` is after the fix."""
        cdef Course* course = stay.course
        cdef bint begun = stay.entered_us == self.fix.at_us
        cdef int64_t since_us = stay.entered_us if stay.entered_us > self.trail.still_us else self.trail.still_us
        if not course.told:
            course.confidence, course.fixes, course.accuracy_m, course.way_m = 0.0, 0, 0.0, 0.0
            course.told, course.confirmed, course.stopped = True, not begun, False
        course.confirmed = course.confirmed or look.certain
        course.confidence = look.confidence if look.confidence > course.confidence else course.confidence
        course.way_m = course.way_m if begun else course.way_m + way_m
        if not look.makes & EXITS:
            course.fixes += 1
            course.accuracy_m += (self.fix.accuracy_m - course.accuracy_m) / course.fixes
            course.stopped = course.stopped or (self.fix.at_us - since_us) / 1e6 >= STILL_S
        course.log_odds = look.kept

    # ------------------------------------------------------------------------------------------ steps
    def step(self, device, Batch batch, list numbers, bytearray codes, index):
        """Take a device's points, in order of time; nothing of it is kept in the device (`Moved`).

        None where the machine has to take them, and nothing is done.
        """
        cdef uint64_t high, low
        cdef Table table = index.kernel
        cdef int32_t[FEW] order
        cdef unsigned char[FEW] became
        cdef int32_t slot, number
        cdef int count = <int>len(numbers), k, at
        cdef Moved moved
        high, low = halves(device)
        slot = self._find(high, low)
        if table is None or slot < 0 or count > FEW:
            return None
        for k in range(count):
            number = numbers[k]
            if batch.pings[number].region:
                return None
            at = k
            while at > 0 and is_before(batch.pings + number, number, batch.pings + order[at - 1], order[at - 1]):
                order[at] = order[at - 1]
                at -= 1
            order[at] = number
        moved = self._moved(self.records + slot, index)
        if moved is None:
            return None
        for k in range(count):
            at = self._step(moved, self.records + slot, batch.pings + order[k], table, device, index)
            if at == STEP:
                return None
            became[k] = at
        for k in range(count):
            codes[order[k]] = became[k]
        return moved

    cdef Moved _moved(self, Record* one, index):
        """What it knows of fences is of how they are filed now."""
        cdef Moved moved
        cdef OpenStay* stay
        cdef Arriving* arriving
        cdef int32_t number
        cdef uint64_t serial
        cdef int k
        if one.n_stays > FEW:
            return None
        moved = Moved.__new__(Moved)
        moved.newest_us, moved.lat, moved.lon, moved.due_us = one.newest_us, one.lat, one.lon, one.due_us
        for k in range(one.n_stays):
            stay = moved.stays + k
            stay[0] = one.stays[k]
            Py_INCREF(<object>stay.fence)
            number, serial = filing_of(index, <object>stay.fence)
            if stay.course != NULL or number >= 0:
                stay.course = copied(one.stays[k].course)
                stay.course.number = number
            moved.n_stays += 1
            if serial != stay.serial:
                stay.serial, moved.due_us = serial, NEVER  # another deadline, perhaps
        moved.past = copy_of(one.past)
        if moved.past != NULL and moved.past.aside != NULL:
            for k in range(moved.past.aside.count):
                arriving = moved.past.aside.arriving + k
                arriving.number, arriving.serial = filing_of(index, <object>arriving.fence)
        if moved.due_us == NEVER:
            self._find_due(moved, index)
        return moved

    cdef object _find_due(self, Moved moved, index):
        cdef OpenStay* stay
        cdef int j
        moved.due_us = INT64_MAX
        for j in range(moved.n_stays):
            stay = moved.stays + j
            fence = None if stay.dwelt else index.get(<object>stay.fence)
            if fence is not None:
                moved.due_us = min(moved.due_us, due_us(stay, fence))

    cdef int _step(self, Moved moved, Record* one, Ping* ping, Table table, device, index) except -1:
        """As `machine.receive` and `machine.step`; STEP where the machine has to look."""
        cdef uint32_t mark = mark_of(ping.at_us, ping.lat, ping.lon)
        cdef int32_t count
        cdef int32_t[FEW] hits, within
        cdef int k, plain = 0, inside = 0, worth, told = <int>len(moved.arrivals)
        cdef Borders borders = index.borders
        cdef tuple crossed = ()
        cdef bint changed = False
        cdef bytes workspace = self.workspaces[one.workspace].bytes
        if moved.newest_us != NEVER and ping.at_us <= moved.newest_us:
            if self._is_marked(one, mark, moved.n_marks):
                return DUPLICATE
            for k in range(moved.n_marks):
                if moved.marks[k] == mark:
                    return DUPLICATE
            if ping.at_us < moved.newest_us:
                return LATE
        table.find(&ping.lat, &ping.lon, 1, &count)
        if count + moved.n_stays > FEW or told >= FEW:
            return STEP
        for k in range(count):
            if table.hits[k] < 0:
                return STEP
            if table.filed[table.hits[k]].calibrated:
                within[inside] = table.hits[k]
                inside += 1
            else:
                hits[plain] = table.hits[k]
                plain += 1
        if not isnan(moved.lat) and (moved.lat != ping.lat or moved.lon != ping.lon):
            if max(fabs(moved.lat - ping.lat), turned_deg(moved.lon - ping.lon)) > LEAP_DEG:
                return STEP
            if table.may_cross(moved.lat, moved.lon, ping.lat, ping.lon):
                crossed = index.crossed(moved.lat, moved.lon, ping.lat, ping.lon)
        known = {<object>moved.stays[k].fence for k in range(moved.n_stays)} if crossed else None
        if table.calibrated:
            worth = self._look(
                moved.past, moved.stays, moved.n_stays, ping, table, borders, index, within, inside, filed_anew=True
            )
            if worth == WORTHS or self.n_looks + moved.n_stays + plain > FEW:
                return STEP
            moved.worths[worth] += 1
            if worth == SOUND and crossed:
                self._crosses(moved, ping, crossed, known, device, index)
            if worth >= STRAY:
                changed = self._weighed(moved, ping, table, device, index, workspace)
        else:
            forget(&moved.past)
        changed = self._edges(moved, ping, table, hits, plain, device, index, workspace) or changed
        for fence in crossed:
            if fence.id not in known and fence.detect.mode == "raw":
                moved.tell_cross(device, fence, ping, index.border_distance(fence, ping.lat, ping.lon))
        if len(moved.arrivals) > told + 1:
            moved.arrivals[told:] = sorted(moved.arrivals[told:], key=by_edge)
        if changed:
            self._find_due(moved, index)
        moved.newest_us, moved.lat, moved.lon = ping.at_us, ping.lat, ping.lon
        moved.marks[moved.n_marks] = mark
        moved.n_marks += 1
        return ACCEPTED

    cdef bint _edges(
        self, Moved moved, Ping* ping, Table table, int32_t* hits, int count, device, index, bytes workspace
    ) except -1:
        """The edges at fences that take a fix at its word, save crosses; whether there are some."""
        cdef bint[FEW] within  # stays whose fence holds the point
        cdef int stays = moved.n_stays, entered = 0, k, j
        cdef bint changed = False
        cdef OpenStay* stay
        cdef list fences = index.by_number
        memset(within, 0, sizeof(within))
        for k in range(count):
            for j in range(stays):
                if moved.stays[j].serial == table.filed[hits[k]].serial:
                    break
            else:
                hits[entered] = hits[k]
                entered += 1
                continue
            within[j] = True
            stay = moved.stays + j
            if not stay.dwelt and ping.at_us >= moved.due_us:
                fence = fences[hits[k]]
                if ping.at_us >= due_us(stay, fence):
                    moved.tell(device, DWELL, stay, ping, fence, self._away_m(hits[k], fence, ping, table, index))
                    stay.dwelt = changed = True
        for j in range(stays - 1, -1, -1):
            stay = moved.stays + j
            if not within[j] and (stay.course == NULL or stay.course.number < 0):
                number = index.numbers.get(<object>stay.fence)
                fence = None if number is None else fences[number]
                moved.tell(device, EXIT, stay, ping, fence, self._away_m(number, fence, ping, table, index))
                moved.remove(j)
                changed = True
        for k in range(entered):
            fence = fences[hits[k]]
            stay = moved.add(fence, table.filed[hits[k]].serial, ping.at_us, workspace, device.bytes)
            moved.tell(device, ENTER, stay, ping, fence, self._away_m(hits[k], fence, ping, table, index))
            changed = True
        return changed

    cdef bint _weighed(self, Moved moved, Ping* ping, Table table, device, index, bytes workspace) except -1:
        """Takes the fix that was looked at last; its edges at calibrated fences; whether there are some."""
        cdef bint[FEW] left
        cdef int k, j
        cdef Look* look
        cdef OpenStay* stay
        memset(left, 0, sizeof(left))
        for k in range(self.n_looks):
            look = self.looks + k
            if look.makes & ENTERS:
                fence = index.by_number[look.number]
                stay = moved.add(fence, table.filed[look.number].serial, ping.at_us, workspace, device.bytes)
                stay.course = copied(NULL)
                stay.course.number, look.stay = look.number, moved.n_stays - 1
        self._follow(&moved.past, moved.stays, table, index)
        for k in range(self.n_looks if self.edges else 0):
            look = self.looks + k
            if not look.makes:
                continue
            fence, stay = index.by_number[look.number], moved.stays + look.stay
            if look.makes & EXITS:
                confidence = 1.0 - probability(look.now)
                moved.tell(device, EXIT, stay, ping, fence, look.away_m, confidence, stay.dwelt)
                left[look.stay] = True
            if look.makes & ENTERS:
                moved.tell(device, ENTER, stay, ping, fence, look.away_m, look.confidence)
            if look.makes & CONFIRMS:
                moved.tell(device, CONFIRM, stay, ping, fence, look.away_m, look.confidence, stay.dwelt)
            if look.makes & DWELLS:
                stay.dwelt = True
                moved.tell(device, DWELL, stay, ping, fence, look.away_m, look.confidence, True)
        for j in range(moved.n_stays - 1, -1, -1):
            if left[j]:
                moved.remove(j)
        return self.edges

    cdef object _crosses(self, Moved moved, Ping* ping, tuple crossed, set known, device, index):
        """As `calibrated._crosses`. known: what the device was inside of."""
        if self.trail.lat != moved.lat or self.trail.lon != moved.lon:
            return
        for fence in crossed:
            if fence.detect.mode == "calibrated" and fence.id not in known:
                before_m = index.border_distance(fence, moved.lat, moved.lon)
                after_m = index.border_distance(fence, ping.lat, ping.lon)
                sure = min(before_m / evidence.scale_m(self.trail.accuracy_m), after_m / self.sight.scale)
                if sure >= 1.0:
                    moved.tell_cross(device, fence, ping, after_m, evidence.beyond(sure))

    cdef object _away_m(self, number, fence, Ping* ping, Table table, index):
        """As `index.border_distance`, without its look for the fence's number; None of no fence."""
        if fence is None:
            return None
        away_m = table.distance(number, ping.lat, ping.lon) if fence.active else None
        return index.border_distance(fence, ping.lat, ping.lon) if away_m is None else away_m

    def take_left_out(self):
        """How many fixes were left out or doubted since this was last asked, by worth."""
        cdef int worth
        found = {}
        for worth in range(<int>SOUND):
            if self.worths[worth]:
                found[LEFT_OUT[worth]] = self.worths[worth]
                self.worths[worth] = 0
        return found

    # ------------------------------------------------------------------------------------------ sweeps
    def sweep(self, int32_t start, int32_t count, int64_t idle_before_us, int64_t silent_before_us):
        """Drop, of so many records from `start` on, the devices that were last heard before one of these instants.

        The second is for devices inside a fence. Those of users with something queued stay. Gives the record to go on
        with, less than 0 at the end, and the workspaces of those that went.
        """
        cdef int32_t slot, end = min(self.used, start + count)
        cdef Record* one
        gone = []
        for slot in range(start, end):
            one = self.records + slot
            if (one.high or one.low) and not one.flags & HELD:
                if one.heard_us < (silent_before_us if one.n_stays else idle_before_us):
                    gone.append(self.workspaces[one.workspace])
                    self._drop(slot)
        return (-1 if end >= self.used else end), gone

    def heard(self, int32_t start, int32_t count):
        """When the devices inside some fence were last heard, of so many records from `start` on; and the next one."""
        cdef int32_t slot, end = min(self.used, start + count)
        cdef Record* one
        found = {}
        for slot in range(start, end):
            one = self.records + slot
            if one.n_stays:
                found[uuid_of(one.high, one.low)] = one.heard_us
        return (-1 if end >= self.used else end), found
