# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pings as columns, and a reader of their plain JSON form.

`read` knows pings as nearly all phones and servers write them: the known keys, each once, plain numbers, texts without
escapes, RFC 3339 instants, canonical UUIDs. It takes such bytes in one pass and says None to everything else, right or
wrong: what that is, and which fault it has, is for the general reader (`wire.Ping`) to say. So it refuses nothing, and
what it takes the other takes as well, with the same values (tests/property/test_batch.py).
"""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check
from libc.math cimport NAN, isinf, isnan
from libc.stdint cimport INT64_MIN, int8_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memset

from uuid import UUID, SafeUUID

from geo_offers.pipeline.requests import Point

cdef extern from "Python.h":
    double PyOS_string_to_double(const char* text, char** end, object overflow) except? -1
    int PyObject_GenericSetAttr(object made, object name, object value) except -1

cdef int64_t NO_INSTANT = INT64_MIN
cdef object UNKNOWN = SafeUUID.unknown
cdef double[23] TENS = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
]
cdef int[12] DAYS_BEFORE = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
cdef int[12] DAYS_IN = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

cdef enum:
    LONGEST_TEXT = 64
    LONGEST_ID = 128
    LONGEST_NUMBER = 40


cdef class Batch:
    """Pings of one request, in its order. `batch[i]` is the ping as a `Point`."""

    def __cinit__(self):
        self.pings = NULL
        self.count = 0
        self.points = None

    def __dealloc__(self):
        free(self.pings)

    def __len__(self):
        return self.count

    def __getitem__(self, Py_ssize_t number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        if self.points is not None:
            return self.points[number]
        cdef Ping* ping = self.pings + number
        return Point(
            uuid_of(ping.device_high, ping.device_low),
            None if ping.at_us == NO_INSTANT else ping.at_us,
            ping.lat,
            ping.lon,
            None if isnan(ping.accuracy_m) else ping.accuracy_m,
            None if isnan(ping.speed_mps) else ping.speed_mps,
            bool(ping.mock),
            foreground=bool(ping.foreground),
        )

    def sent_by(self, device):
        """Take the pings as this device's. False where one names another."""
        cdef bytes name = device.bytes
        cdef uint64_t high = from_bytes(name), low = from_bytes(name[8:])
        cdef Py_ssize_t k
        cdef Ping* ping
        for k in range(self.count):
            ping = self.pings + k
            if (ping.device_high or ping.device_low) and (ping.device_high != high or ping.device_low != low):
                return False
            ping.device_high, ping.device_low = high, low
        return True


cdef object uuid_of(uint64_t high, uint64_t low):
    """As `UUID(int=...)`, in a fifth of the time: its two attributes are set without its checks, which cannot fail here."""
    made = UUID.__new__(UUID)
    PyObject_GenericSetAttr(made, "int", (<object>high << 64) | low)
    PyObject_GenericSetAttr(made, "is_safe", UNKNOWN)
    return made


cdef uint64_t from_bytes(const uint8_t* name) noexcept:
    cdef uint64_t value = 0
    cdef int k
    for k in range(8):
        value = (value << 8) | name[k]
    return value


def batch_of(points):
    """The points (`Point`), as a batch."""
    cdef Batch batch = Batch()
    cdef Ping* ping
    cdef bytes name
    cdef Py_ssize_t k
    batch.points = list(points)
    batch.count = len(batch.points)
    batch.pings = <Ping*>malloc(max(batch.count, 1) * sizeof(Ping))
    for k in range(batch.count):
        point = batch.points[k]
        ping = batch.pings + k
        name = point.device.bytes
        ping.device_high, ping.device_low = from_bytes(name), from_bytes(name[8:])
        ping.at_us = NO_INSTANT if point.at_us is None else point.at_us
        ping.region = point.region is not None
        ping.lat = 0.0 if ping.region else NAN if point.lat is None else point.lat
        ping.lon = 0.0 if ping.region else NAN if point.lon is None else point.lon
        ping.accuracy_m = NAN if point.accuracy_m is None else point.accuracy_m
        ping.speed_mps = NAN if point.speed_mps is None else point.speed_mps
        ping.mock, ping.foreground = point.mock, point.foreground
    return batch


