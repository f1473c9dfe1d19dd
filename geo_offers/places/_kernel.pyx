# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled table: fences filed under places, by number; the same answers as `plain.py`, many times faster.

A cell is an H3 cell, named by the face of the icosahedron that a point lies on and its hexagon's axial coordinates on
that face's lattice (`lattice.py`), which a point's direction gives with two dot products and a rounding: no library
call, no trigonometry beyond the direction itself. Near the edge of a face one hexagon may have a name on either face;
a point has one face, so a cover files a fence under both.

All arrays are C's own. Places stand in a hash table of segments that are made anew one by one as they fill (extendible
hashing: Fagin et al., 1979), so that no change waits for all of it. An entry is a fence's number times two, plus one
where the place lies wholly inside the fence. A place with one entry, as most are, holds it itself; several stand
together in `pool`, in a room of the next power of two, and rooms that fall free are used again.
"""

import numpy as np

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport NAN, asin, atan2, ceil, cos, fabs, sin, sqrt
from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

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
    FACES = 20
    BLOCK = 64
    SEGMENT = 4096  # places

cdef double RADIANS = 0.017453292519943295
cdef double DEGREES = 57.29577951308232
cdef double ROUND = 6755399441055744.0  # 1.5 * 2 ** 52: adding and taking it away rounds to the nearest whole number
cdef double GROWTH = 1.02  # of a cell's circle: rounding, and edges that are straight on another map
cdef double ALIKE = 0.002
cdef double QUARTER_TURN = 1.5707963267948966
cdef double POLAR_LAT = 85.0
cdef double DEGREE_M = 110574.0  # of latitude, at the least
cdef double EARTH_M = 6300000.0  # less than any radius of the Earth
cdef uint64_t WHOLE = <uint64_t>1 << 63
cdef int64_t OFFSET = 0x400000
cdef double BAND_M = 0.01  # so near to a border it is exact arithmetic that tells
cdef double SLACK_DEG = 1e-10  # a hundredth of a millimetre, and far more than doubles lose in a degree
cdef double WEST_DEG = 179.9
cdef double STEPS_A_CELL = 20.0
cdef double LONG_WAY_M = 1600.0
cdef double STRAY_M = 0.01  # as in borders.py: how far an edge may stray from the straight line between its ends
cdef int32_t MOST_PIECES = 64  # of an edge that strays
cdef double CURVATURE_M = 6399594.0 * 1.001  # the largest radius of a curve on the ground, as there

cdef double EQUATOR_M, ECCENTRICITY2
cdef uint64_t CHANGES = 0  # of all tables
cdef double SURE  # the cosine of the radius of the circle inside a face
cdef Vector MIDDLE[FACES]
# Of each level and face: what a direction is multiplied with to get q and r, and a step of q and r on the face's plane.
cdef Vector Q[2][FACES]
cdef Vector R[2][FACES]
cdef Vector STEP_Q[2][FACES]
cdef Vector STEP_R[2][FACES]


cdef Vector _vector(double[::1] xyz):
    cdef Vector v
    v.x, v.y, v.z = xyz[0], xyz[1], xyz[2]
    return v


def set_up(middles, q, r, step_q, step_r, double sure, double equator_m, double eccentricity2):
    """Take the lattices: middles (20, 3); the others (levels, 20, 3)."""
    global EQUATOR_M, ECCENTRICITY2, SURE
    cdef int face, level
    EQUATOR_M, ECCENTRICITY2, SURE = equator_m, eccentricity2, sure
    for face in range(FACES):
        MIDDLE[face] = _vector(middles[face])
        for level in range(2):
            Q[level][face], R[level][face] = _vector(q[level, face]), _vector(r[level, face])
            STEP_Q[level][face] = _vector(step_q[level, face])
            STEP_R[level][face] = _vector(step_r[level, face])


# ---------------------------------------------------------------------------------------------- places
cdef inline double dot(Vector a, Vector b) noexcept nogil:
    return a.x * b.x + a.y * b.y + a.z * b.z


cdef inline double distance(Vector a, Vector b) noexcept nogil:
    return sqrt((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y) + (a.z - b.z) * (a.z - b.z))


cdef inline double radius_m(Vector ground) noexcept nogil:
    """The local radius at a point on the ground, as `earth.local_radius_m`."""
    cdef double up2 = ground.z * ground.z, flat = 1 - ECCENTRICITY2
    cdef double sin2 = up2 / (up2 + (ground.x * ground.x + ground.y * ground.y) * flat * flat)
    return EQUATOR_M * sqrt(flat) / (1 - ECCENTRICITY2 * sin2)


cdef inline double arc_m(double chord, double earth_m) noexcept nogil:
    cdef double share = chord / (2 * earth_m)
    return 2 * earth_m * asin(share if share < 1 else 1)


cdef inline Vector direction(double lat, double lon) noexcept nogil:
    cdef Vector v
    cdef double phi = lat * RADIANS, lam = lon * RADIANS, across = cos(phi)
    v.x, v.y, v.z = across * cos(lam), across * sin(lam), sin(phi)
    return v


cdef inline Vector on_ground(Vector v) noexcept nogil:
    """The point of WGS 84, earth-centred, whose vertical is this direction; metres."""
    cdef Vector p
    cdef double normal_m = EQUATOR_M / sqrt(1 - ECCENTRICITY2 * v.z * v.z)
    p.x, p.y, p.z = normal_m * v.x, normal_m * v.y, normal_m * (1 - ECCENTRICITY2) * v.z
    return p


cdef inline int face_of(Vector v, int hint) noexcept nogil:
    """The face whose middle is nearest; at once where that is sure of the hint."""
    cdef int face, best = hint
    cdef double nearest = dot(v, MIDDLE[hint]), near
    if nearest >= SURE:
        return hint
    for face in range(FACES):
        near = dot(v, MIDDLE[face])
        if near > nearest:
            nearest, best = near, face
    return best


cdef inline uint64_t cell_name(int level, int face, int64_t q, int64_t r) noexcept nogil:
    return (
        (<uint64_t>(level + 1) << 56) | (<uint64_t>face << 48)
        | (<uint64_t>(q + OFFSET) << 24) | <uint64_t>(r + OFFSET)
    )


cdef inline int level_of(uint64_t cell) noexcept nogil:
    return <int>((cell >> 56) & 0x7F) - 1


cdef inline int cell_face(uint64_t cell) noexcept nogil:
    return <int>((cell >> 48) & 0xFF)


cdef inline int64_t cell_q(uint64_t cell) noexcept nogil:
    return <int64_t>((cell >> 24) & 0xFFFFFF) - OFFSET


cdef inline int64_t cell_r(uint64_t cell) noexcept nogil:
    return <int64_t>(cell & 0xFFFFFF) - OFFSET


cdef inline uint64_t cell_at(int level, int face, Vector v) noexcept nogil:
    """The hexagon of the face's lattice that holds the direction."""
    cdef double q, r
    axial(level, face, v, &q, &r)
    return rounded(level, face, q, r)


