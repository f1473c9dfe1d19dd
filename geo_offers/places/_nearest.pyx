# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled nearest borders; the same answers as `nearest.PlainNearest`, many times faster.

What is filed are pieces of border in space: a circle as a whole, an area in chunks of some straight pieces each, every
one with a ball around it. They hang in octrees over the Earth, one for each class of size, so that a wide ball loosens
no bound among small ones. A question takes the nodes in the order of how near anything in them can be, and ends where
that is farther than what was found: the cost follows what lies around, not how much there is.

All borders within a reach are found by descent from the roots: nothing has to be put in order, and whatever is passed
over on the way tells how far the next border is at the least. Where somebody asks again in a square of some hundred
metres, what is near it is remembered until the next change: then only that is measured.

In space there is no pole and no antimeridian, and the straight line is never longer than the way along the ground.
Outlines are read as they are (`outline.py`), and edges cut as `borders.py` has it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport INFINITY, asin, atan2, ceil, cos, fabs, fmax, fmin, nextafter, sin, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc

from geo_offers.places._kernel cimport Table

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
    CLASSES = 4
    FULL = 12  # items of a leaf before it is split
    PIECES = 40  # of a chunk
    SPLITS = 18  # from all of the Earth down to the smallest node
    LISTED = 11  # fences of a square
    SEEN = -1
    MANY = -2
    FEWEST_SQUARES = 1024
    MOST_SQUARES = 65536

cdef double RADIANS = 0.017453292519943295
cdef double DEGREES = 57.29577951308232
cdef double QUARTER_TURN = 1.5707963267948966
cdef double HALF_M = 8388608.0  # along each axis all of the Earth is nearer to its centre
cdef double SMALLEST_M = 32.0  # half the side of a node that is not split any more
cdef double[CLASSES] WIDEST_M = [600.0, 6000.0, 60000.0, 1e9]  # the reach of a class's items
cdef double ROUNDED = 1.000001  # more than a float rounds, and the ends' offsets with it
cdef double WIDE_M = 1e6  # an area whose border is within this of a point lies there itself, not all around it
cdef double AROUND = 1.001  # a circle around an area is larger by this, and by AROUND_M, than it need be
cdef double AROUND_M = 0.01
cdef double A_DEGREE = 1000.0  # squares along it
cdef double CORNER_M = 79.0  # no point of a square is farther from its middle
cdef double SQUARE_REACH_M = 80.0  # for fixes that are good to 34 m
cdef double BAND_M = 0.01  # within this of the truth is what a distance says

cdef inline int octant(const Cube* cube, const Item* item) noexcept nogil:
    return (item.x >= cube.x) | (item.y >= cube.y) << 1 | (item.z >= cube.z) << 2


cdef inline Cube child_cube(const Cube* cube, int part) noexcept nogil:
    cdef Cube child
    child.half_m = cube.half_m / 2
    child.x = cube.x + (child.half_m if part & 1 else -child.half_m)
    child.y = cube.y + (child.half_m if part & 2 else -child.half_m)
    child.z = cube.z + (child.half_m if part & 4 else -child.half_m)
    return child


cdef inline double beyond(double way, double half_m) noexcept nogil:
    way = fabs(way) - half_m
    return way if way > 0 else 0.0


cdef inline double arc_m(double chord, double earth_m) noexcept nogil:
    cdef double share = chord / (2 * earth_m)
    return 2 * earth_m * asin(share if share < 1 else 1.0)


cdef inline double distance2(const Item* item, const double* point) noexcept nogil:
    cdef double dx = point[0] - item.x, dy = point[1] - item.y, dz = point[2] - item.z
    return dx * dx + dy * dy + dz * dz


cdef inline double chord_m(double arc, double earth_m) noexcept nogil:
    cdef double half = arc / (2 * earth_m)
    return 2 * earth_m * sin(half if half < QUARTER_TURN else QUARTER_TURN)


cdef double chunk_chord2(const float* ends, int32_t pieces, double x, double y, double z) noexcept nogil:
    """The square of the straight way from a point, relative to the ball's middle, to the nearest of the pieces.

    The loop has no branch, so that compilers do several pieces at once: (|s| - |s - 1| + 1) / 2 is s within 0..1 and
    the nearer of the two beyond. A piece without length comes out as NaN, which is less than nothing.
    """
    cdef const float* ends_y = ends + pieces + 1
    cdef const float* ends_z = ends_y + pieces + 1
    cdef double[PIECES] away2
    cdef double ax = ends[0] - x, ay = ends_y[0] - y, az = ends_z[0] - z, dx, dy, dz, share
    cdef double nearest2 = ax * ax + ay * ay + az * az
    cdef int32_t k
    for k in range(pieces):
        ax, ay, az = ends[k] - x, ends_y[k] - y, ends_z[k] - z
        dx, dy, dz = <double>ends[k + 1] - ends[k], <double>ends_y[k + 1] - ends_y[k], <double>ends_z[k + 1] - ends_z[k]
        share = -(ax * dx + ay * dy + az * dz) / (dx * dx + dy * dy + dz * dz)
        share = 0.5 * (fabs(share) - fabs(share - 1) + 1)
        ax, ay, az = ax + share * dx, ay + share * dy, az + share * dz
        away2[k] = ax * ax + ay * ay + az * az
    for k in range(pieces):
        nearest2 = away2[k] if away2[k] < nearest2 else nearest2
    return nearest2


