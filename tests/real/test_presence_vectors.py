"""Fence sequences taken from a peer's tests: after each ping the same edges in the same order.

The peer also says `inside` and `outside` after each ping; ours says that with the state, so those words are compared
with it.
"""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from shapely import Polygon, box

from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, Geometry, contains, crosses
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import step
from geo_offers.presence.states import NOWHERE, PresenceState, Transition

SCENARIOS = ["fence_basic_test", "fence_detect_inside_test", "fence_channel_message_order_test", "fence_eecio_test"]


def geometry(drawn: dict[str, Any]) -> Geometry:
    if "circle" in drawn:
        return Circle(drawn["circle"]["lat"], drawn["circle"]["lon"], drawn["circle"]["radius_m"])
    bounds = drawn["bounds"]
    return Area(box(bounds["minlon"], bounds["minlat"], bounds["maxlon"], bounds["maxlat"]))


def geofences(scenario: dict[str, Any]) -> list[Geofence]:
    if "fences" in scenario:
        drawn = {name: Area(Polygon(ring)) for name, ring in scenario["fences"].items()}
    else:
        drawn = {"fence": geometry(scenario["fence"])}
    return [
        Geofence(FenceId(f"peer/{name}"), 1, name, shape, None, (), active=True, detect=Detect("raw"))
        for name, shape in drawn.items()
    ]


def moved(state: PresenceState, fix: Fix, fences: list[Geofence]) -> tuple[PresenceState, tuple[Transition, ...]]:
    """One step with what looking at every fence says."""
    held = [fence for fence in fences if contains(fence.geometry, np.array([fix.lat]), np.array([fix.lon]))[0]]
    through = []
    if state.lat is not None and state.lon is not None:
        before = np.array([state.lat]), np.array([state.lon])
        through = [
            fence
            for fence in fences
            if fence not in held
            and not contains(fence.geometry, *before)[0]
            and crosses(fence.geometry, state.lat, state.lon, fix.lat, fix.lon)
        ]
    return step(state, fix, held, through, workspace=UUID(int=1), device=UUID(int=2))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_peers_sequence_makes_the_same_edges(real_data: Path, name: str) -> None:
    told = json.loads((real_data / "vectors" / "fence_sequences.json").read_text())
    (scenario,) = [found for found in told if f" {name} " in found["source"]]
    fences = geofences(scenario)
    state, seen = NOWHERE, []
    for second, (lat, lon) in enumerate(scenario["pings"]):
        state, edges = moved(state, Fix(second * 1_000_000, lat, lon), fences)
        seen.append((edges, {fence.name: "inside" if fence.id in state.inside else "outside" for fence in fences}))
    if "expect_second_ping" in scenario:
        edges, where = seen[1]
        told_edges = [f"{edge.type}:{edge.fence.removeprefix('peer/')}" for edge in edges]
        told_where = {f"{side}:{fence}" for fence, side in where.items()}
        expected = scenario["expect_second_ping"]
        assert told_edges == [word for word in expected if not word.startswith(("inside", "outside"))]
        assert told_where == {word for word in expected if word.startswith(("inside", "outside"))}
        return
    for (edges, where), expected in zip(seen, scenario["expect_after_each"], strict=True):
        subscribed = [edge.type for edge in edges] if expected[0] not in {"inside", "outside"} else []
        assert [*subscribed, where["fence"]] == expected


def test_every_recorded_sequence_is_played(real_data: Path) -> None:
    told = json.loads((real_data / "vectors" / "fence_sequences.json").read_text())
    assert len(told) == len(SCENARIOS)