# ---------------------------------------------------------------------------------------------- reading
cdef struct Reader:
    const char* at
    const char* end


cdef inline char peek(Reader* r) noexcept nogil:
    """The next byte after blanks; 0 at the end."""
    while r.at < r.end and (r.at[0] == b" " or r.at[0] == b"\n" or r.at[0] == b"\t" or r.at[0] == b"\r"):
        r.at += 1
    return r.at[0] if r.at < r.end else 0


cdef inline bint take(Reader* r, char byte) noexcept nogil:
    if peek(r) != byte:
        return False
    r.at += 1
    return True


cdef inline bint take_text(Reader* r, const char** start, Py_ssize_t* length) noexcept nogil:
    """A text of printable ASCII without escapes."""
    cdef unsigned char byte
    if not take(r, b'"'):
        return False
    start[0] = r.at
    while r.at < r.end:
        byte = <unsigned char>r.at[0]
        if byte == b'"':
            length[0] = r.at - start[0]
            r.at += 1
            return True
        if byte < 0x20 or byte >= 0x80 or byte == b"\\":
            return False
        r.at += 1
    return False


cdef inline bint take_word(Reader* r, const char* word, Py_ssize_t length) noexcept nogil:
    if r.end - r.at < length or memcmp(r.at, word, length) != 0:
        return False
    r.at += length
    return True


cdef inline bint is_digit(char byte) noexcept nogil:
    return b"0" <= byte <= b"9"


cdef bint take_number(Reader* r, double* value):
    """A number as JSON writes it. Few digits make an exact product or quotient (Clinger 1990); the rest is Python's."""
    cdef const char* start
    cdef uint64_t whole = 0
    cdef int digits = 0, scale = 0, given = 0, sign
    cdef bint negative = False, whole_number = True
    cdef char[LONGEST_NUMBER + 1] text
    cdef Py_ssize_t length, k
    peek(r)
    start = r.at
    if r.at < r.end and r.at[0] == b"-":
        negative = True
        r.at += 1
    if r.at >= r.end or not is_digit(r.at[0]):
        return False
    if r.at[0] == b"0" and r.at + 1 < r.end and is_digit(r.at[1]):
        return False
    while r.at < r.end and is_digit(r.at[0]):
        whole = whole * 10 + <uint64_t>(r.at[0] - 48)
        digits += 1
        r.at += 1
    if r.at < r.end and r.at[0] == b".":
        whole_number = False
        r.at += 1
        if r.at >= r.end or not is_digit(r.at[0]):
            return False
        while r.at < r.end and is_digit(r.at[0]):
            whole = whole * 10 + <uint64_t>(r.at[0] - 48)
            digits += 1
            scale -= 1
            r.at += 1
    if r.at < r.end and (r.at[0] == b"e" or r.at[0] == b"E"):
        r.at += 1
        sign = 1
        whole_number = False
        if r.at < r.end and (r.at[0] == b"+" or r.at[0] == b"-"):
            sign = -1 if r.at[0] == b"-" else 1
            r.at += 1
        if r.at >= r.end or not is_digit(r.at[0]):
            return False
        while r.at < r.end and is_digit(r.at[0]):
            given = given * 10 + (r.at[0] - 48)
            if given > 300:
                return False
            r.at += 1
        scale += sign * given
    length = r.at - start
    if length > LONGEST_NUMBER:
        return False
    if digits <= 15 and -22 <= scale <= 22:
        value[0] = <double>whole * TENS[scale] if scale >= 0 else <double>whole / TENS[-scale]
        if negative and (whole or not whole_number):  # there is no whole -0
            value[0] = -value[0]
        return True
    for k in range(length):
        text[k] = start[k]
    text[length] = 0
    value[0] = PyOS_string_to_double(text, NULL, None)
    return not isinf(value[0])


cdef inline int two(const char* text) noexcept nogil:
    """Two digits as a number; less than 0 where they are none."""
    if not (is_digit(text[0]) and is_digit(text[1])):
        return -1
    return (text[0] - 48) * 10 + (text[1] - 48)


