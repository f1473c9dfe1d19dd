"""A million points where an index goes wrong, and all their pairs with fences, against the definition.

What counts as a pair, and by whom the definition is computed: `bench/exactness.py`. Where the points are:
`bench/borders.py`.
"""

import numpy as np
import pytest

from bench.borders import LAYOUTS, telling_points
from bench.exactness import Definition, in_batches, one_by_one, wrong
from geo_offers.places.geometry import Circle
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.table import BestTable, PlainTable

POINTS = 105_000
SHARE_ONE_BY_ONE = 6
"""The plain table answers one point at a time slowly, and by the same entries as many at once."""


def told(pairs, fences, lat, lon):
    """Each pair as a line with which it can be made a test of its own."""
    for pair in pairs[:5].tolist():
        at, fence = divmod(pair, len(fences))
        geometry = fences[fence].geometry
        yield float(lat[at]), float(lon[at]), geometry if isinstance(geometry, Circle) else geometry.shape.wkt[:2_000]


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: layout.name)
def case(request):
    fences = request.param.make(seed=1)
    lat, lon = telling_points(fences, POINTS, np.random.default_rng(2))
    return fences, lat, lon, Definition(fences).of(lat, lon)


@pytest.mark.parametrize("table", [BestTable, PlainTable], ids=["best", "plain"])
def test_the_index_answers_what_the_definition_says(case, table):
    fences, lat, lon, truth = case
    index = GeofenceIndex(fences, table())
    assert list(told(wrong(truth, in_batches(index, lat, lon)), fences, lat, lon)) == []
    some = len(lat) if table is BestTable is not PlainTable else len(lat) // SHARE_ONE_BY_ONE
    answered = one_by_one(index, lat[:some], lon[:some])
    assert list(told(wrong(truth.up_to(some * len(fences)), answered), fences, lat, lon)) == []


def test_the_points_are_where_an_index_goes_wrong(case):
    """Enough inside, outside and beside a border, and few so near that nobody knows."""
    _, lat, _, truth = case
    assert len(lat) >= POINTS
    assert 0.05 * len(lat) < len(truth.held) < truth.looked_at
    assert len(truth.unsure) < len(lat) / 1_000
