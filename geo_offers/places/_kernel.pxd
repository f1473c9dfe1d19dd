cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef struct Vector:
    double x
    double y
    double z

cdef struct Shape:
    # A circle: its centre on the ground and the square of its chord, metres. An area: chord2 < 0, and its border as
    # lon, lat pairs, each ring closed, a pair of NaN between two rings: no comparison with NaN holds, so no edge there.
    # The border is the outline's own bytes, which whoever fills the shape keeps.
    Vector centre
    double chord2_m2
    int32_t points
    double* border

cdef struct Place:
    uint64_t name  # 0: none
    int32_t head  # of its entries in the pool; where there is one, itself
    uint32_t count

cdef struct Segment:
    int64_t used  # places with a name
    int64_t depth  # so many first bits all hashes of their names have in common
    Place[1] places  # mask + 1 of them

cdef struct Filed:
    # places: their names; or, where count is negative, the first one's name and the others' steps from it in q and r,
    # a byte each: nearly always they are that near. serial: another number each time that a fence is put.
    # calibrated: it weighs the evidence.
    Shape shape
    uint64_t* places
    int32_t count
    bint calibrated
    uint64_t serial

@cython.final
cdef class Table:
    cdef readonly int32_t calibrated  # so many of its fences weigh the evidence
    cdef public object memo  # for whoever asks it much: what they know of its fences
    cdef uint64_t changed  # another number, of all tables, after each change
    cdef Segment** segments  # by the first `depth` bits of a name's hash; neighbours may be the same one
    cdef int depth
    cdef uint64_t mask
    cdef int32_t* pool
    cdef int64_t pool_used, pool_room
    cdef int32_t[32] spare
    cdef Filed* filed
    cdef int64_t filed_room
    cdef list outlines  # of areas, by number: their bytes are the borders
    cdef int64_t coarse, squares
    cdef int32_t* hits
    cdef int64_t hits_room
    cdef int hint
    cdef int32_t* touched  # of the last `crossing`
    cdef int64_t n_touched, touched_room

    cdef void _change(self) noexcept
    cdef void _count_level(self, uint64_t name, int64_t more) noexcept
    cdef Segment* _segment(self, uint64_t hashed) noexcept nogil
    cdef Place* _find(self, uint64_t name) noexcept nogil
    cdef int32_t* _entries(self, Place* place) noexcept nogil
    cdef void _make_room(self, uint64_t hashed) noexcept
    cdef void _double(self) noexcept
    cdef int32_t _room(self, uint32_t size) noexcept
    cdef void _give_back(self, int32_t head, uint32_t size) noexcept
    cdef void _move(self, Place* place, uint32_t size, uint32_t to) noexcept
    cdef void _file(self, uint64_t name, int32_t entry) noexcept
    cdef void _unfile(self, uint64_t name, int32_t number) noexcept
    cdef int64_t _look(self, Place* place, double lat, double lon, Vector ground, int64_t count) noexcept nogil
    cdef int64_t _look_up(
        self, Place* fine, int face, Vector v, double lat, double lon, int64_t count
    ) noexcept nogil
    cpdef distance(self, int32_t number, double lat, double lon)
    cdef double away_m(self, int32_t number, double lat, double lon) noexcept nogil
    cdef bint area_holds(self, int32_t number, double lat, double lon) noexcept nogil
    cdef int64_t find(self, const double* lat, const double* lon, int64_t n, int32_t* counted) noexcept nogil
    cdef bint may_cross(self, double lat0, double lon0, double lat1, double lon1) noexcept nogil
    cdef int _cross(self, double lat0, double lon0, double lat1, double lon1, bint keep) noexcept nogil
    cdef bint _touched(self, uint64_t name, Way* way, Vector v0, Vector v1, bint keep) noexcept nogil

cdef struct Way:
    double lat0
    double lon0
    double lat1
    double lon1
    double stray_m
    bint drawn  # the ends are known as points on the ground too
    Vector start
    Vector end
