"""The compiled table and the plain one, which share neither cells nor tests, where each is likeliest to be wrong."""

import itertools
import math
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import shapely
from h3.api import basic_int as h3
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import geo_offers
from geo_offers.places.earth import ecef
from geo_offers.places.geometry import Area, Circle, border_distance_one, contains, contains_one, crosses, enclosing
from geo_offers.places.lattice import lattices
from geo_offers.places.plain import PlainTable
from geo_offers.places.table import BestTable

CORNERS = [h3.cell_to_latlng(cell) for cell in sorted(h3.get_pentagons(0))]  # of the icosahedron
BORDER_M = 1e-6  # nearer to a border than this the last bit of a sine decides


def between(one, other, share):
    """A point on the great circle between two: edges of the icosahedron's faces are such."""
    a, b = (np.array(unit(*place)) for place in (one, other))
    x, y, z = a * (1 - share) + b * share
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def unit(lat, lon):
    phi, lam = math.radians(lat), math.radians(lon)
    return math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)


EDGES = [
    pair
    for pair in itertools.combinations(CORNERS, 2)
    if sum(a * b for a, b in zip(unit(*pair[0]), unit(*pair[1]), strict=True)) > 0
]


@st.composite
def places(draw):
    """Anywhere; or on the edge of a face, or at its corner, or on the antimeridian."""
    kind = draw(st.sampled_from(["anywhere", "edge", "corner", "seam"]))
    if kind == "edge":
        return between(*draw(st.sampled_from(EDGES)), draw(st.floats(0, 1)))
    if kind == "corner":
        return draw(st.sampled_from(CORNERS))
    lat = draw(st.floats(-84, 84))
    return (lat, 180.0) if kind == "seam" else (lat, draw(st.floats(-180, 180)))


def turned(lon):
    return (lon + 180) % 360 - 180 if not -180 <= lon <= 180 else lon


@st.composite
def geometries(draw):
    lat, lon = draw(places())
    size_m = draw(st.sampled_from([30, 150, 900, 4_000, 60_000]))
    if draw(st.booleans()):
        return Circle(lat, turned(lon), size_m)
    corners = draw(st.integers(3, 12))
    angles = 2 * math.pi * np.arange(corners) / corners
    away = size_m / 111_000 * np.array(draw(st.lists(st.floats(0.2, 1), min_size=corners, max_size=corners)))
    wide = 1 / math.cos(math.radians(min(85.0, abs(lat) + size_m / 111_000)))
    shell = np.column_stack((lon + wide * away * np.cos(angles), np.clip(lat + away * np.sin(angles), -84.99, 84.99)))
    holes = [(lon, lat) + 0.3 * (shell - (lon, lat))] if draw(st.booleans()) else []
    shape = shapely.Polygon(shell, holes)
    assume(shape.is_valid)  # where the shell is cut off at 85 degrees it may be none
    parts = []
    for turn in (0, 360, -360):
        cut = shapely.intersection(shape, shapely.box(-180 + turn, -90, 180 + turn, 90))
        parts += [shapely.transform(p, lambda xy, t=turn: xy - (t, 0)) for p in shapely.get_parts(cut) if p.area > 0]
    return Area(parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts))


def telling_points(geometry, seed):
    """In and around the geometry: anywhere, on its border, at its corners, on the seam, on the corners of cells."""
    random = np.random.default_rng(seed)
    circle = enclosing(geometry)
    points = [(circle.lat, circle.lon), (circle.lat, 180.0), (circle.lat, -180.0)]
    if isinstance(geometry, Area):
        lon, lat = shapely.get_coordinates(geometry.shape)[:40].T
        points += [*zip(lat, lon, strict=True), *zip((lat[1:] + lat[:-1]) / 2, (lon[1:] + lon[:-1]) / 2, strict=True)]
    for share in (*random.uniform(0, 1.2, 40), 0.999, 1.0, 1.001):
        angle, reach = random.uniform(0, 2 * math.pi), circle.radius_m / 111_300 * share
        lat = float(np.clip(circle.lat + reach * math.sin(angle), -89.9, 89.9))
        points.append((lat, turned(circle.lon + reach * math.cos(angle) / math.cos(math.radians(lat)))))
    for resolution in (10, 7):
        points += h3.cell_to_boundary(h3.latlng_to_cell(*points[random.integers(len(points))], resolution))
    return [(float(lat), float(lon)) for lat, lon in points]


def exactly(numbers, geometries, lat, lon):
    """What the index makes of a table's numbers."""
    return {n if n >= 0 else ~n for n in numbers if n >= 0 or contains_one(geometries[~n], lat, lon, ecef(lat, lon))}