cdef bint read_instant(const char* text, Py_ssize_t length, int64_t* at_us) noexcept nogil:
    """YYYY-MM-DDTHH:MM:SS, up to six digits of a fraction, Z or +-HH:MM."""
    cdef int century, rest, year, month, day, hour, minute, second, leap, offset_h, offset_m, sign
    cdef int64_t days, fraction = 0, unit = 1000000, offset_s = 0
    cdef Py_ssize_t k = 19
    if length < 20 or text[4] != b"-" or text[7] != b"-" or text[10] != b"T" or text[13] != b":" or text[16] != b":":
        return False
    century, rest, month, day = two(text), two(text + 2), two(text + 5), two(text + 8)
    hour, minute, second = two(text + 11), two(text + 14), two(text + 17)
    if century < 0 or rest < 0 or not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return False
    year = century * 100 + rest
    leap = 1 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 0
    if year < 1 or month < 1 or month > 12 or day < 1 or day > DAYS_IN[month - 1] + (leap if month == 2 else 0):
        return False
    if text[k] == b".":
        k += 1
        while k < length and is_digit(text[k]):
            fraction = fraction * 10 + (text[k] - 48)
            unit //= 10
            k += 1
        if k == 20 or k > 26:
            return False
        fraction *= unit
    if k == length - 1 and text[k] == b"Z":
        pass
    elif k == length - 6 and (text[k] == b"+" or text[k] == b"-") and text[k + 3] == b":":
        sign = -1 if text[k] == b"-" else 1
        offset_h, offset_m = two(text + k + 1), two(text + k + 4)
        if not (0 <= offset_h < 24 and 0 <= offset_m < 60):
            return False
        offset_s = sign * (offset_h * 3600 + offset_m * 60)
    else:
        return False
    rest = year - 1
    days = 365 * <int64_t>rest + rest // 4 - rest // 100 + rest // 400 + DAYS_BEFORE[month - 1] + day - 719163
    if month > 2:
        days += leap
    at_us[0] = ((days * 24 + hour) * 60 + minute) * 60000000 + (second - offset_s) * 1000000 + fraction
    return True


cdef int8_t[256] NIBBLES


cdef void _make_nibbles() noexcept:
    cdef int k
    memset(NIBBLES, -1, 256)
    for k in range(10):
        NIBBLES[48 + k] = k
    for k in range(6):
        NIBBLES[65 + k] = NIBBLES[97 + k] = 10 + k


_make_nibbles()


cdef inline uint64_t take_hex(const char* text, int digits, uint64_t value, int* wrong) noexcept nogil:
    """The value with so many hexadecimal digits after it; `wrong` is less than 0 from a byte on that is none."""
    cdef int k
    for k in range(digits):
        wrong[0] |= NIBBLES[<unsigned char>text[k]]
        value = (value << 4) | <uint64_t>(NIBBLES[<unsigned char>text[k]] & 15)
    return value


cdef bint read_uuid(const char* text, Py_ssize_t length, Ping* ping) noexcept nogil:
    """The canonical form; not the nil one, which stands for none here."""
    cdef int wrong = 0
    if length != 36 or text[8] != b"-" or text[13] != b"-" or text[18] != b"-" or text[23] != b"-":
        return False
    ping.device_high = take_hex(text + 14, 4, take_hex(text + 9, 4, take_hex(text, 8, 0, &wrong), &wrong), &wrong)
    ping.device_low = take_hex(text + 24, 12, take_hex(text + 19, 4, 0, &wrong), &wrong)
    return wrong >= 0 and (ping.device_high != 0 or ping.device_low != 0)


cdef enum Key:
    NONE = 0
    AT = 1
    LAT = 2
    LON = 4
    ACCURACY = 8
    SPEED = 16
    COURSE = 32
    MOCK = 64
    FOREGROUND = 128
    ID = 256
    DEVICE = 512


