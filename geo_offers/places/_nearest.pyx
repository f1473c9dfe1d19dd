# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled nearest borders; the same answers as `nearest.PlainNearest`, many times faster.

What is filed are pieces of border in space: a circle as a whole, an area in chunks of some straight pieces each, every
one with a ball around it. They hang in octrees over the Earth, one for each class of size, so that a wide ball loosens
no bound among small ones. A question takes the nodes in the order of how near anything in them can be, and ends where
that is farther than what was found: the cost follows what lies around, not how much there is.

In space there is no pole and no antimeridian, and the straight line is never longer than the way along the ground.
"""

from libc.math cimport asin, cos, fabs, sin, sqrt
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc, realloc

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

cdef double RADIANS = 0.017453292519943295
cdef double HALF_M = 8388608.0  # along each axis all of the Earth is nearer to its centre
cdef double SMALLEST_M = 32.0  # half the side of a node that is not split any more
cdef double[CLASSES] WIDEST_M = [600.0, 6000.0, 60000.0, 1e9]  # the reach of a class's items
cdef double ROUNDED = 1.000001  # more than a float rounds, and the ends' offsets with it

cdef struct Item:
    # A circle: `pieces` is 0. A chunk: its ends, pieces + 1 of them, x, y, z relative to the middle of its ball.
    double x
    double y
    double z
    double radius_m  # of a circle, along the ground
    float reach_m  # no point of the true border is farther from the middle
    float clear_m  # of a chunk: none is nearer to it
    int32_t fence
    int32_t pieces
    int32_t sibling  # of the same fence
    float stray_m
    float* ends

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


cdef double chunk_chord2(const float* ends, int32_t pieces, double x, double y, double z) noexcept nogil:
    """The square of the straight way from a point, relative to the ball's middle, to the nearest of the pieces."""
    cdef double ax = ends[0] - x, ay = ends[1] - y, az = ends[2] - z, bx, by, bz, dx, dy, dz, length2, share, away2
    cdef double nearest2 = ax * ax + ay * ay + az * az
    cdef int32_t k
    for k in range(1, pieces + 1):
        bx, by, bz = ends[3 * k] - x, ends[3 * k + 1] - y, ends[3 * k + 2] - z
        dx, dy, dz = bx - ax, by - ay, bz - az
        length2 = dx * dx + dy * dy + dz * dz
        share = -(ax * dx + ay * dy + az * dz) / length2  # without a branch: a wrong guess costs more than all of this
        share = share if share > 0 else 0.0
        share = share if share < 1 else 1.0
        dx, dy, dz = ax + share * dx, ay + share * dy, az + share * dz
        away2 = dx * dx + dy * dy + dz * dz
        nearest2 = away2 if away2 < nearest2 else nearest2
        ax, ay, az = bx, by, bz
    return nearest2