cdef inline void axial(int level, int face, Vector v, double* q, double* r) noexcept nogil:
    cdef double scale = 1.0 / dot(v, MIDDLE[face])
    q[0], r[0] = dot(v, Q[level][face]) * scale, dot(v, R[level][face]) * scale


cdef inline uint64_t rounded(int level, int face, double q, double r) noexcept nogil:
    """The hexagon whose middle is nearest, by rounding three axes."""
    cdef double s = -q - r
    cdef double whole_q = (q + ROUND) - ROUND, whole_r = (r + ROUND) - ROUND, whole_s = (s + ROUND) - ROUND
    cdef double off_q = fabs(whole_q - q), off_r = fabs(whole_r - r), off_s = fabs(whole_s - s)
    if off_q > off_r and off_q > off_s:
        whole_q = -whole_r - whole_s
    elif off_r > off_s:
        whole_r = -whole_q - whole_s
    return cell_name(level, face, <int64_t>whole_q, <int64_t>whole_r)


cdef inline Vector lattice_point(int level, int face, double q, double r) noexcept nogil:
    cdef Vector n = MIDDLE[face], a = STEP_Q[level][face], b = STEP_R[level][face], v
    cdef double length
    v.x, v.y, v.z = n.x + q * a.x + r * b.x, n.y + q * a.y + r * b.y, n.z + q * a.z + r * b.z
    length = sqrt(dot(v, v))
    v.x, v.y, v.z = v.x / length, v.y / length, v.z / length
    return v


cdef inline Vector cell_middle(uint64_t cell) noexcept nogil:
    return lattice_point(level_of(cell), cell_face(cell), <double>cell_q(cell), <double>cell_r(cell))


cdef double cell_radius_m(uint64_t cell, Vector middle) noexcept nogil:
    """Metres from a cell's middle, along the straight line, within which all of it lies."""
    cdef double[6] dq = [2.0 / 3, 1.0 / 3, -1.0 / 3, -2.0 / 3, -1.0 / 3, 1.0 / 3]
    cdef double[6] dr = [-1.0 / 3, 1.0 / 3, 2.0 / 3, 1.0 / 3, -1.0 / 3, -2.0 / 3]
    cdef int level = level_of(cell), face = cell_face(cell), corner
    cdef double q = <double>cell_q(cell), r = <double>cell_r(cell), away_m, radius_m = 0
    cdef Vector centre = on_ground(middle)
    for corner in range(6):
        away_m = distance(centre, on_ground(lattice_point(level, face, q + dq[corner], r + dr[corner])))
        if away_m > radius_m:
            radius_m = away_m
    return radius_m * GROWTH


cdef inline bint is_like(uint64_t cell, uint64_t other) noexcept nogil:
    """Whether two cells are so near that their radii differ by less than `ALIKE`: no more than 4 km on one face."""
    cdef int64_t steps = 1 if level_of(cell) else 16
    return (
        (cell ^ other) >> 48 == 0
        and -steps <= cell_q(cell) - cell_q(other) <= steps
        and -steps <= cell_r(cell) - cell_r(other) <= steps
    )


# ---------------------------------------------------------------------------------------------- shapes
cdef inline int holds(const Shape* shape, double lat, double lon, Vector ground) noexcept nogil:
    """1 inside, 0 outside, -1 where doubles cannot tell: on the border, or so near that rounding decides."""
    cdef double dx, dy, dz
    if shape.chord2_m2 >= 0:
        dx, dy, dz = ground.x - shape.centre.x, ground.y - shape.centre.y, ground.z - shape.centre.z
        return dx * dx + dy * dy + dz * dz <= shape.chord2_m2
    if fabs(lon) >= 180:  # one meridian, two names
        return -1
    return area_holds(shape.border, shape.points, lon, lat)


cdef int area_holds(const double* border, int32_t points, double x, double y) noexcept nogil:
    """Counts the edges east of the point. The error bound is Shewchuk's, doubled (Adaptive Precision, 1997)."""
    cdef int32_t k
    cdef int inside = 0
    cdef double ax = border[0], ay = border[1], bx, by, left, right, turn
    for k in range(1, points):
        bx, by = border[2 * k], border[2 * k + 1]
        if (ay <= y and by >= y) or (ay >= y and by <= y):
            if ax < x and bx < x:
                pass
            elif ax > x and bx > x:
                inside ^= (ay > y) != (by > y)
            else:
                left, right = (bx - ax) * (y - ay), (by - ay) * (x - ax)
                turn = left - right
                if fabs(turn) <= 7e-16 * (fabs(left) + fabs(right)):
                    return -1
                if (ay > y) != (by > y):
                    inside ^= (turn > 0) == (by > ay)
        ax, ay = bx, by
    return inside


cdef inline double short_way(double lon, double lon0) noexcept nogil:
    """From lon0 to lon by the short way round; NaN stays NaN."""
    cdef double way = lon - lon0
    if way > 180:
        return way - 360
    if way < -180:
        return way + 360
    return way


cdef int touch(const Shape* shape, Vector middle, double radius_m) noexcept nogil:
    """How a cell, by the circle around it, meets a shape: 0 not at all, 1 maybe, 2 it lies wholly inside."""
    cdef double away_m, reach_m
    if shape.chord2_m2 >= 0:
        away_m, reach_m = distance(on_ground(middle), shape.centre), sqrt(shape.chord2_m2)
        if away_m + radius_m <= reach_m:
            return 2
        return away_m <= reach_m + radius_m
    return area_touch(shape, middle, radius_m)


