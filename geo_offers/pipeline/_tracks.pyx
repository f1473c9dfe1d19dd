# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled memory of devices, and the short way of pings that cause nothing.

All of a device stands in one record; what it is inside of, the marks of its newest pings and what calibrated fences
remember of it (`_past.pyx`) hang on it; what a fix says of these fences is weighed in `_weighing.pyx`. `settle` looks
at every ping of a request once: it refuses what is refused for good, and takes the quiet ones, those of which the
machine (`presence/machine.py`) would say "accepted, no edge, nothing due". All others it leaves as they are, to be
stepped by the machine. So the rules of presence stand in one place, and what is here may only be too careful.

`step` takes the pings of a device that do cause something, into a `Moved` (`_moved.pyx`), by the same rules as the
machine, whose word for word double it is (tests/property/test_quick.py); where a case is rare it leaves all of them to
the machine.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF, PyObject
from libc.math cimport NAN, fabs, isnan
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import sys

from geo_offers.pipeline._batch cimport Batch, Ping, uuid_of
from geo_offers.pipeline._moved cimport Moved, due_us
from geo_offers.pipeline._past cimport (
    NEVER, Arriving, Course, Newest, OpenStay, Past, copied, copy_of, drop_stay, elsewhere_of, empty, keep, set_apart,
    stays_of, trail_from, trail_of, trail_value,
)
from geo_offers.pipeline._weighing cimport (
    CONFIRMS, DWELLS, ENTERS, EXITS, FEW, STRETCH, Look, Weighing, filing_of, is_current,
)
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.seclusion import secluded
from geo_offers.pipeline.tracks import LEAP_DEG as LEAP
from geo_offers.pipeline.tracks import Track
from geo_offers.places._kernel cimport Table
from geo_offers.places._nearest cimport Borders
from geo_offers.presence import evidence, trail
from geo_offers.presence._evidence cimport SOUND, STRAY, WORTHS, Trail, follow, probability, reach_m
from geo_offers.presence.fixes import FUTURE_US as FUTURE
from geo_offers.presence.fixes import LATEST_US as LATEST
from geo_offers.presence.fixes import TOO_OLD_US as TOO_OLD
from geo_offers.presence.states import PresenceState, TransitionType, in_order

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
    VEILED = 128  # its person has said something of being located: it is in `wheres`
    WAITS = 32  # a ping of the request that is looked at waits for the look-up
    PAST = 64  # there is one
    PAGE = 4096  # records
    KEY = 3  # bytes of a mark
    MARKS = 64
    LINE = 64

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

cdef int64_t FUTURE_US = FUTURE
cdef int64_t LATEST_US = LATEST
cdef int64_t TOO_OLD_US = TOO_OLD
cdef double LEAP_DEG = LEAP
cdef double PRIOR = evidence.PRIOR, LOWEST = evidence.LOWEST
cdef list LEFT_OUT = list(trail.Worth)[:<int>SOUND]
cdef object EXIT = TransitionType.EXIT
cdef object ENTER = TransitionType.ENTER
cdef object CONFIRM = TransitionType.CONFIRM
cdef object DWELL = TransitionType.DWELL

cdef struct Record:
    uint64_t high  # of the device's id; both halves 0: a free record
    uint64_t low
    uint64_t user_high
    uint64_t user_low
    Newest newest
    int64_t heard_us  # when its bucket was filled, too
    float tokens
    int32_t epoch  # less than 0: not ours when it was loaded
    int32_t token_epoch
    int32_t workspace
    int32_t next_of_user
    uint32_t last  # number of its last ping in the request that it was in last
    OpenStay* stays
    uint8_t* tail  # its past, where there is one, and marks of its newest pings
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


cdef inline bint is_due(const Record* one, int64_t at_us) noexcept nogil:
    """Whether a dwell deadline of what the device is inside of has come."""
    cdef int k
    for k in range(one.n_stays):
        if at_us >= one.stays[k].due_us:
            return True
    return False


cdef inline Past* past_of(const Record* one) noexcept nogil:
    """NULL where there is none."""
    return <Past*>one.tail if one.flags & PAST else NULL


cdef inline uint8_t* marks_of(const Record* one) noexcept nogil:
    return one.tail + (sizeof(Past) if one.flags & PAST else 0)


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