cdef class Borders:
    """Borders of fences by number. Not safe for use by several threads at once."""

    cdef double equator_m, eccentricity2
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

    def __cinit__(self, double equator_m, double eccentricity2):
        cdef int32_t k
        self.equator_m, self.eccentricity2 = equator_m, eccentricity2
        self.items_room, self.first_room, self.heap_room, self.best_room, self.nodes_room = 64, 64, 256, 32, 64
        self.items = <Item*>malloc(self.items_room * sizeof(Item))
        self.next = <int32_t*>malloc(self.items_room * sizeof(int32_t))
        self.nodes = <Node*>malloc(self.nodes_room * sizeof(Node))
        self.first = <int32_t*>malloc(self.first_room * sizeof(int32_t))
        self.heap = <Visit*>malloc(self.heap_room * sizeof(Visit))
        self.best = <Found*>malloc(self.best_room * sizeof(Found))
        self.items_spare = self.nodes_spare = -1
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
                free(self.items[item].ends)
                item = self.items[item].sibling
        free(self.items)
        free(self.next)
        free(self.nodes)
        free(self.first)
        free(self.heap)
        free(self.best)

    # ------------------------------------------------------------------------------------------ changes
    def put_circle(self, int32_t number, double x, double y, double z, double radius_m):
        """File a circle under a number that is free: its middle in space, its radius along the ground."""
        cdef int32_t at = self._new_item(number)
        cdef Item* item = self.items + at
        item.x, item.y, item.z, item.radius_m = x, y, z, radius_m
        item.reach_m = <float>(radius_m * ROUNDED)
        self._insert(at)

    def put_area(self, int32_t number, const double[:, ::1] ends, const int32_t[::1] ring, double stray_m):
        """File an area: the ends of its border's pieces in space, shape (n, 3), each ring's one after another.

        ring: which ring each end is of, shape (n,). stray_m: how far the true border may be from the pieces.
        """
        cdef int32_t start = 0, stop, count = <int32_t>ends.shape[0]
        self._reserve(number)  # for a border without pieces, of which there is none
        while start < count - 1:
            stop = start
            while stop + 1 < count and stop - start < PIECES and ring[stop + 1] == ring[start]:
                stop += 1
            if stop > start:
                self._put_chunk(number, ends, start, stop, stray_m)
            start = stop if stop > start and stop + 1 < count and ring[stop + 1] == ring[start] else stop + 1

    cdef void _put_chunk(
        self, int32_t number, const double[:, ::1] ends, int32_t start, int32_t stop, double stray_m
    ) noexcept:
        cdef int32_t at = self._new_item(number), k, axis
        cdef Item* item = self.items + at
        cdef double[3] low, high
        cdef double dx, dy, dz, away2, reach2 = 0
        for axis in range(3):
            low[axis] = high[axis] = ends[start, axis]
            for k in range(start + 1, stop + 1):
                low[axis] = min(low[axis], ends[k, axis])
                high[axis] = max(high[axis], ends[k, axis])
        item.x, item.y, item.z = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2
        item.pieces = stop - start
        item.ends = <float*>malloc((item.pieces + 1) * 3 * sizeof(float))
        for k in range(start, stop + 1):
            dx, dy, dz = ends[k, 0] - item.x, ends[k, 1] - item.y, ends[k, 2] - item.z
            item.ends[3 * (k - start)], item.ends[3 * (k - start) + 1] = <float>dx, <float>dy
            item.ends[3 * (k - start) + 2] = <float>dz
            away2 = dx * dx + dy * dy + dz * dz
            if away2 > reach2:
                reach2 = away2
        item.stray_m = <float>(stray_m * ROUNDED)
        item.reach_m = <float>((sqrt(reach2) + stray_m) * ROUNDED)
        item.clear_m = <float>((sqrt(chunk_chord2(item.ends, item.pieces, 0, 0, 0)) - stray_m) / ROUNDED)
        self._insert(at)

    def remove(self, int32_t number):
        """Take a fence out; one that is not there is none."""
        cdef int32_t at = self.first[number] if number < self.first_room else -1, sibling
        while at >= 0:
            self._take_out(at)
            sibling = self.items[at].sibling
            free(self.items[at].ends)
            self.next[at] = self.items_spare
            self.items_spare = at
            at = sibling
        if number < self.first_room:
            self.first[number] = -1

    cdef void _reserve(self, int32_t number) noexcept:
        cdef int32_t k
        if number >= self.first_room:
            k = self.first_room
            self.first_room = 2 * number
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
        self.items[at].fence, self.items[at].pieces, self.items[at].ends = number, 0, NULL
        self.items[at].stray_m = 0
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
        cdef double phi = lat * RADIANS, lam = lon * RADIANS, sin_phi = sin(phi), across = cos(phi)
        cdef double shrink = 1 - self.eccentricity2 * sin_phi * sin_phi, normal_m = self.equator_m / sqrt(shrink)
        cdef double x = normal_m * across * cos(lam), y = normal_m * across * sin(lam)
        cdef double z = normal_m * (1 - self.eccentricity2) * sin_phi
        cdef double earth_m = self.equator_m * sqrt(1 - self.eccentricity2) / shrink
        cdef int32_t k
        if limit < 1:
            return []
        if limit > self.best_room:
            self.best_room = limit
            self.best = <Found*>realloc(self.best, limit * sizeof(Found))
        self.best_used, self.best_limit = 0, limit
        self._search(x, y, z, earth_m)
        return [(self.best[k].fence, self.best[k].away_m) for k in range(self.best_used)]

    cdef void _search(self, double x, double y, double z, double earth_m) noexcept nogil:
        cdef Visit visit
        cdef Cube cube
        cdef int32_t k, at
        cube.x, cube.y, cube.z, cube.half_m = 0, 0, 0, HALF_M
        self.heap_used = 0
        for k in range(CLASSES):
            self._plan(k, cube, x, y, z)
        while self.heap_used:
            visit = self._pop()
            if visit.bound_m >= self._worst():
                return
            if self.nodes[visit.node].children < 0:
                at = self.nodes[visit.node].head
                while at >= 0:
                    GO_PREFETCH(self.items + at)
                    at = self.next[at]
                at = self.nodes[visit.node].head
                while at >= 0:
                    self._measure(self.items + at, x, y, z, earth_m)
                    at = self.next[at]
            else:
                for k in range(8):
                    self._plan(self.nodes[visit.node].children + k, child_cube(&visit.cube, k), x, y, z)

    cdef inline double _worst(self) noexcept nogil:
        return self.best[self.best_limit - 1].away_m if self.best_used == self.best_limit else 1e300

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
        cdef double dx = x - item.x, dy = y - item.y, dz = z - item.z, away_m
        cdef double chord = sqrt(dx * dx + dy * dy + dz * dz)
        if item.pieces == 0:
            away_m = fabs(arc_m(chord, self._earth_m(item)) - item.radius_m)
        elif chord - item.reach_m >= self._worst() or item.clear_m - chord >= self._worst():
            return
        else:
            away_m = arc_m(sqrt(chunk_chord2(item.ends, item.pieces, dx, dy, dz)), earth_m) - item.stray_m
            away_m = away_m if away_m > 0 else 0.0
        self._offer(item, away_m)

    cdef inline double _earth_m(self, const Item* item) noexcept nogil:
        """The local radius at the middle of a circle, by the sine of its latitude."""
        cdef double up2 = item.z * item.z, flat = 1 - self.eccentricity2
        cdef double sin2 = up2 / (up2 + (item.x * item.x + item.y * item.y) * flat * flat)
        return self.equator_m * sqrt(flat) / (1 - self.eccentricity2 * sin2)

    cdef void _offer(self, const Item* item, double away_m) noexcept nogil:
        """Among the best, if it is one of them; a fence stands there once, with its nearest piece."""
        cdef int32_t at, k
        if away_m >= self._worst():
            return
        at = self.best_used
        if item.sibling >= 0 or self.first[item.fence] != item - self.items:
            for k in range(self.best_used):
                if self.best[k].fence == item.fence:
                    at = k
                    break
        if at < self.best_used:
            if self.best[at].away_m <= away_m:
                return
        elif self.best_used < self.best_limit:
            self.best_used += 1
        else:
            at -= 1
        while at > 0 and self.best[at - 1].away_m > away_m:
            self.best[at] = self.best[at - 1]
            at -= 1
        self.best[at].away_m, self.best[at].fence = away_m, item.fence
