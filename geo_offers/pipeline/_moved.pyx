# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What a device would be left in by the pings that are stepped, until the commit: open visits, marks, past, edges."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t

import sys
from hashlib import sha256

from geo_offers.pipeline._batch cimport Ping, uuid_of
from geo_offers.pipeline._past cimport NEVER, OpenStay, course_of, drop_stay, empty, stays_of, trail_of, trail_value
from geo_offers.pipeline.requests import Arrival
from geo_offers.presence._evidence cimport Trail, usable_accuracy_m
from geo_offers.presence.states import PresenceState, Transition, TransitionType

cdef object CROSS = TransitionType.CROSS


@cython.final
cdef class Moved:
    """What `Tracks.step` would leave a device in: see `tracks.Left`. `arrivals`: of its edges, in order."""

    def __cinit__(self):
        self.arrivals = []

    def __dealloc__(self):
        cdef int k
        for k in range(self.n_stays):
            drop_stay(self.stays + k)
        self.forget()

    @property
    def newest_us(self):
        return self.newest.at_us

    def kept(self):
        """As `PresenceState.kept`."""
        cdef Trail trail = trail_of(self.past, &self.newest)
        newest_us = None if self.newest.at_us == NEVER else self.newest.at_us
        inside = stays_of(self.stays, self.n_stays)
        return PresenceState(newest_us, None, None, inside, b"", trail_value(&trail)).kept()

    cdef object forget(self):
        """The past."""
        if self.past != NULL:
            empty(self.past)
            PyMem_Free(self.past)
            self.past = NULL

    cdef OpenStay* add(self, fence, uint64_t serial, int64_t entered_us, bytes workspace, bytes device) except NULL:
        cdef OpenStay* stay = self.stays + self.n_stays
        name = sys.intern(fence.id)
        stay.visit_high, stay.visit_low = visit_of(workspace, device, name, entered_us)
        Py_INCREF(name)
        stay.fence, stay.serial, stay.entered_us = <PyObject*>name, serial, entered_us
        stay.version, stay.dwelt, stay.course = fence.version, False, NULL
        stay.due_us = due_us(stay, fence)
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


cdef int64_t due_us(const OpenStay* stay, fence):
    """fence: None where it is gone."""
    if stay.dwelt or fence is None:
        return INT64_MAX
    return stay.entered_us + <int64_t>round(fence.detect.dwell_s * 1000000)
