from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef struct Ping:
    # Absent: at_us is NO_INSTANT, numbers are NaN, the device is zero.
    int64_t at_us
    double lat
    double lon
    double accuracy_m
    double speed_mps
    uint64_t device_high
    uint64_t device_low
    uint8_t mock
    uint8_t foreground
    uint8_t region  # 1: what the phone's own monitoring saw; its words are in `points`

cdef object uuid_of(uint64_t high, uint64_t low)

cdef class Batch:
    cdef Ping* pings
    cdef Py_ssize_t count
    cdef readonly list points
