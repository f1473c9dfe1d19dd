"""A peer's fence sequences through the whole service: fences put and pings sent by HTTP, one at a time."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from geo_offers.client import Client, Device, Enrolment, Ping
from tests.support.running import Service

SCENARIOS = ["fence_basic_test", "fence_detect_inside_test", "fence_channel_message_order_test", "fence_eecio_test"]


def features(scenario: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scenario's fences as GeoJSON, by name; the only one of a scenario without names is `fence`."""
    if "fences" in scenario:
        return {name: feature("Polygon", [ring]) for name, ring in scenario["fences"].items()}
    drawn = scenario["fence"]
    if "circle" in drawn:
        circle = drawn["circle"]
        return {"fence": feature("Point", [circle["lon"], circle["lat"]], radius_m=circle["radius_m"])}
    west, south, east, north = (drawn["bounds"][name] for name in ("minlon", "minlat", "maxlon", "maxlat"))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"fence": feature("Polygon", [ring])}


def feature(kind: str, coordinates: list[Any], **properties: Any) -> dict[str, Any]:
    raw = {"detect": {"mode": "raw"}}
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties | raw,
    }


async def told(device: Device, pings: list[list[float]]) -> AsyncIterator[list[str]]:
    """After each ping its transitions, as `type:fence`, in the order of the answer."""
    for second, (lat, lon) in enumerate(pings):
        answer = await device.send([Ping(at=f"2026-01-01T00:00:{second:02}Z", lat=lat, lon=lon)])
        assert [result.status for result in answer.results] == ["accepted"]
        yield [f"{edge.type}:{edge.fence.removeprefix('peer/')}" for edge in answer.transitions]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_peers_sequence_makes_the_same_transitions_over_http(
    service: Service, real_data: Path, name: str
) -> None:
    recorded = json.loads((real_data / "vectors" / "fence_sequences.json").read_text())
    (scenario,) = [found for found in recorded if f" {name} " in found["source"]]
    async with Client(service.url, await service.make_key()) as client:
        for fence, drawn in features(scenario).items():
            await client.manager.put_geofence("peer", fence, drawn)
    async with Client(service.url, await service.make_key("app", replay=True)) as client:
        device = await client.enrol(Enrolment(platform="other", consents={"locate": "v1"}))
        seen = [edges async for edges in told(device, scenario["pings"])]
    if "expect_second_ping" in scenario:
        expected = scenario["expect_second_ping"]
        assert seen[1] == [word for word in expected if not word.startswith(("inside", "outside"))]
        return
    inside = False
    for edges, words in zip(seen, scenario["expect_after_each"], strict=True):
        inside = (inside or "enter:fence" in edges) and "exit:fence" not in edges
        assert words[-1] == ("inside" if inside else "outside")
        assert [word for word in words if word not in {"inside", "outside"}] in (
            [],
            [e.partition(":")[0] for e in edges],
        )
