cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from geo_offers.places._kernel cimport Table

cdef union Form:
    double radius_m  # of a circle, along the ground
    float* ends  # of a chunk, pieces + 1 of them, relative to the middle of its ball: every x, every y, every z

cdef struct Item:
    # A circle: `pieces` is 0. A chunk: some straight pieces.
    double x
    double y
    double z
    Form form
    float reach_m  # no point of the true border is farther from the middle
    float clear_m  # none is nearer to it
    int32_t fence
    int32_t pieces
    int32_t sibling  # of the same fence
    float stray_m

cdef struct Node:
    int32_t children  # the first of eight; -1: a leaf
    int32_t head  # of a leaf's items
    int32_t count  # of items in all of it
    float reach_m  # no item in it has a longer one

cdef struct Cube:
    double x
    double y
    double z
    double half_m

cdef struct Visit:
    double bound_m
    int32_t node
    Cube cube

cdef struct Found:
    double away_m
    int32_t fence

cdef struct Square:
    # What is near a square of a thousandth of a degree: fences of which the border may be within `clear_m` of its middle.
    uint64_t name  # 0: none
    uint32_t changed  # as `Borders.changed` was then
    int32_t count  # SEEN: nobody has looked yet; MANY: they are too many
    float clear_m
    int32_t[11] fences


@cython.final
cdef class Borders:
    cdef double equator_m, eccentricity2, curvature_m, stray_m
    cdef int32_t most_pieces
    cdef double* ring  # of the border that is being filed: its ends in space
    cdef int64_t ring_room
    cdef dict circles  # around areas of several chunks, by number, as they have been asked for
    cdef Item* items
    cdef int32_t* next  # item of its leaf, or among the spare: apart, so that a leaf is walked without its items
    cdef int32_t items_used, items_room, items_spare
    cdef Node* nodes
    cdef int32_t nodes_used, nodes_room, nodes_spare
    cdef int32_t* first  # of a fence's items, by number
    cdef int32_t first_room
    cdef Visit* heap
    cdef int32_t heap_used, heap_room
    cdef Found* best
    cdef int32_t best_used, best_limit, best_room
    cdef double cut_m  # as near must be what is to be among the best
    cdef double passed_m  # no border that was passed over is nearer
    cdef uint32_t changed
    cdef Square* squares  # each where its name says, one of several
    cdef uint64_t mask

    cdef void _put_circle(self, int32_t number, double lat, double lon, double radius_m) noexcept
    cdef void _on_ground(self, double lat, double lon, double* to) noexcept nogil
    cdef bint _is_long(self, const double* degrees, int64_t count) noexcept nogil
    cdef double _edge_stray_m(self, const double* edge) noexcept nogil
    cdef double _stray_m(self, const double* degrees, int64_t count) noexcept nogil
    cdef int64_t _draw(self, const double* degrees, int64_t count, double stray_m, bint cut) noexcept
    cdef void _put_ring(self, int32_t number, const double* ends, int32_t count, double stray_m) noexcept
    cdef void _put_chunk(self, int32_t number, const double* ends, int32_t pieces, double stray_m) noexcept
    cdef void _free_ends(self, int32_t at) noexcept
    cdef void _reserve(self, int32_t number) noexcept
    cdef int32_t _new_item(self, int32_t number) noexcept
    cdef int32_t _root(self, int32_t at) noexcept
    cdef void _empty(self, int32_t node) noexcept
    cdef void _hang(self, int32_t node, int32_t at) noexcept
    cdef void _widen(self, int32_t node, int32_t at) noexcept
    cdef void _insert(self, int32_t at) noexcept
    cdef void _split(self, int32_t node, Cube cube) noexcept
    cdef int32_t _new_children(self) noexcept
    cdef void _take_out(self, int32_t at) noexcept
    cdef void _gather(self, int32_t node) noexcept
    cdef void _collect(self, int32_t node, int32_t* head) noexcept
    cdef int32_t find_around(
        self, Table table, double lat, double lon, double reach_m,
        int32_t* numbers, double* away_m, int32_t most, double* clear_m
    ) noexcept nogil
    cpdef double clear_m(self, double lat, double lon, double most_m) noexcept nogil
    cdef void _find(self, double lat, double lon, int32_t limit) noexcept
    cdef void _open(self, double cut_m, int32_t limit) noexcept nogil
    cdef void _find_within(self, double lat, double lon, double reach_m, int32_t limit) noexcept nogil
    cdef Square* _square(self, double lat, double lon, double reach_m) noexcept nogil
    cdef void _descend_all(self, double lat, double lon) noexcept nogil
    cdef void _find_signed(self, Table table, double lat, double lon, double reach_m, int32_t limit) noexcept nogil
    cdef double _clear_m(self) noexcept nogil
    cdef void _descend(self, int32_t node, const double* point, double earth_m) noexcept nogil
    cdef void _pass(self, double bound_m) noexcept nogil
    cdef void _measure_leaf(self, int32_t head, double x, double y, double z, double earth_m) noexcept nogil
    cdef _circle(self, int32_t number)
    cdef _around(self, int32_t at)
    cdef void _box(self, const Item* item, double* low, double* high) noexcept nogil
    cdef double _farthest_m(self, const Item* item, const double* point, double least_m) noexcept nogil
    cdef tuple _degrees(self, double x, double y, double z)
    cdef void _search(self, double x, double y, double z, double earth_m) noexcept nogil
    cdef double _worst(self) noexcept nogil
    cdef void _plan(self, int32_t node, Cube cube, double x, double y, double z) noexcept nogil
    cdef Visit _pop(self) noexcept nogil
    cdef void _measure(self, const Item* item, double x, double y, double z, double earth_m) noexcept nogil
    cdef int32_t _standing(self, int32_t fence) noexcept nogil
    cdef void _place(self, int32_t fence, double away_m, int32_t at) noexcept nogil
    cdef double _earth_m(self, double x, double y, double z) noexcept nogil