@cython.final
cdef class Tracks:
    """See `tracks.Tracks`."""

    cdef Record** pages
    cdef int32_t used, spare
    cdef int32_t live
    cdef int32_t* by_device  # number of a record, -1: none
    cdef int32_t* by_user  # of the first of a user's records
    cdef uint64_t mask
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
    cdef Weighing weighing
    cdef int64_t[<int>WORTHS] worths

    def __cinit__(self, double rate_per_s, double burst):
        self.rate_per_s, self.burst = rate_per_s, burst
        self.mask, self.spare = 127, -1
        self.by_device = <int32_t*>malloc(128 * sizeof(int32_t))
        self.by_user = <int32_t*>malloc(128 * sizeof(int32_t))
        memset(self.by_device, 0xFF, 128 * sizeof(int32_t))
        memset(self.by_user, 0xFF, 128 * sizeof(int32_t))
        self.workspaces, self.workspace_numbers, self.wheres = [], {}, {}
        self.weighing = Weighing()
        self._scratch(LINE)

    def __dealloc__(self):
        cdef int32_t k
        for k in range(self.used):
            self._clear(self._at(k))
        for k in range(0, self.used, PAGE):
            free(self.pages[k // PAGE])
        free(self.pages)
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
    cdef inline Record* _at(self, int32_t slot) noexcept nogil:
        return self.pages[<uint32_t>slot // PAGE] + <uint32_t>slot % PAGE

    cdef inline int32_t _find(self, uint64_t high, uint64_t low) noexcept nogil:
        cdef uint64_t at = mix(high, low) & self.mask
        cdef int32_t slot = self.by_device[at]
        while slot >= 0 and (self._at(slot).low != low or self._at(slot).high != high):
            at = (at + 1) & self.mask
            slot = self.by_device[at]
        return slot

    cdef int64_t _user_at(self, uint64_t high, uint64_t low) noexcept nogil:
        """Where a user stands, or would."""
        cdef uint64_t at = mix(high, low) & self.mask
        cdef int32_t slot = self.by_user[at]
        while slot >= 0 and (self._at(slot).user_low != low or self._at(slot).user_high != high):
            at = (at + 1) & self.mask
            slot = self.by_user[at]
        return <int64_t>at

    cdef uint64_t _home(self, int32_t slot, bint user) noexcept nogil:
        cdef Record* one = self._at(slot)
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
        """Makes room for one record more."""
        cdef int32_t slot
        if self.used % PAGE == 0:
            self.pages = <Record**>realloc(self.pages, (self.used // PAGE + 1) * sizeof(Record*))
            self.pages[self.used // PAGE] = <Record*>calloc(PAGE, sizeof(Record))
        self.used += 1
        if <uint64_t>self.used * 3 < (self.mask + 1) * 2:
            return
        self.mask = 2 * self.mask + 1
        self.by_device = <int32_t*>realloc(self.by_device, (self.mask + 1) * sizeof(int32_t))
        self.by_user = <int32_t*>realloc(self.by_user, (self.mask + 1) * sizeof(int32_t))
        memset(self.by_device, 0xFF, (self.mask + 1) * sizeof(int32_t))
        memset(self.by_user, 0xFF, (self.mask + 1) * sizeof(int32_t))
        for slot in range(self.used):
            if self._at(slot).high or self._at(slot).low:
                self._enter(slot)

    cdef void _enter(self, int32_t slot) noexcept:
        """Makes a record findable; its `next_of_user` becomes who stood first for its user."""
        cdef uint64_t at = self._home(slot, False)
        cdef Record* one = self._at(slot)
        cdef int64_t of_user = self._user_at(one.user_high, one.user_low)
        while self.by_device[at] >= 0:
            at = (at + 1) & self.mask
        self.by_device[at] = slot
        one.next_of_user = self.by_user[of_user]
        self.by_user[of_user] = slot

    # ------------------------------------------------------------------------------------------ coming and going
    def add(self, device, epoch, int64_t heard_us, fences, held):
        """Hold a device (`KnownDevice`) that is not held. held: something of its user's is queued."""
        cdef int32_t slot
        cdef Record* one
        if self.spare >= 0:
            slot = self.spare
            self.spare = self._at(slot).next_of_user
        else:
            slot = self.used
            self._enlarge()
        one = self._at(slot)
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
        cdef Record* one = self._at(slot)
        cdef uint64_t at = self._home(slot, False)
        cdef int64_t of_user = self._user_at(one.user_high, one.user_low)
        cdef int32_t before = self.by_user[of_user]
        while self.by_device[at] != slot:
            at = (at + 1) & self.mask
        if before != slot:
            while self._at(before).next_of_user != slot:
                before = self._at(before).next_of_user
            self._at(before).next_of_user = one.next_of_user
        elif one.next_of_user >= 0:
            self.by_user[of_user] = one.next_of_user
        else:
            self._take_out(self.by_user, <uint64_t>of_user, True)
        self._take_out(self.by_device, at, False)
        self._clear(one)
        if one.flags & VEILED:
            del self.wheres[slot]
        memset(one, 0, sizeof(Record))
        one.next_of_user = self.spare
        self.spare = slot
        self.live -= 1

    cdef void _clear(self, Record* one):
        """Forgets all that hangs on it."""
        self._drop_stays(one)
        if one.flags & PAST:
            empty(past_of(one))
            one.flags &= ~PAST
        PyMem_Free(one.tail)
        one.tail, one.room, one.n_marks = NULL, 0, 0

    cdef void _drop_stays(self, Record* one):
        cdef int k
        for k in range(one.n_stays):
            drop_stay(one.stays + k)
        PyMem_Free(one.stays)
        one.stays, one.n_stays = NULL, 0

    cdef Past* _remember(self, Record* one) noexcept:
        """Its past; an empty one where there was none."""
        if not one.flags & PAST:
            one.tail = <uint8_t*>PyMem_Realloc(one.tail, sizeof(Past) + one.room * KEY)
            memmove(one.tail + sizeof(Past), one.tail, one.room * KEY)
            memset(one.tail, 0, sizeof(Past))
            one.flags |= PAST
        return past_of(one)

    cdef void _forget(self, Record* one):
        """The past."""
        if one.flags & PAST:
            empty(past_of(one))
            memmove(one.tail, marks_of(one), one.room * KEY)
            one.tail = <uint8_t*>PyMem_Realloc(one.tail, one.room * KEY)
            one.flags &= ~PAST

    def of_user(self, user):
        """Ids of the user's devices that are held."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(user)
        slot = self.by_user[self._user_at(high, low)]
        found = []
        while slot >= 0:
            found.append(uuid_of(self._at(slot).high, self._at(slot).low))
            slot = self._at(slot).next_of_user
        return found

    def hold(self, user, bint held):
        """From now on all of the user's pings are to be stepped; or no more."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(user)
        slot = self.by_user[self._user_at(high, low)]
        while slot >= 0:
            if held:
                self._at(slot).flags |= HELD
            else:
                self._at(slot).flags &= ~HELD
            slot = self._at(slot).next_of_user

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
        one = self._at(slot)
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
        return self.wheres.get(slot) if self._at(slot).flags & VEILED else None

    def is_of(self, device, workspace, user, int64_t token_epoch):
        """Whether the device is held, and is that person's under that epoch of its tokens."""
        cdef uint64_t high, low, user_high, user_low
        cdef int32_t slot
        cdef Record* one
        high, low = halves(device)
        slot = self._find(high, low)
        if slot < 0:
            return False
        one = self._at(slot)
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
                    one = self._at(slot)
                    share = found[slot] = (
                        uuid_of(one.user_high, one.user_low), uuid_of(one.high, one.low), one.partition, []
                    )
                (<list>(<tuple>share)[3]).append(number)
        return found.values()

    cdef object _state(self, Record* one):
        cdef Past* past = past_of(one)
        cdef Trail trail = trail_of(past, &one.newest)
        cdef dict arriving = {}
        cdef int k
        if past != NULL and past.aside != NULL:
            for k in range(past.aside.count):
                arriving[<object>past.aside.arriving[k].fence] = past.aside.arriving[k].log_odds
        return PresenceState(
            None if one.newest.at_us == NEVER else one.newest.at_us,
            None if isnan(one.newest.lat) else one.newest.lat,
            None if isnan(one.newest.lat) else one.newest.lon,
            stays_of(one.stays, one.n_stays),
            self._marks(one),
            trail_value(&trail),
            elsewhere_of(past),
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
        one = self._at(slot)
        if one.epoch < 0 or one.epoch != self.epochs[one.partition]:
            return ABSENT
        return NO_CONSENT if not one.flags & LOCATE else AGE if not one.flags & OF_AGE else STEP

    cdef bytes _marks(self, Record* one):
        """Newest last."""
        cdef bytes found = PyBytes_FromStringAndSize(NULL, one.n_marks * KEY)
        cdef char* to = PyBytes_AS_STRING(found)
        cdef int first = 0 if one.n_marks < MARKS else one.next_mark, k
        for k in range(one.n_marks):
            memcpy(to + k * KEY, marks_of(one) + ((first + k) % MARKS) * KEY, KEY)
        return found

    def install(self, device, state, fences):
        """Take the state that a part left the device in. fences: the index that its stays are of."""
        cdef uint64_t high, low
        cdef int32_t slot
        high, low = halves(device)
        slot = self._find(high, low)
        if isinstance(state, Moved):
            self._move(self._at(slot), state)
        else:
            self._install(slot, state, fences)

    cdef object _move(self, Record* one, Moved moved):
        cdef Past* past
        cdef int k
        for k in range(<int>WORTHS):
            self.worths[k] += moved.worths[k]
        one.newest = moved.newest
        for k in range(moved.n_marks):
            self._push_mark(one, moved.marks[k])
        self._drop_stays(one)
        if moved.n_stays:
            one.stays = <OpenStay*>PyMem_Malloc(moved.n_stays * sizeof(OpenStay))
            memcpy(one.stays, moved.stays, moved.n_stays * sizeof(OpenStay))
            one.n_stays = moved.n_stays
            moved.n_stays = 0  # the names are the record's now
        if moved.past == NULL:
            self._forget(one)
        else:
            past = self._remember(one)
            empty(past)
            past[0] = moved.past[0]
            moved.past.aside = NULL

    cdef object _install(self, int32_t slot, state, fences):
        cdef Record* one = self._at(slot)
        cdef bytes recent = state.recent
        cdef OpenStay* stay
        cdef int k = 0, count = <int>(len(recent) // KEY)
        one.newest.at_us = NEVER if state.newest_us is None else state.newest_us
        one.newest.lat = NAN if state.lat is None or state.lon is None else state.lat
        one.newest.lon = NAN if state.lat is None or state.lon is None else state.lon
        self._clear(one)
        self._make_room(one, count)
        memcpy(one.tail, PyBytes_AS_STRING(recent), count * KEY)
        one.n_marks = count
        one.next_mark = count % MARKS
        if state.inside:
            one.stays = <OpenStay*>PyMem_Calloc(len(state.inside), sizeof(OpenStay))
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
                stay.due_us = due_us(stay, fences.get(value.fence))
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
        keep(self._remember(one), &one.newest, &trail, state.elsewhere, arriving, count)
        free(arriving)

    cdef void _make_room(self, Record* one, int count) noexcept:
        cdef int room = 4
        if count <= one.room:
            return
        while room < count:
            room *= 4
        one.tail = <uint8_t*>PyMem_Realloc(one.tail, (sizeof(Past) if one.flags & PAST else 0) + room * KEY)
        one.room = room

    cdef inline void _push_mark(self, Record* one, uint32_t mark) noexcept:
        cdef uint8_t* to
        if one.n_marks < MARKS:
            self._make_room(one, one.n_marks + 1)
            one.n_marks += 1
        to = marks_of(one) + one.next_mark * KEY
        to[0], to[1], to[2] = mark & 0xFF, (mark >> 8) & 0xFF, mark >> 16
        one.next_mark = (one.next_mark + 1) % MARKS

    cdef bint _is_marked(self, Record* one, uint32_t mark, int more=0) noexcept nogil:
        """more: marks that have come since, for which the oldest are forgotten."""
        cdef int k, first = 0 if one.n_marks < MARKS else one.next_mark
        cdef uint8_t* at
        for k in range(max(0, one.n_marks + more - MARKS), one.n_marks):
            at = marks_of(one) + ((first + k) % MARKS) * KEY
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
        self.looked = 0
        if private is not None:
            asked = self._find_private(batch, private)
        for k in range(n):
            GO_PREFETCH(self.by_device + (mix(batch.pings[k].device_high, batch.pings[k].device_low) & self.mask))
        for k in range(n):
            slot = self.by_device[mix(batch.pings[k].device_high, batch.pings[k].device_low) & self.mask]
            if slot >= 0:  # nearly always it is this one
                GO_PREFETCH(self._at(slot))
                GO_PREFETCH(&self._at(slot).heard_us)
                GO_PREFETCH(&self._at(slot).code)
        for k in range(n):
            ping = batch.pings + k
            self.slots[k] = slot = self._find(ping.device_high, ping.device_low) if code[k] == ABSENT else -1
            if slot >= 0:
                one = self._at(slot)
                GO_PREFETCH(marks_of(one) + one.next_mark * KEY)
                if one.n_stays:
                    GO_PREFETCH(one.stays)
                if one.flags & PAST:
                    GO_PREFETCH(one.tail)
                heard_us = one.heard_us
                code[k] = self._admit(one, batch.pings, <int32_t>k, number, received_us)
                if code[k] == STEP and (private is not None or one.flags & VEILED):
                    code[k] = self._seclude(slot, batch, k, private, index, asked)
                    if code[k] != STEP:
                        one.heard_us = heard_us
        many = 0
        for k in range(n):
            if self.slots[k] < 0 or code[k] != STEP or table is None:
                continue
            one = self._at(self.slots[k])
            if one.code != ACCEPTED:
                continue
            if not one.flags & WAITS and one.flags & PAST and self._takes_far_off(one, batch.pings + k, table):
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
                one = self._at(self.slots[self.placed[k]])
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
        if asked and not batch.pings[number].region and not self._at(slot).flags & VEILED:
            if self.placed[number] < 2:
                return PRIVATE if self.placed[number] else STEP
        hidden = secluded(batch[number], self.wheres.get(slot), private, index)
        return STEP if hidden is None else hidden

    cdef void _see(self, epochs):
        cdef int k
        for k in range(256):
            self.epochs[k] = epochs.get(k, -2)
        self.epochs_seen = epochs

    cdef int _admit(self, Record* one, Ping* pings, int32_t at, int32_t workspace, int64_t received_us) noexcept:
        """STEP where the ping may go on. Of the device's later pings in this request the first one decides."""
        cdef Ping* ping = pings + at
        cdef bint first = one.last >= <uint32_t>at or self.slots[one.last] != self.slots[at]
        if one.workspace != workspace:
            return UNKNOWN
        if first:
            one.code = self._gate(one, received_us)
        elif one.code == ACCEPTED and ping.at_us <= pings[one.last].at_us:
            one.code = STEP  # of one request the earlier is stepped first, whatever the order given
        one.last = at
        if one.code != ACCEPTED and one.code != STEP:
            return one.code
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
            have = min(self.burst, have + max(0, received_us - one.heard_us) / 1e6 * self.rate_per_s)
            if have < 1:
                one.heard_us = min(one.heard_us, received_us)  # the clock may have been set back
                return RATE
            one.tokens = have - 1
        return STEP if one.flags & HELD or one.epoch < 0 or one.epoch != self.epochs[one.partition] else ACCEPTED

    cdef bint _takes_far_off(self, Record* one, Ping* ping, Table table) noexcept:
        """Takes a ping that stays where no border is near, by what is remembered of there: no fence is looked up.

        The fences that hold it are those that held the last one, no way in there crosses any, and of calibrated ones
        it has nothing to say: at the lowest they are, and a sound fix leaves them there (`evidence.reach_m`).
        """
        cdef const Past* past = past_of(one)
        cdef double left_m, clear_m = past.clear_m
        cdef Past* after
        cdef Weighing weighing = self.weighing
        if past.clear_m == 0 or past.clear_at != <uint32_t>table.changed or past.aside != NULL:
            return False
        if ping.at_us <= one.newest.at_us or is_due(one, ping.at_us):
            return False
        weighing.judge(past, &one.newest, ping)
        left_m = clear_m - weighing.judged.still_m * STRETCH
        if weighing.judged.worth != SOUND or not weighing.is_straight() or reach_m(weighing.fix.accuracy_m) > left_m:
            return False
        follow(&weighing.trail, &weighing.fix, &weighing.judged)
        self._accept(one, ping, mark_of(ping.at_us, ping.lat, ping.lon))
        after = past_of(one)
        keep(after, &one.newest, &weighing.trail, LOWEST, NULL, 0)
        after.clear_m = <float>(left_m if after.still_us == ping.at_us else clear_m)
        return True

    cdef inline void _accept(self, Record* one, Ping* ping, uint32_t mark) noexcept:
        one.newest.at_us, one.newest.lat, one.newest.lon = ping.at_us, ping.lat, ping.lon
        self._push_mark(one, mark)

    cdef int _take(
        self, Record* one, Ping* ping, Table table, Borders borders, index, const int32_t* hits, int32_t count
    ) except -1:
        """Takes a ping that causes nothing."""
        cdef uint32_t mark = mark_of(ping.at_us, ping.lat, ping.lon)
        cdef int32_t[FEW] within
        cdef int k, j, plain = 0, inside = 0, worth
        if one.newest.at_us != NEVER and ping.at_us <= one.newest.at_us:
            if self._is_marked(one, mark):
                return DUPLICATE
            return LATE if ping.at_us < one.newest.at_us else STEP
        if is_due(one, ping.at_us) or count > FEW:
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
            worth = self.weighing.look(
                past_of(one), &one.newest, one.stays, one.n_stays, ping, table, borders, index, within, inside
            )
            if worth == WORTHS or self.weighing.edges:
                return STEP
        if not isnan(one.newest.lat) and (one.newest.lat != ping.lat or one.newest.lon != ping.lon):
            if not (table.calibrated and self.weighing.is_clear(&one.newest)):
                if table.may_cross(one.newest.lat, one.newest.lon, ping.lat, ping.lon):
                    return STEP
        if not table.calibrated:
            self._forget(one)
        else:
            self.worths[worth] += 1
            if worth >= STRAY:
                self.weighing.follow(self._remember(one), one.stays, table, index)
            elif one.flags & PAST:
                set_apart(past_of(one), &one.newest)
        self._accept(one, ping, mark)
        return ACCEPTED

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
        moved = self._moved(self._at(slot), index)
        if moved is None:
            return None
        for k in range(count):
            at = self._step(moved, self._at(slot), batch.pings + order[k], table, device, index)
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
        moved.newest = one.newest
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
                stay.serial, stay.due_us = serial, due_us(stay, index.get(<object>stay.fence))
        if one.flags & PAST:
            moved.past = copy_of(past_of(one))
            for k in range(0 if moved.past.aside == NULL else moved.past.aside.count):
                arriving = moved.past.aside.arriving + k
                arriving.number, arriving.serial = filing_of(index, <object>arriving.fence)
        return moved

    cdef int _step(self, Moved moved, Record* one, Ping* ping, Table table, device, index) except -1:
        """As `machine.receive` and `machine.step`; STEP where the machine has to look."""
        cdef uint32_t mark = mark_of(ping.at_us, ping.lat, ping.lon)
        cdef int32_t count
        cdef int32_t[FEW] hits, within
        cdef int k, plain = 0, inside = 0, worth, told = <int>len(moved.arrivals)
        cdef Borders borders = index.borders
        cdef tuple crossed = ()
        cdef bytes workspace = self.workspaces[one.workspace].bytes
        if moved.newest.at_us != NEVER and ping.at_us <= moved.newest.at_us:
            if self._is_marked(one, mark, moved.n_marks):
                return DUPLICATE
            for k in range(moved.n_marks):
                if moved.marks[k] == mark:
                    return DUPLICATE
            if ping.at_us < moved.newest.at_us:
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
        if not isnan(moved.newest.lat) and (moved.newest.lat != ping.lat or moved.newest.lon != ping.lon):
            if max(fabs(moved.newest.lat - ping.lat), turned_deg(moved.newest.lon - ping.lon)) > LEAP_DEG:
                return STEP
            if table.may_cross(moved.newest.lat, moved.newest.lon, ping.lat, ping.lon):
                crossed = index.crossed(moved.newest.lat, moved.newest.lon, ping.lat, ping.lon)
        known = {<object>moved.stays[k].fence for k in range(moved.n_stays)} if crossed else None
        if table.calibrated:
            worth = self.weighing.look(
                moved.past, &moved.newest, moved.stays, moved.n_stays, ping, table, borders, index, within, inside,
                filed_anew=True,
            )
            if worth == WORTHS or self.weighing.n_looks + moved.n_stays + plain > FEW:
                return STEP
            moved.worths[worth] += 1
            if worth == SOUND and crossed:
                self._crosses(moved, ping, crossed, known, device, index)
            if worth >= STRAY:
                self._weighed(moved, ping, table, device, index, workspace)
            elif moved.past != NULL:
                set_apart(moved.past, &moved.newest)
        else:
            moved.forget()
        self._edges(moved, ping, table, hits, plain, device, index, workspace)
        for fence in crossed:
            if fence.id not in known and fence.detect.mode == "raw":
                moved.tell_cross(device, fence, ping, index.border_distance(fence, ping.lat, ping.lon))
        if len(moved.arrivals) > told + 1:
            moved.arrivals[told:] = sorted(moved.arrivals[told:], key=by_edge)
        moved.newest.at_us, moved.newest.lat, moved.newest.lon = ping.at_us, ping.lat, ping.lon
        moved.marks[moved.n_marks] = mark
        moved.n_marks += 1
        return ACCEPTED

    cdef object _edges(
        self, Moved moved, Ping* ping, Table table, int32_t* hits, int count, device, index, bytes workspace
    ):
        """The edges at fences that take a fix at its word, save crosses."""
        cdef bint[FEW] within  # stays whose fence holds the point
        cdef int stays = moved.n_stays, entered = 0, k, j
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
            if ping.at_us >= stay.due_us:
                fence = fences[hits[k]]
                moved.tell(device, DWELL, stay, ping, fence, self._away_m(hits[k], fence, ping, table, index))
                stay.dwelt, stay.due_us = True, INT64_MAX
        for j in range(stays - 1, -1, -1):
            stay = moved.stays + j
            if not within[j] and (stay.course == NULL or stay.course.number < 0):
                number = index.numbers.get(<object>stay.fence)
                fence = None if number is None else fences[number]
                moved.tell(device, EXIT, stay, ping, fence, self._away_m(number, fence, ping, table, index))
                moved.remove(j)
        for k in range(entered):
            fence = fences[hits[k]]
            stay = moved.add(fence, table.filed[hits[k]].serial, ping.at_us, workspace, device.bytes)
            moved.tell(device, ENTER, stay, ping, fence, self._away_m(hits[k], fence, ping, table, index))

    cdef object _weighed(self, Moved moved, Ping* ping, Table table, device, index, bytes workspace):
        """Takes the fix that was looked at last; its edges at calibrated fences."""
        cdef bint[FEW] left
        cdef int k, j
        cdef Look* look
        cdef OpenStay* stay
        cdef Weighing weighing = self.weighing
        memset(left, 0, sizeof(left))
        for k in range(weighing.n_looks):
            look = weighing.looks + k
            if look.makes & ENTERS:
                fence = index.by_number[look.number]
                stay = moved.add(fence, table.filed[look.number].serial, ping.at_us, workspace, device.bytes)
                stay.course = copied(NULL)
                stay.course.number, look.stay = look.number, moved.n_stays - 1
        if moved.past == NULL:
            moved.past = <Past*>PyMem_Calloc(1, sizeof(Past))
        weighing.follow(moved.past, moved.stays, table, index)
        for k in range(weighing.n_looks if weighing.edges else 0):
            look = weighing.looks + k
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
                stay.dwelt, stay.due_us = True, INT64_MAX
                moved.tell(device, DWELL, stay, ping, fence, look.away_m, look.confidence, True)
        for j in range(moved.n_stays - 1, -1, -1):
            if left[j]:
                moved.remove(j)

    cdef object _crosses(self, Moved moved, Ping* ping, tuple crossed, set known, device, index):
        """As `calibrated._crosses`. known: what the device was inside of."""
        cdef Weighing weighing = self.weighing
        if weighing.trail.lat != moved.newest.lat or weighing.trail.lon != moved.newest.lon:
            return
        for fence in crossed:
            if fence.detect.mode == "calibrated" and fence.id not in known:
                before_m = index.border_distance(fence, moved.newest.lat, moved.newest.lon)
                after_m = index.border_distance(fence, ping.lat, ping.lon)
                sure = min(before_m / evidence.scale_m(weighing.trail.accuracy_m), after_m / weighing.sight.scale)
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
            one = self._at(slot)
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
            one = self._at(slot)
            if one.n_stays:
                found[uuid_of(one.high, one.low)] = one.heard_us
        return (-1 if end >= self.used else end), found