@cython.final
cdef class Borders:
    """Borders of fences by number. Not safe for use by several threads at once."""

    def __cinit__(
        self, double equator_m, double eccentricity2, double curvature_m, double stray_m, int32_t most_pieces
    ):
        cdef int32_t k
        self.equator_m, self.eccentricity2 = equator_m, eccentricity2
        self.curvature_m, self.stray_m, self.most_pieces = curvature_m, stray_m, most_pieces
        self.ring, self.ring_room = <double*>malloc(3 * 64 * sizeof(double)), 64
        self.items_room, self.first_room, self.heap_room, self.best_room, self.nodes_room = 64, 64, 256, 32, 64
        self.items = <Item*>malloc(self.items_room * sizeof(Item))
        self.next = <int32_t*>malloc(self.items_room * sizeof(int32_t))
        self.nodes = <Node*>malloc(self.nodes_room * sizeof(Node))
        self.first = <int32_t*>malloc(self.first_room * sizeof(int32_t))
        self.heap = <Visit*>malloc(self.heap_room * sizeof(Visit))
        self.best = <Found*>malloc(self.best_room * sizeof(Found))
        self.items_spare = self.nodes_spare = -1
        self.circles = {}
        for k in range(self.first_room):
            self.first[k] = -1
        for k in range(CLASSES):
            self._empty(k)
        self.nodes_used = CLASSES + 3  # behind malloc's own 16 bytes, eight children fill two lines of a cache then

    def __dealloc__(self):
        cdef int32_t number, item
        for number in range(self.first_room):
            item = self.first[number]
            while item >= 0:
                self._free_ends(item)
                item = self.items[item].sibling
        free(self.ring)
        free(self.items)
        free(self.next)
        free(self.nodes)
        free(self.first)
        free(self.heap)
        free(self.best)
        free(self.squares)

    # ------------------------------------------------------------------------------------------ changes
    def put(self, int32_t number, bytes outline):
        """File a fence under a number that is free.

        False, and nothing done, where an area touches 180 degrees: what of its border is a cut there, others know.
        """
        cdef const double* degrees = <const double*>PyBytes_AS_STRING(outline)
        cdef int64_t size = PyBytes_GET_SIZE(outline) // sizeof(double), k
        cdef int64_t count = size // 2, start = 0, stop, ends
        cdef double stray_m
        cdef bint cut
        self.changed += 1
        if size == 3:
            self._put_circle(number, degrees[0], degrees[1], degrees[2])
            return True
        for k in range(count):
            if fabs(degrees[2 * k]) >= 180:
                return False
        self._reserve(number)
        cut = self._is_long(degrees, count)
        stray_m = self._stray_m(degrees, count) if cut else self.stray_m
        while start < count:
            stop = start
            while stop < count and degrees[2 * stop] == degrees[2 * stop]:  # to the gap between two rings
                stop += 1
            ends = self._draw(degrees + 2 * start, stop - start, stray_m, cut)
            self._put_ring(number, self.ring, <int32_t>ends, stray_m)
            start = stop + 1
        return True

    def put_ring(self, int32_t number, const double[:, ::1] ends, double stray_m):
        """File a ring of a border: the ends of its pieces in space, shape (n, 3); one after another makes a fence.

        stray_m: how far the true border may be from the pieces.
        """
        self.changed += 1
        self._put_ring(number, &ends[0, 0], <int32_t>ends.shape[0], stray_m)

    cdef void _put_circle(self, int32_t number, double lat, double lon, double radius_m) noexcept:
        cdef int32_t at = self._new_item(number)
        cdef Item* item = self.items + at
        cdef double[3] middle
        self._on_ground(lat, lon, middle)
        item.x, item.y, item.z, item.form.radius_m = middle[0], middle[1], middle[2], radius_m
        item.reach_m = <float>(radius_m * ROUNDED)
        item.clear_m = <float>(chord_m(radius_m, self._earth_m(item.x, item.y, item.z)) / ROUNDED)
        self._insert(at)

    cdef inline void _on_ground(self, double lat, double lon, double* to) noexcept nogil:
        cdef double phi = lat * RADIANS, lam = lon * RADIANS, up = sin(phi), across = cos(phi)
        cdef double normal_m = self.equator_m / sqrt(1 - self.eccentricity2 * up * up)
        to[0], to[1] = normal_m * across * cos(lam), normal_m * across * sin(lam)
        to[2] = normal_m * (1 - self.eccentricity2) * up

    cdef bint _is_long(self, const double* degrees, int64_t count) noexcept nogil:
        """Whether some edge may stray too far from a straight line; no store's does. Gaps compare with nothing."""
        cdef double turn, longest = 0
        cdef int64_t k
        for k in range(1, count):
            turn = fabs(degrees[2 * k] - degrees[2 * k - 2]) + fabs(degrees[2 * k + 1] - degrees[2 * k - 1])
            longest = turn if turn > longest else longest
        longest *= RADIANS
        return self.curvature_m * longest * longest / 8 > self.stray_m

    cdef double _edge_stray_m(self, const double* edge) noexcept nogil:
        """How far an edge strays from the straight line under it at most, as `borders._strays_m`."""
        cdef double a = fabs(edge[3] - edge[1]) * RADIANS, b = fabs(edge[2] - edge[0]) * RADIANS
        cdef double start = fabs(edge[1]) * RADIANS, end = fabs(edge[3]) * RADIANS
        cdef double widest = cos(fmin(start, end)) if edge[1] * edge[3] > 0 else 1.0
        return self.curvature_m * (a * a + 2 * a * b * sin(fmax(start, end)) + b * b * widest) / 8

    cdef double _stray_m(self, const double* degrees, int64_t count) noexcept nogil:
        """How far a border strays from its pieces: farther where these would be too many."""
        cdef double away_m, roots = 0
        cdef int64_t k
        for k in range(count - 1):
            away_m = self._edge_stray_m(degrees + 2 * k)
            roots += sqrt(away_m) if away_m == away_m else 0.0
        roots /= self.most_pieces
        return fmax(self.stray_m, roots * roots)

    cdef int64_t _draw(self, const double* degrees, int64_t count, double stray_m, bint cut) noexcept:
        """Leaves the ends of a ring's pieces in `ring`; how many they are. cut: not all edges are one piece."""
        cdef int64_t k, part, parts = 1, used = 0
        cdef double share
        for k in range(count):
            if cut and k < count - 1:
                parts = max(1, <int64_t>ceil(sqrt(self._edge_stray_m(degrees + 2 * k) / stray_m)))
            elif k == count - 1:
                parts = 1
            if used + parts > self.ring_room:
                self.ring_room = 2 * (used + parts)
                self.ring = <double*>realloc(self.ring, 3 * self.ring_room * sizeof(double))
            self._on_ground(degrees[2 * k + 1], degrees[2 * k], self.ring + 3 * used)
            used += 1
            for part in range(1, parts):
                share = <double>part / parts
                self._on_ground(
                    degrees[2 * k + 1] + share * (degrees[2 * k + 3] - degrees[2 * k + 1]),
                    degrees[2 * k] + share * (degrees[2 * k + 2] - degrees[2 * k]),
                    self.ring + 3 * used,
                )
                used += 1
        return used

    cdef void _put_ring(self, int32_t number, const double* ends, int32_t count, double stray_m) noexcept:
        cdef int32_t start = 0, pieces
        while start < count - 1:
            pieces = min(PIECES, count - 1 - start)
            self._put_chunk(number, ends + 3 * start, pieces, stray_m)
            start += pieces

    cdef void _put_chunk(self, int32_t number, const double* ends, int32_t pieces, double stray_m) noexcept:
        cdef int32_t at = self._new_item(number), k, axis
        cdef Item* item = self.items + at
        cdef float* kept = <float*>malloc((pieces + 1) * 3 * sizeof(float))
        cdef double[3] low, high
        cdef double dx, dy, dz, away2, reach2 = 0
        for axis in range(3):
            low[axis] = high[axis] = ends[axis]
        for k in range(1, pieces + 1):
            for axis in range(3):
                low[axis], high[axis] = fmin(low[axis], ends[3 * k + axis]), fmax(high[axis], ends[3 * k + axis])
        item.x, item.y, item.z = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2
        for k in range(pieces + 1):
            dx, dy, dz = ends[3 * k] - item.x, ends[3 * k + 1] - item.y, ends[3 * k + 2] - item.z
            kept[k], kept[pieces + 1 + k], kept[2 * (pieces + 1) + k] = <float>dx, <float>dy, <float>dz
            away2 = dx * dx + dy * dy + dz * dz
            reach2 = away2 if away2 > reach2 else reach2
        item.pieces, item.form.ends = pieces, kept
        item.stray_m = <float>(stray_m * ROUNDED)
        item.reach_m = <float>((sqrt(reach2) + stray_m) * ROUNDED)
        item.clear_m = <float>((sqrt(chunk_chord2(kept, pieces, 0, 0, 0)) - stray_m) / ROUNDED)
        self._insert(at)

    def remove(self, int32_t number):
        """Take a fence out; one that is not there is none."""
        cdef int32_t at = self.first[number] if number < self.first_room else -1, sibling
        self.changed += 1
        while at >= 0:
            self._take_out(at)
            sibling = self.items[at].sibling
            self._free_ends(at)
            self.next[at] = self.items_spare
            self.items_spare = at
            at = sibling
        if number < self.first_room:
            self.first[number] = -1
        self.circles.pop(number, None)

    cdef void _free_ends(self, int32_t at) noexcept:
        if self.items[at].pieces:
            free(self.items[at].form.ends)

    cdef void _reserve(self, int32_t number) noexcept:
        cdef int32_t k
        if number >= self.first_room:
            k = self.first_room
            self.first_room = number + number // 8 + 64
            self.first = <int32_t*>realloc(self.first, self.first_room * sizeof(int32_t))
            for k in range(k, self.first_room):
                self.first[k] = -1

    cdef int32_t _new_item(self, int32_t number) noexcept:
        cdef int32_t at = self.items_spare
        self._reserve(number)
        if at >= 0:
            self.items_spare = self.next[at]
        else:
            if self.items_used == self.items_room:
                self.items_room += self.items_room >> 1
                self.items = <Item*>realloc(self.items, self.items_room * sizeof(Item))
                self.next = <int32_t*>realloc(self.next, self.items_room * sizeof(int32_t))
            at = self.items_used
            self.items_used += 1
        self.items[at].fence, self.items[at].pieces = number, 0
        self.items[at].stray_m = self.items[at].clear_m = 0
        self.items[at].sibling = self.first[number]
        self.first[number] = at
        return at

    cdef int32_t _root(self, int32_t at) noexcept:
        cdef int32_t size = 0
        while self.items[at].reach_m > WIDEST_M[size]:
            size += 1
        return size

    cdef void _empty(self, int32_t node) noexcept:
        self.nodes[node].children = self.nodes[node].head = -1
        self.nodes[node].count = 0
        self.nodes[node].reach_m = 0

    cdef void _hang(self, int32_t node, int32_t at) noexcept:
        """Puts an item into a leaf."""
        self.next[at] = self.nodes[node].head
        self.nodes[node].head = at
        self._widen(node, at)

    cdef void _widen(self, int32_t node, int32_t at) noexcept:
        self.nodes[node].count += 1
        if self.items[at].reach_m > self.nodes[node].reach_m:
            self.nodes[node].reach_m = self.items[at].reach_m

    cdef void _insert(self, int32_t at) noexcept:
        cdef int32_t node = self._root(at)
        cdef int part
        cdef Cube cube
        cube.x, cube.y, cube.z, cube.half_m = 0, 0, 0, HALF_M
        while self.nodes[node].children >= 0:
            self._widen(node, at)
            part = octant(&cube, self.items + at)
            cube = child_cube(&cube, part)
            node = self.nodes[node].children + part
        self._hang(node, at)
        self._split(node, cube)

    cdef void _split(self, int32_t node, Cube cube) noexcept:
        cdef int32_t children, at, following
        cdef int part
        if self.nodes[node].count <= FULL or cube.half_m <= SMALLEST_M:
            return
        children = self._new_children()
        at = self.nodes[node].head
        self.nodes[node].children, self.nodes[node].head = children, -1
        while at >= 0:
            following = self.next[at]
            self._hang(children + octant(&cube, self.items + at), at)
            at = following
        for part in range(8):
            self._split(children + part, child_cube(&cube, part))

    cdef int32_t _new_children(self) noexcept:
        cdef int32_t children = self.nodes_spare, part
        if children >= 0:
            self.nodes_spare = self.nodes[children].head
        else:
            if self.nodes_used + 8 > self.nodes_room:
                self.nodes_room += self.nodes_room >> 1
                self.nodes = <Node*>realloc(self.nodes, self.nodes_room * sizeof(Node))
            children = self.nodes_used
            self.nodes_used += 8
        for part in range(8):
            self._empty(children + part)
        return children

    cdef void _take_out(self, int32_t at) noexcept:
        """Out of the leaf it hangs in; a node that has come to hold few becomes a leaf again."""
        cdef int32_t node = self._root(at), thin = -1
        cdef int32_t* link
        cdef int part
        cdef Cube cube
        cube.x, cube.y, cube.z, cube.half_m = 0, 0, 0, HALF_M
        while True:
            self.nodes[node].count -= 1
            if thin < 0 and 2 * self.nodes[node].count <= FULL:
                thin = node
            if self.nodes[node].children < 0:
                break
            part = octant(&cube, self.items + at)
            cube = child_cube(&cube, part)
            node = self.nodes[node].children + part
        link = &self.nodes[node].head
        while link[0] != at:
            link = &self.next[link[0]]
        link[0] = self.next[at]
        if thin >= 0:
            self._gather(thin)

    cdef void _gather(self, int32_t node) noexcept:
        """Makes a leaf of a node, its reach no longer than need be."""
        cdef int32_t head = -1, at, following
        self._collect(node, &head)
        self._empty(node)
        at = head
        while at >= 0:
            following = self.next[at]
            self._hang(node, at)
            at = following

    cdef void _collect(self, int32_t node, int32_t* head) noexcept:
        cdef int32_t at = self.nodes[node].head, children = self.nodes[node].children, following
        cdef int part
        while at >= 0:
            following = self.next[at]
            self.next[at] = head[0]
            head[0] = at
            at = following
        if children >= 0:
            for part in range(8):
                self._collect(children + part, head)
            self.nodes[children].head = self.nodes_spare
            self.nodes_spare = children

    # ------------------------------------------------------------------------------------------ questions
    def nearest(self, double lat, double lon, int32_t limit):
        """The nearest borders, nearest first: at most `limit` pairs of a number and metres along the ground."""
        cdef int32_t k
        self._find(lat, lon, limit)
        return [(self.best[k].fence, self.best[k].away_m) for k in range(self.best_used)]

    def around(self, Table table, double lat, double lon, double reach_m, int32_t most):
        """What `find_around` finds, as pairs, and the radius that is clear of others."""
        cdef int32_t k
        self._find_signed(table, lat, lon, reach_m, most)
        return [(self.best[k].fence, self.best[k].away_m) for k in range(self.best_used)], self._clear_m()

    cdef int32_t find_around(
        self, Table table, double lat, double lon, double reach_m,
        int32_t* numbers, double* away_m, int32_t most, double* clear_m,
    ) noexcept nogil:
        """The borders no farther than `reach_m` from a point, nearest first and at most `most`; how many they are.

        Of each its fence's number and the signed metres along the ground, negative inside. table: holds the same fences
        under the same numbers. clear_m: no border of any other fence is nearer; a centimetre less than the reach at the
        least, unless there are more than `most`, and often much more.
        """
        cdef int32_t k
        self._find_signed(table, lat, lon, reach_m, most)
        for k in range(self.best_used):
            numbers[k], away_m[k] = self.best[k].fence, self.best[k].away_m
        clear_m[0] = self._clear_m()
        return self.best_used

    cpdef double clear_m(self, double lat, double lon, double most_m) noexcept nogil:
        """No border is nearer to a point than this.

        Up to `most_m` some is hardly farther; beyond, what is cheaply known, and a centimetre less than that at the
        least. Infinite where there is no border at all.
        """
        self._find_within(lat, lon, most_m, 1)
        return self._clear_m() if self.best_used == 0 else fmax(0.0, self.best[0].away_m - BAND_M)

    def regions(self, double lat, double lon, int32_t limit):
        """As `nearest`, and a circle around each fence: lat, lon, radius_m along the ground, whether it is the fence.

        None instead of the circle around an area that is as wide as a continent.
        """
        cdef int32_t k
        self._find(lat, lon, limit)
        return [
            (self.best[k].fence, self.best[k].away_m, self._circle(self.best[k].fence)) for k in range(self.best_used)
        ]

    cdef void _find(self, double lat, double lon, int32_t limit) noexcept:
        """Leaves the `limit` nearest borders among the best."""
        cdef double[3] point
        if limit < 1:
            self.best_used = 0
            return
        self._open(1e300, limit)
        self._on_ground(lat, lon, point)
        self._search(point[0], point[1], point[2], self._earth_m(point[0], point[1], point[2]))

    cdef void _open(self, double cut_m, int32_t limit) noexcept nogil:
        """Begins a row of the best."""
        self.best_used, self.best_limit, self.cut_m, self.passed_m = 0, limit, cut_m, INFINITY
        if limit > self.best_room:
            self.best_room = limit
            self.best = <Found*>realloc(self.best, limit * sizeof(Found))

    cdef void _find_within(self, double lat, double lon, double reach_m, int32_t limit) noexcept nogil:
        """Leaves the nearest borders that are no farther than `reach_m` among the best."""
        cdef double[3] point
        cdef double earth_m
        cdef int32_t k, at
        cdef Square* square = self._square(lat, lon, reach_m)
        self._open(nextafter(reach_m, INFINITY), limit)
        if square == NULL:
            self._descend_all(lat, lon)
            return
        self._on_ground(lat, lon, point)
        earth_m = self._earth_m(point[0], point[1], point[2])
        for k in range(square.count):
            at = self.first[square.fences[k]]
            while at >= 0:
                self._measure(self.items + at, point[0], point[1], point[2], earth_m)
                at = self.items[at].sibling
        self._pass(square.clear_m - CORNER_M)

    cdef void _descend_all(self, double lat, double lon) noexcept nogil:
        cdef double[3] point
        cdef double earth_m
        cdef int32_t k
        self._on_ground(lat, lon, point)
        earth_m = self._earth_m(point[0], point[1], point[2])
        for k in range(CLASSES):
            if self.nodes[k].count:
                self._descend(k, point, earth_m)

    cdef Square* _square(self, double lat, double lon, double reach_m) noexcept nogil:
        """What is near a point's square, where that says all within a reach; NULL where it does not."""
        cdef int64_t row = <int64_t>((lat + 90) * A_DEGREE), column = <int64_t>((lon + 180) * A_DEGREE)
        cdef uint64_t name = (<uint64_t>row << 32 | <uint64_t>column) + 1, room = FEWEST_SQUARES
        cdef Square* square
        cdef int32_t k
        if self.squares == NULL:
            while room < <uint64_t>self.items_used and room < MOST_SQUARES:
                room *= 2
            self.squares, self.mask = <Square*>calloc(room, sizeof(Square)), room - 1
        square = self.squares + ((name * <uint64_t>0x9E3779B97F4A7C15) >> 40 & self.mask)
        if square.name != name or square.changed != self.changed:
            square.name, square.changed, square.count = name, self.changed, SEEN
            return NULL
        if square.count == SEEN:
            self._open(CORNER_M + SQUARE_REACH_M, LISTED + 1)
            self._descend_all((row + 0.5) / A_DEGREE - 90, (column + 0.5) / A_DEGREE - 180)
            square.count = self.best_used if self.best_used <= LISTED else MANY
            square.clear_m = <float>((self.passed_m - BAND_M) / ROUNDED)
            for k in range(square.count):
                square.fences[k] = self.best[k].fence
        return square if square.count != MANY and reach_m + CORNER_M <= square.clear_m else NULL

    cdef void _find_signed(self, Table table, double lat, double lon, double reach_m, int32_t limit) noexcept nogil:
        """As `_find_within`; their distances less than 0 inside."""
        cdef double[3] point
        cdef int32_t k
        cdef Item* item
        self._find_within(lat, lon, reach_m, limit)
        self._on_ground(lat, lon, point)
        for k in range(self.best_used):
            item = self.items + self.first[self.best[k].fence]
            if (
                distance2(item, point) < chord_m(item.form.radius_m, self._earth_m(item.x, item.y, item.z)) ** 2
                if item.pieces == 0 else table.area_holds(self.best[k].fence, lat, lon)
            ):
                self.best[k].away_m = -self.best[k].away_m

    cdef inline double _clear_m(self) noexcept nogil:
        """What was passed over in the last search within a reach is no nearer."""
        return fmax(0.0, self.passed_m - BAND_M)

    cdef void _descend(self, int32_t node, const double* point, double earth_m) noexcept nogil:
        """Measures what in a tree can be near enough, the octants that hold the point first."""
        cdef Visit[7 * SPLITS] later
        cdef Visit* visit
        cdef Cube cube
        cdef double bound_m, reach_m
        cdef double[3] way, away2, over2
        cdef int32_t children, child
        cdef int own, other, used = 0
        cube.x, cube.y, cube.z, cube.half_m = 0, 0, 0, HALF_M
        while True:
            children, reach_m = self.nodes[node].children, self.nodes[node].reach_m
            if children < 0:
                self._measure_leaf(self.nodes[node].head, point[0], point[1], point[2], earth_m)
                while used and later[used - 1].bound_m >= self._worst():
                    used -= 1
                    self._pass(later[used].bound_m)
                if used == 0:
                    return
                used -= 1
                node, cube = later[used].node, later[used].cube
                continue
            way = [point[0] - cube.x, point[1] - cube.y, point[2] - cube.z]
            own = (way[0] >= 0) | (way[1] >= 0) << 1 | (way[2] >= 0) << 2
            bound_m = fmin(fmin(fabs(way[0]), fabs(way[1])), fabs(way[2])) - reach_m
            if bound_m >= self._worst():
                self._pass(bound_m)
            else:
                away2 = [way[0] ** 2, way[1] ** 2, way[2] ** 2]
                over2 = [
                    beyond(way[0], cube.half_m) ** 2, beyond(way[1], cube.half_m) ** 2, beyond(way[2], cube.half_m) ** 2
                ]
                for other in range(1, 8):
                    child = children + (own ^ other)
                    if self.nodes[child].count == 0:
                        continue
                    bound_m = sqrt(
                        (away2[0] if other & 1 else over2[0])
                        + (away2[1] if other & 2 else over2[1])
                        + (away2[2] if other & 4 else over2[2])
                    ) - self.nodes[child].reach_m
                    if bound_m >= self._worst():
                        self._pass(bound_m)
                        continue
                    visit = later + used
                    visit.bound_m, visit.node, visit.cube = bound_m, child, child_cube(&cube, own ^ other)
                    used += 1
            node, cube = children + own, child_cube(&cube, own)

    cdef inline void _pass(self, double bound_m) noexcept nogil:
        """Takes note that a border of another fence is passed over, and is no nearer than this."""
        self.passed_m = bound_m if bound_m < self.passed_m else self.passed_m

    cdef inline void _measure_leaf(self, int32_t head, double x, double y, double z, double earth_m) noexcept nogil:
        cdef int32_t at = head
        while at >= 0:
            GO_PREFETCH(self.items + at)
            at = self.next[at]
        at = head
        while at >= 0:
            self._measure(self.items + at, x, y, z, earth_m)
            at = self.next[at]

    cdef _circle(self, int32_t number):
        cdef int32_t at = self.first[number]
        cdef Item* item = self.items + at
        if item.pieces == 0:
            return *self._degrees(item.x, item.y, item.z), item.form.radius_m, True
        if item.sibling < 0:
            return self._around(at)
        if number not in self.circles:
            self.circles[number] = self._around(at)
        return self.circles[number]

    cdef _around(self, int32_t at):
        """Around the area whose first chunk this is, about the middle of its border's box."""
        cdef Item* item = self.items + at
        cdef double[3] low, high, middle
        cdef double scale, reach_m = 0
        cdef int32_t first = at
        cdef int axis
        middle = [item.x, item.y, item.z]  # of a single chunk
        if item.sibling >= 0:
            low, high = [1e9, 1e9, 1e9], [-1e9, -1e9, -1e9]
            while at >= 0:
                self._box(self.items + at, low, high)
                at = self.items[at].sibling
            for axis in range(3):
                middle[axis] = (low[axis] + high[axis]) / 2
        scale = (middle[0] * middle[0] + middle[1] * middle[1]) / (self.equator_m * self.equator_m)
        scale += middle[2] * middle[2] / (self.equator_m * self.equator_m * (1 - self.eccentricity2))
        if scale < 0.5:
            return None
        for axis in range(3):
            middle[axis] /= sqrt(scale)  # up to the ground
        at = first
        while at >= 0:
            reach_m = fmax(reach_m, self._farthest_m(self.items + at, middle, reach_m))
            at = self.items[at].sibling
        if reach_m > WIDE_M:
            return None
        reach_m = arc_m(reach_m, self._earth_m(middle[0], middle[1], middle[2])) * AROUND + AROUND_M
        return *self._degrees(middle[0], middle[1], middle[2]), reach_m, False

    cdef void _box(self, const Item* item, double* low, double* high) noexcept nogil:
        """Widens a box by a chunk's ends."""
        cdef const float* ends = item.form.ends
        cdef double[3] middle = [item.x, item.y, item.z]
        cdef float least, most
        cdef int axis
        cdef int32_t k
        for axis in range(3):
            least = most = ends[0]
            for k in range(1, item.pieces + 1):
                least = ends[k] if ends[k] < least else least
                most = ends[k] if ends[k] > most else most
            low[axis], high[axis] = fmin(low[axis], middle[axis] + least), fmax(high[axis], middle[axis] + most)
            ends += item.pieces + 1

    cdef double _farthest_m(self, const Item* item, const double* point, double least_m) noexcept nogil:
        """How far from a point a chunk's border is at most, where that is more than `least_m`."""
        cdef double dx = point[0] - item.x, dy = point[1] - item.y, dz = point[2] - item.z, x, y, z
        cdef double away2, farthest2 = 0
        cdef const float* ends = item.form.ends
        cdef int32_t k, count = item.pieces + 1
        if sqrt(dx * dx + dy * dy + dz * dz) + item.reach_m <= least_m:
            return least_m
        for k in range(count):
            x, y, z = ends[k] - dx, ends[count + k] - dy, ends[2 * count + k] - dz
            away2 = x * x + y * y + z * z
            farthest2 = away2 if away2 > farthest2 else farthest2
        return sqrt(farthest2) * ROUNDED + item.stray_m

    cdef tuple _degrees(self, double x, double y, double z):
        """Lat and lon of a point on the ground."""
        return atan2(z, (1 - self.eccentricity2) * sqrt(x * x + y * y)) * DEGREES, atan2(y, x) * DEGREES

    cdef void _search(self, double x, double y, double z, double earth_m) noexcept nogil:
        cdef Visit visit
        cdef Cube cube
        cdef int32_t k
        cube.x, cube.y, cube.z, cube.half_m = 0, 0, 0, HALF_M
        self.heap_used = 0
        for k in range(CLASSES):
            self._plan(k, cube, x, y, z)
        while self.heap_used:
            visit = self._pop()
            if visit.bound_m >= self._worst():
                return
            if self.nodes[visit.node].children < 0:
                self._measure_leaf(self.nodes[visit.node].head, x, y, z, earth_m)
            else:
                for k in range(8):
                    self._plan(self.nodes[visit.node].children + k, child_cube(&visit.cube, k), x, y, z)

    cdef inline double _worst(self) noexcept nogil:
        return self.best[self.best_limit - 1].away_m if self.best_used == self.best_limit else self.cut_m

    cdef void _plan(self, int32_t node, Cube cube, double x, double y, double z) noexcept nogil:
        """Puts a node on the heap by how near anything in it can be."""
        cdef double dx, dy, dz, bound_m
        cdef int32_t at, up
        if self.nodes[node].count == 0:
            return
        dx, dy, dz = beyond(x - cube.x, cube.half_m), beyond(y - cube.y, cube.half_m), beyond(z - cube.z, cube.half_m)
        bound_m = sqrt(dx * dx + dy * dy + dz * dz) - self.nodes[node].reach_m
        if bound_m >= self._worst():
            return
        if self.nodes[node].children >= 0:
            GO_PREFETCH(self.nodes + self.nodes[node].children)
            GO_PREFETCH(self.nodes + self.nodes[node].children + 4)
        else:
            GO_PREFETCH(self.next + self.nodes[node].head)
            GO_PREFETCH(self.items + self.nodes[node].head)
        if self.heap_used == self.heap_room:
            self.heap_room *= 2
            self.heap = <Visit*>realloc(self.heap, self.heap_room * sizeof(Visit))
        at = self.heap_used
        self.heap_used += 1
        while at > 0:
            up = (at - 1) >> 1
            if self.heap[up].bound_m <= bound_m:
                break
            self.heap[at] = self.heap[up]
            at = up
        self.heap[at].bound_m, self.heap[at].node, self.heap[at].cube = bound_m, node, cube

    cdef Visit _pop(self) noexcept nogil:
        cdef Visit top = self.heap[0], last
        cdef int32_t at = 0, below
        self.heap_used -= 1
        last = self.heap[self.heap_used]
        while True:
            below = 2 * at + 1
            if below >= self.heap_used:
                break
            if below + 1 < self.heap_used and self.heap[below + 1].bound_m < self.heap[below].bound_m:
                below += 1
            if self.heap[below].bound_m >= last.bound_m:
                break
            self.heap[at] = self.heap[below]
            at = below
        self.heap[at] = last
        return top

    cdef void _measure(self, const Item* item, double x, double y, double z, double earth_m) noexcept nogil:
        """Takes an item among the best if it is one of them; a fence stands there once, with its nearest piece."""
        cdef double dx = x - item.x, dy = y - item.y, dz = z - item.z, worst_m = self._worst(), away_m
        cdef double chord = sqrt(dx * dx + dy * dy + dz * dz)
        cdef int32_t at = self.best_used
        if chord - item.reach_m >= worst_m or item.clear_m - chord >= worst_m:
            self._pass(fmax(chord - item.reach_m, item.clear_m - chord))
            return
        if item.pieces == 0:
            away_m = fabs(arc_m(chord, self._earth_m(item.x, item.y, item.z)) - item.form.radius_m)
        else:
            if item.sibling >= 0 or self.first[item.fence] != item - self.items:
                at = self._standing(item.fence)
            if at < self.best_used:
                worst_m = self.best[at].away_m
                if chord - item.reach_m >= worst_m or item.clear_m - chord >= worst_m:
                    return
            away_m = arc_m(sqrt(chunk_chord2(item.form.ends, item.pieces, dx, dy, dz)), earth_m) - item.stray_m
            away_m = away_m if away_m > 0 else 0.0
        if away_m < worst_m:
            self._place(item.fence, away_m, at)
        elif at == self.best_used:
            self._pass(away_m)

    cdef int32_t _standing(self, int32_t fence) noexcept nogil:
        """Where a fence stands among the best; behind them all where it does not."""
        cdef int32_t at
        for at in range(self.best_used):
            if self.best[at].fence == fence:
                return at
        return self.best_used

    cdef void _place(self, int32_t fence, double away_m, int32_t at) noexcept nogil:
        """Among the best, up from where the fence stands; in a full row a new one takes the place of the last."""
        if at == self.best_limit:
            at -= 1
            self._pass(self.best[at].away_m)
        elif at == self.best_used:
            self.best_used += 1
        while at > 0 and self.best[at - 1].away_m > away_m:
            self.best[at] = self.best[at - 1]
            at -= 1
        self.best[at].away_m, self.best[at].fence = away_m, fence

    cdef inline double _earth_m(self, double x, double y, double z) noexcept nogil:
        """The local radius at a point on the ground, by the sine of its latitude."""
        cdef double up2 = z * z, flat = 1 - self.eccentricity2
        cdef double sin2 = up2 / (up2 + (x * x + y * y) * flat * flat)
        return self.equator_m * sqrt(flat) / (1 - self.eccentricity2 * sin2)
