from libc.stdint cimport int64_t, uint32_t, uint64_t

from geo_offers.pipeline._batch cimport Ping
from geo_offers.pipeline._past cimport Newest, OpenStay, Past
from geo_offers.pipeline._weighing cimport FEW
from geo_offers.presence._evidence cimport WORTHS

cdef int64_t due_us(const OpenStay* stay, fence)

cdef class Moved:
    cdef OpenStay[FEW] stays
    cdef uint32_t[FEW] marks  # of the fixes taken
    cdef int n_stays, n_marks
    cdef Newest newest
    cdef Past* past
    cdef int64_t[<int>WORTHS] worths  # of the fixes taken, how many
    cdef readonly list arrivals

    cdef object forget(self)
    cdef OpenStay* add(self, fence, uint64_t serial, int64_t entered_us, bytes workspace, bytes device) except NULL
    cdef object remove(self, int at)
    cdef object tell(
        self, device, kind, OpenStay* stay, Ping* ping, fence, away_m, double confidence=*, bint dwelt=*
    )
    cdef object tell_cross(self, device, fence, Ping* ping, away_m, confidence=*)
