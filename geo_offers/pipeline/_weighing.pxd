from libc.stdint cimport int32_t, int64_t, uint64_t

from geo_offers.pipeline._batch cimport Ping
from geo_offers.pipeline._past cimport Aside, Newest, OpenStay, Past
from geo_offers.places._kernel cimport Table
from geo_offers.places._nearest cimport Borders
from geo_offers.presence._evidence cimport Fix, Judged, Sight, Trail

cdef enum:
    FEW = 64  # points of a part, fences around a point, stays, edges: of more the machine takes care
    LOOKS = 256  # calibrated fences of which one fix may say something
    EXITS = 1  # what a fix makes at one of them
    ENTERS = 2
    CONFIRMS = 4
    DWELLS = 8

cdef double STRETCH  # a distance on the plane is never so much too short

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

cdef bint is_current(Table table, int32_t number, uint64_t serial) noexcept nogil
cdef (int32_t, uint64_t) filing_of(fences, fence)

cdef class Weighing:
    cdef Look[LOOKS] looks
    cdef int n_looks
    cdef bint edges  # it makes some
    cdef Fix fix
    cdef Judged judged
    cdef Sight sight
    cdef Trail trail  # before it, and so is `elsewhere`
    cdef double elsewhere
    cdef double clear_m  # no border is nearer

    cdef void judge(self, const Past* past, const Newest* newest, Ping* ping) noexcept
    cdef int look(
        self, const Past* past, const Newest* newest, const OpenStay* stays, int n_stays, Ping* ping, Table table,
        Borders borders, index, const int32_t* within, int inside, bint filed_anew=*,
    ) except -1
    cdef bint is_clear(self, const Newest* newest) noexcept
    cdef bint is_straight(self) noexcept
    cdef object follow(self, Past* past, OpenStay* stays, Table table, index)
    cdef int _look_at(self, int32_t number, Table table) noexcept
    cdef void _add_look(self, int32_t number, double away_m) noexcept
    cdef object _weigh(
        self, Look* look, const Aside* aside, const OpenStay* stays, double elsewhere_m, Table table, index
    )
    cdef double _speed_mps(self) noexcept
    cdef void _remember_clear(self, Past* past, Table table) noexcept
    cdef void _go_on(self, OpenStay* stay, const Look* look, double way_m) noexcept