cdef int area_touch(const Shape* shape, Vector middle, double radius_m) noexcept nogil:
    """On a plane about the cell's middle, where no distance up to the radius comes out too long."""
    cdef double lat = asin(middle.z) * DEGREES, lon = atan2(middle.y, middle.x) * DEGREES
    cdef double across = sqrt(1 - middle.z * middle.z), nearest = 1e100, near, along, length2, x, y, dx, dy
    cdef double ax = short_way(shape.border[0], lon), ay = shape.border[1] - lat, bx, by
    cdef int32_t k
    cdef int inside = 0
    for k in range(1, shape.points):
        bx, by = short_way(shape.border[2 * k], lon), shape.border[2 * k + 1] - lat
        if ax == ax and bx == bx:
            if (ay > 0) != (by > 0) and ax - ay * (bx - ax) / (by - ay) > 0:
                inside ^= 1
            x, y, dx, dy = ax * across, ay, (bx - ax) * across, by - ay
            length2, along = dx * dx + dy * dy, -(x * dx + y * dy)
            if 0 < along < length2:
                near = (x * dy - y * dx) * (x * dy - y * dx)
                near = near / length2 if near < nearest * length2 else nearest
            else:
                x, y = (x, y) if along <= 0 else (x + dx, y + dy)
                near = x * x + y * y
            if near < nearest:
                nearest = near
        ax, ay = bx, by
    if sqrt(nearest) * DEGREE_M <= radius_m:
        return 1
    return 2 if inside else 0


cdef inline double edge_stray_m(const double* edge, Vector start, Vector end) noexcept nogil:
    """How far an edge (lon, lat, lon, lat in degrees) strays from the straight line, at most: see `borders._strays_m`."""
    cdef double a = fabs(edge[3] - edge[1]) * RADIANS, b = fabs(edge[2] - edge[0]) * RADIANS
    cdef double steepest = max(fabs(start.z), fabs(end.z)) / EARTH_M
    cdef double widest = 1 if start.z * end.z <= 0 else sqrt(
        max(start.x * start.x + start.y * start.y, end.x * end.x + end.y * end.y)
    ) / EARTH_M
    return CURVATURE_M * (a * a + 2 * a * b * steepest + b * b * widest) / 8


cdef double area_away_m(const Shape* shape, Vector point) noexcept nogil:
    """Metres from a point on the ground to the nearest edge, as a straight line; less than 0 where that is not told."""
    cdef const double* border = shape.border
    cdef double nearest2 = 1e300, stray_m
    cdef Vector a = on_ground(direction(border[1], border[0])), b, c
    cdef int32_t k, piece, pieces
    for k in range(1, shape.points):
        if not (fabs(border[2 * k]) < 180):  # also of the gap between two rings
            if border[2 * k] == border[2 * k]:
                return -1
            if k + 1 < shape.points:
                a = on_ground(direction(border[2 * k + 3], border[2 * k + 2]))
            continue
        if not (fabs(border[2 * k - 2]) < 180):
            continue
        b = on_ground(direction(border[2 * k + 1], border[2 * k]))
        stray_m = edge_stray_m(border + 2 * k - 2, a, b)
        if stray_m > STRAY_M:
            pieces = <int32_t>ceil(sqrt(stray_m / STRAY_M))
            if pieces > MOST_PIECES:
                return -1
            for piece in range(1, pieces):
                c = on_ground(direction(
                    border[2 * k - 1] + piece * (border[2 * k + 1] - border[2 * k - 1]) / pieces,
                    border[2 * k - 2] + piece * (border[2 * k] - border[2 * k - 2]) / pieces,
                ))
                nearest2 = min(nearest2, piece_away2(a, c, point))
                a = c
        nearest2 = min(nearest2, piece_away2(a, b, point))
        a = b
    return sqrt(nearest2)


cdef inline double piece_away2(Vector a, Vector b, Vector point) noexcept nogil:
    """Square of the metres from a point to the straight piece from a to b."""
    cdef double dx = b.x - a.x, dy = b.y - a.y, dz = b.z - a.z
    cdef double px = point.x - a.x, py = point.y - a.y, pz = point.z - a.z
    cdef double length2 = dx * dx + dy * dy + dz * dz
    cdef double share = 0 if length2 == 0 else (px * dx + py * dy + pz * dz) / length2
    share = 0 if share < 0 else 1 if share > 1 else share
    px, py, pz = px - share * dx, py - share * dy, pz - share * dz
    return px * px + py * py + pz * pz


# ---------------------------------------------------------------------------------------------- ways
cdef bint may_touch(const Shape* shape, const Way* way) noexcept nogil:
    """Whether a short way may touch the shape, were it only in passing; False is certain."""
    cdef double reach_m
    if shape.chord2_m2 < 0:
        return area_may_touch(shape.border, shape.points, way)
    reach_m = sqrt(shape.chord2_m2) + way.stray_m
    return centre_away2(shape, way) <= reach_m * reach_m


cdef inline double centre_away2(const Shape* shape, const Way* way) noexcept nogil:
    """Square of the metres from a circle's centre to the straight line between the ends of a way."""
    cdef double dx = way.end.x - way.start.x, dy = way.end.y - way.start.y, dz = way.end.z - way.start.z
    cdef double px = shape.centre.x - way.start.x, py = shape.centre.y - way.start.y, pz = shape.centre.z - way.start.z
    cdef double length2 = dx * dx + dy * dy + dz * dz
    cdef double share = 0 if length2 == 0 else (px * dx + py * dy + pz * dz) / length2
    share = 0 if share < 0 else 1 if share > 1 else share
    px, py, pz = px - share * dx, py - share * dy, pz - share * dz
    return px * px + py * py + pz * pz


cdef bint area_may_touch(const double* border, int32_t points, const Way* way) noexcept nogil:
    """Whether an edge may meet the way: one that has its ends on both sides of it, and it on both of its own.

    Where no edge does, both ends are inside or both outside, and nothing between them is otherwise.
    """
    cdef double x0 = way.lon0, y0 = way.lat0, x1 = way.lon1, y1 = way.lat1
    cdef double west = min(x0, x1) - SLACK_DEG, east = max(x0, x1) + SLACK_DEG
    cdef double south = min(y0, y1) - SLACK_DEG, north = max(y0, y1) + SLACK_DEG
    cdef double ax = border[0], ay = border[1], bx, by
    cdef int32_t k
    for k in range(1, points):
        bx, by = border[2 * k], border[2 * k + 1]
        if (
            not (ax < west and bx < west) and not (ax > east and bx > east)
            and not (ay < south and by < south) and not (ay > north and by > north)
            and ax == ax and bx == bx
            and not apart(x0, y0, x1, y1, ax, ay, bx, by) and not apart(ax, ay, bx, by, x0, y0, x1, y1)
        ):
            return True
        ax, ay = bx, by
    return False