@given(st.lists(geometries(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
@settings(max_examples=250, deadline=None)
def test_both_tables_hold_what_the_geometry_holds(shapes, seed):
    tables = [PlainTable(), BestTable()]
    for table in tables:
        for number, shape in enumerate(shapes):
            table.put(number, shape, table.cover(shape))
    points = [point for shape in shapes for point in telling_points(shape, seed)]
    lat, lon = np.array(points).T
    held = [contains(shape, lat, lon) for shape in shapes]
    for table in tables:
        counts, hits = table.locate(lat, lon)
        starts = np.concatenate(([0], np.cumsum(counts)))
        for at, (a, b) in enumerate(points):
            expected = {number for number, inside in enumerate(held) if inside[at]}
            scalar, batch = table.locate_one(a, b), hits[starts[at] : starts[at + 1]].tolist()
            for found in (scalar, batch):
                for number in exactly(found, shapes, a, b) ^ expected:
                    assert abs(border_distance_one(shapes[number], a, b)) < BORDER_M


@given(geometries(), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_a_short_way_is_near_all_that_it_meets(shape, seed):
    tables = [PlainTable(), BestTable()]
    for table in tables:
        table.put(0, shape, table.cover(shape))
    random = np.random.default_rng(seed)
    for lat, lon in telling_points(shape, seed):
        wide = math.cos(math.radians(lat))
        lat1 = float(np.clip(lat + random.uniform(-0.0005, 0.0005), -90, 90))
        lon1 = lon + float(random.uniform(-0.0005, 0.0005)) / max(0.05, wide)
        if crosses(shape, lat, lon, lat1, turned(lon1)):
            assert [0 in table.near(lat, lon, lat1, lon1) for table in tables] == [True, True]


@given(st.lists(st.tuples(st.integers(0, 5), geometries()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_counts_follow_every_change(changes):
    table, held = BestTable(), {}
    for number, shape in changes:
        if number in held:
            table.remove(number)
        held[number] = table.cover(shape)
        table.put(number, shape, held[number])
    filed = Counter(place for covered in held.values() for place in set(covered.places))
    assert {place: table.count(place) for place in filed} == filed
    for number, covered in held.items():
        assert set(table.places(number)) == set(covered.places)
        table.remove(number)
    assert all(table.count(place) == 0 for covered in held.values() for place in covered.places)


def test_every_place_stands_while_a_table_grows_to_tens_of_thousands_and_shrinks_again():
    random = np.random.default_rng(11)
    table, counted, there = BestTable(), Counter(), {}

    def check(place):
        assert table.count(place) == counted[place]

    def put(number):
        there[number] = circle = Circle(*random.uniform((47, 6), (54, 14)).tolist(), 300.0)
        table.put(number, circle, table.cover(circle))
        counted.update(table.places(number))

    def remove(number):
        counted.subtract(table.places(number))
        table.remove(number)
        del there[number]

    for number in range(2_000):
        put(number)
        check(table.places(number // 2)[0])
    assert len(counted) > 20_000
    for number in random.permutation(2_000)[:1_700].tolist():
        remove(number)
    for number in range(2_000, 3_000):
        put(number)
    for place in counted:
        check(place)
    for number, circle in there.items():
        assert number in table.locate_one(circle.lat, circle.lon)


def test_the_lattice_of_each_face_is_h3s_grid():
    """A direction's point on the lattice, rounded, is the middle of the cell that the library gives it."""
    made = lattices(10)
    random = np.random.default_rng(5)
    for lat, lon in zip(
        np.degrees(np.arcsin(random.uniform(-1, 1, 4_000))), random.uniform(-180, 180, 4_000), strict=True
    ):
        direction = np.array(unit(lat, lon))
        face = int(np.argmax(made.middle @ direction))
        scale = made.middle[face] @ direction
        q, r = made.q[0, face] @ direction / scale, made.r[0, face] @ direction / scale
        nearest = min(
            itertools.product((math.floor(q), math.ceil(q)), (math.floor(r), math.ceil(r))),
            key=lambda at: (at[0] - q) ** 2 + (at[1] - r) ** 2 + (at[0] - q) * (at[1] - r),
        )
        middle = made.middle[face] + nearest[0] * made.step_q[0, face] + nearest[1] * made.step_r[0, face]
        theirs = unit(*h3.cell_to_latlng(h3.latlng_to_cell(lat, lon, 10)))
        assert np.allclose(middle / np.linalg.norm(middle), theirs, atol=1e-9)


def test_all_that_is_compiled_is_built_here():
    """Skipped where it is not, so a failure where everything is required: else both tables would be the plain one."""
    root = Path(geo_offers.__file__).parent
    sources = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in root.rglob("*.pyx")]
    if missing := [name for name in sources if find_spec(name) is None]:
        pytest.skip(f"{missing} are not built here, and the plain parts serve")
    assert sources
    assert BestTable.__name__ == "CompiledTable"
