"""Small drawn layouts against the definition, at points where an index goes wrong; the large check: `tests/exact`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.borders import CORNERS, EDGE_PLACES, Layout, telling_points
from bench.exactness import Definition, in_batches, one_by_one, wrong
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.table import BestTable, PlainTable

PLACES = st.one_of(
    st.tuples(st.floats(-89, 89), st.floats(-180, 180)),
    st.tuples(st.floats(-89, 89), st.sampled_from([180.0, -180.0, 0.0])),
    st.sampled_from([(90.0, 0.0), (-90.0, 0.0), (0.0, 0.0), *CORNERS, *EDGE_PLACES]),
)


@pytest.mark.parametrize("table", [BestTable, PlainTable], ids=["best", "plain"])
@given(
    place=PLACES,
    size_m=st.sampled_from([25.0, 150.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0]),
    fences=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    at_cells=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_shapes_hold_what_the_definition_says(*, table, place, size_m, fences, seed, at_cells):
    """Stars, rings with islands, boxes, slivers, combs, several parts, circles: see `bench/borders.py`."""
    made = Layout("drawn", [place], (size_m / 2, size_m), fences, at_cells=at_cells and size_m <= 100_000).make(seed)
    lat, lon = telling_points(made, 200, np.random.default_rng(seed))
    truth, index = Definition(made).of(lat, lon), GeofenceIndex(made, table())
    for ask in (in_batches, one_by_one):
        differ = wrong(truth, ask(index, lat, lon)).tolist()
        assert [(lat[pair // fences], lon[pair // fences], made[pair % fences].geometry) for pair in differ] == []
