"""The index against looking at every fence, after any history of changes; and its parts against their promises."""

import itertools
import math

import numpy as np
import pytest
import shapely
from h3.api import basic_int as h3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from geo_offers.places.cells import COARSE, FINE, GROWTH, coarse_of, cover, square_of
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, border_distance_one, contains, crosses, enclosing
from geo_offers.places.index import SHORT_WAY_M, BestNearest, GeofenceIndex
from geo_offers.places.nearest import PlainNearest
from geo_offers.places.table import BestTable, PlainTable

# Few places, so that fences meet: a city, the antimeridian, far north, an H3 pentagon, the pole.
PENTAGON = h3.cell_to_latlng(sorted(h3.get_pentagons(COARSE))[3])
PLACES = [(52.0, 8.0), (-17.0, 180.0), (84.9, 20.0), PENTAGON, (89.2, 100.0), (90.0, 0.0)]


def turned(lon):
    return (lon + 180) % 360 - 180 if not -180 <= lon <= 180 else lon


def place_near(draw, scale):
    lat, lon = draw(st.sampled_from(PLACES))
    dy, dx = draw(st.floats(-1, 1)), draw(st.floats(-1, 1))
    wide = max(0.02, math.cos(math.radians(lat)))
    return max(-90.0, min(90.0, lat + scale * dy)), turned(lon + scale * dx / wide)