cdef inline Key key_of(const char* text, Py_ssize_t length) noexcept nogil:
    if length == 2:
        return AT if memcmp(text, b"at", 2) == 0 else ID if memcmp(text, b"id", 2) == 0 else NONE
    if length == 3:
        return LAT if memcmp(text, b"lat", 3) == 0 else LON if memcmp(text, b"lon", 3) == 0 else NONE
    if length == 4:
        return MOCK if memcmp(text, b"mock", 4) == 0 else NONE
    if length == 6:
        return DEVICE if memcmp(text, b"device", 6) == 0 else NONE
    if length == 9:
        return SPEED if memcmp(text, b"speed_mps", 9) == 0 else NONE
    if length == 10:
        if memcmp(text, b"accuracy_m", 10) == 0:
            return ACCURACY
        if memcmp(text, b"course_deg", 10) == 0:
            return COURSE
        return FOREGROUND if memcmp(text, b"foreground", 10) == 0 else NONE
    return NONE


cdef bint take_member(Reader* r, Ping* ping, int* seen):
    cdef const char* text
    cdef Py_ssize_t length
    cdef double number
    cdef Key key
    if not take_text(r, &text, &length):
        return False
    key = key_of(text, length)
    if key == NONE or seen[0] & key or not take(r, b":"):
        return False
    seen[0] |= key
    if key == AT:
        return take_text(r, &text, &length) and length <= LONGEST_TEXT and read_instant(text, length, &ping.at_us)
    if key == DEVICE:
        return take_text(r, &text, &length) and read_uuid(text, length, ping)
    if peek(r) == b"n":
        return key != LAT and key != LON and take_word(r, b"null", 4)
    if key == ID:
        return take_text(r, &text, &length) and length <= LONGEST_ID
    if key == MOCK and take_word(r, b"true", 4):
        ping.mock = True
        return True
    if key == FOREGROUND and take_word(r, b"true", 4):
        ping.foreground = True
        return True
    if key == MOCK or key == FOREGROUND:
        return take_word(r, b"false", 5)
    if not take_number(r, &number):
        return False
    if key == LAT:
        ping.lat = number
    elif key == LON:
        ping.lon = number
    elif key == ACCURACY:
        ping.accuracy_m = number
    elif key == SPEED:
        ping.speed_mps = number
    return True


cdef bint take_ping(Reader* r, Ping* ping):
    cdef int seen = 0
    memset(ping, 0, sizeof(Ping))
    ping.accuracy_m = ping.speed_mps = NAN
    if not take(r, b"{"):
        return False
    while True:
        if not take_member(r, ping, &seen):
            return False
        if take(r, b"}"):
            return seen & AT and seen & LAT and seen & LON
        if not take(r, b","):
            return False


def read(data, Py_ssize_t most, bint wrapped):
    """The pings of `[…]` or `{…}`, or where they are wrapped of `{"pings": […]}` (bytes or str), at most so many.

    None where they are not plain.
    """
    cdef Reader r
    cdef Py_ssize_t length = 0, room = 16
    cdef const char* key = NULL
    cdef Py_ssize_t key_length = 0
    cdef bint many = True
    cdef Batch batch = Batch()
    if PyUnicode_Check(data):
        r.at = PyUnicode_AsUTF8AndSize(data, &length)
    else:
        r.at, length = data, len(data)
    r.end = r.at + length
    if wrapped:
        if not (take(&r, b"{") and take_text(&r, &key, &key_length) and take(&r, b":")):
            return None
        if key_length != 5 or memcmp(key, b"pings", 5) != 0:
            return None
    else:
        many = peek(&r) == b"["
    if many:
        if not take(&r, b"["):
            return None
        room = min(most, max(1, length // 64))
    else:
        room = 1
    batch.pings = <Ping*>malloc(room * sizeof(Ping))
    while True:
        if batch.count == room:
            if room == most:
                return None
            room = min(2 * room, most)
            batch.pings = <Ping*>realloc(batch.pings, room * sizeof(Ping))
        if not take_ping(&r, batch.pings + batch.count):
            return None
        batch.count += 1
        if not many or not take(&r, b","):
            break
    if many and not take(&r, b"]"):
        return None
    if wrapped and not take(&r, b"}"):
        return None
    return batch if peek(&r) == 0 and r.at == r.end else None