cdef bint surely_touches(const Shape* shape, const Way* way) noexcept nogil:
    """Whether a short way with its ends outside runs through the shape; True is certain."""
    cdef const double* border = shape.border
    cdef double x0 = way.lon0, y0 = way.lat0, x1 = way.lon1, y1 = way.lat1, reach_m
    cdef int32_t k
    if shape.chord2_m2 >= 0:
        reach_m = sqrt(shape.chord2_m2) - way.stray_m - BAND_M
        return reach_m > 0 and centre_away2(shape, way) < reach_m * reach_m
    for k in range(1, shape.points):
        if (
            border[2 * k] == border[2 * k] and border[2 * k - 2] == border[2 * k - 2]
            and cuts(x0, y0, x1, y1, border[2 * k - 2], border[2 * k - 1], border[2 * k], border[2 * k + 1])
            and cuts(border[2 * k - 2], border[2 * k - 1], border[2 * k], border[2 * k + 1], x0, y0, x1, y1)
        ):
            return True
    return False


cdef inline bint cuts(
    double x0, double y0, double x1, double y1, double ax, double ay, double bx, double by
) noexcept nogil:
    """Whether a and b lie for certain on two sides of the line through 0 and 1."""
    cdef double dx = x1 - x0, dy = y1 - y0
    cdef double left = dx * (ay - y0) - dy * (ax - x0), right = dx * (by - y0) - dy * (bx - x0)
    cdef double doubt = SLACK_DEG * (fabs(dx) + fabs(dy))
    return (left > doubt and right < -doubt) or (left < -doubt and right > doubt)


cdef inline bint apart(
    double x0, double y0, double x1, double y1, double ax, double ay, double bx, double by
) noexcept nogil:
    """Whether a and b lie for certain on one side of the line through 0 and 1."""
    cdef double dx = x1 - x0, dy = y1 - y0
    cdef double left = dx * (ay - y0) - dy * (ax - x0), right = dx * (by - y0) - dy * (bx - x0)
    cdef double doubt = SLACK_DEG * (fabs(dx) + fabs(dy))
    return (left > doubt and right > doubt) or (left < -doubt and right < -doubt)


# ---------------------------------------------------------------------------------------------- covers
cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """Spreads names over the table: a multiplication by the golden ratio, folded."""
    x = (x ^ (x >> 31)) * <uint64_t>0x9E3779B97F4A7C15
    return x ^ (x >> 32)


cdef struct Names:
    # A set of names in the order in which they came.
    uint64_t* table
    uint64_t mask
    uint64_t* order
    int64_t count


cdef void names_open(Names* names) noexcept nogil:
    names.mask, names.count = 127, 0
    names.table = <uint64_t*>calloc(128, sizeof(uint64_t))
    names.order = <uint64_t*>malloc(128 * sizeof(uint64_t))


cdef void names_close(Names* names) noexcept nogil:
    free(names.table)
    free(names.order)


cdef void names_add(Names* names, uint64_t name) noexcept nogil:
    cdef uint64_t at = mix(name) & names.mask, room
    cdef int64_t k
    while names.table[at]:
        if names.table[at] == name:
            return
        at = (at + 1) & names.mask
    names.table[at] = name
    names.order[names.count] = name
    names.count += 1
    if 2 * <uint64_t>names.count > names.mask:
        room = 2 * (names.mask + 1)
        free(names.table)
        names.mask = room - 1
        names.table = <uint64_t*>calloc(room, sizeof(uint64_t))
        names.order = <uint64_t*>realloc(names.order, room * sizeof(uint64_t))
        for k in range(names.count):
            at = mix(names.order[k]) & names.mask
            while names.table[at]:
                at = (at + 1) & names.mask
            names.table[at] = names.order[k]


cdef void add_disk(Names* names, int level, int face, Vector v, int64_t steps) noexcept nogil:
    """The cell of this face's lattice at a direction, and those up to so many steps about it."""
    cdef uint64_t cell = cell_at(level, face, v)
    cdef int64_t q = cell_q(cell), r = cell_r(cell), dq, dr
    for dq in range(-steps, steps + 1):
        for dr in range(-steps, steps + 1):
            if -steps <= dq + dr <= steps:
                names_add(names, cell_name(level, face, q + dq, r + dr))


cdef int64_t flood(
    const Shape* shape, int level, const double* seeds, int64_t n_seeds, int64_t most, uint64_t** found
) noexcept nogil:
    """All cells that the shape may touch, from the seeds (lat, lon) on; -1 where they are more than `most`.

    The cells of one face that truly meet a connected part hang together, or are reached over the edge of a face: a cell
    near another face leads to all cells of that face which could hold a point of this one. A cell of which no point is
    looked up on its face is left out.
    """
    cdef Names seen
    cdef int64_t k = 0, count = 0, room = 64
    cdef int face, other, met
    cdef Vector v
    cdef double radius_m = 0, margin, nearest
    cdef double near[FACES]
    cdef uint64_t measured = 0
    cdef bint inland  # so far from the face's edges that no other face is as near
    names_open(&seen)
    found[0] = <uint64_t*>malloc(room * sizeof(uint64_t))
    for k in range(n_seeds):
        v = direction(seeds[2 * k], seeds[2 * k + 1])
        add_disk(&seen, level, face_of(v, 0), v, 0)
    k = 0
    while k < seen.count:
        v = cell_middle(seen.order[k])
        if k == 0 or not is_like(seen.order[k], measured):
            measured = seen.order[k]
            radius_m = cell_radius_m(measured, v) * (1 + ALIKE)
        met = touch(shape, v, radius_m)
        k += 1
        if not met:
            continue
        face, nearest, margin = cell_face(seen.order[k - 1]), -2, 2 * radius_m / EARTH_M
        inland = dot(v, MIDDLE[face]) > SURE + margin
        for other in range(0 if inland else FACES):
            near[other] = dot(v, MIDDLE[other])
            if near[other] > nearest:
                nearest = near[other]
        if not inland and nearest - near[face] > margin:
            continue
        if count == most:
            count = -1
            break
        if count == room:
            room *= 2
            found[0] = <uint64_t*>realloc(found[0], room * sizeof(uint64_t))
        found[0][count] = seen.order[k - 1] | (WHOLE if met == 2 else 0)
        count += 1
        add_disk(&seen, level, face, v, 1)
        for other in range(0 if inland else FACES):
            if other != face and nearest - near[other] <= margin:
                add_disk(&seen, level, other, v, 3)
    names_close(&seen)
    return count