def split_at_seam(shape):
    """The RFC 7946 form of a shape drawn with longitudes beyond 180."""
    parts = []
    for turn in (0, 360, -360):
        cut = shapely.intersection(shape, shapely.box(-180 + turn, -90, 180 + turn, 90))
        parts += [shapely.transform(p, lambda xy, t=turn: xy - (t, 0)) for p in shapely.get_parts(cut) if p.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


@st.composite
def geometries(draw):
    scale = draw(st.sampled_from([0.003, 0.03, 0.6]))
    lat, lon = place_near(draw, scale)
    if draw(st.booleans()) or abs(lat) > 89.3:
        return Circle(lat, lon, scale * 111_000 * draw(st.floats(0.05, 1)) + 25)
    corners = draw(st.integers(3, 9))
    sizes = draw(st.lists(st.floats(0.3, 1), min_size=corners, max_size=corners))
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    wide = 1 / math.cos(math.radians(lat))
    shell = [
        (lon + scale * wide * r * math.cos(a), lat + scale * r * math.sin(a))
        for r, a in zip(sizes, angles, strict=True)
    ]
    return Area(split_at_seam(shapely.Polygon(shell)))


@st.composite
def fences(draw):
    name = draw(st.integers(0, 7))
    return Geofence(
        FenceId(f"set/{name}"),
        draw(st.integers(1, 99)),
        "a",
        draw(geometries()),
        None,
        (),
        draw(st.integers(0, 9)) > 0,
        Detect("raw"),
    )


def telling_points(fence, seed):
    """Points near the border of a fence, at the corners and edges of the cells around those, and on the seam."""
    random = np.random.default_rng(seed)
    circle = enclosing(fence.geometry)
    points = []
    for angle in random.uniform(0, 2 * math.pi, 4):
        reach = circle.radius_m / 111_300 * random.choice([0.2, 0.7, 1.0, 1.02])
        lat = max(-89.999, min(89.999, circle.lat + reach * math.sin(angle)))
        lon = turned(circle.lon + reach * math.cos(angle) / math.cos(math.radians(lat)))
        points.append((lat, lon))
        for resolution in (FINE, COARSE):
            corners = h3.cell_to_boundary(h3.latlng_to_cell(lat, lon, resolution))
            (y0, x0), (y1, x1) = corners[0], corners[1]
            if abs(x1 - x0) < 180:
                points += [(y0, x0), ((y0 + y1) / 2, (x0 + x1) / 2)]
    points.append((circle.lat, 180.0 if circle.lon > 0 else -180.0))
    return points


class IndexAgainstScan(RuleBasedStateMachine):
    """Whatever is put, replaced and removed, the index answers what a scan of all fences answers."""

    table = PlainTable
    borders = PlainNearest

    @initialize(given_fences=st.lists(fences(), max_size=5))
    def start(self, given_fences):
        self.model = {fence.id: fence for fence in given_fences}
        self.index = GeofenceIndex(given_fences, self.table(), self.borders())
        self.seed = 0

    @rule(fence=fences(), beforehand=st.booleans())
    def put(self, fence, beforehand):
        self.index.put(fence, self.table.cover(fence.geometry) if beforehand and fence.active else None)
        self.model[fence.id] = fence

    @rule(name=st.integers(0, 7))
    def remove(self, name):
        fence = FenceId(f"set/{name}")
        assert self.index.remove(fence) == (self.model.pop(fence, None) is not None)

    def scan(self, lat, lon):
        active = sorted((f for f in self.model.values() if f.active), key=lambda f: f.id)
        held = [contains(f.geometry, np.array(lat), np.array(lon)) for f in active]
        return [tuple(f for f, inside in zip(active, held, strict=True) if inside[i]) for i in range(len(lat))]

    @invariant()
    def agrees(self):
        self.seed += 1
        points = [point for fence in self.model.values() for point in telling_points(fence, self.seed)] or [(52.0, 8.0)]
        lat, lon = np.array(points).T
        expected = self.scan(lat, lon)
        assert self.index.locate(lat.copy(), lon.copy()) == expected
        assert [self.index.locate_one(*point) for point in points] == expected
        assert {fence.id: fence for fence in self.index} == self.model
        assert len(self.index) == len(self.model)
        self.agrees_on_ways(points)
        self.agrees_on_nearest(points[self.seed % len(points)])

    def agrees_on_ways(self, points):
        random = np.random.default_rng(self.seed)
        for scale in (0.0003, 0.002, 0.5):
            lat0, lon0 = points[random.integers(len(points))]
            lat1 = float(np.clip(lat0 + scale * random.uniform(-1, 1), -90, 90))
            lon1 = turned(lon0 + scale * random.uniform(-1, 1))
            ends = self.scan(np.array([lat0, lat1]), np.array([lon0, lon1]))
            expected = tuple(
                fence
                for fence in sorted(self.model.values(), key=lambda f: f.id)
                if fence.active and crosses(fence.geometry, lat0, lon0, lat1, lon1) and fence not in ends[0] + ends[1]
            )
            assert self.index.crossed(lat0, lon0, lat1, lon1) == expected

    def agrees_on_nearest(self, point):
        """To rounding: the compiled search keeps an area's ends as floats about their middle."""
        measured = sorted(abs(border_distance_one(f.geometry, *point)) for f in self.model.values() if f.active)
        for limit in (1, 3, 20):
            found = self.index.nearest(*point, limit)
            assert [away_m for _, away_m in found] == pytest.approx(measured[:limit], rel=1e-7, abs=0.01)
            own_m = [abs(border_distance_one(fence.geometry, *point)) for fence, _ in found]
            assert [away_m for _, away_m in found] == pytest.approx(own_m, rel=1e-7, abs=0.01)


IndexAgainstScan.TestCase.settings = settings(max_examples=60, stateful_step_count=8, deadline=None)
test_the_index_agrees_with_scanning_every_fence_after_any_changes = IndexAgainstScan.TestCase


class CompiledAgainstScan(IndexAgainstScan):
    """The same with the compiled table, where it is built."""

    table = BestTable
    borders = BestNearest


CompiledAgainstScan.TestCase.settings = settings(max_examples=60, stateful_step_count=8, deadline=None)
test_the_compiled_index_agrees_with_scanning_every_fence_after_any_changes = CompiledAgainstScan.TestCase


@given(st.floats(-85, 85), st.floats(-180, 180))
@settings(max_examples=300, deadline=None)
def test_a_grown_cell_holds_every_point_that_is_filed_under_it(lat, lon):
    point = shapely.Point(lon, lat)
    fine = h3.latlng_to_cell(lat, lon, FINE)
    for cell in (fine, coarse_of(fine)):
        middle_lat, middle_lon = h3.cell_to_latlng(cell)
        growth = GROWTH[h3.get_resolution(cell)]
        hull = [
            (middle_lon + growth * ((x - middle_lon + 180) % 360 - 180), middle_lat + growth * (y - middle_lat))
            for y, x in h3.cell_to_boundary(cell)
        ]
        around = [shapely.Polygon(hull).buffer(1e-9), shapely.Point(lon + 360, lat), shapely.Point(lon - 360, lat)]
        assert any(around[0].intersects(p) for p in (point, *around[1:]))


def test_the_coarse_cell_is_the_parent_that_h3_names():
    for lat, lon in [(52, 8), (-17, 180), (0, 0), (-89, 3), PENTAGON]:
        fine = h3.latlng_to_cell(lat, lon, FINE)
        assert coarse_of(fine) == h3.cell_to_parent(fine, COARSE)


@given(geometries(), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_a_place_called_full_holds_no_point_outside_and_no_inner_point_lies_outside_the_cover(geometry, seed):
    cells = cover(geometry)
    random = np.random.default_rng(seed)
    circle = enclosing(geometry)
    reach = circle.radius_m / 111_000
    lat = np.clip(circle.lat + reach * random.uniform(-1, 1, 300), -90, 90)
    lon = circle.lon + reach * random.uniform(-1, 1, 300) / np.maximum(0.01, np.cos(np.radians(lat)))
    lon = (lon + 180) % 360 - 180
    full, partial = set(cells.full), set(cells.partial)
    for y, x, inside in zip(lat.tolist(), lon.tolist(), contains(geometry, lat, lon).tolist(), strict=True):
        fine = h3.latlng_to_cell(y, x, FINE)
        filed = {fine, coarse_of(fine), square_of(y, x)}
        assert inside or not filed & full
        assert not inside or filed & (full | partial)


@given(st.floats(-80, 80), st.floats(-180, 180), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_short_way_finds_a_tiny_fence_in_the_corner_of_a_cell_that_neither_end_is_in(lat, lon, seed):
    random = np.random.default_rng(seed)
    cell = h3.latlng_to_cell(lat, lon, FINE)
    wide = math.cos(math.radians(lat))
    index = GeofenceIndex()
    for number, (y, x) in enumerate(h3.cell_to_boundary(cell)):
        dy, dx = random.uniform(-2e-5, 2e-5, 2)
        box = shapely.box(x + (dx - 1e-5) / wide, y + dy - 1e-5, x + (dx + 1e-5) / wide, y + dy + 1e-5)
        index.put(Geofence(FenceId(f"set/{number}"), 1, "a", Area(split_at_seam(box)), None, (), True, Detect("raw")))
    for fence in index:
        around = enclosing(fence.geometry)
        for angle, share in zip(random.uniform(0, 2 * math.pi, 40), random.uniform(0.05, 0.95, 40), strict=True):
            dy, dx = 8.7e-4 * math.sin(angle), 8.7e-4 * math.cos(angle) / wide  # 97 m in all
            start = around.lat - share * dy, turned(around.lon - share * dx)
            way = (*start, start[0] + dy, turned(start[1] + dx))
            assert crosses(fence.geometry, *way)
            assert fence in index.crossed(*way)


@given(st.floats(-70, 70), st.integers(0, 2**32 - 1), st.sampled_from([1, -1]))
@settings(max_examples=60, deadline=None)
def test_a_fence_beside_the_antimeridian_is_found_from_cells_that_lie_over_it(lat, seed, side):
    west, east = sorted((side * 179.99999, side * 179.9995))
    fence = Geofence(
        FenceId("set/a"), 1, "a", Area(shapely.box(west, lat, east, lat + 0.001)), None, (), True, Detect("raw")
    )
    index = GeofenceIndex([fence])
    random = np.random.default_rng(seed)
    for y, x in zip(random.uniform(lat, lat + 0.001, 50), random.uniform(179.9998, 179.99999, 50), strict=True):
        assert index.locate_one(float(y), side * float(x)) == (fence,)


@given(st.sampled_from(PLACES), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 5.0]))
@settings(max_examples=40, deadline=None)
def test_a_long_way_finds_all_that_it_crosses_where_fences_lie_thick(place, seed, size):
    random = np.random.default_rng(seed)
    wide = max(0.02, math.cos(math.radians(place[0])))
    index = GeofenceIndex()
    spread = size * random.choice([0.05, 1.0], 150)
    for number, (far, dy, dx) in enumerate(zip(spread, *random.uniform(-1, 1, (2, 150)), strict=True)):
        lat, lon = min(89.99, place[0] + far * dy), turned(place[1] + far * dx / wide)
        side = 0.03 * far
        box = shapely.box(lon - side, lat - side, lon + side, min(89.999, lat + side))
        odd = number % 2 and abs(lat) < 89
        shape = Area(split_at_seam(box)) if odd else Circle(lat, lon, 100_000 * side + 25)
        index.put(Geofence(FenceId(f"set/{number}"), 1, "a", shape, None, (), True, Detect("raw")))
    for _ in range(8):
        ys, xs = random.uniform(-1, 1, (2, 2))
        (lat0, lat1), (lon0, lon1) = (
            np.minimum(90, place[0] + size * ys).tolist(),
            [turned(place[1] + size * x / wide) for x in xs.tolist()],
        )
        expected = {fence.id for fence in index if is_crossed(fence.geometry, lat0, lon0, lat1, lon1)}
        assert {fence.id for fence in index.crossed(lat0, lon0, lat1, lon1)} == expected


def is_crossed(geometry, lat0, lon0, lat1, lon1):
    ends = contains(geometry, np.array([lat0, lat1]), np.array([lon0, lon1]))
    return not ends.any() and crosses(geometry, lat0, lon0, lat1, lon1)


def test_a_ring_of_fine_cells_is_wider_than_half_a_short_way_even_where_cells_are_smallest():
    edges_m = []
    for pentagon in h3.get_pentagons(FINE):
        for cell in h3.grid_disk(pentagon, 3):
            corners = h3.cell_to_boundary(cell)
            if len(corners) == 6:  # more where an edge of the icosahedron cuts a side in two
                sides = itertools.pairwise(corners)
                edges_m += [h3.great_circle_distance(*side, unit="m") for side in sides]
    assert min(edges_m) > 1.05 * SHORT_WAY_M / 2