cdef void fill(Shape* shape, bytes outline) noexcept:
    """The shape of an outline, as `outline.py` has it. A circle's centre and chord as `geometry.Circle` computes them."""
    cdef const double* numbers = <const double*>PyBytes_AS_STRING(outline)
    cdef double phi, lam, sin_phi, across_m, normal_m, earth_m, half
    memset(shape, 0, sizeof(Shape))
    if PyBytes_GET_SIZE(outline) != 3 * sizeof(double):
        shape.chord2_m2 = -1
        shape.points = <int32_t>(PyBytes_GET_SIZE(outline) // (2 * sizeof(double)))
        shape.border = <double*>numbers
        return
    phi, lam = numbers[0] * RADIANS, numbers[1] * RADIANS
    sin_phi = sin(phi)
    normal_m = EQUATOR_M / sqrt(1 - ECCENTRICITY2 * sin_phi * sin_phi)
    across_m = normal_m * cos(phi)
    shape.centre.x, shape.centre.y = across_m * cos(lam), across_m * sin(lam)
    shape.centre.z = normal_m * (1 - ECCENTRICITY2) * sin_phi
    earth_m = EQUATOR_M * sqrt(1 - ECCENTRICITY2) / (1 - ECCENTRICITY2 * sin_phi * sin_phi)
    half = numbers[2] / (2 * earth_m)
    shape.chord2_m2 = 2 * earth_m * sin(half if half < QUARTER_TURN else QUARTER_TURN)
    shape.chord2_m2 *= shape.chord2_m2


cdef bytes flooded(const Shape* shape, int level, const double* seeds, int64_t n_seeds, int64_t most):
    cdef int64_t count
    cdef uint64_t* found = NULL
    with nogil:
        count = flood(shape, level, seeds, n_seeds, most, &found)
    names = PyBytes_FromStringAndSize(<char*>found, count * sizeof(uint64_t)) if count >= 0 else None
    free(found)
    return names


def cells_of(bytes outline, int level, const double[::1] seeds, int64_t most):
    """The cells of a shape at a level as an array of names, marked with the top bit where they lie wholly inside.

    None where there are more than `most`. outline: as in `outline.py`. seeds: a lat, lon inside each part, one after
    another. Other threads may run meanwhile.
    """
    cdef Shape shape
    fill(&shape, outline)
    return flooded(&shape, level, &seeds[0], seeds.shape[0] // 2, most)


def plain_cells_of(bytes outline, double fine_m2, double coarse_m2, int64_t most_fine, int64_t most_coarse):
    """`cells_of` at the level that suits, for what most fences are: a circle or a single ring, neither huge nor polar.

    None for others. The areas of a cell, and how many a fence may have by its box, decide the level.
    """
    cdef Shape shape
    cdef int level
    cdef int32_t k
    cdef double[2] seed
    cdef double x, y, west = 1e9, east = -1e9, south = 1e9, north = -1e9, box_m2
    cdef const double* numbers = <const double*>PyBytes_AS_STRING(outline)
    fill(&shape, outline)
    if shape.chord2_m2 >= 0:
        seed[0], seed[1], box_m2 = numbers[0], numbers[1], 4.1 * numbers[2] * numbers[2]
        north = fabs(seed[0]) + numbers[2] / DEGREE_M
    else:
        seed[0], seed[1] = numbers[1], numbers[0]
        for k in range(shape.points):
            x, y = numbers[2 * k], numbers[2 * k + 1]
            if x != x:
                return None
            west, east, south, north = min(west, x), max(east, x), min(south, y), max(north, y)
        box_m2 = (east - west) * (north - south) * cos((south + north) / 2 * RADIANS) * (EQUATOR_M * RADIANS) ** 2
        north = max(fabs(south), fabs(north))
    level = 0 if box_m2 <= fine_m2 * most_fine else 1
    if north > POLAR_LAT or box_m2 > coarse_m2 * most_coarse:
        return None
    return flooded(&shape, level, seed, 1, 2 * (most_coarse if level else most_fine))


# ---------------------------------------------------------------------------------------------- the table
cdef int32_t keep_places(Filed* one, const uint64_t* names, int32_t count) noexcept:
    """Takes down where a fence is filed; how many places that are."""
    cdef int32_t k
    cdef int64_t dq, dr
    cdef int8_t* steps
    one.count = count
    for k in range(1, count):
        dq, dr = cell_q(names[k]) - cell_q(names[0]), cell_r(names[k]) - cell_r(names[0])
        if ((names[k] ^ names[0]) & ~WHOLE) >> 48 or not (-128 <= dq < 128 and -128 <= dr < 128):
            break
    else:
        one.count = -count
    if one.count >= 0:
        one.places = <uint64_t*>malloc(count * sizeof(uint64_t))
        for k in range(count):
            one.places[k] = names[k] & ~WHOLE
        return count
    one.places = <uint64_t*>malloc(sizeof(uint64_t) + 2 * (count - 1))
    one.places[0] = names[0] & ~WHOLE
    steps = <int8_t*>(one.places + 1)
    for k in range(1, count):
        steps[2 * k - 2] = <int8_t>(cell_q(names[k]) - cell_q(names[0]))
        steps[2 * k - 1] = <int8_t>(cell_r(names[k]) - cell_r(names[0]))
    return count


cdef inline uint64_t place_of(const Filed* one, int32_t k) noexcept nogil:
    cdef const int8_t* steps
    cdef uint64_t first
    if one.count >= 0 or k == 0:
        return one.places[k]
    steps, first = <const int8_t*>(one.places + 1) + 2 * (k - 1), one.places[0]
    return cell_name(level_of(first), cell_face(first), cell_q(first) + steps[0], cell_r(first) + steps[1])


cdef inline uint32_t room_for(uint32_t count) noexcept nogil:
    """log2 of the room that so many entries have."""
    cdef uint32_t size = 0
    while (<uint32_t>1 << size) < count:
        size += 1
    return size


cdef inline Segment* new_segment(uint64_t room, int64_t depth) noexcept:
    cdef Segment* made = <Segment*>calloc(1, sizeof(Segment) + (room - 1) * sizeof(Place))
    made.depth = depth
    return made


@cython.final
cdef class Table:
    """Fences by number, filed under places. Not safe for use by several threads at once."""

    def __cinit__(self):
        cdef int size
        self.mask = 63
        self.segments = <Segment**>malloc(sizeof(Segment*))
        self.segments[0] = new_segment(64, 0)
        self.pool_room, self.hits_room, self.filed_room = 64, 64, 16
        self.pool = <int32_t*>malloc(64 * sizeof(int32_t))
        self.hits = <int32_t*>malloc(64 * sizeof(int32_t))
        self.touched, self.touched_room = <int32_t*>malloc(64 * sizeof(int32_t)), 64
        self.filed = <Filed*>calloc(16, sizeof(Filed))
        self.outlines = [None] * 16
        for size in range(32):
            self.spare[size] = -1

    def __dealloc__(self):
        cdef int64_t number
        for number in range(self.filed_room):
            free(self.filed[number].places)
        for number in range(<int64_t>1 << self.depth):
            if number == 0 or self.segments[number] != self.segments[number - 1]:
                free(self.segments[number])
        free(self.segments)
        free(self.filed)
        free(self.pool)
        free(self.hits)
        free(self.touched)

    # ------------------------------------------------------------------------------------------ changes
    def put(self, int32_t number, bytes outline, bytes names):
        """File a fence that is not there. outline as in `cells_of`; names as it answers, or of squares."""
        cdef Filed* one
        cdef int64_t k
        cdef const uint64_t* places = <const uint64_t*>PyBytes_AS_STRING(names)
        if number >= self.filed_room:
            k = number + number // 8 + 16
            self.filed = <Filed*>realloc(self.filed, k * sizeof(Filed))
            memset(self.filed + self.filed_room, 0, (k - self.filed_room) * sizeof(Filed))
            self.outlines += [None] * (k - self.filed_room)
            self.filed_room = k
        one = self.filed + number
        self._change()
        one.serial = self.changed
        fill(&one.shape, outline)
        if one.shape.chord2_m2 < 0:
            self.outlines[number] = outline
        for k in range(keep_places(one, places, <int32_t>(PyBytes_GET_SIZE(names) // sizeof(uint64_t)))):
            self._file(places[k] & ~WHOLE, 2 * number + (places[k] & WHOLE != 0))

    def calibrate(self, int32_t number):
        """Take note that a fence that is there weighs the evidence."""
        self.filed[number].calibrated = True
        self.calibrated += 1

    def remove(self, int32_t number):
        """Take a fence out that is there."""
        cdef Filed* one = self.filed + number
        cdef int32_t k
        self._change()
        self.calibrated -= one.calibrated
        for k in range(abs(one.count)):
            self._unfile(place_of(one, k), number)
        free(one.places)
        memset(one, 0, sizeof(Filed))
        self.outlines[number] = None

    cdef void _change(self) noexcept:
        global CHANGES
        CHANGES += 1
        self.changed = CHANGES

    def places(self, int32_t number):
        """The names of the places under which a fence is filed."""
        cdef Filed* one = self.filed + number
        return [place_of(one, k) for k in range(abs(one.count))]

    def count(self, uint64_t place):
        """How many fences are filed under a place."""
        return self._find(place).count

    cdef void _count_level(self, uint64_t name, int64_t more) noexcept:
        if level_of(name) == 1:
            self.coarse += more
        elif level_of(name) == 2:
            self.squares += more

    cdef inline Segment* _segment(self, uint64_t hashed) noexcept nogil:
        return self.segments[hashed >> 1 >> (63 - self.depth)]

    cdef inline Place* _find(self, uint64_t name) noexcept nogil:
        """A place; where there is none of that name, the free bucket for it."""
        cdef uint64_t hashed = mix(name), at = hashed & self.mask
        cdef Place* places = self._segment(hashed).places
        while places[at].name != name and places[at].name:
            at = (at + 1) & self.mask
        return places + at

    cdef inline int32_t* _entries(self, Place* place) noexcept nogil:
        return &place.head if place.count == 1 else self.pool + place.head

    cdef void _make_room(self, uint64_t hashed) noexcept:
        """Makes a segment anew, without the places that hold nothing any more, and two of it where few are such."""
        cdef Segment* old = self._segment(hashed)
        cdef uint64_t room = self.mask + 1, at, k, live = 0, parts = 1, span, first
        for at in range(room):
            live += old.places[at].count > 0
        if 3 * live >= room:
            if room < SEGMENT:  # the only one
                self.mask = 2 * room - 1
            else:
                parts = 2
        if parts == 2 and old.depth == self.depth:
            self._double()
        span = <uint64_t>1 << (self.depth - old.depth)
        first = (hashed >> 1 >> (63 - self.depth)) & ~(span - 1)
        for k in range(span):
            if k % (span // parts) == 0:
                self.segments[first + k] = new_segment(self.mask + 1, old.depth + <int64_t>parts - 1)
            else:
                self.segments[first + k] = self.segments[first + k - 1]
        for at in range(room):
            if old.places[at].count:
                self._find(old.places[at].name)[0] = old.places[at]
                self._segment(mix(old.places[at].name)).used += 1
        free(old)

    cdef void _double(self) noexcept:
        """Names every segment twice."""
        cdef int64_t k
        self.depth += 1
        self.segments = <Segment**>realloc(self.segments, sizeof(Segment*) << self.depth)
        for k in range((<int64_t>1 << self.depth) - 1, 0, -1):
            self.segments[k] = self.segments[k >> 1]

    cdef int32_t _room(self, uint32_t size) noexcept:
        cdef int32_t head = self.spare[size]
        cdef int64_t entries = <int64_t>1 << size
        if head >= 0:
            self.spare[size] = self.pool[head]
            return head
        if self.pool_used + entries > self.pool_room:
            while self.pool_used + entries > self.pool_room:
                self.pool_room += self.pool_room >> 1
            self.pool = <int32_t*>realloc(self.pool, self.pool_room * sizeof(int32_t))
        head = <int32_t>self.pool_used
        self.pool_used += entries
        return head

    cdef void _give_back(self, int32_t head, uint32_t size) noexcept:
        self.pool[head] = self.spare[size]
        self.spare[size] = head

    cdef void _move(self, Place* place, uint32_t size, uint32_t to) noexcept:
        cdef int32_t head = self._room(to)
        memcpy(self.pool + head, self.pool + place.head, place.count * sizeof(int32_t))
        self._give_back(place.head, size)
        place.head = head

    cdef void _file(self, uint64_t name, int32_t entry) noexcept:
        cdef Place* place = self._find(name)
        cdef uint64_t hashed = mix(name)
        cdef int32_t head
        if place.name == 0:
            if 3 * self._segment(hashed).used > 2 * <int64_t>self.mask:
                self._make_room(hashed)
                place = self._find(name)
            place.name = name
            self._segment(hashed).used += 1
        if place.count == 1:
            head = self._room(1)
            self.pool[head] = place.head
            place.head = head
        elif place.count and room_for(place.count + 1) > room_for(place.count):
            self._move(place, room_for(place.count), room_for(place.count + 1))
        place.count += 1
        self._entries(place)[place.count - 1] = entry
        self._count_level(name, 1)

    cdef void _unfile(self, uint64_t name, int32_t number) noexcept:
        cdef Place* place = self._find(name)
        cdef int32_t* entries = self._entries(place)
        cdef int32_t head = place.head
        cdef uint32_t k = 0
        for k in range(place.count):
            if entries[k] >> 1 == number:
                break
        entries[k] = entries[place.count - 1]
        place.count -= 1
        if place.count == 1:
            place.head = self.pool[head]
            self._give_back(head, 1)
        elif place.count and room_for(place.count) < room_for(place.count + 1):
            self._move(place, room_for(place.count + 1), room_for(place.count))
        self._count_level(name, -1)

    # ------------------------------------------------------------------------------------------ questions
    cdef inline int64_t _look(
        self, Place* place, double lat, double lon, Vector ground, int64_t count
    ) noexcept nogil:
        """Adds what holds the point among the fences of a place to `hits`; ~number where it is for exact arithmetic."""
        cdef const int32_t* entries = self._entries(place)
        cdef int32_t entry
        cdef uint32_t k
        cdef int inside
        if count + place.count > self.hits_room:
            self.hits_room = 2 * (count + place.count)
            self.hits = <int32_t*>realloc(self.hits, self.hits_room * sizeof(int32_t))
        for k in range(place.count):
            entry = entries[k]
            inside = 1 if entry & 1 else holds(&self.filed[entry >> 1].shape, lat, lon, ground)
            if inside:
                self.hits[count] = entry >> 1 if inside > 0 else ~(entry >> 1)
                count += 1
        return count

    cdef int64_t _look_up(
        self, Place* fine, int face, Vector v, double lat, double lon, int64_t count
    ) noexcept nogil:
        cdef Vector ground = on_ground(v)
        count = self._look(fine, lat, lon, ground, count)
        if self.coarse:
            count = self._look(self._find(cell_at(1, face, v)), lat, lon, ground, count)
        if self.squares:
            count = self._look(self._find(square_name(lat, lon)), lat, lon, ground, count)
        return count

    def locate_one(self, double lat, double lon):
        """Numbers of the fences that hold a point; ~number of those on whose border it lies as far as doubles tell."""
        cdef Vector v = direction(lat, lon)
        cdef int64_t count, k
        self.hint = face_of(v, self.hint)
        count = self._look_up(self._find(cell_at(0, self.hint, v)), self.hint, v, lat, lon, 0)
        return [self.hits[k] for k in range(count)] if count else ()

    def locate(self, const double[::1] lat, const double[::1] lon):
        """As `locate_one` for n points: how many hits each has, shape (n,), and all hits one after another."""
        cdef int64_t n = lat.shape[0], count = 0
        counts = np.empty(n, np.int32)
        cdef int32_t[::1] counted = counts
        if n:
            with nogil:
                count = self.find(&lat[0], &lon[0], n, &counted[0])
        hits = np.empty(count, np.int32)
        cdef int32_t[::1] hit = hits
        if count:
            memcpy(&hit[0], self.hits, count * sizeof(int32_t))
        return counts, hits

    cdef int64_t find(self, const double* lat, const double* lon, int64_t n, int32_t* counted) noexcept nogil:
        """Leaves the hits of n points in `hits`; how many there are.

        A block of points at a time, each step for all of it: what the next step reads is on its way from memory.
        """
        cdef int64_t start = 0, many, k, count = 0, before
        cdef uint64_t hashed
        cdef uint32_t j
        cdef Vector v[BLOCK]
        cdef int face[BLOCK]
        cdef uint64_t fine[BLOCK]
        cdef Place* place[BLOCK]
        while start < n:
            many = min(BLOCK, n - start)
            for k in range(many):
                v[k] = direction(lat[start + k], lon[start + k])
                self.hint = face[k] = face_of(v[k], self.hint)
                fine[k] = cell_at(0, face[k], v[k])
                hashed = mix(fine[k])
                GO_PREFETCH(&self._segment(hashed).places[hashed & self.mask])
            for k in range(many):
                place[k] = self._find(fine[k])
                GO_PREFETCH(self._entries(place[k]))
            for k in range(many):
                for j in range(place[k].count):
                    GO_PREFETCH(self.filed + (self._entries(place[k])[j] >> 1))
            for k in range(many):
                before = count
                count = self._look_up(place[k], face[k], v[k], lat[start + k], lon[start + k], count)
                counted[start + k] = <int32_t>(count - before)
            start += many
        return count

    def serial(self, int32_t number):
        """Of the filing of a fence that is there: no other has this number, and the same fence has another when put anew."""
        return self.filed[number].serial

    def crossing(self, double lat0, double lon0, double lat1, double lon1):
        """Numbers of the fences that the straight way between two points runs through and that hold neither of them.

        ~number where it may be so, and exact arithmetic has to look. None where nothing is known: of every way that is
        long, at 180 degrees or from one face to another.
        """
        self.n_touched = 0
        if self._cross(lat0, lon0, lat1, lon1, True) < 0:
            return None
        return {self.touched[k] for k in range(self.n_touched)} if self.n_touched else ()

    cdef bint may_cross(self, double lat0, double lon0, double lat1, double lon1) noexcept nogil:
        """Whether `crossing` would not answer that there is none."""
        return self._cross(lat0, lon0, lat1, lon1, False) != 0

    cdef int _cross(self, double lat0, double lon0, double lat1, double lon1, bint keep) noexcept nogil:
        """1 where some fence may be crossed, 0 where none is, -1 where that is not known. keep: all of them.

        The way's cells are met one after another. Cells are convex, so where it leaves one is found by halving, to a
        piece so short that if it cuts the corner of a cell, the circles about the neighbours, for which they were
        covered, hold that.
        """
        cdef int found = 0
        cdef double reach_m = DEGREE_M * 1.02 * (fabs(lat1 - lat0) + fabs(lon1 - lon0))
        cdef int face, level
        cdef uint64_t cell, last, square = square_name(lat0, lon0)
        cdef Vector v0 = direction(lat0, lon0), v1 = direction(lat1, lon1)
        cdef double q0, r0, q1, r1, piece, within, beyond, middle
        cdef Way way
        if fabs(lon0) > WEST_DEG or fabs(lon1) > WEST_DEG or reach_m > LONG_WAY_M or square != square_name(lat1, lon1):
            return -1
        face = face_of(v0, self.hint)
        if face != face_of(v1, face):
            return -1
        way.lat0, way.lon0, way.lat1, way.lon1 = lat0, lon0, lat1, lon1
        way.stray_m = reach_m * reach_m / EARTH_M + 0.001
        way.drawn = False
        if self.squares and self._touched(square, &way, v0, v1, keep):
            found = 1
        for level in range(2 if self.coarse else 1):
            axial(level, face, v0, &q0, &r0)
            axial(level, face, v1, &q1, &r1)
            cell, last = rounded(level, face, q0, r0), rounded(level, face, q1, r1)
            piece = 1 / (1 + STEPS_A_CELL * (fabs(q1 - q0) + fabs(r1 - r0)))
            within = 0
            while True:
                if self._touched(cell, &way, v0, v1, keep):
                    found = 1
                if found and not keep:
                    return 1
                if cell == last:
                    break
                beyond = 1
                while beyond - within > piece:
                    middle = (within + beyond) / 2
                    if rounded(level, face, q0 + middle * (q1 - q0), r0 + middle * (r1 - r0)) == cell:
                        within = middle
                    else:
                        beyond = middle
                within = beyond
                cell = last if beyond == 1 else rounded(level, face, q0 + beyond * (q1 - q0), r0 + beyond * (r1 - r0))
        return found

    cdef bint _touched(self, uint64_t name, Way* way, Vector v0, Vector v1, bint keep) noexcept nogil:
        """Whether the way may touch a fence that is filed under a place and holds neither of its ends. keep: all."""
        cdef Place* place = self._find(name)
        cdef const int32_t* entries = self._entries(place)
        cdef bint found = False
        cdef Shape* shape
        cdef uint32_t k
        cdef int start, end
        cdef int32_t number
        if place.count and not way.drawn:
            way.start, way.end = on_ground(v0), on_ground(v1)
            way.drawn = True
        for k in range(place.count):
            if entries[k] & 1 and level_of(name) < 2:
                continue  # where the way enters the fence, another place holds the border
            number = entries[k] >> 1
            shape = &self.filed[number].shape
            if not may_touch(shape, way):
                continue
            start, end = holds(shape, way.lat0, way.lon0, way.start), holds(shape, way.lat1, way.lon1, way.end)
            if start != 1 and end != 1:
                if not keep:
                    return True
                found = True
                if self.n_touched == self.touched_room:
                    self.touched_room *= 2
                    self.touched = <int32_t*>realloc(self.touched, self.touched_room * sizeof(int32_t))
                self.touched[self.n_touched] = number if start == end == 0 and surely_touches(shape, way) else ~number
                self.n_touched += 1
        return found

    cpdef distance(self, int32_t number, double lat, double lon):
        """Signed metres from a point to the border of a fence, negative inside; as `geometry.border_distance_one`.

        None where exact arithmetic has to look: on the border, at 180 degrees, for an edge of many kilometres.
        """
        cdef double away_m = self.away_m(number, lat, lon)
        return None if away_m != away_m else away_m

    cdef double away_m(self, int32_t number, double lat, double lon) noexcept nogil:
        """As `distance`; NaN for None."""
        cdef const Shape* shape = &self.filed[number].shape
        cdef Vector ground = on_ground(direction(lat, lon))
        cdef double away_m, earth_m
        cdef int inside = holds(shape, lat, lon, ground)
        if shape.chord2_m2 >= 0:
            earth_m = radius_m(shape.centre)
            return arc_m(distance(ground, shape.centre), earth_m) - arc_m(sqrt(shape.chord2_m2), earth_m)
        if inside < 0:
            return NAN
        away_m = area_away_m(shape, ground)
        if away_m < 0:
            return NAN
        away_m = arc_m(away_m, radius_m(ground))
        return -away_m if inside else away_m

    cdef bint area_holds(self, int32_t number, double lat, double lon) noexcept nogil:
        """Whether an area holds a point off its border: where doubles cannot tell, a cut at 180 degrees runs there."""
        cdef const Shape* shape = &self.filed[number].shape
        return area_holds(shape.border, shape.points, lon, lat) != 0

    def near(self, double lat, double lon, squares):
        """Numbers of the fences filed under the cells about a point, and under these squares.

        Among them is each that comes nearer to the point than the shortest edge of a fine cell, over 50 m anywhere.
        """
        cdef Vector v = direction(lat, lon)
        cdef int level, face, own = face_of(v, self.hint)
        cdef double nearest = dot(v, MIDDLE[own]), margin
        cdef int64_t k
        cdef uint32_t j
        cdef Place* place
        cdef Names names
        names_open(&names)
        for level in range(2 if self.coarse else 1):
            margin = 4 * cell_radius_m(cell_at(level, own, v), v) / EARTH_M
            for face in range(FACES):
                if nearest - dot(v, MIDDLE[face]) <= margin:
                    add_disk(&names, level, face, v, 1)
        if self.squares:
            for square in squares:
                names_add(&names, square)
        found = set()
        for k in range(names.count):
            place = self._find(names.order[k])
            for j in range(place.count):
                found.add(self._entries(place)[j] >> 1)
        names_close(&names)
        return found


cdef inline uint64_t square_name(double lat, double lon) noexcept nogil:
    """Squares of 5 degrees, numbered from the south-west; +-180 degrees is one meridian, and in one square."""
    cdef int64_t row = <int64_t>((lat + 90) / 5), column = <int64_t>((lon + 180) / 5)
    return (<uint64_t>3 << 56) | <uint64_t>(row * 72 + (0 if column >= 72 else column))
